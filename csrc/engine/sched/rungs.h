/* rungs.h: the rung book of one bracket of successive halving.
 *
 * A rung has a milestone (progress at which trials are compared) and the scores recorded
 * there, larger = better. It knows which trials it has recorded, but not which score is
 * whose: comparisons need the multiset only. A NaN score is recorded, and ignored by
 * cutoffs. Costs: `has` O(1); `record` and `cutoff` O(log n). Memory: a bit per trial and
 * rung (rounded up to 8 bytes per trial), 8 to 16 bytes per score. */
#ifndef CT_SCHED_RUNGS_H
#define CT_SCHED_RUNGS_H

#include "base/ids.h"
#include "base/value.h"

typedef struct ct_rungs ct_rungs;

/* A book of `count` rungs, 0 allowed; milestones are copied and not interpreted.
 * Errors: CT_ENOMEM. */
ct_status ct_rungs_new(ct_rungs **out, const double *milestones, size_t count,
                       ct_err *err);
void ct_rungs_free(ct_rungs *r);
size_t ct_rungs_count(const ct_rungs *r);
double ct_rungs_milestone(const ct_rungs *r, size_t k);
bool ct_rungs_has(const ct_rungs *r, size_t k, ct_trial_id t);
/* Records a trial that is not there yet; on failure nothing changed. */
ct_status ct_rungs_record(ct_rungs *r, size_t k, ct_trial_id t, double score,
                          ct_err *err);
size_t ct_rungs_recorded(const ct_rungs *r, size_t k); /* NaN included */
/* The q-th percentile (0 to 100, linear interpolation) of the rung's scores: NaN when all
 * of them are, false when there is none. */
bool ct_rungs_cutoff(const ct_rungs *r, size_t k, double q, double *out);

/* The n-th best number of a rung, n from 1; false when there are fewer. */
bool ct_rungs_nth_best(const ct_rungs *r, size_t k, size_t n, double *out);

/* State as {"milestones": [f64], "scores": [[f64]], "nan": [i64], "trials": [i64 id, i64
 * words of bits…]}; equal books give equal values. Restoring replaces the book, and only
 * if the milestones are the same. Errors: CT_ECORRUPT, CT_ENOMEM; nothing changed then. */
ct_status ct_rungs_save(const ct_rungs *r, ct_names *names, ct_value *out, ct_err *err);
ct_status ct_rungs_restore(ct_rungs **r, ct_names *names, const ct_value *v,
                           ct_err *err);

#endif
