/* connection.c: _ctune.Connection, the worker's end of the socket to the driver: reads
 * commands, has them carried out by a TrialHost, writes the answers.
 *
 * A step goes straight from the trainable into a frame; other commands, a few per trial,
 * pass through Python objects. The GIL is released while the socket is waited for. */
#include "convert.h"
#include "errors.h"
#include "messages.h"
#include "refs.h"
#include "trainable.h"
#include "types.h"

#include "flow/codec.h"
#include "os/host.h"
#include "os/proc.h"

#include <string.h>

#define READ_SIZE 65536u

typedef struct pyct_connection {
    PyObject_HEAD
    pyct_state *state;
    pyct_names *names;
    ct_encoder encoder;
    ct_decoder decoder;
    ct_record record; /* of the last step */
    ct_buf in;
    size_t in_at;
    ct_buf out;
    int fd;
    bool serving;
} pyct_connection;

static PyObject *
connection_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", NULL};
    int fd;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i:Connection", names, &fd)) {
        return NULL;
    }
    if (fd < 0) {
        return PyErr_Format(PyExc_ValueError,
                            "Connection: fd must be an open socket, got %d", fd);
    }
    pyct_connection *self = (pyct_connection *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->fd = -1;
    self->state = pyct_state_of((PyObject *)self);
    self->names = pyct_names_new(self->state);
    if (self->names == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    ct_ref_reader refs = {pyct_ref_read, self->state};
    ct_encoder_init(&self->encoder, pyct_names_table(self->names));
    ct_decoder_init(&self->decoder, pyct_names_table(self->names), refs);
    self->fd = fd;
    return (PyObject *)self;
}

static int
connection_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_connection *self = (pyct_connection *)op;

    Py_VISIT(Py_TYPE(op));
    return self->names == NULL ? 0 : pyct_names_visit(self->names, visit, arg);
}

static void
connection_dealloc(PyObject *op)
{
    pyct_connection *self = (pyct_connection *)op;
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    ct_fd_close(&self->fd);
    ct_encoder_deinit(&self->encoder);
    ct_decoder_deinit(&self->decoder);
    ct_record_deinit(&self->record);
    ct_buf_deinit(&self->in);
    ct_buf_deinit(&self->out);
    pyct_names_free(self->names);
    type->tp_free(op);
    Py_DECREF(type);
}

static ct_io
receive_nogil(int fd, void *data, size_t cap, size_t *done)
{
    ct_fd_await(fd);
    return ct_fd_receive(fd, data, cap, done, NULL);
}

/* False when the other side is gone. */
static bool
send_nogil(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t done;
        if (ct_fd_send(fd, data, len, -1, &done) == CT_IO_GONE) {
            return false;
        }
        data += done;
        len -= done;
    }
    return true;
}

