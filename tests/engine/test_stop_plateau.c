/* Plateau stoppers. */
#include "support.h"

#include "base/json.h"
#include "stop/plateau.h"

#include <math.h>
#include <string.h>

static const ct_trial_plateau_opts TRIAL = {.metric = "loss",
                                            .metric_len = 4,
                                            .std = 0.01,
                                            .num_results = 4,
                                            .grace_period = 4};
static const ct_experiment_plateau_opts EXPERIMENT = {
    .metric = "loss", .metric_len = 4, .std = 0.001, .top = 3, .patience = 0};

static ct_stopper *
trial_new(ct_trial_plateau_opts opts)
{
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    assert_ok(ct_stop_trial_plateau_new(&s, &opts, &err), err);
    return s;
}

static ct_stopper *
experiment_new(ct_experiment_plateau_opts opts)
{
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    assert_ok(ct_stop_experiment_plateau_new(&s, &opts, &err), err);
    return s;
}

static bool
told(ct_stopper *s, ct_trial_id t, double value)
{
    ct_err err = CT_ERR_INIT;
    bool stop = true;
    assert_ok(ct_stop_trial_plateau_check(s, t, value, &stop, &err), err);
    return stop;
}

/* The number of the value (from 1) with which the trial stops; 0 if it never does. */
static int
stops_at(ct_trial_plateau_opts opts, const double *values, int n)
{
    ct_stopper *s = trial_new(opts);
    int at = 0;
    for (int i = 0; at == 0 && i < n; i++) {
        at = told(s, 3, values[i]) ? i + 1 : 0;
    }
    s->ops->free(s);
    return at;
}

static void
test_a_trial_stops_when_its_last_values_are_close(void **state)
{
    (void)state;
    const double v[] = {9, 5, 3, 1, 1, 1, 1, 1};
    assert_int_equal(stops_at(TRIAL, v, 8), 7);
    ct_trial_plateau_opts opts = TRIAL;
    opts.num_results = 2;
    assert_int_equal(stops_at(opts, v, 8), 5);
    opts.grace_period = 8;
    assert_int_equal(stops_at(opts, v, 8), 8);
    opts = TRIAL;
    opts.std = 0.0; /* a deviation is never below 0 */
    assert_int_equal(stops_at(opts, v, 8), 0);
}

static void
test_a_trial_goes_on_while_a_nan_is_among_its_last_values(void **state)
{
    (void)state;
    const double v[] = {1, 1, (double)NAN, 1, 1, 1, 1};
    assert_int_equal(stops_at(TRIAL, v, 7), 7);
    const double inf[] = {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY};
    assert_int_equal(stops_at(TRIAL, inf, 5), 0);
}

static void
test_a_threshold_keeps_bad_trials_going(void **state)
{
    (void)state;
    const double v[] = {2, 2, 2, 2, 2, 1, 1, 1, 1};
    ct_trial_plateau_opts opts = TRIAL;
    opts.has_threshold = true;
    opts.threshold = 1.0;
    assert_int_equal(stops_at(opts, v, 9), 9);
    opts.maximize = true;
    assert_int_equal(stops_at(opts, v, 9), 4);
    opts.threshold = 3.0;
    assert_int_equal(stops_at(opts, v, 9), 0);
}

static void
test_trials_do_not_mix(void **state)
{
    (void)state;
    ct_stopper *s = trial_new(TRIAL);
    for (ct_trial_id t = 0; t < 40; t++) {
        for (int i = 0; i < 3; i++) {
            assert_false(told(s, t, t));
        }
    }
    for (ct_trial_id t = 0; t < 40; t++) {
        assert_true(told(s, t, t));
    }
    s->ops->free(s);
}

static bool
over(ct_stopper *s, const double *values, int n)
{
    bool stop = false;
    for (int i = 0; i < n; i++) {
        stop = ct_stop_experiment_plateau_check(s, values[i]);
    }
    assert_int_equal(stop, ct_stop_experiment_plateau_over(s));
    return stop;
}

