/* messages.c: _ctune.Command and _ctune.Event. */
#include "messages.h"

#include "errors.h"
#include "types.h"

#include <structmember.h>

#include <string.h>

/* --- Command --- */

typedef struct pyct_command {
    PyObject_HEAD
    PyObject *kind; /* str: "START", "STEP", … */
    PyObject *config;
    PyObject *checkpoint; /* str or None, as the five below */
    PyObject *trial_id;
    PyObject *trial_name;
    PyObject *trial_dir;
    PyObject *experiment;
    PyObject *trainable;
    PyObject *resources;
    PyObject *source; /* int or None: RESET takes the worker of this trial */
    unsigned int trial;
    unsigned int index;
    unsigned long long upto;
    unsigned long long serial;
} pyct_command;

#define COMMAND_OBJECTS(X)                                                             \
    X(kind)                                                                            \
    X(config)                                                                          \
    X(checkpoint)                                                                      \
    X(trial_id)                                                                        \
    X(trial_name)                                                                      \
    X(trial_dir)                                                                       \
    X(experiment)                                                                      \
    X(trainable)                                                                       \
    X(resources)                                                                       \
    X(source)

static int
command_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_command *self = (pyct_command *)op;

    Py_VISIT(Py_TYPE(op));
#define VISIT(field) Py_VISIT(self->field);
    COMMAND_OBJECTS(VISIT)
#undef VISIT
    return 0;
}

static int
command_clear(PyObject *op)
{
    pyct_command *self = (pyct_command *)op;

#define CLEAR(field) Py_CLEAR(self->field);
    COMMAND_OBJECTS(CLEAR)
#undef CLEAR
    return 0;
}

static void
command_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    command_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
command_repr(PyObject *op)
{
    pyct_command *self = (pyct_command *)op;

    return PyUnicode_FromFormat("<Command %U of trial %u, serial %llu>", self->kind,
                                self->trial, self->serial);
}

static PyObject *
text_or_none(const char *text)
{
    if (text == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "surrogateescape");
}

static PyObject *
value_or_none(pyct_state *state, pyct_names *names, const ct_value *v)
{
    if (v == NULL) {
        Py_RETURN_NONE;
    }
    return pyct_value_to_object(state, names, v);
}

PyObject *
pyct_command_new(pyct_state *state, pyct_names *names, const ct_command *c)
{
    bool whole = c->kind == CT_COMMAND_START || c->kind == CT_COMMAND_RESET;
    pyct_command *self =
        (pyct_command *)state->command_type->tp_alloc(state->command_type, 0);

    if (self == NULL) {
        return NULL;
    }
    self->trial = c->trial;
    self->index = c->index;
    self->upto = c->upto;
    self->serial = c->serial;
    self->kind = PyUnicode_InternFromString(ct_command_name(c->kind));
    self->config = value_or_none(state, names, whole ? c->config : NULL);
    self->checkpoint = text_or_none(c->checkpoint);
    self->trial_id = text_or_none(c->trial_id);
    self->trial_name = text_or_none(c->trial_name);
    self->trial_dir = text_or_none(c->trial_dir);
    self->experiment = text_or_none(c->experiment);
    self->trainable = text_or_none(c->trainable);
    self->resources = value_or_none(state, names, whole ? c->resources : NULL);
    self->source = c->kind == CT_COMMAND_RESET ? PyLong_FromUnsignedLong(c->from)
                                               : Py_NewRef(Py_None);
#define MISSING(field) || self->field == NULL
    if (false COMMAND_OBJECTS(MISSING)) {
        Py_CLEAR(self);
    }
#undef MISSING
    return (PyObject *)self;
}

