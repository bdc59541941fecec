/* control.c: the turn: events in, commands and notes out. */
#include "control/control.h"

#include "control/control_int.h"

#include <assert.h>
#include <string.h>

/* --- making and freeing --- */

static ct_status
copy_text(char **out, const char *text, ct_err *err)
{
    *out = text == NULL ? NULL : ct_strndup(text, strlen(text));
    return text != NULL && *out == NULL ? ct_fail_mem(err) : CT_OK;
}

static ct_status
add_experiment(ct_control *c, const ct_experiment *e, ct_err *err)
{
    experiment *own = &c->experiments[c->n_experiments++];
    ct_status st = copy_text(&own->name, e->name, err);

    if (st == CT_OK) {
        st = copy_text(&own->dir, e->dir, err);
    }
    if (st == CT_OK) {
        st = copy_text(&own->trainable, e->trainable, err);
    }
    own->max_failures = e->max_failures;
    own->exports = e->exports;
    c->stores = e->dir != NULL;
    return st == CT_OK
               ? ct_resources_request(c->resources, e->request, &own->request, err)
               : st;
}

static ct_status
control_init(ct_control *c, const ct_control_opts *o, ct_err *err)
{
    ct_status st = CT_OK;

    c->experiments = ct_calloc(o->n_experiments, sizeof *c->experiments);
    if (c->experiments == NULL) {
        return ct_fail_mem(err);
    }
    if (o->n_required > 0) {
        c->required = ct_alloc(o->n_required * sizeof *c->required);
        if (c->required == NULL) {
            return ct_fail_mem(err);
        }
        memcpy(c->required, o->required, o->n_required * sizeof *c->required);
    }
    if (st == CT_OK) {
        st = ct_trials_new(&c->trials, err);
    }
    if (st == CT_OK) {
        st = ct_metrics_new(&c->metrics, CT_KEY_TRAINING_ITERATION, err);
    }
    if (st == CT_OK) {
        st = ct_resources_new(&c->resources, o->names, o->resources, err);
    }
    for (size_t i = 0; st == CT_OK && i < o->n_experiments; i++) {
        st = add_experiment(c, &o->experiments[i], err);
    }
    return st;
}

ct_status
ct_control_new(ct_control **out, const ct_control_opts *opts, ct_err *err)
{
    ct_control *c;
    ct_status st;

    *out = NULL;
    if (opts->max_pending == 0) {
        return ct_fail(err, CT_EINVAL, "max_pending", "must be at least 1, got 0");
    }
    if (opts->n_experiments == 0) {
        return ct_fail(err, CT_EINVAL, "experiments", "must be at least 1, got 0");
    }
    c = ct_calloc(1, sizeof *c);
    if (c == NULL) {
        return ct_fail_mem(err);
    }
    c->opts = *opts;
    c->last = (ct_record)CT_RECORD_INIT;
    c->ask = true;
    ct_arena_init(&c->turn, 4096);
    st = control_init(c, opts, err);
    if (st != CT_OK) {
        ct_control_free(c);
        return st;
    }
    c->board = (ct_board){.names = opts->names,
                          .trials = c->trials,
                          .metrics = c->metrics,
                          .resources = c->resources};
    *out = c;
    return CT_OK;
}

void
ct_control_free(ct_control *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->n_experiments; i++) {
        ct_free(c->experiments[i].name);
        ct_free(c->experiments[i].dir);
        ct_free(c->experiments[i].trainable);
        ct_free(c->experiments[i].recorded_dir);
    }
    ct_free(c->experiments);
    ct_free(c->required);
    ct_trials_free(c->trials);
    ct_metrics_free(c->metrics);
    ct_resources_free(c->resources);
    ct_map_deinit(&c->dirnames);
    ct_free(c->lives);
    ct_free(c->idle);
    ct_orders_deinit(&c->orders);
    ct_orders_deinit(&c->batch);
    ct_orders_deinit(&c->exploits);
    ct_free(c->commands);
    ct_free(c->notes);
    ct_arena_deinit(&c->turn);
    ct_metrics_buf_deinit(&c->flat);
    ct_metrics_buf_deinit(&c->last_flat);
    ct_record_deinit(&c->last);
    ct_buf_deinit(&c->text);
    ct_free(c);
}

