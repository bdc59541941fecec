/* start.c: where trials come from and how they get a worker. */
#include "control/control_int.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- names --- */

static ct_status
name_trial(ct_control *c, ct_trial_id t, ct_err *err)
{
    const ct_trial_hooks *h = &c->opts.hooks;
    ct_status st = CT_OK;

    ct_buf_clear(&c->text);
    if (h->name != NULL) {
        st = h->name(h->ctx, t, &c->text, err);
    }
    if (st == CT_OK && c->text.len == 0) {
        st = ct_buf_printf(&c->text, err, "%s_%s", experiment_of(c, t)->trainable,
                           ct_trials_get(c->trials, t)->id);
        for (size_t i = 0; st == CT_OK && i < c->text.len; i++) {
            if (c->text.data[i] == '/') {
                c->text.data[i] = '_';
            }
        }
    }
    if (st == CT_OK) {
        st = ct_buf_terminate(&c->text, err);
    }
    return st == CT_OK ? ct_trial_set_text(&ct_trials_mut(c->trials, t)->name,
                                           (const char *)c->text.data, err)
                       : st;
}

/* "<name>_<tag>" cut, then the date; characters that folders dislike become '_'. */
static ct_status
default_dirname(ct_control *c, ct_trial_id t, size_t start, ct_err *err)
{
    const ct_trial *trial = ct_trials_get(c->trials, t);
    time_t second = (time_t)(c->board.now + c->utc_offset);
    struct tm tm;
    char date[32];

    ct_status st = ct_buf_printf(&c->text, err, "%s_%s", trial->name,
                                 trial->tag == NULL ? "" : trial->tag);
    if (st != CT_OK) {
        return st;
    }
    if (c->text.len > start + c->opts.max_dirname) {
        c->text.len = start + c->opts.max_dirname;
        while (c->text.len > start && (c->text.data[c->text.len] & 0xC0) == 0x80) {
            c->text.len--; /* not inside a character */
        }
    }
    gmtime_r(&second, &tm);
    strftime(date, sizeof date, "_%Y-%m-%d_%H-%M-%S", &tm);
    return ct_buf_puts(&c->text, date, err);
}

/* Appends the trial's number when another directory has the name already. Only hashes are
 * kept: a false alarm makes a name longer and does no harm. */
static ct_status
make_unlike(ct_control *c, ct_trial_id t, size_t start, ct_err *err)
{
    uint32_t other;
    ct_status st = CT_OK;

    if (ct_map_get(&c->dirnames,
                   ct_hash_bytes(c->text.data + start, c->text.len - start), &other)) {
        st = ct_buf_printf(&c->text, err, "_%04x", (unsigned)t);
    }
    return st == CT_OK
               ? ct_map_put(&c->dirnames,
                            ct_hash_bytes(c->text.data + start, c->text.len - start), t,
                            err)
               : st;
}

static ct_status
name_dir(ct_control *c, ct_trial_id t, ct_err *err)
{
    const ct_trial_hooks *h = &c->opts.hooks;

    if (!c->stores) {
        return CT_OK;
    }
    ct_buf_clear(&c->text);
    ct_status st = ct_buf_printf(&c->text, err, "%s/", experiment_of(c, t)->dir);
    size_t start = c->text.len;
    if (st == CT_OK && h->dirname != NULL) {
        st = h->dirname(h->ctx, t, &c->text, err);
    }
    if (st == CT_OK && c->text.len == start) {
        st = default_dirname(c, t, start, err);
    }
    if (st != CT_OK) {
        return st;
    }
    for (size_t i = start; i < c->text.len; i++) {
        if (strchr("/()", c->text.data[i]) != NULL) {
            c->text.data[i] = '_';
        }
    }
    st = make_unlike(c, t, start, err);
    if (st == CT_OK) {
        st = ct_buf_terminate(&c->text, err);
    }
    return st == CT_OK ? ct_trial_set_text(&ct_trials_mut(c->trials, t)->dir,
                                           (const char *)c->text.data, err)
                       : st;
}

