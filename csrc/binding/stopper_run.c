/* stopper_run.c: stoppers as policies of a run; see stopper.h. */
#include "stopper.h"

#include "driver.h"
#include "errors.h"
#include "guard.h"
#include "overrides.h"
#include "stopper_int.h"

#include "base/mem.h"
#include "stop/conditions.h"

#include <string.h>

/* ---- a stopper that lends its own condition to the run ---- */

typedef struct lent {
    ct_stopper stopper; /* first */
    pyct_state *state;
    ct_stopper **condition; /* the owner's, which may put another one there */
    PyObject *owner;        /* strong */
    bool timeout; /* the owner is a pyct_timeout, which tells when it is over */
} lent;

static ct_status
lent_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *r,
               bool *stop, ct_err *err)
{
    ct_stopper *condition = *((lent *)s)->condition;
    return condition->ops->on_result(condition, b, t, r, stop, err);
}

/* Telling needs the GIL, once; native turns may run without it. */
static ct_status
lent_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    lent *self = (lent *)s;
    ct_stopper *condition = *self->condition;
    ct_status st = condition->ops->stop_all(condition, b, stop, err);
    if (st != CT_OK || !*stop || !self->timeout) {
        return st;
    }
    pyct_timeout *owner = (pyct_timeout *)self->owner;
    if (!owner->told) {
        pyct_entry entry = pyct_enter(self->state);
        st = pyct_timeout_tell(self->state, owner) < 0 ? pyct_foreign(err) : CT_OK;
        pyct_leave(self->state, entry);
    }
    return st;
}

static void
lent_skip(ct_stopper *s, double seconds)
{
    ct_stopper *condition = *((lent *)s)->condition;
    if (condition->ops->skip != NULL) {
        condition->ops->skip(condition, seconds);
    }
}

static ct_status
lent_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    ct_stopper *condition = *((lent *)s)->condition;
    return condition->ops->save(condition, names, out, err);
}

static ct_status
lent_restore(ct_stopper *s, ct_names *names, const ct_value *v, const ct_past *past,
             ct_err *err)
{
    ct_stopper *condition = *((lent *)s)->condition;
    return condition->ops->restore(condition, names, v, past, err);
}

static void
lent_free(ct_stopper *s)
{
    Py_DECREF(((lent *)s)->owner);
    ct_free(s);
}

static const ct_stopper_ops LENT_OPS = {
    .name = "lent",
    .foreign = false,
    .on_result = lent_on_result,
    .stop_all = lent_stop_all,
    .skip = lent_skip,
    .save = lent_save,
    .restore = lent_restore,
    .free = lent_free,
};

static ct_stopper *
lend(pyct_state *state, PyObject *owner, ct_stopper **condition, bool timeout,
     ct_err *err)
{
    lent *self = ct_alloc(sizeof *self);
    if (self == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    *self = (lent){{&LENT_OPS}, state, condition, Py_NewRef(owner), timeout};
    return &self->stopper;
}

static ct_stopper *
lend_budget(pyct_state *state, PyObject *stop, ct_err *err)
{
    if (pyct_timeout_ready((pyct_timeout *)stop) < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    return lend(state, stop, &((pyct_timeout *)stop)->budget, true, err);
}

static ct_stopper *
lend_plateau(pyct_state *state, PyObject *stop, ct_err *err)
{
    pyct_plateau *self = pyct_plateau_ready(stop);
    if (self == NULL) {
        (void)pyct_foreign(err);
        return NULL;
    }
    return lend(state, stop, &self->engine, false, err);
}

static ct_stopper *
trial_plateau(PyObject *stop, ct_err *err)
{
    ct_stopper *out =
        pyct_plateau_ready(stop) != NULL ? pyct_plateau_fresh(stop) : NULL;
    if (out == NULL) {
        (void)pyct_foreign(err);
    }
    return out;
}

/* ---- a Python stopper or function in a run ---- */

typedef struct foreign_stopper {
    ct_stopper stopper; /* first */
    pyct_state *state;
    PyObject *object; /* strong */
    PyObject *driver; /* borrowed: it owns the adapter */
    bool asks_all;    /* has a stop_all() of its own */
} foreign_stopper;

/* Of a result before the run's snapshot, of which numbers alone are known. */
static PyObject *
numbers_dict(foreign_stopper *self, const ct_result *r)
{
    pyct_names *names = pyct_driver_names(self->driver);
    PyObject *unflatten =
        pyct_lazy(&self->state->unflatten, "ctune.utils.util", "unflatten_dict");
    PyObject *flat = unflatten != NULL ? PyDict_New() : NULL;
    int st = flat != NULL ? 0 : -1;
    for (size_t i = 0; st == 0 && i < r->count; i++) {
        PyObject *key = pyct_name_text(names, r->items[i].name);
        PyObject *value = PyFloat_FromDouble(r->items[i].value);
        st = key != NULL && value != NULL ? PyDict_SetItem(flat, key, value) : -1;
        Py_XDECREF(value);
    }
    PyObject *out = st == 0 ? PyObject_CallOneArg(unflatten, flat) : NULL;
    Py_XDECREF(flat);
    return out;
}

static ct_status
foreign_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                  bool *stop, ct_err *err)
{
    foreign_stopper *self = (foreign_stopper *)s;
    bool past = r->record == NULL || r->record->count == 0;
    PyObject *id = PyUnicode_FromString(ct_trials_get(b->trials, t)->id);
    PyObject *result = id == NULL ? NULL
                       : past     ? numbers_dict(self, r)
                                  : pyct_driver_result_dict(self->driver, r, t, 0);
    int yes = -1;
    if (result != NULL) {
        PyObject *const args[] = {id, result};
        yes = pyct_truth(PyObject_Vectorcall(self->object, args, 2, NULL));
    }
    if (yes < 0 && past && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear(); /* it misses what is no number; what it says does not count */
        yes = 0;
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
        yes = pyct_truth(
            PyObject_CallMethodNoArgs(self->object, self->state->str.stop_all));
    }
    *stop = yes == 1;
    return yes < 0 ? pyct_foreign(err) : CT_OK;
}

/* The name of its class: another one hears of what was before. What it knows, the object
 * keeps: see pyct_driver_keep_state. */
static ct_status
foreign_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    foreign_stopper *self = (foreign_stopper *)s;
    const char *name = Py_TYPE(self->object)->tp_name;
    (void)names;
    return ct_str(out, name, strlen(name), err);
}

