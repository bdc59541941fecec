/* scheduler.c: TrialScheduler, FIFOScheduler and AsyncHyperBandScheduler.
 *
 * The objects work alone, with any objects as trials and controllers: a trial is whatever
 * has a `trial_id` (hashable), and is known by it, as in the documented interface. In a run
 * a native object lends its engine instead (pyct_scheduler_adapter). Both use one engine,
 * whose trials are numbers: those of a run start behind the numbers given out before, and
 * their text ids are remembered, so that the object answers for them afterwards. */
#include "scheduler.h"

#include "convert.h"
#include "driver.h"
#include "errors.h"
#include "overrides.h"
#include "rng.h"
#include "types.h"

#include "base/mem.h"
#include "sched/asha.h"
#include "sched/fifo.h"

#include <math.h>
#include <structmember.h>

/* ---- what all three share ---- */

typedef struct pyct_scheduler {
    PyObject_HEAD
    PyObject *metric; /* str or None; what subclasses know as _metric */
} pyct_scheduler;

static int
wants_args(const char *method, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd positional arguments, got %zd",
                 method, wanted, given);
    return -1;
}

/* A borrowed reference to result[key]; NULL without exception when it is missing. For a
 * mapping that is not a dict, *owned takes a reference to drop. */
static PyObject *
result_item(PyObject *result, PyObject *key, PyObject **owned)
{
    *owned = NULL;
    if (PyDict_Check(result)) {
        return PyDict_GetItemWithError(result, key);
    }
    int found = PySequence_Contains(result, key);
    if (found <= 0) {
        return NULL;
    }
    *owned = PyObject_GetItem(result, key);
    return *owned;
}

static int
to_double(PyObject *value, double *out)
{
    *out = PyFloat_AsDouble(value);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* A number of a result; ints beyond a double become infinite, as comparisons with them
 * would have it. */
static int
result_double(PyObject *key, PyObject *value, double *out)
{
    if (to_double(value, out) == 0) {
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        PyObject *zero = PyLong_FromLong(0);
        int negative = zero == NULL ? -1 : PyObject_RichCompareBool(value, zero, Py_LT);
        Py_XDECREF(zero);
        *out = negative == 1 ? (double)-INFINITY : (double)INFINITY;
        return negative < 0 ? -1 : 0;
    }
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_TypeError, "result[%R] must be a number, got %R", key,
                     value);
    }
    return -1;
}

static PyObject *
verdict_object(pyct_state *state, ct_verdict v)
{
    switch (v) {
    case CT_CONTINUE:
        return Py_NewRef(state->str.CONTINUE);
    case CT_PAUSE:
        return Py_NewRef(state->str.PAUSE);
    case CT_STOP:
        return Py_NewRef(state->str.STOP);
    case CT_NOOP:
        return Py_NewRef(state->str.NOOP);
    }
    return Py_NewRef(state->str.CONTINUE);
}

/* ---- TrialScheduler ---- */

static int
base_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((pyct_scheduler *)op)->metric);
    return 0;
}

static int
base_clear(PyObject *op)
{
    Py_CLEAR(((pyct_scheduler *)op)->metric);
    return 0;
}

static void
base_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)base_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Subclasses need not call __init__, and give it whatever arguments they like. */
static PyObject *
base_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL) {
        ((pyct_scheduler *)op)->metric = Py_NewRef(Py_None);
    }
    return op;
}

static int
base_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    (void)op;
    if (PyTuple_GET_SIZE(args) > 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0)) {
        PyErr_Format(PyExc_TypeError, "%s() takes no arguments", Py_TYPE(op)->tp_name);
        return -1;
    }
    return 0;
}

static PyObject *
abstract(PyObject *op, const char *method)
{
    PyErr_Format(PyExc_NotImplementedError, "%s must implement %s()",
                 Py_TYPE(op)->tp_name, method);
    return NULL;
}

#define ABSTRACT(method)                                                               \
    static PyObject *base_##method(PyObject *op, PyObject *args)                       \
    {                                                                                  \
        (void)args;                                                                    \
        return abstract(op, #method);                                                  \
    }
ABSTRACT(on_trial_add)
ABSTRACT(on_trial_error)
ABSTRACT(on_trial_result)
ABSTRACT(on_trial_complete)
ABSTRACT(on_trial_remove)
ABSTRACT(choose_trial_to_run)
ABSTRACT(debug_string)
ABSTRACT(save)
ABSTRACT(restore)
#undef ABSTRACT

static PyObject *
base_get_metric(PyObject *op, void *closure)
{
    (void)closure;
    return PyObject_GetAttr(op, pyct_state_of(op)->str.own_metric);
}

static PyObject *
base_get_own_metric(PyObject *op, void *closure)
{
    (void)closure;
    PyObject *metric = ((pyct_scheduler *)op)->metric;
    return Py_NewRef(metric != NULL ? metric : Py_None);
}

static int
base_set_own_metric(PyObject *op, PyObject *value, void *closure)
{
    (void)closure;
    pyct_scheduler *self = (pyct_scheduler *)op;
    PyObject *old = self->metric;
    self->metric = Py_NewRef(value != NULL ? value : Py_None);
    Py_XDECREF(old);
    return 0;
}

static PyObject *
base_get_buffered(PyObject *op, void *closure)
{
    (void)closure;
    return PyObject_GetAttr(op, pyct_state_of(op)->str.own_supports_buffered_results);
}

/* metric and mode of set_search_properties(metric, mode, **spec); borrowed. */
static int
search_properties(pyct_state *state, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames, PyObject *out[2])
{
    if (nargs > 2) {
        return wants_args("set_search_properties", nargs, 2);
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        out[i] = args[i];
    }
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_Compare(name, state->str.metric) == 0) {
            out[0] = args[nargs + i];
        } else if (PyUnicode_Compare(name, state->str.mode) == 0) {
            out[1] = args[nargs + i];
        }
    }
    if (out[0] == NULL || out[1] == NULL) {
        PyErr_SetString(
            PyExc_TypeError,
            "set_search_properties() needs metric and mode; either may be None");
        return -1;
    }
    return 0;
}

