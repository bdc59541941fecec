/* trial.c: _ctune.TrialView. */
#include "trial.h"

#include "driver_int.h"
#include "errors.h"
#include "guard.h"
#include "np.h"
#include "types.h"

#include "base/keys.h"

#include <string.h>

typedef struct pyct_view {
    PyObject_HEAD
    pyct_driver *driver; /* strong */
    PyObject *config;    /* dict, or NULL until asked for */
    uint32_t revision;   /* of that config */
    ct_trial_id number;
} pyct_view;

static const ct_trial *
trial_of(pyct_view *self)
{
    return ct_trials_get(pyct_driver_board(self->driver)->trials, self->number);
}

PyObject *
pyct_trial_view_new(pyct_state *state, PyObject *driver, ct_trial_id t)
{
    pyct_view *self = PyObject_GC_New(pyct_view, state->trial_view_type);

    if (self == NULL) {
        return NULL;
    }
    self->driver = (pyct_driver *)Py_NewRef(driver);
    self->config = NULL;
    self->revision = 0;
    self->number = t;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

ct_trial_id
pyct_trial_view_number(PyObject *view)
{
    return ((pyct_view *)view)->number;
}

static int
view_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((pyct_view *)op)->driver);
    Py_VISIT(((pyct_view *)op)->config);
    return 0;
}

/* The driver stays: a view without one could answer nothing. The cycle driver → views is
 * broken by the driver's clear. */
static int
view_clear(PyObject *op)
{
    Py_CLEAR(((pyct_view *)op)->config);
    return 0;
}

static void
view_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    view_clear(op);
    Py_DECREF(((pyct_view *)op)->driver);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyObject *
