/* rng.c: see rng.h.
 *
 * A draw fails only if NumPy's own code raises. next_double has no way to say so: it
 * then gives 0.5 and leaves the exception set, and the caller of the engine finds
 * it. */
#include "rng.h"

#include "np.h"

#include "base/mem.h"
#include "errors.h"

#include <numpy/random/bitgen.h>
#include <numpy/random/distributions.h>

struct pyct_rng {
    ct_rng rng;         /* first */
    ct_answers_rng tap; /* in front of it: what others draw from */
    pyct_state *state;
    PyObject *given;     /* what the user gave */
    PyObject *source;    /* Generator or RandomState; NULL before the first draw */
    PyObject *generator; /* its bit generator, to which the rest belongs */
    PyObject *acquire;   /* of the bit generator's lock */
    PyObject *release;
    bitgen_t *bits;
    bool legacy;
    bool keeps; /* between begin and end */
    bool held;  /* the lock is ours until end */
};

static void
forget_bits(pyct_rng *r)
{
    Py_CLEAR(r->generator);
    Py_CLEAR(r->acquire);
    Py_CLEAR(r->release);
    r->bits = NULL;
}

static int
take_bits(pyct_rng *r, PyObject *generator)
{
    PyObject *capsule = PyObject_GetAttrString(generator, "capsule");
    PyObject *lock = capsule != NULL ? PyObject_GetAttrString(generator, "lock") : NULL;
    int st = -1;

    forget_bits(r);
    if (lock != NULL) {
        r->acquire = PyObject_GetAttrString(lock, "acquire");
        r->release = PyObject_GetAttrString(lock, "release");
        r->bits = PyCapsule_GetPointer(capsule, "BitGenerator");
        st = r->acquire != NULL && r->release != NULL && r->bits != NULL ? 0 : -1;
    }
    Py_XDECREF(lock);
    Py_XDECREF(capsule);
    if (st < 0) {
        forget_bits(r);
        return -1;
    }
    r->generator = Py_NewRef(generator);
    return 0;
}

/* Makes the source from what was given. */
static int
open_source(pyct_rng *r)
{
    if (r->given == Py_None) {
        PyObject *rand =
            pyct_lazy(&r->state->numpy_rand, "numpy.random.mtrand", "_rand");
        if (rand == NULL) {
            return -1;
        }
        r->source = Py_NewRef(rand);
        r->legacy = true;
        return 0;
    }
    PyObject *module = PyImport_ImportModule("numpy.random");
    if (module == NULL) {
        return -1;
    }
    r->source = PyObject_CallMethod(module, "default_rng", "O", r->given);
    Py_DECREF(module);
    return r->source != NULL ? 0 : -1;
}

/* Bits and lock of the source as it is now. */
static int
ready(pyct_rng *r)
{
    if (r->source == NULL && open_source(r) < 0) {
        return -1;
    }
    if (r->bits != NULL && r->given != Py_None) {
        return 0;
    }
    PyObject *generator = PyObject_GetAttrString(
        r->source, r->legacy ? "_bit_generator" : "bit_generator");
    if (generator == NULL) {
        return -1;
    }
    int st = generator == r->generator ? 0 : take_bits(r, generator);
    Py_DECREF(generator);
    return st;
}

static int
lock(pyct_rng *r)
{
    if (r->held) {
        return 0;
    }
    if (ready(r) < 0) {
        return -1;
    }
    PyObject *done = PyObject_CallNoArgs(r->acquire);
    Py_XDECREF(done);
    r->held = done != NULL;
    return r->held ? 0 : -1;
}

static int
let_go(pyct_rng *r)
{
    PyObject *done = PyObject_CallNoArgs(r->release);
    Py_XDECREF(done);
    r->held = false;
    return done != NULL ? 0 : -1;
}

static int
unlock(pyct_rng *r)
{
    return r->keeps ? 0 : let_go(r);
}

static double
rng_double(ct_rng *rng)
{
    pyct_rng *r = (pyct_rng *)rng;
    if (PyErr_Occurred() || lock(r) < 0) {
        return 0.5;
    }
    double v = r->bits->next_double(r->bits->state);
    (void)unlock(r);
    return v;
}

static ct_status
rng_normal(ct_rng *rng, double mean, double sd, double *out, ct_err *err)
{
    pyct_rng *r = (pyct_rng *)rng;
    if (PyErr_Occurred() || ready(r) < 0) {
        return pyct_foreign(err);
    }
    if (r->legacy) {                    /* keeps every second number for itself */
        if (r->held && let_go(r) < 0) { /* it takes the lock */
            return pyct_foreign(err);
        }
        PyObject *v = PyObject_CallMethod(r->source, "normal", "dd", mean, sd);
        *out = v != NULL ? PyFloat_AsDouble(v) : 0.0;
        Py_XDECREF(v);
        return PyErr_Occurred() ? pyct_foreign(err) : CT_OK;
    }
    if (lock(r) < 0) {
        return pyct_foreign(err);
    }
    *out = random_normal(r->bits, mean, sd);
    return unlock(r) < 0 ? pyct_foreign(err) : CT_OK;
}

