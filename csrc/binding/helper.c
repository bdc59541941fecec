/* helper.c: _ctune.Helper, the process that forks workers, as exec/proc_helper has it. */
#include "errors.h"
#include "types.h"

#include "exec/proc_helper.h"
#include "os/proc.h"

typedef struct pyct_helper {
    PyObject_HEAD
    ct_helper *helper; /* NULL after become_worker */
} pyct_helper;

static PyObject *
helper_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"control", "keep", NULL};
    int control;
    int keep = -1;
    ct_err err = CT_ERR_INIT;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|i:Helper", names, &control,
                                     &keep)) {
        return NULL;
    }
    if (control != CT_PROC_CONTROL_FD) {
        return PyErr_Format(PyExc_ValueError,
                            "Helper: control must be descriptor %d, got %d",
                            CT_PROC_CONTROL_FD, control);
    }
    pyct_helper *self = (pyct_helper *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    if (ct_helper_new(&self->helper, control, keep, &err) != CT_OK) {
        pyct_raise(pyct_state_of((PyObject *)self), &err);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int
helper_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
helper_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    ct_helper_free(((pyct_helper *)op)->helper);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Borrowed; NULL with an exception set in a worker. */
static ct_helper *
helper_of(PyObject *op)
{
    ct_helper *h = ((pyct_helper *)op)->helper;

    if (h == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this process is a worker, not the helper");
    }
    return h;
}

static PyObject *
helper_payload(PyObject *op, PyObject *ignored)
{
    ct_helper *h = helper_of(op);
    ct_err err = CT_ERR_INIT;
    ct_buf payload = CT_BUF_INIT;
    ct_status st;
    int fd = -1;
    bool end = false;
    PyObject *out = NULL;

    (void)ignored;
    if (h == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    st = ct_helper_payload(h, &payload, &fd, &end, &err);
    Py_END_ALLOW_THREADS
    if (st != CT_OK) {
        pyct_raise(pyct_state_of(op), &err);
    } else if (end) {
        out = Py_NewRef(Py_None);
    } else {
        out = Py_BuildValue("y#i", (const char *)payload.data, (Py_ssize_t)payload.len,
                            fd);
        if (out == NULL) {
            ct_fd_close(&fd);
        }
    }
    ct_buf_deinit(&payload);
    return out;
}

static PyObject *
helper_loaded(PyObject *op, PyObject *ignored)
{
    ct_helper *h = helper_of(op);

    (void)ignored;
    if (h == NULL) {
        return NULL;
    }
    ct_helper_loaded(h);
    Py_RETURN_NONE;
}

static PyObject *
helper_unloadable(PyObject *op, PyObject *text)
{
    ct_helper *h = helper_of(op);
    Py_ssize_t len;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &len);

    if (h == NULL || utf8 == NULL) {
        return NULL;
    }
    ct_helper_unloadable(h, utf8, (size_t)len);
    Py_RETURN_NONE;
}

static PyObject *
helper_next(PyObject *op, PyObject *ignored)
{
    ct_helper *h = helper_of(op);
    ct_err err = CT_ERR_INIT;
    ct_status st;
    uint32_t worker = 0;
    int fd = -1;
    bool end = false;

    (void)ignored;
    if (h == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    st = ct_helper_next(h, &worker, &fd, &end, &err);
    Py_END_ALLOW_THREADS
    if (st != CT_OK) {
        return pyct_raise(pyct_state_of(op), &err);
    }
    if (end) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("Ii", (unsigned int)worker, fd);
}

static PyObject *
helper_forked(PyObject *op, PyObject *args)
{
    ct_helper *h = helper_of(op);
    unsigned int worker;
    long pid;
    ct_err err = CT_ERR_INIT;

    if (h == NULL || !PyArg_ParseTuple(args, "Il:forked", &worker, &pid)) {
        return NULL;
    }
    if (ct_helper_forked(h, worker, (pid_t)pid, &err) != CT_OK) {
        return pyct_raise(pyct_state_of(op), &err);
    }
    Py_RETURN_NONE;
}

static PyObject *
helper_become_worker(PyObject *op, PyObject *ignored)
{
    ct_helper *h = helper_of(op);

    (void)ignored;
    if (h == NULL) {
        return NULL;
    }
    ((pyct_helper *)op)->helper = NULL;
    return PyBool_FromLong(ct_helper_become_worker(h));
}

static PyMethodDef helper_methods[] = {
    {"payload", helper_payload, METH_NOARGS,
     "payload($self, /)\n--\n\n"
     "Wait for the pickled trainable: (bytes, descriptor of its memory or -1). None: the\n"
     "driver is gone."},
    {"loaded", helper_loaded, METH_NOARGS,
     "loaded($self, /)\n--\n\n"
     "Tell the driver that workers can be made."},
    {"unloadable", helper_unloadable, METH_O,
     "unloadable($self, text, /)\n--\n\n"
     "Tell the driver why no worker can be made."},
    {"next", helper_next, METH_NOARGS,
     "next($self, /)\n--\n\n"
     "Wait for an order to fork: (worker, socket). None: the driver is gone, "
     "and so are all workers."},
    {"forked", helper_forked, METH_VARARGS,
     "forked($self, worker, pid, /)\n--\n\n"
     "Tell the new worker's process id, or -errno."},
    {"become_worker", helper_become_worker, METH_NOARGS,
     "become_worker($self, /)\n--\n\n"
     "In the forked child. False: the helper is gone already."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot helper_slots[] = {
    {Py_tp_new, PYCT_SLOT(helper_new)},
    {Py_tp_dealloc, PYCT_SLOT(helper_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(helper_traverse)},
    {Py_tp_methods, helper_methods},
    {Py_tp_doc,
     "Helper(control, keep=-1)\n--\n\nTurns this process, started by a process pool, into "
     "the one that forks its workers."},
    {0, NULL},
};

static PyType_Spec helper_spec = {
    .name = "ctune._ctune.Helper",
    .basicsize = sizeof(pyct_helper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = helper_slots,
};

int
pyct_helper_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->helper_type, &helper_spec, NULL);
}
