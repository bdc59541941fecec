/* lifecycle.c: which status may follow which, commands and notes of the turn, workers. */
#include "control/control_int.h"

#include <assert.h>
#include <string.h>

/* legal[from][to]. A failed trial that is tried again goes RUNNING → ERROR → PENDING. */
static const bool legal[CT_TRIAL_STATUS_COUNT][CT_TRIAL_STATUS_COUNT] = {
    [CT_TRIAL_PENDING] = {[CT_TRIAL_RUNNING] = true,
                          [CT_TRIAL_TERMINATED] = true,
                          [CT_TRIAL_ERROR] = true},
    [CT_TRIAL_RUNNING] = {[CT_TRIAL_PAUSED] = true,
                          [CT_TRIAL_TERMINATED] = true,
                          [CT_TRIAL_ERROR] = true},
    [CT_TRIAL_PAUSED] = {[CT_TRIAL_PENDING] = true,
                         [CT_TRIAL_RUNNING] = true,
                         [CT_TRIAL_TERMINATED] = true},
    [CT_TRIAL_ERROR] = {[CT_TRIAL_PENDING] = true},
    [CT_TRIAL_TERMINATED] = {[CT_TRIAL_ERROR] = true}, /* its export failed */
};

ct_status
control_set_status(ct_control *c, ct_trial_id t, ct_trial_status s, ct_err *err)
{
    ct_trial_status from = (ct_trial_status)ct_trials_get(c->trials, t)->status;

    if (!legal[from][s]) {
        return ct_fail(err, CT_ESTATE, ct_trials_get(c->trials, t)->id,
                       "cannot go from %s to %s", ct_trial_status_name(from),
                       ct_trial_status_name(s));
    }
    ct_trials_set_status(c->trials, t, s);
    if (s == CT_TRIAL_TERMINATED || s == CT_TRIAL_ERROR) {
        ct_metrics_trim(c->metrics, t);
    }
    return CT_OK;
}

ct_status
control_command(ct_control *c, ct_command_kind kind, ct_trial_id t, ct_trial_id from,
                ct_err *err)
{
    live *l = &c->lives[t];
    ct_status st;

    assert(l->serial == 0 || kind == CT_COMMAND_KILL);
    st = ct_grow((void **)&c->commands, &c->cap_commands, c->n_commands + 1,
                 sizeof *c->commands, err);
    if (st != CT_OK) {
        return st;
    }
    if (l->serial == 0) {
        c->open++;
    }
    l->serial = ++c->serials;
    l->command = (uint8_t)kind;
    c->commands[c->n_commands++] = (queued_command){kind, t, from, l->serial};
    return CT_OK;
}

ct_status
control_note(ct_control *c, ct_note_kind kind, ct_trial_id t, ct_note **out,
             ct_err *err)
{
    ct_status st = ct_grow((void **)&c->notes, &c->cap_notes, c->n_notes + 1,
                           sizeof *c->notes, err);
    if (st != CT_OK) {
        return st;
    }
    ct_note *n = &c->notes[c->n_notes++];
    c->note_kinds |= UINT32_C(1) << kind;
    memset(n, 0, sizeof *n);
    n->kind = kind;
    n->trial = t;
    n->time = c->board.now;
    if (out != NULL) {
        *out = n;
    }
    return CT_OK;
}

ct_status
control_end_worker(ct_control *c, ct_trial_id t, bool kill, ct_err *err)
{
    live *l = &c->lives[t];

    if (!l->worker || (l->ending && !kill)) {
        return CT_OK;
    }
    if (!l->ending) {
        l->ending_since = c->board.now;
    }
    l->ending = true;
    if (kill) {
        return control_command(c, CT_COMMAND_KILL, t, CT_TRIAL_NONE, err);
    }
    return l->serial != 0 ? CT_OK /* STOP follows the answer */
                          : control_command(c, CT_COMMAND_STOP, t, CT_TRIAL_NONE, err);
}

void
control_worker_gone(ct_control *c, ct_trial_id t)
{
    live *l = &c->lives[t];

    if (l->worker) {
        l->worker = false;
        c->workers--;
    }
    if (l->claimed) {
        ct_resources_release(c->resources, l->claim);
        l->claimed = false;
        c->place = true;
    }
    l->ending = false;
}

ct_status
control_last_result(ct_control *c, ct_trial_id t, ct_result *out, bool *has,
                    ct_err *err)
{
    ct_status st;

    *out = (ct_result){NULL, 0, NULL};
    *has = ct_trials_get(c->trials, t)->last != NULL;
    if (!*has) {
        return CT_OK;
    }
    st = ct_trials_last(c->trials, t, &c->last, err);
    if (st == CT_OK) {
        st = ct_record_metrics(&c->last, c->opts.names, &c->last_flat, err);
    }
    if (st == CT_OK) {
        *out = (ct_result){c->last_flat.items, c->last_flat.count, &c->last};
    }
    return st;
}