static PyMemberDef command_members[] = {
    {"kind", T_OBJECT, offsetof(pyct_command, kind), READONLY,
     "str: START, STEP, SAVE, RESTORE, RESET, EXPORT, STOP or KILL."},
    {"trial", T_UINT, offsetof(pyct_command, trial), READONLY,
     "int: the trial's number; names its worker."},
    {"serial", T_ULONGLONG, offsetof(pyct_command, serial), READONLY,
     "int: the event that answers carries the same."},
    {"upto", T_ULONGLONG, offsetof(pyct_command, upto), READONLY,
     "int: START: step without telling until this training_iteration; 0 = not."},
    {"index", T_UINT, offsetof(pyct_command, index), READONLY,
     "int: number of the next checkpoint."},
    {"source", T_OBJECT, offsetof(pyct_command, source), READONLY,
     "int or None: RESET takes over the worker of this trial."},
    {"config", T_OBJECT, offsetof(pyct_command, config), READONLY,
     "dict (START, RESET) or None."},
    {"resources", T_OBJECT, offsetof(pyct_command, resources), READONLY,
     "dict name -> amount (START, RESET) or None."},
    {"checkpoint", T_OBJECT, offsetof(pyct_command, checkpoint), READONLY,
     "str or None: directory to restore from."},
    {"trial_id", T_OBJECT, offsetof(pyct_command, trial_id), READONLY, "str: text id."},
    {"trial_name", T_OBJECT, offsetof(pyct_command, trial_name), READONLY, "str."},
    {"trial_dir", T_OBJECT, offsetof(pyct_command, trial_dir), READONLY,
     "str or None: the trial's directory."},
    {"experiment", T_OBJECT, offsetof(pyct_command, experiment), READONLY,
     "str or None: name of the experiment."},
    {"trainable", T_OBJECT, offsetof(pyct_command, trainable), READONLY,
     "str or None: name of the trainable, if there are several."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot command_slots[] = {
    {Py_tp_dealloc, PYCT_SLOT(command_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(command_traverse)},
    {Py_tp_clear, PYCT_SLOT(command_clear)},
    {Py_tp_repr, PYCT_SLOT(command_repr)},
    {Py_tp_members, command_members},
    {Py_tp_doc, "Work for an executor; made by the controller only."},
    {0, NULL},
};

static PyType_Spec command_spec = {
    .name = "ctune._ctune.Command",
    .basicsize = sizeof(pyct_command),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = command_slots,
};

/* --- Event --- */

typedef struct pyct_event {
    PyObject_HEAD
    PyObject *kind;
    PyObject *trial;
    PyObject *serial;
    PyObject *text;
    PyObject *path;
    PyObject *blob;
    PyObject *result;
    int code;
} pyct_event;


#define EVENT_OBJECTS(X)                                                               \
    X(kind)                                                                            \
    X(trial)                                                                           \
    X(serial)                                                                          \
    X(text)                                                                            \
    X(path)                                                                            \
    X(blob)                                                                            \
    X(result)

static int
event_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_event *self = (pyct_event *)op;

    Py_VISIT(Py_TYPE(op));
#define VISIT(field) Py_VISIT(self->field);
    EVENT_OBJECTS(VISIT)
#undef VISIT
    return 0;
}

static int
event_clear(PyObject *op)
{
    pyct_event *self = (pyct_event *)op;

#define CLEAR(field) Py_CLEAR(self->field);
    EVENT_OBJECTS(CLEAR)
#undef CLEAR
    return 0;
}

static void
event_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    event_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static ct_event_kind
event_kind(const char *text)
{
    for (int k = 0; k < CT_EVENT_COUNT; k++) {
        if (strcmp(text, ct_event_name((ct_event_kind)k)) == 0) {
            return (ct_event_kind)k;
        }
    }
    return CT_EVENT_COUNT;
}

static int
check_type(PyObject *value, PyTypeObject *type, const char *name)
{
    if (value == Py_None || PyObject_TypeCheck(value, type)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "Event: %s must be %s or None, got %.100s", name,
                 type->tp_name, Py_TYPE(value)->tp_name);
    return -1;
}

static PyObject *
event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"kind", "trial", "serial", "text", "path",
                            "code", "blob",  "result", NULL};
    PyObject *kind, *trial = Py_None, *serial = Py_None, *text = Py_None;
    PyObject *path = Py_None, *blob = Py_None, *result = Py_None;
    int code = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U|$OOOOiOO:Event", names, &kind,
                                     &trial, &serial, &text, &path, &code, &blob,
                                     &result)) {
        return NULL;
    }
    const char *word = PyUnicode_AsUTF8(kind);
    if (word == NULL) {
        return NULL;
    }
    if (event_kind(word) == CT_EVENT_COUNT) {
        return PyErr_Format(PyExc_ValueError,
                            "Event: kind must be one of STARTED, START_FAILED, RESULT, "
                            "SAVED, SAVE_FAILED, RESTORED, RESTORE_FAILED, RESET, "
                            "RESET_REFUSED, EXPORTED, STOPPED, FAILED, LOST, got %R",
                            kind);
    }
    if (check_type(trial, &PyLong_Type, "trial") < 0 ||
        check_type(serial, &PyLong_Type, "serial") < 0 ||
        check_type(text, &PyUnicode_Type, "text") < 0 ||
        check_type(path, &PyUnicode_Type, "path") < 0 ||
        check_type(blob, &PyBytes_Type, "blob") < 0 ||
        check_type(result, &PyDict_Type, "result") < 0) {
        return NULL;
    }
    pyct_event *self = (pyct_event *)type->tp_alloc(type, 0);
    if (self != NULL) {
#define TAKE(field) self->field = Py_NewRef(field);
        EVENT_OBJECTS(TAKE)
#undef TAKE
        self->code = code;
    }
    return (PyObject *)self;
}

