/* replay_rig.h: a small run with a journal, and a replay of any journal by policies of the
 * same kind. For the fuzz target and the C test of damaged journals.
 *
 * The scheduler is foreign: it pauses, stops and gives orders from what a trial's number
 * and results are, so that the journal holds answers of every kind that decide about
 * trials. What it was asked is not kept, so a damaged journal may ask it anything. */
#ifndef CT_TEST_REPLAY_RIG_H
#define CT_TEST_REPLAY_RIG_H

#include "base/keys.h"
#include "base/mem.h"
#include "drive/drive.h"
#include "exec/sim.h"
#include "policy/recorded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef RIG_CHECK
#define RIG_CHECK(cond)                                                                \
    do {                                                                               \
        if (!(cond)) {                                                                 \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);           \
            abort();                                                                   \
        }                                                                              \
    } while (0)
#endif

enum { RIG_TRIALS = 6, RIG_STEPS = 4 };

/* --- an object, as Python has them --- */

static void
rig_object_release(ct_ref *ref)
{
    ct_free(ref);
}

static ct_status
rig_object_text(const ct_ref *ref, ct_buf *out, ct_err *err)
{
    (void)ref;
    return ct_buf_puts(out, "\"object\"", err);
}

static ct_status
rig_object_bytes(ct_ref *ref, ct_buf *out, ct_err *err)
{
    (void)ref;
    return ct_buf_puts(out, "object", err);
}

static bool
rig_object_equal(const ct_ref *a, const ct_ref *b)
{
    return a->ops == b->ops;
}

static const ct_ref_ops rig_object_ops = {rig_object_release, rig_object_text,
                                          rig_object_bytes, rig_object_equal,
                                          rig_object_bytes};

static ct_status
rig_object_new(ct_value *out, ct_err *err)
{
    ct_ref *ref = (ct_ref *)ct_alloc(sizeof *ref);
    if (ref == NULL) {
        return ct_fail_mem(err);
    }
    *ref = (ct_ref){&rig_object_ops, 1};
    *out = ct_of_ref(ref);
    return CT_OK;
}

static ct_status
rig_object_read(void *ctx, const uint8_t *data, size_t len, ct_value *out, ct_err *err)
{
    (void)ctx;
    return len == 6 && memcmp(data, "object", len) == 0
               ? rig_object_new(out, err)
               : ct_fail(err, CT_ECORRUPT, "", "no object");
}

/* --- policies --- */

typedef struct rig_searcher {
    ct_searcher base;
    ct_name x;
    ct_value object; /* in each config */
    uint32_t made;
} rig_searcher;

static ct_status
rig_next(ct_searcher *s, const ct_board *b, ct_suggestion *out, ct_search_state *state,
         ct_err *err)
{
    rig_searcher *own = (rig_searcher *)s;
    char id[16];
    ct_value object = ct_nil();

    (void)b;
    *state = own->made == RIG_TRIALS ? CT_SEARCH_FINISHED : CT_SEARCH_TRIAL;
    if (*state == CT_SEARCH_FINISHED) {
        return CT_OK;
    }
    ct_value number = ct_f64(0.5 * own->made);
    (void)snprintf(id, sizeof id, "t_%05u", (unsigned)own->made++);
    out->id = out->id == NULL ? ct_strndup(id, strlen(id)) : out->id;
    out->config = ct_dict();
    out->evaluated = ct_dict();
    ct_status st = out->id == NULL ? ct_fail_mem(err)
                                   : ct_value_put(&out->config, own->x, &number, err);
    st = st == CT_OK ? ct_value_copy(&object, &own->object, err) : st;
    return st == CT_OK ? ct_value_put(&out->config, CT_KEY_DONE, &object, err) : st;
}

static ct_status
rig_search_save(ct_searcher *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names, (void)err;
    *out = ct_i64(((rig_searcher *)s)->made);
    return CT_OK;
}

static ct_status
rig_search_restore(ct_searcher *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)names;
    if (v->kind != CT_I64 || v->u.i < 0 || v->u.i > RIG_TRIALS) {
        return ct_fail(err, CT_ECORRUPT, "searcher", "another state");
    }
    ((rig_searcher *)s)->made = (uint32_t)v->u.i;
    return CT_OK;
}

static ct_status
rig_search_result(ct_searcher *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                  ct_err *err)
{
    (void)s, (void)b, (void)t, (void)r, (void)err;
    return CT_OK;
}

static ct_status
rig_search_complete(ct_searcher *s, const ct_board *b, ct_trial_id t,
                    const ct_result *r, bool error, ct_err *err)
{
    (void)s, (void)b, (void)t, (void)r, (void)error, (void)err;
    return CT_OK;
}

