/* The promoting form of ASHA: who goes on, and what happens without memory. */
#include "support.h"

#include "sched/promotion.h"

#include <math.h>

enum { TRIALS = 9 };

typedef struct lab {
    ct_trial_status status[TRIALS];
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
    (void)ctx;
    (void)statuses;
    return false;
}

static const ct_board_ops LAB_OPS = {lab_status, lab_any};

/* Two rungs; scores are the trials' numbers; all wait at the lower rung (1). */
static ct_status
fill(ct_promotion *p, ct_rungs *book, lab *l, ct_err *err)
{
    ct_status st = CT_OK;
    l->board = (ct_board){.ops = &LAB_OPS, .ctx = l};
    for (ct_trial_id t = 0; st == CT_OK && t < TRIALS; t++) {
        l->status[t] = CT_TRIAL_PAUSED;
        st = ct_promotion_add(p, t, err);
        if (st == CT_OK) {
            st = ct_rungs_record(book, 1, t, (double)t, err);
        }
        if (st == CT_OK) {
            st = ct_promotion_wait(p, t, 0, 1, (double)t, err);
        }
    }
    return st;
}

static ct_status
attempt(void *ctx, ct_err *err)
{
    static const double milestones[] = {3, 1};
    static const size_t counts[] = {2};
    ct_rungs *book = NULL;
    ct_promotion *p = NULL;
    ct_promotion *other = NULL;
    ct_value saved = ct_nil();
    ct_orders orders = CT_ORDERS_INIT;
    size_t given_up = 0;
    lab l;
    (void)ctx;
    ct_status st = ct_rungs_new(&book, milestones, 2, err);
    if (st == CT_OK) {
        st = ct_promotion_new(&p, counts, 1, 3.0, err);
    }
    if (st == CT_OK) {
        st = fill(p, book, &l, err);
    }
    if (st == CT_OK) {
        assert_int_equal(ct_promotion_choose(p, &book, &l.board), 8);
        assert_int_equal(ct_promotion_choose(p, &book, &l.board), 8);
        l.status[8] = CT_TRIAL_RUNNING;
        assert_int_equal(ct_promotion_choose(p, &book, &l.board), 7);
        assert_int_equal(ct_promotion_count(p, 0, 1), 1);
        st = ct_promotion_save(p, &saved, err);
    }
    if (st == CT_OK) {
        st = ct_promotion_new(&other, counts, 1, 3.0, err);
    }
    if (st == CT_OK) {
        st = ct_promotion_restore(other, &saved, err);
    }
    if (st == CT_OK) {
        assert_int_equal(ct_promotion_choose(other, &book, &l.board), 7);
        ct_promotion_resumed(other, 7);
        assert_int_equal(ct_promotion_choose(other, &book, &l.board), 6);
        l.status[6] = CT_TRIAL_TERMINATED; /* stopped by somebody else */
        ct_promotion_forget(other, 6);
        assert_int_equal(ct_promotion_choose(other, &book, &l.board), CT_TRIAL_NONE);
        st = ct_promotion_give_up(other, &orders, &given_up, err);
    }
    if (st == CT_OK) {
        assert_int_equal(given_up, 6);
        assert_int_equal(orders.count, 6);
    }
    ct_orders_deinit(&orders);
    ct_value_deinit(&saved);
    ct_promotion_free(p);
    ct_promotion_free(other);
    ct_rungs_free(book);
    return st;
}

static void
test_the_best_go_on_and_any_allocation_may_fail(void **ctx)
{
    (void)ctx;
    sweep_allocations(attempt, NULL);
}

static void
test_nan_waits_and_a_trial_that_saves_is_not_chosen(void **ctx)
{
    static const double milestones[] = {1};
    static const size_t counts[] = {1};
    ct_err err = CT_ERR_INIT;
    ct_rungs *book = NULL;
    ct_promotion *p = NULL;
    lab l = {.board = {.ops = &LAB_OPS}};
    (void)ctx;
    l.board.ctx = &l;
    assert_ok(ct_rungs_new(&book, milestones, 1, &err), err);
    assert_ok(ct_promotion_new(&p, counts, 1, 2.0, &err), err);
    for (ct_trial_id t = 0; t < 4; t++) {
        double score = t < 2 ? (double)NAN : (double)t;
        l.status[t] = t == 3 ? CT_TRIAL_RUNNING : CT_TRIAL_PAUSED;
        assert_ok(ct_rungs_record(book, 0, t, score, &err), err);
        assert_ok(ct_promotion_wait(p, t, 0, 0, score, &err), err);
    }
    assert_int_equal(ct_promotion_choose(p, &book, &l.board), CT_TRIAL_NONE);
    l.status[3] = CT_TRIAL_PAUSED;
    assert_int_equal(ct_promotion_choose(p, &book, &l.board), 3);
    l.status[3] = CT_TRIAL_RUNNING;
    assert_int_equal(ct_promotion_choose(p, &book, &l.board), 2);
    l.status[2] = CT_TRIAL_RUNNING;
    assert_int_equal(ct_promotion_choose(p, &book, &l.board), CT_TRIAL_NONE);
    ct_promotion_free(p);
    ct_rungs_free(book);
}

static void
test_damaged_states_are_refused(void **ctx)
{
    static const size_t counts[] = {2};
    (void)ctx;
    for (int what = 0; what < 3; what++) {
        ct_err err = CT_ERR_INIT;
        ct_promotion *p = NULL;
        ct_value v = ct_list(), part;
        assert_ok(ct_promotion_new(&p, counts, 1, 3.0, &err), err);
        for (int i = 0; i < 3; i++) {
            part = ct_list();
            if (i == what) {
                ct_value bad = ct_f64(-1.0);
                assert_ok(ct_value_push(&part, &bad, &err), err);
            }
            assert_ok(ct_value_push(&v, &part, &err), err);
        }
        assert_int_equal(ct_promotion_restore(p, &v, &err), CT_ECORRUPT);
        ct_value_deinit(&v);
        ct_promotion_free(p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_best_go_on_and_any_allocation_may_fail),
        cmocka_unit_test(test_nan_waits_and_a_trial_that_saves_is_not_chosen),
        cmocka_unit_test(test_damaged_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
