/* test_base_ostat.c: order statistics, against sorting and against NumPy. */
#include "support.h"

#include "base/ostat.h"
#include "base/pcg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The sequence from which the recorded percentiles were computed. */
static double
next_value(uint64_t *x)
{
    *x = *x * 6364136223846793005U + 1442695040888963407U;
    return (double)(*x >> 11) * 0x1p-53 * 2.0 - 1.0;
}

/* numpy.percentile of the first n values, NumPy 2.4.6. */
static const struct {
    size_t n;
    double q;
    double want;
} PERCENTILES[] = {
    {1, 0.0, -0x1.3a89053bc0300p-3},
    {1, 10.0, -0x1.3a89053bc0300p-3},
    {1, 25.0, -0x1.3a89053bc0300p-3},
    {1, 33.3, -0x1.3a89053bc0300p-3},
    {1, 50.0, -0x1.3a89053bc0300p-3},
    {1, 66.66666666666667, -0x1.3a89053bc0300p-3},
    {1, 75.0, -0x1.3a89053bc0300p-3},
    {1, 90.0, -0x1.3a89053bc0300p-3},
    {1, 99.9, -0x1.3a89053bc0300p-3},
    {1, 100.0, -0x1.3a89053bc0300p-3},
    {2, 0.0, -0x1.3a89053bc0300p-3},
    {2, 10.0, -0x1.173a79fcefb4ap-3},
    {2, 25.0, -0x1.c489523d6df74p-4},
    {2, 33.3, -0x1.89ed569cd6723p-4},
    {2, 50.0, -0x1.14009a035b8e8p-4},
    {2, 66.66666666666667, -0x1.3ca03e63f3e69p-5},
    {2, 75.0, -0x1.8ddf872524970p-6},
    {2, 90.0, 0x1.9ceffcca13140p-10},
    {2, 99.9, 0x1.31704461f5a65p-6},
    {2, 100.0, 0x1.344359c3250c0p-6},
    {3, 0.0, -0x1.3a89053bc0300p-3},
    {3, 10.0, -0x1.e7d7dd7c3e72ap-4},
    {3, 25.0, -0x1.14009a035b8e8p-4},
    {3, 33.3, -0x1.3d9145845908dp-5},
    {3, 50.0, 0x1.344359c3250c0p-6},
    {3, 66.66666666666667, 0x1.c87f4aac8c7e8p-4},
    {3, 75.0, 0x1.431b4265370e0p-3},
    {3, 90.0, 0x1.edd9c3801bb58p-3},
    {3, 99.9, 0x1.2f455927a61c5p-2},
    {3, 100.0, 0x1.2fd70cc904bd4p-2},
    {4, 0.0, -0x1.dfcaa32ee6cb0p-3},
    {4, 10.0, -0x1.ae36f3cc5b362p-3},
    {4, 25.0, -0x1.63d96cb889d6cp-3},
    {4, 33.3, -0x1.3ab35378aa775p-3},
    {4, 50.0, -0x1.14009a035b8e8p-4},
    {4, 66.66666666666667, 0x1.344359c3250c0p-6},
    {4, 75.0, 0x1.69a3ad9d9baf8p-4},
    {4, 90.0, 0x1.b4ef987724d32p-3},
    {4, 99.9, 0x1.2efc7f56f6cbep-2},
    {4, 100.0, 0x1.2fd70cc904bd4p-2},
    {7, 0.0, -0x1.dfcaa32ee6cb0p-3},
    {7, 10.0, -0x1.7ca34469cfa13p-3},
    {7, 25.0, -0x1.3870e6cd9d290p-4},
    {7, 33.3, 0x1.76012cc5e68e6p-11},
    {7, 50.0, 0x1.344359c3250c0p-6},
    {7, 66.66666666666667, 0x1.b9d6a69df4a90p-4},
    {7, 75.0, 0x1.9e4cb67081e78p-3},
    {7, 90.0, 0x1.a855b6baeadd6p-2},
    {7, 99.9, 0x1.2da2813aab2e3p-1},
    {7, 100.0, 0x1.2e89dad2e206ap-1},
    {10, 0.0, -0x1.bd02b84a2ce18p-1},
    {10, 10.0, -0x1.426b312b70ad7p-1},
    {10, 25.0, -0x1.b67a3bb21d244p-3},
    {10, 33.3, -0x1.3b07eff27f060p-3},
    {10, 50.0, 0x1.45044d343d440p-7},
    {10, 66.66666666666667, 0x1.b9d6a69df4a9cp-4},
    {10, 75.0, 0x1.fefd680145b10p-3},
    {10, 90.0, 0x1.331295deceeb2p-1},
    {10, 99.9, 0x1.5b78b20e2ee9cp-1},
    {10, 100.0, 0x1.5be1294a22f40p-1},
    {100, 0.0, -0x1.fc5741eb21c70p-1},
    {100, 10.0, -0x1.a84ae63798b3ep-1},
    {100, 25.0, -0x1.02fa206b72720p-1},
    {100, 33.3, -0x1.6f528bb1dcb83p-2},
    {100, 50.0, 0x1.e41c1e4139f00p-6},
    {100, 66.66666666666667, 0x1.f64d9a9fe9c45p-3},
    {100, 75.0, 0x1.75aa1017c6315p-2},
    {100, 90.0, 0x1.78eb49ed8effdp-1},
    {100, 99.9, 0x1.f1d7de1277ae6p-1},
    {100, 100.0, 0x1.f27e54518832cp-1},
    {129, 0.0, -0x1.fc5741eb21c70p-1},
    {129, 10.0, -0x1.86175c54e3e76p-1},
    {129, 25.0, -0x1.eee2e8e8d1438p-2},
    {129, 33.3, -0x1.71eee6fba3eafp-2},
    {129, 50.0, 0x1.49fa715fa76a0p-5},
    {129, 66.66666666666667, 0x1.15a00af96a906p-2},
    {129, 75.0, 0x1.9588f475a6884p-2},
    {129, 90.0, 0x1.900689c777b81p-1},
    {129, 99.9, 0x1.f7e4fcd23dcc9p-1},
    {129, 100.0, 0x1.f8aff25385146p-1},
    {1000, 0.0, -0x1.ff35b251f6016p-1},
    {1000, 10.0, -0x1.9d54c76bd5acbp-1},
    {1000, 25.0, -0x1.e1bada0fcbb32p-2},
    {1000, 33.3, -0x1.3d134650c66e2p-2},
    {1000, 50.0, 0x1.47e23ee93f100p-7},
    {1000, 66.66666666666667, 0x1.6e0f796b87a61p-2},
    {1000, 75.0, 0x1.140d22309291cp-1},
    {1000, 90.0, 0x1.9e6097f12044bp-1},
    {1000, 99.9, 0x1.fd93442e6be13p-1},
    {1000, 100.0, 0x1.fdd22583fed1ap-1},
};

