/* test_base_pcg.c: our stream, against NumPy's PCG64 set to the same state. */
#include "support.h"

#include "base/pcg.h"

#include <math.h>
#include <string.h>

static void
test_stream_is_that_of_pcg_xsl_rr_128_64(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        uint64_t stream;
        uint64_t want[6];
    } cases[] = {
        {42,
         54,
         {0x86B1DA1D72062B68U, 0x1304AA46C9853D39U, 0xA3670E9E0DD50358U,
          0xF9090E529A7DAE00U, 0xC85B9FD837996F2CU, 0x606121F8E3919196U}},
        {UINT64_MAX,
         UINT64_MAX,
         {0xD647663E811BBA63U, 0x47D514FA3F5712EBU, 0x7DBEF47A6728BF46U,
          0xAF10D90C95FEBB06U, 0xD272C581230CAEE4U, 0xB2579D567C77049CU}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        ct_pcg p;
        ct_pcg_init(&p, cases[k].seed, cases[k].stream);
        for (size_t i = 0; i < 6; i++) {
            assert_int_equal(ct_pcg_next(&p), cases[k].want[i]);
        }
        ct_pcg_init(&p, cases[k].seed, cases[k].stream);
        assert_true(p.rng.next_double(&p.rng) ==
                    (double)(cases[k].want[0] >> 11) * 0x1p-53);
    }
}

static void
test_four_numbers_restore_a_stream(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg p;
    ct_pcg q;
    double a = 0.0;
    double b = 1.0;
    ct_pcg_init(&p, 1, 2);
    assert_ok(p.rng.normal(&p.rng, 0.0, 1.0, &a, &err), err);
    ct_pcg_init(&q, 3, 4);
    memcpy(q.state, p.state, sizeof q.state);
    memcpy(q.inc, p.inc, sizeof q.inc);
    for (int i = 0; i < 10; i++) {
        assert_ok(p.rng.normal(&p.rng, 0.0, 1.0, &a, &err), err);
        assert_ok(q.rng.normal(&q.rng, 0.0, 1.0, &b, &err), err);
        assert_true(a == b);
    }
}

static void
test_streams_and_seeds_differ(void **state)
{
    (void)state;
    ct_pcg p;
    ct_pcg q;
    ct_pcg r;
    ct_pcg_init(&p, 1, 1);
    ct_pcg_init(&q, 2, 1);
    ct_pcg_init(&r, 1, 2);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t a = ct_pcg_next(&p);
        same += (a == ct_pcg_next(&q)) + (a == ct_pcg_next(&r));
    }
    assert_int_equal(same, 0);
}

static void
test_doubles_fill_the_unit_interval(void **state)
{
    (void)state;
    ct_pcg p;
    ct_pcg_init(&p, 11, 1);
    int bins[10] = {0};
    for (int i = 0; i < 100000; i++) {
        double u = p.rng.next_double(&p.rng);
        assert_true(u >= 0.0 && u < 1.0);
        bins[(int)(u * 10.0)]++;
    }
    for (int k = 0; k < 10; k++) { /* expected 10000, standard deviation 95 */
        assert_in_range(bins[k], 9500, 10500);
    }
}

static void
test_normals_have_their_moments(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg p;
    ct_pcg_init(&p, 12, 1);
    double sum = 0.0;
    double squares = 0.0;
    int within = 0;
    enum { N = 100000 };
    for (int i = 0; i < N; i++) {
        double v = 0.0;
        assert_ok(p.rng.normal(&p.rng, 3.0, 2.0, &v, &err), err);
        double z = (v - 3.0) / 2.0;
        sum += z;
        squares += z * z;
        within += fabs(z) < 1.0 ? 1 : 0;
    }
    assert_true(fabs(sum / N) < 0.02);
    assert_true(fabs(squares / N - 1.0) < 0.03);
    assert_true(fabs((double)within / N - 0.6827) < 0.01);
}

static void
test_normal_of_no_width_is_its_mean_and_bad_width_is_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg p;
    double v = 0.0;
    ct_pcg_init(&p, 12, 1);
    assert_ok(p.rng.normal(&p.rng, 3.5, 0.0, &v, &err), err);
    assert_true(v == 3.5);
    assert_int_equal(p.rng.normal(&p.rng, 0.0, -1.0, &v, &err), CT_EINVAL);
    assert_string_equal(err.param, "sd");
    assert_int_equal(p.rng.normal(&p.rng, 0.0, (double)NAN, &v, &err), CT_EINVAL);
}

static void
test_integers_are_uniform_over_any_range(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg p;
    ct_pcg_init(&p, 13, 1);
    int bins[7] = {0};
    int64_t v = 0;
    for (int i = 0; i < 70000; i++) {
        assert_ok(p.rng.integers(&p.rng, -3, 4, &v, &err), err);
        assert_in_range(v + 3, 0, 6);
        bins[v + 3]++;
    }
    for (int k = 0; k < 7; k++) {
        assert_in_range(bins[k], 9500, 10500);
    }
    /* Three quarters of 2^64: without rejection a third would come twice as often. */
    int low = 0;
    for (int i = 0; i < 30000; i++) {
        assert_ok(p.rng.integers(&p.rng, INT64_MIN, INT64_MAX / 2, &v, &err), err);
        assert_true(v < INT64_MAX / 2);
        low += v < INT64_MIN / 2 ? 1 : 0;
    }
    assert_in_range(low, 9600, 10400);
}

static void
test_integer_ranges_reach_their_ends(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg p;
    ct_pcg_init(&p, 14, 1);
    int64_t v = 0;
    int negative = 0;
    for (int i = 0; i < 1000; i++) {
        assert_ok(p.rng.integers(&p.rng, 5, 6, &v, &err), err);
        assert_int_equal(v, 5);
        assert_ok(p.rng.integers(&p.rng, INT64_MIN, INT64_MIN + 1, &v, &err), err);
        assert_true(v == INT64_MIN);
        assert_ok(p.rng.integers(&p.rng, INT64_MIN, INT64_MAX, &v, &err), err);
        negative += v < 0 ? 1 : 0;
    }
    assert_in_range(negative, 400, 600);
    assert_int_equal(p.rng.integers(&p.rng, 5, 5, &v, &err), CT_EINVAL);
    assert_int_equal(p.rng.integers(&p.rng, INT64_MAX, INT64_MIN, &v, &err), CT_EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_is_that_of_pcg_xsl_rr_128_64),
        cmocka_unit_test(test_four_numbers_restore_a_stream),
        cmocka_unit_test(test_streams_and_seeds_differ),
        cmocka_unit_test(test_doubles_fill_the_unit_interval),
        cmocka_unit_test(test_normals_have_their_moments),
        cmocka_unit_test(test_normal_of_no_width_is_its_mean_and_bad_width_is_refused),
        cmocka_unit_test(test_integers_are_uniform_over_any_range),
        cmocka_unit_test(test_integer_ranges_reach_their_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
