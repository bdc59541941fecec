/* stopper.c: Stopper and the native ones.
 *
 * Alone, a stopper is called with a trial id and a nested result dict, as documented. In a
 * run a native one becomes a condition of stop/conditions. A TimeoutStopper lends the
 * budget that it has itself, so that time spent in one run is missing in the next. */
#include "stopper.h"

#include "errors.h"
#include "guard.h"
#include "overrides.h"
#include "stopper_int.h"
#include "types.h"

#include "base/mem.h"
#include "stop/conditions.h"

#include <time.h>

/* ---- Stopper ---- */

/* Subclasses need not call __init__, and give it whatever arguments they like. */
static PyObject *
stopper_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return type->tp_alloc(type, 0);
}

static int
stopper_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
stopper_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
stopper_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    PyErr_Format(PyExc_NotImplementedError,
                 "%s must implement __call__(trial_id, result)", Py_TYPE(op)->tp_name);
    return NULL;
}

static PyObject *
stopper_stop_all(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    PyErr_Format(PyExc_NotImplementedError, "%s must implement stop_all()",
                 Py_TYPE(op)->tp_name);
    return NULL;
}

static PyMethodDef stopper_methods[] = {
    {"stop_all", stopper_stop_all, METH_NOARGS,
     "stop_all($self, /)\n--\n\nWhether the experiment should stop."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot stopper_slots[] = {
    {Py_tp_new, PYCT_SLOT(stopper_new)},
    {Py_tp_dealloc, PYCT_SLOT(stopper_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(stopper_traverse)},
    {Py_tp_call, PYCT_SLOT(stopper_call)},
    {Py_tp_methods, stopper_methods},
    {Py_tp_doc, "The interface of stoppers: the base of ctune.stopper.Stopper."},
    {0, NULL},
};

static PyType_Spec stopper_spec = {
    .name = "ctune._ctune.Stopper",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = stopper_slots,
};

int
pyct_stopper_args(PyObject *args, PyObject *kwargs, PyObject **trial_id,
                  PyObject **result)
{
    static char *names[] = {"trial_id", "result", NULL};
    return PyArg_ParseTupleAndKeywords(args, kwargs, "OO", names, trial_id, result)
               ? 0
               : -1;
}

static PyObject *
never_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *trial_id;
    PyObject *result;
    (void)op;
    return pyct_stopper_args(args, kwargs, &trial_id, &result) < 0
               ? NULL
               : Py_NewRef(Py_False);
}

static PyObject *
never_stop_all(PyObject *op, PyObject *ignored)
{
    (void)op;
    (void)ignored;
    Py_RETURN_FALSE;
}

static PyMethodDef never_methods[] = {
    {"stop_all", never_stop_all, METH_NOARGS, "stop_all($self, /)\n--\n\nFalse."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot never_slots[] = {
    {Py_tp_call, PYCT_SLOT(never_call)},
    {Py_tp_traverse, PYCT_SLOT(stopper_traverse)},
    {Py_tp_methods, never_methods},
    {Py_tp_doc, "Never stops: the base of ctune.stopper.NoopStopper."},
    {0, NULL},
};

static PyType_Spec never_spec = {
    .name = "ctune._ctune.NoopStopper",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = never_slots,
};

/* ---- MaximumIterationStopper ---- */

static int
iterations_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pyct_iterations *self = (pyct_iterations *)op;
    static char *names[] = {"max_iter", NULL};
    PyObject *given;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &given)) {
        return -1;
    }
    PyObject *index = PyNumber_Index(given);
    if (index == NULL) {
        PyErr_Format(PyExc_TypeError, "max_iter must be an int, got %R", given);
        return -1;
    }
    int overflow = 0;
    long long n = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    n = overflow > 0 ? INT64_MAX : n;
    if (overflow < 0 || n < 1) {
        PyErr_Format(
            PyExc_ValueError,
            "max_iter must be at least 1, got %R; a trial reports once before it "
            "can be stopped",
            given);
        return -1;
    }
    PyObject *seen = PyDict_New();
    if (seen == NULL) {
        return -1;
    }
    self->max_iter = n;
    Py_XSETREF(self->seen, seen);
    return 0;
}

static PyObject *
iterations_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pyct_iterations *self = (pyct_iterations *)op;
    PyObject *trial_id;
    PyObject *result;
    if (pyct_stopper_args(args, kwargs, &trial_id, &result) < 0) {
        return NULL;
    }
    if (self->seen == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "super().__init__(max_iter) was not called");
        return NULL;
    }
    PyObject *before = PyDict_GetItemWithError(self->seen, trial_id);
    if (before == NULL && PyErr_Occurred()) {
        return NULL;
    }
    long long n = before != NULL ? PyLong_AsLongLong(before) + 1 : 1;
    PyObject *now = PyLong_FromLongLong(n);
    int st = now == NULL ? -1 : PyDict_SetItem(self->seen, trial_id, now);
    Py_XDECREF(now);
    return st < 0 ? NULL : PyBool_FromLong(n >= self->max_iter);
}

