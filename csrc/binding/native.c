/* native.c: see native.h. */
#include "native.h"

#include "convert.h"
#include "driver.h"
#include "errors.h"
#include "guard.h"
#include "overrides.h"
#include "types.h"

#include "base/mem.h"

#include <math.h>

/* ---- numbers of a result ---- */

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

int
pyct_native_number(PyObject *value, const char *name, double *out)
{
    if (to_double(value, out) == 0) {
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_TypeError, "%s must be a number, got %R", name, value);
    }
    return -1;
}

/* One number of a result, put behind the others; a key that is missing puts nothing. */
static int
take_number(PyObject *result, PyObject *key, ct_name name, ct_metric *items,
            size_t *count)
{
    PyObject *owned = NULL;
    PyObject *value = result_item(result, key, &owned);
    int st = value == NULL && PyErr_Occurred() ? -1 : 0;
    if (value != NULL) {
        items[*count].name = name;
        st = result_double(key, value, &items[*count].value);
        *count += st == 0 ? 1 : 0;
    }
    Py_XDECREF(owned);
    return st;
}

/* Time and metric, in this order, as far as they are there; -1 with an exception. */
static int
take_numbers(pyct_native *self, PyObject *result, ct_metric items[2], size_t *count)
{
    *count = 0;
    if (take_number(result, self->time_attr, PYCT_TIME, items, count) < 0) {
        return -1;
    }
    if (*count == 0 && self->kind->lenient) {
        return 0;
    }
    return take_number(result, self->base.metric, PYCT_METRIC, items, count);
}

/* ---- the objects ---- */

static void
engine_free(pyct_native *self)
{
    if (self->engine != NULL) {
        self->engine->ops->free(self->engine);
        self->engine = NULL;
    }
    for (size_t i = 0; i < self->met_count; i++) {
        ct_free(self->met[i].id);
    }
    ct_free(self->met);
    ct_free(self->ended);
    self->met = NULL;
    self->met_count = self->met_cap = 0;
    self->ended = NULL;
    self->ended_count = self->ended_cap = 0;
}

int
pyct_native_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_native *self = (pyct_native *)op;
    Py_VISIT(self->mode);
    Py_VISIT(self->time_attr);
    Py_VISIT(self->options);
    Py_VISIT(self->ids);
    Py_VISIT(self->trials);
    int st = pyct_rng_visit(self->rng, visit, arg);
    return st != 0 ? st : pyct_scheduler_traverse(op, visit, arg);
}

int
pyct_native_clear(PyObject *op)
{
    pyct_native *self = (pyct_native *)op;
    Py_CLEAR(self->mode);
    Py_CLEAR(self->time_attr);
    Py_CLEAR(self->options);
    Py_CLEAR(self->ids);
    Py_CLEAR(self->trials);
    return pyct_scheduler_clear(op);
}

void
pyct_native_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)pyct_native_clear(op);
    engine_free((pyct_native *)op);
    pyct_rng_free(((pyct_native *)op)->rng);
    type->tp_free(op);
    Py_DECREF(type);
}

PyObject *
pyct_native_new(PyTypeObject *type, const pyct_native_kind *kind)
{
    PyObject *op = pyct_scheduler_new(type, NULL, NULL);
    if (op != NULL) {
        ((pyct_native *)op)->kind = kind;
        ((pyct_native *)op)->state = pyct_state_of(op);
    }
    return op;
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
engine_restore(pyct_state *state, ct_scheduler *engine, PyObject *saved)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    pyct_names *names = pyct_names_new(state);
    if (names == NULL) {
        return -1;
    }
    int st = pyct_value_from_object(state, names, saved, &v);
    if (st == 0 &&
        engine->ops->restore(engine, pyct_names_table(names), &v, &err) != CT_OK) {
        (void)pyct_raise(state, &err);
        st = -1;
    }
    ct_value_deinit(&v);
    pyct_names_free(names);
    return st;
}

/* Builds a new engine from a tuple of options and, unless NULL, a saved state of it; on
 * failure the object is as before. */
static int
native_setup(pyct_native *self, PyObject *options, PyObject *saved)
{
    PyObject *const *v = ((PyTupleObject *)options)->ob_item;
    ct_scheduler *fresh = NULL;
    int mode = mode_check(v[2]);
    if (!PyUnicode_Check(v[0])) {
        PyErr_Format(PyExc_TypeError, "time_attr must be a str (a result key), got %R",
                     v[0]);
        return -1;
    }
    if (mode < 0 || metric_check(v[1]) < 0) {
        return -1;
    }
    PyObject *ids = PyDict_New();
    PyObject *trials = ids != NULL ? PyList_New(0) : NULL;
    int st = trials != NULL ? self->kind->make(self, v, mode == 1, &fresh) : -1;
    if (st == 0 && saved != NULL && engine_restore(self->state, fresh, saved) < 0) {
        fresh->ops->free(fresh);
        st = -1;
    }
    if (st < 0) {
        Py_XDECREF(ids);
        Py_XDECREF(trials);
        return -1;
    }
    engine_free(self);
    self->engine = fresh;
    self->numbers = 0;
    Py_XSETREF(self->ids, ids);
    Py_XSETREF(self->trials, trials);
    Py_XSETREF(self->options, Py_NewRef(options));
    Py_XSETREF(self->time_attr, Py_NewRef(v[0]));
    Py_XSETREF(self->base.metric, Py_NewRef(v[1]));
    Py_XSETREF(self->mode, Py_NewRef(v[2]));
    return 0;
}

