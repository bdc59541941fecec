/* hyperband.h: HyperBand (Li et al., "Hyperband: A Novel Bandit-Based Approach to
 * Hyperparameter Optimization", JMLR 2018) in the form that Ray Tune documents: brackets
 * fill one after the other, trials pause at a milestone until their bracket is halved.
 *
 * With `bohb`, as BOHB needs it (Falkner et al., ICML 2018): the largest bracket comes
 * first, and trials pause also while their bracket fills. */
#ifndef CT_SCHED_HYPERBAND_H
#define CT_SCHED_HYPERBAND_H

#include "policy/policy.h"

/* What BOHB's searcher is told. Either may be NULL. */
typedef struct ct_hyperband_hooks {
    ct_status (*on_pause)(void *ctx, ct_trial_id t, ct_err *err);
    ct_status (*on_unpause)(void *ctx, ct_trial_id t, ct_err *err);
    void *ctx;
} ct_hyperband_hooks;

typedef struct ct_hyperband_opts {
    ct_name time_attr;
    ct_name metric;
    bool maximize;
    double max_t;            /* > 0 */
    double reduction_factor; /* > 1 */
    bool stop_last_trials;
    bool bohb;
    ct_hyperband_hooks hooks;
} ct_hyperband_opts;

typedef struct ct_hyperband ct_hyperband; /* a ct_scheduler is its first member */

/* Errors: CT_EINVAL naming the option. */
ct_status ct_hyperband_new(ct_hyperband **out, const ct_hyperband_opts *opts,
                           ct_err *err);
ct_scheduler *ct_hyperband_scheduler(ct_hyperband *h);
void ct_hyperband_set_mode(ct_hyperband *h, bool maximize);
/* Whether the trial was ever added. */
bool ct_hyperband_knows(const ct_hyperband *h, ct_trial_id t);
uint64_t ct_hyperband_num_stopped(const ct_hyperband *h);
size_t ct_hyperband_num_brackets(
    const ct_hyperband *h); /* those too small to have trials too */
/* Whether a result at that time makes the trial pause or stop, and at which milestone. */
bool ct_hyperband_due(const ct_hyperband *h, ct_trial_id t, double time,
                      double *milestone);
/* Bracket s: number of trials n0 and first milestone r0 (0: it is left out). */
size_t ct_hyperband_rounds(const ct_hyperband *h); /* brackets of a band */
void ct_hyperband_plan(const ct_hyperband *h, size_t s, double *n0, double *r0);

#endif