static void
rig_search_free(ct_searcher *s)
{
    ct_value_deinit(&((rig_searcher *)s)->object);
    ct_free(s);
}

static const ct_searcher_ops rig_searcher_ops = {.name = "rig",
                                                 .foreign = true,
                                                 .next = rig_next,
                                                 .on_result = rig_search_result,
                                                 .on_complete = rig_search_complete,
                                                 .save = rig_search_save,
                                                 .restore = rig_search_restore,
                                                 .free = rig_search_free};

static ct_status
rig_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
              ct_verdict *out, ct_orders *orders, ct_err *err)
{
    uint32_t n = ct_trials_get(b->trials, t)->results;
    bool known = t + 1 < ct_trials_count(b->trials);

    (void)s, (void)r;
    *out = (t + n) % 5 == 3 ? CT_PAUSE : n >= RIG_STEPS ? CT_STOP : CT_CONTINUE;
    if (known && t % 3 == 0 && n == 2) { /* the next one goes on from this one */
        ct_value config = ct_dict(), tag = ct_nil(), note = ct_i64(7);
        ct_value parts = ct_tuple();
        ct_status st = ct_orders_add(orders, CT_ORDER_OFFER, t, true, NULL, err);
        st = st == CT_OK ? ct_str(&tag, "tag", 3, err) : st;
        st = st == CT_OK ? ct_value_push(&parts, &config, err) : st;
        st = st == CT_OK ? ct_value_push(&parts, &tag, err) : st;
        st = st == CT_OK ? ct_value_push(&parts, &note, err) : st;
        st = st == CT_OK ? ct_orders_exploit(orders, t + 1, t, true, &parts, err) : st;
        ct_value_deinit(&parts);
        return st;
    }
    return CT_OK;
}

static ct_status
rig_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
           ct_err *err)
{
    (void)s, (void)orders, (void)err;
    *out = ct_trials_first(b->trials, CT_TRIAL_PENDING);
    if (*out == CT_TRIAL_NONE) {
        *out = ct_trials_first(b->trials, CT_TRIAL_PAUSED);
    }
    return CT_OK;
}

static ct_status
rig_scheduler_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)s, (void)names, (void)err;
    *out = ct_nil();
    return CT_OK;
}

static ct_status
rig_scheduler_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)s, (void)names, (void)v;
    return ct_fail(err, CT_ECORRUPT, "scheduler", "it has no state");
}

static void
rig_scheduler_free(ct_scheduler *s)
{
    ct_free(s);
}

static const ct_scheduler_ops rig_scheduler_ops = {.name = "rig",
                                                   .foreign = true,
                                                   .on_add = ct_scheduler_ignore,
                                                   .on_result = rig_on_result,
                                                   .on_complete =
                                                       ct_scheduler_ignore_end,
                                                   .on_error = ct_scheduler_ignore,
                                                   .on_remove = ct_scheduler_ignore,
                                                   .choose = rig_choose,
                                                   .save = rig_scheduler_save,
                                                   .restore = rig_scheduler_restore,
                                                   .free = rig_scheduler_free};

/* --- a controller with its policies --- */

typedef struct rig {
    ct_names *names;
    ct_virtual_clock clock;
    ct_answers answers;
    ct_scheduler *scheduler;
    ct_searcher *searcher;
    ct_control *control;
    ct_exec *exec;
    ct_output *output; /* NULL = none */
    ct_record record;
    uint64_t snapshot_bytes; /* of the journal, after which one is due; 0 = never */
    bool cannot_save;        /* its foreign state */
    uint32_t saves;
    char path[32]; /* of the newest checkpoint; nothing is there */
} rig;