/* Works on the attribute and not on the field: a subclass may set _metric in its class. */
static PyObject *
base_set_search_properties(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    pyct_state *state = pyct_state_of(op);
    PyObject *given[2] = {NULL, NULL};
    if (search_properties(state, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    PyObject *metric = PyObject_GetAttr(op, state->str.own_metric);
    int have = metric == NULL ? -1 : PyObject_IsTrue(metric);
    int want = have < 0 ? -1 : PyObject_IsTrue(given[0]);
    Py_XDECREF(metric);
    if (want < 0) {
        return NULL;
    }
    if (have && want) {
        Py_RETURN_FALSE;
    }
    PyObject *value = want ? given[0] : have ? NULL : state->str.anonymous_metric;
    if (value != NULL && PyObject_SetAttr(op, state->str.own_metric, value) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

/* {"metric", "attributes"}: pickling and copying go through it, also for subclasses. */
static PyObject *
base_getstate(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    PyObject *metric = ((pyct_scheduler *)op)->metric;
    PyObject *attributes = pyct_attributes(op);
    return attributes == NULL
               ? NULL
               : Py_BuildValue("{s:O,s:N}", "metric", metric != NULL ? metric : Py_None,
                               "attributes", attributes);
}

/* Borrowed state[key]; ValueError when it is not there. */
static PyObject *
state_item(PyObject *dict, const char *key)
{
    PyObject *value = PyDict_Check(dict) ? PyDict_GetItemString(dict, key) : NULL;
    if (value == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError,
                     "this is not the saved state of a scheduler: %s is missing", key);
    }
    return value;
}

static PyObject *
base_setstate(PyObject *op, PyObject *saved)
{
    PyObject *metric = state_item(saved, "metric");
    PyObject *attributes = metric != NULL ? state_item(saved, "attributes") : NULL;
    if (attributes == NULL) {
        return NULL;
    }
    (void)base_set_own_metric(op, metric, NULL);
    return pyct_set_attributes(op, attributes) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef base_methods[] = {
    {"set_search_properties", PYCT_METHOD(base_set_search_properties),
     METH_FASTCALL | METH_KEYWORDS,
     "set_search_properties($self, metric, mode, **spec)\n--\n\n"
     "Take over the metric and mode of a run; False if the metric was set before."},
    {"on_trial_add", base_on_trial_add, METH_VARARGS,
     "on_trial_add($self, tune_controller, trial, /)\n--\n\n"
     "A trial was added, or goes back to the queue after a failure."},
    {"on_trial_error", base_on_trial_error, METH_VARARGS,
     "on_trial_error($self, tune_controller, trial, /)\n--\n\n"
     "A trial failed; also called before it is tried again."},
    {"on_trial_result", base_on_trial_result, METH_VARARGS,
     "on_trial_result($self, tune_controller, trial, result, /)\n--\n\n"
     "Decide on a running trial from its flat result dict: CONTINUE, PAUSE, STOP or NOOP."},
    {"on_trial_complete", base_on_trial_complete, METH_VARARGS,
     "on_trial_complete($self, tune_controller, trial, result, /)\n--\n\n"
     "A running trial is being stopped; result is its last one."},
    {"on_trial_remove", base_on_trial_remove, METH_VARARGS,
     "on_trial_remove($self, tune_controller, trial, /)\n--\n\n"
     "A pending or paused trial is being stopped."},
    {"choose_trial_to_run", base_choose_trial_to_run, METH_VARARGS,
     "choose_trial_to_run($self, tune_controller, /)\n--\n\n"
     "The pending or paused trial to start next, or None. Asking must change nothing."},
    {"debug_string", base_debug_string, METH_VARARGS,
     "debug_string($self, /)\n--\n\nA line or more on the scheduler's state."},
    {"save", base_save, METH_VARARGS,
     "save($self, checkpoint_path, /)\n--\n\nWrite the state to a file."},
    {"restore", base_restore, METH_VARARGS,
     "restore($self, checkpoint_path, /)\n--\n\nRead the state back from a file."},
    {"__getstate__", base_getstate, METH_NOARGS, NULL},
    {"__setstate__", base_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef base_getset[] = {
    {"metric", base_get_metric, NULL, "The result key that decides, or None.", NULL},
    {"_metric", base_get_own_metric, base_set_own_metric, NULL, NULL},
    {"supports_buffered_results", base_get_buffered, NULL,
     "Whether results may arrive several at once.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot base_slots[] = {
    {Py_tp_new, PYCT_SLOT(base_new)},
    {Py_tp_init, PYCT_SLOT(base_init)},
    {Py_tp_dealloc, PYCT_SLOT(base_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(base_traverse)},
    {Py_tp_clear, PYCT_SLOT(base_clear)},
    {Py_tp_methods, base_methods},
    {Py_tp_getset, base_getset},
    {Py_tp_doc, "The interface of schedulers: the base of ctune.schedulers."},
    {0, NULL},
};

static PyType_Spec base_spec = {
    .name = "ctune._ctune.TrialScheduler",
    .basicsize = sizeof(pyct_scheduler),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = base_slots,
};

/* ---- FIFOScheduler ---- */

#define FIFO_NOTICE(method, n)                                                         \
    static PyObject *fifo_##method(PyObject *op, PyObject *const *args,                \
                                   Py_ssize_t given)                                   \
    {                                                                                  \
        (void)op;                                                                      \
        (void)args;                                                                    \
        return wants_args(#method, given, n) < 0 ? NULL : Py_NewRef(Py_None);          \
    }
FIFO_NOTICE(on_trial_add, 2)
FIFO_NOTICE(on_trial_error, 2)
FIFO_NOTICE(on_trial_complete, 3)
FIFO_NOTICE(on_trial_remove, 2)
#undef FIFO_NOTICE

static PyObject *
fifo_on_trial_result(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args;
    if (wants_args("on_trial_result", nargs, 3) < 0) {
        return NULL;
    }
    return Py_NewRef(pyct_state_of(op)->str.CONTINUE);
}

/* The first trial of that status: 1 and *found (new), 0, or -1 with an exception. */
static int
first_with_status(pyct_state *state, PyObject *trials, PyObject *wanted,
                  PyObject **found)
{
    PyObject *items = PyObject_GetIter(trials);
    PyObject *trial;
    int hit = items == NULL ? -1 : 0;
    while (hit == 0 && (trial = PyIter_Next(items)) != NULL) {
        PyObject *status = PyObject_GetAttr(trial, state->str.status);
        hit = status == NULL ? -1 : PyObject_RichCompareBool(status, wanted, Py_EQ);
        Py_XDECREF(status);
        if (hit == 1) {
            *found = trial;
        } else {
            Py_DECREF(trial);
        }
    }
    Py_XDECREF(items);
    return hit == 0 && PyErr_Occurred() ? -1 : hit;
}

static PyObject *
fifo_choose_trial_to_run(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_state *state = pyct_state_of(op);
    PyObject *found = NULL;
    if (wants_args("choose_trial_to_run", nargs, 1) < 0) {
        return NULL;
    }
    PyObject *trials = PyObject_CallMethodNoArgs(args[0], state->str.get_trials);
    if (trials == NULL) {
        return NULL;
    }
    int hit = first_with_status(state, trials, state->str.PENDING, &found);
    if (hit == 0) {
        hit = first_with_status(state, trials, state->str.PAUSED, &found);
    }
    Py_DECREF(trials);
    return hit < 0 ? NULL : hit == 1 ? found : Py_NewRef(Py_None);
}

static PyObject *
fifo_debug_string(PyObject *op, PyObject *ignored)
{
    (void)op;
    (void)ignored;
    return PyUnicode_FromString("Using FIFO scheduling algorithm.");
}

static PyMethodDef fifo_methods[] = {
    {"on_trial_add", PYCT_METHOD(fifo_on_trial_add), METH_FASTCALL,
     "on_trial_add($self, tune_controller, trial, /)\n--\n\n"},
    {"on_trial_error", PYCT_METHOD(fifo_on_trial_error), METH_FASTCALL,
     "on_trial_error($self, tune_controller, trial, /)\n--\n\n"},
    {"on_trial_result", PYCT_METHOD(fifo_on_trial_result), METH_FASTCALL,
     "on_trial_result($self, tune_controller, trial, result, /)\n--\n\nCONTINUE."},
    {"on_trial_complete", PYCT_METHOD(fifo_on_trial_complete), METH_FASTCALL,
     "on_trial_complete($self, tune_controller, trial, result, /)\n--\n\n"},
    {"on_trial_remove", PYCT_METHOD(fifo_on_trial_remove), METH_FASTCALL,
     "on_trial_remove($self, tune_controller, trial, /)\n--\n\n"},
    {"choose_trial_to_run", PYCT_METHOD(fifo_choose_trial_to_run), METH_FASTCALL,
     "choose_trial_to_run($self, tune_controller, /)\n--\n\n"
     "The first pending trial of get_trials(), else the first paused one, else None."},
    {"debug_string", fifo_debug_string, METH_NOARGS, "debug_string($self, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot fifo_slots[] = {
    {Py_tp_methods, fifo_methods},
    {Py_tp_traverse, PYCT_SLOT(base_traverse)},
    {Py_tp_clear, PYCT_SLOT(base_clear)},
    {Py_tp_doc, "First in, first out: the base of ctune.schedulers.FIFOScheduler."},
    {0, NULL},
};

static PyType_Spec fifo_spec = {
    .name = "ctune._ctune.FIFOScheduler",
    .basicsize = sizeof(pyct_scheduler),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = fifo_slots,
};

/* ---- AsyncHyperBandScheduler ---- */

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

static void
engine_free(pyct_asha *self)
{
    if (self->asha != NULL) {
        ct_scheduler *s = ct_asha_scheduler(self->asha);
        s->ops->free(s);
        self->asha = NULL;
    }
    for (size_t i = 0; i < self->met_count; i++) {
        ct_free(self->met[i].id);
    }
    ct_free(self->met);
    self->met = NULL;
    self->met_count = 0;
    self->met_cap = 0;
}

static int
asha_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_asha *self = (pyct_asha *)op;
    Py_VISIT(self->mode);
    Py_VISIT(self->time_attr);
    Py_VISIT(self->ids);
    int st = pyct_rng_visit(self->rng, visit, arg);
    return st != 0 ? st : base_traverse(op, visit, arg);
}

static int
asha_clear(PyObject *op)
{
    pyct_asha *self = (pyct_asha *)op;
    Py_CLEAR(self->mode);
    Py_CLEAR(self->time_attr);
    Py_CLEAR(self->ids);
    return base_clear(op);
}

static void
asha_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)asha_clear(op);
    engine_free((pyct_asha *)op);
    pyct_rng_free(((pyct_asha *)op)->rng);
    type->tp_free(op);
    Py_DECREF(type);
}

/* 1 for max, 0 for min, 2 for none given; -1 with an exception. */
static int
mode_check(PyObject *mode)
{
    if (mode == NULL || mode == Py_None) {
        return 2;
    }
    if (PyUnicode_Check(mode)) {
        if (PyUnicode_CompareWithASCIIString(mode, "max") == 0) {
            return 1;
        }
        if (PyUnicode_CompareWithASCIIString(mode, "min") == 0) {
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "mode must be \"min\" or \"max\", got %R", mode);
    return -1;
}

static int
metric_check(PyObject *metric)
{
    if (metric != Py_None && !PyUnicode_Check(metric)) {
        PyErr_Format(PyExc_TypeError, "metric must be a str (a result key), got %R",
                     metric);
        return -1;
    }
    return 0;
}

static int
number_arg(PyObject *value, const char *name, double *out)
{
    if (to_double(value, out) == 0) {
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_TypeError, "%s must be a number, got %R", name, value);
    }
    return -1;
}

static int
brackets_arg(PyObject *value, int64_t *out)
{
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        PyErr_Format(PyExc_TypeError, "brackets must be an int, got %R", value);
        return -1;
    }
    int overflow = 0;
    *out = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (overflow != 0) {
        *out = overflow > 0 ? INT64_MAX : INT64_MIN; /* the engine names the range */
    }
    return 0;
}

/* v: time_attr, metric, mode, max_t, grace_period, reduction_factor, brackets,
 * stop_last_trials. Builds a new engine; on failure the object is as before. */
enum { ASHA_ARGS = 8 };
static int
asha_setup(pyct_asha *self, PyObject *const *v)
{
    pyct_state *state = pyct_state_of((PyObject *)self);
    ct_asha_opts o = {.time_attr = CT_NAME_NONE, .metric = CT_NAME_NONE};
    ct_err err = CT_ERR_INIT;
    ct_asha *fresh = NULL;
    int mode = mode_check(v[2]);
    if (!PyUnicode_Check(v[0])) {
        PyErr_Format(PyExc_TypeError, "time_attr must be a str (a result key), got %R",
                     v[0]);
        return -1;
    }
    if (mode < 0 || metric_check(v[1]) < 0 || number_arg(v[3], "max_t", &o.max_t) < 0 ||
        number_arg(v[4], "grace_period", &o.grace_period) < 0 ||
        number_arg(v[5], "reduction_factor", &o.reduction_factor) < 0 ||
        brackets_arg(v[6], &o.brackets) < 0) {
        return -1;
    }
    int stop_last = PyObject_IsTrue(v[7]);
    PyObject *ids = stop_last < 0 ? NULL : PyDict_New();
    if (ids == NULL) {
        return -1;
    }
    o.stop_last_trials = stop_last;
    o.maximize = mode == 1;
    if (self->rng == NULL && pyct_rng_new(state, Py_None, &self->rng) < 0) {
        Py_DECREF(ids);
        return -1;
    }
    o.rng = pyct_rng_source(self->rng);
    if (ct_asha_new(&fresh, &o, &err) != CT_OK) {
        Py_DECREF(ids);
        (void)pyct_raise(state, &err);
        return -1;
    }
    engine_free(self);
    self->asha = fresh;
    self->opts = o;
    self->numbers = 0;
    Py_XSETREF(self->ids, ids);
    Py_XSETREF(self->time_attr, Py_NewRef(v[0]));
    Py_XSETREF(self->base.metric, Py_NewRef(v[1]));
    Py_XSETREF(self->mode, Py_NewRef(v[2]));
    return 0;
}

static int
asha_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) ||
        PyTuple_GET_SIZE(args) != ASHA_ARGS) {
        PyErr_Format(PyExc_TypeError,
                     "_ctune.AsyncHyperBandScheduler() takes %d positional arguments",
                     (int)ASHA_ARGS);
        return -1;
    }
    return asha_setup((pyct_asha *)op, ((PyTupleObject *)args)->ob_item);
}

static pyct_asha *
asha_ready(PyObject *op)
{
    pyct_asha *self = (pyct_asha *)op;
    if (self->asha != NULL) {
        return self;
    }
    PyErr_Format(
        PyExc_RuntimeError,
        "%s.__init__() did not call super().__init__(), so there is no scheduler",
        Py_TYPE(op)->tp_name);
    return NULL;
}

/* Metric and mode must be known before the first trial. */
static int
objective_check(pyct_asha *self)
{
    int metric = self->base.metric != NULL ? PyObject_IsTrue(self->base.metric) : 0;
    if (metric < 0) {
        return -1;
    }
    if (metric == 0 || self->mode == NULL || self->mode == Py_None) {
        PyErr_Format(
            PyExc_ValueError,
            "%s has no metric (%R) or no mode (%R); give both to the scheduler or "
            "to run()",
            Py_TYPE((PyObject *)self)->tp_name,
            self->base.metric != NULL ? self->base.metric : Py_None,
            self->mode != NULL ? self->mode : Py_None);
        return -1;
    }
    return 0;
}

/* Puts the trials met in runs into ids. A later run's trial takes over an equal id. */
static int
ids_sync(pyct_asha *self)
{
    while (self->met_count > 0) {
        run_trial *last = &self->met[self->met_count - 1];
        PyObject *number = PyLong_FromUnsignedLong(last->number);
        int st =
            number == NULL ? -1 : PyDict_SetItemString(self->ids, last->id, number);
        Py_XDECREF(number);
        if (st < 0) {
            return -1;
        }
        ct_free(last->id);
        self->met_count--;
    }
    return 0;
}

/* Adds a trial, which draws its bracket. A failed draw leaves its exception. */
static ct_status
engine_add(pyct_asha *self, ct_trial_id t, ct_err *err)
{
    ct_status st = ct_asha_add(self->asha, t, err);
    return st == CT_OK && PyErr_Occurred() ? pyct_foreign(err) : st;
}

/* 1 and the number behind trial.trial_id, 0 when there is none yet (*key is new in both
 * cases), -1 with an exception. */
static int
number_of(pyct_state *state, pyct_asha *self, PyObject *trial, PyObject **key,
          ct_trial_id *out)
{
    if (self->met_count > 0 && ids_sync(self) < 0) {
        return -1;
    }
    *key = PyObject_GetAttr(trial, state->str.trial_id);
    if (*key == NULL) {
        return -1;
    }
    PyObject *number = PyDict_GetItemWithError(self->ids, *key);
    if (number != NULL) {
        *out = (ct_trial_id)PyLong_AsUnsignedLong(number);
        return 1;
    }
    if (PyErr_Occurred()) {
        Py_CLEAR(*key);
        return -1;
    }
    return 0;
}

/* The number of a trial that was added; KeyError with its id otherwise. */
static int
known_number(pyct_state *state, pyct_asha *self, PyObject *trial, ct_trial_id *out)
{
    PyObject *key = NULL;
    int found = number_of(state, self, trial, &key, out);
    if (found >= 0 && (found == 0 || !ct_asha_knows(self->asha, *out))) {
        PyErr_SetObject(PyExc_KeyError, key);
        found = -1;
    }
    Py_XDECREF(key);
    return found < 0 ? -1 : 0;
}

/* 1 and both numbers of a result, 0 when one is missing, -1 with an exception. */
static int
result_numbers(pyct_asha *self, PyObject *result, double *time, double *value)
{
    PyObject *own_time = NULL;
    PyObject *own_value = NULL;
    PyObject *t = result_item(result, self->time_attr, &own_time);
    PyObject *v = t != NULL ? result_item(result, self->base.metric, &own_value) : NULL;
    int st = 0;
    if (v != NULL) {
        st = result_double(self->time_attr, t, time) < 0 ||
                     result_double(self->base.metric, v, value) < 0
                 ? -1
                 : 1;
    } else if (PyErr_Occurred()) {
        st = -1;
    }
    Py_XDECREF(own_time);
    Py_XDECREF(own_value);
    return st;
}

static PyObject *
asha_on_trial_add(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_asha *self = asha_ready(op);
    pyct_state *state = pyct_state_of(op);
    ct_err err = CT_ERR_INIT;
    PyObject *key = NULL;
    ct_trial_id t = 0;
    if (self == NULL || wants_args("on_trial_add", nargs, 2) < 0 ||
        objective_check(self) < 0) {
        return NULL;
    }
    int found = number_of(state, self, args[1], &key, &t);
    if (found < 0) {
        return NULL;
    }
    int st = 0;
    if (found == 0) {
        t = self->numbers;
        PyObject *number = PyLong_FromUnsignedLong(t);
        st = number == NULL ? -1 : PyDict_SetItem(self->ids, key, number);
        Py_XDECREF(number);
        self->numbers += st == 0 ? 1 : 0;
    }
    Py_DECREF(key);
    if (st < 0) {
        return NULL;
    }
    return engine_add(self, t, &err) == CT_OK ? Py_NewRef(Py_None)
                                              : pyct_raise(state, &err);
}

static PyObject *
asha_on_trial_result(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_asha *self = asha_ready(op);
    pyct_state *state = pyct_state_of(op);
    ct_err err = CT_ERR_INIT;
    ct_verdict v = CT_CONTINUE;
    ct_trial_id t = CT_TRIAL_NONE;
    double time;
    double value;
    if (self == NULL || wants_args("on_trial_result", nargs, 3) < 0) {
        return NULL;
    }
    int complete = result_numbers(self, args[2], &time, &value);
    if (complete <= 0) {
        return complete < 0 ? NULL : Py_NewRef(state->str.CONTINUE);
    }
    /* At max_t nobody asks who it is. */
    bool over = time >= self->opts.max_t && self->opts.stop_last_trials;
    if (!over && known_number(state, self, args[1], &t) < 0) {
        return NULL;
    }
    return ct_asha_result(self->asha, t, time, value, &v, &err) == CT_OK
               ? verdict_object(state, v)
               : pyct_raise(state, &err);
}

static PyObject *
asha_on_trial_complete(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_asha *self = asha_ready(op);
    pyct_state *state = pyct_state_of(op);
    ct_err err = CT_ERR_INIT;
    ct_trial_id t = 0;
    double time;
    double value;
    if (self == NULL || wants_args("on_trial_complete", nargs, 3) < 0) {
        return NULL;
    }
    int complete = result_numbers(self, args[2], &time, &value);
    if (complete <= 0) {
        return complete < 0 ? NULL : Py_NewRef(Py_None);
    }
    if (known_number(state, self, args[1], &t) < 0) {
        return NULL;
    }
    return ct_asha_complete(self->asha, t, time, value, &err) == CT_OK
               ? Py_NewRef(Py_None)
               : pyct_raise(state, &err);
}

static PyObject *
asha_on_trial_remove(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_asha *self = asha_ready(op);
    ct_trial_id t = 0;
    if (self == NULL || wants_args("on_trial_remove", nargs, 2) < 0 ||
        known_number(pyct_state_of(op), self, args[1], &t) < 0) {
        return NULL;
    }
    ct_asha_remove(self->asha, t);
    return Py_NewRef(Py_None);
}

static PyObject *
asha_debug_string(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_asha *self = asha_ready(op);
    ct_err err = CT_ERR_INIT;
    ct_buf text = CT_BUF_INIT;
    if (self == NULL) {
        return NULL;
    }
    PyObject *out =
        ct_asha_describe(self->asha, &text, &err) == CT_OK
            ? PyUnicode_FromStringAndSize((const char *)text.data, (Py_ssize_t)text.len)
            : pyct_raise(pyct_state_of(op), &err);
    ct_buf_deinit(&text);
    return out;
}

static int
asha_set_mode(PyObject *op, PyObject *value, void *closure)
{
    (void)closure;
    pyct_asha *self = asha_ready(op);
    int mode = self == NULL ? -1 : mode_check(value);
    if (mode < 0) {
        return -1;
    }
    self->opts.maximize = mode == 1;
    ct_asha_set_objective(self->asha, CT_NAME_NONE, mode == 1);
    Py_XSETREF(self->mode, Py_NewRef(value != NULL ? value : Py_None));
    return 0;
}

/* False when metric or mode is given a second time. */
static PyObject *
asha_set_search_properties(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    pyct_asha *self = asha_ready(op);
    pyct_state *state = pyct_state_of(op);
    PyObject *given[2] = {NULL, NULL};
    if (self == NULL || search_properties(state, args, nargs, kwnames, given) < 0 ||
        metric_check(given[0]) < 0 || mode_check(given[1]) < 0) {
        return NULL;
    }
    bool have_metric = self->base.metric != NULL && self->base.metric != Py_None;
    bool have_mode = self->mode != NULL && self->mode != Py_None;
    if ((have_metric && given[0] != Py_None) || (have_mode && given[1] != Py_None)) {
        Py_RETURN_FALSE;
    }
    if (given[0] != Py_None) {
        (void)base_set_own_metric(op, given[0], NULL);
        have_metric = true;
    }
    if (given[1] != Py_None) {
        if (asha_set_mode(op, given[1], NULL) < 0) {
            return NULL;
        }
        have_mode = true;
    }
    if (!have_metric && have_mode) {
        (void)base_set_own_metric(op, state->str.anonymous_metric, NULL);
    }
    Py_RETURN_TRUE;
}

/* ---- its state ---- */

static PyObject *
engine_save(pyct_state *state, pyct_asha *self)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    PyObject *out = NULL;
    pyct_names *names = pyct_names_new(state);
    if (names == NULL) {
        return NULL;
    }
    if (ct_asha_save(self->asha, pyct_names_table(names), &v, &err) == CT_OK) {
        out = pyct_value_to_object(state, names, &v);
    } else {
        (void)pyct_raise(state, &err);
    }
    ct_value_deinit(&v);
    pyct_names_free(names);
    return out;
}

static int
engine_restore(pyct_state *state, pyct_asha *self, PyObject *saved)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    pyct_names *names = pyct_names_new(state);
    if (names == NULL) {
        return -1;
    }
    int st = pyct_value_from_object(state, names, saved, &v);
    if (st == 0 &&
        ct_asha_restore(self->asha, pyct_names_table(names), &v, &err) != CT_OK) {
        (void)pyct_raise(state, &err);
        st = -1;
    }
    ct_value_deinit(&v);
    pyct_names_free(names);
    return st;
}