ct_status
control_check_request(ct_control *c, ct_request_id request, const char *who,
                      ct_err *err)
{
    double want, total;

    if (ct_resources_possible(c->resources, request)) {
        return CT_OK;
    }
    ct_name lack = ct_resources_lacking(c->resources, request, &want, &total);
    return ct_fail(err, CT_EINVAL, who,
                   "asks for %g %s per trial, but there is only %g; ask for less, or "
                   "give more to ctune.init(num_cpus=…, resources=…)",
                   want, ct_names_text(c->opts.names, lack), total);
}

/* --- new trials --- */

static ct_status
ask_request(ct_control *c, ct_trial_id t, ct_err *err)
{
    const ct_trial_hooks *h = &c->opts.hooks;
    ct_request_id request = experiment_of(c, t)->request;
    ct_value asked = ct_nil();
    ct_status st = CT_OK;

    if (h->request != NULL) {
        const ct_trial *trial = ct_trials_get(c->trials, t);
        st = h->request(h->ctx, trial->experiment, &trial->config, &asked, err);
        if (st == CT_OK && asked.kind != CT_NIL) {
            st = ct_resources_request(c->resources, &asked, &request, err);
        }
        ct_value_deinit(&asked);
    }
    if (st == CT_OK) {
        st = control_check_request(c, request, "resources_per_trial", err);
    }
    if (st == CT_OK) {
        ct_trials_mut(c->trials, t)->request = request;
    }
    return st;
}

ct_status
control_add_trial(ct_control *c, ct_suggestion *s, ct_err *err)
{
    ct_trial_id t;
    ct_status st = ct_grow((void **)&c->lives, &c->lives_cap,
                           ct_trials_count(c->trials) + 1, sizeof *c->lives, err);

    if (ct_value_equal(&s->config, &s->evaluated)) {
        ct_value_deinit(&s->evaluated); /* nil says so, in no memory */
    }
    if (st == CT_OK) {
        st =
            ct_trials_add(c->trials, s->id, s->tag, &s->config, &s->evaluated, &t, err);
    }
    if (st == CT_OK && s->experiment >= c->n_experiments) {
        st = ct_fail(err, CT_EINVAL, "experiment", "there are %zu, not number %u",
                     c->n_experiments, (unsigned)s->experiment);
    }
    if (st != CT_OK) {
        return st;
    }
    ct_trials_mut(c->trials, t)->experiment = s->experiment;
    memset(&c->lives[t], 0, sizeof c->lives[t]);
    st = name_trial(c, t, err);
    if (st == CT_OK) {
        st = name_dir(c, t, err);
    }
    if (st == CT_OK) {
        st = ask_request(c, t, err);
    }
    if (st == CT_OK) {
        st = c->opts.scheduler->ops->on_add(c->opts.scheduler, &c->board, t, &c->orders,
                                            err);
    }
    if (st == CT_OK && c->orders.count > 0) {
        st = control_carry_out_orders(c, err);
    }
    c->place = true;
    return st == CT_OK ? control_note(c, CT_NOTE_TRIAL_ADDED, t, NULL, err) : st;
}

ct_status
control_ask(ct_control *c, ct_err *err)
{
    ct_searcher *searcher = c->opts.searcher;

    while (!c->search_done && c->ask &&
           ct_trials_with(c->trials, CT_TRIAL_PENDING) < c->opts.max_pending) {
        ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
        ct_search_state state = CT_SEARCH_WAIT;
        ct_status st = searcher->ops->next(searcher, &c->board, &s, &state, err);
        if (st == CT_OK && state == CT_SEARCH_TRIAL) {
            st = control_add_trial(c, &s, err);
        }
        ct_suggestion_deinit(&s);
        if (st != CT_OK) {
            return st;
        }
        if (state == CT_SEARCH_WAIT) {
            c->ask = false;
        } else if (state == CT_SEARCH_FINISHED) {
            c->search_done = true;
        }
    }
    return CT_OK;
}

