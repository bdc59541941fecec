/* scheduler_int.h: what scheduler.c and scheduler_run.c share. */
#ifndef CT_BINDING_SCHEDULER_INT_H
#define CT_BINDING_SCHEDULER_INT_H

#include "rng.h"
#include "state.h"

#include "sched/asha.h"

typedef struct pyct_scheduler {
    PyObject_HEAD
    PyObject *metric; /* str or None; what subclasses know as _metric */
} pyct_scheduler;

/* A trial that was added in a run: its text becomes a key of `ids` when Python asks. */
typedef struct run_trial {
    char *id;
    ct_trial_id number;
} run_trial;

typedef struct pyct_asha {
    pyct_scheduler base; /* first */
    PyObject *mode;      /* "min", "max" or None */
    PyObject *time_attr;
    PyObject *ids; /* dict trial_id -> number */
    ct_asha *asha; /* NULL until __init__ */
    ct_asha_opts opts;
    pyct_rng *rng;       /* numpy.random's global stream */
    ct_trial_id numbers; /* given out */
    run_trial *met;      /* in runs, not yet in ids */
    size_t met_count;
    size_t met_cap;
} pyct_asha;

/* The object, unless its __init__ was never called: then NULL with RuntimeError. */
pyct_asha *pyct_asha_ready(PyObject *op);
/* Metric and mode must be known before the first trial: ValueError and -1 otherwise. */
int pyct_asha_objective(pyct_asha *self);
/* Adds a trial, which draws its bracket. Needs the GIL. A failed draw leaves its exception
 * and answers CT_EFOREIGN. */
ct_status pyct_asha_add_trial(pyct_asha *self, ct_trial_id t, ct_err *err);

#endif
