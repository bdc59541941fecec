/* scheduler_hyperband.c: _ctune.HyperBandScheduler and _ctune.HyperBandForBOHB. */
#include "native.h"

#include "errors.h"
#include "guard.h"
#include "types.h"

#include "sched/hyperband.h"

/* time_attr, metric, mode, max_t, reduction_factor, stop_last_trials. */
enum { MAX_T = 3, REDUCTION_FACTOR, STOP_LAST_TRIALS, ARGS };

static ct_status
on_pause(void *ctx, ct_trial_id t, ct_err *err)
{
    return pyct_native_tell_searcher(ctx, t, "on_pause", err);
}

static ct_status
on_unpause(void *ctx, ct_trial_id t, ct_err *err)
{
    return pyct_native_tell_searcher(ctx, t, "on_unpause", err);
}

static int
make(pyct_native *self, PyObject *const *v, bool maximize, bool bohb,
     ct_scheduler **out)
{
    ct_err err = CT_ERR_INIT;
    ct_hyperband *made = NULL;
    ct_hyperband_opts o = {.time_attr = PYCT_TIME,
                           .metric = PYCT_METRIC,
                           .maximize = maximize,
                           .bohb = bohb};
    if (pyct_native_number(v[MAX_T], "max_t", &o.max_t) < 0 ||
        pyct_native_number(v[REDUCTION_FACTOR], "reduction_factor",
                           &o.reduction_factor) < 0) {
        return -1;
    }
    int stop_last = PyObject_IsTrue(v[STOP_LAST_TRIALS]);
    if (stop_last < 0) {
        return -1;
    }
    o.stop_last_trials = stop_last;
    if (bohb) {
        o.hooks = (ct_hyperband_hooks){on_pause, on_unpause, self};
    }
    if (ct_hyperband_new(&made, &o, &err) != CT_OK) {
        (void)pyct_raise(self->state, &err);
        return -1;
    }
    *out = ct_hyperband_scheduler(made);
    return 0;
}

static int
hyperband_make(pyct_native *self, PyObject *const *v, bool maximize, ct_scheduler **out)
{
    return make(self, v, maximize, false, out);
}

static int
bohb_make(pyct_native *self, PyObject *const *v, bool maximize, ct_scheduler **out)
{
    return make(self, v, maximize, true, out);
}

static void
set_mode(ct_scheduler *engine, bool maximize)
{
    ct_hyperband_set_mode((ct_hyperband *)engine, maximize);
}

static uint64_t
num_stopped(const ct_scheduler *engine)
{
    return ct_hyperband_num_stopped((const ct_hyperband *)engine);
}

static bool
knows(const ct_scheduler *engine, ct_trial_id t)
{
    return ct_hyperband_knows((const ct_hyperband *)engine, t);
}

/* result["hyperband_info"]: {} or {"budget": milestone}, for BOHB's searcher. */
static int
bohb_annotate(pyct_native *self, ct_trial_id t, double time, PyObject *result)
{
    double milestone;
    PyObject *info = ct_hyperband_due((ct_hyperband *)self->engine, t, time, &milestone)
                         ? Py_BuildValue("{s:L}", "budget", (long long)milestone)
                         : PyDict_New();
    PyObject *key = info != NULL ? PyUnicode_FromString("hyperband_info") : NULL;
    int st = key != NULL ? PyObject_SetItem(result, key, info) : -1;
    Py_XDECREF(key);
    Py_XDECREF(info);
    return st;
}

static bool
chooses(const ct_scheduler *engine)
{
    (void)engine;
    return true;
}

static const pyct_native_kind HYPERBAND = {
    .name = "HyperBandScheduler",
    .args = ARGS,
    .make = hyperband_make,
    .set_mode = set_mode,
    .num_stopped = num_stopped,
    .knows = knows,
    .chooses = chooses,
};
static const pyct_native_kind BOHB = {
    .name = "HyperBandForBOHB",
    .args = ARGS,
    .make = bohb_make,
    .set_mode = set_mode,
    .num_stopped = num_stopped,
    .knows = knows,
    .annotate = bohb_annotate,
    .chooses = chooses,
};

static PyObject *
hyperband_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return pyct_native_new(type, &HYPERBAND);
}

static PyObject *
bohb_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return pyct_native_new(type, &BOHB);
}

/* {"num_brackets", "num_stopped"}. */
static PyObject *
hyperband_state(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_native *self = pyct_native_ready(op);
    if (self == NULL) {
        return NULL;
    }
    const ct_hyperband *h = (const ct_hyperband *)self->engine;
    return Py_BuildValue("{s:n,s:K}", "num_brackets",
                         (Py_ssize_t)ct_hyperband_num_brackets(h), "num_stopped",
                         (unsigned long long)ct_hyperband_num_stopped(h));
}

PYCT_GUARD_FAST(pyct_native_choose)
PYCT_GUARD_FAST(pyct_native_error)
PYCT_GUARD_UNARY(hyperband_state)

static PyMethodDef hyperband_methods[] = {
    {"on_trial_error", PYCT_METHOD(guarded_pyct_native_error), METH_FASTCALL,
     "on_trial_error($self, tune_controller, trial, /)\n--\n\n"
     "The trial leaves its bracket."},
    {"choose_trial_to_run", PYCT_METHOD(guarded_pyct_native_choose), METH_FASTCALL,
     "choose_trial_to_run($self, tune_controller, /)\n--\n\n"
     "A pending trial, or a paused one that got past its milestone, or None."},
    {"state", guarded_hyperband_state, METH_NOARGS,
     "state($self, /)\n--\n\ndict of num_brackets and num_stopped."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef hyperband_getset[] = {
    {"_max_t_attr", pyct_native_option, NULL, NULL, (void *)MAX_T},
    {"_eta", pyct_native_option, NULL, NULL, (void *)REDUCTION_FACTOR},
    {"_stop_last_trials", pyct_native_option, NULL, NULL, (void *)STOP_LAST_TRIALS},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot hyperband_slots[] = {
    {Py_tp_new, PYCT_SLOT(hyperband_new)},
    {Py_tp_methods, hyperband_methods},
    {Py_tp_getset, hyperband_getset},
    {Py_tp_doc, "HyperBand: the base of ctune.schedulers.HyperBandScheduler."},
    {0, NULL},
};

static PyType_Spec hyperband_spec = {
    .name = "ctune._ctune.HyperBandScheduler",
    .basicsize = sizeof(pyct_native),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = hyperband_slots,
};

static PyType_Slot bohb_slots[] = {
    {Py_tp_new, PYCT_SLOT(bohb_new)},
    {Py_tp_doc, "HyperBand for BOHB: the base of ctune.schedulers.HyperBandForBOHB."},
    {0, NULL},
};

static PyType_Spec bohb_spec = {
    .name = "ctune._ctune.HyperBandForBOHB",
    .basicsize = sizeof(pyct_native),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = bohb_slots,
};

int
pyct_hyperband_add(PyObject *module, pyct_state *state)
{
    if (pyct_add_type(module, &state->hyperband_type, &hyperband_spec,
                      state->native_type) < 0) {
        return -1;
    }
    PyObject *type = (PyObject *)state->hyperband_type;
    return PyObject_SetAttr(type, state->str.own_supports_buffered_results, Py_False) <
                   0
               ? -1
               : pyct_add_type(module, &state->bohb_type, &bohb_spec,
                               state->hyperband_type);
}
