/* conditions.h: stop conditions. Each is a ct_stopper and answers at once.
 *
 * Thresholds and iterations stop single trials, the time budget stops the experiment,
 * any-of combines. All of them keep what they know in their saved state. */
#ifndef CT_STOP_CONDITIONS_H
#define CT_STOP_CONDITIONS_H

#include "policy/policy.h"

/* A trial stops once its result holds a value >= the limit under the flattened key. */
typedef struct ct_threshold {
    const char *key; /* "a/b"; copied */
    size_t key_len;
    double limit;
} ct_threshold;

/* Checked in the given order; count may be 0 (never stops). A result that misses the key
 * answers CT_ETUNE and lists the keys that it has, unless an earlier one stopped the trial
 * already. Errors: CT_EINVAL for an empty key or a NaN limit, CT_ENOMEM. */
ct_status ct_stop_thresholds_new(ct_stopper **out, const ct_threshold *items,
                                 size_t count, ct_err *err);

/* A trial stops with its max_iter-th result, counted here and not read from the result.
 * Every trial stops at its first one when max_iter < 1. */
ct_status ct_stop_iterations_new(ct_stopper **out, int64_t max_iter, ct_err *err);

/* All stop when `seconds` have passed since the clock started, at the first stop_all: the
 * time that passes while nobody runs is not counted. The saved state keeps what is left of
 * the budget and not the clock. Errors: CT_EINVAL when seconds is NaN. */
ct_status ct_stop_budget_new(ct_stopper **out, double seconds, ct_err *err);
/* The same question without a board; true when the budget is used up. */
bool ct_stop_budget_check(ct_stopper *s, double now);
double ct_stop_budget_left(const ct_stopper *s);     /* at the last question */
void ct_stop_budget_set(ct_stopper *s, double left); /* and the clock stands still */

/* Stops when any of its members does; both questions stop asking at the first yes. Takes
 * the members (count may be 0) on success only. Foreign when a member is. */
ct_status ct_stop_any_new(ct_stopper **out, ct_stopper *const *members, size_t count,
                          ct_err *err);

/* Each trial is asked about by the member of its experiment's number; all, by any. Takes
 * the members on success only. Foreign when a member is. */
ct_status ct_stop_by_experiment_new(ct_stopper **out, ct_stopper *const *members,
                                    size_t count, ct_err *err);

#endif