/* --- results --- */

static ct_status
missing_metric(const ct_control *c, ct_trial_id t, const ct_record *r, ct_name metric,
               ct_err *err)
{
    char keys[360] = "";
    size_t used = 0;
    size_t depth = 0;

    for (size_t i = 0; i < r->count; i++) {
        const ct_field *f = &r->fields[i];
        depth -= f->kind == CT_FIELD_END;
        if (depth == 0 && f->kind != CT_FIELD_END) {
            const char *key = ct_names_text(c->opts.names, f->key);
            size_t len = ct_names_len(c->opts.names, f->key);
            if (used + len + 8 < sizeof keys) {
                memcpy(keys + used, used > 0 ? ", " : "", used > 0 ? 2 : 0);
                used += used > 0 ? 2 : 0;
                memcpy(keys + used, key, len + 1);
                used += len;
            }
        }
        depth += f->kind == CT_FIELD_DICT || f->kind == CT_FIELD_LIST;
    }
    return ct_fail(
        err, CT_ETUNE, "metric",
        "'%s' is not in the result of trial %s, which holds: %s. Report it, or "
        "set TUNE_DISABLE_STRICT_METRIC_CHECKING=1 to go on without",
        ct_names_text(c->opts.names, metric), ct_trials_get(c->trials, t)->id, keys);
}

static ct_status
check_required(const ct_control *c, ct_trial_id t, const ct_result *r, ct_err *err)
{
    for (size_t i = 0; i < c->opts.n_required; i++) {
        double v;
        if (!ct_result_get(r, c->required[i], &v) &&
            ct_record_find(r->record, c->required[i]) == NULL) {
            return missing_metric(c, t, r->record, c->required[i], err);
        }
    }
    return CT_OK;
}

static uint64_t
iteration_of(const ct_record *r)
{
    const ct_field *f = ct_record_find(r, CT_KEY_TRAINING_ITERATION);

    return f != NULL && f->kind == CT_FIELD_I64 && f->u.i > 0 ? (uint64_t)f->u.i : 0;
}

static bool
record_done(const ct_record *r)
{
    const ct_field *f = ct_record_find(r, CT_KEY_DONE);
    double v;

    if (f == NULL || f->kind == CT_FIELD_NIL) {
        return false;
    }
    return !ct_field_number(f, &v) || v != 0.0; /* "yes" counts, as in Python */
}

static ct_status
record_set_done(ct_record *r, ct_err *err)
{
    for (size_t i = 0, depth = 0; i < r->count; i++) {
        ct_field *f = &r->fields[i];
        depth -= f->kind == CT_FIELD_END;
        if (depth == 0 && f->key == CT_KEY_DONE && f->kind == CT_FIELD_BOOL) {
            f->u.i = 1;
            return CT_OK;
        }
        depth += f->kind == CT_FIELD_DICT || f->kind == CT_FIELD_LIST;
    }
    return ct_record_find(r, CT_KEY_DONE) != NULL
               ? CT_OK
               : ct_record_bool(r, CT_KEY_DONE, true, err);
}

/* Stop conditions first; the scheduler is asked only about results that go on. */
static ct_status
decide(ct_control *c, ct_trial_id t, const ct_result *r, ct_verdict *verdict,
       ct_err *err)
{
    ct_stopper *stopper = c->opts.stopper;
    ct_scheduler *s = c->opts.scheduler;
    bool stop = false;
    size_t first = c->orders.count;
    ct_status st = CT_OK;

    if (stopper != NULL) {
        st = stopper->ops->on_result(stopper, &c->board, t, r, &stop, err);
    }
    if (st != CT_OK) {
        return st;
    }
    if (stop || record_done(r->record)) {
        c->lives[t].why = stop ? CT_END_CRITERION : CT_END_DONE;
        *verdict = CT_STOP;
        return CT_OK;
    }
    c->lives[t].why = CT_END_SCHEDULER;
    *verdict = CT_CONTINUE;
    st = s->ops->on_result(s, &c->board, t, r, verdict, &c->orders, err);
    return st == CT_OK && c->orders.count > first
               ? control_take_offers(c, first, t, err)
               : st;
}

