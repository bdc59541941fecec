/* Tests of space/domain.h. */
#include "space_support.h"

#include <math.h>

static double
sample_f64(ct_domain d, double u)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    s_script s = s_script_of(&u, 1);
    assert_ok(ct_domain_prepare(&d, "x", &err), err);
    assert_ok(ct_domain_sample(&d, &s.rng, &v, &err), err);
    assert_int_equal(v.kind, CT_F64);
    assert_int_equal(s.draws, 1);
    return v.u.f;
}

static int64_t
sample_i64(ct_domain d, double u)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    s_script s = s_script_of(&u, 1);
    assert_ok(ct_domain_prepare(&d, "x", &err), err);
    assert_ok(ct_domain_sample(&d, &s.rng, &v, &err), err);
    assert_int_equal(v.kind, CT_I64);
    return v.u.i;
}

static void
same(double a, double b)
{
    assert_memory_equal(&a, &b, sizeof a);
}

static void
test_uniform_is_lower_plus_range_times_the_draw(void **state)
{
    (void)state;
    ct_domain d = {.kind = CT_DOMAIN_FLOAT, .lower = -1.5, .upper = 2.5};
    same(sample_f64(d, 0.0), -1.5);
    same(sample_f64(d, 0.5), 0.5);
    d.upper = -1.5; /* one value only */
    same(sample_f64(d, 0.7), -1.5);
}

static void
test_loguniform_is_the_base_to_the_power_of_a_uniform_draw(void **state)
{
    (void)state;
    double bases[] = {10.0, 2.0, 0.5};
    for (size_t i = 0; i < 3; i++) {
        double b = bases[i];
        ct_domain d = {.kind = CT_DOMAIN_FLOAT,
                       .log = true,
                       .base = b,
                       .lower = 1e-4,
                       .upper = 1.0};
        double lo = log(1e-4) / log(b);
        double hi = log(1.0) / log(b);
        double range = hi - lo;
        double u = lo + range * 0.3;
        same(sample_f64(d, 0.3), pow(b, u));
    }
}

static void
test_log_values_never_leave_their_bounds(void **state)
{
    (void)state;
    for (int i = 1; i < 400; i++) {
        ct_domain d = {
            .kind = CT_DOMAIN_FLOAT, .log = true, .lower = i, .upper = i + 1};
        assert_true(sample_f64(d, 0.0) >= i);
        assert_true(sample_f64(d, 1.0) <= i + 1);
        ct_domain n = {.kind = CT_DOMAIN_INT, .log = true, .low = i, .high = 5 * i};
        assert_int_equal(sample_i64(n, 0.0), i);
        assert_int_equal(sample_i64(n, 1.0), 5 * i - 1);
    }
}

static void
test_quantised_floats_round_half_to_even_and_reach_both_bounds(void **state)
{
    (void)state;
    ct_domain d = {.kind = CT_DOMAIN_FLOAT, .lower = 0.0, .upper = 1.0, .q = 0.25};
    same(sample_f64(d, 0.0), 0.0);
    same(sample_f64(d, 0.99), 1.0);
    same(sample_f64(d, 0.375), 0.5);
    same(sample_f64(d, 0.125), 0.0);
    ct_domain thirds = {.kind = CT_DOMAIN_FLOAT, .lower = 0.3, .upper = 0.9, .q = 0.3};
    same(sample_f64(thirds, 0.0), 0.3);
    same(sample_f64(thirds, 0.99), 3 * 0.3);
    ct_domain ones = {.kind = CT_DOMAIN_FLOAT, .lower = 1.0, .upper = 5.0, .q = 1.0};
    same(sample_f64(ones, 0.6250954666046669), 4.0);
}

static void
test_quantised_integers_are_equally_likely_and_reach_the_upper_bound(void **state)
{
    (void)state;
    ct_domain d = {.kind = CT_DOMAIN_INT, .low = 1, .high = 7, .q = 2.0};
    int seen[8] = {0};
    for (int i = 0; i < 300; i++) {
        seen[sample_i64(d, i / 300.0)]++;
    }
    assert_int_equal(seen[2], 100);
    assert_int_equal(seen[4], 100);
    assert_int_equal(seen[6], 100);
    ct_domain one = {.kind = CT_DOMAIN_INT, .low = 3, .high = 3, .q = 3.0};
    assert_int_equal(sample_i64(one, 0.9), 3);
    ct_domain negative = {.kind = CT_DOMAIN_INT, .low = -7, .high = -1, .q = 2.0};
    assert_int_equal(sample_i64(negative, 0.0), -6);
    assert_int_equal(sample_i64(negative, 0.99), -2);
    ct_domain half = {.kind = CT_DOMAIN_INT, .low = 0, .high = 10, .q = 2.5};
    assert_int_equal(sample_i64(half, 0.99), 10);
    assert_int_equal(sample_i64(half, 0.7), 7);
    ct_domain log_two = {
        .kind = CT_DOMAIN_INT, .log = true, .low = 2, .high = 10, .q = 2.0};
    assert_int_equal(sample_i64(log_two, 0.0), 2);
    assert_int_equal(sample_i64(log_two, 0.999), 10);
}

