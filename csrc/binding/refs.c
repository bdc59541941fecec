/* refs.c: see refs.h.
 *
 * The engine may drop, print or send a ref while it works without the GIL, so each
 * function here takes it first (and lets go of the guard). */
#include "refs.h"

#include "base/mem.h"
#include "errors.h"
#include "guard.h"

typedef struct pyct_ref {
    ct_ref ref;        /* first */
    pyct_state *state; /* may be gone when the object is dropped last */
    pyct_guard *guard; /* counted */
    PyObject *object;  /* strong */
    PyObject *pickle;  /* bytes, made at the first use; the same for every trial */
} pyct_ref;

static void
ref_release(ct_ref *ref)
{
    pyct_ref *r = (pyct_ref *)ref;
    pyct_entry entry = pyct_guard_enter(r->guard);

    Py_DECREF(r->object);
    Py_XDECREF(r->pickle);
    pyct_guard_leave(r->guard, entry);
    pyct_guard_release(r->guard);
    ct_free(r);
}

static ct_status
append(PyObject *made, ct_buf *out, ct_err *err)
{
    if (made == NULL) {
        return pyct_foreign(err);
    }
    ct_status st;
    if (PyUnicode_Check(made)) {
        Py_ssize_t len;
        const char *text = PyUnicode_AsUTF8AndSize(made, &len);
        st = text == NULL ? pyct_foreign(err) : ct_buf_put(out, text, (size_t)len, err);
    } else {
        st = ct_buf_put(out, PyBytes_AS_STRING(made), (size_t)PyBytes_GET_SIZE(made),
                        err);
    }
    return st;
}

static ct_status
ref_json(const ct_ref *ref, ct_buf *out, ct_err *err)
{
    const pyct_ref *r = (const pyct_ref *)ref;
    pyct_entry entry = pyct_guard_enter(r->guard);
    PyObject *call = pyct_lazy(&r->state->json_text, "ctune._encode", "json_text");
    PyObject *text = call == NULL ? NULL : PyObject_CallOneArg(call, r->object);
    ct_status st = append(text, out, err);

    Py_XDECREF(text);
    pyct_guard_leave(r->guard, entry);
    return st;
}

static ct_status
ref_wire(ct_ref *ref, ct_buf *out, ct_err *err)
{
    pyct_ref *r = (pyct_ref *)ref;
    pyct_entry entry = pyct_guard_enter(r->guard);

    if (r->pickle == NULL) {
        PyObject *call =
            pyct_lazy(&r->state->dumps_config, "ctune._encode", "dumps_config");
        r->pickle = call == NULL ? NULL : PyObject_CallOneArg(call, r->object);
    }
    ct_status st = append(r->pickle, out, err);
    pyct_guard_leave(r->guard, entry);
    return st;
}

/* The pickle is made for this once, and not held: the object may be large. */
static ct_status
ref_keep(ct_ref *ref, ct_buf *out, ct_err *err)
{
    pyct_ref *r = (pyct_ref *)ref;
    pyct_entry entry = pyct_guard_enter(r->guard);
    PyObject *call = pyct_lazy(&r->state->dumps, "ctune._encode", "dumps");
    PyObject *bytes = call == NULL ? NULL : PyObject_CallOneArg(call, r->object);
    ct_status st = CT_OK;

    if (bytes != NULL) {
        st = append(bytes, out, err);
    } else if (PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear(); /* a lock, a connection: such a config can run here, but no more */
    } else {
        st = pyct_foreign(err);
    }
    Py_XDECREF(bytes);
    pyct_guard_leave(r->guard, entry);
    return st;
}

static bool
ref_equal(const ct_ref *a, const ct_ref *b)
{
    const pyct_ref *x = (const pyct_ref *)a;
    const pyct_ref *y = (const pyct_ref *)b;
    if (x->object == y->object) {
        return true;
    }
    pyct_entry entry = pyct_guard_enter(x->guard);
    int same = PyObject_RichCompareBool(x->object, y->object, Py_EQ);

    if (same < 0) { /* arrays and the like do not compare to a bool: not equal */
        PyErr_Clear();
        same = 0;
    }
    pyct_guard_leave(x->guard, entry);
    return same == 1;
}

static const ct_ref_ops ref_ops = {ref_release, ref_json, ref_wire, ref_equal,
                                   ref_keep};

ct_ref *
pyct_ref_new(pyct_state *state, PyObject *object)
{
    pyct_ref *r = ct_alloc(sizeof *r);

    if (r == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    r->ref.ops = &ref_ops;
    r->ref.count = 1;
    r->state = state;
    r->guard = pyct_guard_retain(state->guard);
    r->object = Py_NewRef(object);
    r->pickle = NULL;
    return &r->ref;
}

PyObject *
pyct_ref_object(const ct_ref *ref)
{
    return ((const pyct_ref *)ref)->object;
}

bool
pyct_ref_check(const ct_ref *ref)
{
    return ref->ops == &ref_ops;
}

ct_status
pyct_ref_read(void *ctx, const uint8_t *data, size_t len, ct_value *out, ct_err *err)
{
    pyct_state *state = ctx;
    pyct_entry entry = pyct_enter(state);
    PyObject *loads = pyct_lazy(&state->loads, "ctune._encode", "loads");
    PyObject *object = loads == NULL
                           ? NULL
                           : PyObject_CallFunction(loads, "y#", data, (Py_ssize_t)len);
    ct_ref *ref = object == NULL ? NULL : pyct_ref_new(state, object);
    ct_status st = CT_OK;

    Py_XDECREF(object);
    if (ref == NULL) {
        st = pyct_foreign(err);
    } else {
        *out = ct_of_ref(ref);
    }
    pyct_leave(state, entry);
    return st;
}
