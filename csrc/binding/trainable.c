/* trainable.c: _ctune.TrainableBase, the part of Trainable that runs at each step. */
#include "trainable.h"

#include "errors.h"
#include "types.h"

#include "flow/autofill.h"
#include "os/host.h"

#include <structmember.h>

typedef struct pyct_trainable {
    PyObject_HEAD
    ct_progress progress;
    ct_reporter who;
    PyObject *trial_id; /* str; who.trial_id borrows its text */
    PyObject *config;   /* what results show as config, or NULL */
    PyObject *logger;   /* its on_result() hears of each result; None or NULL: nobody */
    PyObject *monitor; /* its get_data() goes into each result; None or NULL: nothing */
    bool plain;        /* neither train() nor log_result() is overridden */
} pyct_trainable;

static void
know_host(pyct_state *state)
{
    if (state->hostname[0] == '\0') {
        ct_host_name(state->hostname, sizeof state->hostname);
        ct_host_address(state->node_ip, sizeof state->node_ip);
    }
}

const char *
pyct_hostname(pyct_state *state)
{
    know_host(state);
    return state->hostname;
}

const char *
pyct_node_ip(pyct_state *state)
{
    know_host(state);
    return state->node_ip;
}

/* Whether the type takes the method from TrainableBase. -1 with an exception set. */
static int
inherits(pyct_state *state, PyTypeObject *type, PyObject *name)
{
    PyObject *own = PyObject_GetAttr((PyObject *)type, name);
    PyObject *base = PyObject_GetAttr((PyObject *)state->trainable_type, name);
    int same = own == NULL || base == NULL ? -1 : own == base;

    Py_XDECREF(own);
    Py_XDECREF(base);
    return same;
}

static int
set_trial_id(pyct_trainable *self, PyObject *text)
{
    const char *utf8 = PyUnicode_AsUTF8(text);

    if (utf8 == NULL) {
        return -1;
    }
    self->who.trial_id = utf8;
    Py_XSETREF(self->trial_id, Py_NewRef(text));
    return 0;
}

static PyObject *
trainable_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args; /* those of a subclass's constructor */
    (void)kwargs;
    pyct_trainable *self = (pyct_trainable *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    pyct_state *state = pyct_state_of((PyObject *)self);
    int train = inherits(state, type, state->str.train);
    int log = train < 0 ? -1 : inherits(state, type, state->str.log_result);
    PyObject *id = log < 0 ? NULL : PyUnicode_InternFromString("default");
    if (id == NULL || set_trial_id(self, id) < 0) {
        Py_XDECREF(id);
        Py_DECREF(self);
        return NULL;
    }
    Py_DECREF(id);
    self->plain = train == 1 && log == 1;
    self->who.hostname = pyct_hostname(state);
    self->who.node_ip = pyct_node_ip(state);
    self->who.pid = ct_host_pid();
    return (PyObject *)self;
}

static int
trainable_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_trainable *self = (pyct_trainable *)op;

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->config);
    Py_VISIT(self->logger);
    Py_VISIT(self->monitor);
    return 0;
}

static int
trainable_clear(PyObject *op)
{
    pyct_trainable *self = (pyct_trainable *)op;

    Py_CLEAR(self->config);
    Py_CLEAR(self->logger);
    Py_CLEAR(self->monitor);
    return 0;
}

static void
trainable_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    trainable_clear(op);
    Py_CLEAR(((pyct_trainable *)op)->trial_id);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Calls step() with this trainable as the thread's current one (see current_trainable). */
