/* lock.c: _ctune.Lock: os/lock as a Python object. */
#include "errors.h"
#include "types.h"

#include "os/lock.h"

typedef struct pyct_lock {
    PyObject_HEAD
    ct_file file;
} pyct_lock;

static PyObject *
lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"path", NULL};
    const char *path;
    ct_err err = CT_ERR_INIT;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s:Lock", names, &path)) {
        return NULL;
    }
    pyct_lock *self = (pyct_lock *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->file = (ct_file)CT_FILE_INIT;
    if (ct_lock_take(&self->file, path, &err) != CT_OK) {
        pyct_raise(pyct_state_of((PyObject *)self), &err);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int
lock_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
lock_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    ct_lock_release(&((pyct_lock *)op)->file);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
lock_release(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    ct_lock_release(&((pyct_lock *)op)->file);
    Py_RETURN_NONE;
}

static PyObject *
lock_forget(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    ct_file_close(&((pyct_lock *)op)->file);
    Py_RETURN_NONE;
}

static PyMethodDef lock_methods[] = {
    {"release", lock_release, METH_NOARGS,
     "release($self, /)\n--\n\n"
     "Let go. Fine when let go before."},
    {"forget", lock_forget, METH_NOARGS,
     "forget($self, /)\n--\n\n"
     "In a forked child: close the file; the lock stays the parent's."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_new, PYCT_SLOT(lock_new)},
    {Py_tp_dealloc, PYCT_SLOT(lock_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(lock_traverse)},
    {Py_tp_methods, lock_methods},
    {Py_tp_doc,
     "Lock(path)\n--\n\nAn exclusive lock on a file, held until release() or the "
     "end of the process.\n\nRaises:\n    RuntimeError: Someone holds it; the text "
     "says who.\n    NotImplementedError: The file system knows no locks."},
    {0, NULL},
};

static PyType_Spec lock_spec = {
    .name = "ctune._ctune.Lock",
    .basicsize = sizeof(pyct_lock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = lock_slots,
};

int
pyct_lock_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->lock_type, &lock_spec, NULL);
}
