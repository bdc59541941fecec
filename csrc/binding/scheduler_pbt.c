/* scheduler_pbt.c: _ctune.PopulationBasedTraining.
 *
 * The engine says who exploits whom. Here is the rest: outside a run the trials and the
 * controller are asked and told as objects, at once; in a run the same becomes orders.
 * What is drawn is recorded in a run (policy/answers), since others draw from the same
 * streams. */
#include "native.h"

#include "convert.h"
#include "driver.h"
#include "duck.h"
#include "errors.h"
#include "explore.h"
#include "guard.h"
#include "overrides.h"
#include "types.h"

#include "sched/pbt.h"

/* time_attr, metric, mode, and these. */
enum {
    INTERVAL = 3,
    BURN_IN,
    MUTATIONS,
    QUANTILE,
    RESAMPLE,
    FACTORS,
    CUSTOM,
    LOG_CONFIG,
    REQUIRE_ATTRS,
    SYNCH,
    ARGS
};

typedef struct pyct_pbt {
    pyct_native native; /* first */
    double resample;
    bool strict;
    bool synch;
    bool learns;       /* it has _note_turn */
    bool warned[2];    /* of a missing metric, time */
    PyObject *tags;    /* list number -> experiment tag at first, or None */
    PyObject *saved;   /* list number -> checkpoint, future of one, or None */
    PyObject *results; /* list number -> result of its last turn, or None */
    PyObject *given;   /* borrowed: the result of the call under way, or NULL */
} pyct_pbt;

static ct_pbt *
engine_of(pyct_pbt *self)
{
    return (ct_pbt *)self->native.engine;
}

static PyObject *
option(pyct_pbt *self, int at)
{
    return PyTuple_GET_ITEM(self->native.options, at);
}

/* ---- by number ---- */

/* Borrowed; None when there is nothing. */
static PyObject *
item_of(PyObject *list, ct_trial_id t)
{
    return (Py_ssize_t)t < PyList_GET_SIZE(list) ? PyList_GET_ITEM(list, t) : Py_None;
}

static int
set_item(PyObject *list, ct_trial_id t, PyObject *value)
{
    while (PyList_GET_SIZE(list) <= (Py_ssize_t)t) {
        if (PyList_Append(list, Py_None) < 0) {
            return -1;
        }
    }
    return PyList_SetItem(list, (Py_ssize_t)t, Py_NewRef(value));
}

/* ---- what a run records ---- */

static ct_answers *
answers_of(pyct_pbt *self)
{
    return pyct_native_is_called(&self->native) || self->native.driver == NULL
               ? NULL
               : pyct_driver_answers(self->native.driver);
}

/* ---- hooks of the engine ---- */

static ct_status
hook_choice(void *ctx, size_t n, size_t *out, ct_err *err)
{
    pyct_pbt *self = ctx;
    pyct_state *state = self->native.state;
    pyct_entry entry = pyct_enter(state);
    Py_ssize_t at = 0;
    ct_status st =
        pyct_random_below(state, (Py_ssize_t)n, &at) == 0 ? CT_OK : pyct_foreign(err);
    pyct_leave(state, entry);
    ct_value v = ct_i64((int64_t)at);
    if (st == CT_OK) {
        st = ct_answers_settle_value(answers_of(self), &v, err);
    }
    bool ok = st == CT_OK && v.kind == CT_I64 && v.u.i >= 0 && (uint64_t)v.u.i < n;
    *out = ok ? (size_t)v.u.i : 0;
    ct_value_deinit(&v);
    return st == CT_OK && !ok ? ct_fail(err, CT_ECORRUPT, "answers",
                                        "a recorded choice is out of range")
                              : st;
}

/* Subclasses that learn from scores define _note_turn(trial, time, score). */
static ct_status
hook_turn(void *ctx, const ct_board *b, ct_trial_id t, double time, double score,
          ct_err *err)
{
    pyct_pbt *self = ctx;
    pyct_state *state = self->native.state;
    (void)b;
    if (self->given == NULL && !self->learns) {
        return CT_OK; /* nothing to keep, nobody to tell */
    }
    pyct_entry entry = pyct_enter(state);
    int st = self->given != NULL ? set_item(self->results, t, self->given) : 0;
    if (st == 0 && self->learns) {
        PyObject *trial = pyct_native_trial(&self->native, t);
        PyObject *done = trial != NULL
                             ? PyObject_CallMethod((PyObject *)self, "_note_turn",
                                                   "Odd", trial, time, score)
                             : NULL;
        st = done != NULL || (trial == NULL && !PyErr_Occurred()) ? 0 : -1;
        Py_XDECREF(done);
        Py_XDECREF(trial);
    }
    ct_status out = st == 0 ? CT_OK : pyct_foreign(err);
    pyct_leave(state, entry);
    return out;
}

/* Borrowed by nobody: a new reference to what a paused trial has or will have. */
static PyObject *
paused_checkpoint(pyct_state *state, PyObject *trial)
{
    PyObject *temporary = PyObject_GetAttrString(trial, "temporary_state");
    PyObject *saving =
        temporary != NULL ? PyObject_GetAttrString(temporary, "saving_to") : NULL;
    Py_XDECREF(temporary);
    if (saving == NULL && !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return NULL;
    }
    PyErr_Clear();
    int future = saving != NULL ? pyct_has(saving, state->str.resolve) : 0;
    if (future > 0) {
        return saving;
    }
    Py_XDECREF(saving);
    return future < 0 ? NULL : PyObject_GetAttrString(trial, "checkpoint");
}

