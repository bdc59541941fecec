/* ASHA: rungs, decisions, brackets, state. Recorded decisions of the reference are
 * replayed in tests/python; here are the facts that a reader of the paper expects. */
#include "support.h"

#include "base/json.h"
#include "base/pcg.h"
#include "sched/asha.h"

#include <math.h>
#include <string.h>

/* A source that says what the test wants. */
typedef struct fixed_rng {
    ct_rng rng; /* first */
    double next;
    size_t draws;
} fixed_rng;

static double
fixed_double(ct_rng *r)
{
    fixed_rng *f = (fixed_rng *)r;
    f->draws++;
    return f->next;
}

static fixed_rng
fixed(double next)
{
    return (fixed_rng){{fixed_double, NULL, NULL}, next, 0};
}

enum { TIME = 1, SCORE = 2 };

static ct_asha_opts
options(ct_rng *rng)
{
    return (ct_asha_opts){.time_attr = TIME,
                          .metric = SCORE,
                          .maximize = true,
                          .max_t = 100.0,
                          .grace_period = 1.0,
                          .reduction_factor = 4.0,
                          .brackets = 1,
                          .stop_last_trials = true,
                          .rng = rng};
}

static ct_asha *
make(const ct_asha_opts *o)
{
    ct_err err = CT_ERR_INIT;
    ct_asha *a = NULL;
    assert_ok(ct_asha_new(&a, o, &err), err);
    return a;
}

static void
done(ct_asha *a)
{
    ct_scheduler *s = ct_asha_scheduler(a);
    s->ops->free(s);
}

static void
add(ct_asha *a, ct_trial_id t)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_asha_add(a, t, &err), err);
}

static ct_verdict
result(ct_asha *a, ct_trial_id t, double time, double value)
{
    ct_err err = CT_ERR_INIT;
    ct_verdict v = CT_NOOP;
    assert_ok(ct_asha_result(a, t, time, value, &v, &err), err);
    return v;
}

static void
test_rungs_are_powers_of_eta_from_the_grace_period(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    o.brackets = 3;
    ct_asha *a = make(&o);
    double expected[3][4] = {{64.0, 16.0, 4.0, 1.0}, {64.0, 16.0, 4.0}, {64.0, 16.0}};
    assert_int_equal(ct_asha_brackets(a), 3);
    for (size_t s = 0; s < 3; s++) {
        assert_int_equal(ct_asha_rungs(a, s), 4 - s);
        for (size_t k = 0; k < 4 - s; k++) {
            assert_true(ct_asha_milestone(a, s, k) == expected[s][k]);
        }
    }
    done(a);
}

static void
test_the_number_of_rungs_truncates_the_float_expression(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    o.max_t = 1000.0;
    o.reduction_factor = 10.0;
    ct_asha *a = make(&o); /* ln 1000 / ln 10 = 2.9999999999999996 */
    assert_int_equal(ct_asha_rungs(a, 0), 3);
    done(a);
    o.max_t = 81.0;
    o.reduction_factor = 3.0;
    o.brackets = 7;
    a = make(&o);
    assert_int_equal(ct_asha_rungs(a, 0), 5);
    assert_int_equal(ct_asha_rungs(a, 4), 1);
    assert_int_equal(ct_asha_rungs(a, 5), 0);
    assert_int_equal(ct_asha_rungs(a, 6), 0); /* not negative */
    done(a);
}

static void
test_the_third_trial_stops_below_the_median_of_the_first_two(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    double cutoff = 0.0;
    o.max_t = 10.0;
    o.reduction_factor = 2.0;
    ct_asha *a = make(&o);
    size_t last = ct_asha_rungs(a, 0) - 1;
    for (ct_trial_id t = 0; t < 3; t++) {
        add(a, t);
    }
    assert_false(ct_asha_cutoff(a, 0, last, &cutoff));
    assert_int_equal(result(a, 0, 1.0, 2.0), CT_CONTINUE);
    assert_int_equal(result(a, 1, 1.0, 4.0), CT_CONTINUE);
    assert_true(ct_asha_cutoff(a, 0, last, &cutoff));
    assert_true(cutoff == 3.0);
    assert_int_equal(result(a, 2, 1.0, 1.0), CT_STOP);
    assert_int_equal(ct_asha_num_stopped(a), 1);
    assert_true(ct_asha_cutoff(a, 0, last, &cutoff));
    assert_true(cutoff == 2.0); /* the stopped one counts as well */
    done(a);
}

