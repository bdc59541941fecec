/* The inline executor: order, lifetimes of what it copies, KILL, errors. */
#include "support.h"

#include "exec/inline.h"

#include <stdio.h>
#include <string.h>

typedef struct fake_host {
    ct_command_kind kinds[64];
    ct_trial_id trials[64];
    char dirs[64][32];
    int64_t lr[64];
    size_t count;
    bool broken;
} fake_host;

static ct_status
host_run(void *ctx, const ct_command *c, ct_event *ev, ct_err *err)
{
    fake_host *h = ctx;
    if (h->broken) {
        return ct_fail(err, CT_ETUNE, "host", "is broken on purpose");
    }
    size_t i = h->count++;
    h->kinds[i] = c->kind;
    h->trials[i] = c->trial;
    snprintf(h->dirs[i], sizeof h->dirs[i], "%s", c->trial_dir ? c->trial_dir : "-");
    h->lr[i] = c->config != NULL ? c->config->u.entries[0].value.u.i : -1;
    ev->kind = c->kind == CT_COMMAND_START  ? CT_EVENT_STARTED
               : c->kind == CT_COMMAND_STEP ? CT_EVENT_RESULT
                                            : CT_EVENT_STOPPED;
    ev->path = c->trial_dir;
    return CT_OK;
}

static ct_exec *
new_inline(fake_host *h)
{
    ct_err err = CT_ERR_INIT;
    ct_exec *e = NULL;
    ct_inline_ops ops = {host_run, h};
    assert_ok(ct_inline_new(&e, &ops, &err), err);
    return e;
}

static void
submit(ct_exec *e, ct_command_kind kind, ct_trial_id trial, uint64_t serial)
{
    ct_err err = CT_ERR_INIT;
    ct_command c = {.kind = kind, .trial = trial, .serial = serial};
    assert_ok(e->ops->submit(e, &c, &err), err);
}

static bool
poll_one(ct_exec *e, ct_event *ev)
{
    ct_err err = CT_ERR_INIT;
    bool got = false;
    assert_ok(e->ops->wait(e, 0, &err), err);
    assert_ok(e->ops->poll(e, ev, &got, &err), err);
    return got;
}

static void
between_two_waits_only_one_command_runs(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    fake_host h = {0};
    ct_exec *e = new_inline(&h);
    ct_event ev;
    bool got = true;
    submit(e, CT_COMMAND_STEP, 0, 1);
    submit(e, CT_COMMAND_STEP, 1, 2);
    assert_true(poll_one(e, &ev));
    /* The record of the first result is lent until the next wait. */
    assert_ok(e->ops->poll(e, &ev, &got, &err), err);
    assert_false(got);
    assert_int_equal(h.count, 1);
    assert_true(poll_one(e, &ev));
    assert_int_equal(ev.serial, 2);
    e->ops->free(e);
}

static void
commands_run_one_per_poll_in_order_of_submission(void **state)
{
    (void)state;
    fake_host h = {0};
    ct_exec *e = new_inline(&h);
    for (uint32_t i = 0; i < 20; i++) {
        submit(e, CT_COMMAND_STEP, i % 3, 100 + i);
    }
    for (uint32_t i = 0; i < 20; i++) {
        ct_event ev;
        assert_true(poll_one(e, &ev));
        assert_int_equal(h.count, i + 1);
        assert_int_equal(ev.trial, i % 3);
        assert_int_equal(ev.serial, 100 + i);
        assert_int_equal(ev.kind, CT_EVENT_RESULT);
        if (i % 4 == 0) { /* the ring wraps round */
            submit(e, CT_COMMAND_STEP, 9, 900 + i);
        }
    }
    ct_event ev;
    for (int i = 0; i < 5; i++) {
        assert_true(poll_one(e, &ev));
        assert_int_equal(ev.trial, 9);
    }
    assert_false(poll_one(e, &ev));
    e->ops->free(e);
}