/* Registers a checkpoint that came with the result, or says whether one is to be saved. */
static ct_status
checkpoint_with(ct_control *c, const ct_event *ev, bool done, bool *save, ct_err *err)
{
    const ct_field *f = ct_record_find(ev->record, CT_KEY_CHECKPOINT_DIR_NAME);

    *save = false;
    if (f != NULL && f->kind == CT_FIELD_STR && c->stores) {
        ct_buf_clear(&c->text);
        ct_status st = ct_buf_printf(&c->text, err, "%s/%.*s",
                                     ct_trials_get(c->trials, ev->trial)->dir,
                                     (int)f->len, ct_record_text(ev->record, f));
        return st == CT_OK ? control_checkpoint(c, ev->trial, (char *)c->text.data,
                                                c->text.len, err)
                           : st;
    }
    if (f == NULL) { /* a function decides itself when to save */
        *save = control_save_due(c, ev->trial, ev->record, done);
    }
    return CT_OK;
}

/* What a verdict means for a trial whose worker waits for its next command. */
static ct_status
execute(ct_control *c, ct_trial_id t, ct_verdict verdict, ct_err *err)
{
    ct_status st;

    switch (verdict) {
    case CT_CONTINUE:
        return c->interrupted
                   ? CT_OK
                   : control_command(c, CT_COMMAND_STEP, t, CT_TRIAL_NONE, err);
    case CT_STOP:
        return control_complete(c, t, err);
    case CT_PAUSE:
        st = control_set_status(c, t, CT_TRIAL_PAUSED, err);
        if (st == CT_OK) {
            st = control_note(c, CT_NOTE_TRIAL_PAUSED, t, NULL, err);
        }
        return st == CT_OK ? control_end_worker(c, t, false, err) : st;
    case CT_NOOP:
        break;
    }
    return CT_OK;
}

static ct_status
after_result(ct_control *c, const ct_event *ev, ct_verdict verdict, ct_err *err)
{
    live *l = &c->lives[ev->trial];
    bool save;
    ct_status st = checkpoint_with(c, ev, record_done(ev->record), &save, err);

    if (st != CT_OK) {
        return st;
    }
    const ct_field *f = ct_record_find(ev->record, CT_KEY_CHECKPOINT_DIR_NAME);
    if (l->pause_asked && verdict != CT_STOP) {
        verdict = CT_PAUSE;
    }
    if (l->exploits && verdict != CT_STOP) { /* its worker is no longer needed */
        verdict = CT_NOOP;
        save = false;
    } else if (verdict == CT_PAUSE) { /* a paused trial goes on from its checkpoint */
        save = f == NULL && (!l->pause_asked || l->pause_saves);
    }
    if (ct_trials_get(c->trials, ev->trial)->offering) {
        save = save || f == NULL;
        if (!save || !c->stores) { /* there is what there is */
            st = control_offer(c, ev->trial, err);
        }
    }
    if (st != CT_OK) {
        return st;
    }
    l->pause_asked = false;
    if (save && c->stores) {
        l->then = (uint8_t)verdict;
        return control_command(c, CT_COMMAND_SAVE, ev->trial, CT_TRIAL_NONE, err);
    }
    return execute(c, ev->trial, verdict, err);
}

/* The last result of a function turns out to have been its final one. */
static ct_status
mark_last_done(ct_control *c, ct_trial_id t, ct_err *err)
{
    ct_result last;
    bool has;
    ct_status st = control_last_result(c, t, &last, &has, err);

    if (st == CT_OK && has) {
        st = record_set_done(&c->last, err);
    }
    return st == CT_OK && has ? ct_trials_set_last(c->trials, t, &c->last, err) : st;
}