static int
duck_save(pyct_pbt *self, const ct_board *b, ct_trial_id t)
{
    PyObject *trial = pyct_native_trial(&self->native, t);
    PyObject *made = NULL;
    if (trial == NULL) {
        return PyErr_Occurred() ? -1 : set_item(self->saved, t, Py_None);
    }
    if (ct_board_status(b, t) == CT_TRIAL_PAUSED) {
        made = paused_checkpoint(self->native.state, trial);
    } else if (!PyErr_Occurred()) {
        made = pyct_duck_save(self->native.state, self->native.controller, trial,
                              item_of(self->results, t));
    }
    int st = made != NULL ? set_item(self->saved, t, made) : -1;
    Py_XDECREF(made);
    Py_DECREF(trial);
    return st;
}

/* An order to offer a checkpoint, or no longer. */
static ct_status
order_offer(pyct_pbt *self, const pyct_native_run *run, ct_trial_id t, bool offer,
            ct_err *err)
{
    ct_trial_id number = t;
    if (!run->lent && pyct_native_run_number(&self->native, run, t, &number) < 0) {
        return pyct_foreign(err);
    }
    return ct_orders_add(run->orders, CT_ORDER_OFFER, number, offer, NULL, err);
}

static ct_status
hook_save(void *ctx, const ct_board *b, ct_trial_id t, ct_orders *orders, bool *has,
          ct_err *err)
{
    pyct_pbt *self = ctx;
    pyct_native_run run;
    ct_trial_id number;
    if (pyct_native_run_of(&self->native, b, orders, &run) < 0) {
        return pyct_foreign(err);
    }
    if (run.driver == NULL) {
        *has = true; /* what is saved may still turn out to be None */
        return duck_save(self, b, t) == 0 ? CT_OK : pyct_foreign(err);
    }
    if (pyct_native_run_number(&self->native, &run, t, &number) < 0) {
        return pyct_foreign(err);
    }
    *has = ct_board_status(b, t) == CT_TRIAL_PAUSED
               ? ct_trials_latest(run.board->trials, number).trial != CT_TRIAL_NONE
               : ct_trials_get(run.board->trials, number)->dir != NULL;
    return order_offer(self, &run, t, true, err);
}

static ct_status
hook_forget(void *ctx, const ct_board *b, ct_trial_id t, ct_orders *orders, ct_err *err)
{
    pyct_pbt *self = ctx;
    pyct_native_run run;
    if (pyct_native_run_of(&self->native, b, orders, &run) < 0) {
        return pyct_foreign(err);
    }
    if (run.driver == NULL) {
        return set_item(self->saved, t, Py_None) == 0 ? CT_OK : pyct_foreign(err);
    }
    return order_offer(self, &run, t, false, err);
}

/* The checkpoint that a trial saved, once it is known: new reference, None without one. */
static PyObject *
duck_checkpoint(pyct_pbt *self, ct_trial_id source)
{
    PyObject *saved = Py_NewRef(item_of(self->saved, source));
    if (saved == Py_None || PyUnicode_CheckExact(saved)) {
        return saved;
    }
    PyObject *resolve = PyObject_GetAttr(saved, self->native.state->str.resolve);
    if (resolve == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            Py_CLEAR(saved);
        } else {
            PyErr_Clear();
        }
        return saved;
    }
    PyObject *result = PyObject_CallNoArgs(resolve);
    Py_DECREF(resolve);
    Py_DECREF(saved);
    int truth = result != NULL ? PyObject_IsTrue(result) : -1;
    if (truth <= 0) {
        Py_XDECREF(result);
        return truth == 0 ? Py_NewRef(Py_None) : NULL;
    }
    PyObject *checkpoint = PyObject_GetAttrString(result, "checkpoint");
    PyObject *metrics =
        checkpoint != NULL ? PyObject_GetAttrString(result, "metrics") : NULL;
    if (metrics == NULL || set_item(self->results, source, metrics) < 0 ||
        set_item(self->saved, source, checkpoint) < 0) {
        Py_CLEAR(checkpoint);
    }
    Py_XDECREF(metrics);
    Py_DECREF(result);
    return checkpoint;
}

/* Whether the source's checkpoint is there, or is ordered by the question under way; -1
 * with an exception. */
static int
is_offered(pyct_pbt *self, const pyct_native_run *run, ct_trial_id source)
{
    ct_trial_id number;
    if (pyct_native_run_number(&self->native, run, source, &number) < 0) {
        return -1;
    }
    const ct_trial *trial = ct_trials_get(run->board->trials, number);
    if (trial->offering || trial->offered.trial != CT_TRIAL_NONE) {
        return 1;
    }
    for (size_t i = 0; i < run->orders->count; i++) {
        const ct_order *o = &run->orders->items[i];
        if (o->kind == CT_ORDER_OFFER && o->checkpoint &&
            o->trial == (run->lent ? source : number)) {
            return 1;
        }
    }
    return 0;
}

static double
score_of(pyct_pbt *self, ct_trial_id t)
{
    double score = 0.0;
    (void)ct_pbt_score(engine_of(self), t, &score);
    return score;
}