static ct_status
rig_plan(void *ctx, const ct_command *c, double now, ct_sim_answer *out, ct_err *err)
{
    rig *r = (rig *)ctx;
    ct_status st = CT_OK;

    (void)now;
    *out = (ct_sim_answer){.duration = 0.25 + 0.01 * (double)c->trial};
    switch (c->kind) {
    case CT_COMMAND_START:
        out->event.kind = CT_EVENT_STARTED;
        break;
    case CT_COMMAND_STEP: {
        const ct_trials *trials = ct_control_board(r->control)->trials;
        int64_t n = (int64_t)ct_trials_get(trials, c->trial)->results + 1;
        out->event.kind = CT_EVENT_RESULT;
        ct_record_clear(&r->record);
        st = ct_record_bool(&r->record, CT_KEY_DONE, n > RIG_STEPS, err);
        if (st == CT_OK) {
            st = ct_record_i64(&r->record, CT_KEY_TRAINING_ITERATION, n, err);
        }
        out->event.record = &r->record;
        if (c->trial == 4 && n == 2 && r->saves % 2 == 0) {
            r->saves++;
            out->event =
                (ct_event){.kind = CT_EVENT_FAILED, .text = "as asked", .text_len = 8};
        }
        break;
    }
    case CT_COMMAND_SAVE:
        (void)snprintf(r->path, sizeof r->path, "/none/c%u", (unsigned)r->saves++);
        out->event.kind = CT_EVENT_SAVED;
        out->event.path = r->path;
        out->event.path_len = strlen(r->path);
        break;
    case CT_COMMAND_RESTORE:
        out->event.kind = CT_EVENT_RESTORED;
        break;
    default:
        out->event.kind = CT_EVENT_STOPPED;
        break;
    }
    return st;
}

/* The foreign state is that there is one, and an object. */
static ct_status
rig_foreign_save(void *ctx, ct_value *out, ct_err *err)
{
    ct_value object = ct_nil();

    if (((rig *)ctx)->cannot_save) {
        return ct_fail(err, CT_EUNSUPPORTED, "", "not now");
    }
    *out = ct_list();
    ct_status st = rig_object_new(&object, err);
    st = st == CT_OK ? ct_value_push(out, &object, err) : st;
    if (st != CT_OK) {
        ct_value_deinit(out);
    }
    return st;
}

static ct_status
rig_foreign_restore(void *ctx, const ct_value *v, ct_err *err)
{
    (void)ctx;
    return v->kind == CT_LIST && v->len == 1 && v->u.items[0].kind == CT_REF
               ? CT_OK
               : ct_fail(err, CT_ECORRUPT, "", "no foreign state");
}

/* `store`: where the trials have their folders; NULL = nowhere. */
static void
rig_init(rig *r, const char *store)
{
    ct_err err = CT_ERR_INIT;
    ct_value totals = ct_dict(), request = ct_dict();
    ct_value three = ct_f64(3.0), one = ct_f64(1.0);
    const ct_sim_ops sim = {rig_plan, r};
    rig_searcher *searcher = (rig_searcher *)ct_calloc(1, sizeof *searcher);

    *r = (rig){.record = CT_RECORD_INIT};
    RIG_CHECK(ct_names_new(&r->names, &err) == CT_OK);
    RIG_CHECK(ct_keys_intern(r->names, &err) == CT_OK);
    ct_virtual_clock_init(&r->clock, 1000.0);
    ct_answers_init(&r->answers, r->names, (ct_ref_reader){rig_object_read, NULL});
    RIG_CHECK(searcher != NULL);
    *searcher = (rig_searcher){{&rig_searcher_ops}, CT_NAME_NONE, ct_nil(), 0};
    RIG_CHECK(ct_names_intern(r->names, "x", 1, &searcher->x, &err) == CT_OK);
    RIG_CHECK(rig_object_new(&searcher->object, &err) == CT_OK);
    r->searcher = &searcher->base;
    r->scheduler = (ct_scheduler *)ct_calloc(1, sizeof *r->scheduler);
    RIG_CHECK(r->scheduler != NULL);
    r->scheduler->ops = &rig_scheduler_ops;
    RIG_CHECK(ct_recorded_searcher(&r->searcher, &r->answers, &err) == CT_OK);
    RIG_CHECK(ct_recorded_scheduler(&r->scheduler, &r->answers, &err) == CT_OK);
    RIG_CHECK(ct_value_put(&totals, CT_KEY_CPU, &three, &err) == CT_OK);
    RIG_CHECK(ct_value_put(&request, CT_KEY_CPU, &one, &err) == CT_OK);
    const ct_experiment only = {.name = "e",
                                .dir = store,
                                .trainable = "model",
                                .request = &request,
                                .max_failures = 2};
    const ct_output_opts files = {true, true, true};
    const ct_control_opts o = {.names = r->names,
                               .scheduler = r->scheduler,
                               .searcher = r->searcher,
                               .resources = &totals,
                               .experiments = &only,
                               .n_experiments = 1,
                               .max_pending = 2,
                               .max_dirname = 130,
                               .foreign = {rig_foreign_save, rig_foreign_restore, r},
                               .checkpoint = {.num_to_keep = 1, .score = CT_NAME_NONE}};
    RIG_CHECK(ct_control_new(&r->control, &o, &err) == CT_OK);
    RIG_CHECK(ct_sim_new(&r->exec, &sim, &r->clock, &err) == CT_OK);
    RIG_CHECK(store == NULL ||
              ct_output_new(&r->output, &files, r->names, &err) == CT_OK);
    ct_value_deinit(&totals);
    ct_value_deinit(&request);
}

