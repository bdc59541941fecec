/* scheduler.c: TrialScheduler and FIFOScheduler; schedulers with an engine: native.c. */
#include "scheduler.h"

#include "overrides.h"
#include "scheduler_int.h"
#include "types.h"


/* ---- what the files about schedulers share ---- */

int
pyct_wants_args(const char *method, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd positional arguments, got %zd",
                 method, wanted, given);
    return -1;
}

PyObject *
pyct_verdict_object(pyct_state *state, ct_verdict v)
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

int
pyct_scheduler_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((pyct_scheduler *)op)->metric);
    return 0;
}

int
pyct_scheduler_clear(PyObject *op)
{
    Py_CLEAR(((pyct_scheduler *)op)->metric);
    return 0;
}

static void
base_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)pyct_scheduler_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Subclasses need not call __init__, and give it whatever arguments they like. */
PyObject *
pyct_scheduler_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
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

int
pyct_scheduler_set_metric(PyObject *op, PyObject *value, void *closure)
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
int
pyct_search_properties(pyct_state *state, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames, PyObject *out[2])
{
    if (nargs > 2) {
        return pyct_wants_args("set_search_properties", nargs, 2);
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
    if (pyct_search_properties(state, args, nargs, kwnames, given) < 0) {
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
PyObject *
pyct_scheduler_getstate(PyObject *op, PyObject *ignored)
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
PyObject *
pyct_state_item(PyObject *dict, const char *key)
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

PyObject *
pyct_scheduler_setstate(PyObject *op, PyObject *saved)
{
    PyObject *metric = pyct_state_item(saved, "metric");
    PyObject *attributes = metric != NULL ? pyct_state_item(saved, "attributes") : NULL;
    if (attributes == NULL) {
        return NULL;
    }
    (void)pyct_scheduler_set_metric(op, metric, NULL);
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
    {"__getstate__", pyct_scheduler_getstate, METH_NOARGS, NULL},
    {"__setstate__", pyct_scheduler_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef base_getset[] = {
    {"metric", base_get_metric, NULL, "The result key that decides, or None.", NULL},
    {"_metric", base_get_own_metric, pyct_scheduler_set_metric, NULL, NULL},
    {"supports_buffered_results", base_get_buffered, NULL,
     "Whether results may arrive several at once.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot base_slots[] = {
    {Py_tp_new, PYCT_SLOT(pyct_scheduler_new)},
    {Py_tp_init, PYCT_SLOT(base_init)},
    {Py_tp_dealloc, PYCT_SLOT(base_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(pyct_scheduler_traverse)},
    {Py_tp_clear, PYCT_SLOT(pyct_scheduler_clear)},
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
        return pyct_wants_args(#method, given, n) < 0 ? NULL : Py_NewRef(Py_None);     \
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
    if (pyct_wants_args("on_trial_result", nargs, 3) < 0) {
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

PyObject *
pyct_fifo_choose(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_state *state = pyct_state_of(op);
    PyObject *found = NULL;
    if (pyct_wants_args("choose_trial_to_run", nargs, 1) < 0) {
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
    {"choose_trial_to_run", PYCT_METHOD(pyct_fifo_choose), METH_FASTCALL,
     "choose_trial_to_run($self, tune_controller, /)\n--\n\n"
     "The first pending trial of get_trials(), else the first paused one, else None."},
    {"debug_string", fifo_debug_string, METH_NOARGS, "debug_string($self, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot fifo_slots[] = {
    {Py_tp_methods, fifo_methods},
    {Py_tp_traverse, PYCT_SLOT(pyct_scheduler_traverse)},
    {Py_tp_clear, PYCT_SLOT(pyct_scheduler_clear)},
    {Py_tp_doc, "First in, first out: the base of ctune.schedulers.FIFOScheduler."},
    {0, NULL},
};

static PyType_Spec fifo_spec = {
    .name = "ctune._ctune.FIFOScheduler",
    .basicsize = sizeof(pyct_scheduler),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = fifo_slots,
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
            0) {
        return -1;
    }
    return 0;
}