text(const char *t)
{
    if (t == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeUTF8(t, (Py_ssize_t)strlen(t), "surrogateescape");
}

PyObject *
pyct_trial_view_config(PyObject *view)
{
    pyct_view *self = (pyct_view *)view;

    if (self->config != NULL && self->revision != trial_of(self)->revision) {
        Py_CLEAR(self->config);
    }
    if (self->config == NULL) {
        self->revision = trial_of(self)->revision;
        self->config = pyct_value_to_object(self->driver->state, self->driver->names,
                                            &trial_of(self)->config);
    }
    return self->config;
}

/* X(attribute, maker of its object from trial t of view self, doc) */
#define VIEW_LIST(X)                                                                   \
    X(index, PyLong_FromUnsignedLong(self->number), "int: position in the table.")     \
    X(trial_id, text(t->id), "str.")                                                   \
    X(status, text(ct_trial_status_name((ct_trial_status)t->status)),                  \
      "str: PENDING, RUNNING, PAUSED, TERMINATED or ERROR.")                           \
    X(evaluated_params,                                                                \
      pyct_value_to_object(self->driver->state, self->driver->names,                   \
                           t->evaluated.kind == CT_NIL ? &t->config : &t->evaluated),  \
      "dict path -> sampled value.")                                                   \
    X(experiment_tag, text(t->tag == NULL ? "" : t->tag), "str.")                      \
    X(name, text(t->name), "str: name for people.")                                    \
    X(path, text(t->dir), "str or None: the trial's directory.")                       \
    X(num_failures, PyLong_FromUnsignedLong(t->failures), "int: failures so far.")     \
    X(error_file, text(t->error_file), "str or None: path of error.txt.")              \
    X(start_time, PyFloat_FromDouble(t->start_time), "float: first start; 0 = never.") \
    X(last_result_time, PyFloat_FromDouble(t->last_result_time), "float; 0 = never.")  \
    X(experiment, PyLong_FromUnsignedLong(t->experiment),                              \
      "int: number of its experiment.")                                                \
    X(results, PyLong_FromUnsignedLong(t->results), "int: results so far.")            \
    X(pid, PyLong_FromLong(t->worker_pid), "int: of its latest worker.")

#define VIEW_GETTER(attribute, made, doc)                                              \
    static PyObject *get_##attribute(PyObject *op, void *closure)                      \
    {                                                                                  \
        pyct_view *self = (pyct_view *)op;                                             \
        const ct_trial *t = trial_of(self);                                            \
        (void)closure;                                                                 \
        (void)t;                                                                       \
        return made;                                                                   \
    }
VIEW_LIST(VIEW_GETTER)

static PyObject *
get_config(PyObject *op, void *closure)
{
    (void)closure;
    return Py_XNewRef(pyct_trial_view_config(op));
}

static PyObject *
get_resources(PyObject *op, void *closure)
{
    pyct_view *self = (pyct_view *)op;
    const ct_board *b = pyct_driver_board(self->driver);

    (void)closure;
    return pyct_value_to_object(
        self->driver->state, self->driver->names,
        ct_resources_request_value(b->resources, trial_of(self)->request));
}

/* A packed record as a dict. */
static PyObject *
packed_dict(pyct_view *self, const uint8_t *data, size_t len)
{
    ct_record rec = CT_RECORD_INIT;
    ct_reader in = ct_reader_of(data, len);
    ct_err err = CT_ERR_INIT;
    PyObject *config = pyct_trial_view_config((PyObject *)self);
    PyObject *out = NULL;

    if (config != NULL) {
        out = ct_record_unpack(&rec, &in, NULL, 0, &err) == CT_OK
                  ? pyct_record_to_dict(self->driver->state, self->driver->names, &rec,
                                        config, false)
                  : pyct_raise(self->driver->state, &err);
    }
    ct_record_deinit(&rec);
    return out;
}

static PyObject *
get_last_result(PyObject *op, void *closure)
{
    pyct_view *self = (pyct_view *)op;
    const ct_trial *t = trial_of(self);

    (void)closure;
    if (t->last == NULL) {
        return PyDict_New();
    }
    PyObject *out = packed_dict(self, t->last, t->last_len);
    PyObject *tag = out == NULL ? NULL : get_experiment_tag(op, NULL);
    if (tag == NULL || PyDict_SetItemString(out, "experiment_tag", tag) < 0) {
        Py_CLEAR(out);
    }
    Py_XDECREF(tag);
    return out;
}

static PyObject *
view_checkpoints(PyObject *op, PyObject *ignored)
{
    pyct_view *self = (pyct_view *)op;
    const ct_trial *t = trial_of(self);
    PyObject *out = PyList_New(0);

    (void)ignored;
    for (uint32_t i = 0; out != NULL && i < t->checkpoint_count; i++) {
        const ct_checkpoint *k = &t->checkpoints[i];
        if (k->bad) {
            continue;
        }
        PyObject *metrics = k->metrics == NULL
                                ? PyDict_New()
                                : packed_dict(self, k->metrics, k->metrics_len);
        PyObject *item = metrics == NULL
                             ? NULL
                             : Py_BuildValue("(NNI)", text(k->path), metrics, k->index);
        if (item == NULL || PyList_Append(out, item) < 0) {
            Py_CLEAR(out);
        }
        Py_XDECREF(item);
    }
    return out;
}

/* (path, metrics, index) of the checkpoint of another trial that it goes on from. */
static PyObject *
get_source(PyObject *op, void *closure)
{
    pyct_view *self = (pyct_view *)op;
    const ct_trials *trials = pyct_driver_board(self->driver)->trials;
    const ct_checkpoint *k = ct_trials_checkpoint(trials, trial_of(self)->from);

    (void)closure;
    if (k == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *metrics = k->metrics == NULL
                            ? PyDict_New()
                            : packed_dict(self, k->metrics, k->metrics_len);
    return metrics == NULL ? NULL
                           : Py_BuildValue("(NNI)", text(k->path), metrics, k->index);
}

static PyObject *
view_metric_names(PyObject *op, PyObject *ignored)
{
    pyct_view *self = (pyct_view *)op;
    const ct_name *names;
    size_t n = ct_metrics_names(pyct_driver_board(self->driver)->metrics, self->number,
                                &names);
    PyObject *out = PyTuple_New((Py_ssize_t)n);

    (void)ignored;
    for (size_t i = 0; out != NULL && i < n; i++) {
        PyObject *name = pyct_name_text(self->driver->names, names[i]);
        if (name == NULL) {
            Py_CLEAR(out);
        } else {
            PyTuple_SET_ITEM(out, (Py_ssize_t)i, Py_NewRef(name));
        }
    }
    return out;
}

static ct_name
find_name(pyct_view *self, PyObject *name)
{
    Py_ssize_t len;
    const char *utf8 = PyUnicode_Check(name) ? pyct_utf8(name, &len) : NULL;

    if (utf8 == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_TypeError, "metric: the name must be a str, got %.100s",
                         Py_TYPE(name)->tp_name);
        }
        return CT_NAME_NONE;
    }
    return ct_names_find(pyct_names_table(self->driver->names), utf8, (size_t)len);
}

