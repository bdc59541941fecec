/* convert.c: see convert.h. */
#include "convert.h"

#include "base/keys.h"
#include "base/mem.h"
#include "errors.h"
#include "refs.h"

#include <string.h>

/* A direct-mapped cache from the address of a str to its name: keys are mostly literals,
 * so the same object comes again with each result. It holds its strs alive, so that an
 * address never means another text. */
#define CACHE_SIZE 256u

struct pyct_names {
    pyct_state *state;
    ct_names *table;
    PyObject **texts; /* by name; NULL = not made yet */
    size_t cap;
    struct {
        PyObject *text;
        ct_name name;
    } cache[CACHE_SIZE];
};

/* Nesting of user objects beyond which conversion refuses: no C stack overflow. */
#define DEPTH_MAX 500

pyct_names *
pyct_names_new(pyct_state *state)
{
    ct_err err = CT_ERR_INIT;
    pyct_names *n = ct_calloc(1, sizeof *n);

    if (n == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    n->state = state;
    if (ct_names_new(&n->table, &err) != CT_OK ||
        ct_keys_intern(n->table, &err) != CT_OK) {
        pyct_raise(state, &err);
        pyct_names_free(n);
        return NULL;
    }
    return n;
}

void
pyct_names_free(pyct_names *n)
{
    if (n == NULL) {
        return;
    }
    for (size_t i = 0; i < n->cap; i++) {
        Py_XDECREF(n->texts[i]);
    }
    for (size_t i = 0; i < CACHE_SIZE; i++) {
        Py_XDECREF(n->cache[i].text);
    }
    ct_free(n->texts);
    ct_names_free(n->table);
    ct_free(n);
}

ct_names *
pyct_names_table(pyct_names *n)
{
    return n->table;
}

const char *
pyct_utf8(PyObject *str, Py_ssize_t *len)
{
    const char *utf8 = PyUnicode_AsUTF8AndSize(str, len);

    if (utf8 == NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_Clear();
        PyErr_Format(
            PyExc_ValueError,
            "the text %.200A cannot be written as UTF-8, because of a lone "
            "surrogate in it; use text.encode(\"utf-8\", \"replace\").decode()",
            str);
    }
    return utf8;
}

int
pyct_name_of(pyct_names *n, PyObject *text, ct_name *out)
{
    size_t slot = ((size_t)text >> 4) % CACHE_SIZE;

    if (n->cache[slot].text == text) {
        *out = n->cache[slot].name;
        return 0;
    }
    Py_ssize_t len;
    const char *utf8 = PyUnicode_Check(text) ? pyct_utf8(text, &len) : NULL;
    if (utf8 == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_TypeError, "a key must be a str, got %.100s",
                         Py_TYPE(text)->tp_name);
        }
        return -1;
    }
    ct_err err = CT_ERR_INIT;
    if (ct_names_intern(n->table, utf8, (size_t)len, out, &err) != CT_OK) {
        pyct_raise(n->state, &err);
        return -1;
    }
    Py_XSETREF(n->cache[slot].text, Py_NewRef(text));
    n->cache[slot].name = *out;
    return 0;
}

PyObject *
pyct_name_text(pyct_names *n, ct_name name)
{
    if (name >= n->cap) {
        size_t cap = ct_names_count(n->table) + 64;
        PyObject **texts = ct_realloc(n->texts, cap * sizeof *texts);
        if (texts == NULL) {
            return PyErr_NoMemory();
        }
        memset(texts + n->cap, 0, (cap - n->cap) * sizeof *texts);
        n->texts = texts;
        n->cap = cap;
    }
    if (n->texts[name] == NULL) {
        n->texts[name] = PyUnicode_DecodeUTF8(ct_names_text(n->table, name),
                                              (Py_ssize_t)ct_names_len(n->table, name),
                                              "surrogatepass");
        if (n->texts[name] != NULL) {
            PyUnicode_InternInPlace(&n->texts[name]);
        }
    }
    return n->texts[name];
}

int
pyct_names_visit(pyct_names *n, visitproc visit, void *arg)
{
    (void)visit; /* only str objects: they cannot be part of a cycle */
    (void)arg;
    (void)n;
    return 0;
}

