/* The simulated executor: virtual time, scripted faults, copies, allocation failures. */
#include "support.h"

#include "exec/sim.h"

#include <math.h>
#include <string.h>

typedef struct script {
    ct_sim_answer answers[16]; /* by serial */
} script;

static ct_status
follow_script(void *ctx, const ct_command *c, double now, ct_sim_answer *out,
              ct_err *err)
{
    (void)now;
    (void)err;
    *out = ((script *)ctx)->answers[c->serial];
    return CT_OK;
}

typedef struct world {
    ct_virtual_clock clock;
    script script;
    ct_exec *e;
} world;

static void
world_init(world *w)
{
    ct_err err = CT_ERR_INIT;
    memset(w, 0, sizeof *w);
    ct_virtual_clock_init(&w->clock, 1000.0);
    ct_sim_ops ops = {follow_script, &w->script};
    assert_ok(ct_sim_new(&w->e, &ops, &w->clock, &err), err);
}

static void
give(world *w, ct_command_kind kind, ct_trial_id trial, uint64_t serial)
{
    ct_err err = CT_ERR_INIT;
    ct_command c = {.kind = kind, .trial = trial, .serial = serial};
    assert_ok(w->e->ops->submit(w->e, &c, &err), err);
}

static bool
next(world *w, double timeout, ct_event *ev)
{
    ct_err err = CT_ERR_INIT;
    bool got;
    assert_ok(w->e->ops->wait(w->e, timeout, &err), err);
    assert_ok(w->e->ops->poll(w->e, ev, &got, &err), err);
    return got;
}

static void
answers_come_in_order_of_virtual_time(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    for (uint64_t s = 1; s <= 3; s++) {
        w.script.answers[s].event.kind = CT_EVENT_RESULT;
        w.script.answers[s].duration = 10.0 - (double)s;
        give(&w, CT_COMMAND_STEP, (ct_trial_id)s, s);
    }
    ct_event ev;
    for (uint64_t s = 3; s >= 1; s--) {
        assert_true(next(&w, -1, &ev));
        assert_int_equal(ev.serial, s);
        assert_int_equal(ev.trial, s);
        assert_true(w.clock.time == 1010.0 - (double)s);
        assert_true(ev.time == w.clock.time);
    }
    assert_false(next(&w, -1, &ev)); /* nothing could ever come: no hang */
    w.e->ops->free(w.e);
}

static void
a_limit_that_comes_first_moves_the_clock_by_itself(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    w.script.answers[1].duration = 5;
    give(&w, CT_COMMAND_STEP, 0, 1);
    ct_event ev;
    assert_false(next(&w, 2, &ev));
    assert_true(w.clock.time == 1002.0);
    assert_true(next(&w, 100, &ev));
    assert_true(w.clock.time == 1005.0);
    assert_false(next(&w, 3, &ev));
    assert_true(w.clock.time == 1008.0);
    w.e->ops->free(w.e);
}

static void
faults_are_lost_double_and_missing_answers(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    w.script.answers[1].lost = true;
    w.script.answers[1].event.code = 9;
    w.script.answers[2].twice = true;
    w.script.answers[2].duration = 1;
    w.script.answers[2].event.kind = CT_EVENT_SAVED;
    w.script.answers[3].duration = INFINITY;
    give(&w, CT_COMMAND_STEP, 1, 1);
    give(&w, CT_COMMAND_SAVE, 2, 2);
    give(&w, CT_COMMAND_STEP, 3, 3);
    ct_event ev;
    assert_true(next(&w, -1, &ev));
    assert_int_equal(ev.kind, CT_EVENT_LOST);
    assert_int_equal(ev.code, 9);
    for (int i = 0; i < 2; i++) {
        assert_true(next(&w, -1, &ev));
        assert_int_equal(ev.kind, CT_EVENT_SAVED);
        assert_int_equal(ev.serial, 2);
    }
    assert_false(next(&w, 1000, &ev));
    w.e->ops->free(w.e);
}

