/* limiter.c: _ctune.ConcurrencyLimiter, the engine's limiter around any Searcher object.
 *
 * It is a Searcher itself, works alone and within a run, and decides nothing: who may ask
 * and which completions are forwarded is the engine's answer. Completions that a batch
 * holds back wait in `held` with their results. */
#include "errors.h"
#include "types.h"

#include "search/limiter.h"

#include <string.h>

typedef struct pyct_limiter {
    PyObject_HEAD
    PyObject *searcher;  /* what is limited; NULL before __init__ */
    PyObject *held;      /* dict trial id -> (result, error) */
    ct_limiter *limiter; /* likewise NULL before __init__ */
    bool limits;         /* the searcher does not look after its concurrency itself */
} pyct_limiter;

static pyct_limiter *
limiter_of(PyObject *op)
{
    pyct_limiter *self = (pyct_limiter *)op;
    if (self->limiter == NULL) {
        PyErr_Format(
            PyExc_RuntimeError,
            "%s.__init__() has not run; a subclass must call super().__init__()",
            Py_TYPE(op)->tp_name);
        return NULL;
    }
    return self;
}

/* The text of a trial id, borrowed from it. NULL with an exception set. */
static const char *
id_text(PyObject *id)
{
    Py_ssize_t len;
    if (!PyUnicode_Check(id)) {
        PyErr_Format(PyExc_TypeError, "trial_id must be a str, got %s",
                     Py_TYPE(id)->tp_name);
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(id, &len);
    if (text != NULL && strlen(text) != (size_t)len) {
        PyErr_SetString(PyExc_ValueError, "trial_id must not hold a NUL character");
        return NULL;
    }
    return text;
}

/* Arguments by position or name, borrowed; those not given keep their value in out. */
static int
take_args(const char *method, PyObject *const *args, Py_ssize_t given,
          PyObject *kwnames, const char *const *names, Py_ssize_t count,
          Py_ssize_t required, PyObject **out)
{
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    bool wrong = given > count;
    for (Py_ssize_t i = 0; !wrong && i < given; i++) {
        out[i] = args[i];
    }
    for (Py_ssize_t i = 0; !wrong && i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        Py_ssize_t k = given;
        while (k < count && PyUnicode_CompareWithASCIIString(name, names[k]) != 0) {
            k++;
        }
        wrong = k == count;
        if (!wrong) {
            out[k] = args[given + i];
        }
    }
    for (Py_ssize_t k = 0; !wrong && k < required; k++) {
        wrong = out[k] == NULL;
    }
    if (wrong) {
        PyErr_Format(PyExc_TypeError,
                     "%s() was called with wrong arguments; see help()", method);
    }
    return wrong ? -1 : 0;
}

/* An int above 0 that is not a bool; AssertionError as documented. */
static int
take_max(PyObject *value, int64_t *out)
{
    int overflow = 0;
    long long n = 0;
    if (PyLong_CheckExact(value)) {
        n = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow > 0) {
            n = INT64_MAX;
        }
    }
    if (n <= 0) {
        PyErr_Format(PyExc_AssertionError,
                     "max_concurrent must be an int greater than 0, got %R", value);
        return -1;
    }
    *out = n;
    return 0;
}

/* ---- life ---- */

static int
limiter_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_limiter *self = (pyct_limiter *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->searcher);
    Py_VISIT(self->held);
    return 0;
}

static int
limiter_clear(PyObject *op)
{
    pyct_limiter *self = (pyct_limiter *)op;
    Py_CLEAR(self->searcher);
    Py_CLEAR(self->held);
    return 0;
}

static void
limiter_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)limiter_clear(op);
    ct_limiter_free(((pyct_limiter *)op)->limiter);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Asks whether the searcher looks after its concurrency itself. */
static int
hand_over(pyct_state *state, pyct_limiter *self)
{
    PyObject *max = PyLong_FromLongLong(ct_limiter_max(self->limiter));
    PyObject *answer =
        max == NULL ? NULL
                    : PyObject_CallMethodOneArg(self->searcher,
                                                state->str.set_max_concurrency, max);
    int handled = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(max);
    Py_XDECREF(answer);
    if (handled >= 0) {
        self->limits = !handled;
    }
    return handled < 0 ? -1 : 0;
}

