/* scheduler_replay.c: _ctune.PopulationBasedTrainingReplay. */
#include "native.h"

#include "convert.h"
#include "driver.h"
#include "duck.h"
#include "errors.h"
#include "guard.h"
#include "overrides.h"
#include "types.h"

#include "base/mem.h"
#include "sched/replay.h"

/* "training_iteration", None, None, and the schedule: tuple of (iteration, config). */
enum { SCHEDULE = 3, ARGS };

typedef struct pyct_replay {
    pyct_native native; /* first */
    PyObject *given;    /* borrowed: the result of the call under way, or NULL */
} pyct_replay;

/* ---- outside a run ---- */

/* Saves now, and makes that the trial's latest checkpoint. */
static int
duck_save(pyct_native *self, PyObject *trial, PyObject *result)
{
    PyObject *future = pyct_duck_save(self->state, self->controller, trial, result);
    PyObject *latest = NULL;
    int later = future != NULL ? pyct_has(future, self->state->str.resolve) : -1;
    if (later > 0) {
        latest = PyObject_CallMethod(future, "resolve", NULL);
    } else if (later == 0) {
        latest = Py_NewRef(future);
    }
    int st = latest != NULL ? pyct_duck_set_latest(self->state, trial, latest) : -1;
    Py_XDECREF(latest);
    Py_XDECREF(future);
    return st;
}

static int
duck_change(pyct_replay *self, PyObject *trial, PyObject *config, PyObject *tag)
{
    pyct_native *native = &self->native;
    int st = duck_save(native, trial, self->given != NULL ? self->given : Py_None);
    if (st == 0) {
        st = pyct_duck_pause(native->state, native->controller, trial);
    }
    if (st == 0) {
        st = pyct_call_done(PyObject_CallMethodOneArg(
            trial, self->native.state->str.set_experiment_tag, tag));
    }
    if (st == 0) {
        st = pyct_call_done(PyObject_CallMethodOneArg(
            trial, self->native.state->str.set_config, config));
    }
    return st;
}

/* ---- hooks ---- */

/* A new reference to the config of change i. */
static PyObject *
config_of(pyct_native *self, size_t i)
{
    PyObject *change =
        PySequence_GetItem(PyTuple_GET_ITEM(self->options, SCHEDULE), (Py_ssize_t)i);
    PyObject *config = change != NULL ? PySequence_GetItem(change, 1) : NULL;
    Py_XDECREF(change);
    return config;
}

/* An order with tuple (first, second) as its value. */
static ct_status
order(pyct_native *self, const pyct_native_run *run, ct_trial_id t, ct_order_kind kind,
      PyObject *first, PyObject *second, ct_err *err)
{
    ct_value value = ct_nil();
    PyObject *pair = PyTuple_Pack(2, first, second);
    int made = pair != NULL
                   ? pyct_value_from_object(self->state, pyct_driver_names(run->driver),
                                            pair, &value)
                   : -1;
    Py_XDECREF(pair);
    if (made == 0 && !run->lent) {
        made = pyct_native_run_number(self, run, t, &t);
    }
    ct_status st = made == 0 ? CT_OK : pyct_foreign(err);
    if (st == CT_OK && kind == CT_ORDER_EXPLOIT) {
        st = ct_orders_add(run->orders, CT_ORDER_OFFER, t, true, NULL, err);
        if (st == CT_OK) {
            st = ct_orders_exploit(run->orders, t, t, false, &value, err);
        }
    } else if (st == CT_OK) {
        st = ct_orders_add(run->orders, kind, t, false, &value, err);
    }
    ct_value_deinit(&value);
    return st;
}

static ct_status
hook_change(void *ctx, const ct_board *b, ct_trial_id t, size_t i, ct_orders *orders,
            ct_err *err)
{
    pyct_replay *self = ctx;
    pyct_native *native = &self->native;
    pyct_entry entry = pyct_enter(native->state);
    PyObject *trial = pyct_native_trial(native, t);
    PyObject *config = trial != NULL ? config_of(native, i) : NULL;
    PyObject *tag = config != NULL
                        ? PyObject_CallMethod((PyObject *)self, "_describe_change",
                                              "OO", trial, config)
                        : NULL;
    ct_status st = CT_OK;
    pyct_native_run run;
    if (tag == NULL || pyct_native_run_of(native, b, orders, &run) < 0) {
        st = pyct_foreign(err);
    } else if (run.driver != NULL) {
        st = order(native, &run, t, CT_ORDER_EXPLOIT, config, tag, err);
    } else if (duck_change(self, trial, config, tag) < 0) {
        st = pyct_foreign(err);
    }
    Py_XDECREF(tag);
    Py_XDECREF(config);
    Py_XDECREF(trial);
    pyct_leave(native->state, entry);
    return st;
}