static ct_status
on_result(ct_control *c, const ct_event *ev, ct_err *err)
{
    ct_trial *trial = ct_trials_mut(c->trials, ev->trial);
    ct_result r;
    ct_verdict verdict;
    ct_status st;

    if (trial->status != CT_TRIAL_RUNNING) {
        return CT_OK; /* stopped meanwhile; the worker is ended by the caller */
    }
    if (ct_record_find(ev->record, CT_KEY_DUPLICATE) != NULL) {
        c->lives[ev->trial].why = CT_END_DONE; /* the function has returned */
        st = mark_last_done(c, ev->trial, err);
        return st == CT_OK ? control_complete(c, ev->trial, err) : st;
    }
    st = ct_record_metrics(ev->record, c->opts.names, &c->flat, err);
    if (st != CT_OK) {
        return st;
    }
    r = (ct_result){c->flat.items, c->flat.count, ev->record};
    st = check_required(c, ev->trial, &r, err);
    if (st == CT_OK) {
        st = decide(c, ev->trial, &r, &verdict, err);
    }
    if (st != CT_OK) {
        return st;
    }
    if (verdict == CT_STOP) {
        st = record_set_done(ev->record, err);
    } else {
        st = c->opts.searcher->ops->on_result(c->opts.searcher, &c->board, ev->trial,
                                              &r, err);
    }
    c->ask = c->ask || c->opts.searcher->ops->foreign;
    if (st == CT_OK) {
        st =
            ct_metrics_append(c->metrics, ev->trial, c->flat.items, c->flat.count, err);
    }
    if (st == CT_OK) {
        st = ct_trials_set_last(c->trials, ev->trial, ev->record, err);
    }
    if (st != CT_OK) {
        return st;
    }
    c->lives[ev->trial].restored = false;
    c->lives[ev->trial].doubts = 0;
    c->lives[ev->trial].reached = iteration_of(ev->record);
    trial = ct_trials_mut(c->trials, ev->trial);
    trial->results++;
    trial->last_result_time = ev->time;
    ct_note *n;
    st = control_note(c, CT_NOTE_RESULT, ev->trial, &n, err);
    if (st != CT_OK) {
        return st;
    }
    n->record = ev->record;
    return after_result(c, ev, verdict, err);
}

/* --- other events --- */

static ct_status
on_started(ct_control *c, const ct_event *ev, bool restarted, ct_err *err)
{
    ct_trial *trial = ct_trials_mut(c->trials, ev->trial);
    ct_status st;

    if (trial->status != CT_TRIAL_RUNNING) {
        return CT_OK;
    }
    trial->worker_pid = ev->code;
    c->lives[ev->trial].upto = 0;
    st = control_note(c, CT_NOTE_TRIAL_STARTED, ev->trial, NULL, err);
    if (st != CT_OK || !restarted) {
        return st == CT_OK ? execute(c, ev->trial, CT_CONTINUE, err) : st;
    }
    return c->gathers ? CT_OK : control_again(c, ev->trial, err);
}

/* A checkpoint that was saved; its experiment may have moved since. */
static ct_status
take_checkpoint(ct_control *c, const ct_event *ev, ct_err *err)
{
    const experiment *e = experiment_of(c, ev->trial);
    size_t len = e->recorded_dir == NULL ? 0 : strlen(e->recorded_dir);

    if (len == 0 || e->dir == NULL || ev->path_len <= len || ev->path[len] != '/' ||
        memcmp(ev->path, e->recorded_dir, len) != 0) {
        return control_checkpoint(c, ev->trial, ev->path, ev->path_len, err);
    }
    ct_buf_clear(&c->text);
    ct_status st = ct_buf_printf(&c->text, err, "%s%.*s", e->dir,
                                 (int)(ev->path_len - len), ev->path + len);
    return st == CT_OK ? control_checkpoint(c, ev->trial, (const char *)c->text.data,
                                            c->text.len, err)
                       : st;
}

