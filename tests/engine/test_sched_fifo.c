/* FIFO: order of choice, and that it never interferes. */
#include "support.h"

#include "sched/fifo.h"

#include <string.h>

typedef struct bench {
    ct_names *names;
    ct_trials *trials;
    ct_board board;
    ct_scheduler *fifo;
} bench;

static void
bench_init(bench *b, size_t trials)
{
    ct_err err = CT_ERR_INIT;
    memset(b, 0, sizeof *b);
    assert_ok(ct_names_new(&b->names, &err), err);
    assert_ok(ct_trials_new(&b->trials, &err), err);
    assert_ok(ct_fifo_new(&b->fifo, &err), err);
    for (size_t i = 0; i < trials; i++) {
        char id[24];
        ct_value config = ct_dict();
        ct_value evaluated = ct_dict();
        ct_trial_id t;
        id[ct_format_i64((int64_t)i, id)] = '\0';
        assert_ok(ct_trials_add(b->trials, id, NULL, &config, &evaluated, &t, &err),
                  err);
    }
    b->board = (ct_board){.names = b->names, .trials = b->trials};
}

static void
bench_deinit(bench *b)
{
    b->fifo->ops->free(b->fifo);
    ct_trials_free(b->trials);
    ct_names_free(b->names);
}

static ct_trial_id
choose(const bench *b)
{
    ct_err err = CT_ERR_INIT;
    ct_orders orders = CT_ORDERS_INIT;
    ct_trial_id t = 77;
    assert_ok(b->fifo->ops->choose(b->fifo, &b->board, &t, &orders, &err), err);
    assert_int_equal(orders.count, 0);
    return t;
}

static void
test_the_first_pending_trial_goes_before_any_paused_one(void **state)
{
    (void)state;
    bench b;
    bench_init(&b, 4);
    ct_trials_set_status(b.trials, 0, CT_TRIAL_PAUSED);
    ct_trials_set_status(b.trials, 1, CT_TRIAL_RUNNING);
    assert_int_equal(choose(&b), 2);
    assert_int_equal(choose(&b), 2); /* asking changes nothing */
    ct_trials_set_status(b.trials, 2, CT_TRIAL_TERMINATED);
    ct_trials_set_status(b.trials, 3, CT_TRIAL_PAUSED);
    assert_int_equal(choose(&b), 0);
    ct_trials_set_status(b.trials, 0, CT_TRIAL_RUNNING);
    ct_trials_set_status(b.trials, 3, CT_TRIAL_ERROR);
    assert_int_equal(choose(&b), CT_TRIAL_NONE);
    bench_deinit(&b);
}

static void
test_every_result_continues_and_state_is_empty(void **state)
{
    (void)state;
    bench b;
    bench_init(&b, 1);
    ct_err err = CT_ERR_INIT;
    ct_orders orders = CT_ORDERS_INIT;
    ct_buf text = CT_BUF_INIT;
    ct_verdict verdict = CT_STOP;
    ct_result result = {NULL, 0, NULL};
    ct_value saved = ct_i64(1);
    const ct_scheduler_ops *ops = b.fifo->ops;
    assert_ok(ops->on_add(b.fifo, &b.board, 0, &orders, &err), err);
    assert_ok(ops->on_result(b.fifo, &b.board, 0, &result, &verdict, &orders, &err),
              err);
    assert_int_equal(verdict, CT_CONTINUE);
    assert_ok(ops->on_error(b.fifo, &b.board, 0, &orders, &err), err);
    assert_ok(ops->on_complete(b.fifo, &b.board, 0, NULL, &orders, &err), err);
    assert_ok(ops->on_remove(b.fifo, &b.board, 0, &orders, &err), err);
    assert_ok(ops->save(b.fifo, b.names, &saved, &err), err);
    assert_int_equal(saved.kind, CT_NIL);
    assert_ok(ops->restore(b.fifo, b.names, &saved, &err), err);
    assert_ok(ops->describe(b.fifo, NULL, &text, &err), err);
    assert_ok(ct_buf_terminate(&text, &err), err);
    assert_string_equal((char *)text.data, "Using FIFO scheduling algorithm.");
    ct_buf_deinit(&text);
    bench_deinit(&b);
}

static ct_status
fifo_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_scheduler *s = NULL;
    ct_status st = ct_fifo_new(&s, err);
    if (st == CT_OK) {
        s->ops->free(s);
    }
    return st;
}

static void
test_fifo_reports_missing_memory(void **state)
{
    (void)state;
    sweep_allocations(fifo_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_pending_trial_goes_before_any_paused_one),
        cmocka_unit_test(test_every_result_continues_and_state_is_empty),
        cmocka_unit_test(test_fifo_reports_missing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
