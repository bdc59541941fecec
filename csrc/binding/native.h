/* native.h: what the schedulers in C have in common as Python objects.
 *
 * The objects work alone, with any objects as trials and controllers: a trial is whatever
 * has a `trial_id` (hashable), and is known by it, as in the documented interface. In a run
 * a native object lends its engine instead (pyct_scheduler_adapter). Both use one engine,
 * whose trials are numbers: those of a run start behind the numbers given out before, and
 * their text ids are remembered, so that the object answers for them afterwards.
 *
 * A scheduler is an engine and a kind: see scheduler_asha.c for the smallest one. */
#ifndef CT_BINDING_NATIVE_H
#define CT_BINDING_NATIVE_H

#include "rng.h"
#include "scheduler_int.h"

#include "policy/policy.h"

typedef struct pyct_native pyct_native;

/* The first three arguments of every constructor are time_attr, metric and mode. */
typedef struct pyct_native_kind {
    const char *name; /* of the class */
    Py_ssize_t args;  /* of the constructor, all positional */
    /* Makes the engine from the arguments, the first three of which are checked; its keys
     * are PYCT_TIME and PYCT_METRIC. -1 with an exception. */
    int (*make)(pyct_native *self, PyObject *const *args, bool maximize,
                ct_scheduler **out);
    void (*set_mode)(ct_scheduler *engine, bool maximize);
    uint64_t (*num_stopped)(const ct_scheduler *engine);
    /* Whether a trial was added; NULL: results of any trial are welcome. */
    bool (*knows)(const ct_scheduler *engine, ct_trial_id t);
    /* An answer that does not depend on the trial; NULL = there is none. */
    bool (*answers_anyone)(pyct_native *self, double time, ct_verdict *out);
    /* Writes into the result before it is judged; -1 with an exception. NULL = nothing. */
    int (*annotate)(pyct_native *self, ct_trial_id t, double time, PyObject *result);
    bool lenient;        /* results that lack a number are ignored */
    bool remembers;      /* it wants the objects of trials, as those that choose do */
    bool without_metric; /* metric and mode mean nothing to it */
    bool keeps_more;     /* a run's state is not all in the engine */
    bool takes_missing;  /* the engine itself says what such a result means */
    /* A trial was added and the engine knows it; in a run as well, then without the GIL. */
    ct_status (*on_add)(pyct_native *self, const ct_board *b, ct_trial_id t,
                        ct_orders *orders, ct_err *err);
    /* Whether it chooses trials itself, and asks for their status; NULL: never. */
    bool (*chooses)(const ct_scheduler *engine);
} pyct_native_kind;

/* The keys of an engine's results. */
enum { PYCT_TIME = 1, PYCT_METRIC = 2 };

/* A trial that was added in a run: its text becomes a key of `ids` when Python asks. */
typedef struct run_trial {
    char *id;
    ct_trial_id number;
} run_trial;

struct pyct_native {
    pyct_scheduler base; /* first */
    pyct_state *state;
    const pyct_native_kind *kind;
    ct_scheduler *engine; /* NULL until __init__ */
    PyObject *mode;       /* "min", "max" or None */
    PyObject *time_attr;
    PyObject *options;   /* tuple: what the constructor was given */
    PyObject *ids;       /* dict trial_id -> number */
    PyObject *trials;    /* list number -> object or None; used by kinds that choose */
    pyct_rng *rng;       /* numpy.random's global stream, for kinds that draw */
    ct_trial_id numbers; /* given out */
    run_trial *met;      /* in runs, not yet in ids */
    size_t met_count;
    size_t met_cap;
    uint8_t *ended; /* by number: last status of trials of past runs */
    size_t ended_count;
    size_t ended_cap;
    ct_trial_id witness;  /* the trial that was found last when one was looked for */
    bool met_all;         /* the controller of this call was asked for its trials */
    PyObject *controller; /* borrowed: of the call under way, or NULL */
    PyObject *driver;     /* borrowed: of the run that it is lent to, or NULL */
    ct_trial_id offset;   /* number of that run's trial 0 */
};

/* For kinds that add fields of their own. */
int pyct_native_traverse(PyObject *op, visitproc visit, void *arg);
int pyct_native_clear(PyObject *op);
void pyct_native_dealloc(PyObject *op);
/* Whether the question under way was asked by a call of a method, not by the engine of a
 * run that it is lent to. */
bool pyct_native_is_called(const pyct_native *self);

/* The run that a question belongs to. A Python scheduler that wraps or derives from this
 * one hands a run's controller on in its calls: orders go to that run then. */
typedef struct pyct_native_run {
    PyObject *driver; /* NULL: outside a run */
    const ct_board *board;
    ct_orders *orders;
    bool lent; /* orders are about this object's numbers, not yet the run's */
} pyct_native_run;

/* Of the question under way; -1 with RuntimeError when the run takes no orders now. */
int pyct_native_run_of(pyct_native *self, const ct_board *b, ct_orders *orders,
                       pyct_native_run *out);
/* The trial's number in that run. -1 with an exception. */
int pyct_native_run_number(pyct_native *self, const pyct_native_run *run, ct_trial_id t,
                           ct_trial_id *out);
/* The trial's object. New reference; NULL, perhaps without an exception, when there is
 * none. */
PyObject *pyct_native_trial(pyct_native *self, ct_trial_id t);
/* The run's controller, or that of the question under way. New reference or NULL. */
PyObject *pyct_native_controller(pyct_native *self);
/* The number of a trial that was added, without giving one: 1, 0 or -1. */
int pyct_native_number_of(pyct_native *self, PyObject *trial, ct_trial_id *out);
PyObject *pyct_native_on_trial_result(PyObject *op, PyObject *const *args,
                                      Py_ssize_t nargs);
PyObject *pyct_native_new(PyTypeObject *type, const pyct_native_kind *kind);
/* The object, unless its __init__ was never called: then NULL with RuntimeError. */
pyct_native *pyct_native_ready(PyObject *op);
/* Metric and mode must be known before the first trial: ValueError and -1 otherwise. */
int pyct_native_objective(pyct_native *self);
/* A number of an argument: TypeError names the argument. */
int pyct_native_number(PyObject *value, const char *name, double *out);
bool pyct_native_chooses(const pyct_native *self);
/* The next trial that the engine chooses, as methods of kinds that choose have it. */
PyObject *pyct_native_choose(PyObject *op, PyObject *const *args, Py_ssize_t nargs);
PyObject *pyct_native_error(PyObject *op, PyObject *const *args, Py_ssize_t nargs);
/* Getter of the option at position (intptr_t)closure. */
PyObject *pyct_native_option(PyObject *op, void *closure);
/* searcher.method(trial id) of the run's or the controller's search algorithm. */
ct_status pyct_native_tell_searcher(pyct_native *self, ct_trial_id t,
                                    const char *method, ct_err *err);

#endif
