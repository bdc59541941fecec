/* finish.c: how trials end, one or all, and the orders of schedulers. */
#include "control/control_int.h"

ct_status
control_export(ct_control *c, ct_trial_id t, bool *told, ct_err *err)
{
    live *l = &c->lives[t];

    *told = l->worker && l->serial == 0 && !l->exported &&
            experiment_of(c, t)->exports &&
            ct_trials_get(c->trials, t)->status == CT_TRIAL_TERMINATED;
    if (!*told) {
        return CT_OK;
    }
    l->exported = true;
    return control_command(c, CT_COMMAND_EXPORT, t, CT_TRIAL_NONE, err);
}

ct_status
control_release(ct_control *c, ct_trial_id t, ct_err *err)
{
    live *l = &c->lives[t];
    bool told;

    if (!l->worker) {
        return CT_OK;
    }
    ct_status st = control_export(c, t, &told, err);
    if (st != CT_OK || told) {
        return st;
    }
    bool wanted = c->opts.reuse_workers && !c->stopping && l->serial == 0 &&
                  (!c->search_done || ct_trials_with(c->trials, CT_TRIAL_PENDING) > 0);
    if (!wanted) {
        return control_end_worker(c, t, false, err);
    }
    st = ct_grow((void **)&c->idle, &c->idle_cap, c->idle_count + 1, sizeof *c->idle,
                 err);
    if (st != CT_OK) {
        return st;
    }
    c->idle[c->idle_count++] = t;
    ct_resources_release(c->resources, l->claim);
    l->claimed = false;
    c->place = true;
    return CT_OK;
}

/* A running trial ends: stopped, done, or by the experiment's end. */
ct_status
control_complete(ct_control *c, ct_trial_id t, ct_err *err)
{
    ct_result last;
    bool has;
    ct_status st = control_last_result(c, t, &last, &has, err);

    if (st == CT_OK) {
        st = c->opts.scheduler->ops->on_complete(c->opts.scheduler, &c->board, t,
                                                 has ? &last : NULL, &c->orders, err);
    }
    if (st == CT_OK) {
        st = c->opts.searcher->ops->on_complete(c->opts.searcher, &c->board, t,
                                                has ? &last : NULL, false, err);
    }
    if (st == CT_OK) {
        st = control_set_status(c, t, CT_TRIAL_TERMINATED, err);
    }
    ct_trials_mut(c->trials, t)->end = c->lives[t].why;
    c->ask = true;
    if (st == CT_OK) {
        st = control_withdraw(c, t, err);
    }
    if (st == CT_OK) {
        st = control_note(c, CT_NOTE_TRIAL_COMPLETE, t, NULL, err);
    }
    return st == CT_OK ? control_release(c, t, err) : st;
}

ct_status
control_stop_trial(ct_control *c, ct_trial_id t, ct_err *err)
{
    ct_status st;

    c->lives[t].why = c->stopping ? CT_END_ALL : CT_END_SCHEDULER;
    switch ((ct_trial_status)ct_trials_get(c->trials, t)->status) {
    case CT_TRIAL_RUNNING:
        st = control_complete(c, t, err);
        /* A worker that was not released waits for the answer to its open command. */
        return st == CT_OK && c->lives[t].serial != 0
                   ? control_end_worker(c, t, false, err)
                   : st;
    case CT_TRIAL_PENDING:
    case CT_TRIAL_PAUSED:
        st = c->opts.scheduler->ops->on_remove(c->opts.scheduler, &c->board, t,
                                               &c->orders, err);
        if (st == CT_OK) {
            st = c->opts.searcher->ops->on_complete(c->opts.searcher, &c->board, t,
                                                    NULL, false, err);
        }
        if (st == CT_OK) {
            st = control_set_status(c, t, CT_TRIAL_TERMINATED, err);
        }
        ct_trials_mut(c->trials, t)->end = c->lives[t].why;
        c->ask = true;
        if (st == CT_OK) {
            st = control_withdraw(c, t, err);
        }
        return st == CT_OK ? control_note(c, CT_NOTE_TRIAL_COMPLETE, t, NULL, err) : st;
    case CT_TRIAL_TERMINATED:
    case CT_TRIAL_ERROR:
    case CT_TRIAL_STATUS_COUNT:
        break;
    }
    return CT_OK;
}