/* _first_config(trial): what the trial starts with. */
static ct_status
replay_on_add(pyct_native *self, const ct_board *b, ct_trial_id t, ct_orders *orders,
              ct_err *err)
{
    pyct_entry entry = pyct_enter(self->state);
    PyObject *trial = pyct_native_trial(self, t);
    PyObject *config = trial != NULL ? PyObject_CallMethod((PyObject *)self,
                                                           "_first_config", "O", trial)
                                     : NULL;
    PyObject *evaluated = NULL;
    ct_status st = CT_OK;
    pyct_native_run run;
    if (pyct_native_run_of(self, b, orders, &run) < 0) {
        Py_CLEAR(config);
    }
    if (config != NULL && run.driver == NULL) {
        if (pyct_call_done(PyObject_CallMethodOneArg(trial, self->state->str.set_config,
                                                     config)) < 0) {
            st = pyct_foreign(err);
        }
    } else if (config != NULL) {
        evaluated = PyObject_GetAttr(trial, self->state->str.evaluated_params);
        st = evaluated != NULL
                 ? order(self, &run, t, CT_ORDER_CONFIG, config, evaluated, err)
                 : pyct_foreign(err);
    } else {
        st = pyct_foreign(err);
    }
    Py_XDECREF(evaluated);
    Py_XDECREF(config);
    Py_XDECREF(trial);
    pyct_leave(self->state, entry);
    return st;
}

/* ---- the kind ---- */

static int
replay_make(pyct_native *self, PyObject *const *v, bool maximize, ct_scheduler **out)
{
    ct_err err = CT_ERR_INIT;
    ct_replay *made = NULL;
    (void)maximize;
    Py_ssize_t n = PySequence_Size(v[SCHEDULE]);
    double *changes = n >= 0 ? ct_alloc(((size_t)n + 1) * sizeof *changes) : NULL;
    int st = n < 0 ? -1 : 0;
    if (st == 0 && changes == NULL) {
        PyErr_NoMemory();
        st = -1;
    }
    for (Py_ssize_t i = 0; st == 0 && i < n; i++) {
        PyObject *change = PySequence_GetItem(v[SCHEDULE], i);
        PyObject *at = change != NULL ? PySequence_GetItem(change, 0) : NULL;
        st = at != NULL ? pyct_native_number(at, "policy_file", &changes[i]) : -1;
        Py_XDECREF(at);
        Py_XDECREF(change);
    }
    if (st == 0) {
        ct_replay_opts o = {.time_attr = PYCT_TIME,
                            .changes = changes,
                            .count = (size_t)n,
                            .change = hook_change,
                            .ctx = self};
        if (ct_replay_new(&made, &o, &err) != CT_OK) {
            (void)pyct_raise(self->state, &err);
            st = -1;
        } else {
            *out = ct_replay_scheduler(made);
        }
    }
    ct_free(changes);
    return st;
}

static void
replay_set_mode(ct_scheduler *engine, bool maximize)
{
    (void)engine;
    (void)maximize;
}

static const pyct_native_kind REPLAY = {
    .name = "PopulationBasedTrainingReplay",
    .args = ARGS,
    .make = replay_make,
    .set_mode = replay_set_mode,
    .remembers = true,
    .without_metric = true,
    .keeps_more = true,
    .takes_missing = true,
    .on_add = replay_on_add,
};

static PyObject *
replay_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return pyct_native_new(type, &REPLAY);
}

static PyObject *
replay_on_trial_result(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_replay *self = (pyct_replay *)op;
    PyObject *outer = self->given;
    self->given = nargs == 3 ? args[2] : NULL;
    PyObject *out = pyct_native_on_trial_result(op, args, nargs);
    self->given = outer;
    return out;
}

PYCT_GUARD_FAST(replay_on_trial_result)

static PyMethodDef replay_methods[] = {
    {"on_trial_result", PYCT_METHOD(guarded_replay_on_trial_result), METH_FASTCALL,
     "on_trial_result($self, tune_controller, trial, result, /)\n--\n\n"
     "CONTINUE or NOOP."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef replay_getset[] = {
    {"_policy", pyct_native_option, NULL, "(iteration, config) of each change.",
     (void *)SCHEDULE},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot replay_slots[] = {
    {Py_tp_new, PYCT_SLOT(replay_new)},
    {Py_tp_methods, replay_methods},
    {Py_tp_getset, replay_getset},
    {Py_tp_doc, "Replay of a schedule of configs: the base of "
                "ctune.schedulers.PopulationBasedTrainingReplay."},
    {0, NULL},
};

static PyType_Spec replay_spec = {
    .name = "ctune._ctune.PopulationBasedTrainingReplay",
    .basicsize = sizeof(pyct_replay),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = replay_slots,
};

int
pyct_replay_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->replay_type, &replay_spec, state->native_type);
}
