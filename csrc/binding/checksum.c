/* checksum.c: the engine's CRC-32C as a function, for files that others define. */
#include "types.h"

#include "base/bytes.h"

static PyObject *
crc32c(PyObject *module, PyObject *data)
{
    Py_buffer view;
    uint32_t crc;

    (void)module;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    crc = ct_crc32c(0, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLong(crc);
}

static PyMethodDef functions[] = {
    {"crc32c", crc32c, METH_O,
     "crc32c($module, data, /)\n--\n\n"
     "The CRC-32C (Castagnoli) of bytes."},
    {NULL, NULL, 0, NULL},
};

int
pyct_checksum_add(PyObject *module, pyct_state *state)
{
    (void)state;
    return PyModule_AddFunctions(module, functions);
}
