/* asha.h: asynchronous successive halving (Li et al., "A System for Massively Parallel
 * Hyperparameter Tuning", MLSys 2020), in the stopping form that Ray Tune documents, or in the promoting one of the paper. */
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
    bool promotion; /* pause at each rung, and promote the best: the paper's form */
    ct_rng *rng;    /* one next_double per added trial, as numpy.random.choice draws */
} ct_asha_opts;

typedef struct ct_asha ct_asha; /* a ct_scheduler is its first member */

/* Errors: CT_EINVAL naming the option. */
ct_status ct_asha_new(ct_asha **out, const ct_asha_opts *opts, ct_err *err);
ct_scheduler *ct_asha_scheduler(ct_asha *a);
/* metric and direction may come later (set_search_properties). */
void ct_asha_set_objective(ct_asha *a, ct_name metric, bool maximize);
/* For a scheduler that was made before the run's table of names. */
void ct_asha_set_time_attr(ct_asha *a, ct_name time_attr);
void ct_asha_set_rng(ct_asha *a, ct_rng *rng); /* borrowed, as the one in the options */
/* The algorithm without a board: trials are numbers, results are (time, value). A trial
 * that is added again draws a new bracket, and what was recorded of it stays. Errors:
 * CT_ESTATE for a trial that was not added (or was completed or removed since);
 * CT_ENOMEM, nothing changed then. A result costs O(rungs + log recorded). */
ct_status ct_asha_add(ct_asha *a, ct_trial_id t, ct_err *err);
ct_status ct_asha_result(ct_asha *a, ct_trial_id t, double time, double value,
                         ct_verdict *out, ct_err *err);
ct_status ct_asha_complete(ct_asha *a, ct_trial_id t, double time, double value,
                           ct_err *err);
void ct_asha_remove(ct_asha *a, ct_trial_id t);
/* Whether a result at that time ends any trial: then *out = STOP, which is counted. */
bool ct_asha_over(ct_asha *a, double time, ct_verdict *out);
/* Whether it chooses trials itself: the promoting form. */
bool ct_asha_chooses(const ct_asha *a);
/* How many trials a rung has promoted. */
size_t ct_asha_promoted(const ct_asha *a, size_t bracket, size_t rung);
bool ct_asha_knows(const ct_asha *a, ct_trial_id t);
uint64_t ct_asha_num_stopped(const ct_asha *a);
/* Rungs for display and tests: bracket s, rung k (largest milestone first). */
size_t ct_asha_brackets(const ct_asha *a);
size_t ct_asha_rungs(const ct_asha *a, size_t bracket);
double ct_asha_milestone(const ct_asha *a, size_t bracket, size_t rung);
size_t ct_asha_recorded(const ct_asha *a, size_t bracket, size_t rung);
/* false: no cutoff yet */
bool ct_asha_cutoff(const ct_asha *a, size_t bracket, size_t rung, double *out);
/* The whole state (not the options), and back; for ct_scheduler_ops. A restored scheduler
 * decides as the saved one would have. Errors: CT_ECORRUPT when the value is damaged or
 * comes from other options; nothing changed then. */
ct_status ct_asha_save(const ct_asha *a, ct_names *names, ct_value *out, ct_err *err);
ct_status ct_asha_restore(ct_asha *a, ct_names *names, const ct_value *v, ct_err *err);
ct_status ct_asha_describe(const ct_asha *a, ct_buf *out, ct_err *err);

#endif
