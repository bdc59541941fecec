/* explore.c: see explore.h. */
#include "explore.h"

#include "errors.h"

#include "space/tag.h"

static PyObject *
random_module(pyct_state *state)
{
    if (state->random == NULL) {
        state->random = PyImport_ImportModule("random");
    }
    return state->random;
}

/* Its functions are looked up each time: users may replace them. */
int
pyct_random(pyct_state *state, double *out)
{
    PyObject *module = random_module(state);
    PyObject *v =
        module != NULL ? PyObject_CallMethodNoArgs(module, state->str.random) : NULL;
    *out = v != NULL ? PyFloat_AsDouble(v) : -1.0;
    Py_XDECREF(v);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

int
pyct_random_below(pyct_state *state, Py_ssize_t n, Py_ssize_t *out)
{
    PyObject *module = random_module(state);
    PyObject *limit = module != NULL ? PyLong_FromSsize_t(n) : NULL;
    if (limit != NULL && n < 1) {
        Py_CLEAR(limit);
        PyErr_SetString(PyExc_IndexError, "cannot choose from nothing");
    }
    PyObject *v = limit != NULL
                      ? PyObject_CallMethodOneArg(module, state->str.randrange, limit)
                      : NULL;
    *out = v != NULL ? PyLong_AsSsize_t(v) : -1;
    if (*out >= n) {
        PyErr_Format(PyExc_ValueError, "random.randrange(%zd) gave %zd", n, *out);
        *out = -1;
    }
    Py_XDECREF(v);
    Py_XDECREF(limit);
    return *out < 0 ? -1 : 0;
}

static PyObject *
random_choice(pyct_state *state, PyObject *options)
{
    Py_ssize_t n = PySequence_Size(options);
    Py_ssize_t at;
    return n < 0 || pyct_random_below(state, n, &at) < 0
               ? NULL
               : PySequence_GetItem(options, at);
}

/* ---- copies ---- */

static PyObject *
copy_dict(pyct_state *state, PyObject *dict)
{
    PyObject *out = PyDict_New();
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;
    while (out != NULL && PyDict_Next(dict, &at, &key, &value)) {
        PyObject *copy = pyct_copy_deep(state, value);
        if (copy == NULL || PyDict_SetItem(out, key, copy) < 0) {
            Py_CLEAR(out);
        }
        Py_XDECREF(copy);
    }
    return out;
}

static PyObject *
copy_list(pyct_state *state, PyObject *list)
{
    PyObject *out = PyList_New(0);
    for (Py_ssize_t i = 0; out != NULL && i < PyList_GET_SIZE(list); i++) {
        PyObject *copy = pyct_copy_deep(state, PyList_GET_ITEM(list, i));
        if (copy == NULL || PyList_Append(out, copy) < 0) {
            Py_CLEAR(out);
        }
        Py_XDECREF(copy);
    }
    return out;
}

PyObject *
pyct_copy_deep(pyct_state *state, PyObject *value)
{
    if (value == Py_None || PyFloat_CheckExact(value) || PyLong_CheckExact(value) ||
        PyUnicode_CheckExact(value) || PyBool_Check(value)) {
        return Py_NewRef(value);
    }
    if (PyDict_CheckExact(value) || PyList_CheckExact(value)) {
        if (Py_EnterRecursiveCall(" while copying a config") != 0) {
            return NULL;
        }
        PyObject *out = PyDict_CheckExact(value) ? copy_dict(state, value)
                                                 : copy_list(state, value);
        Py_LeaveRecursiveCall();
        return out;
    }
    PyObject *deepcopy = pyct_lazy(&state->deepcopy, "copy", "deepcopy");
    return deepcopy != NULL ? PyObject_CallOneArg(deepcopy, value) : NULL;
}

/* ---- one hyperparameter ---- */

/* What a domain or a function gives. */
static PyObject *
sample(pyct_state *state, PyObject *from)
{
    return PyObject_TypeCheck(from, state->domain_type)
               ? PyObject_CallMethodOneArg(from, state->str.sample, Py_None)
               : PyObject_CallNoArgs(from);
}

static bool
is_source(pyct_state *state, PyObject *o)
{
    return PyObject_TypeCheck(o, state->domain_type) || PyCallable_Check(o);
}

/* 1 with probability p. */
static int
resamples(pyct_state *state, double p)
{
    double u;
    return pyct_random(state, &u) < 0 ? -1 : u < p;
}

/* Another value of a list: any, or a neighbour. */
static PyObject *
move_in_list(pyct_state *state, PyObject *list, PyObject *old, double p,
             PyObject **operation)
{
    int again = resamples(state, p);
    if (again == 0) {
        again = PySequence_Contains(list, old);
        again = again < 0 ? -1 : !again;
    }
    if (again != 0) {
        *operation = PyUnicode_FromString("resample");
        return again < 0 ? NULL : random_choice(state, list);
    }
    Py_ssize_t way;
    Py_ssize_t at =
        pyct_random_below(state, 2, &way) < 0 ? -1 : PySequence_Index(list, old);
    Py_ssize_t n = PySequence_Size(list);
    if (at < 0 || n < 0) {
        return NULL;
    }
    Py_ssize_t to = way == 0 ? at - 1 : at + 1;
    to = to < 0 ? 0 : to > n - 1 ? n - 1 : to;
    *operation = PyUnicode_FromFormat("shift %s%s", way == 0 ? "left" : "right",
                                      to == at ? " (noop)" : "");
    return PySequence_GetItem(list, to);
}

/* A value drawn anew, or scaled by one of the factors; an int stays one. */
static PyObject *
move_number(pyct_state *state, PyObject *from, PyObject *old, double p,
            PyObject *factors, PyObject **operation)
{
    PyObject *value = NULL;
    int again = resamples(state, p);
    if (again > 0) {
        *operation = PyUnicode_FromString("resample");
        value = sample(state, from);
    } else if (again == 0) {
        PyObject *factor = random_choice(state, factors);
        if (factor != NULL) {
            *operation = PyUnicode_FromFormat("* %S", factor);
            value = PyNumber_Multiply(old, factor);
            Py_DECREF(factor);
        }
    }
    if (value != NULL && PyLong_Check(old)) {
        Py_SETREF(value, PyNumber_Long(value));
    }
    return value;
}

static PyObject *explore(pyct_state *state, PyObject *config, PyObject *mutations,
                         double p, PyObject *factors);

/* A new reference to config[key]; KeyError says what to do. */
static PyObject *
config_item(PyObject *config, PyObject *key)
{
    PyObject *old = PyMapping_Check(config) ? PyObject_GetItem(config, key) : NULL;
    if (old == NULL && (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_KeyError))) {
        PyErr_Format(PyExc_KeyError,
                     "hyperparam_mutations has %R, which the config %R lacks", key,
                     config);
    }
    return old;
}