static void
test_the_experiment_stops_when_its_best_values_are_close(void **state)
{
    (void)state;
    const double v[] = {5, 1, 9, 1, 9, 9, (double)NAN, 1};
    ct_stopper *s = experiment_new(EXPERIMENT);
    assert_false(over(s, v, 7));
    assert_true(over(s, v + 7, 1));
    s->ops->free(s);
    ct_experiment_plateau_opts opts = EXPERIMENT;
    opts.maximize = true;
    s = experiment_new(opts);
    assert_false(over(s, v, 5));
    assert_true(over(s, v + 5, 1));
    s->ops->free(s);
}

static void
test_patience_counts_results_in_a_row(void **state)
{
    (void)state;
    const double v[] = {1, 1, 1, 7, 0.5, 7, 0.5, 0.5, 8, 8};
    ct_experiment_plateau_opts opts = EXPERIMENT;
    opts.patience = 3;
    ct_stopper *s = experiment_new(opts);
    assert_false(over(s, v, 4)); /* two found it */
    assert_true(ct_stop_experiment_plateau_reached(s));
    assert_false(over(s, v + 4, 1)); /* a new best one: it starts anew */
    assert_false(ct_stop_experiment_plateau_reached(s));
    assert_false(over(s, v + 5, 4));
    assert_true(over(s, v + 9, 1));
    s->ops->free(s);
}

static ct_value
value_of(ct_names *names, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    assert_ok(ct_json_parse(&v, text, strlen(text), names, &err), err);
    return v;
}

static void
check_twin(ct_stopper *s, ct_stopper *twin)
{
    ct_err err = CT_ERR_INIT;
    ct_value saved = ct_nil();
    ct_value again = ct_nil();
    assert_ok(s->ops->save(s, NULL, &saved, &err), err);
    assert_ok(twin->ops->restore(twin, NULL, &saved, NULL, &err), err);
    assert_ok(twin->ops->save(twin, NULL, &again, &err), err);
    assert_true(ct_value_equal(&saved, &again));
    ct_value_deinit(&saved);
    ct_value_deinit(&again);
}

static void
test_a_restored_stopper_decides_as_the_saved_one(void **state)
{
    (void)state;
    const double v[] = {3, 1, 1, 2, 1, 1, 1, 1, 1, 5, 1, 1};
    for (int cut = 0; cut < 12; cut++) {
        ct_experiment_plateau_opts opts = EXPERIMENT;
        opts.patience = 2;
        ct_stopper *a[2] = {trial_new(TRIAL), experiment_new(opts)};
        ct_stopper *b[2] = {trial_new(TRIAL), experiment_new(opts)};
        for (int i = 0; i < 12; i++) {
            if (i == cut) {
                check_twin(a[0], b[0]);
                check_twin(a[1], b[1]);
            }
            bool one = told(a[0], 2, v[i]);
            bool all = ct_stop_experiment_plateau_check(a[1], v[i]);
            if (i >= cut) {
                assert_int_equal(told(b[0], 2, v[i]), one);
                assert_int_equal(ct_stop_experiment_plateau_check(b[1], v[i]), all);
            }
        }
        for (int k = 0; k < 2; k++) {
            a[k]->ops->free(a[k]);
            b[k]->ops->free(b[k]);
        }
    }
}

static void
test_damaged_states_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const char *damaged[] = {
        "3", "{}", "[[4, 1, 1]]", "[[\"a\"]]", "[[1, 1, 1]]", "[[1, \"a\"]]", "[[-1]]"};
    ct_err err = CT_ERR_INIT;
    ct_names *names;
    assert_ok(ct_names_new(&names, &err), err);
    ct_stopper *a = trial_new(TRIAL);
    ct_stopper *b = experiment_new(EXPERIMENT);
    for (int i = 0; i < 3; i++) {
        assert_false(told(a, 0, 1.0));
    }
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        ct_value v = value_of(names, damaged[i]);
        assert_int_equal(a->ops->restore(a, names, &v, NULL, &err), CT_ECORRUPT);
        assert_int_equal(b->ops->restore(b, names, &v, NULL, &err), CT_ECORRUPT);
        ct_value_deinit(&v);
    }
    assert_true(told(a, 0, 1.0));
    a->ops->free(a);
    b->ops->free(b);
    ct_names_free(names);
}