static PyObject *
asha_getstate(PyObject *op, PyObject *ignored)
{
    pyct_asha *self = asha_ready(op);
    if (self == NULL || ids_sync(self) < 0) {
        return NULL;
    }
    PyObject *out = base_getstate(op, ignored);
    PyObject *engine = out != NULL ? engine_save(pyct_state_of(op), self) : NULL;
    PyObject *ids = engine != NULL ? PyDict_Copy(self->ids) : NULL;
    const ct_asha_opts *o = &self->opts;
    PyObject *options =
        ids == NULL ? NULL
                    : Py_BuildValue("(OOOdddLO)", self->time_attr, self->base.metric,
                                    self->mode, o->max_t, o->grace_period,
                                    o->reduction_factor, (long long)o->brackets,
                                    o->stop_last_trials ? Py_True : Py_False);
    PyObject *numbers = options != NULL ? PyLong_FromUnsignedLong(self->numbers) : NULL;
    if (numbers == NULL || PyDict_SetItemString(out, "options", options) < 0 ||
        PyDict_SetItemString(out, "trials", ids) < 0 ||
        PyDict_SetItemString(out, "numbers", numbers) < 0 ||
        PyDict_SetItemString(out, "engine", engine) < 0) {
        Py_CLEAR(out);
    }
    Py_XDECREF(engine);
    Py_XDECREF(ids);
    Py_XDECREF(options);
    Py_XDECREF(numbers);
    return out;
}

