/* Recorded policies: random foreign policies drive a simulated run with a journal; the
 * journal, played back to a second controller whose policies would say something else,
 * gives the same commands, notes and final state. */
#include "state_text.h"
#include "support.h"

#include "base/json.h"
#include "base/keys.h"
#include "base/pcg.h"
#include "drive/drive.h"
#include "exec/sim.h"
#include "os/file.h"
#include "policy/recorded.h"
#include "sched/asha.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIALS = 40, STEPS = 9 };

static uint32_t
below(ct_pcg *p, uint32_t n)
{
    return (uint32_t)(ct_pcg_next(p) % n);
}

/* ---- an object in configs: a number that can be kept, or one that cannot ---- */

typedef struct thing {
    ct_ref ref; /* first */
    int number;
} thing;

static void
thing_release(ct_ref *ref)
{
    ct_free(ref);
}

static ct_status
thing_json(const ct_ref *ref, ct_buf *out, ct_err *err)
{
    return ct_buf_printf(out, err, "%d", ((const thing *)ref)->number);
}

static ct_status
thing_keep(ct_ref *ref, ct_buf *out, ct_err *err)
{
    return ct_buf_put_u8(out, (uint8_t)((thing *)ref)->number, err);
}

static bool
thing_equal(const ct_ref *a, const ct_ref *b)
{
    return ((const thing *)a)->number == ((const thing *)b)->number;
}

static const ct_ref_ops thing_ops = {thing_release, thing_json, NULL, thing_equal,
                                     thing_keep};
static const ct_ref_ops lost_ops = {thing_release, thing_json, NULL, thing_equal, NULL};

static ct_status
thing_new(const ct_ref_ops *ops, int number, ct_value *out, ct_err *err)
{
    thing *t = ct_alloc(sizeof *t);
    if (t == NULL) {
        return ct_fail_mem(err);
    }
    *t = (thing){{ops, 1}, number};
    *out = ct_of_ref(&t->ref);
    return CT_OK;
}

static ct_status
thing_read(void *ctx, const uint8_t *data, size_t len, ct_value *out, ct_err *err)
{
    size_t *made = ctx;
    assert_int_equal(len, 1);
    *made += 1;
    return thing_new(&thing_ops, data[0], out, err);
}

/* ---- the policies ---- */

typedef struct rig {
    char dir[64];
    ct_names *names;
    ct_virtual_clock clock;
    ct_pcg will;   /* of the policies */
    ct_pcg world;  /* of the workers */
    bool asha;     /* a native scheduler that draws from a shared stream */
    ct_value once; /* an object that many configs share */
    uint32_t made;
    size_t objects_read;
    ct_answers answers;
    ct_answers_rng rng;
    ct_scheduler *scheduler;
    ct_searcher *searcher;
    ct_stopper *stopper;
    ct_recorded_hooks hooks;
    ct_control *control;
    ct_exec *exec;
    ct_journal *journal;
    ct_drive *drive;
    ct_record record;
    int steps[TRIALS];
    size_t asked;
    size_t results;
    ct_buf did;  /* commands, as text */
    ct_buf told; /* notes, likewise */
} rig;

typedef struct wild_scheduler {
    ct_scheduler base;
    rig *rig;
} wild_scheduler;
typedef struct wild_searcher {
    ct_searcher base;
    rig *rig;
} wild_searcher;
typedef struct wild_stopper {
    ct_stopper base;
    rig *rig;
} wild_stopper;

static rig *
asked(rig *r)
{
    r->asked++;
    return r;
}

static ct_name
intern(rig *r, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_name n;
    assert_ok(ct_names_intern(r->names, text, strlen(text), &n, &err), err);
    return n;
}

static void
put(rig *r, ct_value *dict, const char *key, ct_value v)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_value_put(dict, intern(r, key), &v, &err), err);
}

/* A new config, and for an exploit the trial whose checkpoint goes with it. */
static void
give_config(rig *r, const ct_board *b, ct_order_kind kind, ct_trial_id t,
            ct_orders *orders)
{
    ct_err err = CT_ERR_INIT;
    ct_value tuple = ct_tuple(), config = ct_dict(), second = ct_dict();
    put(r, &config, "lr", ct_f64(below(&r->will, 100)));
    if (kind == CT_ORDER_EXPLOIT) {
        assert_ok(ct_str(&second, "tag", 3, &err), err);
    }
    assert_ok(ct_value_push(&tuple, &config, &err), err);
    assert_ok(ct_value_push(&tuple, &second, &err), err);
    if (kind == CT_ORDER_EXPLOIT) {
        ct_trial_id source = below(&r->will, (uint32_t)ct_trials_count(b->trials));
        assert_ok(
            ct_orders_exploit(orders, t, source, below(&r->will, 2) == 1, &tuple, &err),
            err);
    } else {
        assert_ok(ct_orders_add(orders, kind, t, false, &tuple, &err), err);
    }
}

