/* policy.c: names of verdicts, and what a searcher hands over. */
#include "policy/policy.h"

#include "base/mem.h"

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