static ct_status
start_attempt(void *ctx, ct_err *err)
{
    fake_host *h = ctx;
    h->count = 0;
    ct_exec *e = NULL;
    ct_value config = ct_dict();
    ct_inline_ops ops = {host_run, h};
    ct_status st = ct_inline_new(&e, &ops, err);
    for (uint32_t i = 0; st == CT_OK && i < 10; i++) { /* more than the first ring */
        ct_value lr = ct_i64(7 + i);
        char dir[32];
        snprintf(dir, sizeof dir, "/tmp/trial_%u", i);
        st = ct_value_put(&config, 0, &lr, err);
        ct_command c = {.kind = CT_COMMAND_START,
                        .trial = i,
                        .config = &config,
                        .trial_dir = dir,
                        .trial_name = "train"};
        if (st == CT_OK) {
            st = e->ops->submit(e, &c, err);
        }
        memset(dir, 'x', sizeof dir - 1);
    }
    ct_value_deinit(&config);
    for (uint32_t i = 0; st == CT_OK && i < 10; i++) {
        bool got = false;
        ct_event ev;
        st = e->ops->wait(e, 0.0, err);
        if (st == CT_OK) {
            st = e->ops->poll(e, &ev, &got, err);
        }
        if (st == CT_OK) {
            assert_true(got);
            assert_string_equal(ev.path, h->dirs[i]); /* lives until the next wait */
        }
    }
    if (e != NULL) {
        e->ops->free(e);
    }
    return st;
}

static void
a_queued_start_keeps_its_own_config_and_texts(void **state)
{
    (void)state;
    fake_host h = {0};
    ct_err err = CT_ERR_INIT;
    assert_ok(start_attempt(&h, &err), err);
    assert_int_equal(h.count, 10);
    assert_string_equal(h.dirs[0], "/tmp/trial_0");
    assert_string_equal(h.dirs[9], "/tmp/trial_9");
    assert_int_equal(h.lr[0], 7);
    assert_int_equal(h.lr[9], 16);
    sweep_allocations(start_attempt, &h);
}

static void
kill_forgets_what_the_trial_has_queued(void **state)
{
    (void)state;
    fake_host h = {0};
    ct_exec *e = new_inline(&h);
    submit(e, CT_COMMAND_STEP, 1, 10);
    submit(e, CT_COMMAND_STEP, 2, 11);
    submit(e, CT_COMMAND_KILL, 1, 12);
    ct_event ev;
    assert_true(poll_one(e, &ev));
    assert_int_equal(ev.serial, 11);
    assert_true(poll_one(e, &ev));
    assert_int_equal(ev.serial, 12);
    assert_int_equal(ev.kind, CT_EVENT_STOPPED);
    assert_false(poll_one(e, &ev));
    e->ops->free(e);
}

static void
a_broken_host_ends_the_poll_with_its_error(void **state)
{
    (void)state;
    fake_host h = {.broken = true};
    ct_exec *e = new_inline(&h);
    submit(e, CT_COMMAND_STEP, 1, 1);
    ct_err err = CT_ERR_INIT;
    ct_event ev;
    bool got = true;
    assert_int_equal(e->ops->poll(e, &ev, &got, &err), CT_ETUNE);
    assert_false(got);
    assert_string_equal(err.text, "is broken on purpose");
    e->ops->free(e);
}

static void
nothing_is_accepted_after_close(void **state)
{
    (void)state;
    fake_host h = {0};
    ct_exec *e = new_inline(&h);
    submit(e, CT_COMMAND_STEP, 1, 1);
    ct_err err = CT_ERR_INIT;
    assert_ok(e->ops->close(e, 1.0, &err), err);
    ct_event ev;
    assert_false(poll_one(e, &ev));
    ct_command c = {.kind = CT_COMMAND_STEP, .trial = 1};
    assert_int_equal(e->ops->submit(e, &c, &err), CT_ESTATE);
    assert_int_equal(h.count, 0);
    e->ops->free(e);
}

static void
wake_ends_a_wait_that_has_no_limit(void **state)
{
    (void)state;
    fake_host h = {0};
    ct_exec *e = new_inline(&h);
    ct_err err = CT_ERR_INIT;
    e->ops->wake(e);
    assert_ok(e->ops->wait(e, -1, &err), err); /* would hang otherwise */
    e->ops->free(e);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(between_two_waits_only_one_command_runs),
        cmocka_unit_test(commands_run_one_per_poll_in_order_of_submission),
        cmocka_unit_test(a_queued_start_keeps_its_own_config_and_texts),
        cmocka_unit_test(kill_forgets_what_the_trial_has_queued),
        cmocka_unit_test(a_broken_host_ends_the_poll_with_its_error),
        cmocka_unit_test(nothing_is_accepted_after_close),
        cmocka_unit_test(wake_ends_a_wait_that_has_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