/* (config, operations) */
static PyObject *
new_config(pyct_pbt *self, PyObject *trial, PyObject *clone)
{
    pyct_state *state = self->native.state;
    PyObject *args[] = {(PyObject *)self, trial, clone};
    PyObject *pair =
        PyObject_VectorcallMethod(state->str.get_new_config, args, 3, NULL);
    if (pair != NULL && (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2)) {
        PyErr_Format(PyExc_TypeError,
                     "_get_new_config() must return (config, operations), got %R",
                     pair);
        Py_CLEAR(pair);
    }
    return pair;
}

/* What PopulationBasedTraining in Python makes of an exploit: logs it, and returns the
 * trial's new tag and the line for the policy files. */
static PyObject *
describe(pyct_pbt *self, ct_trial_id t, ct_trial_id source, PyObject *trial,
         PyObject *clone, PyObject *pair)
{
    PyObject *score = PyFloat_FromDouble(score_of(self, t));
    PyObject *best = score != NULL ? PyFloat_FromDouble(score_of(self, source)) : NULL;
    PyObject *told =
        best != NULL ? PyObject_CallMethodObjArgs(
                           (PyObject *)self, self->native.state->str.describe_exploit,
                           trial, clone, score, best, PyTuple_GET_ITEM(pair, 0),
                           PyTuple_GET_ITEM(pair, 1), item_of(self->tags, t),
                           item_of(self->tags, source), NULL)
                     : NULL;
    Py_XDECREF(best);
    Py_XDECREF(score);
    if (told != NULL && (!PyTuple_Check(told) || PyTuple_GET_SIZE(told) != 2)) {
        PyErr_SetString(PyExc_TypeError, "_describe_exploit() must return (tag, line)");
        Py_CLEAR(told);
    }
    return told;
}

/* controller.pause_trial(trial, should_checkpoint=False), unless it is paused. */
static int
pause_duck(pyct_pbt *self, const ct_board *b, ct_trial_id t, PyObject *trial)
{
    bool paused = ct_board_status(b, t) == CT_TRIAL_PAUSED;
    if (PyErr_Occurred()) {
        return -1;
    }
    if (paused && !self->synch) {
        PyObject *error =
            pyct_lazy(&self->native.state->tune_error, "ctune.error", "TuneError");
        if (error != NULL) {
            PyErr_Format(error,
                         "trial %S reported a result while it is PAUSED; it must "
                         "be RUNNING unless synch=True",
                         trial);
        }
        return -1;
    }
    if (paused) {
        return 0;
    }
    return pyct_duck_pause(self->native.state, self->native.controller, trial);
}

static int
duck_exploit(pyct_pbt *self, const ct_board *b, ct_trial_id t, ct_trial_id source,
             PyObject *trial, PyObject *clone, PyObject *checkpoint)
{
    PyObject *pair = new_config(self, trial, clone);
    PyObject *told =
        pair != NULL ? describe(self, t, source, trial, clone, pair) : NULL;
    int st = -1;
    if (told != NULL && PyTuple_GET_ITEM(told, 1) != Py_None) {
        st = pyct_call_done(PyObject_CallMethod((PyObject *)self, "_log_exploit", "OOO",
                                                trial, clone,
                                                PyTuple_GET_ITEM(told, 1)));
    } else if (told != NULL) {
        st = 0;
    }
    if (st == 0) {
        st = pause_duck(self, b, t, trial);
    }
    if (st == 0) {
        st = pyct_call_done(
            PyObject_CallMethodOneArg(trial, self->native.state->str.set_experiment_tag,
                                      PyTuple_GET_ITEM(told, 0)));
    }
    if (st == 0) {
        st = pyct_call_done(PyObject_CallMethodOneArg(
            trial, self->native.state->str.set_config, PyTuple_GET_ITEM(pair, 0)));
    }
    if (st == 0) {
        st = pyct_duck_set_checkpoint(self->native.state, trial, checkpoint,
                                      item_of(self->results, source));
    }
    Py_XDECREF(told);
    Py_XDECREF(pair);
    return st;
}

/* Tuple (config, tag, line) of an order. Where nobody will tell whether it was carried out,
 * the line is written at once. */
static int
order_value(pyct_pbt *self, const pyct_native_run *run, ct_trial_id t,
            ct_trial_id source, ct_value *out)
{
    pyct_state *state = self->native.state;
    PyObject *trial = pyct_native_trial(&self->native, t);
    PyObject *clone = trial != NULL ? pyct_native_trial(&self->native, source) : NULL;
    PyObject *pair = clone != NULL ? new_config(self, trial, clone) : NULL;
    PyObject *told =
        pair != NULL ? describe(self, t, source, trial, clone, pair) : NULL;
    int st = told != NULL ? 0 : -1;
    if (st == 0 && !run->lent && PyTuple_GET_ITEM(told, 1) != Py_None) {
        st = pyct_call_done(PyObject_CallMethod((PyObject *)self, "_log_exploit", "OOO",
                                                trial, clone,
                                                PyTuple_GET_ITEM(told, 1)));
    }
    PyObject *all =
        st == 0 ? PyTuple_Pack(3, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(told, 0),
                               PyTuple_GET_ITEM(told, 1))
                : NULL;
    st = all != NULL
             ? pyct_value_from_object(state, pyct_driver_names(run->driver), all, out)
             : -1;
    Py_XDECREF(all);
    Py_XDECREF(told);
    Py_XDECREF(pair);
    Py_XDECREF(clone);
    Py_XDECREF(trial);
    return st;
}