static PyObject *
call_step(pyct_state *state, PyObject *self)
{
    PyObject *thread = PyThreadState_GetDict(); /* borrowed */
    PyObject *before =
        thread == NULL ? NULL
                       : PyDict_GetItemWithError(thread, state->str.current_trainable);

    Py_XINCREF(before);
    if (thread != NULL &&
        PyDict_SetItem(thread, state->str.current_trainable, self) < 0) {
        Py_XDECREF(before);
        return NULL;
    }
    PyObject *result = PyObject_CallMethodNoArgs(self, state->str.step);
    if (thread != NULL) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        int bad = before != NULL
                      ? PyDict_SetItem(thread, state->str.current_trainable, before)
                      : PyDict_DelItem(thread, state->str.current_trainable);
        if (bad < 0) {
            PyErr_Clear();
        }
        PyErr_Restore(type, value, traceback);
    }
    Py_XDECREF(before);
    return result;
}

static int
check_dict(PyObject *result)
{
    if (PyDict_Check(result)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError,
                 "a trainable's result must be a dict of metrics, got %.100s: %.200R; "
                 "return a dict such as {\"loss\": 0.1} from step(), or report one",
                 Py_TYPE(result)->tp_name, result);
    return -1;
}

static bool
is_there(const PyObject *object)
{
    return object != NULL && object != Py_None;
}

/* What the monitor measured, as further keys. */
static int
put_measured(pyct_state *state, pyct_trainable *self, pyct_names *names, ct_record *rec)
{
    PyObject *data = PyObject_CallMethod(self->monitor, "get_data", NULL);
    int bad = data == NULL ? -1 : check_dict(data);

    if (bad == 0) {
        bad = pyct_record_put_dict(state, names, rec, data);
    }
    Py_XDECREF(data);
    return bad;
}

/* step() and its automatic keys as a record. */
static int
step_record(pyct_state *state, pyct_trainable *self, pyct_names *names, ct_record *rec)
{
    ct_err err = CT_ERR_INIT;
    double start = ct_host_mono();
    PyObject *result = call_step(state, (PyObject *)self);

    if (result == NULL) {
        return -1;
    }
    double elapsed = ct_host_mono() - start;
    ct_record_clear(rec);
    int bad = check_dict(result);
    if (bad == 0) {
        bad = pyct_record_put_dict(state, names, rec, result);
    }
    Py_DECREF(result);
    if (bad < 0) {
        return -1;
    }
    if (ct_record_find(rec, CT_KEY_DUPLICATE) != NULL) {
        return 0; /* the end of a function: nothing new to count */
    }
    if (ct_autofill(rec, &self->progress, &self->who, elapsed, ct_host_now(), &err) !=
        CT_OK) {
        pyct_raise(state, &err);
        return -1;
    }
    return is_there(self->monitor) ? put_measured(state, self, names, rec) : 0;
}

static pyct_names *
scratch_names(pyct_state *state)
{
    if (state->names == NULL) {
        state->names = pyct_names_new(state);
    }
    return state->names;
}

static PyObject *
trainable_train(PyObject *op, PyObject *ignored)
{
    pyct_trainable *self = (pyct_trainable *)op;
    pyct_state *state = pyct_state_of(op);
    pyct_names *names = scratch_names(state);
    ct_record rec = CT_RECORD_INIT;
    PyObject *out = NULL;

    (void)ignored;
    if (names != NULL && step_record(state, self, names, &rec) == 0) {
        out = pyct_record_to_dict(state, names, &rec,
                                  self->config == NULL ? Py_None : self->config, false);
    }
    ct_record_deinit(&rec);
    if (out != NULL && (!self->plain || is_there(self->logger))) {
        PyObject *none = PyObject_CallMethodOneArg(op, state->str.log_result, out);
        if (none == NULL) {
            Py_CLEAR(out);
        }
        Py_XDECREF(none);
    }
    return out;
}