static ct_status
foreign_restore(ct_stopper *s, ct_names *names, const ct_value *v, const ct_past *past,
                ct_err *err)
{
    foreign_stopper *self = (foreign_stopper *)s;
    const char *name = Py_TYPE(self->object)->tp_name;
    (void)names, (void)past;
    return v->kind == CT_STR && strcmp(v->u.s, name) == 0
               ? CT_OK
               : ct_fail(err, CT_ECORRUPT, "stop", "the saved state is not one of %s",
                         name);
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
    if (pyct_driver_keep_state(driver, object, false) < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
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
    out->key = pyct_utf8(key, &len);
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

/* Makes one stopper of several. */
typedef ct_status (*joiner)(ct_stopper **out, ct_stopper *const *members, size_t count,
                            ct_err *err);

static ct_stopper *
joined_adapter(pyct_state *state, PyObject *tuple, joiner join, PyObject *driver,
               ct_err *err)
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
    if (made < n || join(&out, members, n, err) != CT_OK) {
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
    if (native == state->stop_trial_plateau_type) {
        return trial_plateau(stop, err);
    }
    if (native == state->stop_experiment_plateau_type) {
        return lend_plateau(state, stop, err);
    }
    if (native == state->stop_never_type) {
        (void)ct_stop_any_new(&out, NULL, 0, err);
        return out;
    }
    PyObject *held = pyct_stopper_held(stop);
    if (held == NULL) {
        (void)pyct_foreign(err);
        return NULL;
    }
    return native == state->stop_any_type
               ? joined_adapter(state, held, ct_stop_any_new, driver, err)
               : foreign_new(state, held, driver, false, err);
}

static ct_stopper *
stopper_adapter(pyct_state *state, PyObject *stop, PyObject *driver, ct_err *err)
{
    PyTypeObject *const natives[] = {state->stop_never_type,
                                     state->stop_iterations_type,
                                     state->stop_timeout_type,
                                     state->stop_function_type,
                                     state->stop_trial_plateau_type,
                                     state->stop_experiment_plateau_type,
                                     state->stop_any_type};
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

/* Members may be whatever the argument itself may be. */
static ct_stopper *
sequence_adapter(pyct_state *state, PyObject *stop, PyObject *driver, ct_err *err)
{
    ct_stopper *out = NULL;
    PyObject *tuple = PySequence_Tuple(stop);
    if (tuple == NULL) {
        (void)pyct_foreign(err);
    } else {
        out = joined_adapter(state, tuple, ct_stop_any_new, driver, err);
    }
    Py_XDECREF(tuple);
    return out;
}

static ct_stopper *
callable_adapter(pyct_state *state, PyObject *stop, PyObject *driver, ct_err *err)
{
    int has = pyct_has(stop, state->str.stop_all);
    if (has == 1) {
        PyErr_Format(PyExc_ValueError,
                     "stop: %R has stop_all() but is no Stopper; derive its class from "
                     "ctune.stopper.Stopper",
                     stop);
    }
    if (has != 0) {
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
    if (PyTuple_Check(stop)) { /* of the runs of several experiments: one for each */
        return joined_adapter(state, stop, ct_stop_by_experiment_new, driver, err);
    }
    if (PyList_Check(stop)) {
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