static void
rig_deinit(rig *r)
{
    r->exec->ops->free(r->exec);
    ct_output_free(r->output);
    ct_control_free(r->control);
    r->scheduler->ops->free(r->scheduler);
    r->searcher->ops->free(r->searcher);
    ct_answers_deinit(&r->answers);
    ct_record_deinit(&r->record);
    ct_names_free(r->names);
}

static ct_drive_opts
rig_drive_opts(rig *r, ct_journal *j)
{
    return (ct_drive_opts){
        .control = r->control,
        .exec = r->exec,
        .journal = j,
        .answers = &r->answers,
        .output = r->output,
        .clock = &r->clock.clock,
        .heard = UINT32_MAX,
        .interrupt_grace = 5.0,
        .snapshot_bytes = r->snapshot_bytes,
        .settings = "{\"control\":{\"max_pending\":2},\"resume\":null,\"run\":{}}"};
}

/* Runs from the beginning, or for at most so many turns; the journal's only segment, 0, is
 * in dir. `store` as above. */
static void
rig_run_in(const char *dir, const char *store, int most)
{
    ct_err err = CT_ERR_INIT;
    rig r;
    ct_journal *j = NULL;
    ct_drive *d = NULL;
    bool more = true;

    rig_init(&r, store);
    RIG_CHECK(ct_journal_open(&j, dir, 0, r.names, CT_SYNC_NONE, &err) == CT_OK);
    const ct_drive_opts o = rig_drive_opts(&r, j);
    RIG_CHECK(ct_drive_new(&d, &o, &err) == CT_OK);
    for (int turns = 0; more && turns < most; turns++) {
        RIG_CHECK(ct_drive_wait(d, -1.0, &err) == CT_OK);
        ct_status st = ct_drive_turn(d, &more, &err);
        if (st != CT_OK) {
            (void)fprintf(stderr, "%s: %s\n", err.param, err.text);
        }
        RIG_CHECK(st == CT_OK);
    }
    ct_drive_free(d);
    RIG_CHECK(ct_journal_close(j, &err) == CT_OK);
    rig_deinit(&r);
}

static inline void
rig_run(const char *dir, int most)
{
    rig_run_in(dir, NULL, most);
}

/* What a replay came to. */
typedef struct rig_outcome {
    ct_status status;
    uint64_t turns;
    uint64_t state; /* a hash of the trials */
    bool ended;     /* also the run that goes on */
} rig_outcome;

static uint64_t
rig_hash(const rig *r)
{
    const ct_trials *trials = ct_control_board(r->control)->trials;
    uint64_t h = ct_trials_count(trials);

    for (ct_trial_id t = 0; t < ct_trials_count(trials); t++) {
        const ct_trial *one = ct_trials_get(trials, t);
        const uint64_t facts[] = {h,
                                  ct_hash_bytes(one->id, strlen(one->id)),
                                  one->status,
                                  one->end,
                                  one->results,
                                  one->failures,
                                  one->checkpoints_made,
                                  one->checkpoint_count,
                                  one->revision};
        h = ct_hash_bytes((const char *)facts, sizeof facts);
    }
    return h;
}

/* Replays the journal in dir; with `most` > 0 the run then goes on for as many turns. */
static rig_outcome
rig_replay_in(const char *dir, const char *store, int most)
{
    ct_err err = CT_ERR_INIT;
    rig_outcome out = {0};
    ct_recovery found;
    ct_drive *d = NULL;
    rig r;
    bool more = true;

    rig_init(&r, store);
    const ct_drive_opts o = rig_drive_opts(&r, NULL);
    RIG_CHECK(ct_drive_new(&d, &o, &err) == CT_OK);
    out.status = ct_drive_recover(d, dir, &found, &err);
    if (out.status == CT_OK) {
        out.turns = found.turns;
        out.state = rig_hash(&r);
    } else {
        RIG_CHECK(err.code == out.status && err.text[0] != '\0');
    }
    for (int i = 0; out.status == CT_OK && more && i < most; i++) {
        out.status = ct_drive_wait(d, -1.0, &err);
        if (out.status == CT_OK) {
            out.status = ct_drive_turn(d, &more, &err);
        }
    }
    out.ended = out.status == CT_OK && !more;
    ct_drive_free(d);
    rig_deinit(&r);
    return out;
}

static inline rig_outcome
rig_replay(const char *dir, int most)
{
    return rig_replay_in(dir, NULL, most);
}

#endif