/* Some orders about some trials. A resize is for those that do not run. */
static void
wild_orders(rig *r, const ct_board *b, ct_orders *orders)
{
    ct_err err = CT_ERR_INIT;
    for (uint32_t n = below(&r->will, 8); n > 5; n--) {
        ct_trial_id t = below(&r->will, (uint32_t)ct_trials_count(b->trials));
        bool runs = ct_trials_get(b->trials, t)->status == CT_TRIAL_RUNNING;
        ct_order_kind kind = (ct_order_kind)below(&r->will, CT_ORDER_COUNT);
        ct_value value = ct_nil();
        if (kind == CT_ORDER_EXPLOIT || kind == CT_ORDER_CONFIG) {
            give_config(r, b, kind, t, orders);
            continue;
        }
        if (kind == CT_ORDER_STOP && below(&r->will, 4) > 0) {
            kind = CT_ORDER_PAUSE;
        }
        if (kind == CT_ORDER_RESIZE) {
            kind = runs ? CT_ORDER_PAUSE : kind;
            value = ct_dict();
            put(r, &value, "CPU", ct_f64(1.0 + below(&r->will, 2)));
        }
        assert_ok(ct_orders_add(orders, kind, t, below(&r->will, 2) == 1,
                                kind == CT_ORDER_RESIZE ? &value : NULL, &err),
                  err);
        ct_value_deinit(&value);
    }
}

static ct_status
wild_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
            ct_err *err)
{
    (void)b, (void)t, (void)orders, (void)err;
    asked(((wild_scheduler *)s)->rig);
    return CT_OK;
}

static ct_status
wild_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *res,
               ct_verdict *out, ct_orders *orders, ct_err *err)
{
    rig *r = asked(((wild_scheduler *)s)->rig);
    uint32_t n = below(&r->will, 20);
    (void)t, (void)res, (void)err;
    *out = n == 0 ? CT_STOP : n < 4 ? CT_PAUSE : CT_CONTINUE;
    wild_orders(r, b, orders);
    return CT_OK;
}

static ct_status
wild_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                 const ct_result *res, ct_orders *orders, ct_err *err)
{
    rig *r = asked(((wild_scheduler *)s)->rig);
    (void)t, (void)res, (void)err;
    wild_orders(r, b, orders);
    return CT_OK;
}

static ct_status
wild_on_end(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
            ct_err *err)
{
    return wild_on_complete(s, b, t, NULL, orders, err);
}

static ct_status
wild_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
            ct_err *err)
{
    rig *r = asked(((wild_scheduler *)s)->rig);
    size_t n = ct_trials_count(b->trials);
    (void)orders, (void)err;
    *out = CT_TRIAL_NONE;
    for (size_t i = 0, at = n > 0 ? below(&r->will, (uint32_t)n) : 0; i < n; i++) {
        ct_trial_id t = (ct_trial_id)((at + i) % n);
        uint8_t status = ct_trials_get(b->trials, t)->status;
        if (status == CT_TRIAL_PENDING || status == CT_TRIAL_PAUSED) {
            *out = t;
            break;
        }
    }
    return CT_OK;
}

static void
wild_scheduler_free(ct_scheduler *s)
{
    ct_free(s);
}

static const ct_scheduler_ops wild_scheduler_ops = {
    .name = "wild",
    .foreign = true,
    .on_add = wild_on_add,
    .on_result = wild_on_result,
    .on_complete = wild_on_complete,
    .on_error = wild_on_end,
    .on_remove = wild_on_end,
    .choose = wild_choose,
    .free = wild_scheduler_free,
};