static void
test_smaller_is_better_when_minimizing(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    o.reduction_factor = 2.0;
    ct_asha *a = make(&o);
    ct_asha_set_objective(a, SCORE, false);
    for (ct_trial_id t = 0; t < 3; t++) {
        add(a, t);
    }
    assert_int_equal(result(a, 0, 1.0, 2.0), CT_CONTINUE);
    assert_int_equal(result(a, 1, 1.0, 4.0), CT_STOP);
    assert_int_equal(result(a, 2, 1.0, 1.0), CT_CONTINUE);
    done(a);
}

static void
test_ties_with_the_cutoff_continue(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    ct_asha *a = make(&o);
    for (ct_trial_id t = 0; t < 20; t++) {
        add(a, t);
        assert_int_equal(result(a, t, 1.0, 0.25), CT_CONTINUE);
    }
    done(a);
}

static void
test_a_nan_score_never_stops_and_later_cutoffs_ignore_it(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    o.reduction_factor = 2.0;
    ct_asha *a = make(&o);
    for (ct_trial_id t = 0; t < 4; t++) {
        add(a, t);
    }
    assert_int_equal(result(a, 0, 1.0, (double)NAN), CT_CONTINUE);
    assert_int_equal(result(a, 1, 1.0, 5.0), CT_CONTINUE); /* cutoff is NaN */
    assert_int_equal(result(a, 2, 1.0, (double)NAN), CT_CONTINUE);
    assert_int_equal(result(a, 3, 1.0, 4.0), CT_STOP);
    assert_int_equal(ct_asha_recorded(a, 0, ct_asha_rungs(a, 0) - 1), 4);
    done(a);
}

static void
test_max_t_stops_even_a_trial_that_was_never_added(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    ct_err err = CT_ERR_INIT;
    ct_verdict v;
    ct_asha *a = make(&o);
    assert_int_equal(result(a, 9, 100.0, 1.0), CT_STOP);
    assert_int_equal(ct_asha_num_stopped(a), 1);
    assert_int_equal(ct_asha_result(a, 9, 99.0, 1.0, &v, &err), CT_ESTATE);
    done(a);
}

static void
test_a_jump_is_recorded_at_the_highest_rung_first_and_below_later(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    ct_asha *a = make(&o); /* rungs 64, 16, 4, 1 */
    add(a, 0);
    size_t expected[][4] = {{0, 1, 0, 0}, {0, 1, 1, 0}, {0, 1, 1, 1}, {0, 1, 1, 1}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(result(a, 0, 20.0 + (double)i, 1.0), CT_CONTINUE);
        for (size_t k = 0; k < 4; k++) {
            assert_int_equal(ct_asha_recorded(a, 0, k), expected[i][k]);
        }
    }
    done(a);
}

static void
test_without_stop_last_trials_the_best_go_on_past_max_t(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    o.stop_last_trials = false;
    ct_asha *a = make(&o);
    add(a, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(result(a, 0, 200.0, 1.0), CT_CONTINUE);
    }
    assert_int_equal(ct_asha_recorded(a, 0, 0), 1);
    assert_int_equal(ct_asha_recorded(a, 0, 1), 0); /* the walk ends at a known rung */
    done(a);
}

static void
test_a_completed_or_removed_trial_is_forgotten_but_its_scores_stay(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    ct_err err = CT_ERR_INIT;
    ct_asha *a = make(&o);
    add(a, 0);
    add(a, 1);
    assert_ok(ct_asha_complete(a, 0, 1.0, 3.0, &err), err);
    assert_false(ct_asha_knows(a, 0));
    assert_true(ct_asha_knows(a, 1));
    assert_int_equal(ct_asha_recorded(a, 0, 3), 1);
    assert_int_equal(ct_asha_complete(a, 0, 1.0, 3.0, &err), CT_ESTATE);
    ct_asha_remove(a, 1);
    ct_asha_remove(a, 12345);
    assert_false(ct_asha_knows(a, 1));
    add(a, 0); /* a retry: what was recorded is not recorded again */
    assert_int_equal(result(a, 0, 1.0, -9.0), CT_CONTINUE);
    assert_int_equal(ct_asha_recorded(a, 0, 3), 1);
    done(a);
}

