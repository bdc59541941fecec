/* The drive on the simulated executor, with a real journal in a temporary folder: record
 * before effect, interrupts, and a replay of the journal that ends in the same state. */
#include "state_text.h"
#include "support.h"

#include "base/keys.h"
#include "drive/drive.h"
#include "exec/sim.h"
#include "os/file.h"
#include "sched/fifo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIALS 12
#define STEPS 4

typedef struct listing {
    ct_searcher base;
    uint32_t made;
} listing;

static ct_status
listing_next(ct_searcher *s, const ct_board *b, ct_suggestion *out,
             ct_search_state *state, ct_err *err)
{
    listing *l = (listing *)s;
    char id[16];

    (void)b;
    *state = l->made == TRIALS ? CT_SEARCH_FINISHED : CT_SEARCH_TRIAL;
    if (*state == CT_SEARCH_FINISHED) {
        return CT_OK;
    }
    snprintf(id, sizeof id, "t_%05u", l->made++);
    out->id = ct_strndup(id, strlen(id));
    out->config = ct_dict();
    out->evaluated = ct_dict();
    return out->id == NULL ? ct_fail_mem(err) : CT_OK;
}

static ct_status
listing_result(ct_searcher *s, const ct_board *b, ct_trial_id t, const ct_result *r,
               ct_err *err)
{
    (void)s, (void)b, (void)t, (void)r, (void)err;
    return CT_OK;
}

static ct_status
listing_complete(ct_searcher *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                 bool error, ct_err *err)
{
    (void)s, (void)b, (void)t, (void)r, (void)error, (void)err;
    return CT_OK;
}

static const ct_searcher_ops listing_ops = {.name = "listing",
                                            .next = listing_next,
                                            .on_result = listing_result,
                                            .on_complete = listing_complete};

typedef struct rig {
    char dir[64];
    ct_names *names;
    ct_virtual_clock clock;
    listing search;
    ct_scheduler *fifo;
    ct_exec *exec;
    ct_control *control;
    ct_journal *journal;
    ct_drive *drive;
    ct_record record;
    int steps[TRIALS];
    size_t heard;
    uint64_t bytes_when_heard; /* of the journal, at the last result that was told */
} rig;

static ct_status
rig_plan(void *ctx, const ct_command *c, double now, ct_sim_answer *out, ct_err *err)
{
    rig *r = ctx;
    ct_status st = CT_OK;

    (void)now;
    *out = (ct_sim_answer){.duration = 0.25 + 0.01 * (double)c->trial};
    out->event.kind = c->kind == CT_COMMAND_START  ? CT_EVENT_STARTED
                      : c->kind == CT_COMMAND_STEP ? CT_EVENT_RESULT
                                                   : CT_EVENT_STOPPED;
    if (c->kind == CT_COMMAND_STEP) {
        int n = ++r->steps[c->trial];
        ct_record_clear(&r->record);
        st = ct_record_bool(&r->record, CT_KEY_DONE, n == STEPS, err);
        if (st == CT_OK) {
            st = ct_record_i64(&r->record, CT_KEY_TRAINING_ITERATION, n, err);
        }
        out->event.record = &r->record;
    }
    return st;
}

static ct_status
rig_hear(void *ctx, const ct_note *n, ct_err *err)
{
    rig *r = ctx;

    (void)err;
    if (n->kind == CT_NOTE_RESULT) {
        uint64_t bytes = ct_journal_bytes(r->journal);
        r->heard++;
        assert_true(bytes > 0);
        r->bytes_when_heard = bytes;
    }
    return CT_OK;
}

static ct_status
make_control(rig *r, ct_control **out, ct_err *err)
{
    ct_value two = ct_dict(), one = ct_dict(), a = ct_f64(2.0), b = ct_f64(1.0);
    ct_status st = ct_value_put(&two, CT_KEY_CPU, &a, err);

    if (st == CT_OK) {
        st = ct_value_put(&one, CT_KEY_CPU, &b, err);
    }
    ct_control_opts o = {
        .names = r->names,
        .scheduler = r->fifo,
        .searcher = &r->search.base,
        .resources = &two,
        .experiments =
            &(ct_experiment){.name = "exp", .trainable = "model", .request = &one},
        .n_experiments = 1,
        .max_pending = 4,
        .max_dirname = 130,
        .checkpoint = {.score = CT_NAME_NONE}};
    if (st == CT_OK) {
        st = ct_control_new(out, &o, err);
    }
    ct_value_deinit(&two);
    ct_value_deinit(&one);
    return st;
}

