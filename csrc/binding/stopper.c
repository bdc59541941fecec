/* stopper.c: Stopper and the native ones.
 *
 * Alone, a stopper is called with a trial id and a nested result dict, as documented. In a
 * run a native one becomes a condition of stop/conditions. A TimeoutStopper lends the
 * budget that it has itself, so that time spent in one run is missing in the next. */
#include "stopper.h"

#include "driver.h"
#include "errors.h"
#include "overrides.h"
#include "types.h"

#include "base/mem.h"
#include "stop/conditions.h"

#include <math.h>
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

/* trial_id and result of a call, by position or name. */
static int
call_args(PyObject *args, PyObject *kwargs, PyObject **trial_id, PyObject **result)
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
    return call_args(args, kwargs, &trial_id, &result) < 0 ? NULL : Py_NewRef(Py_False);
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

typedef struct pyct_iterations {
    PyObject_HEAD
    long long max_iter;
    PyObject *seen; /* dict trial_id -> results so far */
} pyct_iterations;

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
    if (call_args(args, kwargs, &trial_id, &result) < 0) {
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

typedef struct pyct_timeout {
    PyObject_HEAD
    double seconds;
    ct_stopper *budget; /* NULL until __init__ */
    bool told;          /* that the time is over */
} pyct_timeout;

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

/* One line in the log, the first time. */
static int
timeout_tell(pyct_state *state, pyct_timeout *self)
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

static int
timeout_ready(const pyct_timeout *self)
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
    if (timeout_ready(self) < 0) {
        return NULL;
    }
    bool over = ct_stop_budget_check(self->budget, wall_clock());
    if (over && timeout_tell(pyct_state_of(op), self) < 0) {
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
    if (timeout_ready(self) < 0) {
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

static PyMethodDef timeout_methods[] = {
    {"stop_all", timeout_stop_all, METH_NOARGS,
     "stop_all($self, /)\n--\n\nWhether the budget is used up. The first call starts the "
     "clock."},
    {"__getstate__", timeout_getstate, METH_NOARGS, NULL},
    {"__setstate__", timeout_setstate, METH_O, NULL},
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

typedef struct pyct_holder {
    PyObject_HEAD
    PyObject *held; /* the function, or a tuple of stoppers */
} pyct_holder;

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

static PyObject *
held_by(PyObject *op)
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
    PyObject *held = held_by(op);
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
    PyObject *held = held_by(op);
    if (held == NULL || call_args(args, kwargs, &trial_id, &result) < 0) {
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

static int
check_stoppers(pyct_state *state, PyObject *tuple, const char *what)
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
    if (check_stoppers(pyct_state_of(op), args, "stoppers") < 0) {
        return -1;
    }
    Py_XSETREF(((pyct_holder *)op)->held, Py_NewRef(args));
    return 0;
}

/* 1 if an answer is true; takes the answer. */
static int
truth(PyObject *answer)
{
    int yes = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return yes;
}

static PyObject *
any_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *trial_id;
    PyObject *result;
    PyObject *held = held_by(op);
    int yes = 0;
    if (held == NULL || call_args(args, kwargs, &trial_id, &result) < 0) {
        return NULL;
    }
    PyObject *const given[] = {trial_id, result};
    for (Py_ssize_t i = 0; yes == 0 && i < PyTuple_GET_SIZE(held); i++) {
        yes = truth(PyObject_Vectorcall(PyTuple_GET_ITEM(held, i), given, 2, NULL));
    }
    return yes < 0 ? NULL : PyBool_FromLong(yes);
}

static PyObject *
any_stop_all(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    PyObject *held = held_by(op);
    PyObject *name = pyct_state_of(op)->str.stop_all;
    int yes = 0;
    if (held == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; yes == 0 && i < PyTuple_GET_SIZE(held); i++) {
        yes = truth(PyObject_CallMethodNoArgs(PyTuple_GET_ITEM(held, i), name));
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

/* ---- a TimeoutStopper in a run ---- */

typedef struct lent_budget {
    ct_stopper stopper; /* first */
    pyct_state *state;
    pyct_timeout *owner; /* strong */
} lent_budget;

static ct_status
lent_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *r,
               bool *stop, ct_err *err)
{
    (void)s;
    (void)b;
    (void)t;
    (void)r;
    (void)err;
    *stop = false;
    return CT_OK;
}

/* Telling needs the GIL, once; native turns may run without it. */
static ct_status
lent_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    lent_budget *self = (lent_budget *)s;
    *stop = ct_stop_budget_check(self->owner->budget, b->now);
    if (!*stop || self->owner->told) {
        return CT_OK;
    }
    PyGILState_STATE gil = PyGILState_Ensure();
    ct_status st =
        timeout_tell(self->state, self->owner) < 0 ? pyct_foreign(err) : CT_OK;
    PyGILState_Release(gil);
    return st;
}

static ct_status
lent_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    ct_stopper *budget = ((lent_budget *)s)->owner->budget;
    return budget->ops->save(budget, names, out, err);
}

static ct_status
lent_restore(ct_stopper *s, ct_names *names, const ct_value *v, ct_err *err)
{
    ct_stopper *budget = ((lent_budget *)s)->owner->budget;
    return budget->ops->restore(budget, names, v, err);
}

static void
lent_free(ct_stopper *s)
{
    Py_DECREF((PyObject *)((lent_budget *)s)->owner);
    ct_free(s);
}

static const ct_stopper_ops LENT_OPS = {
    .name = "time budget",
    .foreign = false,
    .on_result = lent_on_result,
    .stop_all = lent_stop_all,
    .save = lent_save,
    .restore = lent_restore,
    .free = lent_free,
};

static ct_stopper *
lend_budget(pyct_state *state, PyObject *stop, ct_err *err)
{
    if (timeout_ready((pyct_timeout *)stop) < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    lent_budget *self = ct_alloc(sizeof *self);
    if (self == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    *self = (lent_budget){{&LENT_OPS}, state, (pyct_timeout *)Py_NewRef(stop)};
    return &self->stopper;
}

/* ---- a Python stopper or function in a run ---- */

typedef struct foreign_stopper {
    ct_stopper stopper; /* first */
    pyct_state *state;
    PyObject *object; /* strong */
    PyObject *driver; /* borrowed: it owns the adapter */
    bool asks_all;    /* has a stop_all() of its own */
} foreign_stopper;

static ct_status
foreign_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                  bool *stop, ct_err *err)
{
    foreign_stopper *self = (foreign_stopper *)s;
    PyObject *id = PyUnicode_FromString(ct_trials_get(b->trials, t)->id);
    PyObject *result =
        id != NULL ? pyct_driver_result_dict(self->driver, r, t, 0) : NULL;
    int yes = -1;
    if (result != NULL) {
        PyObject *const args[] = {id, result};
        yes = truth(PyObject_Vectorcall(self->object, args, 2, NULL));
    }
    Py_XDECREF(id);
    Py_XDECREF(result);
    *stop = yes == 1;
    return yes < 0 ? pyct_foreign(err) : CT_OK;
}

static ct_status
foreign_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    (void)b;
    foreign_stopper *self = (foreign_stopper *)s;
    int yes = 0;
    if (self->asks_all) {
        yes = truth(PyObject_CallMethodNoArgs(self->object, self->state->str.stop_all));
    }
    *stop = yes == 1;
    return yes < 0 ? pyct_foreign(err) : CT_OK;
}

/* What it said is recorded as answers; its own state is its own business. */
static ct_status
foreign_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)s;
    (void)names;
    (void)err;
    *out = ct_nil();
    return CT_OK;
}

