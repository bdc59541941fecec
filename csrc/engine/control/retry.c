/* retry.c: failed trials: max_failures and fail_fast, and checkpoints that are no good.
 *
 * A trial goes on from its latest checkpoint. One that cannot be restored is given up, so
 * that the next try goes on from the one before, and in the end from the beginning. A
 * function restores by itself, and a restore may also end the process: so a checkpoint is
 * given up as well when a trial has failed twice in a row before it reported anything after
 * it. Its files stay until a later checkpoint takes its place: what is wrong may be the
 * code that reads them. */
#include "control/control_int.h"

/* How often in a row a trial may fail after a checkpoint before that is given up. */
#define DOUBTS 2

static ct_status
give_checkpoint_up(ct_control *c, ct_trial_id t, ct_err *err)
{
    ct_trial *trial = ct_trials_mut(c->trials, t);

    if (trial->from.trial != CT_TRIAL_NONE) {
        return control_stands_alone(c, t, err);
    }
    for (uint32_t i = trial->checkpoint_count; i-- > 0;) {
        if (!trial->checkpoints[i].bad) {
            trial->checkpoints[i].bad = true;
            break;
        }
    }
    return CT_OK;
}

/* What a failure says about the checkpoint that the trial went on from. *counts: it is one
 * for max_failures. */
static ct_status
doubt_checkpoint(ct_control *c, const ct_event *ev, bool *counts, ct_err *err)
{
    live *l = &c->lives[ev->trial];
    bool sure = ev->kind == CT_EVENT_RESTORE_FAILED;
    /* Until its worker is back after a cut, a trial is restoring, whatever it did before. */
    bool restored =
        l->restored ||
        (l->restarts && ct_trials_checkpoint(
                            c->trials, ct_trials_latest(c->trials, ev->trial)) != NULL);

    *counts = true;
    if (!restored || c->final || ev->kind == CT_EVENT_START_FAILED) {
        return CT_OK;
    }
    l->restored = false;
    l->doubts++;
    if (sure &&
        l->restarts) { /* a cut may have damaged it: that is not the trial's fault */
        *counts = false;
        l->doubts = 0;
        return give_checkpoint_up(c, ev->trial, err);
    }
    if (sure && l->doubts <= c->opts.restore_retries) {
        *counts = false;
        return CT_OK;
    }
    if (!sure && l->doubts < DOUBTS) {
        return CT_OK;
    }
    l->doubts = 0;
    return give_checkpoint_up(c, ev->trial, err);
}

static ct_status
note_failure(ct_control *c, const ct_event *ev, uint32_t number, ct_err *err)
{
    ct_trial *trial = ct_trials_mut(c->trials, ev->trial);
    ct_note *n;
    ct_status st = CT_OK;

    if (trial->dir != NULL && trial->error_file == NULL) {
        ct_buf_clear(&c->text);
        st = ct_buf_printf(&c->text, err, "%s/error.txt", trial->dir);
        if (st == CT_OK) {
            st = ct_buf_terminate(&c->text, err);
        }
        if (st == CT_OK) {
            st = ct_trial_set_text(&trial->error_file, (char *)c->text.data, err);
        }
    }
    if (st == CT_OK) {
        st = control_note(c, CT_NOTE_TRIAL_FAILURE, ev->trial, &n, err);
    }
    if (st == CT_OK) {
        trial->told++;
        n->code = (int32_t)number;
        n->text = ev->text;
        n->text_len = ev->text_len;
        n->blob = ev->blob;
        n->blob_len = ev->blob_len;
    }
    return st;
}

static ct_status
try_again(ct_control *c, ct_trial_id t, ct_err *err)
{
    ct_scheduler *s = c->opts.scheduler;
    ct_status st = control_set_status(c, t, CT_TRIAL_ERROR, err);

    if (st == CT_OK) {
        st = control_set_status(c, t, CT_TRIAL_PENDING, err);
    }
    if (st == CT_OK) {
        ct_trials_requeue(c->trials, t);
        st = s->ops->on_add(s, &c->board, t, &c->orders, err);
    }
    c->place = true;
    return st == CT_OK ? control_note(c, CT_NOTE_TRIAL_RECOVER, t, NULL, err) : st;
}

