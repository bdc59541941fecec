/* stopper_plateau.c: TrialPlateauStopper and ExperimentPlateauStopper.
 *
 * Each holds a condition of stop/plateau. Alone, trials are known by their id. In a run the
 * one about trials starts anew with the run's trials; the one about the experiment lends
 * its condition, so that what it has seen can be asked afterwards. */
#include "convert.h"
#include "errors.h"
#include "guard.h"
#include "overrides.h"
#include "stopper_int.h"
#include "types.h"

#include <math.h>

static void
engine_free(pyct_plateau *self)
{
    if (self->engine != NULL) {
        self->engine->ops->free(self->engine);
        self->engine = NULL;
    }
}

static int
plateau_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_plateau *self = (pyct_plateau *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->options);
    Py_VISIT(self->numbers);
    return 0;
}

static int
plateau_clear(PyObject *op)
{
    pyct_plateau *self = (pyct_plateau *)op;
    Py_CLEAR(self->options);
    Py_CLEAR(self->numbers);
    return 0;
}

static void
plateau_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)plateau_clear(op);
    engine_free((pyct_plateau *)op);
    type->tp_free(op);
    Py_DECREF(type);
}

pyct_plateau *
pyct_plateau_ready(PyObject *op)
{
    if (((pyct_plateau *)op)->engine == NULL) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s.__init__() did not call super().__init__()",
                     Py_TYPE(op)->tp_name);
        return NULL;
    }
    return (pyct_plateau *)op;
}

/* ---- options ---- */

static int
text_option(PyObject *value, const char *name, const char **out, size_t *len)
{
    Py_ssize_t n = 0;
    if (!PyUnicode_Check(value) || PyUnicode_GET_LENGTH(value) == 0) {
        PyErr_Format(PyExc_ValueError,
                     "%s must be the name of a metric in the results, got %R", name,
                     value);
        return -1;
    }
    *out = PyUnicode_AsUTF8AndSize(value, &n);
    *len = (size_t)n;
    return *out != NULL ? 0 : -1;
}

static int
number_option(PyObject *value, const char *name, double *out)
{
    *out = PyFloat_AsDouble(value);
    if (*out == -1.0 && PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError, "%s must be a number, got %R", name, value);
        return -1;
    }
    return 0;
}

static int
count_option(PyObject *value, const char *name, int64_t *out)
{
    if (!PyLong_Check(value)) {
        PyErr_Format(PyExc_ValueError, "%s must be an int, got %R", name, value);
        return -1;
    }
    int overflow = 0;
    *out = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) {
        *out = overflow > 0 ? INT64_MAX : INT64_MIN;
    }
    return 0;
}

/* "min" or "max". */
static int
mode_option(PyObject *value, bool *maximize)
{
    bool text = PyUnicode_Check(value);
    *maximize = text && PyUnicode_CompareWithASCIIString(value, "max") == 0;
    if (*maximize || (text && PyUnicode_CompareWithASCIIString(value, "min") == 0)) {
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "mode must be \"min\" or \"max\", got %R", value);
    return -1;
}

/* Takes the condition and remembers the arguments it was made of. */
static int
engine_set(pyct_plateau *self, ct_stopper *engine, PyObject *options)
{
    PyObject *numbers = PyDict_New();
    if (numbers == NULL) {
        engine->ops->free(engine);
        return -1;
    }
    engine_free(self);
    self->engine = engine;
    Py_XSETREF(self->options, Py_NewRef(options));
    Py_XSETREF(self->numbers, numbers);
    return 0;
}

/* The condition that a tuple of all arguments describes; NULL with an exception. */
static ct_stopper *
trial_engine(pyct_state *state, PyObject *options)
{
    PyObject *metric;
    PyObject *std;
    PyObject *num_results;
    PyObject *grace_period;
    PyObject *threshold;
    PyObject *mode;
    ct_trial_plateau_opts o = {0};
    if (!PyArg_ParseTuple(options, "OOOOOO", &metric, &std, &num_results, &grace_period,
                          &threshold, &mode) ||
        text_option(metric, "metric", &o.metric, &o.metric_len) < 0 ||
        number_option(std, "std", &o.std) < 0 ||
        count_option(num_results, "num_results", &o.num_results) < 0 ||
        count_option(grace_period, "grace_period", &o.grace_period) < 0) {
        return NULL;
    }
    o.has_threshold = threshold != Py_None;
    if (o.has_threshold && mode == Py_None) {
        PyErr_SetString(
            PyExc_ValueError,
            "metric_threshold needs mode: \"min\" when the metric has to be "
            "at most the threshold, \"max\" when it has to be at least that");
        return NULL;
    }
    if ((o.has_threshold &&
         number_option(threshold, "metric_threshold", &o.threshold) < 0) ||
        (mode != Py_None && mode_option(mode, &o.maximize) < 0)) {
        return NULL;
    }
    ct_err err = CT_ERR_INIT;
    ct_stopper *out = NULL;
    if (ct_stop_trial_plateau_new(&out, &o, &err) != CT_OK) {
        (void)pyct_raise(state, &err);
    }
    return out;
}

