/* replay.h: one trial that follows a schedule of configs, such as population-based training
 * found for its best trial. */
#ifndef CT_SCHED_REPLAY_H
#define CT_SCHED_REPLAY_H

#include "policy/policy.h"

typedef struct ct_replay_opts {
    ct_name time_attr;     /* iterations */
    const double *changes; /* config i holds from here on; copied */
    size_t count;
    /* The trial saves, and goes on from there with config i. */
    ct_status (*change)(void *ctx, const ct_board *b, ct_trial_id t, size_t i,
                        ct_orders *orders, ct_err *err);
    void *ctx;
} ct_replay_opts;

typedef struct ct_replay ct_replay;

ct_status ct_replay_new(ct_replay **out, const ct_replay_opts *opts, ct_err *err);
/* The same object as a policy. Adding a second trial is CT_EINVAL. */
ct_scheduler *ct_replay_scheduler(ct_replay *r);

#endif