static ct_ostat *
ostat_of_test(void)
{
    ct_err err = CT_ERR_INIT;
    ct_ostat *s = NULL;
    assert_ok(ct_ostat_new(&s, &err), err);
    return s;
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Inserts n values of the given kind and compares every rank with a sorted array. */
static void
check_ranks(size_t n, int kind)
{
    ct_err err = CT_ERR_INIT;
    ct_ostat *s = ostat_of_test();
    double *v = ct_alloc(n * sizeof *v);
    ct_pcg p;
    ct_pcg_init(&p, n, (uint64_t)kind);
    for (size_t i = 0; i < n; i++) {
        double u = p.rng.next_double(&p.rng);
        const double kinds[] = {u, (double)i, -(double)i, floor(u * 5.0), 1.0};
        v[i] = kinds[kind];
        assert_ok(ct_ostat_insert(s, v[i], &err), err);
        assert_int_equal(ct_ostat_count(s), i + 1);
    }
    qsort(v, n, sizeof *v, compare_doubles);
    for (size_t i = 0; i < n; i++) {
        assert_true(ct_ostat_at(s, i) == v[i]);
    }
    ct_free(v);
    ct_ostat_free(s);
}

static void
test_ranks_agree_with_sorting(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 127, 128, 129, 255, 1000, 4096, 30000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int kind = 0; kind < 5; kind++) {
            check_ranks(sizes[i], kind);
        }
    }
}

static void
test_percentiles_agree_with_numpy_bit_for_bit(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_ostat *s = ostat_of_test();
    uint64_t x = 1;
    for (size_t i = 0; i < sizeof PERCENTILES / sizeof PERCENTILES[0]; i++) {
        while (ct_ostat_count(s) < PERCENTILES[i].n) {
            assert_ok(ct_ostat_insert(s, next_value(&x), &err), err);
        }
        double got = ct_ostat_percentile(s, PERCENTILES[i].q);
        if (memcmp(&got, &PERCENTILES[i].want, sizeof got) != 0) {
            fail_msg("percentile %g of %zu values: %a, NumPy says %a", PERCENTILES[i].q,
                     PERCENTILES[i].n, got, PERCENTILES[i].want);
        }
    }
    ct_ostat_free(s);
}

