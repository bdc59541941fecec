/* pbt.h: population-based training (Jaderberg et al., "Population Based Training of Neural
 * Networks", 2017), as Ray Tune documents it: who exploits whom, and when.
 *
 * This is the decision: when a trial's turn comes, whether it is among the best, the worst
 * or neither, and which of the best a bad one goes on from. What a config becomes is the
 * owner's business, as is how a checkpoint is made: both through ct_pbt_hooks, in the order
 * of the decisions, since the draws of one trial's config come before the next trial's
 * choice. */
#ifndef CT_SCHED_PBT_H
#define CT_SCHED_PBT_H

#include "policy/policy.h"

/* How an exploit went. */
typedef enum ct_pbt_exploited {
    CT_PBT_SKIPPED, /* there is no checkpoint after all: nothing happened */
    CT_PBT_DONE,    /* the trial's status tells whether it paused */
    CT_PBT_ORDERED  /* it counts as paused, and on_exploited follows */
} ct_pbt_exploited;

typedef struct ct_pbt_hooks {
    /* A uniform index below n > 0: Python's random.choice. */
    ct_status (*choice)(void *ctx, size_t n, size_t *out, ct_err *err);
    /* The trial's turn begins: its score and its time are new. May be NULL. */
    ct_status (*turn)(void *ctx, const ct_board *b, ct_trial_id t, double time,
                      double score, ct_err *err);
    /* The trial is among the best: has it a checkpoint others can go on from, now or
     * soon? */
    ct_status (*save)(void *ctx, const ct_board *b, ct_trial_id t, ct_orders *orders,
                      bool *has, ct_err *err);
    /* It is no longer: what it saved may go. May be NULL. */
    ct_status (*forget)(void *ctx, const ct_board *b, ct_trial_id t, ct_orders *orders,
                        ct_err *err);
    /* The trial goes on from the source's checkpoint with a mutated config. `has`: what
     * `save` said of the source at its last turn. */
    ct_status (*exploit)(void *ctx, const ct_board *b, ct_trial_id t,
                         ct_trial_id source, bool has, ct_orders *orders,
                         ct_pbt_exploited *out, ct_err *err);
    /* The exploit that was ordered was done, or not. May be NULL. */
    ct_status (*exploited)(void *ctx, const ct_board *b, ct_trial_id t,
                           ct_trial_id source, bool done, const ct_value *note,
                           ct_err *err);
    /* A result lacks the time or else the metric: CT_OK to go on without. NULL: that is
     * an error, CT_ESTATE. */
    ct_status (*missing)(void *ctx, bool time, ct_err *err);
    /* Trials that are not over, for boards whose trials may end without a word; NULL: all
     * are told. SIZE_MAX: unknown. */
    size_t (*live)(void *ctx, const ct_board *b);
    void *ctx;
} ct_pbt_hooks;

typedef struct ct_pbt_opts {
    ct_name time_attr;
    ct_name metric;
    bool maximize;
    double perturbation_interval; /* time between two turns of a trial; above 0 */
    double burn_in_period;        /* earlier results are not looked at */
    double quantile_fraction; /* of the trials are best, and as many worst; 0 to 0.5 */
    bool synch;               /* all take their turn at once, when all are there */
    ct_pbt_hooks hooks;
} ct_pbt_opts;

typedef struct ct_pbt ct_pbt;

/* Errors: CT_EINVAL naming the option. */
ct_status ct_pbt_new(ct_pbt **out, const ct_pbt_opts *opts, ct_err *err);
/* The same object as a policy. A result costs O(log n); with `synch`, O(n log n) once per
 * round of n results; a choice O(log n) per trial that runs. A trial without a number as
 * score (NaN) is neither best nor worst. */
ct_scheduler *ct_pbt_scheduler(ct_pbt *p);
void ct_pbt_set_mode(ct_pbt *p, bool maximize); /* before the first result */
size_t ct_pbt_live(const ct_pbt *p); /* trials that are not known to be over */
bool ct_pbt_knows(const ct_pbt *p, ct_trial_id t);
bool ct_pbt_score(const ct_pbt *p, ct_trial_id t, double *out); /* false: none */
uint64_t ct_pbt_num_checkpoints(const ct_pbt *p);
uint64_t ct_pbt_num_perturbations(const ct_pbt *p);
void ct_pbt_reset_stats(ct_pbt *p); /* both numbers */

#endif
