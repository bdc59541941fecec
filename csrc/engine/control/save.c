/* save.c: the controller's state as a value, for snapshots and for people. */
#include "control/control_int.h"

#include <string.h>

static ct_status
put(ct_control *c, ct_value *dict, const char *key, ct_value v, ct_err *err)
{
    ct_name name;
    ct_status st = ct_names_intern(c->opts.names, key, strlen(key), &name, err);

    if (st != CT_OK) {
        ct_value_deinit(&v);
        return st;
    }
    return ct_value_put(dict, name, &v, err);
}

static ct_status
put_text(ct_control *c, ct_value *dict, const char *key, const char *text, ct_err *err)
{
    ct_value v = ct_nil();
    ct_status st = text == NULL ? CT_OK : ct_str(&v, text, strlen(text), err);

    return st == CT_OK ? put(c, dict, key, v, err) : st;
}

static ct_status
put_copy(ct_control *c, ct_value *dict, const char *key, const ct_value *from,
         ct_err *err)
{
    ct_value v = ct_nil();
    ct_status st = ct_value_copy(&v, from, err);

    return st == CT_OK ? put(c, dict, key, v, err) : st;
}

static ct_status
save_checkpoints(ct_control *c, const ct_trial *trial, ct_value *out, ct_err *err)
{
    ct_value list = ct_list();
    ct_status st = CT_OK;

    for (uint32_t i = 0; st == CT_OK && i < trial->checkpoint_count; i++) {
        ct_value k = ct_dict();
        st = put_text(c, &k, "path", trial->checkpoints[i].path, err);
        if (st == CT_OK) {
            st = put(c, &k, "index", ct_i64(trial->checkpoints[i].index), err);
        }
        if (st == CT_OK) {
            st = put(c, &k, "time", ct_f64(trial->checkpoints[i].time), err);
        }
        if (st == CT_OK && trial->checkpoints[i].bad) {
            st = put(c, &k, "bad", ct_bool(true), err);
        }
        if (st == CT_OK) {
            st = ct_value_push(&list, &k, err);
        }
        ct_value_deinit(&k);
    }
    if (st != CT_OK) {
        ct_value_deinit(&list);
        return st;
    }
    return put(c, out, "checkpoints", list, err);
}

/* (trial_id, index) of a checkpoint, where there is one. */
static ct_status
save_ref(ct_control *c, ct_value *d, const char *key, ct_checkpoint_ref ref,
         ct_err *err)
{
    ct_value parts[] = {ct_nil(), ct_i64((int64_t)ref.index)};
    ct_value pair;
    if (ref.trial == CT_TRIAL_NONE) {
        return CT_OK;
    }
    const char *text = ct_trials_get(c->trials, ref.trial)->id;
    ct_status st = ct_str(&parts[0], text, strlen(text), err);
    if (st == CT_OK) {
        st = ct_value_list_of(&pair, parts, 2, err);
    }
    return st == CT_OK ? put(c, d, key, pair, err) : st;
}

static ct_status
save_trial(ct_control *c, const ct_trial *trial, ct_value *d, ct_err *err)
{
    ct_status st = put_text(c, d, "trial_id", trial->id, err);

    if (st == CT_OK) {
        st = put_text(c, d, "status",
                      ct_trial_status_name((ct_trial_status)trial->status), err);
    }
    if (st == CT_OK) {
        st = put_text(c, d, "experiment_tag", trial->tag, err);
    }
    if (st == CT_OK) {
        st = put_text(c, d, "dir", trial->dir, err);
    }
    if (st == CT_OK && trial->experiment > 0) {
        st = put(c, d, "experiment", ct_i64(trial->experiment), err);
    }
    if (st == CT_OK) {
        st = put_copy(c, d, "config", &trial->config, err);
    }
    if (st == CT_OK) {
        const ct_value *evaluated =
            trial->evaluated.kind == CT_NIL ? &trial->config : &trial->evaluated;
        st = put_copy(c, d, "evaluated_params", evaluated, err);
    }
    if (st == CT_OK) {
        st = put(c, d, "results", ct_i64(trial->results), err);
    }
    if (st == CT_OK) {
        st = put(c, d, "num_failures", ct_i64(trial->failures), err);
    }
    if (st == CT_OK) {
        st = put(c, d, "start_time", ct_f64(trial->start_time), err);
    }
    if (st == CT_OK) {
        st = put(c, d, "last_result_time", ct_f64(trial->last_result_time), err);
    }
    if (st == CT_OK) {
        st = save_ref(c, d, "from_checkpoint", trial->from, err);
    }
    if (st == CT_OK) {
        st = save_ref(c, d, "offered_checkpoint", trial->offered, err);
    }
    return st == CT_OK ? save_checkpoints(c, trial, d, err) : st;
}

static ct_status
save_trials(ct_control *c, ct_value *out, ct_err *err)
{
    ct_value list = ct_list();
    ct_status st = CT_OK;

    for (ct_trial_id t = 0; st == CT_OK && t < ct_trials_count(c->trials); t++) {
        ct_value d = ct_dict();
        st = save_trial(c, ct_trials_get(c->trials, t), &d, err);
        if (st == CT_OK) {
            st = ct_value_push(&list, &d, err);
        }
        ct_value_deinit(&d);
    }
    if (st != CT_OK) {
        ct_value_deinit(&list);
        return st;
    }
    return put(c, out, "trials", list, err);
}

/* What a policy saves; one that cannot (save NULL) is left out. */
static ct_status
put_policy(ct_control *c, ct_value *out, const char *key, ct_status st, ct_value *saved,
           ct_err *err)
{
    if (st != CT_OK || saved->kind == CT_NIL) {
        ct_value_deinit(saved);
        return st;
    }
    return put(c, out, key, *saved, err);
}

ct_status
ct_control_save(ct_control *c, ct_value *out, ct_err *err)
{
    ct_scheduler *scheduler = c->opts.scheduler;
    ct_searcher *searcher = c->opts.searcher;
    ct_stopper *stopper = c->opts.stopper;
    ct_value v = ct_nil();
    ct_status st;

    *out = ct_dict();
    st = put_text(c, out, "experiment", c->experiments[0].name, err);
    if (st == CT_OK) {
        st = save_trials(c, out, err);
    }
    if (st == CT_OK && scheduler->ops->save != NULL) {
        st = scheduler->ops->save(scheduler, c->opts.names, &v, err);
        st = put_policy(c, out, "scheduler", st, &v, err);
    }
    v = ct_nil();
    if (st == CT_OK && searcher->ops->save != NULL) {
        st = searcher->ops->save(searcher, c->opts.names, &v, err);
        st = put_policy(c, out, "searcher", st, &v, err);
    }
    v = ct_nil();
    if (st == CT_OK && stopper != NULL && stopper->ops->save != NULL) {
        st = stopper->ops->save(stopper, c->opts.names, &v, err);
        st = put_policy(c, out, "stopper", st, &v, err);
    }
    if (st != CT_OK) {
        ct_value_deinit(out);
    }
    return st;
}