static void
release_block(PyObject *capsule)
{
    ct_column_block_release(PyCapsule_GetPointer(capsule, "ctune.column"));
}

/* metric(name): the column without copying; its base keeps the block alive. */
static PyObject *
view_metric(PyObject *op, PyObject *name)
{
    pyct_view *self = (pyct_view *)op;
    ct_name n = find_name(self, name);
    ct_column column;

    if (n == CT_NAME_NONE) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    if (pyct_numpy() < 0) {
        return NULL;
    }
    if (!ct_metrics_column(ct_control_metrics(self->driver->control), self->number, n,
                           &column) ||
        column.block == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *capsule = PyCapsule_New(column.block, "ctune.column", release_block);
    if (capsule == NULL) {
        ct_column_block_release(column.block);
        return NULL;
    }
    npy_intp shape[1] = {(npy_intp)column.rows};
    PyObject *array =
        PyArray_New(&PyArray_Type, 1, shape, NPY_DOUBLE, NULL,
                    (void *)(uintptr_t)column.data, 0, NPY_ARRAY_CARRAY_RO, NULL);
    if (array == NULL ||
        PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(capsule)) < 0) {
        Py_XDECREF(array);
        Py_DECREF(capsule);
        return NULL;
    }
    Py_DECREF(capsule);
    return array;
}

/* Automatic keys that say who and when, not how well: no statistics. */
static bool
is_debug(ct_name n)
{
    return n == CT_KEY_TIMESTAMP || n == CT_KEY_PID || n == CT_KEY_DATE ||
           n == CT_KEY_TRIAL_ID || n == CT_KEY_HOSTNAME || n == CT_KEY_NODE_IP ||
           n == CT_KEY_CONFIG;
}

/* dict metric -> what `describe` makes of it, without those that were never reported, of which
 * it says None. */
static PyObject *
by_metric(pyct_view *self,
          PyObject *(*describe)(const ct_metrics *m, ct_trial_id t, ct_name name))
{
    const ct_metrics *metrics = pyct_driver_board(self->driver)->metrics;
    const ct_name *names;
    size_t n = ct_metrics_names(metrics, self->number, &names);
    PyObject *out = PyDict_New();

    for (size_t i = 0; out != NULL && i < n; i++) {
        if (is_debug(names[i])) {
            continue;
        }
        PyObject *key = pyct_name_text(self->driver->names, names[i]);
        PyObject *found =
            key == NULL ? NULL : describe(metrics, self->number, names[i]);
        if (found == NULL ||
            (found != Py_None && PyDict_SetItem(out, key, found) < 0)) {
            Py_CLEAR(out);
        }
        Py_XDECREF(found);
    }
    return out;
}

static PyObject *
stats_dict(const ct_metrics *m, ct_trial_id t, ct_name name)
{
    ct_metric_stats s;

    if (!ct_metrics_stats(m, t, name, &s)) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("{sdsdsdsdsdsd}", "max", s.max, "min", s.min, "avg", s.avg,
                         "last", s.last, "last-5-avg", s.last5, "last-10-avg",
                         s.last10);
}

static PyObject *
newest_list(const ct_metrics *m, ct_trial_id t, ct_name name)
{
    double values[CT_METRIC_NEWEST];
    size_t count = ct_metrics_newest(m, t, name, values);

    if (count == 0) {
        Py_RETURN_NONE;
    }
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *value = PyFloat_FromDouble(values[i]);
        if (value == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, value);
        }
    }
    return list;
}

