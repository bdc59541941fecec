/* recorded.h: policies whose answers are kept.
 *
 * Each function puts a policy of the same contract in front of another one. It asks, and
 * records what was said. During a replay (answers.h) it plays the records; the one behind
 * hears and is asked as well, so that it is afterwards where it was, but what it says then
 * does not count. A native scheduler is handed back as it is: events decide what it says.
 * Searchers and stoppers are recorded in any case, for a resumed run may have others: more
 * samples, a later stop. Of a stopper only a yes is written down.
 *
 * *policy is taken: the new one frees it. On failure it stays the caller's. The answers are
 * borrowed and must outlive the policy. */
#ifndef CT_POLICY_RECORDED_H
#define CT_POLICY_RECORDED_H

#include "policy/answers.h"
#include "policy/policy.h"

ct_status ct_recorded_scheduler(ct_scheduler **policy, ct_answers *a, ct_err *err);
ct_status ct_recorded_searcher(ct_searcher **policy, ct_answers *a, ct_err *err);
ct_status ct_recorded_stopper(ct_stopper **policy, ct_answers *a, ct_err *err);

/* The hooks of a trial are foreign, all of them. */
typedef struct ct_recorded_hooks {
    ct_trial_hooks inner;
    ct_answers *answers;
} ct_recorded_hooks;
/* *r must outlive the hooks that are handed out. */
ct_trial_hooks ct_recorded_trial_hooks(ct_recorded_hooks *r,
                                       const ct_trial_hooks *inner, ct_answers *a);

#endif