static void
test_brackets_are_drawn_in_proportion_to_e_to_the_rungs(void **state)
{
    (void)state;
    double p = 1.0 / (1.0 + exp(-1.0)); /* chance of bracket 0 of two */
    struct {
        double u;
        size_t bracket;
    } cases[] = {{0.0, 0}, {p - 1e-9, 0}, {p + 1e-9, 1}, {0.9999999999999999, 1}};
    for (size_t i = 0; i < 4; i++) {
        fixed_rng rng = fixed(cases[i].u);
        ct_asha_opts o = options(&rng.rng);
        o.brackets = 2;
        ct_asha *a = make(&o);
        add(a, 0);
        assert_int_equal(rng.draws, 1);
        assert_int_equal(result(a, 0, 64.0, 1.0), CT_CONTINUE);
        assert_int_equal(ct_asha_recorded(a, cases[i].bracket, 0), 1);
        assert_int_equal(ct_asha_recorded(a, 1 - cases[i].bracket, 0), 0);
        done(a);
    }
    fixed_rng rng = fixed(0.5);
    ct_asha_opts o = options(&rng.rng);
    ct_asha *a = make(&o);
    add(a, 0);
    assert_int_equal(rng.draws, 1); /* also with a single bracket */
    done(a);
}

static void
expect_invalid(const ct_asha_opts *o, const char *param)
{
    ct_err err = CT_ERR_INIT;
    ct_asha *a = NULL;
    assert_int_equal(ct_asha_new(&a, o, &err), CT_EINVAL);
    assert_string_equal(err.param, param);
    assert_true(strlen(err.text) > 10);
    assert_null(a);
}

static void
test_options_out_of_range_are_named(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    double bad[] = {0.0, -1.0, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < 4; i++) {
        ct_asha_opts o = options(&rng.rng);
        o.max_t = bad[i];
        expect_invalid(&o, "max_t");
        o = options(&rng.rng);
        o.grace_period = bad[i];
        expect_invalid(&o, "grace_period");
        o = options(&rng.rng);
        o.reduction_factor = bad[i];
        expect_invalid(&o, "reduction_factor");
    }
    ct_asha_opts o = options(&rng.rng);
    o.grace_period = 101.0;
    expect_invalid(&o, "grace_period");
    o = options(&rng.rng);
    o.reduction_factor = 1.0;
    expect_invalid(&o, "reduction_factor");
    o.reduction_factor = 1.0000000001;
    expect_invalid(&o, "reduction_factor");
    o = options(&rng.rng);
    o.brackets = 0;
    expect_invalid(&o, "brackets");
    o.brackets = INT64_MAX;
    expect_invalid(&o, "brackets");
}

static void
test_the_description_lists_every_bracket(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_err err = CT_ERR_INIT;
    ct_asha_opts o = options(&rng.rng);
    ct_buf text = CT_BUF_INIT;
    o.brackets = 2;
    o.max_t = 4.0;
    ct_asha *a = make(&o);
    add(a, 0);
    add(a, 1);
    (void)result(a, 0, 1.0, 0.1);
    (void)result(a, 1, 1.0, 0.3);
    assert_ok(ct_asha_describe(a, &text, &err), err);
    assert_ok(ct_buf_terminate(&text, &err), err);
    assert_string_equal((char *)text.data,
                        "Using AsyncHyperBand: num_stopped=0\n"
                        "Bracket: Iter 4.000: None | Iter 1.000: 0.25\n"
                        "Bracket: Iter 4.000: None");
    ct_buf_deinit(&text);
    done(a);
}

/* A stream of results; equal seeds give equal streams. */
static void
play(ct_asha *a, ct_pcg *data, size_t steps, uint8_t *verdicts)
{
    for (size_t i = 0; i < steps; i++) {
        ct_trial_id t = (ct_trial_id)(ct_pcg_next(data) % 50);
        double time = 1.0 + (double)(ct_pcg_next(data) % 90);
        double value = data->rng.next_double(&data->rng);
        if (!ct_asha_knows(a, t)) {
            add(a, t);
        }
        if (ct_pcg_next(data) % 11 == 0) {
            value = (double)NAN;
        }
        verdicts[i] = (uint8_t)result(a, t, time, value);
        if (ct_pcg_next(data) % 17 == 0) {
            ct_asha_remove(a, t);
        }
    }
}

