/* resume.c: how a run begins, and how it goes on after a cut.
 *
 * A RUN event carries the settings of the run, so that a journal can be replayed without
 * knowing them, and so that a run can go on with others: more samples, more machines, a
 * later stop.
 *
 * A run that goes on has no workers left. Its trials keep their statuses: a running trial
 * gets a new worker, which restores its latest checkpoint and steps, unheard, up to the
 * last result that was taken (command field `upto`). Then the command that was open at
 * the cut is given again. With `ordered` settings all these commands are given at once, in
 * the order they had, when every worker is there: an executor that works them off one
 * after the other then gives the results in the order in which they would have come. */
#include "control/control_int.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- settings --- */

static const ct_value *
get(const ct_control *c, const ct_value *dict, const char *key)
{
    ct_name n = ct_names_find(c->opts.names, key, strlen(key));

    return dict != NULL && dict->kind == CT_DICT && n != CT_NAME_NONE
               ? ct_value_get(dict, n)
               : NULL;
}

static double
get_number(const ct_control *c, const ct_value *dict, const char *key, double missing)
{
    const ct_value *v = get(c, dict, key);
    double number;

    return v != NULL && ct_value_number(v, &number) ? number : missing;
}

static bool
get_flag(const ct_control *c, const ct_value *dict, const char *key, bool missing)
{
    return get_number(c, dict, key, missing ? 1.0 : 0.0) != 0.0;
}

static uint32_t
get_count(const ct_control *c, const ct_value *dict, const char *key, uint32_t missing)
{
    double n = get_number(c, dict, key, missing);

    return n >= 0.0 && n <= (double)UINT32_MAX ? (uint32_t)n : missing;
}

static ct_status
get_name(ct_control *c, const ct_value *v, ct_name *out, ct_err *err)
{
    *out = CT_NAME_NONE;
    return v != NULL && v->kind == CT_STR
               ? ct_names_intern(c->opts.names, v->u.s, v->len, out, err)
               : CT_OK;
}

static ct_status
apply_experiment(ct_control *c, experiment *e, const ct_value *d, ct_err *err)
{
    const ct_value *request = get(c, d, "request");
    const ct_value *name = get(c, d, "trainable");
    const ct_value *dir = get(c, d, "dir");

    if (name != NULL && name->kind == CT_STR && strcmp(name->u.s, e->trainable) != 0) {
        return ct_fail(err, CT_EINVAL, "run_or_experiment",
                       "the experiment was begun with the trainable '%s' and cannot go "
                       "on with '%s'; use that trainable, or another name",
                       name->u.s, e->trainable);
    }
    e->max_failures =
        (int64_t)get_number(c, d, "max_failures", (double)e->max_failures);
    if (dir != NULL && dir->kind == CT_STR) {
        char *copy = ct_strndup(dir->u.s, dir->len);
        if (copy == NULL) {
            return ct_fail_mem(err);
        }
        ct_free(e->recorded_dir);
        e->recorded_dir = copy;
    }
    return request != NULL
               ? ct_resources_request(c->resources, request, &e->request, err)
               : CT_OK;
}

static ct_status
apply_experiments(ct_control *c, const ct_value *list, ct_err *err)
{
    ct_status st = CT_OK;

    if (list == NULL || list->kind != CT_LIST) {
        return CT_OK;
    }
    if (list->len != c->n_experiments) {
        return ct_fail(
            err, CT_EINVAL, "run_or_experiment",
            "%u experiments were begun in this directory and cannot go on as "
            "%zu; give the same list",
            (unsigned)list->len, c->n_experiments);
    }
    for (uint32_t i = 0; st == CT_OK && i < list->len; i++) {
        st = apply_experiment(c, &c->experiments[i], &list->u.items[i], err);
    }
    return st;
}

static ct_status
apply_required(ct_control *c, const ct_value *list, ct_err *err)
{
    if (list == NULL || list->kind != CT_LIST) {
        return CT_OK;
    }
    ct_name *required = ct_alloc((list->len + 1) * sizeof *required);
    ct_status st = required == NULL ? ct_fail_mem(err) : CT_OK;
    for (uint32_t i = 0; st == CT_OK && i < list->len; i++) {
        st = get_name(c, &list->u.items[i], &required[i], err);
    }
    if (st != CT_OK) {
        ct_free(required);
        return st;
    }
    ct_free(c->required);
    c->required = required;
    c->opts.n_required = list->len;
    return CT_OK;
}