int
pyct_numpy_scalar(PyObject *o, PyObject **out)
{
    const char *type = Py_TYPE(o)->tp_name;

    *out = NULL;
    if (strncmp(type, "numpy.", 6) != 0 || strcmp(type, "numpy.ndarray") == 0) {
        return 0;
    }
    PyObject *item = PyObject_CallMethod(o, "item", NULL);
    if (item == NULL) {
        PyErr_Clear(); /* a type of NumPy that is no scalar */
        return 0;
    }
    if (PyLong_Check(item) || PyFloat_Check(item)) { /* bool is a long */
        *out = item;
        return 1;
    }
    Py_DECREF(item);
    return 0;
}

/* --- object -> value --- */

static int value_from(pyct_state *state, pyct_names *n, PyObject *o, ct_value *out,
                      int depth);

static int
raise(pyct_state *state, const ct_err *err)
{
    pyct_raise(state, err);
    return -1;
}

static int
value_ref(pyct_state *state, PyObject *o, ct_value *out)
{
    ct_ref *ref = pyct_ref_new(state, o);

    if (ref == NULL) {
        return -1;
    }
    *out = ct_of_ref(ref);
    return 0;
}

static int
value_sequence(pyct_state *state, pyct_names *n, PyObject *o, ct_value *out, int depth)
{
    ct_err err = CT_ERR_INIT;

    *out = PyTuple_Check(o) ? ct_tuple() : ct_list();
    /* The list may be changed by nobody meanwhile: conversion runs no user code. */
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); i++) {
        ct_value item;
        if (value_from(state, n, PySequence_Fast_GET_ITEM(o, i), &item, depth) < 0) {
            goto fail;
        }
        if (ct_value_push(out, &item, &err) != CT_OK) {
            pyct_raise(state, &err);
            goto fail;
        }
    }
    return 0;
fail:
    ct_value_deinit(out);
    return -1;
}

static int
value_dict(pyct_state *state, pyct_names *n, PyObject *o, ct_value *out, int depth)
{
    ct_err err = CT_ERR_INIT;
    PyObject *key, *item;
    Py_ssize_t at = 0;

    while (PyDict_Next(o, &at, &key, &item)) {
        if (!PyUnicode_Check(key)) {
            return value_ref(state, o, out);
        }
    }
    *out = ct_dict();
    at = 0;
    while (PyDict_Next(o, &at, &key, &item)) {
        ct_name name;
        ct_value value;
        if (pyct_name_of(n, key, &name) < 0 ||
            value_from(state, n, item, &value, depth) < 0) {
            goto fail;
        }
        if (ct_value_put(out, name, &value, &err) != CT_OK) {
            pyct_raise(state, &err);
            goto fail;
        }
    }
    return 0;
fail:
    ct_value_deinit(out);
    return -1;
}

static int
value_long(pyct_state *state, PyObject *o, ct_value *out)
{
    int overflow;
    long long i = PyLong_AsLongLongAndOverflow(o, &overflow);

    if (overflow != 0) {
        return value_ref(state, o, out);
    }
    if (i == -1 && PyErr_Occurred()) {
        return -1;
    }
    *out = ct_i64(i);
    return 0;
}

static int
value_from(pyct_state *state, pyct_names *n, PyObject *o, ct_value *out, int depth)
{
    ct_err err = CT_ERR_INIT;

    *out = ct_nil();
    if (depth > DEPTH_MAX) {
        PyErr_Format(PyExc_ValueError,
                     "a value is nested more than %d levels deep, or contains itself",
                     DEPTH_MAX);
        return -1;
    }
    if (o == Py_None) {
        return 0;
    }
    if (PyBool_Check(o)) {
        *out = ct_bool(o == Py_True);
        return 0;
    }
    if (PyLong_CheckExact(o)) {
        return value_long(state, o, out);
    }
    if (PyFloat_Check(o)) {
        *out = ct_f64(PyFloat_AS_DOUBLE(o));
        return 0;
    }
    if (PyUnicode_CheckExact(o)) {
        Py_ssize_t len;
        const char *text = PyUnicode_AsUTF8AndSize(o, &len);
        if (text == NULL) { /* lone surrogates: no UTF-8 */
            PyErr_Clear();
            return value_ref(state, o, out);
        }
        return ct_str(out, text, (size_t)len, &err) == CT_OK ? 0 : raise(state, &err);
    }
    if (PyList_CheckExact(o) || PyTuple_CheckExact(o)) {
        return value_sequence(state, n, o, out, depth + 1);
    }
    if (PyDict_CheckExact(o)) {
        return value_dict(state, n, o, out, depth + 1);
    }
    PyObject *number;
    if (pyct_numpy_scalar(o, &number) == 1) {
        int r = value_from(state, n, number, out, depth);
        Py_DECREF(number);
        return r;
    }
    return value_ref(state, o, out);
}