/* Numbers in ids must lie below the count: they index the engine's arrays. */
static int
ids_check(PyObject *ids, unsigned long numbers)
{
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(ids, &at, &key, &value)) {
        unsigned long n = PyLong_Check(value) ? PyLong_AsUnsignedLong(value) : numbers;
        if (n >= numbers) {
            PyErr_Clear();
            PyErr_SetString(PyExc_ValueError,
                            "this is not the saved state of a scheduler: trials");
            return -1;
        }
    }
    return 0;
}

static PyObject *
asha_setstate(PyObject *op, PyObject *saved)
{
    pyct_asha *self = (pyct_asha *)op;
    PyObject *options = state_item(saved, "options");
    PyObject *ids = options != NULL ? state_item(saved, "trials") : NULL;
    PyObject *numbers = ids != NULL ? state_item(saved, "numbers") : NULL;
    PyObject *engine = numbers != NULL ? state_item(saved, "engine") : NULL;
    if (engine == NULL) {
        return NULL;
    }
    if (!PyTuple_Check(options) || PyTuple_GET_SIZE(options) != ASHA_ARGS ||
        !PyDict_Check(ids) || !PyLong_Check(numbers)) {
        PyErr_SetString(PyExc_ValueError, "this is not the saved state of a scheduler");
        return NULL;
    }
    unsigned long count = PyLong_AsUnsignedLong(numbers);
    if (PyErr_Occurred() || ids_check(ids, count) < 0) {
        return NULL;
    }
    PyObject *copy = PyDict_Copy(ids);
    if (copy == NULL || asha_setup(self, ((PyTupleObject *)options)->ob_item) < 0 ||
        engine_restore(pyct_state_of(op), self, engine) < 0) {
        Py_XDECREF(copy);
        return NULL;
    }
    Py_XSETREF(self->ids, copy);
    self->numbers = (ct_trial_id)count;
    return base_setstate(op, saved);
}