static ct_status
run_exploit(pyct_pbt *self, const pyct_native_run *run, ct_trial_id t,
            ct_trial_id source, ct_err *err)
{
    ct_value value = ct_nil();
    ct_trial_id numbers[] = {t, source};
    ct_status st = CT_OK;
    pyct_entry entry = pyct_enter(self->native.state);
    if (order_value(self, run, t, source, &value) < 0) {
        st = pyct_foreign(err);
    }
    pyct_leave(self->native.state, entry);
    if (st == CT_OK) {
        st = ct_answers_settle_value(answers_of(self), &value, err);
    }
    for (int i = 0; st == CT_OK && !run->lent && i < 2; i++) {
        if (pyct_native_run_number(&self->native, run, numbers[i], &numbers[i]) < 0) {
            st = pyct_foreign(err);
        }
    }
    if (st == CT_OK) {
        st = ct_orders_exploit(run->orders, numbers[0], numbers[1], true, &value, err);
    }
    ct_value_deinit(&value);
    return st;
}

/* _skip_exploit(trial, clone): there is no checkpoint. */
static int
skipped(pyct_pbt *self, PyObject *trial, PyObject *clone)
{
    return pyct_call_done(
        PyObject_CallMethod((PyObject *)self, "_skip_exploit", "OO", trial, clone));
}

/* Outside a run: at once, if there is a checkpoint. */
static int
exploit_now(pyct_pbt *self, const ct_board *b, ct_trial_id t, ct_trial_id source,
            bool has, bool duck, ct_pbt_exploited *out)
{
    PyObject *trial = pyct_native_trial(&self->native, t);
    PyObject *clone = trial != NULL ? pyct_native_trial(&self->native, source) : NULL;
    PyObject *checkpoint = NULL;
    int st = clone != NULL ? 0 : PyErr_Occurred() ? -1 : 1;
    if (st == 0 && duck && has) {
        checkpoint = duck_checkpoint(self, source);
        st = checkpoint != NULL ? 0 : -1;
    }
    int truth = checkpoint != NULL ? PyObject_IsTrue(checkpoint) : 0;
    if (st == 0 && truth > 0) {
        st = duck_exploit(self, b, t, source, trial, clone, checkpoint);
        *out = CT_PBT_DONE;
    } else if (st == 0) {
        st = truth < 0 ? -1 : skipped(self, trial, clone);
    }
    Py_XDECREF(checkpoint);
    Py_XDECREF(clone);
    Py_XDECREF(trial);
    return st < 0 ? -1 : 0;
}

static ct_status
hook_exploit(void *ctx, const ct_board *b, ct_trial_id t, ct_trial_id source, bool has,
             ct_orders *orders, ct_pbt_exploited *out, ct_err *err)
{
    pyct_pbt *self = ctx;
    pyct_native_run run;
    *out = CT_PBT_SKIPPED;
    int offered = pyct_native_run_of(&self->native, b, orders, &run);
    if (offered == 0 && run.driver != NULL && has) {
        offered = is_offered(self, &run, source);
    }
    if (offered < 0) {
        return pyct_foreign(err);
    }
    if (offered > 0) {
        *out = CT_PBT_ORDERED;
        return run_exploit(self, &run, t, source, err);
    }
    pyct_entry entry = pyct_enter(self->native.state);
    ct_status st = exploit_now(self, b, t, source, has, run.driver == NULL, out) == 0
                       ? CT_OK
                       : pyct_foreign(err);
    pyct_leave(self->native.state, entry);
    return st;
}

/* In a run: the order was carried out, or could not be. A replay says only the former: what
 * the policy files lack or have too much of depends on it. */
static ct_status
hook_exploited(void *ctx, const ct_board *b, ct_trial_id t, ct_trial_id source,
               bool done, const ct_value *note, ct_err *err)
{
    pyct_pbt *self = ctx;
    pyct_state *state = self->native.state;
    ct_answers *a = answers_of(self);
    (void)b;
    if (done ? note == NULL || note->kind == CT_NIL : a != NULL && a->replay) {
        return CT_OK;
    }
    pyct_entry entry = pyct_enter(state);
    PyObject *trial = pyct_native_trial(&self->native, t);
    PyObject *clone = trial != NULL ? pyct_native_trial(&self->native, source) : NULL;
    PyObject *line =
        clone != NULL && done
            ? pyct_value_to_object(state, pyct_driver_names(self->native.driver), note)
            : NULL;
    int st = -1;
    if (clone != NULL && !done) {
        st = skipped(self, trial, clone);
    } else if (line != NULL) {
        st = pyct_call_done(PyObject_CallMethod((PyObject *)self, "_log_exploit", "OOO",
                                                trial, clone, line));
    }
    Py_XDECREF(line);
    Py_XDECREF(clone);
    Py_XDECREF(trial);
    ct_status out = st == 0 ? CT_OK : pyct_foreign(err);
    pyct_leave(state, entry);
    return out;
}