static ct_status
on_saved(ct_control *c, const ct_event *ev, ct_err *err)
{
    ct_status st = CT_OK;

    if (ev->path != NULL) {
        st = take_checkpoint(c, ev, err);
    } else if (ct_trials_get(c->trials, ev->trial)->offering) {
        st = control_withdraw(c, ev->trial, err);
    }
    if (st != CT_OK ||
        ct_trials_get(c->trials, ev->trial)->status != CT_TRIAL_RUNNING) {
        return st;
    }
    return execute(c, ev->trial, (ct_verdict)c->lives[ev->trial].then, err);
}

/* reset_config said no: the trial fails and is not tried again. */
static ct_status
on_reset_refused(ct_control *c, const ct_event *ev, ct_err *err)
{
    static const char text[] =
        "the trainable's reset_config() returned False, so its worker cannot serve another "
        "trial; let it return True, or use reuse_actors=False\n";
    ct_event failed = *ev;

    failed.text = text;
    failed.text_len = sizeof text - 1;
    c->final = true;
    ct_status st = control_failed(c, &failed, true, err);
    c->final = false;
    return st;
}

static ct_status
failed(ct_control *c, const ct_event *ev, bool worker_lives, ct_err *err)
{
    const live *l = &c->lives[ev->trial];
    bool exporting = l->command == CT_COMMAND_EXPORT && l->claimed;

    return exporting ? control_export_failed(c, ev, worker_lives, err)
                     : control_failed(c, ev, worker_lives, err);
}

/* Ends a worker that nobody wants: its trial ended while the command was open. */
static ct_status
let_go(ct_control *c, ct_trial_id t, ct_err *err)
{
    const live *l = &c->lives[t];
    uint8_t status = ct_trials_get(c->trials, t)->status;
    bool told;

    if (!l->worker || l->serial != 0) {
        return CT_OK;
    }
    if (l->ending) {
        ct_status st = control_export(c, t, &told, err);
        return st == CT_OK && !told
                   ? control_command(c, CT_COMMAND_STOP, t, CT_TRIAL_NONE, err)
                   : st;
    }
    bool is_idle = !l->claimed;
    if (status == CT_TRIAL_RUNNING || is_idle) {
        return CT_OK;
    }
    return status == CT_TRIAL_TERMINATED ? control_release(c, t, err)
                                         : control_end_worker(c, t, false, err);
}

static ct_status
on_answer(ct_control *c, const ct_event *ev, ct_err *err)
{
    bool restarted = c->lives[ev->trial].restarts;
    ct_status st = CT_OK;

    c->restarting -= restarted;
    switch (ev->kind) {
    case CT_EVENT_STARTED:
    case CT_EVENT_RESET:
        st = on_started(c, ev, restarted, err);
        break;
    case CT_EVENT_RESULT:
        st = on_result(c, ev, err);
        break;
    case CT_EVENT_SAVED:
        st = on_saved(c, ev, err);
        break;
    case CT_EVENT_RESTORED:
        st = execute(c, ev->trial, CT_CONTINUE, err);
        break;
    case CT_EVENT_EXPORTED:
        break; /* its worker is let go below */
    case CT_EVENT_STOPPED:
        control_worker_gone(c, ev->trial);
        return CT_OK;
    case CT_EVENT_LOST:
        st = failed(c, ev, false, err);
        break;
    case CT_EVENT_RESET_REFUSED:
        st = on_reset_refused(c, ev, err);
        break;
    case CT_EVENT_START_FAILED: /* its worker, if there is one, is of no use */
    case CT_EVENT_SAVE_FAILED:
    case CT_EVENT_RESTORE_FAILED:
    case CT_EVENT_FAILED:
        st = failed(c, ev, true, err);
        break;
    case CT_EVENT_CAPACITY:
    case CT_EVENT_ANSWER:
    case CT_EVENT_TICK:
    case CT_EVENT_INTERRUPT:
    case CT_EVENT_BUDGET_OVER:
    case CT_EVENT_RUN:
    case CT_EVENT_COUNT:
        break;
    }
    if (restarted) {
        c->lives[ev->trial].restarts = false;
    }
    return st == CT_OK ? let_go(c, ev->trial, err) : st;
}

