/* test_base_rng.c: what is derived from a source's doubles. */
#include "support.h"

#include "base/rng.h"

static double
three_quarters(ct_rng *r)
{
    (void)r;
    return 0.75;
}

static double
tenth(ct_rng *r)
{
    (void)r;
    return 0.1;
}

static void
test_uniform_is_low_plus_the_range_times_the_double(void **state)
{
    (void)state;
    ct_rng r = {three_quarters, NULL, NULL};
    assert_true(ct_rng_uniform(&r, 2.0, 6.0) == 5.0);
    assert_true(ct_rng_uniform(&r, 6.0, 2.0) == 3.0);
    assert_true(ct_rng_uniform(&r, 2.0, 2.0) == 2.0);
}

static void
test_uniform_rounds_the_product_before_the_sum(void **state)
{
    (void)state;
    ct_rng r = {tenth, NULL, NULL};
    volatile double range = 0.3 - -0.1; /* volatile: each step is rounded to a double */
    volatile double product = range * 0.1;
    volatile double sum = -0.1 + product;
    assert_true(ct_rng_uniform(&r, -0.1, 0.3) == sum);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform_is_low_plus_the_range_times_the_double),
        cmocka_unit_test(test_uniform_rounds_the_product_before_the_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