static ct_status
foreign_restore(ct_stopper *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)s;
    (void)names;
    (void)v;
    (void)err;
    return CT_OK;
}

static void
foreign_free(ct_stopper *s)
{
    Py_DECREF(((foreign_stopper *)s)->object);
    ct_free(s);
}

static const ct_stopper_ops FOREIGN_OPS = {
    .name = "python",
    .foreign = true,
    .on_result = foreign_on_result,
    .stop_all = foreign_stop_all,
    .save = foreign_save,
    .restore = foreign_restore,
    .free = foreign_free,
};

static ct_stopper *
foreign_new(pyct_state *state, PyObject *object, PyObject *driver, bool asks_all,
            ct_err *err)
{
    foreign_stopper *self = ct_alloc(sizeof *self);
    if (self == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    *self =
        (foreign_stopper){{&FOREIGN_OPS}, state, Py_NewRef(object), driver, asks_all};
    return &self->stopper;
}

/* ---- the `stop` argument ---- */

/* Keys lend their text, which lives as long as the dict. */
static int
threshold_read(PyObject *key, PyObject *value, ct_threshold *out)
{
    Py_ssize_t len = 0;
    if (!PyUnicode_Check(key)) {
        PyErr_Format(PyExc_ValueError, "stop: a key must be a str, got %R", key);
        return -1;
    }
    out->key = PyUnicode_AsUTF8AndSize(key, &len);
    if (out->key == NULL) {
        return -1;
    }
    out->key_len = (size_t)len;
    if (PyDict_Check(value)) {
        PyErr_Format(PyExc_ValueError,
                     "stop[%R] is a dict; write nested keys as one, such as \"a/b\"",
                     key);
        return -1;
    }
    out->limit = PyFloat_AsDouble(value);
    if (out->limit == -1.0 && PyErr_Occurred()) {
        PyErr_Format(
            PyExc_ValueError,
            "stop[%R] must be a number (stop when the result is at least that), "
            "got %R",
            key, value);
        return -1;
    }
    return 0;
}

static ct_stopper *
thresholds_adapter(PyObject *dict, ct_err *err)
{
    size_t n = (size_t)PyDict_Size(dict);
    ct_threshold *items = ct_calloc(n > 0 ? n : 1, sizeof *items);
    ct_stopper *out = NULL;
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;
    size_t i = 0;
    int st = 0;
    if (items == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    while (st == 0 && i < n && PyDict_Next(dict, &at, &key, &value)) {
        st = threshold_read(key, value, &items[i++]);
    }
    if (st == 0) {
        (void)ct_stop_thresholds_new(&out, items, i, err);
    } else {
        (void)pyct_foreign(err);
    }
    ct_free(items);
    return out;
}

static ct_stopper *
any_adapter(pyct_state *state, PyObject *tuple, PyObject *driver, ct_err *err)
{
    size_t n = (size_t)PyTuple_GET_SIZE(tuple);
    size_t made = 0;
    ct_stopper *out = NULL;
    ct_stopper **members = ct_calloc(n > 0 ? n : 1, sizeof(ct_stopper *));
    if (members == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    while (made < n) {
        members[made] = pyct_stopper_adapter(
            state, PyTuple_GET_ITEM(tuple, (Py_ssize_t)made), driver, err);
        if (members[made] == NULL) {
            break;
        }
        made++;
    }
    if (made < n || ct_stop_any_new(&out, members, n, err) != CT_OK) {
        for (size_t i = 0; i < made; i++) {
            members[i]->ops->free(members[i]);
        }
    }
    ct_free(members);
    return out;
}

/* Whether the object still asks and answers as the native type. */
static int
still_native(pyct_state *state, PyObject *stop, PyTypeObject *native)
{
    if (!PyObject_TypeCheck(stop, native) ||
        Py_TYPE(stop)->tp_call != native->tp_call) {
        return 0;
    }
    int overridden = pyct_overridden(stop, native, state->str.stop_all);
    return overridden < 0 ? -1 : !overridden;
}

static ct_stopper *
native_adapter(pyct_state *state, PyObject *stop, PyTypeObject *native,
               PyObject *driver, ct_err *err)
{
    ct_stopper *out = NULL;
    if (native == state->stop_timeout_type) {
        return lend_budget(state, stop, err);
    }
    if (native == state->stop_iterations_type) {
        (void)ct_stop_iterations_new(&out, ((pyct_iterations *)stop)->max_iter, err);
        return out;
    }
    if (native == state->stop_never_type) {
        (void)ct_stop_any_new(&out, NULL, 0, err);
        return out;
    }
    PyObject *held = held_by(stop);
    if (held == NULL) {
        (void)pyct_foreign(err);
        return NULL;
    }
    return native == state->stop_any_type
               ? any_adapter(state, held, driver, err)
               : foreign_new(state, held, driver, false, err);
}

static ct_stopper *
stopper_adapter(pyct_state *state, PyObject *stop, PyObject *driver, ct_err *err)
{
    PyTypeObject *const natives[] = {
        state->stop_never_type, state->stop_iterations_type, state->stop_timeout_type,
        state->stop_function_type, state->stop_any_type};
    for (size_t i = 0; i < sizeof natives / sizeof natives[0]; i++) {
        int native = still_native(state, stop, natives[i]);
        if (native < 0) {
            (void)pyct_foreign(err);
            return NULL;
        }
        if (native == 1) {
            return native_adapter(state, stop, natives[i], driver, err);
        }
    }
    return foreign_new(state, stop, driver, true, err);
}

static ct_stopper *
sequence_adapter(pyct_state *state, PyObject *stop, PyObject *driver, ct_err *err)
{
    ct_stopper *out = NULL;
    PyObject *tuple = PySequence_Tuple(stop);
    if (tuple == NULL || check_stoppers(state, tuple, "stop") < 0) {
        (void)pyct_foreign(err);
    } else {
        out = any_adapter(state, tuple, driver, err);
    }
    Py_XDECREF(tuple);
    return out;
}

static ct_stopper *
callable_adapter(pyct_state *state, PyObject *stop, PyObject *driver, ct_err *err)
{
    if (PyObject_HasAttr(stop, state->str.stop_all)) {
        PyErr_Format(PyExc_ValueError,
                     "stop: %R has stop_all() but is no Stopper; derive its class from "
                     "ctune.stopper.Stopper",
                     stop);
        (void)pyct_foreign(err);
        return NULL;
    }
    return foreign_new(state, stop, driver, false, err);
}

ct_stopper *
pyct_stopper_adapter(pyct_state *state, PyObject *stop, PyObject *driver, ct_err *err)
{
    ct_stopper *out = NULL;
    if (stop == NULL || stop == Py_None) {
        (void)ct_stop_any_new(&out, NULL, 0, err);
        return out;
    }
    if (PyDict_Check(stop)) {
        return thresholds_adapter(stop, err);
    }
    if (PyObject_TypeCheck(stop, state->stopper_type)) {
        return stopper_adapter(state, stop, driver, err);
    }
    if (PyList_Check(stop) || PyTuple_Check(stop)) {
        return sequence_adapter(state, stop, driver, err);
    }
    if (PyCallable_Check(stop)) {
        return callable_adapter(state, stop, driver, err);
    }
    PyErr_Format(PyExc_ValueError,
                 "stop must be a dict, a Stopper, a list of Stoppers or a function"
                 "(trial_id, result), got %R",
                 stop);
    (void)pyct_foreign(err);
    return NULL;
}

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
