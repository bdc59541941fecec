/* asha.h: asynchronous successive halving (Li et al., "A System for Massively Parallel
 * Hyperparameter Tuning", MLSys 2020), in the stopping form that Ray Tune documents. */
#ifndef CT_SCHED_ASHA_H
#define CT_SCHED_ASHA_H

#include "base/rng.h"
#include "policy/policy.h"

typedef struct ct_asha_opts {
    ct_name time_attr;
    ct_name metric;
    bool maximize;
    double max_t;
    double grace_period;
    double reduction_factor;
    int64_t brackets;
    bool stop_last_trials;
    ct_rng *rng; /* one next_double per added trial, as numpy.random.choice draws */
} ct_asha_opts;

typedef struct ct_asha ct_asha; /* a ct_scheduler is its first member */

/* Errors: CT_EINVAL naming the option. */
ct_status ct_asha_new(ct_asha **out, const ct_asha_opts *opts, ct_err *err);
ct_scheduler *ct_asha_scheduler(ct_asha *a);
/* metric and direction may come later (set_search_properties). */
void ct_asha_set_objective(ct_asha *a, ct_name metric, bool maximize);
/* The algorithm without a board: trials are numbers, results are (time, value). */
ct_status ct_asha_add(ct_asha *a, ct_trial_id t, ct_err *err);
ct_status ct_asha_result(ct_asha *a, ct_trial_id t, double time, double value,
                         ct_verdict *out, ct_err *err);
ct_status ct_asha_complete(ct_asha *a, ct_trial_id t, double time, double value,
                           ct_err *err);
void ct_asha_remove(ct_asha *a, ct_trial_id t);
bool ct_asha_knows(const ct_asha *a, ct_trial_id t);
uint64_t ct_asha_num_stopped(const ct_asha *a);
/* Rungs for display and tests: bracket s, rung k (largest milestone first). */
size_t ct_asha_brackets(const ct_asha *a);
size_t ct_asha_rungs(const ct_asha *a, size_t bracket);
double ct_asha_milestone(const ct_asha *a, size_t bracket, size_t rung);
size_t ct_asha_recorded(const ct_asha *a, size_t bracket, size_t rung);
/* false: no cutoff yet */
bool ct_asha_cutoff(const ct_asha *a, size_t bracket, size_t rung, double *out);
ct_status ct_asha_describe(const ct_asha *a, ct_buf *out, ct_err *err);

#endif