/* The dict of an overridden train() as a record; the config stays a mark. */
static int
put_trained(pyct_state *state, pyct_trainable *self, pyct_names *names, ct_record *rec,
            PyObject *result)
{
    ct_err err = CT_ERR_INIT;
    PyObject *config = PyDict_GetItemWithError(result, state->str.config);

    if (config == NULL && PyErr_Occurred()) {
        return -1;
    }
    if (config == NULL || config != self->config) {
        return pyct_record_put_dict(state, names, rec, result);
    }
    PyObject *rest = PyDict_Copy(result);
    int bad = rest == NULL || PyDict_DelItem(rest, state->str.config) < 0
                  ? -1
                  : pyct_record_put_dict(state, names, rec, rest);
    Py_XDECREF(rest);
    if (bad == 0 && ct_record_config(rec, CT_KEY_CONFIG, &err) != CT_OK) {
        pyct_raise(state, &err);
        bad = -1;
    }
    return bad;
}

int
pyct_trainable_step(pyct_state *state, PyObject *trainable, pyct_names *names,
                    ct_record *rec)
{
    if (!PyObject_TypeCheck(trainable, state->trainable_type)) {
        PyErr_Format(PyExc_TypeError, "a Trainable is needed, got %.100s",
                     Py_TYPE(trainable)->tp_name);
        return -1;
    }
    pyct_trainable *self = (pyct_trainable *)trainable;
    if (self->plain && !is_there(self->logger)) {
        return step_record(state, self, names, rec);
    }
    PyObject *result = PyObject_CallMethodNoArgs(trainable, state->str.train);
    int bad = result == NULL ? -1 : check_dict(result);
    if (bad == 0) {
        ct_record_clear(rec);
        bad = put_trained(state, self, names, rec, result);
    }
    Py_XDECREF(result);
    return bad;
}

static PyObject *
trainable_log_result(PyObject *op, PyObject *result)
{
    PyObject *logger = ((pyct_trainable *)op)->logger;

    if (!is_there(logger)) {
        Py_RETURN_NONE;
    }
    return PyObject_CallMethod(logger, "on_result", "O", result);
}

static PyObject *
trainable_restored(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    ct_progress_restored(&((pyct_trainable *)op)->progress);
    Py_RETURN_NONE;
}