static ct_status
apply(ct_control *c, const ct_value *d, ct_err *err)
{
    ct_control_opts *o = &c->opts;
    const ct_value *totals = get(c, d, "resources");
    const ct_value *k = get(c, d, "checkpoint");
    ct_status st =
        totals == NULL ? CT_OK : ct_resources_set_totals(c->resources, totals, err);

    if (st == CT_OK) {
        st = apply_experiments(c, get(c, d, "experiments"), err);
    }
    if (st == CT_OK) {
        st = apply_required(c, get(c, d, "required"), err);
    }
    if (st == CT_OK && k != NULL) {
        st = get_name(c, get(c, k, "score"), &o->checkpoint.score, err);
    }
    uint32_t pending = get_count(c, d, "max_pending", o->max_pending);
    o->max_pending = pending > 0 ? pending : 1;
    o->max_dirname = get_count(c, d, "max_dirname", o->max_dirname);
    uint32_t fast = get_count(c, d, "fail_fast", (uint32_t)o->fail_fast);
    o->fail_fast = fast <= CT_FAIL_RAISE ? (ct_fail_fast)fast : o->fail_fast;
    o->reuse_workers = get_flag(c, d, "reuse_actors", o->reuse_workers);
    o->restore_retries = get_count(c, d, "restore_retries", o->restore_retries);
    o->force_stop_s = get_number(c, d, "force_stop_s", o->force_stop_s);
    o->checkpoint.frequency = get_count(c, k, "frequency", o->checkpoint.frequency);
    o->checkpoint.at_end = get_flag(c, k, "at_end", o->checkpoint.at_end);
    o->checkpoint.num_to_keep =
        get_count(c, k, "num_to_keep", o->checkpoint.num_to_keep);
    o->checkpoint.score_min = get_flag(c, k, "score_min", o->checkpoint.score_min);
    c->utc_offset = get_number(c, d, "utc_offset", c->utc_offset);
    c->ordered = get_flag(c, d, "ordered", c->ordered);
    return st;
}

/* --- workers that are no more --- */

/* What a trial that runs waits for; CT_COMMAND_COUNT: for nothing. */
static uint8_t
next_command(const live *l, uint8_t open)
{
    switch (open) {
    case CT_COMMAND_START:
    case CT_COMMAND_RESET:
        return CT_COMMAND_START;
    case CT_COMMAND_SAVE:
        return open;
    case CT_COMMAND_COUNT:
        return l->exploits ? CT_COMMAND_COUNT : CT_COMMAND_STEP;
    default:
        return CT_COMMAND_STEP;
    }
}

/* Notes what is to be done for a trial that had a worker at the cut. */
static void
note_cut(ct_control *c, ct_trial_id t)
{
    live *l = &c->lives[t];
    bool runs = ct_trials_get(c->trials, t)->status == CT_TRIAL_RUNNING;
    uint8_t open = l->serial != 0 ? l->command : CT_COMMAND_COUNT;
    bool exports = l->claimed && (open == CT_COMMAND_EXPORT ||
                                  (l->again && l->again_command == CT_COMMAND_EXPORT));

    if (!l->again) { /* else it was cut before it got that far */
        l->again = true;
        l->again_order = l->serial != 0 ? l->serial : UINT64_MAX;
        l->again_command = runs      ? next_command(l, open)
                           : exports ? CT_COMMAND_EXPORT
                                     : CT_COMMAND_STOP;
    }
    if (l->serial != 0) {
        l->serial = 0;
        c->open--;
    }
    l->restarts = false;
    if (exports) { /* a trial that has ended; its new worker is told so when it is there */
        l->exported = false;
    } else if (!runs &&
               (!l->claimed || !c->ordered)) { /* idle, or nobody waits for it */
        l->again = false;
        control_worker_gone(c, t);
    }
    if (runs || exports) { /* another one goes on from its checkpoint when it does */
        l->upto = l->reached;
    }
}

typedef struct entry {
    ct_trial_id trial;
    uint64_t order;
} entry;