/* It is an error for good. */
static ct_status
end_failed(ct_control *c, const ct_event *ev, ct_err *err)
{
    const ct_trial *trial = ct_trials_get(c->trials, ev->trial);
    ct_status st = control_set_status(c, ev->trial, CT_TRIAL_ERROR, err);

    c->ask = true;
    if (st == CT_OK) {
        st = control_note(c, CT_NOTE_TRIAL_ERROR, ev->trial, NULL, err);
    }
    if (st == CT_OK && c->opts.fail_fast == CT_FAIL_FAST) {
        c->failed_fast = true;
        c->stop_asked = true;
    }
    if (st == CT_OK && c->opts.fail_fast == CT_FAIL_RAISE) {
        return ct_fail(err, CT_ETUNE, trial->name, "failed: %.*s",
                       (int)(ev->text_len > 400 ? 400 : ev->text_len),
                       ev->text == NULL ? "" : ev->text);
    }
    return st;
}

static ct_status
give_up(ct_control *c, const ct_event *ev, ct_err *err)
{
    ct_searcher *s = c->opts.searcher;
    ct_result last;
    bool has;
    ct_status st = control_last_result(c, ev->trial, &last, &has, err);

    if (st == CT_OK) {
        st =
            s->ops->on_complete(s, &c->board, ev->trial, has ? &last : NULL, true, err);
    }
    return st == CT_OK ? end_failed(c, ev, err) : st;
}

ct_status
control_export_failed(ct_control *c, const ct_event *ev, bool worker_lives, ct_err *err)
{
    uint32_t number = ++ct_trials_mut(c->trials, ev->trial)->failures;
    ct_status st;

    if (!worker_lives) {
        control_worker_gone(c, ev->trial);
    }
    st = note_failure(c, ev, number, err);
    if (st == CT_OK && worker_lives) {
        st = control_end_worker(c, ev->trial, true, err);
    }
    return st == CT_OK ? end_failed(c, ev, err) : st;
}

/* A trial failed. What its worker holds is given back: a worker that still lives is
 * killed, since nobody knows in what state it is. */
ct_status
control_failed(ct_control *c, const ct_event *ev, bool worker_lives, ct_err *err)
{
    ct_scheduler *s = c->opts.scheduler;
    ct_trial *trial = ct_trials_mut(c->trials, ev->trial);
    int64_t allowed = c->final ? 0 : experiment_of(c, ev->trial)->max_failures;
    ct_status st;

    if (!worker_lives) {
        control_worker_gone(c, ev->trial);
    }
    if (trial->status != CT_TRIAL_RUNNING) { /* it had ended already: only clean up */
        return worker_lives ? control_end_worker(c, ev->trial, true, err) : CT_OK;
    }
    bool counts;
    st = doubt_checkpoint(c, ev, &counts, err);
    if (st == CT_OK) {
        st = note_failure(c, ev, trial->failures + 1, err);
    }
    trial->failures += counts;
    if (st == CT_OK) {
        st = control_withdraw(c, ev->trial, err);
    }
    if (st == CT_OK && worker_lives) {
        st = control_end_worker(c, ev->trial, true, err);
    }
    if (st == CT_OK) {
        st = s->ops->on_error(s, &c->board, ev->trial, &c->orders, err);
    }
    if (st != CT_OK) {
        return st;
    }
    bool again = c->opts.fail_fast != CT_FAIL_RAISE && !c->stopping &&
                 (!counts || allowed < 0 || (int64_t)trial->failures <= allowed);
    return again ? try_again(c, ev->trial, err) : give_up(c, ev, err);
}