static ct_status
feed_experiment(ct_control *c, const ct_event *ev, double before, ct_err *err)
{
    switch (ev->kind) {
    case CT_EVENT_RUN:
        return control_run(c, ev, before, err);
    case CT_EVENT_INTERRUPT:
        c->interrupted = true;
        break;
    case CT_EVENT_BUDGET_OVER:
        c->stop_asked = true;
        break;
    case CT_EVENT_TICK:
        c->ask = true;
        c->place = true;
        for (ct_trial_id t = 0; c->opts.force_stop_s > 0 && c->workers > 0 &&
                                t < ct_trials_count(c->trials);
             t++) {
            live *l = &c->lives[t];
            if (l->worker && l->ending && l->command != CT_COMMAND_KILL &&
                c->board.now - l->ending_since > c->opts.force_stop_s) {
                ct_status st = control_end_worker(c, t, true, err);
                if (st != CT_OK) {
                    return st;
                }
            }
        }
        break;
    default: /* the others are about trials */
        break;
    }
    return CT_OK;
}

/* --- the turn --- */

void
ct_control_begin(ct_control *c)
{
    c->n_commands = c->at_command = 0;
    c->n_notes = c->at_note = 0;
    c->note_kinds = 0;
    ct_arena_reset(&c->turn);
}

ct_status
ct_control_feed(ct_control *c, const ct_event *ev, ct_err *err)
{
    double before = c->board.now;
    ct_status st;

    if (ev->time > 0.0) {
        c->board.now = ev->time;
    }
    if (ev->trial == CT_TRIAL_NONE) {
        return feed_experiment(c, ev, before, err);
    }
    if (ev->trial >= ct_trials_count(c->trials)) {
        return ct_fail(err, CT_ECORRUPT, "event", "%s names trial number %u of %zu",
                       ct_event_name(ev->kind), (unsigned)ev->trial,
                       ct_trials_count(c->trials));
    }
    live *l = &c->lives[ev->trial];
    bool answers = l->serial != 0 && (ev->serial == l->serial ||
                                      (ev->kind == CT_EVENT_LOST && l->worker));
    if (!answers && !(ev->kind == CT_EVENT_LOST && l->worker)) {
        return CT_OK; /* a late answer to a command that was given up */
    }
    if (answers) {
        l->serial = 0;
        c->open--;
    }
    if (!answers && !l->claimed) { /* an idle worker died: it is no longer there */
        for (size_t i = 0; i < c->idle_count; i++) {
            if (c->idle[i] == ev->trial) {
                c->idle[i] = c->idle[--c->idle_count];
                break;
            }
        }
    }
    st = on_answer(c, ev, err);
    return st == CT_OK ? control_carry_out_orders(c, err) : st;
}