static int
compare_entries(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->order != y->order) {
        return x->order < y->order ? -1 : 1;
    }
    return x->trial < y->trial ? -1 : x->trial > y->trial;
}

/* The trials with something to be done, in the order of their open commands; lives as
 * long as the turn. */
static ct_status
cut_trials(ct_control *c, entry **out, size_t *n, ct_err *err)
{
    *n = 0;
    for (ct_trial_id t = 0; t < ct_trials_count(c->trials); t++) {
        *n += c->lives[t].again;
    }
    *out = ct_arena_alloc(&c->turn, (*n + 1) * sizeof **out);
    if (*out == NULL) {
        return ct_fail_mem(err);
    }
    size_t i = 0;
    for (ct_trial_id t = 0; t < ct_trials_count(c->trials); t++) {
        if (c->lives[t].again) {
            (*out)[i++] = (entry){t, c->lives[t].again_order};
        }
    }
    qsort(*out, *n, sizeof **out, compare_entries);
    return CT_OK;
}

ct_status
control_again(ct_control *c, ct_trial_id t, ct_err *err)
{
    live *l = &c->lives[t];
    bool runs = ct_trials_get(c->trials, t)->status == CT_TRIAL_RUNNING;
    uint8_t command = l->again ? l->again_command : CT_COMMAND_COUNT;

    l->again = false;
    if (command == CT_COMMAND_COUNT || command == CT_COMMAND_EXPORT || !l->worker ||
        l->serial != 0 || (runs && c->interrupted)) {
        return CT_OK;
    }
    return runs == (command != CT_COMMAND_STOP)
               ? control_command(c, (ct_command_kind)command, t, CT_TRIAL_NONE, err)
               : CT_OK;
}

ct_status
control_all_again(ct_control *c, ct_err *err)
{
    entry *all;
    size_t n;
    ct_status st = cut_trials(c, &all, &n, err);

    for (size_t i = 0; st == CT_OK && i < n; i++) {
        st = control_again(c, all[i].trial, err);
    }
    c->gathers = false;
    return st;
}

/* A running trial that the machine has no room for any more waits until it has. */
static void
put_back(ct_control *c, ct_trial_id t)
{
    c->lives[t].again = false;
    control_worker_gone(c, t);
    ct_trials_set_status(c->trials, t, CT_TRIAL_PENDING);
}

static ct_status
restart_workers(ct_control *c, ct_err *err)
{
    entry *all;
    size_t n;

    c->idle_count = 0;
    for (ct_trial_id t = 0; t < ct_trials_count(c->trials); t++) {
        if (c->lives[t].worker || c->lives[t].serial != 0) {
            note_cut(c, t);
        }
    }
    ct_status st = cut_trials(c, &all, &n, err);
    for (size_t i = n;
         st == CT_OK && i-- > 0 && ct_resources_overdrawn(c->resources);) {
        if (ct_trials_get(c->trials, all[i].trial)->status == CT_TRIAL_RUNNING) {
            put_back(c, all[i].trial);
        }
    }
    c->restarting = 0;
    c->gathers = c->ordered;
    for (size_t i = 0; st == CT_OK && i < n; i++) {
        live *l = &c->lives[all[i].trial];
        bool runs = ct_trials_get(c->trials, all[i].trial)->status == CT_TRIAL_RUNNING;
        bool exports = l->again_command == CT_COMMAND_EXPORT;
        if (!l->again || (!runs && !exports) ||
            (c->ordered && l->again_command == CT_COMMAND_START)) {
            continue;
        }
        if (l->again_command == CT_COMMAND_START) { /* it was on its way to its start */
            st = control_again(c, all[i].trial, err);
            continue;
        }
        l->restarts = true;
        c->restarting++;
        st = control_command(c, CT_COMMAND_START, all[i].trial, CT_TRIAL_NONE, err);
    }
    return st;
}

/* --- trials that go on, begin anew or are left alone --- */

typedef enum fate { FATE_SKIP, FATE_RESUME, FATE_RESTART } fate;