static int
native_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    pyct_native *self = (pyct_native *)op;
    if (self->kind == NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "NativeScheduler is a base class; take one of its subclasses");
        return -1;
    }
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) ||
        PyTuple_GET_SIZE(args) != self->kind->args) {
        PyErr_Format(PyExc_TypeError, "_ctune.%s() takes %zd positional arguments",
                     self->kind->name, self->kind->args);
        return -1;
    }
    return native_setup(self, args, NULL);
}

pyct_native *
pyct_native_ready(PyObject *op)
{
    pyct_native *self = (pyct_native *)op;
    if (self->engine != NULL) {
        return self;
    }
    PyErr_Format(
        PyExc_RuntimeError,
        "%s.__init__() did not call super().__init__(), so there is no scheduler",
        Py_TYPE(op)->tp_name);
    return NULL;
}

bool
pyct_native_chooses(const pyct_native *self)
{
    return self->kind->chooses != NULL && self->kind->chooses(self->engine);
}

int
pyct_native_objective(pyct_native *self)
{
    if (self->kind->without_metric) {
        return 0;
    }
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

/* ---- trials as numbers ---- */

/* Puts the trials met in runs into ids. A later run's trial takes over an equal id. */
static int
ids_sync(pyct_native *self)
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

/* 1 and the number behind trial.trial_id, 0 when there is none yet (*key is new in both
 * cases), -1 with an exception. */
static int
number_of(pyct_native *self, PyObject *trial, PyObject **key, ct_trial_id *out)
{
    pyct_state *state = self->state;
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

/* Kinds that choose hand the object out again. */
static int
remember(pyct_native *self, ct_trial_id t, PyObject *trial)
{
    if (!self->kind->remembers && !pyct_native_chooses(self)) {
        return 0;
    }
    while (PyList_GET_SIZE(self->trials) <= (Py_ssize_t)t) {
        if (PyList_Append(self->trials, Py_None) < 0) {
            return -1;
        }
    }
    return PyList_GET_ITEM(self->trials, t) == trial
               ? 0
               : PyList_SetItem(self->trials, (Py_ssize_t)t, Py_NewRef(trial));
}

/* The number of a trial, a new one if need be. */
static int
number_for(pyct_native *self, PyObject *trial, ct_trial_id *out)
{
    PyObject *key = NULL;
    int found = number_of(self, trial, &key, out);
    int st = found < 0 ? -1 : 0;
    if (found == 0) {
        *out = self->numbers;
        PyObject *number = PyLong_FromUnsignedLong(self->numbers);
        st = number == NULL ? -1 : PyDict_SetItem(self->ids, key, number);
        Py_XDECREF(number);
        self->numbers += st == 0 ? 1 : 0;
    }
    Py_XDECREF(key);
    return st == 0 ? remember(self, *out, trial) : -1;
}

/* The number of a trial that was added; KeyError with its id otherwise. */
static int
known_number(pyct_native *self, PyObject *trial, ct_trial_id *out)
{
    PyObject *key = NULL;
    int found = number_of(self, trial, &key, out);
    if (found >= 0 && (found == 0 || !self->kind->knows(self->engine, *out))) {
        PyErr_SetObject(PyExc_KeyError, key);
        found = -1;
    }
    Py_XDECREF(key);
    return found < 0 ? -1 : remember(self, *out, trial);
}

static int
number_wanted(pyct_native *self, PyObject *trial, ct_trial_id *out)
{
    return self->kind->knows != NULL ? known_number(self, trial, out)
                                     : number_for(self, trial, out);
}

/* ---- any objects as trials and controller ---- */

/* Looks through the controller's trials for objects of numbers that have none yet, as
 * after a restore. */
static int
meet_trials(pyct_native *self)
{
    pyct_state *state = self->state;
    self->met_all = true;
    if (self->controller == NULL || self->controller == Py_None) {
        return 0;
    }
    PyObject *all = PyObject_CallMethodNoArgs(self->controller, state->str.get_trials);
    PyObject *items = all != NULL ? PyObject_GetIter(all) : NULL;
    PyObject *trial;
    int st = items != NULL ? 0 : -1;
    while (st == 0 && (trial = PyIter_Next(items)) != NULL) {
        PyObject *key = NULL;
        ct_trial_id t;
        int found = number_of(self, trial, &key, &t);
        st = found < 0 ? -1 : found > 0 ? remember(self, t, trial) : 0;
        Py_XDECREF(key);
        Py_DECREF(trial);
    }
    Py_XDECREF(items);
    Py_XDECREF(all);
    return st == 0 && PyErr_Occurred() ? -1 : st;
}

/* Borrowed; NULL when nobody has it, or with an exception. */
static PyObject *
trial_object(pyct_native *self, ct_trial_id t)
{
    for (int pass = 0; pass < 2; pass++) {
        if ((Py_ssize_t)t < PyList_GET_SIZE(self->trials) &&
            PyList_GET_ITEM(self->trials, t) != Py_None) {
            return PyList_GET_ITEM(self->trials, t);
        }
        if (pass == 0 && (self->met_all || meet_trials(self) < 0)) {
            return NULL;
        }
    }
    return NULL;
}

/* 1 if the trial is saving before it pauses. */
static int
is_saving(pyct_state *state, PyObject *trial)
{
    PyObject *saving = PyObject_GetAttr(trial, state->str.is_saving);
    if (saving == NULL) {
        PyErr_Clear();
        return 0;
    }
    int truth = PyObject_IsTrue(saving);
    Py_DECREF(saving);
    return truth;
}

static ct_trial_status
status_from(pyct_state *state, PyObject *text)
{
    PyObject *const words[] = {state->str.PENDING, state->str.RUNNING,
                               state->str.PAUSED, state->str.ERROR};
    const ct_trial_status statuses[] = {CT_TRIAL_PENDING, CT_TRIAL_RUNNING,
                                        CT_TRIAL_PAUSED, CT_TRIAL_ERROR};
    for (size_t i = 0; i < 4; i++) {
        if (text == words[i] ||
            (PyUnicode_Check(text) && PyUnicode_Compare(text, words[i]) == 0)) {
            return statuses[i];
        }
    }
    return CT_TRIAL_TERMINATED;
}

/* An exception stays set; the callers of engines look for it. */
static ct_trial_status
duck_status(void *ctx, ct_trial_id t)
{
    pyct_native *self = ctx;
    pyct_state *state = self->state;
    if (PyErr_Occurred()) {
        return CT_TRIAL_TERMINATED;
    }
    PyObject *trial = trial_object(self, t);
    if (trial == NULL) {
        return t < self->ended_count ? (ct_trial_status)self->ended[t]
                                     : CT_TRIAL_TERMINATED;
    }
    PyObject *text = PyObject_GetAttr(trial, state->str.status);
    ct_trial_status s = text != NULL ? status_from(state, text) : CT_TRIAL_TERMINATED;
    Py_XDECREF(text);
    return s == CT_TRIAL_RUNNING && is_saving(state, trial) > 0 ? CT_TRIAL_PAUSED : s;
}

static bool
duck_any(void *ctx, unsigned statuses)
{
    pyct_native *self = ctx;
    pyct_state *state = self->state;
    PyObject *all = NULL;
    bool found = false;
    if (PyErr_Occurred()) {
        return false;
    }
    if (self->witness < self->numbers &&
        (statuses & CT_STATUS(duck_status(self, self->witness))) != 0) {
        return true; /* mostly it is still the one of the last time */
    }
    int live = pyct_has(self->controller, state->str.get_live_trials);
    if (live >= 0) {
        all = PyObject_CallMethodNoArgs(self->controller,
                                        live ? state->str.get_live_trials
                                             : state->str.get_trials);
    }
    PyObject *items = all != NULL ? PyObject_GetIter(all) : NULL;
    PyObject *trial;
    while (items != NULL && !found && (trial = PyIter_Next(items)) != NULL) {
        PyObject *text = PyObject_GetAttr(trial, state->str.status);
        found = text != NULL && (statuses & CT_STATUS(status_from(state, text))) != 0;
        if (found) {
            PyObject *key = NULL;
            (void)number_of(self, trial, &key, &self->witness);
            Py_XDECREF(key);
        }
        Py_XDECREF(text);
        Py_DECREF(trial);
        if (text == NULL) {
            break;
        }
    }
    Py_XDECREF(items);
    Py_XDECREF(all);
    return found;
}

static const ct_board_ops DUCK_OPS = {duck_status, duck_any};

/* What an engine is asked with: a board, and room for its orders. */
typedef struct question {
    ct_board board;
    ct_orders orders;
    PyObject *outer; /* the controller of the call around this one */
} question;

static void
question_begin(question *q, pyct_native *self, PyObject *controller)
{
    *q = (question){.board = {.ops = &DUCK_OPS, .ctx = self},
                    .orders = CT_ORDERS_INIT,
                    .outer = self->controller};
    self->controller = controller;
    self->met_all = false;
}

static int
carry_out(pyct_native *self, const ct_order *o)
{
    PyObject *trial = trial_object(self, o->trial);
    PyObject *done = NULL;
    if (trial == NULL) {
        return PyErr_Occurred() ? -1 : 0; /* of a run that is over */
    }
    Py_INCREF(trial);
    if (o->kind == CT_ORDER_STOP) {
        done = PyObject_CallMethod(self->controller, "stop_trial", "O", trial);
    } else if (o->kind == CT_ORDER_PAUSE) {
        done =
            PyObject_CallMethodObjArgs(self->controller, self->state->str.pause_trial,
                                       trial, o->checkpoint ? Py_True : Py_False, NULL);
    } else {
        done = Py_NewRef(Py_None);
    }
    Py_DECREF(trial);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* Raises what the engine said, or carries out its orders, which may ask it again. */
static int
question_end(question *q, pyct_native *self, ct_status st, const ct_err *err)
{
    int out = 0;
    if (PyErr_Occurred()) {
        out = -1;
    } else if (st != CT_OK) {
        (void)pyct_raise(self->state, err);
        out = -1;
    }
    for (size_t i = 0; out == 0 && i < q->orders.count; i++) {
        out = carry_out(self, &q->orders.items[i]);
    }
    ct_orders_deinit(&q->orders);
    self->controller = q->outer;
    return out;
}

bool
pyct_native_is_called(const pyct_native *self)
{
    return self->controller != NULL;
}

int
pyct_native_run_of(pyct_native *self, const ct_board *b, ct_orders *orders,
                   pyct_native_run *out)
{
    *out = (pyct_native_run){NULL, NULL, NULL, false};
    if (!pyct_native_is_called(self)) {
        *out = (pyct_native_run){self->driver, b, orders, true};
        return 0;
    }
    if (!pyct_controller_run(self->state, self->controller, &out->driver, &out->board,
                             &out->orders) ||
        out->orders != NULL) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "a scheduler can act on the trials of a run only while the run's "
                    "scheduler is asked something");
    return -1;
}

int
pyct_native_run_number(pyct_native *self, const pyct_native_run *run, ct_trial_id t,
                       ct_trial_id *out)
{
    if (run->lent) {
        *out = t - self->offset;
        return 0;
    }
    PyObject *trial = trial_object(self, t);
    if (trial == NULL) {
        PyErr_Format(PyExc_RuntimeError, "trial number %u is not one of this run",
                     (unsigned)t);
        return -1;
    }
    return pyct_driver_trial_number(run->driver, trial, out);
}

PyObject *
pyct_native_trial(pyct_native *self, ct_trial_id t)
{
    return pyct_native_is_called(self) || self->driver == NULL
               ? Py_XNewRef(trial_object(self, t))
               : pyct_driver_trial(self->driver, t - self->offset);
}

PyObject *
pyct_native_controller(pyct_native *self)
{
    return pyct_native_is_called(self) || self->driver == NULL
               ? Py_XNewRef(self->controller)
               : pyct_driver_controller(self->driver);
}

int
pyct_native_number_of(pyct_native *self, PyObject *trial, ct_trial_id *out)
{
    PyObject *key = NULL;
    int found = number_of(self, trial, &key, out);
    Py_XDECREF(key);
    return found;
}

ct_status
pyct_native_tell_searcher(pyct_native *self, ct_trial_id t, const char *method,
                          ct_err *err)
{
    pyct_state *state = self->state;
    pyct_entry entry = pyct_enter(state);
    PyObject *owner = pyct_native_controller(self);
    PyObject *search =
        owner != NULL ? PyObject_GetAttrString(owner, "search_alg") : NULL;
    PyObject *searcher =
        search != NULL ? PyObject_GetAttr(search, state->str.searcher) : NULL;
    if (search != NULL && searcher == NULL &&
        PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear(); /* random search has nobody to tell */
    }
    PyObject *trial = searcher != NULL ? pyct_native_trial(self, t) : NULL;
    PyObject *id = trial != NULL ? PyObject_GetAttr(trial, state->str.trial_id) : NULL;
    PyObject *done = id != NULL ? PyObject_CallMethod(searcher, method, "O", id) : NULL;
    ct_status st = done != NULL || !PyErr_Occurred() ? CT_OK : pyct_foreign(err);
    Py_XDECREF(done);
    Py_XDECREF(id);
    Py_XDECREF(trial);
    Py_XDECREF(searcher);
    Py_XDECREF(search);
    Py_XDECREF(owner);
    pyct_leave(state, entry);
    return st;
}

/* ---- methods ---- */

static PyObject *
native_on_trial_add(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_native *self = pyct_native_ready(op);
    ct_err err = CT_ERR_INIT;
    ct_trial_id t = 0;
    question q;
    if (self == NULL || pyct_wants_args("on_trial_add", nargs, 2) < 0 ||
        pyct_native_objective(self) < 0 || number_for(self, args[1], &t) < 0) {
        return NULL;
    }
    question_begin(&q, self, args[0]);
    ct_status st =
        self->engine->ops->on_add(self->engine, &q.board, t, &q.orders, &err);
    if (st == CT_OK && self->rng != NULL) {
        st = pyct_rng_check(self->rng, &err);
    }
    if (st == CT_OK && self->kind->on_add != NULL) {
        st = self->kind->on_add(self, &q.board, t, &q.orders, &err);
    }
    return question_end(&q, self, st, &err) == 0 ? Py_NewRef(Py_None) : NULL;
}

PyObject *
pyct_native_on_trial_result(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_native *self = pyct_native_ready(op);
    pyct_state *state = ((pyct_native *)op)->state;
    ct_err err = CT_ERR_INIT;
    ct_verdict v = CT_CONTINUE;
    ct_metric items[2];
    ct_result r = {items, 0, NULL};
    ct_trial_id t = 0;
    question q;
    if (self == NULL || pyct_wants_args("on_trial_result", nargs, 3) < 0 ||
        take_numbers(self, args[2], items, &r.count) < 0) {
        return NULL;
    }
    const pyct_native_kind *kind = self->kind;
    if (r.count < 2 && kind->lenient) {
        return Py_NewRef(state->str.CONTINUE);
    }
    if (kind->answers_anyone != NULL &&
        kind->answers_anyone(self, items[0].value, &v)) {
        return pyct_verdict_object(state, v);
    }
    if (number_wanted(self, args[1], &t) < 0) {
        return NULL;
    }
    if (!kind->takes_missing && (r.count == 0 || items[0].name != PYCT_TIME)) {
        PyErr_SetObject(PyExc_KeyError, self->time_attr);
        return NULL;
    }
    if (kind->annotate != NULL &&
        kind->annotate(self, t, items[0].value, args[2]) < 0) {
        return NULL;
    }
    question_begin(&q, self, args[0]);
    ct_status st = self->engine->ops->on_result(self->engine, &q.board, t, &r, &v,
                                                &q.orders, &err);
    return question_end(&q, self, st, &err) == 0 ? pyct_verdict_object(state, v) : NULL;
}

static PyObject *
native_on_trial_complete(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_native *self = pyct_native_ready(op);
    ct_err err = CT_ERR_INIT;
    ct_metric items[2];
    ct_result r = {items, 0, NULL};
    ct_trial_id t = 0;
    question q;
    if (self == NULL || pyct_wants_args("on_trial_complete", nargs, 3) < 0) {
        return NULL;
    }
    if (self->kind->lenient) {
        if (take_numbers(self, args[2], items, &r.count) < 0) {
            return NULL;
        }
        if (r.count < 2) {
            Py_RETURN_NONE;
        }
    }
    if (number_wanted(self, args[1], &t) < 0) {
        return NULL;
    }
    question_begin(&q, self, args[0]);
    ct_status st =
        self->engine->ops->on_complete(self->engine, &q.board, t, &r, &q.orders, &err);
    return question_end(&q, self, st, &err) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
native_on_trial_remove(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_native *self = pyct_native_ready(op);
    ct_err err = CT_ERR_INIT;
    ct_trial_id t = 0;
    question q;
    if (self == NULL || pyct_wants_args("on_trial_remove", nargs, 2) < 0 ||
        number_wanted(self, args[1], &t) < 0) {
        return NULL;
    }
    question_begin(&q, self, args[0]);
    ct_status st =
        self->engine->ops->on_remove(self->engine, &q.board, t, &q.orders, &err);
    return question_end(&q, self, st, &err) == 0 ? Py_NewRef(Py_None) : NULL;
}

PyObject *
pyct_native_error(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_native *self = pyct_native_ready(op);
    ct_err err = CT_ERR_INIT;
    ct_trial_id t = 0;
    question q;
    if (self == NULL || pyct_wants_args("on_trial_error", nargs, 2) < 0 ||
        number_wanted(self, args[1], &t) < 0) {
        return NULL;
    }
    question_begin(&q, self, args[0]);
    ct_status st =
        self->engine->ops->on_error(self->engine, &q.board, t, &q.orders, &err);
    return question_end(&q, self, st, &err) == 0 ? Py_NewRef(Py_None) : NULL;
}

PyObject *
pyct_native_choose(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_native *self = pyct_native_ready(op);
    ct_err err = CT_ERR_INIT;
    ct_trial_id t = CT_TRIAL_NONE;
    question q;
    if (self == NULL || pyct_wants_args("choose_trial_to_run", nargs, 1) < 0) {
        return NULL;
    }
    question_begin(&q, self, args[0]);
    ct_status st =
        self->engine->ops->choose(self->engine, &q.board, &t, &q.orders, &err);
    PyObject *trial =
        st == CT_OK && t != CT_TRIAL_NONE ? Py_XNewRef(trial_object(self, t)) : NULL;
    if (question_end(&q, self, st, &err) < 0) {
        Py_XDECREF(trial);
        return NULL;
    }
    return trial != NULL ? trial : Py_NewRef(Py_None);
}

static PyObject *
native_debug_string(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_native *self = pyct_native_ready(op);
    ct_err err = CT_ERR_INIT;
    ct_buf text = CT_BUF_INIT;
    question q;
    PyObject *out = NULL;
    if (self == NULL) {
        return NULL;
    }
    question_begin(&q, self, NULL);
    ct_status st = self->engine->ops->describe(self->engine, &q.board, &text, &err);
    if (question_end(&q, self, st, &err) == 0) {
        out =
            PyUnicode_FromStringAndSize((const char *)text.data, (Py_ssize_t)text.len);
    }
    ct_buf_deinit(&text);
    return out;
}

static int
native_set_mode(PyObject *op, PyObject *value, void *closure)
{
    (void)closure;
    pyct_native *self = pyct_native_ready(op);
    int mode = self == NULL ? -1 : mode_check(value);
    if (mode < 0) {
        return -1;
    }
    self->kind->set_mode(self->engine, mode == 1);
    Py_XSETREF(self->mode, Py_NewRef(value != NULL ? value : Py_None));
    return 0;
}

/* False when metric or mode is given a second time. */
static PyObject *
native_set_search_properties(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    pyct_native *self = pyct_native_ready(op);
    pyct_state *state = ((pyct_native *)op)->state;
    PyObject *given[2] = {NULL, NULL};
    if (self == NULL ||
        pyct_search_properties(state, args, nargs, kwnames, given) < 0 ||
        metric_check(given[0]) < 0 || mode_check(given[1]) < 0) {
        return NULL;
    }
    bool have_metric = self->base.metric != NULL && self->base.metric != Py_None;
    bool have_mode = self->mode != NULL && self->mode != Py_None;
    if ((have_metric && given[0] != Py_None) || (have_mode && given[1] != Py_None)) {
        Py_RETURN_FALSE;
    }
    if (given[0] != Py_None) {
        (void)pyct_scheduler_set_metric(op, given[0], NULL);
        have_metric = true;
    }
    if (given[1] != Py_None) {
        if (native_set_mode(op, given[1], NULL) < 0) {
            return NULL;
        }
        have_mode = true;
    }
    if (!have_metric && have_mode) {
        (void)pyct_scheduler_set_metric(op, state->str.anonymous_metric, NULL);
    }
    Py_RETURN_TRUE;
}

/* ---- the state ---- */

static PyObject *
engine_save(pyct_state *state, pyct_native *self)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    PyObject *out = NULL;
    pyct_names *names = pyct_names_new(state);
    if (names == NULL) {
        return NULL;
    }
    if (self->engine->ops->save(self->engine, pyct_names_table(names), &v, &err) ==
        CT_OK) {
        out = pyct_value_to_object(state, names, &v);
    } else {
        (void)pyct_raise(state, &err);
    }
    ct_value_deinit(&v);
    pyct_names_free(names);
    return out;
}

/* The options with the metric and the mode of now. New reference. */
static PyObject *
options_now(pyct_native *self)
{
    PyObject *list = PySequence_List(self->options);
    if (list != NULL && (PyList_SetItem(list, 1, Py_NewRef(self->base.metric)) < 0 ||
                         PyList_SetItem(list, 2, Py_NewRef(self->mode)) < 0)) {
        Py_CLEAR(list);
    }
    return list;
}

/* [[id, number]]: JSON has no dicts whose keys are not text. New reference. */
static PyObject *
ids_list(pyct_native *self)
{
    PyObject *list = PyList_New(0);
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;
    while (list != NULL && PyDict_Next(self->ids, &at, &key, &value)) {
        PyObject *pair = Py_BuildValue("[OO]", key, value);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    return list;
}

/* Statuses by number, for debug_string() before the trials are met again. */
static PyObject *
statuses_list(pyct_native *self)
{
    PyObject *list = PyList_New(0);
    ct_trial_id n = pyct_native_chooses(self) ? self->numbers : 0;
    for (ct_trial_id t = 0; list != NULL && t < n; t++) {
        PyObject *status = PyLong_FromLong((long)duck_status(self, t));
        if (status == NULL || PyErr_Occurred() || PyList_Append(list, status) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(status);
    }
    return list;
}

static int
put_new(PyObject *dict, const char *key, PyObject *value)
{
    int st = value != NULL ? PyDict_SetItemString(dict, key, value) : -1;
    Py_XDECREF(value);
    return st;
}

static PyObject *
native_getstate(PyObject *op, PyObject *ignored)
{
    pyct_native *self = pyct_native_ready(op);
    if (self == NULL || ids_sync(self) < 0) {
        return NULL;
    }
    PyObject *out = pyct_scheduler_getstate(op, ignored);
    if (out != NULL &&
        (put_new(out, "scheduler", PyUnicode_FromString(self->kind->name)) < 0 ||
         put_new(out, "options", options_now(self)) < 0 ||
         put_new(out, "trials", ids_list(self)) < 0 ||
         put_new(out, "numbers", PyLong_FromUnsignedLong(self->numbers)) < 0 ||
         put_new(out, "statuses", statuses_list(self)) < 0 ||
         put_new(out, "engine", engine_save(self->state, self)) < 0)) {
        Py_CLEAR(out);
    }
    return out;
}

static int
not_a_state(const char *what)
{
    if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_TypeError) ||
        PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Format(PyExc_ValueError, "this is not the saved state of a scheduler: %s",
                     what);
    }
    return -1;
}

/* Numbers in ids must lie below the count: they index the engine's arrays. */
static PyObject *
ids_from(PyObject *list, unsigned long numbers)
{
    PyObject *ids = PyList_Check(list) ? PyDict_New() : NULL;
    for (Py_ssize_t i = 0; ids != NULL && i < PyList_GET_SIZE(list); i++) {
        PyObject *pair = PySequence_Fast(PyList_GET_ITEM(list, i), "no pair");
        unsigned long n = numbers;
        if (pair != NULL && PySequence_Fast_GET_SIZE(pair) == 2 &&
            PyLong_Check(PySequence_Fast_GET_ITEM(pair, 1))) {
            n = PyLong_AsUnsignedLong(PySequence_Fast_GET_ITEM(pair, 1));
        }
        if (PyErr_Occurred() || n >= numbers ||
            PyDict_SetItem(ids, PySequence_Fast_GET_ITEM(pair, 0),
                           PySequence_Fast_GET_ITEM(pair, 1)) < 0) {
            Py_CLEAR(ids);
        }
        Py_XDECREF(pair);
    }
    if (ids == NULL) {
        (void)not_a_state("trials");
    }
    return ids;
}

static int
statuses_check(PyObject *list)
{
    for (Py_ssize_t i = 0; PyList_Check(list) && i < PyList_GET_SIZE(list); i++) {
        PyObject *status = PyList_GET_ITEM(list, i);
        int overflow = 0;
        long s =
            PyLong_Check(status) ? PyLong_AsLongAndOverflow(status, &overflow) : -1;
        if (s < 0 || s >= CT_TRIAL_STATUS_COUNT) {
            return not_a_state("statuses");
        }
    }
    return PyList_Check(list) ? 0 : not_a_state("statuses");
}

/* Of a list that was checked. */
static int
statuses_from(pyct_native *self, PyObject *list)
{
    ct_err err = CT_ERR_INIT;
    size_t n = (size_t)PyList_GET_SIZE(list);
    if (n > 0 && ct_grow((void **)&self->ended, &self->ended_cap, n,
                         sizeof *self->ended, &err) != CT_OK) {
        (void)pyct_raise(self->state, &err);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        self->ended[i] = (uint8_t)PyLong_AsLong(PyList_GET_ITEM(list, (Py_ssize_t)i));
    }
    self->ended_count = n;
    return 0;
}

static int
is_own_state(pyct_native *self, PyObject *saved)
{
    PyObject *name = pyct_state_item(saved, "scheduler");
    if (name == NULL) {
        return -1;
    }
    if (!PyUnicode_Check(name) ||
        PyUnicode_CompareWithASCIIString(name, self->kind->name) != 0) {
        PyErr_Format(PyExc_ValueError, "this is the saved state of %S, not of %s", name,
                     self->kind->name);
        return -1;
    }
    return 0;
}

static PyObject *
native_setstate(PyObject *op, PyObject *saved)
{
    pyct_native *self = (pyct_native *)op;
    PyObject *options = pyct_state_item(saved, "options");
    PyObject *list = options != NULL ? pyct_state_item(saved, "trials") : NULL;
    PyObject *numbers = list != NULL ? pyct_state_item(saved, "numbers") : NULL;
    PyObject *engine = numbers != NULL ? pyct_state_item(saved, "engine") : NULL;
    PyObject *statuses = engine != NULL ? pyct_state_item(saved, "statuses") : NULL;
    if (statuses == NULL || self->kind == NULL || is_own_state(self, saved) < 0) {
        return NULL;
    }
    PyObject *given = PySequence_Tuple(options);
    unsigned long count = PyLong_Check(numbers) ? PyLong_AsUnsignedLong(numbers) : 0;
    if (given == NULL || PyErr_Occurred() || !PyLong_Check(numbers) ||
        PyTuple_GET_SIZE(given) != self->kind->args || count >= CT_TRIAL_NONE) {
        (void)not_a_state("options");
        Py_XDECREF(given);
        return NULL;
    }
    PyObject *ids = ids_from(list, count);
    if (ids == NULL || statuses_check(statuses) < 0 ||
        native_setup(self, given, engine) < 0 || statuses_from(self, statuses) < 0) {
        Py_XDECREF(ids);
        Py_DECREF(given);
        return NULL;
    }
    Py_DECREF(given);
    Py_XSETREF(self->ids, ids);
    self->numbers = (ct_trial_id)count;
    return pyct_scheduler_setstate(op, saved);
}

/* ---- attributes ---- */

static PyObject *
native_get_num_stopped(PyObject *op, void *closure)
{
    (void)closure;
    pyct_native *self = pyct_native_ready(op);
    if (self == NULL) {
        return NULL;
    }
    uint64_t n =
        self->kind->num_stopped != NULL ? self->kind->num_stopped(self->engine) : 0;
    return PyLong_FromUnsignedLongLong(n);
}

static PyObject *
native_get_mode(PyObject *op, void *closure)
{
    (void)closure;
    PyObject *mode = ((pyct_native *)op)->mode;
    return Py_NewRef(mode != NULL ? mode : Py_None);
}

PyObject *
pyct_native_option(PyObject *op, void *closure)
{
    pyct_native *self = pyct_native_ready(op);
    return self == NULL ? NULL
                        : Py_NewRef(PyTuple_GET_ITEM(self->options, (intptr_t)closure));
}

/* ---- the type ---- */

/* A run that it was lent to may be at work in another thread. */
PYCT_GUARD_FAST(native_on_trial_add)
PYCT_GUARD_FAST(pyct_native_on_trial_result)
PYCT_GUARD_FAST(native_on_trial_complete)
PYCT_GUARD_FAST(native_on_trial_remove)
PYCT_GUARD_UNARY(native_debug_string)
PYCT_GUARD_UNARY(native_getstate)
PYCT_GUARD_UNARY(native_setstate)
PYCT_GUARD_NAMED(native_set_search_properties)
PYCT_GUARD_GETTER(native_get_num_stopped)

static PyMethodDef native_methods[] = {
    {"set_search_properties", PYCT_METHOD(guarded_native_set_search_properties),
     METH_FASTCALL | METH_KEYWORDS,
     "set_search_properties($self, metric, mode, **spec)\n--\n\n"
     "Take over the metric and mode of a run; False if one of them was set before."},
    {"on_trial_add", PYCT_METHOD(guarded_native_on_trial_add), METH_FASTCALL,
     "on_trial_add($self, tune_controller, trial, /)\n--\n\n"
     "A trial is new, or goes back to the queue."},
    {"on_trial_result", PYCT_METHOD(guarded_pyct_native_on_trial_result), METH_FASTCALL,
     "on_trial_result($self, tune_controller, trial, result, /)\n--\n\n"
     "CONTINUE, PAUSE, STOP or NOOP."},
    {"on_trial_complete", PYCT_METHOD(guarded_native_on_trial_complete), METH_FASTCALL,
     "on_trial_complete($self, tune_controller, trial, result, /)\n--\n\n"
     "A running trial is being stopped; result is its last one."},
    {"on_trial_remove", PYCT_METHOD(guarded_native_on_trial_remove), METH_FASTCALL,
     "on_trial_remove($self, tune_controller, trial, /)\n--\n\n"
     "A pending or paused trial is being stopped."},
    {"debug_string", guarded_native_debug_string, METH_NOARGS,
     "debug_string($self, /)\n--\n\n"},
    {"__getstate__", guarded_native_getstate, METH_NOARGS, NULL},
    {"__setstate__", guarded_native_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef native_getset[] = {
    {"num_stopped", guarded_native_get_num_stopped, NULL,
     "How many trials it stopped early.", NULL},
    {"_num_stopped", guarded_native_get_num_stopped, NULL, NULL, NULL},
    {"_mode", native_get_mode, native_set_mode, NULL, NULL},
    {"_time_attr", pyct_native_option, NULL, NULL, (void *)0},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot native_slots[] = {
    {Py_tp_init, PYCT_SLOT(native_init)},
    {Py_tp_dealloc, PYCT_SLOT(pyct_native_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(pyct_native_traverse)},
    {Py_tp_clear, PYCT_SLOT(pyct_native_clear)},
    {Py_tp_methods, native_methods},
    {Py_tp_getset, native_getset},
    {Py_tp_doc, "What the schedulers written in C have in common."},
    {0, NULL},
};

static PyType_Spec native_spec = {
    .name = "ctune._ctune.NativeScheduler",
    .basicsize = sizeof(pyct_native),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = native_slots,
};

int
pyct_native_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->native_type, &native_spec, state->fifo_type);
}
