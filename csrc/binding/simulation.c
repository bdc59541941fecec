/* simulation.c: see simulation.h.
 *
 * What a trial reports comes from a table of learning curves, read without the GIL, or from
 * a Python function. How long an epoch takes: a table or a constant, times a random factor
 * for stragglers; workers are lost at random. A checkpoint holds nothing but the epoch,
 * which stands in its name. */
#include "simulation.h"

#include "errors.h"
#include "guard.h"
#include "types.h"

#include "base/keys.h"
#include "base/mem.h"
#include "base/pcg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One line of the trace, as NumPy reads it. */
typedef struct trace_row {
    double time;
    double value; /* of the first metric, in results; else NaN */
    uint32_t trial;
    uint32_t iteration; /* in results; else 0 */
    uint32_t kind;      /* a ct_note_kind */
    uint32_t unused;
} trace_row;

/* A trial's worker. */
typedef struct worker {
    int64_t row;
    uint32_t epoch;
    double total;     /* seconds of training */
    double speed;     /* factor of this worker's times */
    PyObject *config; /* strong; for functions */
} worker;

typedef struct pyct_simulation {
    PyObject_HEAD
    pyct_state *state;
    /* What it was given; strong. */
    PyObject *curves;   /* buffer of float64[rows, epochs, metrics], or NULL */
    PyObject *seconds;  /* buffer of float64[rows, epochs], or NULL */
    PyObject *function; /* (config, epoch) -> dict, or NULL */
    PyObject *metrics;  /* tuple of str */
    Py_buffer curve_view;
    Py_buffer second_view;
    Py_ssize_t rows;
    Py_ssize_t epochs;
    double second;  /* per epoch, without a table */
    double spread;  /* of stragglers: factors 1 + |normal(0, spread)|, one per start */
    double loss;    /* probability that a worker is lost in a second */
    double start_s; /* of a worker */
    double save_s;
    uint64_t seed;
    bool keep_trace;
    /* The run. */
    pyct_names *names; /* borrowed; NULL = none under way */
    ct_name index;
    ct_name *metric_names;
    ct_pcg rng;
    worker *workers;
    size_t n_workers;
    size_t workers_cap;
    ct_record record;
    ct_buf place;
    trace_row *trace;
    size_t n_trace;
    size_t trace_cap;
} pyct_simulation;

bool
pyct_simulation_check(pyct_state *state, PyObject *object)
{
    return object != NULL && Py_IS_TYPE(object, state->simulation_type);
}

/* ---- what commands lead to ---- */

static ct_status
reach(pyct_simulation *s, ct_trial_id t, ct_err *err)
{
    ct_status st = CT_OK;
    if (t >= s->n_workers) {
        st = ct_grow((void **)&s->workers, &s->workers_cap, (size_t)t + 1,
                     sizeof *s->workers, err);
        for (; st == CT_OK && s->n_workers <= t; s->n_workers++) {
            s->workers[s->n_workers] = (worker){.speed = 1.0};
        }
    }
    return st;
}

/* Epoch and seconds of training stand in a checkpoint's name. */
static void
load(worker *w, const char *checkpoint)
{
    const char *last = checkpoint != NULL ? strrchr(checkpoint, '_') : NULL;
    char *end = NULL;
    w->epoch = last != NULL ? (uint32_t)strtoul(last + 1, &end, 10) : 0;
    w->total = end != NULL && *end == '@' ? strtod(end + 1, NULL) : 0.0;
}

static ct_status
take_config(pyct_simulation *s, worker *w, const ct_value *config, ct_err *err)
{
    if (s->function != NULL) {
        pyct_entry entry = pyct_enter(s->state);
        Py_XSETREF(w->config, pyct_value_to_object(s->state, s->names, config));
        ct_status st = w->config != NULL ? CT_OK : pyct_foreign(err);
        pyct_leave(s->state, entry);
        return st;
    }
    const ct_value *row = ct_value_get(config, s->index);
    if (row == NULL || row->kind != CT_I64 || row->u.i < 0 || row->u.i >= s->rows) {
        return ct_fail(err, CT_EINVAL, "config",
                       "needs \"index\", an int from 0 to %lld: the row of the curves",
                       (long long)s->rows - 1);
    }
    w->row = row->u.i;
    return CT_OK;
}