/* Every kind of value, and an object that comes again and again. */
static ct_value
wild_config(rig *r)
{
    ct_err err = CT_ERR_INIT;
    ct_value config = ct_dict(), inner = ct_dict(), pair = ct_tuple(), text = ct_nil();
    ct_value item = ct_i64(INT64_MIN + (int64_t)below(&r->will, 9));
    ct_value object = ct_nil(), copy = ct_nil();
    assert_ok(ct_value_push(&pair, &item, &err), err);
    item = ct_list();
    assert_ok(ct_value_push(&pair, &item, &err), err);
    assert_ok(ct_str(&text, "a\0b\xc3\xa9", 5, &err), err);
    assert_ok(ct_value_copy(&copy, &r->once, &err), err);
    assert_ok(thing_new(&thing_ops, (int)below(&r->will, 100), &object, &err), err);
    put(r, &inner, "pair", pair);
    put(r, &inner, "nan", ct_f64(below(&r->will, 2) == 0 ? NAN : -INFINITY));
    put(r, &config, "lr", ct_f64(ldexp((double)ct_pcg_next(&r->will), -64)));
    put(r, &config, "inner", inner);
    put(r, &config, "none", ct_nil());
    put(r, &config, "yes", ct_bool(below(&r->will, 2) == 0));
    put(r, &config, "text", text);
    put(r, &config, "shared", copy);
    put(r, &config, "own", object);
    return config;
}

static ct_status
wild_next(ct_searcher *s, const ct_board *b, ct_suggestion *out, ct_search_state *state,
          ct_err *err)
{
    rig *r = asked(((wild_searcher *)s)->rig);
    char text[32];
    (void)b;
    *state = r->made == TRIALS         ? CT_SEARCH_FINISHED
             : below(&r->will, 4) == 0 ? CT_SEARCH_WAIT
                                       : CT_SEARCH_TRIAL;
    if (*state != CT_SEARCH_TRIAL) {
        return CT_OK;
    }
    snprintf(text, sizeof text, "w%05u", r->made++);
    if (out->id == NULL) {
        out->id = ct_strndup(text, strlen(text));
    }
    out->tag = ct_strndup("tag", 3);
    out->config = wild_config(r);
    out->evaluated = ct_dict();
    put(r, &out->evaluated, "inner/x", ct_i64(7));
    return out->id == NULL || out->tag == NULL ? ct_fail_mem(err) : CT_OK;
}

static ct_status
wild_search_result(ct_searcher *s, const ct_board *b, ct_trial_id t,
                   const ct_result *res, ct_err *err)
{
    (void)b, (void)t, (void)res, (void)err;
    asked(((wild_searcher *)s)->rig);
    return CT_OK;
}

static ct_status
wild_search_complete(ct_searcher *s, const ct_board *b, ct_trial_id t,
                     const ct_result *res, bool error, ct_err *err)
{
    (void)error;
    return wild_search_result(s, b, t, res, err);
}

static void
wild_searcher_free(ct_searcher *s)
{
    ct_free(s);
}

static const ct_searcher_ops wild_searcher_ops = {
    .name = "wild",
    .foreign = true,
    .next = wild_next,
    .on_result = wild_search_result,
    .on_complete = wild_search_complete,
    .free = wild_searcher_free,
};

static ct_status
wild_stop(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *res,
          bool *stop, ct_err *err)
{
    rig *r = asked(((wild_stopper *)s)->rig);
    (void)b, (void)t, (void)res, (void)err;
    *stop = below(&r->will, 30) == 0;
    return CT_OK;
}

static ct_status
wild_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    rig *r = asked(((wild_stopper *)s)->rig);
    (void)b, (void)err;
    *stop = below(&r->will, 300) == 0;
    return CT_OK;
}

static void
wild_stopper_free(ct_stopper *s)
{
    ct_free(s);
}

static const ct_stopper_ops wild_stopper_ops = {
    .name = "wild",
    .foreign = true,
    .on_result = wild_stop,
    .stop_all = wild_stop_all,
    .free = wild_stopper_free,
};

static ct_status
wild_request(void *ctx, uint32_t experiment, const ct_value *config, ct_value *out,
             ct_err *err)
{
    assert_int_equal(experiment, 0);
    rig *r = asked(ctx);
    (void)config, (void)err;
    *out = ct_nil();
    if (below(&r->will, 2) == 0) {
        *out = ct_dict();
        put(r, out, "CPU", ct_f64(2.0));
    }
    return CT_OK;
}

static ct_status
wild_name(void *ctx, ct_trial_id t, ct_buf *out, ct_err *err)
{
    rig *r = asked(ctx);
    return ct_buf_printf(out, err, "name-%u-%u", (unsigned)t, below(&r->will, 1000));
}

