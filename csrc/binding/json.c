/* json.c: json_text(value, default): what json.dumps(value, default=default) says, for what
 * states of experiments are made of: mostly numbers, which Python takes 1 µs each to write. */
#include "errors.h"
#include "types.h"

#include "base/json.h"

/* As deep as base/json. */
enum { DEPTH_MAX = 500 };

/* OTHERS: the json module has its own way with it, or its own error. */
typedef enum put { FAILED = -1, DONE, OTHERS } put;

typedef struct writer {
    ct_buf out;
    PyObject *fallback;
    pyct_state *state;
} writer;

static put put_any(writer *w, PyObject *o, int depth);

static put
checked(writer *w, ct_status st, const ct_err *err)
{
    if (st != CT_OK) {
        pyct_raise(w->state, err);
        return FAILED;
    }
    return DONE;
}

static put
put_text(writer *w, const char *text)
{
    ct_err err = CT_ERR_INIT;

    return checked(w, ct_buf_puts(&w->out, text, &err), &err);
}

static put
put_str(writer *w, PyObject *o)
{
    ct_err err = CT_ERR_INIT;
    Py_ssize_t len;
    const char *text = PyUnicode_AsUTF8AndSize(o, &len);

    if (text == NULL) { /* lone surrogates */
        PyErr_Clear();
        return OTHERS;
    }
    return checked(w, ct_json_put_str(&w->out, text, (size_t)len, &err), &err);
}

static put
put_int(writer *w, PyObject *o)
{
    ct_err err = CT_ERR_INIT;
    char text[24];
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(o, &overflow);

    if (overflow != 0) {
        return OTHERS;
    }
    if (value == -1 && PyErr_Occurred()) {
        return FAILED;
    }
    return checked(w, ct_buf_put(&w->out, text, ct_format_i64(value, text), &err),
                   &err);
}

static put
put_items(writer *w, PyObject *o, int depth)
{
    put done = put_text(w, "[");

    /* The length anew each time: the fallback is Python. */
    for (Py_ssize_t i = 0; done == DONE && i < PySequence_Fast_GET_SIZE(o); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(o, i));
        done = i == 0 ? DONE : put_text(w, ", ");
        if (done == DONE) {
            done = put_any(w, item, depth);
        }
        Py_DECREF(item);
    }
    return done == DONE ? put_text(w, "]") : done;
}

static put
put_dict(writer *w, PyObject *o, int depth)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, size = PyDict_GET_SIZE(o);
    put done = put_text(w, "{");

    for (bool first = true; done == DONE && PyDict_Next(o, &at, &key, &value);
         first = false) {
        if (!PyUnicode_Check(key)) {
            return OTHERS;
        }
        Py_INCREF(key);
        Py_INCREF(value);
        done = first ? DONE : put_text(w, ", ");
        if (done == DONE) {
            done = put_str(w, key);
        }
        if (done == DONE) {
            done = put_text(w, ": ");
        }
        if (done == DONE) {
            done = put_any(w, value, depth);
        }
        Py_DECREF(value);
        Py_DECREF(key);
        if (PyDict_GET_SIZE(o) != size) {
            done = done == FAILED ? FAILED : OTHERS;
        }
    }
    return done == DONE ? put_text(w, "}") : done;
}

static put
put_other(writer *w, PyObject *o, int depth)
{
    PyObject *form = PyObject_CallOneArg(w->fallback, o);
    put done = form == NULL ? FAILED : put_any(w, form, depth);

    Py_XDECREF(form);
    return done;
}

static put
put_any(writer *w, PyObject *o, int depth)
{
    ct_err err = CT_ERR_INIT;

    if (o == Py_None || PyBool_Check(o)) {
        return put_text(w, o == Py_None ? "null" : o == Py_True ? "true" : "false");
    }
    if (PyUnicode_Check(o)) {
        return put_str(w, o);
    }
    if (PyFloat_Check(o)) {
        double value = PyFloat_AS_DOUBLE(o);
        return checked(w, ct_json_put_f64(&w->out, value, &err), &err);
    }
    if (PyLong_Check(o)) {
        return put_int(w, o);
    }
    if (depth == DEPTH_MAX || (PyDict_Check(o) && !PyDict_CheckExact(o))) {
        return OTHERS; /* an OrderedDict has an order of its own */
    }
    if (PyDict_Check(o)) {
        return put_dict(w, o, depth + 1);
    }
    if (PyList_Check(o) || PyTuple_Check(o)) {
        return put_items(w, o, depth + 1);
    }
    return put_other(w, o, depth + 1);
}

static PyObject *
json_text(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    writer w = {CT_BUF_INIT, NULL, pyct_state_of_module(module)};
    PyObject *text = NULL;

    if (n != 2) {
        return PyErr_Format(PyExc_TypeError, "json_text takes 2 arguments, got %zd", n);
    }
    w.fallback = args[1];
    put done = put_any(&w, args[0], 0);
    if (done == DONE) {
        text = PyUnicode_DecodeASCII((char *)w.out.data, (Py_ssize_t)w.out.len, NULL);
    } else if (done == OTHERS) {
        text = Py_NewRef(Py_None);
    }
    ct_buf_deinit(&w.out);
    return text;
}

static PyMethodDef functions[] = {
    {"json_text", PYCT_METHOD(json_text), METH_FASTCALL,
     "json_text($module, value, default, /)\n--\n\n"
     "What json.dumps(value, default=default) says; None where only that can tell."},
    {NULL, NULL, 0, NULL},
};

int
pyct_json_add(PyObject *module, pyct_state *state)
{
    (void)state;
    return PyModule_AddFunctions(module, functions);
}