static PyObject *
view_metric_analysis(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    return by_metric((pyct_view *)op, stats_dict);
}

/* newest(): dict metric -> list of its newest values, at most ten, oldest first. */
static PyObject *
view_newest(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    return by_metric((pyct_view *)op, newest_list);
}

static PyObject *
view_repr(PyObject *op)
{
    const ct_trial *t = trial_of((pyct_view *)op);

    return PyUnicode_FromFormat("<TrialView %s %s>", t->id,
                                ct_trial_status_name((ct_trial_status)t->status));
}

/* resize(amounts) */
static PyObject *
view_resize(PyObject *op, PyObject *amounts)
{
    pyct_view *self = (pyct_view *)op;

    return pyct_driver_resize((PyObject *)self->driver, self->number, amounts) == 0
               ? Py_NewRef(Py_None)
               : NULL;
}

/* Other threads may ask while the run works. */
#define VIEW_GUARD(attribute, made, doc) PYCT_GUARD_GETTER(get_##attribute)
VIEW_LIST(VIEW_GUARD)
PYCT_GUARD_GETTER(get_config)
PYCT_GUARD_GETTER(get_resources)
PYCT_GUARD_GETTER(get_last_result)
PYCT_GUARD_GETTER(get_source)
PYCT_GUARD_UNARY(view_metric)
PYCT_GUARD_UNARY(view_metric_names)
PYCT_GUARD_UNARY(view_metric_analysis)
PYCT_GUARD_UNARY(view_newest)
PYCT_GUARD_UNARY(view_checkpoints)

static PyGetSetDef view_getset[] = {
#define VIEW_GETSET(attribute, made, doc)                                              \
    {#attribute, guarded_get_##attribute, NULL, doc, NULL},
    VIEW_LIST(VIEW_GETSET){"config", guarded_get_config, NULL,
                           "dict: the same object each time.", NULL},
    {"resources", guarded_get_resources, NULL, "dict name -> amount.", NULL},
    {"last_result", guarded_get_last_result, NULL,
     "dict: nested; empty before the first.", NULL},
    {"source", guarded_get_source, NULL,
     "(path, metrics dict, index) of the checkpoint of another trial that it goes on from, "
     "until it has saved one of its own; else None.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef view_methods[] = {
    {"metric", guarded_view_metric, METH_O,
     "metric($self, name, /)\n--\n\n"
     "float64[rows]: the metric's newest values, oldest first, NaN where a result "
     "lacks it: all up to 1,024 or more of a live trial, ten of one that ended with "
     "more than 14; read-only, not a copy. None if it was never reported."},
    {"metric_names", guarded_view_metric_names, METH_NOARGS,
     "metric_names($self, /)\n--\n\n"
     "tuple of str."},
    {"metric_analysis", guarded_view_metric_analysis, METH_NOARGS,
     "metric_analysis($self, /)\n--\n\n"
     "dict metric -> dict of max, min, avg, last, last-5-avg, "
     "last-10-avg."},
    {"newest", guarded_view_newest, METH_NOARGS,
     "newest($self, /)\n--\n\n"
     "dict metric -> its newest values, at most ten, oldest first."},
    {"resize", view_resize, METH_O,
     "resize($self, amounts, /)\n--\n\n"
     "Order: other resources, dict name -> amount, while a scheduler is asked."},
    {"checkpoints", guarded_view_checkpoints, METH_NOARGS,
     "checkpoints($self, /)\n--\n\n"
     "list of (path, metrics dict, index), oldest first."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot view_slots[] = {
    {Py_tp_dealloc, PYCT_SLOT(view_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(view_traverse)},
    {Py_tp_clear, PYCT_SLOT(view_clear)},
    {Py_tp_repr, PYCT_SLOT(view_repr)},
    {Py_tp_methods, view_methods},
    {Py_tp_getset, view_getset},
    {Py_tp_doc, "One trial of a run, read-only."},
    {0, NULL},
};

static PyType_Spec view_spec = {
    .name = "ctune._ctune.TrialView",
    .basicsize = sizeof(pyct_view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = view_slots,
};

int
pyct_trial_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->trial_view_type, &view_spec, NULL);
}