/* --- starting --- */

/* An idle worker that served a trial of the same experiment and resources, or NONE. */
static ct_trial_id
take_idle(ct_control *c, const ct_trial *trial)
{
    for (size_t i = c->idle_count; i-- > 0;) {
        ct_trial_id t = c->idle[i];
        if (c->lives[t].claim == trial->request &&
            ct_trials_get(c->trials, t)->experiment == trial->experiment) {
            c->idle[i] = c->idle[--c->idle_count];
            return t;
        }
    }
    return CT_TRIAL_NONE;
}

static ct_status
start_trial(ct_control *c, ct_trial_id t, ct_err *err)
{
    ct_trial *trial = ct_trials_mut(c->trials, t);
    ct_trial_id from = take_idle(c, trial);
    ct_status st = control_set_status(c, t, CT_TRIAL_RUNNING, err);

    if (st != CT_OK) {
        return st;
    }
    ct_resources_claim(c->resources, trial->request);
    c->lives[t].claimed = true;
    c->lives[t].claim = trial->request;
    c->lives[t].worker = true;
    c->lives[t].exported = false;
    c->lives[t].reached = c->lives[t].upto;
    c->lives[t].then = CT_CONTINUE;
    c->lives[t].restored =
        ct_trials_checkpoint(c->trials, ct_trials_latest(c->trials, t)) != NULL;
    c->workers++;
    if (trial->start_time == 0.0) {
        trial->start_time = c->board.now;
    }
    if (from == CT_TRIAL_NONE) {
        return control_command(c, CT_COMMAND_START, t, CT_TRIAL_NONE, err);
    }
    control_worker_gone(c, from); /* it is this trial's now */
    return control_command(c, CT_COMMAND_RESET, t, from, err);
}

/* The first pending trial that fits, in table order. When all trials ask the same, the
 * first one tells for all. */
static ct_trial_id
first_fitting(ct_control *c)
{
    ct_request_id tried = UINT32_MAX;

    for (ct_trial_id t = ct_trials_first(c->trials, CT_TRIAL_PENDING);
         t != CT_TRIAL_NONE; t = ct_trials_next(c->trials, t)) {
        ct_request_id r = ct_trials_get(c->trials, t)->request;
        if (r == tried || c->lives[t].worker) {
            continue;
        }
        if (ct_resources_fits(c->resources, r)) {
            return t;
        }
        tried = r;
    }
    return CT_TRIAL_NONE;
}

static bool
startable(const ct_control *c, ct_trial_id t)
{
    if (t == CT_TRIAL_NONE || t >= ct_trials_count(c->trials)) {
        return false;
    }
    uint8_t s = ct_trials_get(c->trials, t)->status;
    /* A worker that is still ending holds on to the trial's number. */
    return (s == CT_TRIAL_PENDING || s == CT_TRIAL_PAUSED) && !c->lives[t].worker &&
           !c->lives[t].exploits;
}

ct_status
control_place(ct_control *c, ct_err *err)
{
    ct_scheduler *scheduler = c->opts.scheduler;

    while (c->place && !c->stopping && !c->interrupted) {
        ct_trial_id t = CT_TRIAL_NONE;
        ct_status st =
            scheduler->ops->choose(scheduler, &c->board, &t, &c->orders, err);
        if (st == CT_OK && c->orders.count > 0) {
            st = control_carry_out_orders(c, err);
        }
        if (st != CT_OK) {
            return st;
        }
        if (!startable(c, t) ||
            !ct_resources_fits(c->resources, ct_trials_get(c->trials, t)->request)) {
            t = first_fitting(c);
        }
        if (!startable(c, t)) {
            c->place = false;
            break;
        }
        st = start_trial(c, t, err);
        if (st == CT_OK) {
            st = control_ask(c, err); /* one less is pending */
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}