ct_status
control_stop_all(ct_control *c, ct_err *err)
{
    static const ct_trial_status unfinished[] = {CT_TRIAL_RUNNING, CT_TRIAL_PENDING,
                                                 CT_TRIAL_PAUSED};

    c->stopping = true;
    c->search_done = true;
    for (size_t i = 0; i < sizeof unfinished / sizeof unfinished[0]; i++) {
        ct_trial_id t;
        while ((t = ct_trials_first(c->trials, unfinished[i])) != CT_TRIAL_NONE) {
            ct_status st = control_stop_trial(c, t, err);
            if (st != CT_OK) {
                return st;
            }
        }
    }
    return CT_OK;
}

/* --- orders --- */

static ct_status
order_pause(ct_control *c, const ct_order *o, ct_err *err)
{
    live *l = &c->lives[o->trial];
    (void)err;

    if (ct_trials_get(c->trials, o->trial)->status == CT_TRIAL_RUNNING) {
        l->pause_asked = true; /* at the next answer of its worker */
        l->pause_saves = o->checkpoint;
    }
    return CT_OK;
}

static ct_status
order_resize(ct_control *c, const ct_order *o, ct_err *err)
{
    ct_trial *trial = ct_trials_mut(c->trials, o->trial);

    if (trial->status == CT_TRIAL_RUNNING) {
        return ct_fail(
            err, CT_EINVAL, trial->id,
            "is running: its resources can change while it is paused or pending");
    }
    ct_request_id request = trial->request;
    ct_status st = ct_resources_request(c->resources, &o->value, &request, err);
    if (st == CT_OK) {
        st = control_check_request(c, request, trial->id, err);
    }
    if (st == CT_OK) {
        trial->request = request;
        c->place = true;
    }
    return st;
}

static ct_status
carry_out(ct_control *c, ct_order *o, ct_err *err)
{
    if (o->trial >= ct_trials_count(c->trials)) {
        return ct_fail(err, CT_EINVAL, "trial", "number %u does not exist",
                       (unsigned)o->trial);
    }
    switch (o->kind) {
    case CT_ORDER_STOP:
        return control_stop_trial(c, o->trial, err);
    case CT_ORDER_PAUSE:
        return order_pause(c, o, err);
    case CT_ORDER_UNPAUSE:
        c->place = true;
        return ct_trials_get(c->trials, o->trial)->status == CT_TRIAL_PAUSED
                   ? control_set_status(c, o->trial, CT_TRIAL_PENDING, err)
                   : CT_OK;
    case CT_ORDER_RESIZE:
        return order_resize(c, o, err);
    case CT_ORDER_OFFER:
        return control_order_offer(c, o, err);
    case CT_ORDER_EXPLOIT:
        return control_order_exploit(c, o, err);
    case CT_ORDER_CONFIG:
        return control_order_config(c, o, err);
    case CT_ORDER_COUNT:
        break;
    }
    return CT_OK;
}

/* Orders may make the scheduler give new ones: until none is left. */
ct_status
control_carry_out_orders(ct_control *c, ct_err *err)
{
    ct_status st = CT_OK;

    while (st == CT_OK && c->orders.count > 0) {
        ct_orders taken = c->orders;
        c->orders = c->batch;
        c->batch = taken;
        for (size_t i = 0; st == CT_OK && i < c->batch.count; i++) {
            st = carry_out(c, &c->batch.items[i], err);
        }
        ct_orders_clear(&c->batch);
    }
    return st == CT_OK ? control_exploits(c, err) : st;
}