/* Replaces what the object holds; takes *made. */
static int
limiter_set(pyct_limiter *self, PyObject *searcher, ct_limiter *made)
{
    PyObject *held = PyDict_New();
    if (held == NULL) {
        ct_limiter_free(made);
        return -1;
    }
    ct_limiter_free(self->limiter);
    self->limiter = made;
    Py_INCREF(searcher);
    Py_XSETREF(self->searcher, searcher);
    Py_XSETREF(self->held, held);
    return 0;
}

static int
limiter_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"searcher", "max_concurrent", "batch", NULL};
    pyct_state *state = pyct_state_of(op);
    pyct_limiter *self = (pyct_limiter *)op;
    PyObject *searcher, *max;
    int batch = 0;
    int64_t n;
    ct_limiter *made = NULL;
    ct_err err = CT_ERR_INIT;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|p:ConcurrencyLimiter", names,
                                     &searcher, &max, &batch) ||
        take_max(max, &n) < 0) {
        return -1;
    }
    if (!PyObject_TypeCheck(searcher, state->searcher_type)) {
        PyErr_Format(PyExc_RuntimeError,
                     "searcher must be a ctune.search.Searcher, got %s; other search "
                     "algorithms take max_concurrent themselves",
                     Py_TYPE(searcher)->tp_name);
        return -1;
    }
    if (ct_limiter_new(&made, n, batch != 0, &err) != CT_OK) {
        pyct_raise(state, &err);
        return -1;
    }
    return limiter_set(self, searcher, made) < 0 ? -1 : hand_over(state, self);
}

/* ---- suggesting and completing ---- */

static PyObject *
forward_suggest(pyct_state *state, PyObject *searcher, PyObject *id)
{
    Py_INCREF(searcher); /* the call may replace the limiter's searcher */
    PyObject *answer = PyObject_CallMethodOneArg(searcher, state->str.suggest, id);
    Py_DECREF(searcher);
    return answer;
}

/* Whether it is a configuration: neither None nor "FINISHED". */
static bool
is_config(pyct_state *state, PyObject *answer)
{
    if (answer == Py_None || answer == state->str.FINISHED) {
        return false;
    }
    return !(PyUnicode_Check(answer) &&
             PyUnicode_Compare(answer, state->str.FINISHED) == 0);
}

static PyObject *
limiter_suggest(PyObject *op, PyObject *const *args, Py_ssize_t given,
                PyObject *kwnames)
{
    static const char *const names[] = {"trial_id"};
    pyct_state *state = pyct_state_of(op);
    pyct_limiter *self = limiter_of(op);
    PyObject *id = NULL;
    ct_err err = CT_ERR_INIT;
    if (self == NULL ||
        take_args("suggest", args, given, kwnames, names, 1, 1, &id) < 0) {
        return NULL;
    }
    if (!self->limits) {
        return forward_suggest(state, self->searcher, id);
    }
    const char *text = id_text(id);
    if (text == NULL) {
        return NULL;
    }
    if (ct_limiter_has(self->limiter, text)) {
        PyErr_Format(PyExc_AssertionError,
                     "trial_id %R is live already; each trial needs an id of its own",
                     id);
        return NULL;
    }
    if (ct_limiter_full(self->limiter)) {
        Py_RETURN_NONE;
    }
    PyObject *answer = forward_suggest(state, self->searcher, id);
    if (answer != NULL && is_config(state, answer) &&
        ct_limiter_enter(self->limiter, text, &err) != CT_OK) {
        Py_DECREF(answer);
        return pyct_raise(state, &err);
    }
    return answer;
}