static PyObject *
asha_get_num_stopped(PyObject *op, void *closure)
{
    (void)closure;
    pyct_asha *self = asha_ready(op);
    return self == NULL ? NULL
                        : PyLong_FromUnsignedLongLong(ct_asha_num_stopped(self->asha));
}

static PyObject *
asha_get_mode(PyObject *op, void *closure)
{
    (void)closure;
    PyObject *mode = ((pyct_asha *)op)->mode;
    return Py_NewRef(mode != NULL ? mode : Py_None);
}

static PyMethodDef asha_methods[] = {
    {"set_search_properties", PYCT_METHOD(asha_set_search_properties),
     METH_FASTCALL | METH_KEYWORDS,
     "set_search_properties($self, metric, mode, **spec)\n--\n\n"
     "Take over the metric and mode of a run; False if one of them was set before."},
    {"on_trial_add", PYCT_METHOD(asha_on_trial_add), METH_FASTCALL,
     "on_trial_add($self, tune_controller, trial, /)\n--\n\n"
     "Draws the trial's bracket: one number of numpy.random's global stream."},
    {"on_trial_result", PYCT_METHOD(asha_on_trial_result), METH_FASTCALL,
     "on_trial_result($self, tune_controller, trial, result, /)\n--\n\nCONTINUE or STOP."},
    {"on_trial_complete", PYCT_METHOD(asha_on_trial_complete), METH_FASTCALL,
     "on_trial_complete($self, tune_controller, trial, result, /)\n--\n\n"
     "Records the last result and forgets the trial."},
    {"on_trial_remove", PYCT_METHOD(asha_on_trial_remove), METH_FASTCALL,
     "on_trial_remove($self, tune_controller, trial, /)\n--\n\nForgets the trial."},
    {"debug_string", asha_debug_string, METH_NOARGS, "debug_string($self, /)\n--\n\n"},
    {"__getstate__", asha_getstate, METH_NOARGS, NULL},
    {"__setstate__", asha_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef asha_getset[] = {
    {"num_stopped", asha_get_num_stopped, NULL, "How many times it said STOP.", NULL},
    {"_num_stopped", asha_get_num_stopped, NULL, NULL, NULL},
    {"_mode", asha_get_mode, asha_set_mode, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef asha_members[] = {
    {"_time_attr", T_OBJECT, offsetof(pyct_asha, time_attr), READONLY, NULL},
    {"_max_t", T_DOUBLE, offsetof(pyct_asha, opts.max_t), READONLY, NULL},
    {"_reduction_factor", T_DOUBLE, offsetof(pyct_asha, opts.reduction_factor),
     READONLY, NULL},
    {"_stop_last_trials", T_BOOL, offsetof(pyct_asha, opts.stop_last_trials), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot asha_slots[] = {
    {Py_tp_init, PYCT_SLOT(asha_init)},
    {Py_tp_dealloc, PYCT_SLOT(asha_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(asha_traverse)},
    {Py_tp_clear, PYCT_SLOT(asha_clear)},
    {Py_tp_methods, asha_methods},
    {Py_tp_getset, asha_getset},
    {Py_tp_members, asha_members},
    {Py_tp_doc, "ASHA: the base of ctune.schedulers.AsyncHyperBandScheduler."},
    {0, NULL},
};

static PyType_Spec asha_spec = {
    .name = "ctune._ctune.AsyncHyperBandScheduler",
    .basicsize = sizeof(pyct_asha),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = asha_slots,
};

/* ---- a native ASHA in a run ---- */

typedef struct lent_asha {
    ct_scheduler scheduler; /* first */
    pyct_asha *owner;       /* strong */
    ct_name time_attr;      /* in the run's table */
    ct_name metric;
    ct_trial_id offset; /* number of the run's trial 0 */
} lent_asha;

static bool
lent_numbers(const lent_asha *self, const ct_result *r, double *time, double *value)
{
    return r != NULL && ct_result_get(r, self->time_attr, time) &&
           ct_result_get(r, self->metric, value);
}

/* Remembers the text id for later questions from Python. */
static ct_status
lent_meet(lent_asha *self, const char *id, ct_trial_id number, ct_err *err)
{
    pyct_asha *owner = self->owner;
    ct_status st = ct_grow((void **)&owner->met, &owner->met_cap, owner->met_count + 1,
                           sizeof *owner->met, err);
    char *copy = st == CT_OK ? ct_strndup(id, strlen(id)) : NULL;
    if (copy == NULL) {
        return st != CT_OK ? st : ct_fail_mem(err);
    }
    owner->met[owner->met_count++] = (run_trial){copy, number};
    return CT_OK;
}

/* The draw needs the GIL; native turns may run without it. */
static ct_status
lent_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_err *err)
{
    lent_asha *self = (lent_asha *)s;
    ct_trial_id number = self->offset + t;
    PyGILState_STATE gil = PyGILState_Ensure();
    ct_status st = CT_OK;
    if (number >= self->owner->numbers) { /* not a retry */
        st = lent_meet(self, ct_trials_get(b->trials, t)->id, number, err);
        self->owner->numbers = st == CT_OK ? number + 1 : self->owner->numbers;
    }
    if (st == CT_OK) {
        st = engine_add(self->owner, number, err);
    }
    PyGILState_Release(gil);
    return st;
}

static ct_status
lent_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
               ct_verdict *out, ct_orders *orders, ct_err *err)
{
    (void)b;
    (void)orders;
    lent_asha *self = (lent_asha *)s;
    double time;
    double value;
    *out = CT_CONTINUE;
    return lent_numbers(self, r, &time, &value)
               ? ct_asha_result(self->owner->asha, self->offset + t, time, value, out,
                                err)
               : CT_OK;
}

static ct_status
lent_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                 ct_orders *orders, ct_err *err)
{
    (void)b;
    (void)orders;
    lent_asha *self = (lent_asha *)s;
    double time;
    double value;
    return lent_numbers(self, r, &time, &value)
               ? ct_asha_complete(self->owner->asha, self->offset + t, time, value, err)
               : CT_OK;
}

static ct_status
lent_on_error(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
              ct_err *err)
{
    (void)s;
    (void)b;
    (void)t;
    (void)orders;
    (void)err;
    return CT_OK;
}

static ct_status
lent_on_remove(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
               ct_err *err)
{
    (void)b;
    (void)orders;
    (void)err;
    lent_asha *self = (lent_asha *)s;
    ct_asha_remove(self->owner->asha, self->offset + t);
    return CT_OK;
}

static ct_status
native_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
              ct_err *err)
{
    (void)s;
    (void)orders;
    (void)err;
    *out = ct_fifo_choose(b);
    return CT_OK;
}

/* [offset, engine]: the numbers of the run's trials stay what they were. */
static ct_status
lent_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    lent_asha *self = (lent_asha *)s;
    ct_value list = ct_list();
    ct_value offset = ct_i64((int64_t)self->offset);
    ct_value engine = ct_nil();
    ct_status st = ct_asha_save(self->owner->asha, names, &engine, err);
    if (st == CT_OK) {
        st = ct_value_push(&list, &offset, err);
    }
    if (st == CT_OK) {
        st = ct_value_push(&list, &engine, err);
    }
    if (st == CT_OK) {
        *out = list;
        list = ct_nil();
    }
    ct_value_deinit(&engine);
    ct_value_deinit(&list);
    return st;
}

static ct_status
lent_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    lent_asha *self = (lent_asha *)s;
    if (v->kind != CT_LIST || v->len != 2 || v->u.items[0].kind != CT_I64 ||
        v->u.items[0].u.i < 0 || v->u.items[0].u.i >= (int64_t)CT_TRIAL_NONE) {
        return ct_fail(err, CT_ECORRUPT, "scheduler",
                       "the saved state is not one of AsyncHyperBandScheduler");
    }
    ct_status st = ct_asha_restore(self->owner->asha, names, &v->u.items[1], err);
    if (st == CT_OK) {
        self->offset = (ct_trial_id)v->u.items[0].u.i;
    }
    return st;
}

static ct_status
lent_describe(ct_scheduler *s, ct_buf *out, ct_err *err)
{
    return ct_asha_describe(((lent_asha *)s)->owner->asha, out, err);
}

static void
lent_free(ct_scheduler *s)
{
    Py_DECREF((PyObject *)((lent_asha *)s)->owner);
    ct_free(s);
}

static const ct_scheduler_ops LENT_OPS = {
    .name = "async_hyperband",
    .foreign = false,
    .supports_buffering = true,
    .on_add = lent_on_add,
    .on_result = lent_on_result,
    .on_complete = lent_on_complete,
    .on_error = lent_on_error,
    .on_remove = lent_on_remove,
    .choose = native_choose,
    .save = lent_save,
    .restore = lent_restore,
    .describe = lent_describe,
    .free = lent_free,
};

static ct_scheduler *
lend_asha(PyObject *scheduler, PyObject *driver, ct_err *err)
{
    pyct_asha *owner = asha_ready(scheduler);
    pyct_names *names = pyct_driver_names(driver);
    ct_name time_attr;
    ct_name metric;
    if (owner == NULL || objective_check(owner) < 0 ||
        pyct_name_of(names, owner->time_attr, &time_attr) < 0 ||
        pyct_name_of(names, owner->base.metric, &metric) < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    lent_asha *self = ct_alloc(sizeof *self);
    if (self == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    *self = (lent_asha){{&LENT_OPS},
                        (pyct_asha *)Py_NewRef(scheduler),
                        time_attr,
                        metric,
                        owner->numbers};
    return &self->scheduler;
}

/* ---- a Python scheduler in a run ---- */

/* What an adapter may answer without Python. */
typedef enum method_kind {
    METHOD_ADD,
    METHOD_RESULT,
    METHOD_COMPLETE,
    METHOD_ERROR,
    METHOD_REMOVE,
    METHOD_CHOOSE,
    METHOD_COUNT
} method_kind;

typedef struct foreign_scheduler {
    ct_scheduler scheduler; /* first */
    ct_scheduler_ops ops;   /* own copy: buffering is a property of the object */
    pyct_state *state;
    PyObject *object;        /* strong */
    PyObject *driver;        /* borrowed: it owns the adapter */
    PyObject *controller;    /* strong; NULL until needed */
    bool skip[METHOD_COUNT]; /* FIFO's own: there is nothing to call */
} foreign_scheduler;

static PyObject *
method_name(const pyct_state *state, method_kind m)
{
    switch (m) {
    case METHOD_ADD:
        return state->str.on_trial_add;
    case METHOD_RESULT:
        return state->str.on_trial_result;
    case METHOD_COMPLETE:
        return state->str.on_trial_complete;
    case METHOD_ERROR:
        return state->str.on_trial_error;
    case METHOD_REMOVE:
        return state->str.on_trial_remove;
    case METHOD_CHOOSE:
        return state->str.choose_trial_to_run;
    case METHOD_COUNT:
        break;
    }
    return state->str.on_trial_add;
}

/* Calls object.method(controller, trial?, last?). `t` NONE: no trial; last may be NULL.
 * New reference, or NULL. */
static PyObject *
foreign_call(foreign_scheduler *self, method_kind m, ct_trial_id t, PyObject *last,
             ct_orders *orders)
{
    if (self->controller == NULL) {
        self->controller = pyct_driver_controller(self->driver);
        if (self->controller == NULL) {
            return NULL;
        }
    }
    PyObject *trial = NULL;
    if (t != CT_TRIAL_NONE) {
        trial = pyct_driver_trial(self->driver, t);
        if (trial == NULL) {
            return NULL;
        }
    }
    PyObject *args[] = {self->object, self->controller, trial, last};
    size_t n = trial == NULL ? 2 : last == NULL ? 3 : 4;
    pyct_driver_collect(self->driver, orders);
    PyObject *out =
        PyObject_VectorcallMethod(method_name(self->state, m), args, n, NULL);
    pyct_driver_collect(self->driver, NULL);
    Py_XDECREF(trial);
    return out;
}

/* For the methods whose answer does not matter. */
static ct_status
foreign_notify(foreign_scheduler *self, method_kind m, ct_trial_id t, PyObject *last,
               ct_orders *orders, ct_err *err)
{
    PyObject *out = foreign_call(self, m, t, last, orders);
    if (out == NULL) {
        return pyct_foreign(err);
    }
    Py_DECREF(out);
    return CT_OK;
}

static ct_status
foreign_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    return self->skip[METHOD_ADD]
               ? CT_OK
               : foreign_notify(self, METHOD_ADD, t, NULL, NULL, err);
}

/* 0 and *out, or -1 with a ValueError that names what was returned. */
static int
verdict_of(foreign_scheduler *self, PyObject *said, ct_verdict *out)
{
    PyObject *const words[] = {self->state->str.CONTINUE, self->state->str.PAUSE,
                               self->state->str.STOP, self->state->str.NOOP};
    const ct_verdict verdicts[] = {CT_CONTINUE, CT_PAUSE, CT_STOP, CT_NOOP};
    for (size_t i = 0; i < 4; i++) {
        if (said == words[i] ||
            (PyUnicode_Check(said) && PyUnicode_Compare(said, words[i]) == 0)) {
            *out = verdicts[i];
            return 0;
        }
    }
    PyErr_Format(
        PyExc_ValueError,
        "%s.on_trial_result() returned %R; it must return one of CONTINUE, PAUSE, "
        "STOP and NOOP of TrialScheduler",
        Py_TYPE(self->object)->tp_name, said);
    return -1;
}

static ct_status
foreign_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                  ct_verdict *out, ct_orders *orders, ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    *out = CT_CONTINUE;
    if (self->skip[METHOD_RESULT]) {
        return CT_OK;
    }
    PyObject *result = pyct_driver_result_dict(self->driver, r, t, 1);
    PyObject *said =
        result != NULL ? foreign_call(self, METHOD_RESULT, t, result, orders) : NULL;
    int st = said != NULL ? verdict_of(self, said, out) : -1;
    Py_XDECREF(result);
    Py_XDECREF(said);
    return st == 0 ? CT_OK : pyct_foreign(err);
}

static ct_status
foreign_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                    const ct_result *r, ct_orders *orders, ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    if (self->skip[METHOD_COMPLETE]) {
        return CT_OK;
    }
    PyObject *result =
        r != NULL ? pyct_driver_result_dict(self->driver, r, t, 1) : PyDict_New();
    if (result == NULL) {
        return pyct_foreign(err);
    }
    ct_status st = foreign_notify(self, METHOD_COMPLETE, t, result, orders, err);
    Py_DECREF(result);
    return st;
}