static int
iterations_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(((pyct_iterations *)op)->seen);
    return stopper_traverse(op, visit, arg);
}

static int
iterations_clear(PyObject *op)
{
    Py_CLEAR(((pyct_iterations *)op)->seen);
    return 0;
}

static void
iterations_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)iterations_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
iterations_getstate(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_iterations *self = (pyct_iterations *)op;
    PyObject *seen = self->seen != NULL ? PyDict_Copy(self->seen) : PyDict_New();
    PyObject *attributes = seen != NULL ? pyct_attributes(op) : NULL;
    if (attributes == NULL) {
        Py_XDECREF(seen);
        return NULL;
    }
    return Py_BuildValue("(LNN)", self->max_iter, seen, attributes);
}

static PyObject *
iterations_setstate(PyObject *op, PyObject *saved)
{
    pyct_iterations *self = (pyct_iterations *)op;
    PyObject *seen;
    PyObject *attributes;
    long long n;
    if (!PyArg_ParseTuple(saved, "LO!O!", &n, &PyDict_Type, &seen, &PyDict_Type,
                          &attributes) ||
        pyct_set_attributes(op, attributes) < 0) {
        return NULL;
    }
    PyObject *copy = PyDict_Copy(seen);
    if (copy == NULL) {
        return NULL;
    }
    self->max_iter = n;
    Py_XSETREF(self->seen, copy);
    Py_RETURN_NONE;
}

static PyMethodDef iterations_methods[] = {
    {"stop_all", never_stop_all, METH_NOARGS, "stop_all($self, /)\n--\n\nFalse."},
    {"__getstate__", iterations_getstate, METH_NOARGS, NULL},
    {"__setstate__", iterations_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot iterations_slots[] = {
    {Py_tp_init, PYCT_SLOT(iterations_init)},
    {Py_tp_dealloc, PYCT_SLOT(iterations_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(iterations_traverse)},
    {Py_tp_clear, PYCT_SLOT(iterations_clear)},
    {Py_tp_call, PYCT_SLOT(iterations_call)},
    {Py_tp_methods, iterations_methods},
    {Py_tp_doc, "Counts: the base of ctune.stopper.MaximumIterationStopper."},
    {0, NULL},
};

static PyType_Spec iterations_spec = {
    .name = "ctune._ctune.MaximumIterationStopper",
    .basicsize = sizeof(pyct_iterations),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = iterations_slots,
};

/* ---- TimeoutStopper ---- */

static void
budget_free(pyct_timeout *self)
{
    if (self->budget != NULL) {
        self->budget->ops->free(self->budget);
        self->budget = NULL;
    }
}

static int
timeout_set(pyct_timeout *self, double seconds, double left)
{
    ct_err err = CT_ERR_INIT;
    ct_stopper *fresh = NULL;
    if (ct_stop_budget_new(&fresh, left, &err) != CT_OK) {
        (void)pyct_raise(pyct_state_of((PyObject *)self), &err);
        return -1;
    }
    budget_free(self);
    self->budget = fresh;
    self->seconds = seconds;
    self->told = false;
    return 0;
}

static int
timeout_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    PyObject *given;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &given)) {
        return -1;
    }
    double seconds = PyFloat_AsDouble(given);
    if (seconds == -1.0 && PyErr_Occurred()) {
        PyErr_Format(
            PyExc_ValueError,
            "timeout must be a number of seconds or a datetime.timedelta, got %R",
            given);
        return -1;
    }
    if (!(seconds >= 0.0)) {
        PyErr_Format(PyExc_ValueError, "timeout must be at least 0 seconds, got %R",
                     given);
        return -1;
    }
    return timeout_set((pyct_timeout *)op, seconds, seconds);
}