static double
normal(pyct_simulation *s)
{
    double u = 1.0 - s->rng.rng.next_double(&s->rng.rng); /* above 0 */
    double v = s->rng.rng.next_double(&s->rng.rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

static ct_status
start(pyct_simulation *s, const ct_command *c, ct_err *err)
{
    worker *w = &s->workers[c->trial];
    load(w, c->checkpoint);
    w->speed = s->spread > 0.0 ? 1.0 + fabs(s->spread * normal(s)) : 1.0;
    return take_config(s, w, c->config, err);
}

/* The dict that the function returned. With the GIL. */
static int
call_function(pyct_simulation *s, const worker *w, ct_record *r)
{
    PyObject *out = PyObject_CallFunction(s->function, "OI", w->config, w->epoch);
    int st = out != NULL ? 0 : -1;
    if (st == 0 && !PyDict_Check(out)) {
        PyErr_Format(PyExc_TypeError, "objective must return a dict, got %R", out);
        st = -1;
    }
    if (st == 0) {
        st = pyct_record_put_dict(s->state, s->names, r, out);
    }
    Py_XDECREF(out);
    return st;
}

static ct_status
put_metrics(pyct_simulation *s, const worker *w, ct_err *err)
{
    ct_status st = CT_OK;
    if (s->function != NULL) {
        pyct_entry entry = pyct_enter(s->state);
        st = call_function(s, w, &s->record) == 0 ? CT_OK : pyct_foreign(err);
        pyct_leave(s->state, entry);
        return st;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(s->metrics);
    const double *values = (const double *)s->curve_view.buf +
                           (w->row * s->epochs + (Py_ssize_t)w->epoch - 1) * n;
    for (Py_ssize_t i = 0; st == CT_OK && i < n; i++) {
        st = ct_record_f64(&s->record, s->metric_names[i], values[i], err);
    }
    return st;
}

static double
epoch_seconds(const pyct_simulation *s, const worker *w)
{
    double seconds = s->second;
    if (s->seconds != NULL) {
        seconds =
            ((const double *)
                 s->second_view.buf)[w->row * s->epochs + (Py_ssize_t)w->epoch - 1];
    }
    return seconds * w->speed;
}

static ct_status
step(pyct_simulation *s, const ct_command *c, ct_sim_answer *out, ct_err *err)
{
    worker *w = &s->workers[c->trial];
    w->epoch++;
    if (s->function == NULL && (Py_ssize_t)w->epoch > s->epochs) {
        return ct_fail(err, CT_ESTATE, "curves", "have no epoch %u", w->epoch);
    }
    double seconds = epoch_seconds(s, w);
    out->duration = seconds;
    if (s->loss > 0.0) { /* when the worker is lost, if that comes first */
        double left = log(1.0 - s->rng.rng.next_double(&s->rng.rng)) / log1p(-s->loss);
        if (left < seconds) {
            out->duration = left;
            out->lost = true;
            out->event.text = "the simulated worker was lost";
            out->event.text_len = strlen(out->event.text);
            return CT_OK;
        }
    }
    w->total += seconds;
    ct_record_clear(&s->record);
    ct_status st = put_metrics(s, w, err);
    if (st == CT_OK) {
        st = ct_record_bool(&s->record, CT_KEY_DONE, (Py_ssize_t)w->epoch >= s->epochs,
                            err);
    }
    if (st == CT_OK) {
        st = ct_record_i64(&s->record, CT_KEY_TRAINING_ITERATION, w->epoch, err);
    }
    if (st == CT_OK) {
        st = ct_record_f64(&s->record, CT_KEY_TIME_THIS_ITER_S, seconds, err);
    }
    if (st == CT_OK) {
        st = ct_record_f64(&s->record, CT_KEY_TIME_TOTAL_S, w->total, err);
    }
    out->event.kind = CT_EVENT_RESULT;
    out->event.record = &s->record;
    return st;
}

static ct_status
save(pyct_simulation *s, const ct_command *c, ct_sim_answer *out, ct_err *err)
{
    ct_buf_clear(&s->place);
    ct_status st = ct_buf_printf(
        &s->place, err, "%s/checkpoint_%06u_%u@%a", c->trial_dir, (unsigned)c->index,
        s->workers[c->trial].epoch, s->workers[c->trial].total);
    out->duration = s->save_s;
    out->event.kind = CT_EVENT_SAVED;
    out->event.path = (const char *)s->place.data;
    out->event.path_len = s->place.len;
    return st == CT_OK ? ct_buf_terminate(&s->place, err) : st;
}

static ct_status
plan(void *ctx, const ct_command *c, double now, ct_sim_answer *out, ct_err *err)
{
    pyct_simulation *s = ctx;
    (void)now;
    *out = (ct_sim_answer){.duration = 0.0};
    ct_status st = reach(s, c->trial, err);
    if (st != CT_OK) {
        return st;
    }
    switch (c->kind) {
    case CT_COMMAND_START:
        out->duration = s->start_s;
        out->event.kind = CT_EVENT_STARTED;
        return start(s, c, err);
    case CT_COMMAND_RESET:
        out->event.kind = CT_EVENT_RESET;
        return start(s, c, err);
    case CT_COMMAND_SAVE:
        return save(s, c, out, err);
    case CT_COMMAND_STOP:
    case CT_COMMAND_KILL:
        out->event.kind = CT_EVENT_STOPPED;
        return CT_OK;
    case CT_COMMAND_STEP:
        return step(s, c, out, err);
    case CT_COMMAND_RESTORE:
    case CT_COMMAND_EXPORT:
    case CT_COMMAND_COUNT:
        break;
    }
    return ct_fail(err, CT_EUNSUPPORTED, "simulation", "cannot %s",
                   ct_command_name(c->kind));
}

/* ---- a run ---- */

static void
forget_run(pyct_simulation *s)
{
    for (size_t i = 0; i < s->n_workers; i++) {
        Py_CLEAR(s->workers[i].config);
    }
    ct_free(s->workers);
    s->workers = NULL;
    s->n_workers = s->workers_cap = 0;
    ct_free(s->metric_names);
    s->metric_names = NULL;
    ct_free(s->trace);
    s->trace = NULL;
    s->n_trace = s->trace_cap = 0;
}

static int
take_names(pyct_simulation *s, pyct_names *names)
{
    Py_ssize_t n = PyTuple_GET_SIZE(s->metrics);
    PyObject *index = PyUnicode_FromString("index");
    int st = index != NULL ? pyct_name_of(names, index, &s->index) : -1;
    Py_XDECREF(index);
    s->metric_names =
        st == 0 ? ct_alloc(((size_t)n + 1) * sizeof *s->metric_names) : NULL;
    if (st == 0 && s->metric_names == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; st == 0 && i < n; i++) {
        st = pyct_name_of(names, PyTuple_GET_ITEM(s->metrics, i), &s->metric_names[i]);
    }
    return st;
}

ct_exec *
pyct_simulation_exec(PyObject *simulation, pyct_names *names, ct_virtual_clock *clock,
                     ct_err *err)
{
    pyct_simulation *s = (pyct_simulation *)simulation;
    ct_exec *out = NULL;
    ct_sim_ops ops = {plan, s};
    forget_run(s);
    s->names = names;
    ct_pcg_init(&s->rng, s->seed, 2);
    if (take_names(s, names) < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    return ct_sim_new(&out, &ops, clock, err) == CT_OK ? out : NULL;
}

ct_status
pyct_simulation_note(PyObject *simulation, const ct_note *n, ct_err *err)
{
    pyct_simulation *s = (pyct_simulation *)simulation;
    if (!s->keep_trace) {
        return CT_OK;
    }
    ct_status st = ct_grow((void **)&s->trace, &s->trace_cap, s->n_trace + 1,
                           sizeof *s->trace, err);
    if (st != CT_OK) {
        return st;
    }
    trace_row row = {n->time, (double)NAN, n->trial, 0, (uint32_t)n->kind, 0};
    if (n->kind == CT_NOTE_RESULT) {
        const ct_field *epoch = ct_record_find(n->record, CT_KEY_TRAINING_ITERATION);
        const ct_field *value = PyTuple_GET_SIZE(s->metrics) > 0
                                    ? ct_record_find(n->record, s->metric_names[0])
                                    : NULL;
        double number;
        if (epoch != NULL && ct_field_number(epoch, &number)) {
            row.iteration = (uint32_t)number;
        }
        if (value != NULL && ct_field_number(value, &number)) {
            row.value = number;
        }
    }
    s->trace[s->n_trace++] = row;
    return CT_OK;
}

/* ---- the type ---- */

static int
take_table(PyObject *given, Py_buffer *view, PyObject **slot)
{
    if (given == Py_None) {
        return 0;
    }
    if (PyObject_GetBuffer(given, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        return -1;
    }
    *slot = Py_NewRef(given);
    if (view->itemsize != sizeof(double) || view->format == NULL ||
        strcmp(view->format, "d") != 0) {
        PyErr_SetString(PyExc_TypeError, "tables must be arrays of float64");
        return -1;
    }
    return 0;
}

static PyObject *
simulation_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"curves", "seconds", "function", "metrics", "rows",
                            "epochs", "second",  "spread",   "loss",    "start_s",
                            "save_s", "seed",    "trace",    NULL};
    PyObject *curves, *seconds, *function, *metrics;
    Py_ssize_t rows, epochs;
    double second, spread, loss, start_s, save_s;
    unsigned long long seed;
    int trace;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOO!nndddddKp:Simulation", names,
                                     &curves, &seconds, &function, &PyTuple_Type,
                                     &metrics, &rows, &epochs, &second, &spread, &loss,
                                     &start_s, &save_s, &seed, &trace)) {
        return NULL;
    }
    pyct_simulation *s = (pyct_simulation *)type->tp_alloc(type, 0);
    if (s == NULL) {
        return NULL;
    }
    s->state = pyct_state_of((PyObject *)s);
    s->metrics = Py_NewRef(metrics);
    s->function = function != Py_None ? Py_NewRef(function) : NULL;
    s->rows = rows;
    s->epochs = epochs;
    s->second = second;
    s->spread = spread;
    s->loss = loss;
    s->start_s = start_s;
    s->save_s = save_s;
    s->seed = seed;
    s->keep_trace = trace != 0;
    if (take_table(curves, &s->curve_view, &s->curves) < 0 ||
        take_table(seconds, &s->second_view, &s->seconds) < 0) {
        Py_DECREF(s);
        return NULL;
    }
    Py_ssize_t cells = rows > 0 && epochs > 0 && epochs <= PY_SSIZE_T_MAX / 8 / rows
                           ? rows * epochs
                           : -1;
    Py_ssize_t size = (Py_ssize_t)sizeof(double);
    if ((s->curves == NULL) == (s->function == NULL) ||
        (s->curves != NULL &&
         s->curve_view.len / size != cells * PyTuple_GET_SIZE(metrics)) ||
        (s->seconds != NULL && s->second_view.len / size != cells)) {
        PyErr_SetString(
            PyExc_ValueError,
            "curves must have rows * epochs * metrics numbers, seconds rows "
            "* epochs; without curves there must be a function");
        Py_CLEAR(s);
    }
    return (PyObject *)s;
}

static int
simulation_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_simulation *s = (pyct_simulation *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(s->curves);
    Py_VISIT(s->seconds);
    Py_VISIT(s->function);
    Py_VISIT(s->metrics);
    for (size_t i = 0; i < s->n_workers; i++) {
        Py_VISIT(s->workers[i].config);
    }
    return 0;
}

static int
simulation_clear(PyObject *op)
{
    Py_CLEAR(((pyct_simulation *)op)->function);
    return 0;
}

static void
simulation_dealloc(PyObject *op)
{
    pyct_simulation *s = (pyct_simulation *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    forget_run(s);
    ct_record_deinit(&s->record);
    ct_buf_deinit(&s->place);
    (void)simulation_clear(op);
    if (s->curves != NULL) {
        PyBuffer_Release(&s->curve_view);
    }
    if (s->seconds != NULL) {
        PyBuffer_Release(&s->second_view);
    }
    Py_XDECREF(s->curves);
    Py_XDECREF(s->seconds);
    Py_XDECREF(s->metrics);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
simulation_trace(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    pyct_simulation *s = (pyct_simulation *)op;
    return PyBytes_FromStringAndSize((const char *)s->trace,
                                     (Py_ssize_t)(s->n_trace * sizeof *s->trace));
}

PYCT_GUARD_UNARY(simulation_trace)

static PyMethodDef simulation_methods[] = {
    {"trace", guarded_simulation_trace, METH_NOARGS,
     "trace($self, /)\n--\n\n"
     "bytes: rows of (f8 time, f8 value, u4 trial, u4 iteration, u4 kind, u4 unused)."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot simulation_slots[] = {
    {Py_tp_new, PYCT_SLOT(simulation_new)},
    {Py_tp_dealloc, PYCT_SLOT(simulation_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(simulation_traverse)},
    {Py_tp_clear, PYCT_SLOT(simulation_clear)},
    {Py_tp_methods, simulation_methods},
    {Py_tp_doc, "Workers in virtual time; made by ctune.simulate()."},
    {0, NULL},
};

static PyType_Spec simulation_spec = {
    .name = "ctune._ctune.Simulation",
    .basicsize = sizeof(pyct_simulation),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = simulation_slots,
};

/* The names of a trace's kinds. */
static int
add_kinds(PyObject *module)
{
    PyObject *kinds = PyTuple_New(CT_NOTE_COUNT);
    for (int k = 0; kinds != NULL && k < CT_NOTE_COUNT; k++) {
        PyObject *name = PyUnicode_FromString(ct_note_name((ct_note_kind)k));
        if (name == NULL) {
            Py_CLEAR(kinds);
        } else {
            PyTuple_SET_ITEM(kinds, k, name);
        }
    }
    int st = kinds != NULL ? PyModule_AddObjectRef(module, "NOTE_KINDS", kinds) : -1;
    Py_XDECREF(kinds);
    return st;
}

int
pyct_simulation_add(PyObject *module, pyct_state *state)
{
    return add_kinds(module) < 0
               ? -1
               : pyct_add_type(module, &state->simulation_type, &simulation_spec, NULL);
}
