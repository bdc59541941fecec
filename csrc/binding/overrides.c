/* overrides.c: see overrides.h. */
#include "overrides.h"

/* The object's dict: new, or NULL, without an exception when it has none. */
static PyObject *
dict_of(PyObject *object)
{
    PyObject *dict = PyObject_GetAttrString(object, "__dict__");
    if (dict == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
    }
    return dict;
}

int
pyct_has(PyObject *object, PyObject *name)
{
    PyObject *found = PyObject_GetAttr(object, name);
    if (found == NULL && !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return -1;
    }
    int has = found != NULL;
    PyErr_Clear();
    Py_XDECREF(found);
    return has;
}

PyObject *
pyct_attributes(PyObject *object)
{
    PyObject *dict = dict_of(object);
    if (dict == NULL) {
        return PyErr_Occurred() ? NULL : PyDict_New();
    }
    PyObject *copy = PyDict_Copy(dict);
    Py_DECREF(dict);
    return copy;
}

int
pyct_set_attributes(PyObject *object, PyObject *attributes)
{
    PyObject *dict = dict_of(object);
    if (dict == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int st = PyDict_Update(dict, attributes);
    Py_DECREF(dict);
    return st;
}

/* An attribute of the object's own dict hides a method, since methods are no data
 * descriptors. */
static int
on_object(PyObject *object, PyObject *name)
{
    PyObject *dict = dict_of(object);
    if (dict == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int found = PyDict_Contains(dict, name);
    Py_DECREF(dict);
    return found;
}

int
pyct_overridden(PyObject *object, PyTypeObject *native, PyObject *name)
{
    PyObject *own = PyObject_GetAttr((PyObject *)Py_TYPE(object), name);
    PyObject *base = PyObject_GetAttr((PyObject *)native, name);
    int differs = own == NULL || base == NULL ? -1 : own != base;
    Py_XDECREF(own);
    Py_XDECREF(base);
    return differs != 0 ? differs : on_object(object, name);
}
