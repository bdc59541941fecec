/* board.h: the read-only view of an experiment that policies and observers get. */
#ifndef CT_STATE_BOARD_H
#define CT_STATE_BOARD_H

#include "state/metrics.h"
#include "state/resources.h"
#include "state/trials.h"

/* Answers for schedulers that are asked outside a run, where no table of trials is. */
typedef struct ct_board_ops {
    ct_trial_status (*status)(void *ctx, ct_trial_id t);
    bool (*any)(void *ctx, unsigned statuses); /* some trial has one of them */
} ct_board_ops;

typedef struct ct_board {
    const ct_names *names;
    const ct_trials *trials;
    const ct_metrics *metrics;
    const ct_resources *resources;
    double now;              /* time of the event being handled */
    const ct_board_ops *ops; /* NULL = the table answers */
    void *ctx;
} ct_board;

ct_trial_status ct_board_status(const ct_board *b, ct_trial_id t);
/* Statuses as a set, for ct_board_any. */
#define CT_STATUS(s) (1U << (unsigned)(s))
#define CT_STATUSES_WAITING (CT_STATUS(CT_TRIAL_PENDING) | CT_STATUS(CT_TRIAL_PAUSED))
bool ct_board_any(const ct_board *b, unsigned statuses);

/* One result as a policy sees it: its flattened numbers, and the whole record. */
typedef struct ct_result {
    const ct_metric *items;
    size_t count;
    const ct_record *record; /* NULL when a policy is asked outside a run */
} ct_result;

bool ct_result_get(const ct_result *r, ct_name name, double *out);

#endif