static void
test_infinities_give_what_numpy_gives(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_ostat *s = ostat_of_test();
    assert_ok(ct_ostat_insert(s, INFINITY, &err), err);
    assert_true(isnan(ct_ostat_percentile(s, 100)));
    assert_ok(ct_ostat_insert(s, 1, &err), err);
    assert_true(isnan(ct_ostat_percentile(s, 0)));
    assert_true(ct_ostat_percentile(s, 25) == (double)INFINITY);
    assert_true(isnan(ct_ostat_percentile(s, 50)));
    assert_ok(ct_ostat_insert(s, 2, &err), err);
    assert_true(ct_ostat_percentile(s, 0) == 1.0);
    assert_true(ct_ostat_percentile(s, 25) == 1.5);
    assert_true(isnan(ct_ostat_percentile(s, 50)));
    assert_true(isnan(ct_ostat_percentile(s, 100)));
    ct_ostat_free(s);
}

static ct_status
insert_many(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_ostat *s = NULL;
    ct_status st = ct_ostat_new(&s, err);
    uint64_t x = 1;
    size_t n = 0;
    while (st == CT_OK && n < 6000) {
        st = ct_ostat_insert(s, next_value(&x), err);
        n += st == CT_OK ? 1 : 0;
    }
    if (s != NULL) {
        assert_int_equal(ct_ostat_count(s), n);
        for (size_t i = 1; i < n; i++) { /* whole, also after a failure half way down */
            assert_true(ct_ostat_at(s, i - 1) <= ct_ostat_at(s, i));
        }
    }
    ct_ostat_free(s);
    return st;
}

static void
test_tree_survives_failing_allocations(void **state)
{
    (void)state;
    sweep_allocations(insert_many, NULL);
}

static void
test_tree_accepts_values_again_after_a_failure(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_ostat *s = ostat_of_test();
    size_t failures = 0;
    for (size_t i = 0; i < 20000; i++) {
        double v = (double)((i * 7919) % 20000);
        ct_mem_fail_at(1 + i % 3);
        ct_status st = ct_ostat_insert(s, v, &err);
        ct_mem_fail_at(0);
        if (st != CT_OK) {
            failures++;
            assert_int_equal(st, CT_ENOMEM);
            assert_int_equal(ct_ostat_count(s), i);
            assert_ok(ct_ostat_insert(s, v, &err), err);
        }
    }
    assert_true(failures > 10);
    for (size_t i = 0; i < 20000; i++) {
        assert_true(ct_ostat_at(s, i) == (double)i);
    }
    ct_ostat_free(s);
}

/* Values of few kinds, so that equal ones lie in many leaves. */
static void
test_what_is_removed_is_gone(void **ctx)
{
    enum { KINDS = 50, STEPS = 60000 };
    (void)ctx;
    for (uint64_t seed = 0; seed < 4; seed++) {
        ct_err err = CT_ERR_INIT;
        ct_ostat *s = NULL;
        size_t count[KINDS] = {0};
        size_t total = 0;
        ct_pcg rng;
        ct_pcg_init(&rng, seed, 1);
        assert_ok(ct_ostat_new(&s, &err), err);
        for (int i = 0; i < STEPS; i++) {
            size_t k = ct_pcg_next(&rng) % KINDS;
            bool grow = ct_pcg_next(&rng) % 100 < (i < STEPS / 2 ? 70 : 30);
            if (grow) {
                assert_ok(ct_ostat_insert(s, (double)k, &err), err);
                count[k]++;
                total++;
            } else {
                assert_int_equal(ct_ostat_remove(s, (double)k), count[k] > 0);
                total -= count[k] > 0 ? 1 : 0;
                count[k] -= count[k] > 0 ? 1 : 0;
            }
            assert_int_equal(ct_ostat_count(s), total);
            if (i % 500 == 0) {
                size_t rank = 0;
                for (size_t v = 0; v < KINDS; v++) {
                    if (count[v] > 0) {
                        assert_true(ct_ostat_at(s, rank) == (double)v);
                        assert_true(ct_ostat_at(s, rank + count[v] - 1) == (double)v);
                    }
                    rank += count[v];
                }
            }
        }
        assert_false(ct_ostat_remove(s, 0.5));
        ct_ostat_free(s);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_agree_with_sorting),
        cmocka_unit_test(test_percentiles_agree_with_numpy_bit_for_bit),
        cmocka_unit_test(test_infinities_give_what_numpy_gives),
        cmocka_unit_test(test_what_is_removed_is_gone),
        cmocka_unit_test(test_tree_survives_failing_allocations),
        cmocka_unit_test(test_tree_accepts_values_again_after_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