static ct_stopper *
experiment_engine(pyct_state *state, PyObject *options)
{
    PyObject *metric;
    PyObject *std;
    PyObject *top;
    PyObject *mode;
    PyObject *patience;
    ct_experiment_plateau_opts o = {0};
    if (!PyArg_ParseTuple(options, "OOOOO", &metric, &std, &top, &mode, &patience) ||
        text_option(metric, "metric", &o.metric, &o.metric_len) < 0 ||
        number_option(std, "std", &o.std) < 0 || count_option(top, "top", &o.top) < 0 ||
        mode_option(mode, &o.maximize) < 0 ||
        count_option(patience, "patience", &o.patience) < 0) {
        return NULL;
    }
    ct_err err = CT_ERR_INIT;
    ct_stopper *out = NULL;
    if (ct_stop_experiment_plateau_new(&out, &o, &err) != CT_OK) {
        (void)pyct_raise(state, &err);
    }
    return out;
}

static bool
about_trials(PyObject *op)
{
    return PyObject_TypeCheck(op, pyct_state_of(op)->stop_trial_plateau_type);
}

static ct_stopper *
engine_of(PyObject *op, PyObject *options)
{
    pyct_state *state = pyct_state_of(op);
    return about_trials(op) ? trial_engine(state, options)
                            : experiment_engine(state, options);
}

static int
set_options(PyObject *op, PyObject *options)
{
    ct_stopper *engine = options != NULL ? engine_of(op, options) : NULL;
    int st = engine != NULL ? engine_set((pyct_plateau *)op, engine, options) : -1;
    Py_XDECREF(options);
    return st;
}

static int
trial_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"metric",           "std",  "num_results", "grace_period",
                            "metric_threshold", "mode", NULL};
    PyObject *v[6] = {NULL, NULL, NULL, NULL, Py_None, Py_None};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO|OO", names, &v[0], &v[1],
                                     &v[2], &v[3], &v[4], &v[5])) {
        return -1;
    }
    return set_options(op, PyTuple_Pack(6, v[0], v[1], v[2], v[3], v[4], v[5]));
}

static int
experiment_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"metric", "std", "top", "mode", "patience", NULL};
    PyObject *v[5];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO", names, &v[0], &v[1], &v[2],
                                     &v[3], &v[4])) {
        return -1;
    }
    return set_options(op, PyTuple_Pack(5, v[0], v[1], v[2], v[3], v[4]));
}

ct_stopper *
pyct_plateau_fresh(PyObject *op)
{
    return engine_of(op, ((pyct_plateau *)op)->options);
}

/* ---- calls ---- */

/* result[metric], new; NULL without exception when it is missing. */
static PyObject *
reported(pyct_plateau *self, PyObject *result)
{
    PyObject *metric = PyTuple_GET_ITEM(self->options, 0);
    int has = PySequence_Contains(result, metric);
    return has == 1 ? PyObject_GetItem(result, metric) : NULL;
}

/* The number of a trial id, given out when it is first met; -1 with an exception. */
static long long
number_of(pyct_plateau *self, PyObject *trial_id)
{
    PyObject *known = PyDict_GetItemWithError(self->numbers, trial_id);
    if (known != NULL || PyErr_Occurred()) {
        return known != NULL ? PyLong_AsLongLong(known) : -1;
    }
    Py_ssize_t n = PyDict_GET_SIZE(self->numbers);
    PyObject *fresh = PyLong_FromSsize_t(n);
    int st = fresh == NULL ? -1 : PyDict_SetItem(self->numbers, trial_id, fresh);
    Py_XDECREF(fresh);
    return st < 0 ? -1 : n;
}