static ct_status
wild_dirname(void *ctx, ct_trial_id t, ct_buf *out, ct_err *err)
{
    return wild_name(ctx, t, out, err);
}

/* ---- the world ---- */

static void
log_text(ct_buf *log, const char *text)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_buf_printf(log, &err, "|%s", text == NULL ? "-" : text), err);
}

static void
log_value(rig *r, const ct_value *v)
{
    ct_err err = CT_ERR_INIT;
    if (v != NULL) {
        assert_ok(ct_json_print(&r->did, v, r->names, 0, &err), err);
    }
}

static void
log_command(rig *r, const ct_command *c)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_buf_printf(&r->did, &err, "\n%s %u %u %llu %u",
                            ct_command_name(c->kind), (unsigned)c->trial,
                            (unsigned)c->from, (unsigned long long)c->serial, c->index),
              err);
    log_text(&r->did, c->checkpoint);
    log_text(&r->did, c->trial_id);
    log_text(&r->did, c->trial_name);
    log_text(&r->did, c->trial_dir);
    log_value(r, c->config);
    log_value(r, c->resources);
}

static void
log_note(rig *r, const ct_note *n)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_buf_printf(&r->told, &err, "\n%s %u %.17g %d", ct_note_name(n->kind),
                            (unsigned)n->trial, n->time, n->code),
              err);
    log_text(&r->told, n->path);
    log_text(&r->told, n->text);
    for (size_t i = 0; n->record != NULL && i < n->record->count; i++) {
        const ct_field *f = &n->record->fields[i]; /* the records here are flat */
        double v = 0.0;
        assert_true(ct_field_number(f, &v));
        assert_ok(ct_buf_printf(&r->told, &err, " %s=%d:%.17g",
                                ct_names_text(r->names, f->key), (int)f->kind, v),
                  err);
    }
    r->results += n->kind == CT_NOTE_RESULT;
}

static ct_status
world_plan(void *ctx, const ct_command *c, double now, ct_sim_answer *out, ct_err *err)
{
    rig *r = ctx;
    ct_status st = CT_OK;
    (void)now;
    log_command(r, c);
    *out = (ct_sim_answer){.duration = 0.1 + 0.01 * below(&r->world, 50)};
    out->event.kind = c->kind == CT_COMMAND_START   ? CT_EVENT_STARTED
                      : c->kind == CT_COMMAND_RESET ? CT_EVENT_RESET
                      : c->kind == CT_COMMAND_STEP  ? CT_EVENT_RESULT
                      : c->kind == CT_COMMAND_SAVE  ? CT_EVENT_SAVED
                                                    : CT_EVENT_STOPPED;
    if (c->kind == CT_COMMAND_SAVE) {
        out->event.path = "/tmp/somewhere/checkpoint";
        out->event.path_len = strlen(out->event.path);
    }
    if (c->kind == CT_COMMAND_STEP && below(&r->world, 40) == 0) {
        out->event.kind = CT_EVENT_FAILED;
        out->event.text = "fell over";
        out->event.text_len = 9;
    } else if (c->kind == CT_COMMAND_STEP) {
        int n = ++r->steps[c->trial];
        out->lost = below(&r->world, 60) == 0;
        ct_record_clear(&r->record);
        st = ct_record_bool(&r->record, CT_KEY_DONE, n >= STEPS, err);
        if (st == CT_OK) {
            st = ct_record_i64(&r->record, CT_KEY_TRAINING_ITERATION, n, err);
        }
        if (st == CT_OK) {
            st = ct_record_f64(&r->record, intern(r, "loss"), below(&r->world, 100),
                               err);
        }
        out->event.record = &r->record;
    }
    return st;
}

static ct_status
world_hear(void *ctx, const ct_note *n, ct_err *err)
{
    (void)err;
    log_note(ctx, n);
    return CT_OK;
}

/* ---- a run, and a controller like its own ---- */