static fate
get_fate(const ct_control *c, const ct_value *resume, const char *key, fate missing)
{
    const ct_value *v = get(c, resume, key);

    if (v == NULL || v->kind != CT_STR) {
        return missing;
    }
    return strcmp(v->u.s, "resume") == 0    ? FATE_RESUME
           : strcmp(v->u.s, "restart") == 0 ? FATE_RESTART
                                            : FATE_SKIP;
}

/* An ended trial goes on from its latest checkpoint. */
static ct_status
reopen(ct_control *c, ct_trial_id t, ct_err *err)
{
    ct_scheduler *s = c->opts.scheduler;
    ct_trial *trial = ct_trials_mut(c->trials, t);

    ct_trials_set_status(c->trials, t, CT_TRIAL_PENDING);
    ct_trials_requeue(c->trials, t);
    ct_free(trial->error_file);
    trial->error_file = NULL;
    trial->end = CT_END_NOT;
    c->lives[t].upto = c->lives[t].reached;
    return s->ops->on_add(s, &c->board, t, &c->orders, err);
}

/* An id that follows from the old one, so that a replay makes the same. */
static ct_status
new_id(const ct_control *c, const char *old, char **out, ct_err *err)
{
    uint64_t h = ct_hash_bytes(old, strlen(old));
    char text[16];

    do {
        snprintf(text, sizeof text, "%08x", (unsigned)(h & UINT32_MAX));
        h = h * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        h ^= h >> 29;
    } while (ct_trials_find(c->trials, text) != CT_TRIAL_NONE);
    *out = ct_strndup(text, strlen(text));
    return *out == NULL ? ct_fail_mem(err) : CT_OK;
}

/* A new trial with the same config takes the place of this one. */
static ct_status
begin_anew(ct_control *c, ct_trial_id t, ct_err *err)
{
    const ct_trial *old = ct_trials_get(c->trials, t);
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), old->experiment};
    ct_status st = new_id(c, old->id, &s.id, err);

    if (st == CT_OK && old->tag != NULL) {
        s.tag = ct_strndup(old->tag, strlen(old->tag));
        st = s.tag == NULL ? ct_fail_mem(err) : CT_OK;
    }
    if (st == CT_OK) {
        st = ct_value_copy(&s.config, &old->config, err);
    }
    if (st == CT_OK) {
        st = ct_value_copy(
            &s.evaluated,
            old->evaluated.kind == CT_NIL ? &old->config : &old->evaluated, err);
    }
    if (st == CT_OK) {
        st = control_stop_trial(c, t, err);
    }
    if (st == CT_OK) {
        ct_trials_mut(c->trials, t)->replaced = true;
        st = control_add_trial(c, &s, err);
    }
    ct_suggestion_deinit(&s);
    return st;
}

/* Whether the last result meets a stop condition of now, too. Without a replay only
 * conditions that keep nothing in mind may be asked, for the second time; of the others
 * `unknown` is assumed. */
static ct_status
stops_now(ct_control *c, ct_trial_id t, const ct_value *resume, bool unknown, bool *out,
          ct_err *err)
{
    ct_stopper *stopper = c->opts.stopper;
    ct_result last;
    bool has;
    ct_status st = CT_OK;

    if (stopper != NULL && stopper->ops->said != NULL &&
        stopper->ops->said(stopper, t, out)) {
        return CT_OK;
    }
    *out = unknown;
    if (stopper != NULL && get_flag(c, resume, "recheck", false)) {
        st = control_last_result(c, t, &last, &has, err);
        if (st == CT_OK && has) {
            st = stopper->ops->on_result(stopper, &c->board, t, &last, out, err);
        }
    }
    return st;
}

/* Whether a trial that a condition ended is asked about again. *unless = what is assumed
 * where it cannot be: a later condition lets it go on, others may only say so. */
static bool
may_extend(const ct_control *c, const ct_value *resume, bool *unless)
{
    *unless = !get_flag(c, resume, "extend", false);
    return !*unless || get_flag(c, resume, "extend_said", false);
}

/* A trial that was to stop once its save is over goes on if a later stop lets it. */
static ct_status
spare(ct_control *c, ct_trial_id t, const ct_value *resume, ct_err *err)
{
    live *l = &c->lives[t];
    bool over = true;
    bool unless;
    ct_status st = CT_OK;

    if (l->then == CT_STOP && l->why == CT_END_CRITERION &&
        may_extend(c, resume, &unless)) {
        st = stops_now(c, t, resume, unless, &over, err);
    }
    if (!over) {
        l->then = CT_CONTINUE;
    }
    return st;
}