int
pyct_value_from_object(pyct_state *state, pyct_names *n, PyObject *object,
                       ct_value *out)
{
    return value_from(state, n, object, out, 0);
}

/* --- value -> object --- */

static PyObject *
object_sequence(pyct_state *state, pyct_names *n, const ct_value *v)
{
    bool tuple = v->kind == CT_TUPLE;
    PyObject *o = tuple ? PyTuple_New(v->len) : PyList_New(v->len);

    if (o == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < v->len; i++) {
        PyObject *item = pyct_value_to_object(state, n, &v->u.items[i]);
        if (item == NULL) {
            Py_DECREF(o);
            return NULL;
        }
        if (tuple) {
            PyTuple_SET_ITEM(o, i, item);
        } else {
            PyList_SET_ITEM(o, i, item);
        }
    }
    return o;
}

static PyObject *
object_dict(pyct_state *state, pyct_names *n, const ct_value *v)
{
    PyObject *o = PyDict_New();

    if (o == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < v->len; i++) {
        PyObject *key = pyct_name_text(n, v->u.entries[i].key);
        PyObject *item =
            key == NULL ? NULL : pyct_value_to_object(state, n, &v->u.entries[i].value);
        int r = item == NULL ? -1 : PyDict_SetItem(o, key, item);
        Py_XDECREF(item);
        if (r < 0) {
            Py_DECREF(o);
            return NULL;
        }
    }
    return o;
}

PyObject *
pyct_value_to_object(pyct_state *state, pyct_names *n, const ct_value *v)
{
    switch (v->kind) {
    case CT_BOOL:
        return PyBool_FromLong(v->u.b);
    case CT_I64:
        return PyLong_FromLongLong(v->u.i);
    case CT_F64:
        return PyFloat_FromDouble(v->u.f);
    case CT_STR:
        return PyUnicode_DecodeUTF8(v->u.s, v->len, "surrogatepass");
    case CT_LIST:
    case CT_TUPLE:
        return object_sequence(state, n, v);
    case CT_DICT:
        return object_dict(state, n, v);
    case CT_REF:
        return Py_NewRef(pyct_ref_object(v->u.ref));
    case CT_NIL:
    case CT_KIND_COUNT:
        break;
    }
    Py_RETURN_NONE;
}

/* --- dict -> record --- */

static int record_put(pyct_state *state, pyct_names *n, ct_record *r, ct_name key,
                      PyObject *o, int depth);

/* Any other object: its JSON text for the files, its pickle for whoever looks. */
static int
record_object(pyct_state *state, ct_record *r, ct_name key, PyObject *o)
{
    ct_err err = CT_ERR_INIT;
    PyObject *pickle = NULL;
    PyObject *json = NULL;
    Py_ssize_t len;
    int result = -1;

    PyObject *json_text = pyct_lazy(&state->json_text, "ctune._encode", "json_text");
    PyObject *dumps = pyct_lazy(&state->dumps, "ctune._encode", "dumps");
    if (json_text == NULL || dumps == NULL) {
        return -1;
    }
    json = PyObject_CallOneArg(json_text, o);
    const char *text = json == NULL ? NULL : PyUnicode_AsUTF8AndSize(json, &len);
    if (text == NULL) {
        goto done;
    }
    pickle = PyObject_CallOneArg(dumps, o);
    if (pickle == NULL || !PyBytes_Check(pickle)) {
        goto done;
    }
    if (ct_record_obj(r, key, text, (size_t)len, PyBytes_AS_STRING(pickle),
                      (size_t)PyBytes_GET_SIZE(pickle), &err) != CT_OK) {
        pyct_raise(state, &err);
        goto done;
    }
    result = 0;
done:
    Py_XDECREF(json);
    Py_XDECREF(pickle);
    return result;
}

