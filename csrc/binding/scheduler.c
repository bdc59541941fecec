/* scheduler.c: TrialScheduler, FIFOScheduler and AsyncHyperBandScheduler.
 *
 * The objects work alone, with any objects as trials and controllers: a trial is whatever
 * has a `trial_id` (hashable), and is known by it, as in the documented interface. In a run
 * a native object lends its engine instead (pyct_scheduler_adapter). Both use one engine,
 * whose trials are numbers: those of a run start behind the numbers given out before, and
 * their text ids are remembered, so that the object answers for them afterwards. */
#include "scheduler.h"

#include "convert.h"
#include "errors.h"
#include "guard.h"
#include "overrides.h"
#include "scheduler_int.h"
#include "types.h"

#include "base/mem.h"

#include <math.h>
#include <structmember.h>

/* ---- what all three share ---- */

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
    static PyObject *base_##method(PyObject *op, PyObject *const *args,                \
                                   Py_ssize_t given)                                   \
    {                                                                                  \
        (void)args;                                                                    \
        (void)given;                                                                   \
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
    PyObject *name = PyUnicode_FromString(key);
    PyObject *value =
        name != NULL && PyDict_Check(dict) ? PyDict_GetItemWithError(dict, name) : NULL;
    Py_XDECREF(name);
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
    {"on_trial_add", PYCT_METHOD(base_on_trial_add), METH_FASTCALL,
     "on_trial_add($self, tune_controller, trial, /)\n--\n\n"
     "A trial was added, or goes back to the queue after a failure."},
    {"on_trial_error", PYCT_METHOD(base_on_trial_error), METH_FASTCALL,
     "on_trial_error($self, tune_controller, trial, /)\n--\n\n"
     "A trial failed; also called before it is tried again."},
    {"on_trial_result", PYCT_METHOD(base_on_trial_result), METH_FASTCALL,
     "on_trial_result($self, tune_controller, trial, result, /)\n--\n\n"
     "Decide on a running trial from its flat result dict: CONTINUE, PAUSE, STOP or NOOP."},
    {"on_trial_complete", PYCT_METHOD(base_on_trial_complete), METH_FASTCALL,
     "on_trial_complete($self, tune_controller, trial, result, /)\n--\n\n"
     "A running trial is being stopped; result is its last one."},
    {"on_trial_remove", PYCT_METHOD(base_on_trial_remove), METH_FASTCALL,
     "on_trial_remove($self, tune_controller, trial, /)\n--\n\n"
     "A pending or paused trial is being stopped."},
    {"choose_trial_to_run", PYCT_METHOD(base_choose_trial_to_run), METH_FASTCALL,
     "choose_trial_to_run($self, tune_controller, /)\n--\n\n"
     "The pending or paused trial to start next, or None. Asking must change nothing."},
    {"debug_string", PYCT_METHOD(base_debug_string), METH_FASTCALL,
     "debug_string($self, /)\n--\n\nA line or more on the scheduler's state."},
    {"save", PYCT_METHOD(base_save), METH_FASTCALL,
     "save($self, checkpoint_path, /)\n--\n\nWrite the state to a file."},
    {"restore", PYCT_METHOD(base_restore), METH_FASTCALL,
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

pyct_asha *
pyct_asha_ready(PyObject *op)
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

int
pyct_asha_objective(pyct_asha *self)
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

ct_status
pyct_asha_add_trial(pyct_asha *self, ct_trial_id t, ct_err *err)
{
    ct_status st = ct_asha_add(self->asha, t, err);
    return st == CT_OK ? pyct_rng_check(self->rng, err) : st;
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
    pyct_asha *self = pyct_asha_ready(op);
    pyct_state *state = pyct_state_of(op);
    ct_err err = CT_ERR_INIT;
    PyObject *key = NULL;
    ct_trial_id t = 0;
    if (self == NULL || wants_args("on_trial_add", nargs, 2) < 0 ||
        pyct_asha_objective(self) < 0) {
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
    return pyct_asha_add_trial(self, t, &err) == CT_OK ? Py_NewRef(Py_None)
                                                       : pyct_raise(state, &err);
}

static PyObject *
asha_on_trial_result(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_asha *self = pyct_asha_ready(op);
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
    pyct_asha *self = pyct_asha_ready(op);
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
    pyct_asha *self = pyct_asha_ready(op);
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
    pyct_asha *self = pyct_asha_ready(op);
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
    pyct_asha *self = pyct_asha_ready(op);
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
    pyct_asha *self = pyct_asha_ready(op);
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
    pyct_asha *self = pyct_asha_ready(op);
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
    pyct_asha *self = pyct_asha_ready(op);
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

/* A run that it was lent to may be at work in another thread. */
PYCT_GUARD_FAST(asha_on_trial_add)
PYCT_GUARD_FAST(asha_on_trial_result)
PYCT_GUARD_FAST(asha_on_trial_complete)
PYCT_GUARD_FAST(asha_on_trial_remove)
PYCT_GUARD_UNARY(asha_debug_string)
PYCT_GUARD_UNARY(asha_getstate)
PYCT_GUARD_UNARY(asha_setstate)
PYCT_GUARD_NAMED(asha_set_search_properties)
PYCT_GUARD_GETTER(asha_get_num_stopped)

static PyMethodDef asha_methods[] = {
    {"set_search_properties", PYCT_METHOD(guarded_asha_set_search_properties),
     METH_FASTCALL | METH_KEYWORDS,
     "set_search_properties($self, metric, mode, **spec)\n--\n\n"
     "Take over the metric and mode of a run; False if one of them was set before."},
    {"on_trial_add", PYCT_METHOD(guarded_asha_on_trial_add), METH_FASTCALL,
     "on_trial_add($self, tune_controller, trial, /)\n--\n\n"
     "Draws the trial's bracket: one number of numpy.random's global stream."},
    {"on_trial_result", PYCT_METHOD(guarded_asha_on_trial_result), METH_FASTCALL,
     "on_trial_result($self, tune_controller, trial, result, /)\n--\n\nCONTINUE or STOP."},
    {"on_trial_complete", PYCT_METHOD(guarded_asha_on_trial_complete), METH_FASTCALL,
     "on_trial_complete($self, tune_controller, trial, result, /)\n--\n\n"
     "Records the last result and forgets the trial."},
    {"on_trial_remove", PYCT_METHOD(guarded_asha_on_trial_remove), METH_FASTCALL,
     "on_trial_remove($self, tune_controller, trial, /)\n--\n\nForgets the trial."},
    {"debug_string", guarded_asha_debug_string, METH_NOARGS,
     "debug_string($self, /)\n--\n\n"},
    {"__getstate__", guarded_asha_getstate, METH_NOARGS, NULL},
    {"__setstate__", guarded_asha_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef asha_getset[] = {
    {"num_stopped", guarded_asha_get_num_stopped, NULL, "How many times it said STOP.",
     NULL},
    {"_num_stopped", guarded_asha_get_num_stopped, NULL, NULL, NULL},
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
