/* Means and deviations as NumPy rounds them. */
#include "support.h"

#include "base/stats.h"

#include <math.h>

enum { MOST = 1000 };

/* The values that numpy.mean and numpy.std give for x[i] = ((i * 37) % 101) / 7. */
static void
test_sums_are_rounded_as_numpy_rounds_them(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        double mean;
        double std;
    } expected[] = {
        {1, 0x0.0p+0, 0x0.0p+0},
        {2, 0x1.5249249249249p+1, 0x1.5249249249249p+1},
        {5, 0x1.3333333333333p+2, 0x1.e46e115c2ae31p+1},
        {7, 0x1.6343eb1a1f58dp+2, 0x1.0c95d47c16a59p+2},
        {8, 0x1.7800000000000p+2, 0x1.012878e66236ap+2},
        {9, 0x1.adb6db6db6db7p+2, 0x1.1e1e8c89b48cep+2},
        {15, 0x1.8e04e04e04e05p+2, 0x1.10e5dd3c48a82p+2},
        {16, 0x1.91b6db6db6db7p+2, 0x1.089e9b51c452ap+2},
        {100, 0x1.c7dce434a9b11p+2, 0x1.0b9407675f55ap+2},
        {127, 0x1.c33d5619eab0ep+2, 0x1.0bc249640fecfp+2},
        {128, 0x1.c380000000000p+2, 0x1.0aba22bac4a1dp+2},
        {129, 0x1.c660f4f18aa19p+2, 0x1.0bae161b18970p+2},
        {136, 0x1.c6b90226b9022p+2, 0x1.0b4cbf9c16f82p+2},
        {257, 0x1.c85c36131180dp+2, 0x1.0aff7d8943adfp+2},
        {500, 0x1.c916872b020c5p+2, 0x1.0aca18f16ab8bp+2},
        {777, 0x1.c933a20da64a2p+2, 0x1.0ab39e9ecac8bp+2},
        {1000, 0x1.c93bfa2608c6fp+2, 0x1.0ac8cfbcd59a8p+2},
    };
    double v[MOST];
    for (size_t i = 0; i < MOST; i++) {
        v[i] = (double)(i * 37 % 101) / 7.0;
    }
    for (size_t k = 0; k < sizeof expected / sizeof expected[0]; k++) {
        assert_true(ct_mean(v, expected[k].n) == expected[k].mean);
        assert_true(ct_std(v, expected[k].n) == expected[k].std);
    }
}

static void
test_nothing_has_neither_mean_nor_deviation(void **state)
{
    (void)state;
    assert_true(isnan(ct_mean(NULL, 0)));
    assert_true(isnan(ct_std(NULL, 0)));
    assert_true(ct_sum(NULL, 0) == 0.0);
}

static void
test_what_is_no_number_has_no_deviation(void **state)
{
    (void)state;
    const double with_nan[] = {1.0, (double)NAN, 1.0};
    const double with_inf[] = {1.0, (double)INFINITY};
    assert_true(isnan(ct_mean(with_nan, 3)));
    assert_true(isnan(ct_std(with_nan, 3)));
    assert_true(isinf(ct_mean(with_inf, 2)));
    assert_true(isnan(ct_std(with_inf, 2)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_are_rounded_as_numpy_rounds_them),
        cmocka_unit_test(test_nothing_has_neither_mean_nor_deviation),
        cmocka_unit_test(test_what_is_no_number_has_no_deviation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
