/* promotion.h: who waits at the rungs of asynchronous successive halving, and who goes on
 * (Li et al., MLSys 2020, algorithm 2: get_job). A rung of n recorded trials lets its best
 * floor(n / eta) go on; each goes on once. */
#ifndef CT_SCHED_PROMOTION_H
#define CT_SCHED_PROMOTION_H

#include "policy/policy.h"
#include "sched/rungs.h"

typedef struct ct_promotion ct_promotion;

/* rungs[i] = rungs of bracket i. Errors: CT_ENOMEM. */
ct_status ct_promotion_new(ct_promotion **out, const size_t *rungs, size_t brackets,
                           double eta, ct_err *err);
void ct_promotion_free(ct_promotion *p);
/* A trial was added: it is started when nobody can be promoted. */
ct_status ct_promotion_add(ct_promotion *p, ct_trial_id t, ct_err *err);
/* It was recorded at a rung and pauses there. NaN waits, but is never promoted. */
ct_status ct_promotion_wait(ct_promotion *p, ct_trial_id t, size_t bracket, size_t rung,
                            double score, ct_err *err);
/* It reports again. */
void ct_promotion_resumed(ct_promotion *p, ct_trial_id t);
void ct_promotion_forget(ct_promotion *p, ct_trial_id t);
/* The trial to start next: from the highest rung down, else one that is new, else NONE.
 * books[i] = the scores of bracket i. */
ct_trial_id ct_promotion_choose(ct_promotion *p, ct_rungs *const *books,
                                const ct_board *b);
/* Nothing runs or will be promoted any more: those who wait are to stop. Returns how many
 * orders were given. */
ct_status ct_promotion_give_up(ct_promotion *p, ct_orders *orders, size_t *count,
                               ct_err *err);
/* How many a rung has let go on. */
size_t ct_promotion_count(const ct_promotion *p, size_t bracket, size_t rung);

/* State: [[trial, bracket, rung, parked, score]…], [[promoted]…], [new trials]. */
ct_status ct_promotion_save(const ct_promotion *p, ct_value *out, ct_err *err);
/* Into a fresh one. Errors: CT_ECORRUPT, CT_ENOMEM. */
ct_status ct_promotion_restore(ct_promotion *p, const ct_value *v, ct_err *err);

#endif