static void
make_policies(rig *r)
{
    ct_err err = CT_ERR_INIT;
    wild_searcher *searcher = ct_calloc(1, sizeof *searcher);
    wild_stopper *stopper = ct_calloc(1, sizeof *stopper);
    *searcher = (wild_searcher){{&wild_searcher_ops}, r};
    *stopper = (wild_stopper){{&wild_stopper_ops}, r};
    r->searcher = &searcher->base;
    r->stopper = &stopper->base;
    if (r->asha) {
        ct_asha *asha;
        ct_asha_opts o = {.time_attr = CT_KEY_TRAINING_ITERATION,
                          .metric = intern(r, "loss"),
                          .max_t = STEPS,
                          .grace_period = 1,
                          .reduction_factor = 2,
                          .brackets = 3,
                          .stop_last_trials = true,
                          .rng = &r->rng.rng};
        ct_answers_rng_init(&r->rng, &r->will.rng, &r->answers);
        assert_ok(ct_asha_new(&asha, &o, &err), err);
        r->scheduler = ct_asha_scheduler(asha);
    } else {
        wild_scheduler *scheduler = ct_calloc(1, sizeof *scheduler);
        *scheduler = (wild_scheduler){{&wild_scheduler_ops}, r};
        r->scheduler = &scheduler->base;
    }
    ct_scheduler *bare = r->scheduler;
    assert_ok(ct_recorded_scheduler(&r->scheduler, &r->answers, &err), err);
    assert_int_equal(r->scheduler == bare, r->asha); /* a native one as it is */
    assert_ok(ct_recorded_searcher(&r->searcher, &r->answers, &err), err);
    assert_ok(ct_recorded_stopper(&r->stopper, &r->answers, &err), err);
}

static void
make_control(rig *r)
{
    ct_err err = CT_ERR_INIT;
    ct_value total = ct_dict(), one = ct_dict();
    ct_trial_hooks hooks = {wild_request, wild_name, wild_dirname, r};
    put(r, &total, "CPU", ct_f64(5.0));
    put(r, &one, "CPU", ct_f64(1.0));
    ct_control_opts o = {
        .names = r->names,
        .scheduler = r->scheduler,
        .searcher = r->searcher,
        .stopper = r->stopper,
        .resources = &total,
        .experiments =
            &(ct_experiment){"exp", "/tmp/somewhere", "model", &one, 2, false},
        .n_experiments = 1,
        .max_pending = 3,
        .max_dirname = 130,
        .reuse_workers = true,
        .checkpoint = {.score = CT_NAME_NONE},
        .hooks = ct_recorded_trial_hooks(&r->hooks, &hooks, &r->answers),
    };
    assert_ok(ct_control_new(&r->control, &o, &err), err);
    ct_value_deinit(&total);
    ct_value_deinit(&one);
}

static void
rig_init(rig *r, uint64_t seed, bool asha)
{
    ct_err err = CT_ERR_INIT;
    memset(r, 0, sizeof *r);
    r->asha = asha;
    ct_pcg_init(&r->will, seed, 1);
    ct_pcg_init(&r->world, seed, 2);
    ct_virtual_clock_init(&r->clock, 1000.0);
    assert_ok(ct_names_new(&r->names, &err), err);
    assert_ok(ct_keys_intern(r->names, &err), err);
    assert_ok(thing_new(&thing_ops, 77, &r->once, &err), err);
    ct_answers_init(&r->answers, r->names,
                    (ct_ref_reader){thing_read, &r->objects_read});
    make_policies(r);
    make_control(r);
}

static void
rig_deinit(rig *r)
{
    ct_err err = CT_ERR_INIT;
    ct_drive_free(r->drive);
    if (r->exec != NULL) {
        r->exec->ops->free(r->exec);
    }
    assert_ok(ct_journal_close(r->journal, &err), err);
    ct_control_free(r->control);
    r->scheduler->ops->free(r->scheduler);
    r->searcher->ops->free(r->searcher);
    r->stopper->ops->free(r->stopper);
    ct_answers_deinit(&r->answers);
    ct_value_deinit(&r->once);
    ct_names_free(r->names);
    ct_record_deinit(&r->record);
    ct_buf_deinit(&r->did);
    ct_buf_deinit(&r->told);
}

