/* plateau.h: stopping when a metric does not move any more: that of one trial, or the best
 * values of the experiment. The spread is the standard deviation of the population, as
 * numpy.std computes it; a NaN has no spread and is never one of the best. */
#ifndef CT_STOP_PLATEAU_H
#define CT_STOP_PLATEAU_H

#include "policy/policy.h"

typedef struct ct_trial_plateau_opts {
    const char *metric; /* flattened key; copied */
    size_t metric_len;
    double std;           /* a trial stops when its spread is below */
    int64_t num_results;  /* the spread of its last num_results values; at least 1 */
    int64_t grace_period; /* not before so many results */
    bool has_threshold;   /* and only if the last value is this good */
    double threshold;
    bool maximize; /* read with a threshold only */
} ct_trial_plateau_opts;

/* Errors: CT_EINVAL naming the option, CT_ENOMEM. */
ct_status ct_stop_trial_plateau_new(ct_stopper **out, const ct_trial_plateau_opts *opts,
                                    ct_err *err);
/* The same question without a board. A result without the metric is a NaN. */
ct_status ct_stop_trial_plateau_check(ct_stopper *s, ct_trial_id t, double value,
                                      bool *stop, ct_err *err);

typedef struct ct_experiment_plateau_opts {
    const char *metric; /* flattened key; copied */
    size_t metric_len;
    double std;       /* a plateau is a spread of at most this, above 0 */
    int64_t top;      /* of the best so many values, at least 2 */
    bool maximize;    /* what "best" means */
    int64_t patience; /* all stop with the first plateau that lasted so many results */
} ct_experiment_plateau_opts;

/* Errors: CT_EINVAL naming the option, CT_ENOMEM. */
ct_status ct_stop_experiment_plateau_new(ct_stopper **out,
                                         const ct_experiment_plateau_opts *opts,
                                         ct_err *err);
/* Hands it one more value; whether everything should stop now. O(top). */
bool ct_stop_experiment_plateau_check(ct_stopper *s, double value);
bool ct_stop_experiment_plateau_reached(const ct_stopper *s); /* patience aside */
bool ct_stop_experiment_plateau_over(const ct_stopper *s); /* the same answer again */

#endif
