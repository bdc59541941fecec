/* board.h: the read-only view of an experiment that policies and observers get. */
#ifndef CT_STATE_BOARD_H
#define CT_STATE_BOARD_H

#include "state/metrics.h"
#include "state/resources.h"
#include "state/trials.h"

typedef struct ct_board {
    const ct_names *names;
    const ct_trials *trials;
    const ct_metrics *metrics;
    const ct_resources *resources;
    double now; /* time of the event being handled */
} ct_board;

/* One result as a policy sees it: its flattened numbers, and the whole record. */
typedef struct ct_result {
    const ct_metric *items;
    size_t count;
    const ct_record *record; /* NULL when a policy is asked outside a run */
} ct_result;

bool ct_result_get(const ct_result *r, ct_name name, double *out);

#endif