static void
run_to_end(rig *r)
{
    ct_err err = CT_ERR_INIT;
    ct_sim_ops sim = {world_plan, r};
    bool more = true;
    snprintf(r->dir, sizeof r->dir, "/tmp/ctune_recorded_XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_ok(ct_sim_new(&r->exec, &sim, &r->clock, &err), err);
    assert_ok(ct_journal_open(&r->journal, r->dir, 0, r->names, CT_SYNC_NONE, &err),
              err);
    ct_drive_opts o = {.control = r->control,
                       .exec = r->exec,
                       .journal = r->journal,
                       .answers = &r->answers,
                       .clock = &r->clock.clock,
                       .observer = {world_hear, r}};
    assert_ok(ct_drive_new(&r->drive, &o, &err), err);
    for (int turns = 0; more; turns++) {
        assert_true(turns < 20000);
        assert_ok(ct_drive_wait(r->drive, -1.0, &err), err);
        assert_ok(ct_drive_turn(r->drive, &more, &err), err);
    }
    assert_true(ct_control_done(r->control));
    assert_ok(ct_journal_close(r->journal, &err), err);
    r->journal = NULL;
}

/* ---- playing it back ---- */

/* Notes borrow from the event, which the reader replaces by the next one. */
static void
hear_notes(rig *r)
{
    ct_note n;
    while (ct_control_next_note(r->control, &n)) {
        log_note(r, &n);
    }
}

static ct_status
replay_event(void *ctx, const ct_event *ev, ct_err *err)
{
    rig *r = ctx;
    if (ev->kind == CT_EVENT_ANSWER) {
        return ct_answers_load(&r->answers, ev->blob, ev->blob_len, err);
    }
    ct_status st = ct_control_feed(r->control, ev, err);
    hear_notes(r);
    return st;
}

static ct_status
replay_turn(void *ctx, double time, bool settled, ct_err *err)
{
    rig *r = ctx;
    ct_command c;
    assert_true(settled);
    ct_status st = ct_control_settle(r->control, time, err);
    hear_notes(r);
    while (ct_control_next_command(r->control, &c)) {
        log_command(r, &c);
    }
    ct_control_begin(r->control);
    return st;
}

static void
replay(rig *r, const char *dir)
{
    ct_err err = CT_ERR_INIT;
    ct_value snapshot = ct_nil();
    ct_journal_summary summary;
    ct_journal_visitor v = {replay_event, replay_turn, NULL, r};
    ct_answers_replay(&r->answers, true);
    ct_control_begin(r->control);
    assert_ok(ct_journal_recover(dir, r->names, &snapshot, &v, &summary, &err), err);
    assert_int_equal(ct_answers_left(&r->answers), 0);
    ct_value_deinit(&snapshot);
}

static void
run_and_replay(uint64_t seed, bool asha, size_t *results, size_t *objects)
{
    ct_err err = CT_ERR_INIT;
    ct_buf before = CT_BUF_INIT, after = CT_BUF_INIT;
    rig run, copy;
    rig_init(&run, seed, asha);
    run_to_end(&run);
    rig_init(&copy, seed + 1, asha);
    replay(&copy, run.dir);
    assert_true(run.asked > 0);
    assert_true(copy.asked > 0);
    assert_true(ct_control_done(copy.control));
    assert_int_equal(run.did.len, copy.did.len);
    assert_memory_equal(run.did.data, copy.did.data, run.did.len);
    assert_int_equal(run.told.len, copy.told.len);
    assert_memory_equal(run.told.data, copy.told.data, run.told.len);
    put_state_text(&before, run.control);
    put_state_text(&after, copy.control);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    *results += run.results;
    *objects += copy.objects_read;
    assert_ok(ct_dir_remove_tree(run.dir, &err), err);
    ct_buf_deinit(&before);
    ct_buf_deinit(&after);
    rig_deinit(&run);
    rig_deinit(&copy);
}

static void
test_a_replay_does_the_same_whatever_foreign_policies_say_now(void **state)
{
    size_t results = 0, objects = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        run_and_replay(seed, false, &results, &objects);
    }
    assert_true(results > 1000);
    assert_true(objects > 100);
}

static void
test_a_replay_of_asha_draws_its_brackets_from_the_record(void **state)
{
    size_t results = 0, objects = 0;
    (void)state;
    for (uint64_t seed = 100; seed < 110; seed++) {
        run_and_replay(seed, true, &results, &objects);
    }
    assert_true(results > 300);
}

/* ---- one by one ---- */

static void
move_turn(ct_answers *from, ct_answers *to)
{
    ct_err err = CT_ERR_INIT;
    size_t len;
    const uint8_t *blob = ct_answers_blob(from, &len);
    assert_ok(ct_answers_load(to, blob, len, &err), err);
    ct_answers_sent(from);
}