static int
record_dict_items(pyct_state *state, pyct_names *n, ct_record *r, PyObject *dict,
                  int depth)
{
    PyObject *key, *item;
    Py_ssize_t at = 0;

    while (PyDict_Next(dict, &at, &key, &item)) {
        ct_name name;
        int bad;
        if (PyUnicode_Check(key)) {
            bad = pyct_name_of(n, key, &name);
        } else {
            PyObject *text = PyObject_Str(key);
            bad = text == NULL ? -1 : pyct_name_of(n, text, &name);
            Py_XDECREF(text);
        }
        if (bad < 0) {
            return -1;
        }
        Py_INCREF(item); /* str() of a key or of a value may run user code */
        bad = record_put(state, n, r, name, item, depth);
        Py_DECREF(item);
        if (bad < 0) {
            return -1;
        }
    }
    return 0;
}

static int
record_container(pyct_state *state, pyct_names *n, ct_record *r, ct_name key,
                 PyObject *o, int depth)
{
    ct_err err = CT_ERR_INIT;
    bool dict = PyDict_Check(o);

    if (depth > DEPTH_MAX) {
        PyErr_Format(PyExc_ValueError,
                     "a result is nested more than %d levels deep, or contains itself",
                     DEPTH_MAX);
        return -1;
    }
    if (ct_record_open(r, key, dict ? CT_FIELD_DICT : CT_FIELD_LIST, &err) != CT_OK) {
        return raise(state, &err);
    }
    if (dict) {
        if (record_dict_items(state, n, r, o, depth + 1) < 0) {
            return -1;
        }
    } else {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); i++) {
            PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(o, i));
            int bad = record_put(state, n, r, CT_NAME_NONE, item, depth + 1);
            Py_DECREF(item);
            if (bad < 0) {
                return -1;
            }
        }
    }
    return ct_record_end(r, &err) == CT_OK ? 0 : raise(state, &err);
}

static int
record_long(pyct_state *state, ct_record *r, ct_name key, PyObject *o)
{
    ct_err err = CT_ERR_INIT;
    int overflow;
    long long i = PyLong_AsLongLongAndOverflow(o, &overflow);

    if (overflow != 0) {
        return record_object(state, r, key, o);
    }
    if (i == -1 && PyErr_Occurred()) {
        return -1;
    }
    return ct_record_i64(r, key, i, &err) == CT_OK ? 0 : raise(state, &err);
}

static int
record_put(pyct_state *state, pyct_names *n, ct_record *r, ct_name key, PyObject *o,
           int depth)
{
    ct_err err = CT_ERR_INIT;
    ct_status st;

    if (PyFloat_Check(o)) {
        st = ct_record_f64(r, key, PyFloat_AS_DOUBLE(o), &err);
    } else if (o == Py_None) {
        st = ct_record_nil(r, key, &err);
    } else if (PyBool_Check(o)) {
        st = ct_record_bool(r, key, o == Py_True, &err);
    } else if (PyLong_Check(o)) {
        return record_long(state, r, key, o);
    } else if (PyUnicode_Check(o)) {
        Py_ssize_t len;
        const char *text = PyUnicode_AsUTF8AndSize(o, &len);
        if (text == NULL) {
            PyErr_Clear(); /* lone surrogates */
            return record_object(state, r, key, o);
        }
        st = ct_record_str(r, key, text, (size_t)len, &err);
    } else if (PyDict_Check(o) || PyList_CheckExact(o) || PyTuple_CheckExact(o)) {
        return record_container(state, n, r, key, o, depth);
    } else {
        PyObject *number;
        if (pyct_numpy_scalar(o, &number) == 1) {
            int bad = record_put(state, n, r, key, number, depth);
            Py_DECREF(number);
            return bad;
        }
        return record_object(state, r, key, o);
    }
    return st == CT_OK ? 0 : raise(state, &err);
}

int
pyct_record_put_dict(pyct_state *state, pyct_names *n, ct_record *r, PyObject *dict)
{
    return record_dict_items(state, n, r, dict, 0);
}

/* --- record -> dict --- */

typedef struct reading {
    pyct_state *state;
    pyct_names *names;
    const ct_record *record;
    PyObject *config;
    size_t at;
} reading;

static PyObject *read_field(reading *r);

static PyObject *
read_object(reading *r, const ct_field *f)
{
    PyObject *loads = pyct_lazy(&r->state->loads, "ctune._encode", "loads");
    if (loads == NULL) {
        return NULL;
    }
    return PyObject_CallFunction(loads, "y#", ct_record_text(r->record, f) + f->len,
                                 (Py_ssize_t)f->extra);
}