static void
test_in_a_run_the_metric_is_found_by_its_key(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *names;
    ct_name loss;
    bool stop = true;
    assert_ok(ct_names_new(&names, &err), err);
    assert_ok(ct_names_intern(names, "loss", 4, &loss, &err), err);
    ct_board board = {.names = names};
    ct_metric item = {loss, 1.0};
    ct_result with = {&item, 1, NULL};
    ct_result without = {NULL, 0, NULL};
    ct_stopper *a = trial_new(TRIAL);
    ct_stopper *b = experiment_new(EXPERIMENT);
    assert_ok(a->ops->on_result(a, &board, 0, &without, &stop, &err), err);
    assert_false(stop);
    assert_int_equal(b->ops->on_result(b, &board, 0, &without, &stop, &err), CT_ETUNE);
    for (int i = 0; i < 4; i++) {
        assert_ok(a->ops->on_result(a, &board, 0, &with, &stop, &err), err);
        assert_int_equal(stop, i == 3);
    }
    for (int i = 0; i < 3; i++) {
        assert_ok(b->ops->on_result(b, &board, 0, &with, &stop, &err), err);
        assert_int_equal(stop, i == 2);
    }
    assert_ok(a->ops->stop_all(a, &board, &stop, &err), err);
    assert_false(stop);
    assert_ok(b->ops->stop_all(b, &board, &stop, &err), err);
    assert_true(stop);
    a->ops->free(a);
    b->ops->free(b);
    ct_names_free(names);
}

static void
test_options_out_of_range_are_named(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    ct_trial_plateau_opts t[] = {TRIAL, TRIAL, TRIAL, TRIAL};
    t[0].num_results = 0;
    t[1].std = (double)NAN;
    t[2].has_threshold = true;
    t[2].threshold = (double)NAN;
    t[3].metric_len = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ct_stop_trial_plateau_new(&s, &t[i], &err), CT_EINVAL);
    }
    ct_experiment_plateau_opts e[] = {EXPERIMENT, EXPERIMENT, EXPERIMENT, EXPERIMENT};
    e[0].top = 1;
    e[1].std = 0.0;
    e[2].patience = -1;
    e[3].metric_len = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ct_stop_experiment_plateau_new(&s, &e[i], &err), CT_EINVAL);
    }
}

static ct_status
plateau_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_stopper *s[2] = {NULL, NULL};
    bool stop;
    ct_status st = ct_stop_trial_plateau_new(&s[0], &TRIAL, err);
    if (st == CT_OK) {
        st = ct_stop_experiment_plateau_new(&s[1], &EXPERIMENT, err);
    }
    for (ct_trial_id t = 0; st == CT_OK && t < 20; t += 3) {
        st = ct_stop_trial_plateau_check(s[0], t, 1.0, &stop, err);
    }
    for (int i = 0; st == CT_OK && i < 2; i++) {
        ct_value saved = ct_nil();
        st = s[i]->ops->save(s[i], NULL, &saved, err);
        if (st == CT_OK) {
            st = s[i]->ops->restore(s[i], NULL, &saved, NULL, err);
        }
        ct_value_deinit(&saved);
    }
    for (int i = 0; i < 2; i++) {
        if (s[i] != NULL) {
            s[i]->ops->free(s[i]);
        }
    }
    return st;
}

static void
test_plateaus_leak_nothing_when_memory_runs_out(void **state)
{
    (void)state;
    sweep_allocations(plateau_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_trial_stops_when_its_last_values_are_close),
        cmocka_unit_test(test_a_trial_goes_on_while_a_nan_is_among_its_last_values),
        cmocka_unit_test(test_a_threshold_keeps_bad_trials_going),
        cmocka_unit_test(test_trials_do_not_mix),
        cmocka_unit_test(test_the_experiment_stops_when_its_best_values_are_close),
        cmocka_unit_test(test_patience_counts_results_in_a_row),
        cmocka_unit_test(test_a_restored_stopper_decides_as_the_saved_one),
        cmocka_unit_test(test_damaged_states_are_refused_and_change_nothing),
        cmocka_unit_test(test_in_a_run_the_metric_is_found_by_its_key),
        cmocka_unit_test(test_options_out_of_range_are_named),
        cmocka_unit_test(test_plateaus_leak_nothing_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