static ct_status
meet_fate(ct_control *c, ct_trial_id t, const ct_value *resume, ct_err *err)
{
    const ct_trial *trial = ct_trials_get(c->trials, t);
    fate f = FATE_SKIP;
    bool over = false;
    bool unless = false;
    ct_status st = CT_OK;

    switch ((ct_trial_status)trial->status) {
    case CT_TRIAL_ERROR:
        f = get_fate(c, resume, "errored", FATE_SKIP);
        break;
    case CT_TRIAL_TERMINATED:
        f = get_fate(c, resume, "finished", FATE_SKIP);
        if (f == FATE_SKIP &&
            ((trial->end == CT_END_CRITERION && may_extend(c, resume, &unless)) ||
             (trial->end == CT_END_ALL && get_flag(c, resume, "extend_all", false)))) {
            st = stops_now(c, t, resume, unless, &over, err);
            f = over ? FATE_SKIP : FATE_RESUME;
        }
        break;
    case CT_TRIAL_PENDING:
    case CT_TRIAL_RUNNING:
    case CT_TRIAL_PAUSED:
        f = get_fate(c, resume, "unfinished", FATE_RESUME);
        if (f != FATE_RESUME && c->lives[t].worker) {
            c->lives[t].again = false;
            control_worker_gone(c, t);
        }
        return f == FATE_RESUME ? spare(c, t, resume, err)
               : f == FATE_SKIP ? control_stop_trial(c, t, err)
                                : begin_anew(c, t, err);
    case CT_TRIAL_STATUS_COUNT:
        break;
    }
    return st != CT_OK || f == FATE_SKIP || trial->replaced ? st
           : f == FATE_RESUME                               ? reopen(c, t, err)
                                                            : begin_anew(c, t, err);
}

/* Unfinished trials must fit the machine of now. */
static ct_status
check_requests(ct_control *c, bool resize, ct_err *err)
{
    ct_status st = CT_OK;

    for (ct_trial_id t = 0; st == CT_OK && t < ct_trials_count(c->trials); t++) {
        ct_trial *trial = ct_trials_mut(c->trials, t);
        if (trial->status == CT_TRIAL_PENDING && resize) {
            trial->request = experiment_of(c, t)->request;
        }
        if (trial->status != CT_TRIAL_TERMINATED && trial->status != CT_TRIAL_ERROR) {
            st = control_check_request(c, trial->request, "resources_per_trial", err);
        }
    }
    return st;
}

static ct_status
go_on(ct_control *c, const ct_value *resume, double gap, ct_err *err)
{
    ct_stopper *stopper = c->opts.stopper;
    size_t n = ct_trials_count(c->trials);
    ct_status st = CT_OK;

    if (stopper != NULL && stopper->ops->skip != NULL && gap > 0.0) {
        stopper->ops->skip(stopper, gap);
    }
    c->interrupted = c->stop_asked = c->stopping = c->failed_fast = c->ended = false;
    c->ask = c->ask || c->search_done; /* it may have more samples now */
    c->search_done = false;
    c->place = true;
    for (ct_trial_id t = 0; st == CT_OK && t < n; t++) {
        st = meet_fate(c, t, resume, err);
    }
    if (st == CT_OK) {
        st = check_requests(c, get_flag(c, resume, "resize", false), err);
    }
    return st == CT_OK ? restart_workers(c, err) : st;
}

ct_status
control_run(ct_control *c, const ct_event *ev, double before, ct_err *err)
{
    ct_value settings = ct_nil();
    ct_status st =
        ct_json_parse(&settings, ev->text == NULL ? "{}" : ev->text,
                      ev->text == NULL ? 2 : ev->text_len, c->opts.names, err);

    if (st == CT_OK) {
        st = apply(c, get(c, &settings, "control"), err);
    }
    if (st == CT_OK && ev->code == CT_RUN_GOES_ON) {
        st = go_on(c, get(c, &settings, "resume"),
                   before > 0.0 ? ev->time - before : 0.0, err);
    }
    ct_value_deinit(&settings);
    return st;
}