static ct_status
rng_integers(ct_rng *rng, int64_t low, int64_t high, int64_t *out, ct_err *err)
{
    pyct_rng *r = (pyct_rng *)rng;
    uint64_t offset = (uint64_t)low;
    uint64_t range = (uint64_t)high - offset - 1;
    uint64_t v = offset;

    if (PyErr_Occurred() || lock(r) < 0) {
        return pyct_foreign(err);
    }
    /* The legacy stream rejects by a mask, the newer one by Lemire's product. */
    random_bounded_uint64_fill(r->bits, offset, range, 1, r->legacy, &v);
    *out = v <= INT64_MAX ? (int64_t)v : -(int64_t)(UINT64_MAX - v) - 1;
    return unlock(r) < 0 ? pyct_foreign(err) : CT_OK;
}

/* 1 for a Generator, 2 for a RandomState, 0 for neither; -1 with an exception. */
static int
source_kind(PyObject *given)
{
    static const char *const names[] = {"Generator", "RandomState"};
    PyObject *name = PyUnicode_FromString("numpy.random");
    PyObject *module = name != NULL ? PyImport_GetModule(name) : NULL;
    Py_XDECREF(name);
    if (module == NULL) { /* not imported: then nobody can have made one */
        return PyErr_Occurred() ? -1 : 0;
    }
    int kind = 0;
    for (int i = 0; i < 2 && kind == 0; i++) {
        PyObject *cls = PyObject_GetAttrString(module, names[i]);
        int is = cls != NULL ? PyObject_IsInstance(given, cls) : -1;
        Py_XDECREF(cls);
        kind = is > 0 ? i + 1 : is;
    }
    Py_DECREF(module);
    return kind;
}

int
pyct_rng_new(pyct_state *state, PyObject *random_state, pyct_rng **out)
{
    bool seed = PyLong_Check(random_state) != 0;
    int kind = random_state == Py_None || seed ? 0 : source_kind(random_state);
    if (kind < 0) {
        return -1;
    }
    if (kind == 0 && random_state != Py_None && !seed) {
        PyErr_Format(PyExc_TypeError,
                     "random_state must be None, an int, a numpy.random.Generator or a "
                     "numpy.random.RandomState, got %.100s",
                     Py_TYPE(random_state)->tp_name);
        return -1;
    }
    pyct_rng *r = ct_calloc(1, sizeof *r);
    if (r == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    r->rng = (ct_rng){rng_double, rng_normal, rng_integers};
    ct_answers_rng_init(&r->tap, &r->rng, NULL);
    r->state = state;
    r->given = Py_NewRef(random_state);
    r->source = kind > 0 ? Py_NewRef(random_state) : NULL;
    r->legacy = kind == 2;
    *out = r;
    return 0;
}

void
pyct_rng_free(pyct_rng *r)
{
    if (r == NULL) {
        return;
    }
    forget_bits(r);
    Py_XDECREF(r->source);
    Py_XDECREF(r->given);
    ct_free(r);
}

ct_rng *
pyct_rng_source(pyct_rng *r)
{
    return &r->tap.rng;
}

void
pyct_rng_record(pyct_rng *r, ct_answers *answers)
{
    ct_answers_rng_init(&r->tap, &r->rng, pyct_rng_shared(r) ? answers : NULL);
}

ct_status
pyct_rng_check(pyct_rng *r, ct_err *err)
{
    if (PyErr_Occurred()) {
        return pyct_foreign(err);
    }
    if (r->tap.st != CT_OK && err != NULL) {
        *err = r->tap.err;
    }
    return r->tap.st;
}

void
pyct_rng_begin(pyct_rng *r)
{
    if (r != NULL) {
        r->keeps = true;
    }
}

bool
pyct_rng_end(pyct_rng *r)
{
    if (r == NULL || !r->keeps) {
        return false;
    }
    r->keeps = false;
    if (r->held) { /* also after a failed draw, whose exception is kept */
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        if (let_go(r) == 0 || type != NULL) {
            PyErr_Restore(type, value, trace);
        }
    }
    return true;
}

bool
pyct_rng_shared(const pyct_rng *r)
{
    return !PyLong_Check(r->given);
}

PyObject *
pyct_rng_object(pyct_rng *r)
{
    return r->source != NULL || open_source(r) == 0 ? r->source : NULL;
}

PyObject *
pyct_rng_state(pyct_rng *r)
{
    PyObject *source = pyct_rng_object(r);
    if (source == NULL) {
        return NULL;
    }
    if (r->legacy) { /* it keeps more than its bit generator: half a pair of normals */
        return PyObject_CallMethod(source, "get_state", "O", Py_False);
    }
    PyObject *bits = PyObject_GetAttrString(source, "bit_generator");
    PyObject *now = bits != NULL ? PyObject_GetAttrString(bits, "state") : NULL;
    Py_XDECREF(bits);
    return now;
}

int
pyct_rng_set_state(pyct_rng *r, PyObject *now)
{
    PyObject *source = pyct_rng_object(r);
    if (source == NULL) {
        return -1;
    }
    if (r->legacy) {
        PyObject *done = PyObject_CallMethod(source, "set_state", "O", now);
        Py_XDECREF(done);
        return done != NULL ? 0 : -1;
    }
    PyObject *bits = PyObject_GetAttrString(source, "bit_generator");
    int st = bits != NULL ? PyObject_SetAttrString(bits, "state", now) : -1;
    Py_XDECREF(bits);
    return st;
}

int
pyct_rng_visit(pyct_rng *r, visitproc visit, void *arg)
{
    if (r != NULL) {
        Py_VISIT(r->given);
        Py_VISIT(r->source);
        Py_VISIT(r->generator);
        Py_VISIT(r->acquire);
        Py_VISIT(r->release);
    }
    return 0;
}
