/* scheduler_int.h: what the files about schedulers share. */
#ifndef CT_BINDING_SCHEDULER_INT_H
#define CT_BINDING_SCHEDULER_INT_H

#include "state.h"

#include "policy/policy.h"

typedef struct pyct_scheduler {
    PyObject_HEAD
    PyObject *metric; /* str or None; what subclasses know as _metric */
} pyct_scheduler;

/* TypeError and -1 unless as many positional arguments were given. */
int pyct_wants_args(const char *method, Py_ssize_t given, Py_ssize_t wanted);
/* metric and mode of set_search_properties(metric, mode, **spec); borrowed. */
int pyct_search_properties(pyct_state *state, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames, PyObject *out[2]);
PyObject *pyct_verdict_object(pyct_state *state, ct_verdict v);

/* FIFOScheduler.choose_trial_to_run. */
PyObject *pyct_fifo_choose(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

/* The parts of TrialScheduler that its subclasses in C build on. */
int pyct_scheduler_traverse(PyObject *op, visitproc visit, void *arg);
int pyct_scheduler_clear(PyObject *op);
PyObject *pyct_scheduler_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
int pyct_scheduler_set_metric(PyObject *op, PyObject *value, void *closure);
PyObject *pyct_scheduler_getstate(PyObject *op, PyObject *ignored);
PyObject *pyct_scheduler_setstate(PyObject *op, PyObject *saved);
/* Borrowed state[key]; ValueError when it is not there. */
PyObject *pyct_state_item(PyObject *dict, const char *key);

#endif