static ct_status
foreign_on_error(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
                 ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    return self->skip[METHOD_ERROR]
               ? CT_OK
               : foreign_notify(self, METHOD_ERROR, t, NULL, orders, err);
}

static ct_status
foreign_on_remove(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
                  ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    return self->skip[METHOD_REMOVE]
               ? CT_OK
               : foreign_notify(self, METHOD_REMOVE, t, NULL, orders, err);
}

static ct_status
foreign_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
               ct_err *err)
{
    foreign_scheduler *self = (foreign_scheduler *)s;
    if (self->skip[METHOD_CHOOSE]) {
        *out = ct_fifo_choose(b);
        return CT_OK;
    }
    PyObject *said = foreign_call(self, METHOD_CHOOSE, CT_TRIAL_NONE, NULL, orders);
    int st = said == NULL ? -1 : 0;
    *out = CT_TRIAL_NONE;
    if (said != NULL && said != Py_None) {
        st = pyct_driver_trial_number(self->driver, said, out);
    }
    Py_XDECREF(said);
    return st == 0 ? CT_OK : pyct_foreign(err);
}

/* What it said is recorded as answers; its own state is its own business. */
static ct_status
foreign_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)s;
    (void)names;
    (void)err;
    *out = ct_nil();
    return CT_OK;
}