static ct_status
hook_missing(void *ctx, bool time, ct_err *err)
{
    pyct_pbt *self = ctx;
    pyct_state *state = self->native.state;
    pyct_entry entry = pyct_enter(state);
    PyObject *key = time ? self->native.time_attr : self->native.base.metric;
    const char *parameter = time ? "time_attr" : "metric";
    ct_status st = CT_OK;
    if (self->strict) {
        PyErr_Format(
            PyExc_RuntimeError,
            "%s %R is not in a result of a trial%s%R; report it in each result, "
            "or give require_attrs=False to go on without",
            parameter, key, self->given != NULL ? ": " : ", such as ",
            self->given != NULL ? self->given : key);
        st = pyct_foreign(err);
    } else if (!self->warned[time]) {
        self->warned[time] = true;
        st = pyct_call_done(PyObject_CallMethod((PyObject *)self, "_warn_missing", "sO",
                                                parameter, key)) == 0
                 ? CT_OK
                 : pyct_foreign(err);
    }
    pyct_leave(state, entry);
    return st;
}

/* Outside a run a trial may be over without a word. */
static size_t
hook_live(void *ctx, const ct_board *b)
{
    pyct_pbt *self = ctx;
    (void)b;
    if (PyErr_Occurred()) {
        return SIZE_MAX;
    }
    PyObject *all = PyObject_CallMethodNoArgs(self->native.controller,
                                              self->native.state->str.get_live_trials);
    Py_ssize_t n = all != NULL ? PyObject_Size(all) : -1;
    Py_XDECREF(all);
    if (n < 0) {
        PyErr_Clear();
        return SIZE_MAX;
    }
    return (size_t)n;
}

/* In a run all trials are told of. */
static size_t
hook_live_or_told(void *ctx, const ct_board *b)
{
    pyct_pbt *self = ctx;
    if (pyct_native_is_called(&self->native)) {
        return hook_live(ctx, b);
    }
    return ct_pbt_live(engine_of(self));
}

/* ---- new trials ---- */

static int
check_search_alg(pyct_pbt *self)
{
    pyct_state *state = self->native.state;
    PyObject *controller = pyct_native_controller(&self->native);
    PyObject *search =
        controller != NULL ? PyObject_GetAttrString(controller, "search_alg") : NULL;
    Py_XDECREF(controller);
    if (search == NULL) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    PyObject *generator = pyct_lazy(&state->generator_class,
                                    "ctune.search.search_generator", "SearchGenerator");
    int is = generator != NULL ? PyObject_IsInstance(search, generator) : -1;
    if (is > 0) {
        PyErr_Format(PyExc_ValueError,
                     "search_alg %R cannot be used with %s, which makes new configs "
                     "itself; leave search_alg out",
                     search, Py_TYPE((PyObject *)self)->tp_name);
        is = -1;
    }
    Py_DECREF(search);
    return is;
}

/* _fill_config(config, evaluated): whether the config lacked something, which both dicts
 * have then. */
static int
fill(pyct_pbt *self, PyObject *config, PyObject *evaluated)
{
    PyObject *args[] = {(PyObject *)self, config, evaluated};
    PyObject *any =
        PyObject_VectorcallMethod(self->native.state->str.fill_config, args, 3, NULL);
    int truth = any != NULL ? PyObject_IsTrue(any) : -1;
    Py_XDECREF(any);
    return truth;
}

static int
fill_duck(pyct_pbt *self, PyObject *trial)
{
    PyObject *config = PyObject_GetAttr(trial, self->native.state->str.config);
    PyObject *evaluated =
        config != NULL
            ? PyObject_GetAttr(trial, self->native.state->str.evaluated_params)
            : NULL;
    int st = evaluated != NULL ? fill(self, config, evaluated) : -1;
    Py_XDECREF(evaluated);
    Py_XDECREF(config);
    return st < 0 ? -1 : 0;
}

/* Tuple (config, evaluated params) of an order; nil when the config has all. */
static int
fill_run(pyct_pbt *self, PyObject *driver, PyObject *trial, ct_value *out)
{
    pyct_state *state = self->native.state;
    PyObject *config = PyObject_GetAttr(trial, self->native.state->str.config);
    PyObject *own = config != NULL ? pyct_copy_deep(state, config) : NULL;
    PyObject *evaluated =
        own != NULL ? PyObject_GetAttr(trial, state->str.evaluated_params) : NULL;
    int st = evaluated != NULL ? fill(self, own, evaluated) : -1;
    if (st > 0) {
        PyObject *pair = PyTuple_Pack(2, own, evaluated);
        st = pair != NULL
                 ? pyct_value_from_object(state, pyct_driver_names(driver), pair, out)
                 : -1;
        Py_XDECREF(pair);
    }
    Py_XDECREF(evaluated);
    Py_XDECREF(own);
    Py_XDECREF(config);
    return st < 0 ? -1 : 0;
}

/* What a run records of it is nil when the config had all. */
static ct_status
order_config(pyct_pbt *self, const pyct_native_run *run, PyObject *trial, ct_trial_id t,
             ct_err *err)
{
    ct_value value = ct_nil();
    ct_status st =
        fill_run(self, run->driver, trial, &value) >= 0 ? CT_OK : pyct_foreign(err);
    if (st == CT_OK) {
        st = ct_answers_settle_value(answers_of(self), &value, err);
    }
    if (st == CT_OK && value.kind != CT_NIL && !run->lent &&
        pyct_native_run_number(&self->native, run, t, &t) < 0) {
        st = pyct_foreign(err);
    }
    if (st == CT_OK && value.kind != CT_NIL) {
        st = ct_orders_add(run->orders, CT_ORDER_CONFIG, t, false, &value, err);
    }
    ct_value_deinit(&value);
    return st;
}

