/* median.h: the median stopping rule (Golovin et al., "Google Vizier", KDD 2017): a trial
 * stops when its best value so far is strictly worse than the median of the other trials'
 * running means up to the same time. */
#ifndef CT_SCHED_MEDIAN_H
#define CT_SCHED_MEDIAN_H

#include "policy/policy.h"

typedef struct ct_median_opts {
    ct_name time_attr;
    ct_name metric;
    bool maximize;
    double grace_period;         /* earlier results count in no mean, and stop nobody */
    double min_samples_required; /* other trials that a median needs */
    double min_time_slice;       /* between two pauses of a trial for lack of samples */
    bool hard_stop;              /* stop; else pause once, and never ask again */
} ct_median_opts;

typedef struct ct_median ct_median; /* a ct_scheduler is its first member */

/* Errors: CT_EINVAL naming the option. A decision costs O(log n) in the number of trials
 * when trials report at the same times, and O(n) at a time that nobody asked about before. */
ct_status ct_median_new(ct_median **out, const ct_median_opts *opts, ct_err *err);
ct_scheduler *ct_median_scheduler(ct_median *m);
void ct_median_set_mode(ct_median *m, bool maximize);
uint64_t ct_median_num_stopped(const ct_median *m);

#endif