static void
test_a_restored_scheduler_decides_as_the_saved_one(void **state)
{
    (void)state;
    enum { STEPS = 3000 };
    static uint8_t first[STEPS];
    static uint8_t second[STEPS];
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_value v = ct_nil();
    ct_value back = ct_nil();
    ct_buf text = CT_BUF_INIT;
    ct_pcg draws;
    ct_pcg data;
    ct_pcg_init(&draws, 3, 1);
    ct_pcg_init(&data, 4, 1);
    ct_asha_opts o = options(&draws.rng);
    o.brackets = 3;
    o.reduction_factor = 2.5;
    ct_asha *a = make(&o);
    ct_asha *b = make(&o);
    assert_ok(ct_names_new(&names, &err), err);
    play(a, &data, STEPS, first);
    assert_ok(ct_asha_save(a, names, &v, &err), err);
    assert_ok(ct_json_print(&text, &v, names, 0, &err), err);
    assert_ok(ct_json_parse(&back, (char *)text.data, text.len, names, &err), err);
    assert_ok(ct_asha_restore(b, names, &back, &err), err);
    assert_int_equal(ct_asha_num_stopped(a), ct_asha_num_stopped(b));
    ct_pcg draws_then = draws;
    ct_pcg data_then = data;
    play(a, &data, STEPS, first);
    draws = draws_then;
    data = data_then;
    play(b, &data, STEPS, second);
    assert_memory_equal(first, second, STEPS);
    assert_non_null(memchr(first, CT_STOP, STEPS));
    assert_int_equal(ct_asha_num_stopped(a), ct_asha_num_stopped(b));
    ct_value_deinit(&v);
    ct_value_deinit(&back);
    ct_buf_deinit(&text);
    ct_names_free(names);
    done(a);
    done(b);
}

static void
expect_refused(const char *text)
{
    ct_err err = CT_ERR_INIT;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    ct_names *names = NULL;
    ct_value v = ct_nil();
    ct_asha *a = make(&o);
    add(a, 3);
    assert_ok(ct_names_new(&names, &err), err);
    assert_ok(ct_json_parse(&v, text, strlen(text), names, &err), err);
    assert_int_equal(ct_asha_restore(a, names, &v, &err), CT_ECORRUPT);
    assert_true(ct_asha_knows(a, 3));
    ct_value_deinit(&v);
    ct_names_free(names);
    done(a);
}

static void
test_state_of_something_else_is_refused(void **state)
{
    (void)state;
    expect_refused("null");
    expect_refused("{}");
    expect_refused("{\"num_stopped\": 1, \"bracket_of\": [], \"rungs\": []}");
    expect_refused("{\"num_stopped\": 1, \"bracket_of\": [], \"rungs\": [{}]}");
    expect_refused("{\"num_stopped\": 1, \"bracket_of\": [5], \"rungs\": [{}]}");
    expect_refused("{\"num_stopped\": \"x\", \"bracket_of\": [], \"rungs\": [{}]}");
}

static void
test_results_through_the_policy_need_both_numbers(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_err err = CT_ERR_INIT;
    ct_asha_opts o = options(&rng.rng);
    ct_asha *a = make(&o);
    ct_scheduler *s = ct_asha_scheduler(a);
    ct_orders orders = CT_ORDERS_INIT;
    ct_board board = {.now = 0.0};
    ct_metric both[] = {{TIME, 100.0}, {SCORE, 1.0}};
    ct_result full = {both, 2, NULL};
    ct_result time_only = {both, 1, NULL};
    ct_verdict v = CT_NOOP;
    assert_ok(s->ops->on_add(s, &board, 0, &orders, &err), err);
    assert_ok(s->ops->on_result(s, &board, 0, &time_only, &v, &orders, &err), err);
    assert_int_equal(v, CT_CONTINUE);
    assert_ok(s->ops->on_complete(s, &board, 0, &time_only, &orders, &err), err);
    assert_ok(s->ops->on_complete(s, &board, 0, NULL, &orders, &err), err);
    assert_true(ct_asha_knows(a, 0)); /* stays known, as documented */
    assert_ok(s->ops->on_result(s, &board, 0, &full, &v, &orders, &err), err);
    assert_int_equal(v, CT_STOP);
    assert_ok(s->ops->on_error(s, &board, 0, &orders, &err), err);
    assert_true(ct_asha_knows(a, 0));
    assert_ok(s->ops->on_complete(s, &board, 0, &full, &orders, &err), err);
    assert_false(ct_asha_knows(a, 0));
    assert_ok(s->ops->on_remove(s, &board, 0, &orders, &err), err);
    ct_orders_deinit(&orders);
    done(a);
}

