/* scheduler_median.c: _ctune.MedianStoppingRule. */
#include "native.h"

#include "errors.h"
#include "types.h"

#include "sched/median.h"

/* time_attr, metric, mode, grace_period, min_samples_required, min_time_slice, hard_stop. */
enum { GRACE_PERIOD = 3, MIN_SAMPLES, MIN_TIME_SLICE, HARD_STOP, ARGS };

static int
median_make(pyct_native *self, PyObject *const *v, bool maximize, ct_scheduler **out)
{
    ct_err err = CT_ERR_INIT;
    ct_median *made = NULL;
    ct_median_opts o = {
        .time_attr = PYCT_TIME, .metric = PYCT_METRIC, .maximize = maximize};
    if (pyct_native_number(v[GRACE_PERIOD], "grace_period", &o.grace_period) < 0 ||
        pyct_native_number(v[MIN_SAMPLES], "min_samples_required",
                           &o.min_samples_required) < 0 ||
        pyct_native_number(v[MIN_TIME_SLICE], "min_time_slice", &o.min_time_slice) <
            0) {
        return -1;
    }
    int hard = PyObject_IsTrue(v[HARD_STOP]);
    if (hard < 0) {
        return -1;
    }
    o.hard_stop = hard;
    if (ct_median_new(&made, &o, &err) != CT_OK) {
        (void)pyct_raise(self->state, &err);
        return -1;
    }
    *out = ct_median_scheduler(made);
    return 0;
}

static void
median_set_mode(ct_scheduler *engine, bool maximize)
{
    ct_median_set_mode((ct_median *)engine, maximize);
}

static uint64_t
median_num_stopped(const ct_scheduler *engine)
{
    return ct_median_num_stopped((const ct_median *)engine);
}

static const pyct_native_kind MEDIAN = {
    .name = "MedianStoppingRule",
    .args = ARGS,
    .make = median_make,
    .set_mode = median_set_mode,
    .num_stopped = median_num_stopped,
    .lenient = true,
};

static PyObject *
median_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return pyct_native_new(type, &MEDIAN);
}

static PyGetSetDef median_getset[] = {
    {"_grace_period", pyct_native_option, NULL, NULL, (void *)GRACE_PERIOD},
    {"_min_samples_required", pyct_native_option, NULL, NULL, (void *)MIN_SAMPLES},
    {"_min_time_slice", pyct_native_option, NULL, NULL, (void *)MIN_TIME_SLICE},
    {"_hard_stop", pyct_native_option, NULL, NULL, (void *)HARD_STOP},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot median_slots[] = {
    {Py_tp_new, PYCT_SLOT(median_new)},
    {Py_tp_getset, median_getset},
    {Py_tp_doc, "Median rule: the base of ctune.schedulers.MedianStoppingRule."},
    {0, NULL},
};

static PyType_Spec median_spec = {
    .name = "ctune._ctune.MedianStoppingRule",
    .basicsize = sizeof(pyct_native),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = median_slots,
};

int
pyct_median_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->median_type, &median_spec, state->native_type);
}
