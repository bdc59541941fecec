/* scheduler_asha.c: _ctune.AsyncHyperBandScheduler. */
#include "native.h"

#include "errors.h"
#include "guard.h"
#include "types.h"

#include "sched/asha.h"

/* time_attr, metric, mode, max_t, grace_period, reduction_factor, brackets,
 * stop_last_trials, promotion. */
enum {
    MAX_T = 3,
    GRACE_PERIOD,
    REDUCTION_FACTOR,
    BRACKETS,
    STOP_LAST_TRIALS,
    PROMOTION,
    ARGS
};

static int
brackets_arg(PyObject *value, int64_t *out)
{
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        PyErr_Format(PyExc_TypeError, "brackets must be an int, got %R", value);
        return -1;
    }
    int overflow = 0;
    *out = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (overflow != 0) {
        *out = overflow > 0 ? INT64_MAX : INT64_MIN; /* the engine names the range */
    }
    return 0;
}

static int
asha_make(pyct_native *self, PyObject *const *v, bool maximize, ct_scheduler **out)
{
    pyct_state *state = self->state;
    ct_err err = CT_ERR_INIT;
    ct_asha *made = NULL;
    ct_asha_opts o = {
        .time_attr = PYCT_TIME, .metric = PYCT_METRIC, .maximize = maximize};
    if (pyct_native_number(v[MAX_T], "max_t", &o.max_t) < 0 ||
        pyct_native_number(v[GRACE_PERIOD], "grace_period", &o.grace_period) < 0 ||
        pyct_native_number(v[REDUCTION_FACTOR], "reduction_factor",
                           &o.reduction_factor) < 0 ||
        brackets_arg(v[BRACKETS], &o.brackets) < 0) {
        return -1;
    }
    int stop_last = PyObject_IsTrue(v[STOP_LAST_TRIALS]);
    int promotion = stop_last < 0 ? -1 : PyObject_IsTrue(v[PROMOTION]);
    if (promotion < 0 ||
        (self->rng == NULL && pyct_rng_new(state, Py_None, &self->rng) < 0)) {
        return -1;
    }
    o.stop_last_trials = stop_last;
    o.promotion = promotion;
    o.rng = pyct_rng_source(self->rng);
    if (ct_asha_new(&made, &o, &err) != CT_OK) {
        (void)pyct_raise(state, &err);
        return -1;
    }
    *out = ct_asha_scheduler(made);
    return 0;
}

static void
asha_set_mode(ct_scheduler *engine, bool maximize)
{
    ct_asha_set_objective((ct_asha *)engine, PYCT_METRIC, maximize);
}

static uint64_t
asha_num_stopped(const ct_scheduler *engine)
{
    return ct_asha_num_stopped((const ct_asha *)engine);
}

static bool
asha_knows(const ct_scheduler *engine, ct_trial_id t)
{
    return ct_asha_knows((const ct_asha *)engine, t);
}

/* At max_t nobody asks who it is. */
static bool
asha_answers_anyone(pyct_native *self, double time, ct_verdict *out)
{
    return ct_asha_over((ct_asha *)self->engine, time, out);
}

static bool
asha_chooses(const ct_scheduler *engine)
{
    return ct_asha_chooses((const ct_asha *)engine);
}

static const pyct_native_kind ASHA = {
    .name = "AsyncHyperBandScheduler",
    .args = ARGS,
    .make = asha_make,
    .set_mode = asha_set_mode,
    .num_stopped = asha_num_stopped,
    .knows = asha_knows,
    .answers_anyone = asha_answers_anyone,
    .lenient = true,
    .chooses = asha_chooses,
};

static PyObject *
asha_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return pyct_native_new(type, &ASHA);
}

/* As FIFO, unless it promotes. */
static PyObject *
asha_choose(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_native *self = pyct_native_ready(op);
    if (self == NULL) {
        return NULL;
    }
    return pyct_native_chooses(self) ? pyct_native_choose(op, args, nargs)
                                     : pyct_fifo_choose(op, args, nargs);
}

PYCT_GUARD_FAST(asha_choose)

static PyMethodDef asha_methods[] = {
    {"choose_trial_to_run", PYCT_METHOD(guarded_asha_choose), METH_FASTCALL,
     "choose_trial_to_run($self, tune_controller, /)\n--\n\n"
     "The first pending trial, else the first paused one; with promotion=True the best "
     "one that a rung lets go on, else the first pending one."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef asha_getset[] = {
    {"_max_t", pyct_native_option, NULL, NULL, (void *)MAX_T},
    {"_reduction_factor", pyct_native_option, NULL, NULL, (void *)REDUCTION_FACTOR},
    {"_stop_last_trials", pyct_native_option, NULL, NULL, (void *)STOP_LAST_TRIALS},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot asha_slots[] = {
    {Py_tp_new, PYCT_SLOT(asha_new)},
    {Py_tp_methods, asha_methods},
    {Py_tp_getset, asha_getset},
    {Py_tp_doc, "ASHA: the base of ctune.schedulers.AsyncHyperBandScheduler."},
    {0, NULL},
};

static PyType_Spec asha_spec = {
    .name = "ctune._ctune.AsyncHyperBandScheduler",
    .basicsize = sizeof(pyct_native),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = asha_slots,
};

int
pyct_asha_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->asha_type, &asha_spec, state->native_type);
}