static void
rig_init(rig *r)
{
    ct_err err = CT_ERR_INIT;
    ct_sim_ops sim = {rig_plan, r};

    memset(r, 0, sizeof *r);
    snprintf(r->dir, sizeof r->dir, "/tmp/ctune_drive_XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    ct_virtual_clock_init(&r->clock, 1000.0);
    r->search = (listing){.base = {&listing_ops}};
    assert_ok(ct_names_new(&r->names, &err), err);
    assert_ok(ct_keys_intern(r->names, &err), err);
    assert_ok(ct_fifo_new(&r->fifo, &err), err);
    assert_ok(make_control(r, &r->control, &err), err);
    assert_ok(ct_sim_new(&r->exec, &sim, &r->clock, &err), err);
    assert_ok(ct_journal_open(&r->journal, r->dir, 0, r->names, CT_SYNC_NONE, &err),
              err);
    ct_drive_opts o = {.control = r->control,
                       .exec = r->exec,
                       .journal = r->journal,
                       .clock = &r->clock.clock,
                       .observer = {rig_hear, r},
                       .interrupt_grace = 5.0};
    assert_ok(ct_drive_new(&r->drive, &o, &err), err);
}

static void
rig_deinit(rig *r)
{
    ct_err err = CT_ERR_INIT;

    ct_drive_free(r->drive);
    r->exec->ops->free(r->exec);
    if (r->journal != NULL) {
        assert_ok(ct_journal_close(r->journal, &err), err);
    }
    ct_control_free(r->control);
    r->fifo->ops->free(r->fifo);
    ct_names_free(r->names);
    ct_record_deinit(&r->record);
    assert_ok(ct_dir_remove_tree(r->dir, &err), err);
}

static void
run_to_end(rig *r)
{
    ct_err err = CT_ERR_INIT;
    bool more = true;

    for (int turns = 0; more; turns++) {
        assert_true(turns < 10000);
        assert_ok(ct_drive_wait(r->drive, -1.0, &err), err);
        assert_ok(ct_drive_turn(r->drive, &more, &err), err);
    }
}

static void
test_a_run_ends_and_every_result_is_told(void **ctx)
{
    rig r;

    (void)ctx;
    rig_init(&r);
    run_to_end(&r);
    assert_int_equal(r.heard, TRIALS * STEPS);
    assert_true(ct_control_done(r.control));
    rig_deinit(&r);
}

static void
test_what_observers_heard_is_in_the_journal(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    bool more = true;
    rig r;

    (void)ctx;
    rig_init(&r);
    while (more && r.heard < 7) {
        assert_ok(ct_drive_wait(r.drive, -1.0, &err), err);
        assert_ok(ct_drive_turn(r.drive, &more, &err), err);
    }
    /* Nothing is written between the commit and the telling. */
    assert_int_equal(ct_journal_bytes(r.journal), r.bytes_when_heard);
    rig_deinit(&r);
}

/* Feeds what the journal holds to a second controller. */
typedef struct replay {
    rig *rig;
    ct_control *control;
    size_t results;
} replay;

static ct_status
replay_event(void *ctx, const ct_event *ev, ct_err *err)
{
    replay *p = ctx;

    p->results += ev->kind == CT_EVENT_RESULT;
    return ct_control_feed(p->control, ev, err);
}

static ct_status
replay_turn(void *ctx, double time, bool settled, ct_err *err)
{
    replay *p = ctx;
    assert_true(settled);
    ct_status st = ct_control_settle(p->control, time, err);

    ct_control_begin(p->control);
    return st;
}

static void
test_a_replay_of_the_journal_ends_in_the_same_state(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_buf before = CT_BUF_INIT, after = CT_BUF_INIT;
    ct_value snapshot = ct_nil();
    ct_journal_summary summary;
    replay p = {NULL, NULL, 0};
    rig r;

    (void)ctx;
    rig_init(&r);
    run_to_end(&r);
    put_state_text(&before, r.control);
    assert_ok(ct_journal_close(r.journal, &err), err);
    r.journal = NULL;

    r.search.made = 0;
    p.rig = &r;
    assert_ok(make_control(&r, &p.control, &err), err);
    ct_control_begin(p.control);
    ct_journal_visitor v = {replay_event, replay_turn, NULL, &p};
    assert_ok(ct_journal_recover(r.dir, r.names, &snapshot, &v, &summary, &err), err);
    assert_int_equal(p.results, TRIALS * STEPS);
    assert_false(summary.torn);
    assert_true(ct_control_done(p.control));
    put_state_text(&after, p.control);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);

    ct_buf_deinit(&before);
    ct_buf_deinit(&after);
    ct_value_deinit(&snapshot);
    ct_control_free(p.control);
    rig_deinit(&r);
}

static void
test_an_interrupt_ends_the_run_and_keeps_the_open_answers(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    bool more = true;
    rig r;

    (void)ctx;
    rig_init(&r);
    while (r.heard < 5) {
        assert_ok(ct_drive_wait(r.drive, -1.0, &err), err);
        assert_ok(ct_drive_turn(r.drive, &more, &err), err);
    }
    ct_drive_interrupt(r.drive, 1);
    run_to_end(&r);
    assert_int_equal(ct_control_open(r.control), 0);
    assert_false(ct_control_done(r.control));
    assert_true(ct_control_interrupted(r.control));
    assert_true(r.heard < TRIALS * STEPS);
    rig_deinit(&r);
}

static void
test_a_second_interrupt_does_not_wait(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    bool more = true;
    rig r;

    (void)ctx;
    rig_init(&r);
    while (r.heard < 5) {
        assert_ok(ct_drive_wait(r.drive, -1.0, &err), err);
        assert_ok(ct_drive_turn(r.drive, &more, &err), err);
    }
    ct_drive_interrupt(r.drive, 2);
    assert_ok(ct_drive_turn(r.drive, &more, &err), err);
    assert_false(more);
    rig_deinit(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_ends_and_every_result_is_told),
        cmocka_unit_test(test_what_observers_heard_is_in_the_journal),
        cmocka_unit_test(test_a_replay_of_the_journal_ends_in_the_same_state),
        cmocka_unit_test(test_an_interrupt_ends_the_run_and_keeps_the_open_answers),
        cmocka_unit_test(test_a_second_interrupt_does_not_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