int
pyct_timeout_tell(pyct_state *state, pyct_timeout *self)
{
    if (self->told) {
        return 0;
    }
    self->told = true;
    PyObject *get = pyct_lazy(&state->get_logger, "logging", "getLogger");
    PyObject *logger =
        get != NULL ? PyObject_CallFunction(get, "s", "ctune.stopper") : NULL;
    PyObject *done =
        logger == NULL
            ? NULL
            : PyObject_CallMethod(logger, "info", "sd",
                                  "The time budget of %g seconds is used up: "
                                  "all trials are stopped.",
                                  self->seconds);
    Py_XDECREF(logger);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static double
wall_clock(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int
pyct_timeout_ready(const pyct_timeout *self)
{
    if (self->budget == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "super().__init__(timeout) was not called");
        return -1;
    }
    return 0;
}

static PyObject *
timeout_stop_all(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_timeout *self = (pyct_timeout *)op;
    if (pyct_timeout_ready(self) < 0) {
        return NULL;
    }
    bool over = ct_stop_budget_check(self->budget, wall_clock());
    if (over && pyct_timeout_tell(pyct_state_of(op), self) < 0) {
        return NULL;
    }
    return PyBool_FromLong(over);
}

static void
timeout_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    budget_free((pyct_timeout *)op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* The rest of the budget, without the clock. */
static PyObject *
timeout_getstate(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_timeout *self = (pyct_timeout *)op;
    if (pyct_timeout_ready(self) < 0) {
        return NULL;
    }
    PyObject *attributes = pyct_attributes(op);
    return attributes == NULL
               ? NULL
               : Py_BuildValue("(ddN)", self->seconds,
                               ct_stop_budget_left(self->budget), attributes);
}

static PyObject *
timeout_setstate(PyObject *op, PyObject *saved)
{
    double seconds;
    double left;
    PyObject *attributes;
    if (!PyArg_ParseTuple(saved, "ddO!", &seconds, &left, &PyDict_Type, &attributes) ||
        timeout_set((pyct_timeout *)op, seconds, left) < 0 ||
        pyct_set_attributes(op, attributes) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* A run that it was lent to may be at work in another thread. */
PYCT_GUARD_UNARY(timeout_stop_all)
PYCT_GUARD_UNARY(timeout_getstate)
PYCT_GUARD_UNARY(timeout_setstate)

static PyMethodDef timeout_methods[] = {
    {"stop_all", guarded_timeout_stop_all, METH_NOARGS,
     "stop_all($self, /)\n--\n\nWhether the budget is used up. The first call starts the "
     "clock."},
    {"__getstate__", guarded_timeout_getstate, METH_NOARGS, NULL},
    {"__setstate__", guarded_timeout_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot timeout_slots[] = {
    {Py_tp_init, PYCT_SLOT(timeout_init)},
    {Py_tp_dealloc, PYCT_SLOT(timeout_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(stopper_traverse)},
    {Py_tp_call, PYCT_SLOT(never_call)},
    {Py_tp_methods, timeout_methods},
    {Py_tp_doc, "A time budget: the base of ctune.stopper.TimeoutStopper."},
    {0, NULL},
};

static PyType_Spec timeout_spec = {
    .name = "ctune._ctune.TimeoutStopper",
    .basicsize = sizeof(pyct_timeout),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = timeout_slots,
};

/* ---- FunctionStopper and CombinedStopper: one object each ---- */

static int
holder_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(((pyct_holder *)op)->held);
    return stopper_traverse(op, visit, arg);
}

static int
holder_clear(PyObject *op)
{
    Py_CLEAR(((pyct_holder *)op)->held);
    return 0;
}

static void
holder_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)holder_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyObject *
pyct_stopper_held(PyObject *op)
{
    PyObject *held = ((pyct_holder *)op)->held;
    if (held == NULL) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s.__init__() did not call super().__init__()",
                     Py_TYPE(op)->tp_name);
    }
    return held;
}

static PyObject *
holder_getstate(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    PyObject *held = pyct_stopper_held(op);
    PyObject *attributes = held != NULL ? pyct_attributes(op) : NULL;
    return attributes == NULL ? NULL : Py_BuildValue("(ON)", held, attributes);
}

static PyObject *
holder_setstate(PyObject *op, PyObject *saved)
{
    PyObject *held;
    PyObject *attributes;
    if (!PyArg_ParseTuple(saved, "OO!", &held, &PyDict_Type, &attributes) ||
        pyct_set_attributes(op, attributes) < 0) {
        return NULL;
    }
    Py_XSETREF(((pyct_holder *)op)->held, Py_NewRef(held));
    Py_RETURN_NONE;
}

static int
function_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"function", NULL};
    PyObject *given;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &given)) {
        return -1;
    }
    if (!PyCallable_Check(given)) {
        PyErr_Format(PyExc_TypeError,
                     "function must be callable with (trial_id, result), got %R",
                     given);
        return -1;
    }
    Py_XSETREF(((pyct_holder *)op)->held, Py_NewRef(given));
    return 0;
}

static PyObject *
function_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *trial_id;
    PyObject *result;
    PyObject *held = pyct_stopper_held(op);
    if (held == NULL || pyct_stopper_args(args, kwargs, &trial_id, &result) < 0) {
        return NULL;
    }
    PyObject *const given[] = {trial_id, result};
    return PyObject_Vectorcall(held, given, 2, NULL);
}

