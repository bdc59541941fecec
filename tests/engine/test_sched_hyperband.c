/* HyperBand: formulas, state, and what happens without memory. Decisions are compared with
 * recorded ones in tests/python. */
#include "support.h"

#include "base/pcg.h"
#include "sched/hyperband.h"

#include <math.h>

enum { TIME = 1, SCORE = 2, TRIALS = 40 };

/* Trials without a run. */
typedef struct lab {
    ct_hyperband *h;
    ct_trial_status status[TRIALS];
    int time[TRIALS];
    ct_orders orders;
    ct_board board;
} lab;

static ct_trial_status
lab_status(void *ctx, ct_trial_id t)
{
    return ((lab *)ctx)->status[t];
}

static bool
lab_any(void *ctx, unsigned statuses)
{
    lab *l = ctx;
    for (size_t t = 0; t < TRIALS; t++) {
        if ((statuses & CT_STATUS(l->status[t])) != 0) {
            return true;
        }
    }
    return false;
}

static const ct_board_ops LAB_OPS = {lab_status, lab_any};

static ct_hyperband_opts
options(double max_t, double eta)
{
    return (ct_hyperband_opts){.time_attr = TIME,
                               .metric = SCORE,
                               .maximize = true,
                               .max_t = max_t,
                               .reduction_factor = eta,
                               .stop_last_trials = true};
}

static ct_status
carry_out(lab *l, ct_err *err)
{
    ct_scheduler *s = ct_hyperband_scheduler(l->h);
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < l->orders.count; i++) {
        ct_trial_id t = l->orders.items[i].trial;
        assert_int_equal(l->status[t], CT_TRIAL_PAUSED);
        st = s->ops->on_remove(s, &l->board, t, &l->orders, err);
        l->status[t] = CT_TRIAL_TERMINATED;
    }
    ct_orders_clear(&l->orders);
    return st;
}

static ct_status
report(lab *l, ct_trial_id t, ct_err *err)
{
    ct_scheduler *s = ct_hyperband_scheduler(l->h);
    ct_metric items[] = {{TIME, ++l->time[t]}, {SCORE, (double)t}};
    ct_result r = {items, 2, NULL};
    ct_verdict v;
    ct_status st = s->ops->on_result(s, &l->board, t, &r, &v, &l->orders, err);
    if (st != CT_OK) {
        return st;
    }
    l->status[t] = v == CT_PAUSE  ? CT_TRIAL_PAUSED
                   : v == CT_STOP ? CT_TRIAL_TERMINATED
                                  : CT_TRIAL_RUNNING;
    if (v == CT_STOP) {
        st = s->ops->on_complete(s, &l->board, t, &r, &l->orders, err);
    }
    return st == CT_OK ? carry_out(l, err) : st;
}

/* Two workers, until nothing may start any more. */
static ct_status
run(lab *l, ct_err *err)
{
    ct_scheduler *s = ct_hyperband_scheduler(l->h);
    for (int turn = 0; turn < 100000; turn++) {
        ct_trial_id t;
        ct_status st = s->ops->choose(s, &l->board, &t, &l->orders, err);
        if (st != CT_OK || t == CT_TRIAL_NONE) {
            return st;
        }
        for (l->status[t] = CT_TRIAL_RUNNING; l->status[t] == CT_TRIAL_RUNNING;) {
            st = report(l, t, err);
            if (st != CT_OK) {
                return st;
            }
        }
    }
    fail_msg("it does not end");
    return CT_OK;
}

static ct_status
lab_open(lab *l, const ct_hyperband_opts *o, ct_trial_id trials, ct_err *err)
{
    *l = (lab){.orders = CT_ORDERS_INIT, .board = {.ops = &LAB_OPS}};
    l->board.ctx = l;
    ct_status st = ct_hyperband_new(&l->h, o, err);
    for (ct_trial_id t = 0; t < TRIALS; t++) {
        l->status[t] = t < trials ? CT_TRIAL_PENDING : CT_TRIAL_TERMINATED;
    }
    for (ct_trial_id t = 0; st == CT_OK && t < trials; t++) {
        ct_scheduler *s = ct_hyperband_scheduler(l->h);
        st = s->ops->on_add(s, &l->board, t, NULL, err);
    }
    return st;
}

static void
lab_close(lab *l)
{
    if (l->h != NULL) {
        ct_scheduler *s = ct_hyperband_scheduler(l->h);
        s->ops->free(s);
    }
    ct_orders_deinit(&l->orders);
}