static ct_status
pbt_on_add(pyct_native *native, const ct_board *b, ct_trial_id t, ct_orders *orders,
           ct_err *err)
{
    pyct_pbt *self = (pyct_pbt *)native;
    pyct_state *state = native->state;
    pyct_entry entry = pyct_enter(state);
    PyObject *trial = pyct_native_trial(native, t);
    PyObject *tag =
        trial != NULL ? PyObject_GetAttr(trial, state->str.experiment_tag) : NULL;
    if (trial != NULL && tag == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear(); /* it matters only when it is exploited */
        tag = PyUnicode_FromString("");
    }
    int st = tag != NULL && check_search_alg(self) == 0 ? 0 : -1;
    if (st == 0 &&
        (set_item(self->saved, t, Py_None) < 0 ||
         set_item(self->results, t, Py_None) < 0 || set_item(self->tags, t, tag) < 0)) {
        st = -1;
    }
    ct_status out = CT_OK;
    pyct_native_run run;
    if (st == 0) {
        st = pyct_native_run_of(native, b, orders, &run);
    }
    if (st == 0 && run.driver == NULL) {
        st = fill_duck(self, trial);
    } else if (st == 0) {
        out = order_config(self, &run, trial, t, err);
    }
    if (st < 0) {
        out = pyct_foreign(err);
    }
    Py_XDECREF(tag);
    Py_XDECREF(trial);
    pyct_leave(state, entry);
    return out;
}

/* ---- the kind ---- */

static int
checked_options(PyObject *const *v)
{
    if (!PyDict_Check(v[MUTATIONS])) {
        PyErr_Format(PyExc_TypeError, "hyperparam_mutations must be a dict, got %R",
                     v[MUTATIONS]);
        return -1;
    }
    Py_ssize_t n = PySequence_Check(v[FACTORS]) ? PySequence_Size(v[FACTORS]) : 0;
    if (n < 1) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError,
                     "perturbation_factors must be numbers to multiply with, such as "
                     "(1.2, 0.8), got %R",
                     v[FACTORS]);
        return -1;
    }
    if (v[CUSTOM] != Py_None && !PyCallable_Check(v[CUSTOM])) {
        PyErr_Format(PyExc_TypeError, "custom_explore_fn must be callable, got %R",
                     v[CUSTOM]);
        return -1;
    }
    return 0;
}

static int
fresh_lists(pyct_pbt *self)
{
    PyObject **const lists[] = {&self->tags, &self->saved, &self->results};
    for (size_t i = 0; i < 3; i++) {
        PyObject *list = PyList_New(0);
        if (list == NULL) {
            return -1;
        }
        Py_XSETREF(*lists[i], list);
    }
    return 0;
}

static int
pbt_make(pyct_native *native, PyObject *const *v, bool maximize, ct_scheduler **out)
{
    pyct_pbt *self = (pyct_pbt *)native;
    ct_err err = CT_ERR_INIT;
    ct_pbt *made = NULL;
    double resample = 0.0;
    ct_pbt_opts o = {.time_attr = PYCT_TIME,
                     .metric = PYCT_METRIC,
                     .maximize = maximize,
                     .hooks = {.choice = hook_choice,
                               .turn = hook_turn,
                               .save = hook_save,
                               .forget = hook_forget,
                               .exploit = hook_exploit,
                               .exploited = hook_exploited,
                               .missing = hook_missing,
                               .live = hook_live_or_told,
                               .ctx = self}};
    if (pyct_native_number(v[INTERVAL], "perturbation_interval",
                           &o.perturbation_interval) < 0 ||
        pyct_native_number(v[BURN_IN], "burn_in_period", &o.burn_in_period) < 0 ||
        pyct_native_number(v[QUANTILE], "quantile_fraction", &o.quantile_fraction) <
            0 ||
        pyct_native_number(v[RESAMPLE], "resample_probability", &resample) < 0 ||
        checked_options(v) < 0) {
        return -1;
    }
    int strict = PyObject_IsTrue(v[REQUIRE_ATTRS]);
    int synch = PyObject_IsTrue(v[SYNCH]);
    int learns = pyct_has((PyObject *)self, native->state->str.note_turn);
    if (strict < 0 || synch < 0 || learns < 0) {
        return -1;
    }
    o.synch = synch;
    if (ct_pbt_new(&made, &o, &err) != CT_OK) {
        (void)pyct_raise(native->state, &err);
        return -1;
    }
    if (fresh_lists(self) < 0) {
        ct_pbt_scheduler(made)->ops->free(ct_pbt_scheduler(made));
        return -1;
    }
    self->resample = resample;
    self->strict = strict;
    self->learns = learns;
    self->synch = synch;
    *out = ct_pbt_scheduler(made);
    return 0;
}

static void
pbt_set_mode(ct_scheduler *engine, bool maximize)
{
    ct_pbt_set_mode((ct_pbt *)engine, maximize);
}

static bool
pbt_knows(const ct_scheduler *engine, ct_trial_id t)
{
    return ct_pbt_knows((const ct_pbt *)engine, t);
}