/* Plays a suggestion whose config holds an object that could not be kept. */
static ct_status
play_lost(uint32_t made, ct_suggestion *s, ct_err *err)
{
    rig run, copy;
    ct_search_state said = CT_SEARCH_WAIT;
    rig_init(&run, 3, false);
    ct_value_deinit(&run.once);
    assert_ok(thing_new(&lost_ops, 1, &run.once, err), *err);
    while (said != CT_SEARCH_TRIAL) {
        assert_ok(run.searcher->ops->next(run.searcher, NULL, s, &said, err), *err);
        ct_suggestion_deinit(s);
    }
    rig_init(&copy, 3, false);
    copy.made = made;
    ct_answers_replay(&copy.answers, true);
    move_turn(&run.answers, &copy.answers);
    ct_status st = CT_OK;
    for (said = CT_SEARCH_WAIT; st == CT_OK && said == CT_SEARCH_WAIT;) {
        st = copy.searcher->ops->next(copy.searcher, NULL, s, &said, err);
    }
    rig_deinit(&run);
    rig_deinit(&copy);
    return st;
}

static void
test_an_object_that_cannot_be_kept_comes_from_the_searcher_again(void **state)
{
    ct_err err = CT_ERR_INIT;
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    (void)state;
    assert_ok(play_lost(0, &s, &err), err);
    assert_string_equal(s.id, "w00000");
    assert_int_equal(s.config.kind, CT_DICT);
    ct_suggestion_deinit(&s);
    assert_int_equal(play_lost(TRIALS, &s, &err), CT_EUNSUPPORTED);
    assert_string_equal(err.param, "config");
    assert_null(s.id);
}

static void
test_the_second_config_with_an_object_does_not_hold_its_bytes_again(void **state)
{
    ct_err err = CT_ERR_INIT;
    size_t sizes[3] = {0};
    rig r;
    (void)state;
    rig_init(&r, 4, false);
    for (int i = 0; i < 3;) {
        ct_buf out = CT_BUF_INIT;
        ct_value config = ct_dict(), copy = ct_nil();
        assert_ok(ct_value_copy(&copy, &r.once, &err), err);
        put(&r, &config, "shared", copy);
        assert_ok(ct_answers_put_value(&r.answers, &out, &config, &err), err);
        sizes[i++] = out.len;
        if (i == 2) { /* as after a snapshot: what was said before is out of reach */
            ct_answers_restart(&r.answers);
        }
        ct_value_deinit(&config);
        ct_buf_deinit(&out);
    }
    assert_true(sizes[1] < sizes[0]);
    assert_int_equal(sizes[2], sizes[0]);
    rig_deinit(&r);
}

static void
test_answers_cut_short_are_refused_and_leak_nothing(void **state)
{
    ct_err err = CT_ERR_INIT;
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    ct_search_state said = CT_SEARCH_WAIT;
    rig run;
    (void)state;
    rig_init(&run, 5, false);
    while (said != CT_SEARCH_TRIAL) {
        ct_answers_sent(&run.answers);
        assert_ok(run.searcher->ops->next(run.searcher, NULL, &s, &said, &err), err);
    }
    ct_suggestion_deinit(&s);
    size_t len;
    const uint8_t *blob = ct_answers_blob(&run.answers, &len);
    ct_reader in = ct_reader_of(blob, len);
    (void)ct_read_u8(&in);
    const uint8_t *data = ct_read_bytes(&in, &len);
    for (size_t cut = 0; cut < len; cut++) {
        rig copy;
        rig_init(&copy, 5, false);
        ct_answers_replay(&copy.answers, true);
        assert_ok(
            ct_answers_record(&copy.answers, CT_ANSWER_SUGGESTION, data, cut, &err),
            err);
        move_turn(&copy.answers, &copy.answers);
        assert_int_equal(copy.searcher->ops->next(copy.searcher, NULL, &s, &said, &err),
                         CT_ECORRUPT);
        assert_null(s.id);
        rig_deinit(&copy);
    }
    rig_deinit(&run);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_replay_does_the_same_whatever_foreign_policies_say_now),
        cmocka_unit_test(test_a_replay_of_asha_draws_its_brackets_from_the_record),
        cmocka_unit_test(
            test_an_object_that_cannot_be_kept_comes_from_the_searcher_again),
        cmocka_unit_test(
            test_the_second_config_with_an_object_does_not_hold_its_bytes_again),
        cmocka_unit_test(test_answers_cut_short_are_refused_and_leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
