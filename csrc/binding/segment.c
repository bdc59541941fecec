/* segment.c: _ctune.Segment and _ctune.map_segment, the two ends of os/shm: what the
 * driver fills, and what a worker reads. */
#include "errors.h"
#include "types.h"

#include "os/proc.h"
#include "os/shm.h"

typedef struct pyct_segment {
    PyObject_HEAD
    int fd;       /* -1 = closed */
    uint64_t end; /* bytes in it */
} pyct_segment;

typedef struct pyct_view {
    PyObject_HEAD
    void *data;
    size_t len;
} pyct_view;

static PyObject *
segment_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    ct_err err = CT_ERR_INIT;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Segment", names)) {
        return NULL;
    }
    pyct_segment *self = (pyct_segment *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->fd = -1;
    if (ct_shm_new(&self->fd, &err) != CT_OK) {
        pyct_raise(pyct_state_of((PyObject *)self), &err);
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int
traverse_type(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
segment_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    ct_fd_close(&((pyct_segment *)op)->fd);
    type->tp_free(op);
    Py_DECREF(type);
}

static bool
segment_open(pyct_segment *self)
{
    if (self->fd < 0) {
        PyErr_SetString(PyExc_ValueError, "Segment: it is closed");
    }
    return self->fd >= 0;
}

static PyObject *
segment_write(PyObject *op, PyObject *arg)
{
    pyct_segment *self = (pyct_segment *)op;
    ct_err err = CT_ERR_INIT;
    Py_buffer data;

    if (!segment_open(self) || PyObject_GetBuffer(arg, &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    ct_status st = ct_shm_write(self->fd, self->end, data.buf, (size_t)data.len, &err);
    self->end += st == CT_OK ? (uint64_t)data.len : 0;
    Py_ssize_t len = data.len;
    PyBuffer_Release(&data);
    return st == CT_OK ? PyLong_FromSsize_t(len) : pyct_raise(pyct_state_of(op), &err);
}

/* With the GIL: no Python code may write to the data while its pages are replaced. */
static PyObject *
segment_place(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    pyct_segment *self = (pyct_segment *)op;
    ct_err err = CT_ERR_INIT;
    Py_buffer data;

    if (n != 2) {
        return PyErr_Format(PyExc_TypeError, "place() takes 2 arguments, got %zd", n);
    }
    void *block = PyLong_AsVoidPtr(args[1]);
    if (PyErr_Occurred() || !segment_open(self) ||
        PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    size_t page = ct_shm_page();
    uint64_t at = (self->end + page - 1) / page * page + (uintptr_t)data.buf % page;
    ct_status st = ct_shm_share(self->fd, at, data.buf, (size_t)data.len, block, &err);
    if (st == CT_OK) {
        self->end = at + (uint64_t)data.len;
    }
    PyBuffer_Release(&data);
    return st == CT_OK ? PyLong_FromUnsignedLongLong(at)
                       : pyct_raise(pyct_state_of(op), &err);
}

static PyObject *
segment_fileno(PyObject *op, PyObject *ignored)
{
    pyct_segment *self = (pyct_segment *)op;

    (void)ignored;
    return segment_open(self) ? PyLong_FromLong(self->fd) : NULL;
}

static PyObject *
segment_close(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    ct_fd_close(&((pyct_segment *)op)->fd);
    Py_RETURN_NONE;
}

static PyMethodDef segment_methods[] = {
    {"write", segment_write, METH_O,
     "write($self, data, /)\n--\n\nAppend bytes; return how many."},
    {"place", PYCT_METHOD(segment_place), METH_FASTCALL,
     "place($self, data, block, /)\n--\n\n"
     "Append bytes at a multiple of their alignment, and return the offset. `block` is\n"
     "the address of the malloc'ed block that holds them, or 0: if it has pages of its\n"
     "own, these become the segment's, so that the data does not exist twice."},
    {"fileno", segment_fileno, METH_NOARGS,
     "fileno($self, /)\n--\n\nThe descriptor, for those who are to map it."},
    {"close", segment_close, METH_NOARGS,
     "close($self, /)\n--\n\nLet go of the memory; who has mapped it keeps it."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot segment_slots[] = {
    {Py_tp_new, PYCT_SLOT(segment_new)},
    {Py_tp_dealloc, PYCT_SLOT(segment_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(traverse_type)},
    {Py_tp_methods, segment_methods},
    {Py_tp_doc,
     "Segment()\n--\n\nMemory without a name, to be filled and then mapped by "
     "other processes."},
    {0, NULL},
};

static PyType_Spec segment_spec = {
    .name = "ctune._ctune.Segment",
    .basicsize = sizeof(pyct_segment),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = segment_slots,
};

static void
view_dealloc(PyObject *op)
{
    pyct_view *self = (pyct_view *)op;
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    ct_shm_unmap(self->data, self->len);
    type->tp_free(op);
    Py_DECREF(type);
}

static int
view_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    pyct_view *self = (pyct_view *)op;

    return PyBuffer_FillInfo(view, op, self->data, (Py_ssize_t)self->len, 0, flags);
}

static PyType_Slot view_slots[] = {
    {Py_tp_dealloc, PYCT_SLOT(view_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(traverse_type)},
    {Py_bf_getbuffer, PYCT_SLOT(view_getbuffer)},
    {0, NULL},
};

/* What a memoryview that map_segment returns keeps alive; nobody else sees it. */
static PyType_Spec view_spec = {
    .name = "ctune._ctune._SegmentView",
    .basicsize = sizeof(pyct_view),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

static PyObject *
map_segment(PyObject *module, PyObject *number)
{
    pyct_state *state = pyct_state_of_module(module);
    ct_err err = CT_ERR_INIT;
    long fd = PyLong_AsLong(number);

    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    pyct_view *view =
        (pyct_view *)state->segment_view_type->tp_alloc(state->segment_view_type, 0);
    if (view == NULL) {
        return NULL;
    }
    PyObject *out = NULL;
    if (ct_shm_map((int)fd, &view->data, &view->len, &err) != CT_OK) {
        pyct_raise(state, &err);
    } else {
        out = PyMemoryView_FromObject((PyObject *)view);
    }
    Py_DECREF(view);
    return out;
}

static PyMethodDef functions[] = {
    {"map_segment", map_segment, METH_O,
     "map_segment($module, fd, /)\n--\n\n"
     "The bytes of a Segment. They are shared until they are written to; then the writer\n"
     "has pages of its own."},
    {NULL, NULL, 0, NULL},
};

int
pyct_segment_add(PyObject *module, pyct_state *state)
{
    if (pyct_add_type(module, &state->segment_type, &segment_spec, NULL) < 0) {
        return -1;
    }
    state->segment_view_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &view_spec, NULL);
    return state->segment_view_type == NULL ? -1
                                            : PyModule_AddFunctions(module, functions);
}
