/* policy.c: names of verdicts, and what a searcher hands over. */
#include "policy/policy.h"

#include "base/mem.h"

#include <string.h>

const char *
ct_verdict_name(ct_verdict v)
{
    switch (v) {
    case CT_CONTINUE:
        return "CONTINUE";
    case CT_PAUSE:
        return "PAUSE";
    case CT_STOP:
        return "STOP";
    case CT_NOOP:
        return "NOOP";
    }
    return "UNKNOWN";
}

void
ct_suggestion_deinit(ct_suggestion *s)
{
    ct_free(s->id);
    ct_free(s->tag);
    s->id = NULL;
    s->tag = NULL;
    ct_value_deinit(&s->config);
    ct_value_deinit(&s->evaluated);
}

ct_status
ct_scheduler_ignore(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                    ct_orders *orders, ct_err *err)
{
    (void)s;
    (void)b;
    (void)t;
    (void)orders;
    (void)err;
    return CT_OK;
}

ct_status
ct_scheduler_ignore_end(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                        const ct_result *r, ct_orders *orders, ct_err *err)
{
    (void)r;
    return ct_scheduler_ignore(s, b, t, orders, err);
}

/* [kind, state] */
ct_status
ct_stopper_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    const char *kind = s->ops->name;
    ct_value pair = ct_list();
    ct_value item = ct_nil();

    if (s->ops->save == NULL || s->ops->restore == NULL) {
        return ct_fail(err, CT_EUNSUPPORTED, "stop", "the state of %s cannot be saved",
                       kind);
    }
    ct_status st = ct_str(&item, kind, strlen(kind), err);
    if (st == CT_OK) {
        st = ct_value_push(&pair, &item, err);
    }
    if (st == CT_OK) {
        st = s->ops->save(s, names, &item, err);
    }
    if (st == CT_OK) {
        st = ct_value_push(&pair, &item, err);
    }
    ct_value_deinit(&item);
    if (st == CT_OK) {
        *out = pair;
    } else {
        ct_value_deinit(&pair);
    }
    return st;
}

bool
ct_stopper_saved_by(const ct_stopper *s, const ct_value *v)
{
    size_t len = strlen(s->ops->name);

    return s->ops->restore != NULL && v->kind == CT_LIST && v->len == 2 &&
           v->u.items[0].kind == CT_STR && v->u.items[0].len == len &&
           memcmp(v->u.items[0].u.s, s->ops->name, len) == 0;
}

ct_status
ct_stopper_restore(ct_stopper *s, ct_names *names, const ct_value *v,
                   const ct_past *past, ct_err *err)
{
    ct_err own = CT_ERR_INIT;
    ct_status st = CT_ECORRUPT;

    if (v != NULL && ct_stopper_saved_by(s, v)) {
        st = s->ops->restore(s, names, &v->u.items[1], past, &own);
    }
    if (st == CT_ECORRUPT) {
        return s->ops->forgets ? CT_OK : past->tell(past->ctx, s, err);
    }
    if (st != CT_OK && err != NULL) {
        *err = own;
    }
    return st;
}