static bool
pbt_chooses(const ct_scheduler *engine)
{
    (void)engine;
    return true;
}

static const pyct_native_kind PBT = {
    .name = "PopulationBasedTraining",
    .args = ARGS,
    .make = pbt_make,
    .set_mode = pbt_set_mode,
    .knows = pbt_knows,
    .keeps_more = true,
    .takes_missing = true,
    .on_add = pbt_on_add,
    .chooses = pbt_chooses,
};

static PyObject *
pbt_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return pyct_native_new(type, &PBT);
}

static int
pbt_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_pbt *self = (pyct_pbt *)op;
    Py_VISIT(self->tags);
    Py_VISIT(self->saved);
    Py_VISIT(self->results);
    return pyct_native_traverse(op, visit, arg);
}

static int
pbt_clear(PyObject *op)
{
    pyct_pbt *self = (pyct_pbt *)op;
    Py_CLEAR(self->tags);
    Py_CLEAR(self->saved);
    Py_CLEAR(self->results);
    return pyct_native_clear(op);
}

static void
pbt_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    (void)pbt_clear(op);
    pyct_native_dealloc(op);
}

/* ---- methods ---- */

static PyObject *
pbt_on_trial_result(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_pbt *self = (pyct_pbt *)op;
    PyObject *outer = self->given;
    self->given = nargs == 3 ? args[2] : NULL;
    PyObject *out = pyct_native_on_trial_result(op, args, nargs);
    self->given = outer;
    return out;
}

static PyObject *
pbt_get_new_config(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_pbt *self = (pyct_pbt *)pyct_native_ready(op);
    if (self == NULL || pyct_wants_args("_get_new_config", nargs, 2) < 0) {
        return NULL;
    }
    PyObject *config = PyObject_GetAttr(args[1], self->native.state->str.config);
    PyObject *out =
        config != NULL
            ? pyct_explore(self->native.state, config, option(self, MUTATIONS),
                           self->resample, option(self, FACTORS), option(self, CUSTOM))
            : NULL;
    Py_XDECREF(config);
    return out;
}

static PyObject *
pbt_fill_config(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_pbt *self = (pyct_pbt *)pyct_native_ready(op);
    if (self == NULL || pyct_wants_args("_fill_config", nargs, 2) < 0) {
        return NULL;
    }
    int any = pyct_explore_fill(self->native.state, args[0], option(self, MUTATIONS),
                                args[1]);
    return any < 0 ? NULL : PyBool_FromLong(any);
}

/* Scores of those of the trials that have one and are not over. */
static PyObject *
pbt_last_scores(PyObject *op, PyObject *trials)
{
    pyct_pbt *self = (pyct_pbt *)pyct_native_ready(op);
    PyObject *items = self != NULL ? PyObject_GetIter(trials) : NULL;
    PyObject *out = items != NULL ? PyList_New(0) : NULL;
    PyObject *trial;
    while (out != NULL && (trial = PyIter_Next(items)) != NULL) {
        ct_trial_id t = 0;
        double score;
        int found = pyct_native_number_of(&self->native, trial, &t);
        if (found > 0 && ct_pbt_score(engine_of(self), t, &score)) {
            PyObject *over =
                PyObject_CallMethodNoArgs(trial, self->native.state->str.is_finished);
            int truth = over != NULL ? PyObject_IsTrue(over) : -1;
            PyObject *value = truth == 0 ? PyFloat_FromDouble(score) : NULL;
            found = truth < 0 || (truth == 0 &&
                                  (value == NULL || PyList_Append(out, value) < 0))
                        ? -1
                        : 0;
            Py_XDECREF(value);
            Py_XDECREF(over);
        }
        Py_DECREF(trial);
        if (found < 0) {
            Py_CLEAR(out);
        }
    }
    Py_XDECREF(items);
    if (PyErr_Occurred()) {
        Py_CLEAR(out);
    }
    return out;
}

static PyObject *
pbt_reset_stats(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_pbt *self = (pyct_pbt *)pyct_native_ready(op);
    if (self == NULL) {
        return NULL;
    }
    ct_pbt_reset_stats(engine_of(self));
    Py_RETURN_NONE;
}

/* The lists by number, in the order of `closure`. */
static PyObject **
list_of(pyct_pbt *self, void *closure)
{
    PyObject **const lists[] = {&self->tags, &self->saved, &self->results};
    return lists[(intptr_t)closure];
}

static PyObject *
pbt_get_list(PyObject *op, void *closure)
{
    pyct_pbt *self = (pyct_pbt *)pyct_native_ready(op);
    PyObject *list = self != NULL ? *list_of(self, closure) : NULL;
    return list != NULL ? PyList_GetSlice(list, 0, PyList_GET_SIZE(list)) : NULL;
}

static int
pbt_set_list(PyObject *op, PyObject *value, void *closure)
{
    pyct_pbt *self = (pyct_pbt *)pyct_native_ready(op);
    if (self == NULL) {
        return -1;
    }
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "the state cannot be deleted");
        return -1;
    }
    PyObject *list = PySequence_List(value);
    if (list == NULL) {
        return -1;
    }
    Py_XSETREF(*list_of(self, closure), list);
    return 0;
}