static void
test_integers_span_all_of_int64(void **state)
{
    (void)state;
    ct_domain d = {.kind = CT_DOMAIN_INT, .low = INT64_MIN, .high = INT64_MAX};
    ct_pcg pcg;
    ct_pcg_init(&pcg, 1, 1);
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_domain_prepare(&d, "x", &err), err);
    bool low = false;
    bool high = false;
    for (int i = 0; i < 100; i++) {
        ct_value v = ct_nil();
        assert_ok(ct_domain_sample(&d, &pcg.rng, &v, &err), err);
        low = low || v.u.i < INT64_MIN / 4;
        high = high || v.u.i > INT64_MAX / 4;
    }
    assert_true(low && high);
    ct_domain wide = {
        .kind = CT_DOMAIN_INT, .low = INT64_MIN, .high = INT64_MAX, .q = 1e15};
    assert_ok(ct_domain_prepare(&wide, "x", &err), err);
    assert_int_equal(wide.draw_first, -9223);
    assert_int_equal(wide.draw_end, 9224);
}

static void
test_normal_takes_mean_and_deviation(void **state)
{
    (void)state;
    ct_domain d = {.kind = CT_DOMAIN_NORMAL, .mean = 1.0, .sd = 2.0};
    same(sample_f64(d, 0.25), 1.5);
    d.q = 0.4;
    same(sample_f64(d, 0.25), 4 * 0.4);
}

static void
test_choice_draws_an_index(void **state)
{
    (void)state;
    ct_domain d = {.kind = CT_DOMAIN_CHOICE, .count = 4};
    assert_int_equal(sample_i64(d, 0.0), 0);
    assert_int_equal(sample_i64(d, 0.99), 3);
}

static void
refused(ct_domain d, const char *word)
{
    ct_err err = CT_ERR_INIT;
    assert_int_equal(ct_domain_prepare(&d, "nest/lr", &err), CT_EINVAL);
    assert_string_equal(err.param, "nest/lr");
    if (strstr(err.text, word) == NULL) {
        fail_msg("`%s` lacks `%s`", err.text, word);
    }
    assert_false(d.prepared);
}

static void
test_bad_bounds_are_refused_with_the_path_and_the_values(void **state)
{
    (void)state;
    refused((ct_domain){.kind = CT_DOMAIN_FLOAT, .lower = 2, .upper = 1}, "swap");
    refused((ct_domain){.kind = CT_DOMAIN_FLOAT, .lower = 0, .upper = INFINITY},
            "finite");
    refused((ct_domain){.kind = CT_DOMAIN_FLOAT, .lower = NAN, .upper = 1}, "finite");
    refused((ct_domain){.kind = CT_DOMAIN_FLOAT, .lower = -1e308, .upper = 1e308},
            "wide");
    refused((ct_domain){.kind = CT_DOMAIN_FLOAT, .lower = 0, .upper = 1, .log = true},
            "lower");
    refused(
        (ct_domain){
            .kind = CT_DOMAIN_FLOAT, .lower = 1, .upper = 2, .log = true, .base = 1.0},
        "base");
    refused(
        (ct_domain){
            .kind = CT_DOMAIN_FLOAT, .lower = 1, .upper = 2, .log = true, .base = -2.0},
        "base");
    refused((ct_domain){.kind = CT_DOMAIN_FLOAT, .lower = 1, .upper = 2, .q = -1.0},
            "q");
    refused((ct_domain){.kind = CT_DOMAIN_FLOAT, .lower = 1, .upper = 2, .q = 5.0},
            "multiple");
    refused((ct_domain){.kind = CT_DOMAIN_INT, .low = 3, .high = 3}, "less than");
    refused((ct_domain){.kind = CT_DOMAIN_INT, .low = 1, .high = 2, .q = 5.0},
            "multiple");
    refused(
        (ct_domain){
            .kind = CT_DOMAIN_INT, .low = INT64_MIN, .high = INT64_MAX, .q = 2.0},
        "too many");
    refused((ct_domain){.kind = CT_DOMAIN_INT, .low = 0, .high = 5, .log = true},
            "lower");
    refused((ct_domain){.kind = CT_DOMAIN_NORMAL, .mean = 0, .sd = 0}, "deviation");
    refused((ct_domain){.kind = CT_DOMAIN_CHOICE}, "nothing");
}

static void
test_contains_counts_the_upper_bound(void **state)
{
    (void)state;
    ct_domain d = {.kind = CT_DOMAIN_FLOAT, .lower = 0, .upper = 1};
    ct_value v = ct_f64(1.0);
    assert_true(ct_domain_contains(&d, &v));
    v = ct_i64(2);
    assert_false(ct_domain_contains(&d, &v));
    v = ct_nil();
    assert_false(ct_domain_contains(&d, &v));
    ct_domain n = {.kind = CT_DOMAIN_INT, .low = 0, .high = 5};
    v = ct_i64(5);
    assert_true(ct_domain_contains(&n, &v));
    ct_domain c = {.kind = CT_DOMAIN_CHOICE, .count = 5};
    assert_false(ct_domain_contains(&c, &v));
    ct_domain normal = {.kind = CT_DOMAIN_NORMAL, .sd = 1};
    assert_true(ct_domain_contains(&normal, &v));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform_is_lower_plus_range_times_the_draw),
        cmocka_unit_test(test_loguniform_is_the_base_to_the_power_of_a_uniform_draw),
        cmocka_unit_test(test_log_values_never_leave_their_bounds),
        cmocka_unit_test(
            test_quantised_floats_round_half_to_even_and_reach_both_bounds),
        cmocka_unit_test(
            test_quantised_integers_are_equally_likely_and_reach_the_upper_bound),
        cmocka_unit_test(test_integers_span_all_of_int64),
        cmocka_unit_test(test_normal_takes_mean_and_deviation),
        cmocka_unit_test(test_choice_draws_an_index),
        cmocka_unit_test(test_bad_bounds_are_refused_with_the_path_and_the_values),
        cmocka_unit_test(test_contains_counts_the_upper_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