static ct_status
end_idle_workers(ct_control *c, ct_err *err)
{
    bool none_left = c->search_done &&
                     ct_trials_with(c->trials, CT_TRIAL_PENDING) == 0 &&
                     ct_trials_with(c->trials, CT_TRIAL_PAUSED) == 0;

    while (c->idle_count > 0 && (none_left || c->stopping)) {
        ct_status st = control_end_worker(c, c->idle[--c->idle_count], false, err);
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

static bool
all_finished(const ct_control *c)
{
    return c->search_done && ct_trials_with(c->trials, CT_TRIAL_PENDING) == 0 &&
           ct_trials_with(c->trials, CT_TRIAL_RUNNING) == 0 &&
           ct_trials_with(c->trials, CT_TRIAL_PAUSED) == 0;
}

ct_status
ct_control_settle(ct_control *c, double now, ct_err *err)
{
    ct_stopper *stopper = c->opts.stopper;
    bool stop = c->stop_asked;
    ct_status st = CT_OK;

    if (now > 0.0) {
        c->board.now = now;
    }
    if (!c->stopping && !stop && stopper != NULL) {
        st = stopper->ops->stop_all(stopper, &c->board, &stop, err);
    }
    if (st == CT_OK && stop && !c->stopping) {
        st = control_stop_all(c, err);
    }
    if (st == CT_OK && c->gathers && c->restarting == 0) {
        st = control_all_again(c, err);
    }
    if (st == CT_OK && !c->stopping && !c->interrupted && !c->gathers) {
        st = control_ask(c, err);
        if (st == CT_OK) {
            st = control_place(c, err);
        }
    }
    if (st == CT_OK) {
        st = control_carry_out_orders(c, err);
    }
    if (st == CT_OK) {
        st = end_idle_workers(c, err);
    }
    if (st == CT_OK && !c->ended && ct_control_done(c)) {
        c->ended = true;
        st = control_note(c, CT_NOTE_EXPERIMENT_END, CT_TRIAL_NONE, NULL, err);
    }
    return st;
}

/* What a worker needs to know of the trial it is to serve. */
static void
describe_start(const ct_control *c, ct_trial_id t, ct_command *out)
{
    const ct_trial *trial = ct_trials_get(c->trials, t);
    const ct_checkpoint *k =
        ct_trials_checkpoint(c->trials, ct_trials_latest(c->trials, t));

    out->config = &trial->config;
    out->checkpoint = k == NULL ? NULL : k->path;
    out->trial_id = trial->id;
    out->trial_name = trial->name;
    out->trial_dir = trial->dir;
    out->experiment = c->experiments[trial->experiment].name;
    out->trainable =
        c->n_experiments > 1 ? c->experiments[trial->experiment].trainable : NULL;
    out->resources = ct_resources_request_value(c->resources, trial->request);
    out->upto = c->lives[t].upto;
}

bool
ct_control_next_command(ct_control *c, ct_command *out)
{
    while (c->at_command < c->n_commands) {
        const queued_command *q = &c->commands[c->at_command++];
        const ct_trial *trial = ct_trials_get(c->trials, q->trial);
        if (c->lives[q->trial].serial != q->serial) {
            continue; /* a KILL of the same turn took its place */
        }
        *out = (ct_command){.kind = q->kind,
                            .trial = q->trial,
                            .from = q->from,
                            .serial = q->serial,
                            .index = trial->checkpoints_made};
        if (q->kind == CT_COMMAND_SAVE) {
            out->trial_dir = trial->dir;
        } else if (q->kind == CT_COMMAND_START || q->kind == CT_COMMAND_RESET) {
            describe_start(c, q->trial, out);
        }
        return true;
    }
    return false;
}

bool
ct_control_next_note(ct_control *c, ct_note *out)
{
    if (c->at_note == c->n_notes) {
        return false;
    }
    *out = c->notes[c->at_note++];
    return true;
}

uint32_t
ct_control_note_kinds(const ct_control *c)
{
    return c->note_kinds;
}

bool
ct_control_acted(const ct_control *c)
{
    return c->n_commands > 0 || c->n_notes > 0;
}

bool
ct_control_done(const ct_control *c)
{
    return all_finished(c) && c->workers == 0 && c->open == 0;
}

size_t
ct_control_open(const ct_control *c)
{
    return c->open;
}

bool
ct_control_idle(const ct_control *c)
{
    return c->open == 0 && !ct_control_done(c);
}

bool
ct_control_interrupted(const ct_control *c)
{
    return c->interrupted;
}

bool
ct_control_failed_fast(const ct_control *c)
{
    return c->failed_fast;
}

ct_names *
ct_control_names(const ct_control *c)
{
    return c->opts.names;
}

const ct_board *
ct_control_board(const ct_control *c)
{
    return &c->board;
}

const char *
ct_control_dir(const ct_control *c, size_t number)
{
    return number < c->n_experiments ? c->experiments[number].dir : NULL;
}

ct_metrics *
ct_control_metrics(ct_control *c)
{
    return c->metrics;
}

ct_status
ct_control_stop(ct_control *c, ct_trial_id t, ct_err *err)
{
    if (t == CT_TRIAL_NONE) {
        c->stop_asked = true;
        return CT_OK;
    }
    return ct_orders_add(&c->orders, CT_ORDER_STOP, t, false, NULL, err);
}
