/* errors.c: see errors.h. */
#include "errors.h"

static PyObject *
exception_class(pyct_state *state, ct_status code)
{
    switch (code) {
    case CT_ENOMEM:
        return PyExc_MemoryError;
    case CT_EINVAL:
        return PyExc_ValueError;
    case CT_ERECURSIVE: /* a ValueError of its own; NULL: the import's exception is set */
        return pyct_lazy(&state->recursive_error, "ctune.search._view",
                         "RecursiveDependencyError");
    case CT_ETYPE:
        return PyExc_TypeError;
    case CT_ENOTFOUND:
        return PyExc_KeyError;
    case CT_EIO:
        return PyExc_OSError;
    case CT_EUNSUPPORTED:
        return PyExc_NotImplementedError;
    case CT_ETUNE: {
        PyObject *error = pyct_lazy(&state->tune_error, "ctune.error", "TuneError");
        return error; /* NULL: the import's exception is set */
    }
    case CT_OK:
    case CT_ESTATE:
    case CT_ECORRUPT:
    case CT_EFOREIGN:
    case CT_STATUS_COUNT:
        return PyExc_RuntimeError;
    }
    return PyExc_RuntimeError;
}

PyObject *
pyct_raise(pyct_state *state, const ct_err *err)
{
    if (err->code == CT_EFOREIGN) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_SystemError,
                         "engine reported a Python exception, none set");
        }
        return NULL;
    }
    PyObject *cls = exception_class(state, err->code);
    if (cls == NULL) {
        return NULL;
    }
    PyObject *text = err->param[0] == '\0'
                         ? PyUnicode_FromFormat("%s", err->text)
                         : PyUnicode_FromFormat("%s %s", err->param, err->text);
    if (text == NULL) {
        return NULL;
    }
    if (err->code == CT_EIO && err->os_errno != 0) {
        PyObject *args = Py_BuildValue("(iO)", err->os_errno, text);
        if (args != NULL) {
            PyErr_SetObject(cls, args);
            Py_DECREF(args);
        }
    } else {
        PyErr_SetObject(cls, text);
    }
    Py_DECREF(text);
    return NULL;
}

ct_status
pyct_foreign(ct_err *err)
{
    return ct_fail(err, CT_EFOREIGN, "", "a Python exception is set");
}