static void
test_brackets_follow_the_formula(void **ctx)
{
    static const double n[] = {5, 8, 15, 34, 81};
    static const double r[] = {81, 27, 9, 3, 1};
    ct_err err = CT_ERR_INIT;
    ct_hyperband_opts o = options(81, 3);
    ct_hyperband *h = NULL;
    (void)ctx;
    assert_ok(ct_hyperband_new(&h, &o, &err), err);
    assert_int_equal(ct_hyperband_rounds(h), 5);
    for (size_t s = 0; s < 5; s++) {
        double n0, r0;
        ct_hyperband_plan(h, s, &n0, &r0);
        assert_true(n0 == n[s]);
        assert_true(r0 == r[s]);
    }
    ct_hyperband_scheduler(h)->ops->free(ct_hyperband_scheduler(h));
}

static void
test_all_trials_end_and_the_best_go_furthest(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_hyperband_opts o = options(9, 3);
    lab l;
    (void)ctx;
    assert_ok(lab_open(&l, &o, 17, &err), err); /* one band: 3 + 5 + 9 */
    assert_ok(run(&l, &err), err);
    for (ct_trial_id t = 0; t < 17; t++) {
        assert_int_equal(l.status[t], CT_TRIAL_TERMINATED);
    }
    assert_int_equal(l.time[16], 9);
    assert_int_equal(l.time[8], 1);
    assert_int_equal(ct_hyperband_num_brackets(l.h), 3);
    lab_close(&l);
}

static void
test_options_out_of_range_are_named(void **ctx)
{
    static const struct {
        double max_t;
        double eta;
        const char *name;
    } bad[] = {{0, 3, "max_t"},
               {-1, 3, "max_t"},
               {(double)NAN, 3, "max_t"},
               {(double)INFINITY, 3, "max_t"},
               {0.5, 3, "max_t"},
               {9, 1, "reduction_factor"},
               {9, (double)NAN, "reduction_factor"},
               {9, 1.0000001, "reduction_factor"}};
    (void)ctx;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ct_err err = CT_ERR_INIT;
        ct_hyperband *h = NULL;
        ct_hyperband_opts o = options(bad[i].max_t, bad[i].eta);
        assert_int_equal(ct_hyperband_new(&h, &o, &err), CT_EINVAL);
        assert_string_equal(err.param, bad[i].name);
        assert_null(h);
    }
}

/* Everything that takes memory, with the state moved to another scheduler half way. */
static ct_status
attempt(void *ctx, ct_err *err)
{
    ct_hyperband_opts o = options(9, 3);
    ct_value saved = ct_nil();
    ct_buf text = CT_BUF_INIT;
    ct_hyperband *other = NULL;
    lab l;
    (void)ctx;
    ct_status st = lab_open(&l, &o, 17, err);
    for (ct_trial_id t = 0; st == CT_OK && t < 3; t++) {
        l.status[t] = CT_TRIAL_RUNNING;
        st = report(&l, t, err);
    }
    if (st == CT_OK) {
        ct_scheduler *s = ct_hyperband_scheduler(l.h);
        st = s->ops->save(s, NULL, &saved, err);
    }
    if (st == CT_OK) {
        st = ct_hyperband_new(&other, &o, err);
    }
    if (st == CT_OK) {
        ct_scheduler *s = ct_hyperband_scheduler(other);
        st = s->ops->restore(s, NULL, &saved, err);
    }
    if (st == CT_OK) {
        ct_hyperband *old = l.h;
        l.h = other;
        other = old;
        for (ct_trial_id t = 0; st == CT_OK && t < 3; t++) {
            while (st == CT_OK && l.status[t] == CT_TRIAL_RUNNING) {
                st = report(&l, t, err);
            }
        }
    }
    if (st == CT_OK) {
        st = run(&l, err);
    }
    if (st == CT_OK) {
        ct_scheduler *s = ct_hyperband_scheduler(l.h);
        st = s->ops->describe(s, &l.board, &text, err);
    }
    if (other != NULL) {
        ct_hyperband_scheduler(other)->ops->free(ct_hyperband_scheduler(other));
    }
    ct_value_deinit(&saved);
    ct_buf_deinit(&text);
    lab_close(&l);
    return st;
}

static void
test_any_allocation_may_fail_without_a_leak(void **ctx)
{
    (void)ctx;
    sweep_allocations(attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brackets_follow_the_formula),
        cmocka_unit_test(test_all_trials_end_and_the_best_go_furthest),
        cmocka_unit_test(test_options_out_of_range_are_named),
        cmocka_unit_test(test_any_allocation_may_fail_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