static PyObject *
pbt_get_count(PyObject *op, void *closure)
{
    pyct_pbt *self = (pyct_pbt *)pyct_native_ready(op);
    if (self == NULL) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(closure == NULL
                                           ? ct_pbt_num_checkpoints(engine_of(self))
                                           : ct_pbt_num_perturbations(engine_of(self)));
}

PYCT_GUARD_FAST(pbt_on_trial_result)
PYCT_GUARD_FAST(pyct_native_choose)
PYCT_GUARD_FAST(pyct_native_error)
PYCT_GUARD_FAST(pbt_get_new_config)
PYCT_GUARD_FAST(pbt_fill_config)
PYCT_GUARD_UNARY(pbt_last_scores)
PYCT_GUARD_UNARY(pbt_reset_stats)
PYCT_GUARD_GETTER(pbt_get_list)
PYCT_GUARD_GETTER(pbt_get_count)

static PyMethodDef pbt_methods[] = {
    {"on_trial_result", PYCT_METHOD(guarded_pbt_on_trial_result), METH_FASTCALL,
     "on_trial_result($self, tune_controller, trial, result, /)\n--\n\n"
     "CONTINUE, PAUSE or NOOP."},
    {"on_trial_error", PYCT_METHOD(guarded_pyct_native_error), METH_FASTCALL,
     "on_trial_error($self, tune_controller, trial, /)\n--\n\n"
     "A trial failed."},
    {"choose_trial_to_run", PYCT_METHOD(guarded_pyct_native_choose), METH_FASTCALL,
     "choose_trial_to_run($self, tune_controller, /)\n--\n\n"
     "The waiting trial that has trained least, or None."},
    {"_get_new_config", PYCT_METHOD(guarded_pbt_get_new_config), METH_FASTCALL,
     "_get_new_config($self, trial, trial_to_clone, /)\n--\n\n"
     "(config, operations) for the trial, from the config of the one to clone."},
    {"_fill_config", PYCT_METHOD(guarded_pbt_fill_config), METH_FASTCALL,
     "_fill_config($self, config, evaluated, /)\n--\n\n"
     "Draw what the config lacks, into both dicts; True when there was something."},
    {"last_scores", guarded_pbt_last_scores, METH_O,
     "last_scores($self, trials, /)\n--\n\n"
     "list of float: scores (larger is better) of those that have one and are not over."},
    {"reset_stats", guarded_pbt_reset_stats, METH_NOARGS,
     "reset_stats($self, /)\n--\n\n"
     "Count checkpoints and perturbations from 0 again."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pbt_getset[] = {
    {"_num_checkpoints", guarded_pbt_get_count, NULL, NULL, NULL},
    {"_num_perturbations", guarded_pbt_get_count, NULL, NULL, (void *)1},
    {"_tags", guarded_pbt_get_list, pbt_set_list,
     "Experiment tags at first, by number.", (void *)0},
    {"_saved", guarded_pbt_get_list, pbt_set_list,
     "Checkpoints, or futures of them, by number; outside a run.", (void *)1},
    {"_results", guarded_pbt_get_list, pbt_set_list,
     "Results of the last turn, by number; outside a run.", (void *)2},
    {"_perturbation_interval", pyct_native_option, NULL, NULL, (void *)INTERVAL},
    {"_burn_in_period", pyct_native_option, NULL, NULL, (void *)BURN_IN},
    {"_hyperparam_mutations", pyct_native_option, NULL, NULL, (void *)MUTATIONS},
    {"_quantile_fraction", pyct_native_option, NULL, NULL, (void *)QUANTILE},
    {"_resample_probability", pyct_native_option, NULL, NULL, (void *)RESAMPLE},
    {"_perturbation_factors", pyct_native_option, NULL, NULL, (void *)FACTORS},
    {"_custom_explore_fn", pyct_native_option, NULL, NULL, (void *)CUSTOM},
    {"_log_config", pyct_native_option, NULL, NULL, (void *)LOG_CONFIG},
    {"_require_attrs", pyct_native_option, NULL, NULL, (void *)REQUIRE_ATTRS},
    {"_synch", pyct_native_option, NULL, NULL, (void *)SYNCH},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot pbt_slots[] = {
    {Py_tp_new, PYCT_SLOT(pbt_new)},
    {Py_tp_dealloc, PYCT_SLOT(pbt_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(pbt_traverse)},
    {Py_tp_clear, PYCT_SLOT(pbt_clear)},
    {Py_tp_methods, pbt_methods},
    {Py_tp_getset, pbt_getset},
    {Py_tp_doc,
     "Population-based training: the base of ctune.schedulers.PopulationBasedTraining."},
    {0, NULL},
};

static PyType_Spec pbt_spec = {
    .name = "ctune._ctune.PopulationBasedTraining",
    .basicsize = sizeof(pyct_pbt),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = pbt_slots,
};

static PyMethodDef functions[] = {
    {"perturbed_tag", PYCT_METHOD(pyct_perturbed_tag), METH_FASTCALL,
     "perturbed_tag($module, tag, config, keys, /)\n--\n\n"
     "The tag of a trial that got a new config, of which the keys are shown."},
    {NULL, NULL, 0, NULL},
};

int
pyct_pbt_add(PyObject *module, pyct_state *state)
{
    if (PyModule_AddFunctions(module, functions) < 0) {
        return -1;
    }
    return pyct_add_type(module, &state->pbt_type, &pbt_spec, state->native_type);
}