static PyObject *
read_container(reading *r, bool dict)
{
    PyObject *o = dict ? PyDict_New() : PyList_New(0);

    while (o != NULL && r->record->fields[r->at].kind != CT_FIELD_END) {
        const ct_field *f = &r->record->fields[r->at];
        PyObject *key = dict ? pyct_name_text(r->names, f->key) : Py_None;
        PyObject *item = key == NULL ? NULL : read_field(r);
        int bad = item == NULL ? -1
                  : dict       ? PyDict_SetItem(o, key, item)
                               : PyList_Append(o, item);
        Py_XDECREF(item);
        if (bad < 0) {
            Py_CLEAR(o);
        }
    }
    r->at++; /* END */
    return o;
}

/* Reads the field at r->at with all it contains and steps behind it. */
static PyObject *
read_field(reading *r)
{
    const ct_field *f = &r->record->fields[r->at++];

    switch ((ct_field_kind)f->kind) {
    case CT_FIELD_BOOL:
        return PyBool_FromLong(f->u.i != 0);
    case CT_FIELD_I64:
        return PyLong_FromLongLong(f->u.i);
    case CT_FIELD_F64:
        return PyFloat_FromDouble(f->u.f);
    case CT_FIELD_STR:
        return PyUnicode_DecodeUTF8(ct_record_text(r->record, f), f->len,
                                    "surrogatepass");
    case CT_FIELD_LIST:
        return read_container(r, false);
    case CT_FIELD_DICT:
        return read_container(r, true);
    case CT_FIELD_CONFIG:
        return Py_NewRef(r->config == NULL ? Py_None : r->config);
    case CT_FIELD_OBJ:
        return read_object(r, f);
    case CT_FIELD_NIL:
    case CT_FIELD_END:
    case CT_FIELD_KIND_COUNT:
        break;
    }
    Py_RETURN_NONE;
}

/* Adds the entries of nested dicts as "a/b". A literal key that is there already wins. */
static int
flatten_into(PyObject *out, PyObject *prefix, PyObject *dict, int depth)
{
    PyObject *key, *item;
    Py_ssize_t at = 0;

    if (depth > DEPTH_MAX) {
        PyErr_SetString(PyExc_ValueError, "a result is nested too deep");
        return -1;
    }
    while (PyDict_Next(dict, &at, &key, &item)) {
        PyObject *path = PyUnicode_FromFormat("%S/%S", prefix, key);
        int bad = -1;
        if (path != NULL && PyDict_Check(item) && PyDict_GET_SIZE(item) > 0) {
            bad = flatten_into(out, path, item, depth + 1);
        } else if (path != NULL) {
            bad = PyDict_SetDefault(out, path, item) == NULL ? -1 : 0;
        }
        Py_XDECREF(path);
        if (bad < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
flatten(PyObject *nested)
{
    PyObject *out = PyDict_New();
    PyObject *key, *item;
    Py_ssize_t at = 0;

    while (out != NULL && PyDict_Next(nested, &at, &key, &item)) {
        if (!(PyDict_Check(item) && PyDict_GET_SIZE(item) > 0) &&
            PyDict_SetItem(out, key, item) < 0) {
            Py_CLEAR(out);
        }
    }
    at = 0;
    while (out != NULL && PyDict_Next(nested, &at, &key, &item)) {
        if (PyDict_Check(item) && PyDict_GET_SIZE(item) > 0 &&
            flatten_into(out, key, item, 0) < 0) {
            Py_CLEAR(out);
        }
    }
    return out;
}

PyObject *
pyct_record_to_dict(pyct_state *state, pyct_names *n, const ct_record *record,
                    PyObject *config, bool flat)
{
    reading r = {state, n, record, config, 0};
    PyObject *out = PyDict_New();
    bool nested = false;

    while (out != NULL && r.at < record->count) {
        const ct_field *f = &record->fields[r.at];
        if (f->kind == CT_FIELD_CONFIG && config == NULL) {
            r.at++;
            continue;
        }
        nested = nested || f->kind == CT_FIELD_DICT || f->kind == CT_FIELD_CONFIG;
        PyObject *key = pyct_name_text(n, f->key);
        PyObject *item = key == NULL ? NULL : read_field(&r);
        if (item == NULL || PyDict_SetItem(out, key, item) < 0) {
            Py_CLEAR(out);
        }
        Py_XDECREF(item);
    }
    if (out != NULL && flat && nested) {
        Py_SETREF(out, flatten(out));
    }
    return out;
}