static int
explore_key(pyct_state *state, PyObject *config, PyObject *key, PyObject *from,
            double p, PyObject *factors, PyObject *out, PyObject *operations)
{
    PyObject *old = config_item(config, key);
    PyObject *value = NULL;
    PyObject *operation = NULL;
    if (old == NULL) {
        return -1;
    }
    if (PyDict_Check(from)) {
        PyObject *pair = explore(state, old, from, p, factors);
        if (pair != NULL) {
            value = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
            operation = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
            Py_DECREF(pair);
        }
    } else if (PyList_Check(from) || PyTuple_Check(from)) {
        value = move_in_list(state, from, old, p, &operation);
    } else if (is_source(state, from)) {
        value = move_number(state, from, old, p, factors, &operation);
    } else {
        PyErr_Format(PyExc_ValueError,
                     "hyperparam_mutations[%R] must be a list, tuple, dict, domain or "
                     "callable, got %R",
                     key, from);
    }
    int st = value != NULL && operation != NULL &&
                     PyDict_SetItem(out, key, value) == 0 &&
                     PyDict_SetItem(operations, key, operation) == 0
                 ? 0
                 : -1;
    Py_XDECREF(operation);
    Py_XDECREF(value);
    Py_DECREF(old);
    return st;
}

static PyObject *
explore(pyct_state *state, PyObject *config, PyObject *mutations, double p,
        PyObject *factors)
{
    PyObject *out = pyct_copy_deep(state, config);
    PyObject *operations = PyDict_New();
    PyObject *pair = NULL;
    PyObject *key;
    PyObject *from;
    Py_ssize_t at = 0;
    int st = out != NULL && operations != NULL ? 0 : -1;
    if (st == 0 && !PyDict_Check(out)) {
        PyErr_Format(PyExc_TypeError,
                     "hyperparam_mutations has a dict where the config has %R", config);
        st = -1;
    }
    while (st == 0 && PyDict_Next(mutations, &at, &key, &from)) {
        st = explore_key(state, config, key, from, p, factors, out, operations);
    }
    if (st == 0) {
        pair = PyTuple_Pack(2, out, operations);
    }
    Py_XDECREF(operations);
    Py_XDECREF(out);
    return pair;
}