static int
forward_complete(pyct_state *state, PyObject *searcher, PyObject *id, PyObject *result,
                 PyObject *error)
{
    PyObject *stack[] = {searcher, id, result, error};
    Py_INCREF(searcher);
    PyObject *answer = PyObject_VectorcallMethod(state->str.on_trial_complete, stack, 2,
                                                 state->complete_names);
    Py_DECREF(searcher);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* All live trials are done: their slots are freed, then the searcher hears of them. */
static int
release_batch(pyct_state *state, pyct_limiter *self)
{
    PyObject *empty = PyDict_New();
    if (empty == NULL) {
        return -1;
    }
    PyObject *held = self->held;
    PyObject *id, *pair;
    Py_ssize_t at = 0;
    int result = 0;
    self->held = empty;
    ct_limiter_flush(self->limiter);
    while (result == 0 && PyDict_Next(held, &at, &id, &pair)) { /* ours alone by now */
        result = forward_complete(state, self->searcher, id, PyTuple_GET_ITEM(pair, 0),
                                  PyTuple_GET_ITEM(pair, 1));
    }
    Py_DECREF(held);
    return result;
}

static int
hold(pyct_limiter *self, PyObject *id, PyObject *result, PyObject *error)
{
    PyObject *pair = PyTuple_Pack(2, result, error);
    int st = pair == NULL ? -1 : PyDict_SetItem(self->held, id, pair);
    Py_XDECREF(pair);
    return st;
}

static int
complete(pyct_state *state, pyct_limiter *self, PyObject *id, PyObject *result,
         PyObject *error)
{
    bool known;
    size_t ready;
    ct_err err = CT_ERR_INIT;
    const char *text = id_text(id);
    if (text == NULL) {
        return -1;
    }
    bool batch = ct_limiter_batch(self->limiter);
    if (batch && ct_limiter_has(self->limiter, text) &&
        hold(self, id, result, error) < 0) {
        return -1;
    }
    if (ct_limiter_complete(self->limiter, text, &known, &ready, &err) != CT_OK) {
        pyct_raise(state, &err);
        return -1;
    }
    if (ready == 0) {
        return 0;
    }
    return batch ? release_batch(state, self)
                 : forward_complete(state, self->searcher, id, result, error);
}

static PyObject *
limiter_on_trial_complete(PyObject *op, PyObject *const *args, Py_ssize_t given,
                          PyObject *kwnames)
{
    static const char *const names[] = {"trial_id", "result", "error"};
    pyct_state *state = pyct_state_of(op);
    pyct_limiter *self = limiter_of(op);
    PyObject *a[] = {NULL, Py_None, Py_False};

    if (self == NULL ||
        take_args("on_trial_complete", args, given, kwnames, names, 3, 1, a) < 0) {
        return NULL;
    }
    int st = self->limits ? complete(state, self, a[0], a[1], a[2])
                          : forward_complete(state, self->searcher, a[0], a[1], a[2]);
    return st < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
limiter_on_trial_result(PyObject *op, PyObject *const *args, Py_ssize_t given,
                        PyObject *kwnames)
{
    static const char *const names[] = {"trial_id", "result"};
    pyct_state *state = pyct_state_of(op);
    pyct_limiter *self = limiter_of(op);
    PyObject *a[] = {NULL, NULL};

    if (self == NULL ||
        take_args("on_trial_result", args, given, kwnames, names, 2, 2, a) < 0) {
        return NULL;
    }
    PyObject *stack[] = {Py_NewRef(self->searcher), a[0], a[1]};
    PyObject *answer =
        PyObject_VectorcallMethod(state->str.on_trial_result, stack, 3, NULL);
    Py_DECREF(stack[0]);
    return answer;
}

/* ---- the limit, and the state ---- */

static PyObject *
limiter_set_max_concurrency(PyObject *op, PyObject *const *args, Py_ssize_t given,
                            PyObject *kwnames)
{
    static const char *const names[] = {"max_concurrent"};
    pyct_limiter *self = limiter_of(op);
    PyObject *max = NULL;
    int64_t n;
    if (self == NULL ||
        take_args("set_max_concurrency", args, given, kwnames, names, 1, 1, &max) < 0 ||
        take_max(max, &n) < 0) {
        return NULL;
    }
    ct_limiter_set_max(self->limiter, n);
    Py_RETURN_TRUE;
}

static PyObject *
limiter_hand_over(PyObject *op, PyObject *ignored)
{
    pyct_limiter *self = limiter_of(op);
    (void)ignored;
    if (self == NULL || hand_over(pyct_state_of(op), self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Makes all ids live; those of `held` complete again, in their order. */
static int
refill(pyct_state *state, ct_limiter *l, PyObject *live, PyObject *held)
{
    ct_err err = CT_ERR_INIT;
    PyObject *items = PyObject_GetIter(live);
    PyObject *id, *pair;
    Py_ssize_t at = 0;
    int result = items == NULL ? -1 : 0;
    while (result == 0 && (id = PyIter_Next(items)) != NULL) {
        const char *text = id_text(id);
        if (text == NULL) {
            result = -1;
        } else if (ct_limiter_enter(l, text, &err) != CT_OK) {
            pyct_raise(state, &err);
            result = -1;
        }
        Py_DECREF(id);
    }
    Py_XDECREF(items);
    if (result < 0 || PyErr_Occurred()) {
        return -1;
    }
    while (PyDict_Next(held, &at, &id, &pair)) {
        bool known;
        size_t ready;
        const char *text = id_text(id);
        if (text == NULL) {
            return -1;
        }
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2 ||
            ct_limiter_complete(l, text, &known, &ready, &err) != CT_OK || !known) {
            PyErr_Format(PyExc_ValueError,
                         "cached_results[%R] must be a (result, error) of a live trial",
                         id);
            return -1;
        }
    }
    return 0;
}

static PyObject *
limiter_put_state(PyObject *op, PyObject *args)
{
    pyct_state *state = pyct_state_of(op);
    pyct_limiter *self = (pyct_limiter *)op;
    PyObject *searcher, *max, *live, *held;
    int batch, limits;
    int64_t n;
    ct_limiter *made = NULL;
    ct_err err = CT_ERR_INIT;

    if (!PyArg_ParseTuple(args, "O!OpOO!p:_put_state", state->searcher_type, &searcher,
                          &max, &batch, &live, &PyDict_Type, &held, &limits) ||
        take_max(max, &n) < 0) {
        return NULL;
    }
    if (ct_limiter_new(&made, n, batch != 0, &err) != CT_OK) {
        return pyct_raise(state, &err);
    }
    if (refill(state, made, live, held) < 0) {
        ct_limiter_free(made);
        return NULL;
    }
    if (limiter_set(self, searcher, made) < 0 || PyDict_Update(self->held, held) < 0) {
        return NULL;
    }
    self->limits = limits != 0;
    Py_RETURN_NONE;
}

static PyObject *
get_searcher(PyObject *op, void *closure)
{
    pyct_limiter *self = limiter_of(op);
    (void)closure;
    return self == NULL ? NULL : Py_NewRef(self->searcher);
}

static PyObject *
get_max(PyObject *op, void *closure)
{
    pyct_limiter *self = limiter_of(op);
    (void)closure;
    return self == NULL ? NULL : PyLong_FromLongLong(ct_limiter_max(self->limiter));
}

static int
set_max(PyObject *op, PyObject *value, void *closure)
{
    pyct_limiter *self = limiter_of(op);
    int64_t n;
    (void)closure;
    if (self == NULL || take_max(value == NULL ? Py_None : value, &n) < 0) {
        return -1;
    }
    ct_limiter_set_max(self->limiter, n);
    return 0;
}

static PyObject *
get_batch(PyObject *op, void *closure)
{
    pyct_limiter *self = limiter_of(op);
    (void)closure;
    return self == NULL ? NULL : PyBool_FromLong(ct_limiter_batch(self->limiter));
}

static PyObject *
get_limits(PyObject *op, void *closure)
{
    pyct_limiter *self = limiter_of(op);
    (void)closure;
    return self == NULL ? NULL : PyBool_FromLong(self->limits);
}

static PyObject *
get_live(PyObject *op, void *closure)
{
    pyct_limiter *self = limiter_of(op);
    (void)closure;
    PyObject *live = self == NULL ? NULL : PySet_New(NULL);
    size_t count = live == NULL ? 0 : ct_limiter_live(self->limiter);
    for (size_t i = 0; i < count; i++) {
        PyObject *id = PyUnicode_FromString(ct_limiter_live_at(self->limiter, i));
        int st = id == NULL ? -1 : PySet_Add(live, id);
        Py_XDECREF(id);
        if (st < 0) {
            Py_DECREF(live);
            return NULL;
        }
    }
    return live;
}

static PyObject *
get_unfinished(PyObject *op, void *closure)
{
    pyct_limiter *self = limiter_of(op);
    (void)closure;
    return self == NULL ? NULL
                        : PyLong_FromSize_t(ct_limiter_live(self->limiter) -
                                            ct_limiter_held_count(self->limiter));
}

static PyObject *
get_held(PyObject *op, void *closure)
{
    pyct_limiter *self = limiter_of(op);
    (void)closure;
    return self == NULL ? NULL : PyDict_Copy(self->held);
}

static PyMethodDef limiter_methods[] = {
    {"suggest", PYCT_METHOD(limiter_suggest), METH_FASTCALL | METH_KEYWORDS,
     "suggest($self, trial_id)\n--\n\n"
     "The searcher's suggestion, or None while max_concurrent trials are live."},
    {"on_trial_result", PYCT_METHOD(limiter_on_trial_result),
     METH_FASTCALL | METH_KEYWORDS,
     "on_trial_result($self, trial_id, result)\n--\n\nHand a result to the searcher."},
    {"on_trial_complete", PYCT_METHOD(limiter_on_trial_complete),
     METH_FASTCALL | METH_KEYWORDS,
     "on_trial_complete($self, trial_id, result=None, error=False)\n--\n\n"
     "Free the trial's slot and tell the searcher; with batch, once all live trials are "
     "done. Ids that are not live are ignored."},
    {"set_max_concurrency", PYCT_METHOD(limiter_set_max_concurrency),
     METH_FASTCALL | METH_KEYWORDS,
     "set_max_concurrency($self, max_concurrent)\n--\n\n"
     "Change the limit. Always True: the limiter sees to it."},
    {"_hand_over", limiter_hand_over, METH_NOARGS, NULL},
    {"_put_state", limiter_put_state, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef limiter_getset[] = {
    {"searcher", get_searcher, NULL, "The searcher that is limited.", NULL},
    {"max_concurrent", get_max, set_max, "Trials that may be live at once.", NULL},
    {"batch", get_batch, NULL, "Whether completions wait for each other.", NULL},
    {"live_trials", get_live, NULL, "Ids of live trials, as a new set.", NULL},
    {"cached_results", get_held, NULL,
     "Completions that wait: id -> (result, error), as a new dict.", NULL},
    {"num_unfinished_live_trials", get_unfinished, NULL,
     "Live trials that have not completed.", NULL},
    {"_limit_concurrency", get_limits, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot limiter_slots[] = {
    {Py_tp_init, PYCT_SLOT(limiter_init)},
    {Py_tp_dealloc, PYCT_SLOT(limiter_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(limiter_traverse)},
    {Py_tp_clear, PYCT_SLOT(limiter_clear)},
    {Py_tp_methods, limiter_methods},
    {Py_tp_getset, limiter_getset},
    {Py_tp_doc, "The limiter behind ctune.search.ConcurrencyLimiter."},
    {0, NULL},
};

static PyType_Spec limiter_spec = {
    .name = "ctune._ctune.ConcurrencyLimiter",
    .basicsize = sizeof(pyct_limiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = limiter_slots,
};

int
pyct_limiter_add(PyObject *module, pyct_state *state)
{
    state->complete_names = PyTuple_Pack(2, state->str.result, state->str.error);
    return state->complete_names == NULL
               ? -1
               : pyct_add_type(module, &state->limiter_type, &limiter_spec,
                               state->searcher_type);
}