static ct_status
foreign_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)s;
    (void)names;
    (void)v;
    (void)err;
    return CT_OK;
}

static ct_status
foreign_describe(ct_scheduler *s, ct_buf *out, ct_err *err)
{
    foreign_scheduler *self = (foreign_scheduler *)s;
    PyObject *text = PyObject_CallMethod(self->object, "debug_string", NULL);
    Py_ssize_t len = 0;
    const char *utf8 = text != NULL ? PyUnicode_AsUTF8AndSize(text, &len) : NULL;
    ct_status st =
        utf8 != NULL ? ct_buf_put(out, utf8, (size_t)len, err) : pyct_foreign(err);
    Py_XDECREF(text);
    return st;
}

static void
foreign_free(ct_scheduler *s)
{
    foreign_scheduler *self = (foreign_scheduler *)s;
    Py_XDECREF(self->controller);
    Py_DECREF(self->object);
    ct_free(self);
}

static const ct_scheduler_ops FOREIGN_OPS = {
    .name = "python",
    .foreign = true,
    .supports_buffering = true,
    .on_add = foreign_on_add,
    .on_result = foreign_on_result,
    .on_complete = foreign_on_complete,
    .on_error = foreign_on_error,
    .on_remove = foreign_on_remove,
    .choose = foreign_choose,
    .save = foreign_save,
    .restore = foreign_restore,
    .describe = foreign_describe,
    .free = foreign_free,
};