static PyMethodDef function_methods[] = {
    {"stop_all", never_stop_all, METH_NOARGS, "stop_all($self, /)\n--\n\nFalse."},
    {"__getstate__", holder_getstate, METH_NOARGS, NULL},
    {"__setstate__", holder_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot function_slots[] = {
    {Py_tp_init, PYCT_SLOT(function_init)},
    {Py_tp_dealloc, PYCT_SLOT(holder_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(holder_traverse)},
    {Py_tp_clear, PYCT_SLOT(holder_clear)},
    {Py_tp_call, PYCT_SLOT(function_call)},
    {Py_tp_methods, function_methods},
    {Py_tp_doc, "A function: the base of ctune.stopper.FunctionStopper."},
    {0, NULL},
};

static PyType_Spec function_spec = {
    .name = "ctune._ctune.FunctionStopper",
    .basicsize = sizeof(pyct_holder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = function_slots,
};

int
pyct_stoppers_check(pyct_state *state, PyObject *tuple, const char *what)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        if (!PyObject_TypeCheck(item, state->stopper_type)) {
            PyErr_Format(PyExc_ValueError,
                         "%s must hold Stopper objects, got %R; wrap a function in "
                         "FunctionStopper",
                         what, item);
            return -1;
        }
    }
    return 0;
}

static int
any_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError,
                        "CombinedStopper() takes no keyword arguments");
        return -1;
    }
    if (pyct_stoppers_check(pyct_state_of(op), args, "stoppers") < 0) {
        return -1;
    }
    Py_XSETREF(((pyct_holder *)op)->held, Py_NewRef(args));
    return 0;
}

int
pyct_truth(PyObject *answer)
{
    int yes = answer == NULL ? -1 : PyObject_IsTrue(answer);
    if (answer != NULL && yes < 0) { /* an array, say, which is neither */
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError,
                     "a stop condition must return True or False, got %.100s: %R",
                     Py_TYPE(answer)->tp_name, answer);
    }
    Py_XDECREF(answer);
    return yes;
}

static PyObject *
any_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *trial_id;
    PyObject *result;
    PyObject *held = pyct_stopper_held(op);
    int yes = 0;
    if (held == NULL || pyct_stopper_args(args, kwargs, &trial_id, &result) < 0) {
        return NULL;
    }
    PyObject *const given[] = {trial_id, result};
    for (Py_ssize_t i = 0; yes == 0 && i < PyTuple_GET_SIZE(held); i++) {
        yes =
            pyct_truth(PyObject_Vectorcall(PyTuple_GET_ITEM(held, i), given, 2, NULL));
    }
    return yes < 0 ? NULL : PyBool_FromLong(yes);
}

static PyObject *
any_stop_all(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    PyObject *held = pyct_stopper_held(op);
    PyObject *name = pyct_state_of(op)->str.stop_all;
    int yes = 0;
    if (held == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; yes == 0 && i < PyTuple_GET_SIZE(held); i++) {
        yes = pyct_truth(PyObject_CallMethodNoArgs(PyTuple_GET_ITEM(held, i), name));
    }
    return yes < 0 ? NULL : PyBool_FromLong(yes);
}

static PyMethodDef any_methods[] = {
    {"stop_all", any_stop_all, METH_NOARGS,
     "stop_all($self, /)\n--\n\nWhether any of the stoppers says so."},
    {"__getstate__", holder_getstate, METH_NOARGS, NULL},
    {"__setstate__", holder_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot any_slots[] = {
    {Py_tp_init, PYCT_SLOT(any_init)},
    {Py_tp_dealloc, PYCT_SLOT(holder_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(holder_traverse)},
    {Py_tp_clear, PYCT_SLOT(holder_clear)},
    {Py_tp_call, PYCT_SLOT(any_call)},
    {Py_tp_methods, any_methods},
    {Py_tp_doc, "Any of several: the base of ctune.stopper.CombinedStopper."},
    {0, NULL},
};

static PyType_Spec any_spec = {
    .name = "ctune._ctune.CombinedStopper",
    .basicsize = sizeof(pyct_holder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = any_slots,
};

/* ---- the module's part ---- */

int
pyct_stopper_add(PyObject *module, pyct_state *state)
{
    struct {
        PyTypeObject **slot;
        PyType_Spec *spec;
    } natives[] = {
        {&state->stop_never_type, &never_spec},
        {&state->stop_iterations_type, &iterations_spec},
        {&state->stop_timeout_type, &timeout_spec},
        {&state->stop_function_type, &function_spec},
        {&state->stop_any_type, &any_spec},
    };
    if (pyct_add_type(module, &state->stopper_type, &stopper_spec, NULL) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof natives / sizeof natives[0]; i++) {
        if (pyct_add_type(module, natives[i].slot, natives[i].spec,
                          state->stopper_type) < 0) {
            return -1;
        }
    }
    return 0;
}