static void
test_decisions_between_rungs_allocate_nothing(void **state)
{
    (void)state;
    fixed_rng rng = fixed(0.0);
    ct_asha_opts o = options(&rng.rng);
    ct_asha *a = make(&o);
    for (ct_trial_id t = 0; t < 64; t++) {
        add(a, t);
        (void)result(a, t, 1.0, 1.0);
    }
    int64_t live = ct_mem_live();
    ct_mem_fail_at(1);
    for (ct_trial_id t = 0; t < 64; t++) {
        assert_int_equal(result(a, t, 3.0, 0.0), CT_CONTINUE);
    }
    assert_false(ct_mem_failed());
    ct_mem_fail_at(0);
    assert_int_equal(ct_mem_live(), live);
    done(a);
}

static ct_status
asha_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    fixed_rng rng = fixed(0.5);
    ct_asha_opts o = options(&rng.rng);
    ct_asha *a = NULL;
    ct_names *names = NULL;
    ct_value v = ct_nil();
    ct_buf text = CT_BUF_INIT;
    ct_verdict verdict;
    o.brackets = 2;
    ct_status st = ct_asha_new(&a, &o, err);
    for (ct_trial_id t = 0; st == CT_OK && t < 70; t++) {
        st = ct_asha_add(a, t, err);
        assert_int_equal(ct_asha_knows(a, t), st == CT_OK);
        if (st == CT_OK) {
            st = ct_asha_result(a, t, 1.0, (double)t, &verdict, err);
        }
    }
    if (st == CT_OK) {
        st = ct_names_new(&names, err);
    }
    if (st == CT_OK) {
        st = ct_asha_save(a, names, &v, err);
    }
    if (st == CT_OK) {
        st = ct_asha_restore(a, names, &v, err);
    }
    if (st == CT_OK) {
        st = ct_asha_describe(a, &text, err);
    }
    if (st == CT_OK) {
        st = ct_asha_complete(a, 0, 5.0, 1.0, err);
    }
    ct_buf_deinit(&text);
    ct_value_deinit(&v);
    ct_names_free(names);
    if (a != NULL) {
        done(a);
    }
    return st;
}

static void
test_asha_leaks_nothing_when_memory_runs_out(void **state)
{
    (void)state;
    sweep_allocations(asha_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rungs_are_powers_of_eta_from_the_grace_period),
        cmocka_unit_test(test_the_number_of_rungs_truncates_the_float_expression),
        cmocka_unit_test(test_the_third_trial_stops_below_the_median_of_the_first_two),
        cmocka_unit_test(test_smaller_is_better_when_minimizing),
        cmocka_unit_test(test_ties_with_the_cutoff_continue),
        cmocka_unit_test(test_a_nan_score_never_stops_and_later_cutoffs_ignore_it),
        cmocka_unit_test(test_max_t_stops_even_a_trial_that_was_never_added),
        cmocka_unit_test(
            test_a_jump_is_recorded_at_the_highest_rung_first_and_below_later),
        cmocka_unit_test(test_without_stop_last_trials_the_best_go_on_past_max_t),
        cmocka_unit_test(
            test_a_completed_or_removed_trial_is_forgotten_but_its_scores_stay),
        cmocka_unit_test(test_brackets_are_drawn_in_proportion_to_e_to_the_rungs),
        cmocka_unit_test(test_options_out_of_range_are_named),
        cmocka_unit_test(test_the_description_lists_every_bracket),
        cmocka_unit_test(test_a_restored_scheduler_decides_as_the_saved_one),
        cmocka_unit_test(test_state_of_something_else_is_refused),
        cmocka_unit_test(test_results_through_the_policy_need_both_numbers),
        cmocka_unit_test(test_decisions_between_rungs_allocate_nothing),
        cmocka_unit_test(test_asha_leaks_nothing_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
