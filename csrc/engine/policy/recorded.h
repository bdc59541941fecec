/* recorded.h: foreign policies whose answers are kept.
 *
 * Each function puts a policy of the same contract in front of a foreign one. It asks, and
 * records what was said; during a replay (answers.h) it plays the records and leaves the
 * one behind alone: that neither hears nor is asked. A native policy is handed back as it
 * is, so that it pays nothing.
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