static void
kill_drops_the_open_answer_unless_it_was_said_to_be_late(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        world w;
        world_init(&w);
        w.script.answers[1].duration = 5;
        w.script.answers[1].late_after_kill = late == 1;
        w.script.answers[2].event.kind = CT_EVENT_STOPPED;
        give(&w, CT_COMMAND_STEP, 7, 1);
        give(&w, CT_COMMAND_KILL, 7, 2);
        ct_event ev;
        assert_true(next(&w, -1, &ev));
        assert_int_equal(ev.kind, CT_EVENT_STOPPED);
        assert_int_equal(next(&w, -1, &ev), late);
        w.e->ops->free(w.e);
    }
}

static void
events_of_one_time_live_together_until_the_next_wait(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    ct_err err = CT_ERR_INIT;
    char text[] = "first";
    for (uint64_t s = 1; s <= 2; s++) {
        w.script.answers[s].event.kind = CT_EVENT_FAILED;
        w.script.answers[s].event.text = text;
        w.script.answers[s].event.text_len = 5;
        give(&w, CT_COMMAND_STEP, (ct_trial_id)s, s);
        memcpy(text, "other", 5);
    }
    memcpy(text, "xxxxx", 5);
    ct_event a, b;
    bool got;
    assert_ok(w.e->ops->wait(w.e, -1, &err), err);
    assert_ok(w.e->ops->poll(w.e, &a, &got, &err), err);
    assert_ok(w.e->ops->poll(w.e, &b, &got, &err), err);
    assert_true(got);
    assert_string_equal(a.text, "first");
    assert_string_equal(b.text, "other");
    w.e->ops->free(w.e);
}

static ct_status
sim_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_virtual_clock clock;
    ct_virtual_clock_init(&clock, 0);
    script s;
    memset(&s, 0, sizeof s);
    ct_record record = CT_RECORD_INIT;
    ct_status st = ct_record_str(&record, 0, "value", 5, err);
    ct_exec *e = NULL;
    ct_sim_ops ops = {follow_script, &s};
    if (st == CT_OK) {
        st = ct_sim_new(&e, &ops, &clock, err);
    }
    s.answers[1].event.kind = CT_EVENT_RESULT;
    s.answers[1].event.record = &record;
    s.answers[1].event.path = "/a/b";
    s.answers[1].event.path_len = 4;
    s.answers[1].event.blob = (const uint8_t *)"blob";
    s.answers[1].event.blob_len = 4;
    ct_command c = {.kind = CT_COMMAND_STEP, .serial = 1};
    if (st == CT_OK) {
        st = e->ops->submit(e, &c, err);
    }
    ct_record_deinit(&record);
    bool got = false;
    ct_event ev;
    if (st == CT_OK) {
        st = e->ops->wait(e, -1, err);
    }
    if (st == CT_OK) {
        st = e->ops->poll(e, &ev, &got, err);
    }
    if (st == CT_OK) {
        assert_true(got);
        assert_string_equal(ev.path, "/a/b");
        assert_memory_equal(ev.blob, "blob", 4);
        assert_int_equal(ev.record->count, 1);
        assert_memory_equal(ct_record_text(ev.record, &ev.record->fields[0]), "value",
                            5);
    }
    if (e != NULL) {
        e->ops->free(e);
    }
    return st;
}

static void
every_failed_allocation_is_a_clean_error(void **state)
{
    (void)state;
    sweep_allocations(sim_attempt, NULL);
}

static void
close_forgets_what_is_planned(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    ct_err err = CT_ERR_INIT;
    give(&w, CT_COMMAND_STEP, 1, 1);
    assert_ok(w.e->ops->close(w.e, 0, &err), err);
    ct_event ev;
    assert_false(next(&w, 10, &ev));
    ct_command c = {.kind = CT_COMMAND_STEP};
    assert_int_equal(w.e->ops->submit(w.e, &c, &err), CT_ESTATE);
    w.e->ops->free(w.e);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_in_order_of_virtual_time),
        cmocka_unit_test(a_limit_that_comes_first_moves_the_clock_by_itself),
        cmocka_unit_test(faults_are_lost_double_and_missing_answers),
        cmocka_unit_test(kill_drops_the_open_answer_unless_it_was_said_to_be_late),
        cmocka_unit_test(events_of_one_time_live_together_until_the_next_wait),
        cmocka_unit_test(every_failed_allocation_is_a_clean_error),
        cmocka_unit_test(close_forgets_what_is_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