static PyObject *
trial_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pyct_plateau *self = pyct_plateau_ready(op);
    PyObject *trial_id;
    PyObject *result;
    if (self == NULL || pyct_stopper_args(args, kwargs, &trial_id, &result) < 0) {
        return NULL;
    }
    PyObject *value = reported(self, result);
    double v = value != NULL ? PyFloat_AsDouble(value) : (double)NAN;
    Py_XDECREF(value);
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError) &&
            !PyErr_ExceptionMatches(PyExc_ValueError)) {
            return NULL;
        }
        PyErr_Clear(); /* what is no number has no spread */
        v = (double)NAN;
    }
    long long t = number_of(self, trial_id);
    if (t < 0) {
        return NULL;
    }
    bool stop = false;
    ct_err err = CT_ERR_INIT;
    if (ct_stop_trial_plateau_check(self->engine, (ct_trial_id)t, v, &stop, &err) !=
        CT_OK) {
        return pyct_raise(pyct_state_of(op), &err);
    }
    return PyBool_FromLong(stop);
}

static PyObject *
experiment_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pyct_plateau *self = pyct_plateau_ready(op);
    PyObject *trial_id;
    PyObject *result;
    if (self == NULL || pyct_stopper_args(args, kwargs, &trial_id, &result) < 0) {
        return NULL;
    }
    PyObject *value = reported(self, result);
    if (value == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(
                PyExc_KeyError,
                "the result has no %R, which ExperimentPlateauStopper looks at",
                PyTuple_GET_ITEM(self->options, 0));
        }
        return NULL;
    }
    double v = PyFloat_AsDouble(value);
    Py_DECREF(value);
    if (v == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    return PyBool_FromLong(ct_stop_experiment_plateau_check(self->engine, v));
}

static PyObject *
trial_stop_all(PyObject *op, PyObject *ignored)
{
    (void)op;
    (void)ignored;
    Py_RETURN_FALSE;
}

static PyObject *
experiment_stop_all(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_plateau *self = pyct_plateau_ready(op);
    return self == NULL
               ? NULL
               : PyBool_FromLong(ct_stop_experiment_plateau_over(self->engine));
}

static PyObject *
experiment_has_plateaued(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_plateau *self = pyct_plateau_ready(op);
    return self == NULL
               ? NULL
               : PyBool_FromLong(ct_stop_experiment_plateau_reached(self->engine));
}

/* ---- state: options, numbers of the ids, what the condition saves, attributes ---- */

static PyObject *
engine_state(pyct_state *state, pyct_plateau *self)
{
    pyct_names *names = pyct_names_new(state);
    ct_err err = CT_ERR_INIT;
    ct_value saved = ct_nil();
    PyObject *out = NULL;
    if (names == NULL) {
        return NULL;
    }
    if (self->engine->ops->save(self->engine, pyct_names_table(names), &saved, &err) ==
        CT_OK) {
        out = pyct_value_to_object(state, names, &saved);
    } else {
        (void)pyct_raise(state, &err);
    }
    ct_value_deinit(&saved);
    pyct_names_free(names);
    return out;
}

static int
engine_restore(pyct_state *state, ct_stopper *engine, PyObject *saved)
{
    pyct_names *names = pyct_names_new(state);
    ct_err err = CT_ERR_INIT;
    ct_value value = ct_nil();
    int st = names == NULL ? -1 : pyct_value_from_object(state, names, saved, &value);
    if (st == 0 && engine->ops->restore(engine, pyct_names_table(names), &value, NULL,
                                        &err) != CT_OK) {
        (void)pyct_raise(state, &err);
        st = -1;
    }
    ct_value_deinit(&value);
    if (names != NULL) {
        pyct_names_free(names);
    }
    return st;
}

static PyObject *
plateau_getstate(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_plateau *self = pyct_plateau_ready(op);
    PyObject *saved = self != NULL ? engine_state(pyct_state_of(op), self) : NULL;
    PyObject *numbers = saved != NULL ? PyDict_Copy(self->numbers) : NULL;
    PyObject *attributes = numbers != NULL ? pyct_attributes(op) : NULL;
    if (attributes == NULL) {
        Py_XDECREF(saved);
        Py_XDECREF(numbers);
        return NULL;
    }
    return Py_BuildValue("(ONNN)", self->options, numbers, saved, attributes);
}