/* Marks what is FIFO's: notices that do nothing, and its choice, which would otherwise
 * look at every trial. Counts the rest; -1 with an exception. */
static int
find_skips(pyct_state *state, PyObject *object, bool skip[METHOD_COUNT])
{
    int calls = METHOD_COUNT;
    for (int m = 0; m < METHOD_COUNT; m++) {
        int own = 1;
        if (PyObject_TypeCheck(object, state->fifo_type)) {
            own = pyct_overridden(object, state->fifo_type,
                                  method_name(state, (method_kind)m));
        }
        if (own < 0) {
            return -1;
        }
        skip[m] = own == 0;
        calls -= skip[m] ? 1 : 0;
    }
    return calls;
}

static int
supports_buffering(pyct_state *state, PyObject *object)
{
    PyObject *value = PyObject_GetAttr(object, state->str.supports_buffered_results);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return 1;
    }
    int truth = value == NULL ? -1 : PyObject_IsTrue(value);
    Py_XDECREF(value);
    return truth;
}

static ct_scheduler *
foreign_new(pyct_state *state, PyObject *object, PyObject *driver, const bool *skip,
            ct_err *err)
{
    int buffering = supports_buffering(state, object);
    if (buffering < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    foreign_scheduler *self = ct_calloc(1, sizeof *self);
    if (self == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    self->ops = FOREIGN_OPS;
    self->ops.supports_buffering = buffering == 1;
    self->scheduler.ops = &self->ops;
    self->state = state;
    self->object = Py_NewRef(object);
    self->driver = driver;
    for (int m = 0; m < METHOD_COUNT; m++) {
        self->skip[m] = skip[m];
    }
    return &self->scheduler;
}

/* Whether any question method of an ASHA object is not the native one. */
static int
asha_overridden(pyct_state *state, PyObject *object)
{
    int found = 0;
    for (int m = 0; found == 0 && m < METHOD_COUNT; m++) {
        found = pyct_overridden(object, state->asha_type,
                                method_name(state, (method_kind)m));
    }
    return found;
}

/* A scheduler of another family must at least answer the two questions. */
static int
check_interface(pyct_state *state, PyObject *object)
{
    if (!PyType_Check(object) && PyObject_HasAttr(object, state->str.on_trial_result) &&
        PyObject_HasAttr(object, state->str.choose_trial_to_run)) {
        return 0;
    }
    PyErr_Format(
        PyExc_TypeError,
        "scheduler must be an object of a TrialScheduler class, or the name of "
        "one, got %R",
        object);
    return -1;
}

ct_scheduler *
pyct_scheduler_adapter(pyct_state *state, PyObject *scheduler, PyObject *driver,
                       ct_err *err)
{
    bool skip[METHOD_COUNT];
    int calls =
        check_interface(state, scheduler) < 0 ? -1 : find_skips(state, scheduler, skip);
    int overridden = 1;
    if (calls > 0 && PyObject_TypeCheck(scheduler, state->asha_type)) {
        overridden = asha_overridden(state, scheduler);
    }
    if (calls < 0 || overridden < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    if (overridden == 0) {
        return lend_asha(scheduler, driver, err);
    }
    if (calls == 0) {
        ct_scheduler *fifo = NULL;
        return ct_fifo_new(&fifo, err) == CT_OK ? fifo : NULL;
    }
    return foreign_new(state, scheduler, driver, skip, err);
}

/* ---- the module's part ---- */

static int
add_constants(pyct_state *state)
{
    PyObject *const words[] = {state->str.CONTINUE, state->str.PAUSE, state->str.STOP,
                               state->str.NOOP};
    PyObject *type = (PyObject *)state->scheduler_type;
    for (size_t i = 0; i < 4; i++) {
        if (PyObject_SetAttr(type, words[i], words[i]) < 0) {
            return -1;
        }
    }
    return PyObject_SetAttr(type, state->str.own_supports_buffered_results, Py_True);
}

int
pyct_scheduler_add(PyObject *module, pyct_state *state)
{
    if (pyct_add_type(module, &state->scheduler_type, &base_spec, NULL) < 0 ||
        add_constants(state) < 0 ||
        pyct_add_type(module, &state->fifo_type, &fifo_spec, state->scheduler_type) <
            0 ||
        pyct_add_type(module, &state->asha_type, &asha_spec, state->fifo_type) < 0) {
        return -1;
    }
    return 0;
}
