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