static PyObject *
event_repr(PyObject *op)
{
    pyct_event *self = (pyct_event *)op;

    return PyUnicode_FromFormat("<Event %U of trial %R, serial %R>", self->kind,
                                self->trial, self->serial);
}

static int
fill_text(PyObject *text, const char **out, size_t *len)
{
    if (text == Py_None) {
        return 0;
    }
    Py_ssize_t n;
    *out = pyct_utf8(text, &n);
    *len = *out == NULL ? 0 : (size_t)n;
    return *out == NULL ? -1 : 0;
}

int
pyct_event_fill(pyct_state *state, pyct_names *names, PyObject *event, ct_event *ev,
                ct_record *rec)
{
    if (!PyObject_TypeCheck(event, state->event_type)) {
        PyErr_Format(PyExc_TypeError,
                     "an executor must answer with Event objects, got %R", event);
        return -1;
    }
    pyct_event *self = (pyct_event *)event;
    ev->kind = event_kind(PyUnicode_AsUTF8(self->kind));
    ev->code = self->code;
    if (self->trial != Py_None) {
        unsigned long trial = PyLong_AsUnsignedLong(self->trial);
        if (trial == (unsigned long)-1 && PyErr_Occurred()) {
            return -1;
        }
        ev->trial = (ct_trial_id)trial;
    }
    if (self->serial != Py_None) {
        ev->serial = PyLong_AsUnsignedLongLong(self->serial);
        if (ev->serial == (unsigned long long)-1 && PyErr_Occurred()) {
            return -1;
        }
    }
    if (fill_text(self->text, &ev->text, &ev->text_len) < 0 ||
        fill_text(self->path, &ev->path, &ev->path_len) < 0) {
        return -1;
    }
    if (self->blob != Py_None) {
        ev->blob = (const uint8_t *)PyBytes_AS_STRING(self->blob);
        ev->blob_len = (size_t)PyBytes_GET_SIZE(self->blob);
    }
    if (ev->kind == CT_EVENT_RESULT) {
        ct_record_clear(rec);
        if (self->result == Py_None) {
            PyErr_SetString(PyExc_ValueError, "Event: RESULT needs a result dict");
            return -1;
        }
        if (pyct_record_put_dict(state, names, rec, self->result) < 0) {
            return -1;
        }
        ev->record = rec;
    }
    return 0;
}

static PyMemberDef event_members[] = {
    {"kind", T_OBJECT, offsetof(pyct_event, kind), READONLY, "str: what happened."},
    {"trial", T_OBJECT, offsetof(pyct_event, trial), 0,
     "int or None: number of the trial, as in the command that this answers."},
    {"serial", T_OBJECT, offsetof(pyct_event, serial), 0,
     "int or None: serial of the command that this answers."},
    {"text", T_OBJECT, offsetof(pyct_event, text), READONLY,
     "str or None: traceback of a failure; host name of STARTED."},
    {"path", T_OBJECT, offsetof(pyct_event, path), READONLY,
     "str or None: checkpoint directory of SAVED; node address of STARTED."},
    {"code", T_INT, offsetof(pyct_event, code), READONLY,
     "int: pid of STARTED; signal, or minus the exit code, of LOST."},
    {"blob", T_OBJECT, offsetof(pyct_event, blob), READONLY,
     "bytes or None: the pickled exception of a failure."},
    {"result", T_OBJECT, offsetof(pyct_event, result), READONLY,
     "dict or None: the result of RESULT, automatic keys included."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_new, PYCT_SLOT(event_new)},
    {Py_tp_dealloc, PYCT_SLOT(event_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(event_traverse)},
    {Py_tp_clear, PYCT_SLOT(event_clear)},
    {Py_tp_repr, PYCT_SLOT(event_repr)},
    {Py_tp_members, event_members},
    {Py_tp_doc,
     "Event(kind, *, trial=None, serial=None, text=None, path=None, code=0, blob=None, "
     "result=None)\n--\n\nWhat happened to a trial: an executor's answer to a command."},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "ctune._ctune.Event",
    .basicsize = sizeof(pyct_event),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = event_slots,
};

int
pyct_messages_add(PyObject *module, pyct_state *state)
{
    if (pyct_add_type(module, &state->command_type, &command_spec, NULL) < 0) {
        return -1;
    }
    return pyct_add_type(module, &state->event_type, &event_spec, NULL);
}
