/* distribute.c: _ctune.distribute_evenly and distribute_to_best: bundles as dicts in, the
 * new bundles of a trial out. Only CPU and GPU are shared out; whatever else a bundle asks
 * for stays in it. */
#include "errors.h"
#include "types.h"

#include "sched/distribute.h"

#include "base/mem.h"

enum {
    UNIT,
    CAP,
    LIMIT,
    ADD_BUNDLES,
    TOTAL,
    RESERVED,
    BASE,
    OWN,
    HOLDERS,
    SCORES,
    SELF,
    EVEN_ARGS = SCORES,
    BEST_ARGS = SELF + 1
};

/* Arguments in the engine's form. */
typedef struct request {
    ct_distribution d;
    ct_amounts *base;
    ct_amounts *own;
    ct_holder *holders; /* each with bundles of its own */
} request;

static void
request_deinit(request *r)
{
    for (size_t i = 0; i < r->d.holder_count; i++) {
        ct_free((void *)(uintptr_t)r->holders[i].bundles);
    }
    ct_free(r->holders);
    ct_free(r->base);
    ct_free(r->own);
}

static int
read_amount(PyObject *bundle, PyObject *name, double *out)
{
    *out = 0.0;
    if (!PyDict_Check(bundle)) {
        PyErr_Format(PyExc_TypeError, "bundles: each must be a dict, got %R", bundle);
        return -1;
    }
    PyObject *value = PyDict_GetItemWithError(bundle, name);
    if (value == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    *out = PyFloat_AsDouble(value);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int
read_bundle(const pyct_state *state, PyObject *bundle, ct_amounts *out)
{
    return read_amount(bundle, state->str.CPU, &out->cpu) < 0 ||
                   read_amount(bundle, state->str.GPU, &out->gpu) < 0
               ? -1
               : 0;
}

static int
check_list(PyObject *list, const char *name, bool may_be_empty)
{
    if (PyList_Check(list) && (may_be_empty || PyList_GET_SIZE(list) > 0)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s must be a list%s, got %R", name,
                 may_be_empty ? "" : " with at least one bundle", list);
    return -1;
}

static void *
new_array(Py_ssize_t count, size_t size)
{
    void *made = ct_calloc((size_t)count + 1, size);
    if (made == NULL) {
        (void)PyErr_NoMemory();
    }
    return made;
}

static int
read_bundles(const pyct_state *state, PyObject *list, const char *name,
             ct_amounts **bundles, size_t *count)
{
    if (check_list(list, name, false) < 0) {
        return -1;
    }
    Py_ssize_t n = PyList_GET_SIZE(list);
    ct_amounts *made = new_array(n, sizeof *made);
    if (made == NULL) {
        return -1;
    }
    *bundles = made;
    *count = (size_t)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (read_bundle(state, PyList_GET_ITEM(list, i), &made[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
read_holders(const pyct_state *state, PyObject *list, PyObject *scores, request *r)
{
    if (check_list(list, "holders", true) < 0 ||
        (scores != NULL && check_list(scores, "scores", true) < 0)) {
        return -1;
    }
    Py_ssize_t n = PyList_GET_SIZE(list);
    if (scores != NULL && PyList_GET_SIZE(scores) != n) {
        PyErr_Format(PyExc_ValueError, "scores must be as many as holders, got %zd",
                     PyList_GET_SIZE(scores));
        return -1;
    }
    r->holders = new_array(n, sizeof *r->holders);
    if (r->holders == NULL) {
        return -1;
    }
    r->d.holders = r->holders;
    for (Py_ssize_t i = 0; i < n; i++) {
        ct_holder *h = &r->holders[i];
        ct_amounts *bundles = NULL;
        int st = read_bundles(state, PyList_GET_ITEM(list, i), "holders", &bundles,
                              &h->count);
        h->bundles = bundles;
        r->d.holder_count++;
        if (st == 0 && scores != NULL) {
            h->score = PyFloat_AsDouble(PyList_GET_ITEM(scores, i));
            st = PyErr_Occurred() ? -1 : 0;
        }
        if (st < 0) {
            return -1;
        }
    }
    return 0;
}

/* 0, or -1 with an exception; to be deinited in both cases. */
static int
read_request(const pyct_state *state, PyObject *const *args, bool scored, request *r)
{
    int overflow;
    int add = PyObject_IsTrue(args[ADD_BUNDLES]);
    r->d.limit = PyLong_AsLongLongAndOverflow(args[LIMIT], &overflow);
    if (overflow != 0) {
        r->d.limit = overflow > 0 ? INT64_MAX : -1;
    }
    if (add < 0 || PyErr_Occurred()) {
        return -1;
    }
    r->d.add_bundles = add == 1;
    if (read_bundle(state, args[UNIT], &r->d.unit) < 0 ||
        read_bundle(state, args[CAP], &r->d.cap) < 0 ||
        read_bundle(state, args[TOTAL], &r->d.total) < 0 ||
        read_bundle(state, args[RESERVED], &r->d.reserved) < 0 ||
        read_bundles(state, args[BASE], "base", &r->base, &r->d.base_count) < 0 ||
        read_bundles(state, args[OWN], "own", &r->own, &r->d.own_count) < 0 ||
        read_holders(state, args[HOLDERS], scored ? args[SCORES] : NULL, r) < 0) {
        return -1;
    }
    r->d.base = r->base;
    r->d.own = r->own;
    return 0;
}

/* ---- the answer ---- */

static int
append_copy(PyObject *list, PyObject *bundle)
{
    PyObject *copy = PyDict_Copy(bundle);
    int st = copy == NULL ? -1 : PyList_Append(list, copy);
    Py_XDECREF(copy);
    return st;
}

static int
set_amount(PyObject *bundle, PyObject *name, double amount)
{
    PyObject *value = PyFloat_FromDouble(amount);
    int st = value == NULL ? -1 : PyDict_SetItem(bundle, name, value);
    Py_XDECREF(value);
    return st;
}

/* The base's bundles, then those of its own that the trial keeps, then new ones. */
static int
append_all(const request *r, const ct_share *s, PyObject *const *args, PyObject *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->d.base_count; i++) {
        if (append_copy(list, PyList_GET_ITEM(args[BASE], (Py_ssize_t)i)) < 0) {
            return -1;
        }
    }
    for (size_t i = r->d.base_count; i < r->d.own_count && kept < s->kept; i++) {
        if (r->own[i].cpu == 0.0 && r->own[i].gpu == 0.0) {
            continue;
        }
        kept++;
        if (append_copy(list, PyList_GET_ITEM(args[OWN], (Py_ssize_t)i)) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < s->units; i++) {
        if (append_copy(list, args[UNIT]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
append_single(const pyct_state *state, const ct_share *s, PyObject *base,
              PyObject *list)
{
    PyObject *bundle = PyDict_Copy(base);
    int st = bundle == NULL || set_amount(bundle, state->str.CPU, s->single.cpu) < 0 ||
                     set_amount(bundle, state->str.GPU, s->single.gpu) < 0
                 ? -1
                 : PyList_Append(list, bundle);
    Py_XDECREF(bundle);
    return st;
}

static PyObject *
answer(const pyct_state *state, const request *r, const ct_share *s,
       PyObject *const *args)
{
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    int st = r->d.add_bundles
                 ? append_all(r, s, args, list)
                 : append_single(state, s, PyList_GET_ITEM(args[BASE], 0), list);
    if (st < 0) {
        Py_CLEAR(list);
    }
    return list;
}

static PyObject *
distribute(PyObject *module, PyObject *const *args, bool to_best)
{
    pyct_state *state = pyct_state_of_module(module);
    request r = {.d = {.holder_count = 0}};
    ct_share share = {0, 0, {0.0, 0.0}};
    ct_err err = CT_ERR_INIT;
    PyObject *out = NULL;
    Py_ssize_t self = to_best ? PyNumber_AsSsize_t(args[SELF], NULL) : 0;

    if (!PyErr_Occurred() && read_request(state, args, to_best, &r) == 0) {
        ct_status st = to_best ? ct_distribute_to_best(
                                     &r.d, self < 0 ? r.d.holder_count : (size_t)self,
                                     &share, &err)
                               : ct_distribute_evenly(&r.d, &share, &err);
        out = st == CT_OK ? answer(state, &r, &share, args) : pyct_raise(state, &err);
    }
    request_deinit(&r);
    return out;
}

static int
wants(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, got %zd", name, wanted,
                 given);
    return -1;
}

static PyObject *
distribute_evenly(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    return wants("distribute_evenly", n, EVEN_ARGS) < 0
               ? NULL
               : distribute(module, args, false);
}

static PyObject *
distribute_to_best(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    return wants("distribute_to_best", n, BEST_ARGS) < 0
               ? NULL
               : distribute(module, args, true);
}

static PyMethodDef functions[] = {
    {"distribute_evenly", PYCT_METHOD(distribute_evenly), METH_FASTCALL,
     "distribute_evenly($module, unit, cap, limit, add_bundles, total, reserved, base, "
     "own, holders, /)\n--\n\n"
     "The bundles that a trial should hold when all get equal shares."},
    {"distribute_to_best", PYCT_METHOD(distribute_to_best), METH_FASTCALL,
     "distribute_to_best($module, unit, cap, limit, add_bundles, total, reserved, "
     "base, own, holders, scores, index, /)\n--\n\n"
     "The same when the holder with the smallest score gets what is free; index: of "
     "the trial among the holders, or -1."},
    {NULL, NULL, 0, NULL},
};

int
pyct_distribute_add(PyObject *module, pyct_state *state)
{
    (void)state;
    return PyModule_AddFunctions(module, functions);
}