/* Takes the exception that is set. New reference. */
static PyObject *
fetch_error(void)
{
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* What the trainable raised, as an Event. */
static PyObject *
error_event(PyObject *host, const char *kind)
{
    PyObject *error = fetch_error();
    PyObject *event =
        error == NULL ? NULL : PyObject_CallMethod(host, "on_error", "Os", error, kind);

    Py_XDECREF(error);
    return event;
}

/* Lets the host carry out a command and finds out what it trains. */
static PyObject *
handle(pyct_connection *self, PyObject *host, const ct_command *c, PyObject **trainable)
{
    PyObject *command = pyct_command_new(self->state, self->names, c);
    PyObject *event =
        command == NULL
            ? NULL
            : PyObject_CallMethodOneArg(host, self->state->str.handle, command);

    Py_XDECREF(command);
    Py_CLEAR(*trainable);
    if (event != NULL) {
        *trainable = PyObject_GetAttr(host, self->state->str.trainable);
        if (*trainable == NULL) {
            Py_CLEAR(event);
        } else if (!PyObject_TypeCheck(*trainable, self->state->trainable_type)) {
            Py_CLEAR(*trainable);
        }
    }
    return event;
}

/* Appends the answer to c to self->out: a result, which is in self->record, if event is
 * NULL, else the event. -1 with an exception set. */
static int
put_answer(pyct_connection *self, const ct_command *c, PyObject *event,
           ct_event_kind *kind)
{
    ct_event ev;
    ct_err err = CT_ERR_INIT;

    memset(&ev, 0, sizeof ev);
    ev.trial = c->trial;
    ev.serial = c->serial;
    ev.kind = CT_EVENT_RESULT;
    ev.record = &self->record;
    if (event != NULL) {
        ev.record = NULL;
        if (pyct_event_fill(self->state, self->names, event, &ev, &self->record) < 0) {
            return -1;
        }
    }
    *kind = ev.kind;
    if (ct_encode_event(&self->encoder, &self->out, &ev, &err) != CT_OK) {
        pyct_raise(self->state, &err);
        return -1;
    }
    return 0;
}

/* Carries out a command. *kind: of the answer. */
static int
answer(pyct_connection *self, PyObject *host, const ct_command *c, PyObject **trainable,
       ct_event_kind *kind)
{
    PyObject *event = NULL;

    if (c->kind == CT_COMMAND_STEP && *trainable != NULL) {
        if (pyct_trainable_step(self->state, *trainable, self->names, &self->record) ==
            0) {
            return put_answer(self, c, NULL, kind);
        }
        event = error_event(host, "FAILED");
    } else {
        event = handle(self, host, c, trainable);
    }
    int bad = event == NULL ? -1 : put_answer(self, c, event, kind);
    Py_XDECREF(event);
    return bad;
}

/* A command whose config holds an object that cannot be made here: the exception is set. */
static int
refuse(pyct_connection *self, PyObject *host, const ct_command *c, ct_event_kind *kind)
{
    PyObject *event = error_event(host, "START_FAILED");
    int bad = event == NULL ? -1 : put_answer(self, c, event, kind);

    Py_XDECREF(event);
    return bad;
}

/* One frame of the driver's. *kind: of the answer, if there is one. */
static int
obey(pyct_connection *self, PyObject *host, uint8_t type, const uint8_t *payload,
     size_t len, PyObject **trainable, ct_event_kind *kind)
{
    ct_err err = CT_ERR_INIT;
    ct_command_box box;

    if (type == CT_FRAME_NAME) {
        if (ct_decode_name(&self->decoder, payload, len, &err) != CT_OK) {
            pyct_raise(self->state, &err);
            return -1;
        }
        return 0;
    }
    if (type != CT_FRAME_COMMAND) {
        PyErr_Format(PyExc_RuntimeError, "the driver sent a frame of type %d", type);
        return -1;
    }
    ct_status st = ct_decode_command(&self->decoder, payload, len, &box, &err);
    if (st == CT_EFOREIGN) {
        return refuse(self, host, &box.command, kind);
    }
    if (st != CT_OK) {
        pyct_raise(self->state, &err);
        return -1;
    }
    int bad = answer(self, host, &box.command, trainable, kind);
    ct_command_box_deinit(&box);
    return bad;
}

/* Reads more. 1: there is more; 0: the driver is gone; -1: exception. */
static int
fill(pyct_connection *self)
{
    ct_err err = CT_ERR_INIT;
    ct_io io;
    size_t done;

    if (self->in_at > 0) { /* before the first read there is no memory to move */
        self->in.len -= self->in_at;
        memmove(self->in.data, self->in.data + self->in_at, self->in.len);
        self->in_at = 0;
    }
    if (ct_buf_reserve(&self->in, READ_SIZE, &err) != CT_OK) {
        pyct_raise(self->state, &err);
        return -1;
    }
    uint8_t *end = self->in.data + self->in.len;
    int fd = self->fd;
    Py_BEGIN_ALLOW_THREADS
    io = receive_nogil(fd, end, READ_SIZE, &done);
    Py_END_ALLOW_THREADS
    self->in.len += done;
    return io == CT_IO_SOME;
}

static bool
flush(pyct_connection *self)
{
    bool there;
    int fd = self->fd;
    const uint8_t *data = self->out.data;
    size_t len = self->out.len;

    Py_BEGIN_ALLOW_THREADS
    there = send_nogil(fd, data, len);
    Py_END_ALLOW_THREADS
    ct_buf_clear(&self->out);
    return there;
}

/* 1: the worker was told to stop; 0: the driver is gone; -1: exception. */
static int
serve(pyct_connection *self, PyObject *host, PyObject **trainable)
{
    for (;;) {
        uint8_t type;
        const uint8_t *payload;
        size_t len, size;
        ct_frame_state state =
            ct_frame_peek(self->in.data + self->in_at, self->in.len - self->in_at,
                          &type, &payload, &len, &size);
        if (state == CT_FRAME_BAD) {
            PyErr_SetString(PyExc_RuntimeError, "the driver sent a damaged frame");
            return -1;
        }
        if (state == CT_FRAME_SHORT) {
            int more = fill(self);
            if (more <= 0) {
                return more;
            }
            continue;
        }
        ct_event_kind kind = CT_EVENT_COUNT;
        if (obey(self, host, type, payload, len, trainable, &kind) < 0) {
            return -1;
        }
        self->in_at += size;
        if (!flush(self)) {
            return 0;
        }
        if (kind == CT_EVENT_STOPPED || kind == CT_EVENT_START_FAILED) {
            return 1;
        }
    }
}

static PyObject *
connection_serve(PyObject *op, PyObject *host)
{
    pyct_connection *self = (pyct_connection *)op;
    PyObject *trainable = NULL;

    if (self->serving) {
        PyErr_SetString(PyExc_RuntimeError, "serve: runs already");
        return NULL;
    }
    self->serving = true;
    int end = serve(self, host, &trainable);
    self->serving = false;
    Py_XDECREF(trainable);
    return end < 0 ? NULL : PyBool_FromLong(end);
}

static PyObject *
connection_close(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    ct_fd_close(&((pyct_connection *)op)->fd);
    Py_RETURN_NONE;
}

static PyMethodDef connection_methods[] = {
    {"serve", connection_serve, METH_O,
     "serve($self, host, /)\n--\n\n"
     "Carry out commands until the worker is told to stop (True) or "
     "the driver is gone (False).\n\nArgs:\n    host: A TrialHost: handle(command), "
     "on_error(exception, kind), trainable."},
    {"close", connection_close, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Close the socket: for serve() the driver is gone then."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot connection_slots[] = {
    {Py_tp_new, PYCT_SLOT(connection_new)},
    {Py_tp_dealloc, PYCT_SLOT(connection_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(connection_traverse)},
    {Py_tp_methods, connection_methods},
    {Py_tp_doc,
     "Connection(fd)\n--\n\nA worker's end of the socket to the driver, which "
     "it closes in the end."},
    {0, NULL},
};

static PyType_Spec connection_spec = {
    .name = "ctune._ctune.Connection",
    .basicsize = sizeof(pyct_connection),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = connection_slots,
};

static PyObject *
host_facts(PyObject *module, PyObject *ignored)
{
    pyct_state *state = pyct_state_of_module(module);

    (void)ignored;
    return Py_BuildValue("ssL", pyct_hostname(state), pyct_node_ip(state),
                         (long long)ct_host_pid());
}

static PyMethodDef functions[] = {
    {"host", host_facts, METH_NOARGS,
     "host($module, /)\n--\n\n"
     "This machine's name and address and the number of this process."},
    {NULL, NULL, 0, NULL},
};

int
pyct_connection_add(PyObject *module, pyct_state *state)
{
    if (pyct_add_type(module, &state->connection_type, &connection_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
