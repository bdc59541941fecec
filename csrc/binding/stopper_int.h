/* stopper_int.h: what stopper.c and stopper_run.c share. */
#ifndef CT_BINDING_STOPPER_INT_H
#define CT_BINDING_STOPPER_INT_H

#include "state.h"

#include "policy/policy.h"
#include "stop/plateau.h"

typedef struct pyct_iterations {
    PyObject_HEAD
    long long max_iter;
    PyObject *seen; /* dict trial_id -> results so far */
} pyct_iterations;

typedef struct pyct_timeout {
    PyObject_HEAD
    double seconds;
    ct_stopper *budget; /* NULL until __init__ */
    bool told;          /* that the time is over */
} pyct_timeout;

/* FunctionStopper and CombinedStopper. */
typedef struct pyct_holder {
    PyObject_HEAD
    PyObject *held; /* the function, or a tuple of stoppers */
} pyct_holder;

typedef struct pyct_plateau {
    PyObject_HEAD
    ct_stopper *engine; /* NULL until __init__ */
    PyObject *options;  /* tuple of all arguments, the metric first */
    PyObject *numbers;  /* dict trial_id -> number */
} pyct_plateau;

/* trial_id and result of a call, by position or name. 0 or -1. */
int pyct_stopper_args(PyObject *args, PyObject *kwargs, PyObject **trial_id,
                      PyObject **result);
/* The object, unless its __init__ was never called: then NULL with RuntimeError. */
pyct_plateau *pyct_plateau_ready(PyObject *op);
/* A new condition of the same options, that has seen nothing; NULL with an exception. */
ct_stopper *pyct_plateau_fresh(PyObject *op);
/* Logs that the time is over, the first time only. Needs the GIL. 0 or -1. */
int pyct_timeout_tell(pyct_state *state, pyct_timeout *self);
/* 0, or -1 with RuntimeError when __init__ was never called. */
int pyct_timeout_ready(const pyct_timeout *self);
/* What the holder holds, borrowed; NULL with RuntimeError when there is nothing. */
PyObject *pyct_stopper_held(PyObject *op);
/* 0, or -1 with a ValueError that names `what` when an item is no Stopper. */
int pyct_stoppers_check(pyct_state *state, PyObject *tuple, const char *what);
/* 1 if an answer is true, 0 if not, -1 for NULL or an exception; takes the answer. */
int pyct_truth(PyObject *answer);

#endif