/* The numbers have to be 0, 1, … : the condition keeps its trials by them. */
static int
numbers_check(PyObject *numbers)
{
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;
    Py_ssize_t wanted = 0;
    while (PyDict_Next(numbers, &at, &key, &value)) {
        if (!PyLong_Check(value) || PyLong_AsSsize_t(value) != wanted++) {
            PyErr_Clear();
            PyErr_SetString(PyExc_ValueError,
                            "the saved numbers of the trials are damaged");
            return -1;
        }
    }
    return 0;
}

static PyObject *
plateau_setstate(PyObject *op, PyObject *saved)
{
    PyObject *options;
    PyObject *numbers;
    PyObject *state;
    PyObject *attributes;
    if (!PyArg_ParseTuple(saved, "O!O!OO!", &PyTuple_Type, &options, &PyDict_Type,
                          &numbers, &state, &PyDict_Type, &attributes) ||
        numbers_check(numbers) < 0) {
        return NULL;
    }
    PyObject *copy = PyDict_Copy(numbers);
    ct_stopper *engine = copy != NULL ? engine_of(op, options) : NULL;
    if (engine == NULL) {
        Py_XDECREF(copy);
        return NULL;
    }
    if (engine_restore(pyct_state_of(op), engine, state) < 0 ||
        pyct_set_attributes(op, attributes) < 0) {
        Py_DECREF(copy);
        engine->ops->free(engine);
        return NULL;
    }
    if (engine_set((pyct_plateau *)op, engine, options) < 0) {
        Py_DECREF(copy);
        return NULL;
    }
    Py_XSETREF(((pyct_plateau *)op)->numbers, copy);
    Py_RETURN_NONE;
}

/* ---- the types ---- */

/* A run that it was lent to may be at work in another thread. */
PYCT_GUARD_UNARY(experiment_stop_all)
PYCT_GUARD_UNARY(experiment_has_plateaued)
PYCT_GUARD_UNARY(plateau_getstate)
PYCT_GUARD_UNARY(plateau_setstate)
PYCT_GUARD_CALL(experiment_call)

static PyMethodDef trial_methods[] = {
    {"stop_all", trial_stop_all, METH_NOARGS, "stop_all($self, /)\n--\n\nFalse."},
    {"__getstate__", guarded_plateau_getstate, METH_NOARGS, NULL},
    {"__setstate__", guarded_plateau_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot trial_slots[] = {
    {Py_tp_init, PYCT_SLOT(trial_init)},
    {Py_tp_dealloc, PYCT_SLOT(plateau_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(plateau_traverse)},
    {Py_tp_clear, PYCT_SLOT(plateau_clear)},
    {Py_tp_call, PYCT_SLOT(trial_call)},
    {Py_tp_methods, trial_methods},
    {Py_tp_doc, "A trial's plateau: the base of ctune.stopper.TrialPlateauStopper."},
    {0, NULL},
};

static PyType_Spec trial_spec = {
    .name = "ctune._ctune.TrialPlateauStopper",
    .basicsize = sizeof(pyct_plateau),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = trial_slots,
};

static PyMethodDef experiment_methods[] = {
    {"stop_all", guarded_experiment_stop_all, METH_NOARGS,
     "stop_all($self, /)\n--\n\nWhether the last result found a plateau that lasts."},
    {"has_plateaued", guarded_experiment_has_plateaued, METH_NOARGS,
     "has_plateaued($self, /)\n--\n\nWhether the best values are a plateau now."},
    {"__getstate__", guarded_plateau_getstate, METH_NOARGS, NULL},
    {"__setstate__", guarded_plateau_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot experiment_slots[] = {
    {Py_tp_init, PYCT_SLOT(experiment_init)},
    {Py_tp_dealloc, PYCT_SLOT(plateau_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(plateau_traverse)},
    {Py_tp_clear, PYCT_SLOT(plateau_clear)},
    {Py_tp_call, PYCT_SLOT(guarded_experiment_call)},
    {Py_tp_methods, experiment_methods},
    {Py_tp_doc,
     "The best values' plateau: the base of ctune.stopper.ExperimentPlateauStopper."},
    {0, NULL},
};

static PyType_Spec experiment_spec = {
    .name = "ctune._ctune.ExperimentPlateauStopper",
    .basicsize = sizeof(pyct_plateau),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = experiment_slots,
};

int
pyct_plateau_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->stop_trial_plateau_type, &trial_spec,
                         state->stopper_type) < 0 ||
                   pyct_add_type(module, &state->stop_experiment_plateau_type,
                                 &experiment_spec, state->stopper_type) < 0
               ? -1
               : 0;
}