static int
set_count(ct_count *c, PyObject *value)
{
    *c = (ct_count){false, false, 0, 0.0};
    if (value == Py_None) {
        return 0;
    }
    c->known = true;
    if (PyFloat_Check(value)) {
        c->real = true;
        c->f = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    c->i = PyLong_AsLongLong(value);
    return c->i == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *
get_count(const ct_count *c)
{
    if (!c->known) {
        Py_RETURN_NONE;
    }
    return c->real ? PyFloat_FromDouble(c->f) : PyLong_FromLongLong(c->i);
}

static PyObject *
trainable_restore_counters(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    ct_progress *p = &((pyct_trainable *)op)->progress;

    if (n != 4) {
        PyErr_Format(PyExc_TypeError, "_restore_counters takes 4 arguments, got %zd",
                     n);
        return NULL;
    }
    long long iteration = PyLong_AsLongLong(args[0]);
    double total = PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(args[1]);
    if (PyErr_Occurred() || set_count(&p->timesteps, args[2]) < 0 ||
        set_count(&p->episodes, args[3]) < 0) {
        return NULL;
    }
    p->iteration = iteration;
    p->time_total = total;
    ct_progress_restored(p);
    Py_RETURN_NONE;
}

static PyObject *
trainable_zero_counters(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    ((pyct_trainable *)op)->progress = (ct_progress){0};
    Py_RETURN_NONE;
}

/* X(attribute, maker of its object from progress p) */
#define PROGRESS_LIST(X)                                                               \
    X(iteration, PyLong_FromLongLong(p->iteration))                                    \
    X(iterations_since_restore, PyLong_FromLongLong(p->iterations_since_restore))      \
    X(time_total, PyFloat_FromDouble(p->time_total))                                   \
    X(time_since_restore, PyFloat_FromDouble(p->time_since_restore))                   \
    X(timesteps_total, get_count(&p->timesteps))                                       \
    X(timesteps_since_restore, get_count(&p->timesteps_since_restore))                 \
    X(episodes_total, get_count(&p->episodes))

#define PROGRESS_GETTER(attribute, made)                                               \
    static PyObject *get_##attribute(PyObject *op, void *closure)                      \
    {                                                                                  \
        const ct_progress *p = &((pyct_trainable *)op)->progress;                      \
        (void)closure;                                                                 \
        return made;                                                                   \
    }
PROGRESS_LIST(PROGRESS_GETTER)

static PyObject *
get_trial_id(PyObject *op, void *closure)
{
    (void)closure;
    return Py_NewRef(((pyct_trainable *)op)->trial_id);
}

static int
put_trial_id(PyObject *op, PyObject *value, void *closure)
{
    (void)closure;
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_trial_id cannot be deleted");
        return -1;
    }
    return set_trial_id((pyct_trainable *)op, value);
}

static PyGetSetDef trainable_getset[] = {
#define PROGRESS_GETSET(attribute, made)                                               \
    {"_" #attribute, get_##attribute, NULL, NULL, NULL},
    PROGRESS_LIST(PROGRESS_GETSET){"_trial_id", get_trial_id, put_trial_id,
                                   "Text id that results carry.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef trainable_members[] = {
    {"_config_for_result", T_OBJECT, offsetof(pyct_trainable, config), 0,
     "What results show under the key config."},
    {"_result_logger", T_OBJECT, offsetof(pyct_trainable, logger), 0,
     "What log_result() hands results to, or None."},
    {"_monitor", T_OBJECT, offsetof(pyct_trainable, monitor), 0,
     "What get_data() puts into each result, or None."},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef trainable_methods[] = {
    {"train", trainable_train, METH_NOARGS,
     "train($self, /)\n--\n\n"
     "Run one step() and return its result, a dict, with the automatic "
     "keys.\n\nRaises:\n    TypeError: step() returned something else than a dict."},
    {"log_result", trainable_log_result, METH_O,
     "log_result($self, result, /)\n--\n\n"
     "Hook for subclasses: hears each result where the "
     "trainable runs. Hands it to the logger that logger_creator made, if there is one."},
    {"_restore_counters", PYCT_METHOD(trainable_restore_counters), METH_FASTCALL,
     "Continue from (iteration, time_total, timesteps_total, episodes_total)."},
    {"_mark_restored", trainable_restored, METH_NOARGS, "Zero the since_restore sums."},
    {"_zero_counters", trainable_zero_counters, METH_NOARGS, "Zero every counter."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot trainable_slots[] = {
    {Py_tp_new, PYCT_SLOT(trainable_new)},
    {Py_tp_dealloc, PYCT_SLOT(trainable_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(trainable_traverse)},
    {Py_tp_clear, PYCT_SLOT(trainable_clear)},
    {Py_tp_methods, trainable_methods},
    {Py_tp_getset, trainable_getset},
    {Py_tp_members, trainable_members},
    {Py_tp_doc, "Counters and automatic result keys: the base of ctune.Trainable."},
    {0, NULL},
};

static PyType_Spec trainable_spec = {
    .name = "ctune._ctune.TrainableBase",
    .basicsize = sizeof(pyct_trainable),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = trainable_slots,
};

static PyObject *
current_trainable(PyObject *module, PyObject *ignored)
{
    pyct_state *state = pyct_state_of_module(module);
    PyObject *thread = PyThreadState_GetDict();
    PyObject *found =
        thread == NULL ? NULL
                       : PyDict_GetItemWithError(thread, state->str.current_trainable);

    (void)ignored;
    if (found == NULL && PyErr_Occurred()) {
        return NULL;
    }
    return Py_NewRef(found == NULL ? Py_None : found);
}

static PyMethodDef functions[] = {
    {"current_trainable", current_trainable, METH_NOARGS,
     "current_trainable($module, /)\n--\n\n"
     "The trainable whose step() runs in this thread, or None."},
    {NULL, NULL, 0, NULL},
};

int
pyct_trainable_add(PyObject *module, pyct_state *state)
{
    if (pyct_add_type(module, &state->trainable_type, &trainable_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