PyObject *
pyct_explore(pyct_state *state, PyObject *config, PyObject *mutations,
             double resample_probability, PyObject *factors, PyObject *custom)
{
    PyObject *pair = explore(state, config, mutations, resample_probability, factors);
    if (pair == NULL || custom == Py_None) {
        return pair;
    }
    PyObject *changed = PyObject_CallOneArg(custom, PyTuple_GET_ITEM(pair, 0));
    PyObject *out = NULL;
    if (changed == Py_None) {
        PyErr_SetString(
            PyExc_AssertionError,
            "custom_explore_fn returned None; it must return the new config");
    } else if (changed != NULL) {
        out = PyTuple_Pack(2, changed, PyTuple_GET_ITEM(pair, 1));
    }
    Py_XDECREF(changed);
    Py_DECREF(pair);
    return out;
}

/* ---- keys that a config lacks ---- */

static PyObject *
first_value(pyct_state *state, PyObject *from)
{
    if (is_source(state, from)) {
        return sample(state, from);
    }
    if (PyDict_Check(from)) {
        PyObject *out = PyDict_New();
        if (out != NULL && pyct_explore_fill(state, out, from, NULL) < 0) {
            Py_CLEAR(out);
        }
        return out;
    }
    return random_choice(state, from);
}

int
pyct_explore_fill(pyct_state *state, PyObject *config, PyObject *mutations,
                  PyObject *filled)
{
    PyObject *key;
    PyObject *from;
    Py_ssize_t at = 0;
    int any = 0;
    while (PyDict_Next(mutations, &at, &key, &from)) {
        int has = PySequence_Contains(config, key);
        if (has != 0) {
            if (has < 0) {
                return -1;
            }
            continue;
        }
        PyObject *value = first_value(state, from);
        int st = value != NULL ? PyObject_SetItem(config, key, value) : -1;
        if (st == 0 && filled != NULL) {
            st = PyObject_SetItem(filled, key, value);
        }
        Py_XDECREF(value);
        if (st < 0) {
            return -1;
        }
        any = 1;
    }
    return any;
}

/* ---- experiment tags ---- */

/* A key or a value as tags show it. */
static int
put_shown(pyct_state *state, ct_buf *out, PyObject *value)
{
    ct_err err = CT_ERR_INIT;
    char number[320];
    ct_status st;
    if (PyFloat_Check(value)) {
        size_t len = ct_format_fixed4(PyFloat_AS_DOUBLE(value), number);
        st = ct_buf_put(out, number, len, &err);
    } else {
        PyObject *text = PyObject_Str(value);
        Py_ssize_t len = 0;
        const char *utf8 = text != NULL ? PyUnicode_AsUTF8AndSize(text, &len) : NULL;
        if (utf8 == NULL) {
            Py_XDECREF(text);
            return -1;
        }
        st = ct_tag_clean(out, utf8, (size_t)len, &err);
        Py_DECREF(text);
    }
    if (st != CT_OK) {
        (void)pyct_raise(state, &err);
        return -1;
    }
    return 0;
}

static int
put_text(pyct_state *state, ct_buf *out, const char *text)
{
    ct_err err = CT_ERR_INIT;
    if (ct_buf_puts(out, text, &err) != CT_OK) {
        (void)pyct_raise(state, &err);
        return -1;
    }
    return 0;
}

static int
put_changes(pyct_state *state, ct_buf *out, PyObject *config, PyObject *keys)
{
    PyObject *sorted = PySequence_List(keys);
    int st = sorted != NULL ? PyList_Sort(sorted) : -1;
    for (Py_ssize_t i = 0; st == 0 && i < PyList_GET_SIZE(sorted); i++) {
        PyObject *key = PyList_GET_ITEM(sorted, i);
        PyObject *value = PyObject_GetItem(config, key);
        st = value == NULL || (i > 0 && put_text(state, out, ",") < 0) ||
                     put_shown(state, out, key) < 0 || put_text(state, out, "=") < 0 ||
                     put_shown(state, out, value) < 0
                 ? -1
                 : 0;
        Py_XDECREF(value);
    }
    Py_XDECREF(sorted);
    return st;
}

PyObject *
pyct_perturbed_tag(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_state *state = pyct_state_of_module(module);
    ct_buf text = CT_BUF_INIT;
    PyObject *changes = NULL;
    if (nargs != 3) {
        return PyErr_Format(PyExc_TypeError, "perturbed_tag takes 3 arguments, got %zd",
                            nargs);
    }
    if (put_changes(state, &text, args[1], args[2]) == 0) {
        changes =
            PyUnicode_FromStringAndSize((const char *)text.data, (Py_ssize_t)text.len);
    }
    ct_buf_deinit(&text);
    PyObject *out = changes != NULL
                        ? PyUnicode_FromFormat("%S@perturbed[%U]", args[0], changes)
                        : NULL;
    Py_XDECREF(changes);
    return out;
}
