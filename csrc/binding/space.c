/* space.c: configs -> spaces, and Domain, Variants and BasicSearch.
 *
 * A function of a space is a ref to a tuple (domain, path, eager): whatever is sampled
 * by Python code, be it a sample_from, an {"eval": text} or a domain with a sampler of
 * the user's. It is called through ctune.search.variant_generator, which also has the
 * dict that guards entries not resolved yet. */
#include "space.h"

#include "driver.h"
#include "errors.h"
#include "guard.h"
#include "refs.h"
#include "types.h"

#include "base/mem.h"
#include "search/basic.h"
#include "search/chain.h"

#include <string.h>

#define HELPERS "ctune.search.variant_generator"
#define VIEW "ctune.search._view"
#define SAMPLE "ctune.search.sample"

/* As deep as the engine takes a tree. */
#define DEPTH_MAX 200

struct pyct_space_ctx {
    pyct_state *state;
    pyct_names *names;
    pyct_rng *rng;    /* borrowed; NULL: the global stream */
    bool config_only; /* the tree is a config, not a spec with a config in it */
};

/* ---- Domain: the base class by which domains are known ---- */

static int
plain_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
plain_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot domain_slots[] = {
    {Py_tp_traverse, PYCT_SLOT(plain_traverse)},
    {Py_tp_dealloc, PYCT_SLOT(plain_dealloc)},
    {Py_tp_doc, "Base of ctune.search.sample.Domain."},
    {0, NULL},
};

static PyType_Spec domain_spec = {
    .name = "ctune._ctune.Domain",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = domain_slots,
};

/* ---- compiling ---- */

typedef struct label {
    const ct_ref *ref; /* borrowed from the tree */
    PyObject *text;
} label;

typedef struct compiler {
    pyct_state *state;
    pyct_names *names;
    PyObject *path; /* list of keys, indices and option numbers: where the walk is */
    label *items;
    size_t count;
    size_t cap;
    int depth;
} compiler;

static ct_node *compile(compiler *c, PyObject *o, bool option);

/* Borrowed, or NULL with an exception set. */
static PyObject *
helper(PyObject **slot, const char *name)
{
    return pyct_lazy(slot, HELPERS, name);
}

static PyObject *
view_part(PyObject **slot, const char *name)
{
    return pyct_lazy(slot, VIEW, name);
}

/* {"grid_search": …} or {"eval": …}: 1, 2; else 0. -1 with an exception. */
static int
marker(PyObject *o, PyObject **inside)
{
    PyObject *key;
    Py_ssize_t at = 0;
    if (!PyDict_Check(o) || PyDict_GET_SIZE(o) != 1 ||
        !PyDict_Next(o, &at, &key, inside) || !PyUnicode_Check(key)) {
        return 0;
    }
    return PyUnicode_CompareWithASCIIString(key, "grid_search") == 0 ? 1
           : PyUnicode_CompareWithASCIIString(key, "eval") == 0      ? 2
                                                                     : 0;
}

static int
too_deep(void)
{
    PyErr_Format(PyExc_ValueError,
                 "config: is nested more than %d levels deep; does it contain itself?",
                 DEPTH_MAX);
    return -1;
}

/* Whether anything in o is a variable. -1 with an exception. */
static int
varies(pyct_state *state, PyObject *o, int depth)
{
    PyObject *inside;
    if (depth > DEPTH_MAX) {
        return too_deep();
    }
    if (PyObject_TypeCheck(o, state->domain_type)) {
        return 1;
    }
    if (PyDict_Check(o)) {
        int found = marker(o, &inside) != 0;
        PyObject *key;
        PyObject *item;
        Py_ssize_t at = 0;
        while (found == 0 && PyDict_Next(o, &at, &key, &item)) {
            found = varies(state, item, depth + 1);
        }
        return found;
    }
    int found = 0;
    if (PyList_Check(o) || PyTuple_Check(o)) {
        for (Py_ssize_t i = 0; found == 0 && i < PySequence_Fast_GET_SIZE(o); i++) {
            found = varies(state, PySequence_Fast_GET_ITEM(o, i), depth + 1);
        }
    }
    return found;
}

static int
path_push(compiler *c, PyObject *step) /* takes step */
{
    int st = step != NULL ? PyList_Append(c->path, step) : -1;
    Py_XDECREF(step);
    return st;
}

static void
path_pop(compiler *c)
{
    Py_ssize_t n = PyList_GET_SIZE(c->path);
    (void)PyList_SetSlice(c->path, n - 1, n, NULL);
}

/* "a/b/0", for errors and functions. New reference. */
static PyObject *
path_text(compiler *c)
{
    PyObject *f = helper(&c->state->path_text, "_path_text");
    return f != NULL ? PyObject_CallOneArg(f, c->path) : NULL;
}

static ct_node *
node_failed(compiler *c, const ct_err *err)
{
    pyct_raise(c->state, err);
    return NULL;
}

/* Remembers the texts of the objects below an option. */
static int
label_refs(compiler *c, const ct_value *v)
{
    if (v->kind == CT_REF) {
        ct_err err = CT_ERR_INIT;
        PyObject *f = helper(&c->state->tag_label, "_tag_label");
        PyObject *text = f != NULL ? PyObject_CallFunctionObjArgs(
                                         f, c->path, pyct_ref_object(v->u.ref), NULL)
                                   : NULL;
        if (text == NULL) {
            return -1;
        }
        if (ct_grow((void **)&c->items, &c->cap, c->count + 1, sizeof *c->items,
                    &err) != CT_OK) {
            Py_DECREF(text);
            pyct_raise(c->state, &err);
            return -1;
        }
        c->items[c->count++] = (label){v->u.ref, text};
        return 0;
    }
    bool dict = v->kind == CT_DICT;
    if (!dict && v->kind != CT_LIST && v->kind != CT_TUPLE) {
        return 0;
    }
    for (uint32_t i = 0; i < v->len; i++) {
        PyObject *step = dict
                             ? Py_XNewRef(pyct_name_text(c->names, v->u.entries[i].key))
                             : PyLong_FromUnsignedLong(i);
        if (path_push(c, step) < 0 ||
            label_refs(c, dict ? &v->u.entries[i].value : &v->u.items[i]) < 0) {
            return -1;
        }
        path_pop(c);
    }
    return 0;
}

static ct_node *
compile_constant(compiler *c, PyObject *o, bool option)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    ct_node *n = NULL;
    if (pyct_value_from_object(c->state, c->names, o, &v) < 0) {
        return NULL;
    }
    if (option && label_refs(c, &v) < 0) {
        ct_value_deinit(&v);
        return NULL;
    }
    return ct_node_value(&n, &v, &err) == CT_OK ? n : node_failed(c, &err);
}

static ct_node *
compile_function(compiler *c, PyObject *domain, bool eager)
{
    ct_err err = CT_ERR_INIT;
    ct_node *n = NULL;
    PyObject *text = path_text(c);
    PyObject *tuple =
        text != NULL ? Py_BuildValue("(OOO)", domain, text, eager ? Py_True : Py_False)
                     : NULL;
    ct_ref *ref = tuple != NULL ? pyct_ref_new(c->state, tuple) : NULL;
    Py_XDECREF(text);
    Py_XDECREF(tuple);
    if (ref == NULL) {
        return NULL;
    }
    return ct_node_function(&n, ref, eager, &err) == CT_OK ? n : node_failed(c, &err);
}

/* Puts a compiled child in its place; takes the child. */
static int
add_child(compiler *c, ct_node *parent, ct_node *child)
{
    ct_err err = CT_ERR_INIT;
    if (child == NULL) {
        return -1;
    }
    if (ct_node_push(parent, &child, &err) != CT_OK) {
        pyct_raise(c->state, &err);
        return -1;
    }
    return 0;
}

/* The values of a grid cannot be listed. */
static ct_node *
no_sequence(compiler *c, PyObject *o)
{
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        PyObject *text = path_text(c);
        if (text != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%U must have a list of values to try, got %.100s; write "
                         "grid_search([value])",
                         text, Py_TYPE(o)->tp_name);
            Py_DECREF(text);
        }
    }
    return NULL;
}

/* Children of a list or tuple, or options. */
static ct_node *
compile_items(compiler *c, PyObject *o, ct_node_kind kind, bool option)
{
    ct_err err = CT_ERR_INIT;
    ct_node *n = NULL;
    PyObject *items = PySequence_List(o);
    if (items == NULL) {
        return no_sequence(c, o);
    }
    ct_status st = ct_node_branch(&n, kind, &err);
    int bad = st != CT_OK;
    if (bad) {
        pyct_raise(c->state, &err);
    }
    for (Py_ssize_t i = 0; !bad && i < PyList_GET_SIZE(items); i++) {
        bad = path_push(c, PyLong_FromSsize_t(i)) < 0 ||
              add_child(c, n, compile(c, PyList_GET_ITEM(items, i), option)) < 0;
        if (!bad) {
            path_pop(c);
        }
    }
    Py_DECREF(items);
    if (bad) {
        ct_node_release(n);
        return NULL;
    }
    return n;
}

static int
dict_entry(compiler *c, ct_node *n, PyObject *key, PyObject *item, bool option)
{
    ct_err err = CT_ERR_INIT;
    ct_name name;
    if (!PyUnicode_Check(key)) {
        PyObject *text = path_text(c);
        if (text != NULL) {
            PyErr_Format(
                PyExc_TypeError,
                "config: the keys of a dict with search parameters must be str, "
                "got %R at `/%U`",
                key, text);
            Py_DECREF(text);
        }
        return -1;
    }
    if (pyct_name_of(c->names, key, &name) < 0 || path_push(c, Py_NewRef(key)) < 0) {
        return -1;
    }
    ct_node *child = compile(c, item, option);
    if (child == NULL) {
        return -1;
    }
    path_pop(c);
    if (ct_node_put(n, name, &child, &err) != CT_OK) {
        pyct_raise(c->state, &err);
        return -1;
    }
    return 0;
}

static ct_node *
compile_dict(compiler *c, PyObject *o, bool option)
{
    ct_err err = CT_ERR_INIT;
    ct_node *n = NULL;
    PyObject *items = PyDict_Items(o); /* helpers run Python code meanwhile */
    if (items == NULL) {
        return NULL;
    }
    int bad = ct_node_branch(&n, CT_NODE_DICT, &err) != CT_OK;
    if (bad) {
        pyct_raise(c->state, &err);
    }
    for (Py_ssize_t i = 0; !bad && i < PyList_GET_SIZE(items); i++) {
        PyObject *pair = PyList_GET_ITEM(items, i);
        bad = dict_entry(c, n, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1),
                         option) < 0;
    }
    Py_DECREF(items);
    if (bad) {
        ct_node_release(n);
        return NULL;
    }
    return n;
}

/* Fills a domain from what Domain._engine_form() says: ("float" or "int", lower, upper,
 * log, base, q) or ("normal", mean, sd, q). 0 or -1. */
static int
read_domain(PyObject *form, const char *kind, ct_domain *d)
{
    const char *ignored;
    int log = 0;
    *d = (ct_domain){.kind = CT_DOMAIN_FLOAT};
    if (strcmp(kind, "normal") == 0) {
        d->kind = CT_DOMAIN_NORMAL;
        return PyArg_ParseTuple(form, "sddd", &ignored, &d->mean, &d->sd, &d->q) ? 0
                                                                                 : -1;
    }
    int ok;
    if (strcmp(kind, "int") == 0) {
        long long low = 0;
        long long high = 0;
        d->kind = CT_DOMAIN_INT;
        ok = PyArg_ParseTuple(form, "sLLpdd", &ignored, &low, &high, &log, &d->base,
                              &d->q);
        d->low = low;
        d->high = high;
    } else {
        ok = PyArg_ParseTuple(form, "sddpdd", &ignored, &d->lower, &d->upper, &log,
                              &d->base, &d->q);
    }
    d->log = log != 0;
    return ok ? 0 : -1;
}

/* Logarithms as NumPy takes them, which may differ from the C library's in the last
 * bit. */
static int
log_bounds(pyct_state *state, ct_domain *d)
{
    double lower;
    double upper;
    if (!d->log || d->kind == CT_DOMAIN_NORMAL) {
        return 0;
    }
    ct_domain_log_bounds(d, &lower, &upper);
    PyObject *f = pyct_lazy(&state->log_bounds, SAMPLE, "_log_bounds");
    PyObject *pair =
        f != NULL ? PyObject_CallFunction(f, "ddd", lower, upper, d->base) : NULL;
    int ok = pair != NULL && PyArg_ParseTuple(pair, "dd", &d->draw_low, &d->draw_high);
    Py_XDECREF(pair);
    return ok ? 0 : -1;
}

/* A domain ready to sample. path names it in errors. 0 or -1. */
static int
ready_domain(pyct_state *state, PyObject *form, const char *kind, const char *path,
             ct_domain *d)
{
    ct_err err = CT_ERR_INIT;
    if (read_domain(form, kind, d) < 0) {
        return -1;
    }
    if (ct_domain_prepare(d, path, &err) != CT_OK) {
        pyct_raise(state, &err);
        return -1;
    }
    return log_bounds(state, d);
}

static ct_node *
compile_numbers(compiler *c, PyObject *form, const char *kind)
{
    ct_err err = CT_ERR_INIT;
    ct_domain d;
    ct_node *n = NULL;
    PyObject *text = path_text(c);
    const char *path = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    int st = path != NULL ? ready_domain(c->state, form, kind, path, &d) : -1;
    Py_XDECREF(text);
    if (st < 0) {
        return NULL;
    }
    return ct_node_domain(&n, &d, &err) == CT_OK ? n : node_failed(c, &err);
}

static ct_node *
compile_domain(compiler *c, PyObject *o)
{
    ct_node *n = NULL;
    PyObject *form = PyObject_CallMethodNoArgs(o, c->state->str.engine_form);
    if (form == NULL) {
        return NULL;
    }
    if (form == Py_None) { /* a sampler of the user's: drawn in its turn */
        n = compile_function(c, o, true);
    } else {
        PyObject *first = PyTuple_Check(form) && PyTuple_GET_SIZE(form) > 0
                              ? PyTuple_GET_ITEM(form, 0)
                              : NULL;
        const char *kind =
            first != NULL && PyUnicode_Check(first) ? PyUnicode_AsUTF8(first) : "";
        if (kind == NULL) {
            n = NULL;
        } else if (strcmp(kind, "choice") == 0 || strcmp(kind, "grid") == 0) {
            ct_node_kind branch = kind[0] == 'c' ? CT_NODE_CHOICE : CT_NODE_GRID;
            n = compile_items(c, PyTuple_GET_ITEM(form, 1), branch, true);
        } else if (strcmp(kind, "function") == 0) {
            n = compile_function(c, o, false);
        } else {
            n = compile_numbers(c, form, kind);
        }
    }
    Py_DECREF(form);
    return n;
}

static ct_node *
compile_eval(compiler *c, PyObject *text)
{
    PyObject *f = helper(&c->state->eval_domain, "_eval_domain");
    PyObject *domain = f != NULL ? PyObject_CallOneArg(f, text) : NULL;
    ct_node *n = domain != NULL ? compile_function(c, domain, true) : NULL;
    Py_XDECREF(domain);
    return n;
}

static ct_node *
compile_any(compiler *c, PyObject *o, bool option)
{
    PyObject *inside;
    if (PyObject_TypeCheck(o, c->state->domain_type)) {
        return compile_domain(c, o);
    }
    switch (marker(o, &inside)) {
    case 1:
        return compile_items(c, inside, CT_NODE_GRID, true);
    case 2:
        return compile_eval(c, inside);
    default:
        break;
    }
    int any = varies(c->state, o, c->depth);
    if (any < 0) {
        return NULL;
    }
    if (any == 0) {
        return compile_constant(c, o, option);
    }
    return PyDict_Check(o)
               ? compile_dict(c, o, option)
               : compile_items(c, o, PyTuple_Check(o) ? CT_NODE_TUPLE : CT_NODE_LIST,
                               option);
}

/* option: below an option of a choice or grid, where objects need a text for tags. */
static ct_node *
compile(compiler *c, PyObject *o, bool option)
{
    if (c->depth >= DEPTH_MAX) {
        too_deep();
        return NULL;
    }
    c->depth++;
    Py_INCREF(o);
    ct_node *n = compile_any(c, o, option);
    Py_DECREF(o);
    c->depth--;
    return n;
}

static void
compiler_deinit(compiler *c)
{
    for (size_t i = 0; i < c->count; i++) {
        Py_DECREF(c->items[i].text);
    }
    ct_free(c->items);
    Py_XDECREF(c->path);
}

/* Compiles with the labels of its objects left in c. */
static ct_node *
compile_root(compiler *c, pyct_state *state, pyct_names *names, PyObject *o)
{
    *c = (compiler){.state = state, .names = names};
    c->path = PyList_New(0);
    return c->path != NULL ? compile(c, o, false) : NULL;
}

int
pyct_space_from_config(pyct_state *state, pyct_names *names, PyObject *config,
                       ct_space **space, pyct_space_ctx **ctx)
{
    ct_err err = CT_ERR_INIT;
    compiler c;
    ct_space *s = NULL;
    ct_status st = CT_OK;
    pyct_space_ctx *made = ct_calloc(1, sizeof *made);
    if (made == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *made = (pyct_space_ctx){state, names, NULL, true};
    ct_node *root = compile_root(&c, state, names, config);
    st = root == NULL ? pyct_foreign(&err)
                      : ct_space_new(&s, pyct_names_table(names), &root, &err);
    for (size_t i = 0; st == CT_OK && i < c.count; i++) {
        const char *text = PyUnicode_AsUTF8(c.items[i].text);
        st = text == NULL ? pyct_foreign(&err)
                          : ct_space_label(s, c.items[i].ref, text, &err);
    }
    compiler_deinit(&c);
    if (st != CT_OK) {
        pyct_raise(state, &err);
        ct_space_free(s);
        pyct_space_ctx_free(made);
        return -1;
    }
    *space = s;
    *ctx = made;
    return 0;
}

void
pyct_space_ctx_free(pyct_space_ctx *ctx)
{
    ct_free(ctx);
}

/* ---- calling functions ---- */

static PyObject *view_of(pyct_space_ctx *ctx, const ct_value *v);

static bool
lacks_item(const ct_value *v)
{
    bool lacks = ct_is_unresolved(v);
    if (v->kind == CT_LIST || v->kind == CT_TUPLE) {
        for (uint32_t i = 0; !lacks && i < v->len; i++) {
            lacks = lacks_item(&v->u.items[i]);
        }
    }
    return lacks;
}

static PyObject *
view_items(pyct_space_ctx *ctx, const ct_value *v)
{
    PyObject *list = PyList_New(v->len);
    for (uint32_t i = 0; list != NULL && i < v->len; i++) {
        PyObject *item = view_of(ctx, &v->u.items[i]);
        if (item == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, item);
    }
    if (list != NULL && v->kind == CT_TUPLE) {
        Py_SETREF(list, PyList_AsTuple(list));
    }
    return list;
}

static PyObject *
view_dict(pyct_space_ctx *ctx, const ct_value *v)
{
    PyObject *type = view_part(&ctx->state->spec_view, "_SpecView");
    PyObject *dict = type != NULL ? PyObject_CallNoArgs(type) : NULL;
    for (uint32_t i = 0; dict != NULL && i < v->len; i++) {
        PyObject *key = pyct_name_text(ctx->names, v->u.entries[i].key);
        PyObject *item = key != NULL ? view_of(ctx, &v->u.entries[i].value) : NULL;
        int st = item != NULL ? PyDict_SetItem(dict, key, item) : -1;
        Py_XDECREF(item);
        if (st < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

/* The config as functions see it: dicts that refuse what is not resolved yet. */
static PyObject *
view_of(pyct_space_ctx *ctx, const ct_value *v)
{
    if (lacks_item(v)) {
        return Py_XNewRef(view_part(&ctx->state->unresolved, "_UNRESOLVED"));
    }
    if (v->kind == CT_DICT) {
        return view_dict(ctx, v);
    }
    if (v->kind == CT_LIST || v->kind == CT_TUPLE) {
        return view_items(ctx, v);
    }
    return pyct_value_to_object(ctx->state, ctx->names, v);
}

/* A Python exception is set: that of something unresolved becomes its own status. */
static ct_status
function_failed(pyct_space_ctx *ctx, ct_err *err)
{
    PyObject *type;
    PyObject *value;
    PyObject *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *recursive =
        view_part(&ctx->state->recursive_error, "RecursiveDependencyError");
    if (recursive == NULL || !PyErr_GivenExceptionMatches(type, recursive)) {
        PyErr_Clear();
        PyErr_Restore(type, value, trace);
        return pyct_foreign(err);
    }
    PyObject *text = value != NULL ? PyObject_Str(value) : NULL;
    const char *chars = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    if (chars == NULL) {
        PyErr_Clear();
    }
    ct_status st = ct_fail(err, CT_ERECURSIVE, "", "%s", chars != NULL ? chars : "");
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return st;
}

static ct_status
function_call(void *ctx_, ct_ref *fn, const ct_value *config, ct_node **out,
              ct_err *err)
{
    pyct_space_ctx *ctx = ctx_;
    PyObject *what = pyct_ref_object(fn);
    PyObject *call = helper(&ctx->state->call_function, "_call_function");
    bool drawing = pyct_rng_end(ctx->rng); /* it may draw in other threads, or reseed */
    PyObject *stream = ctx->rng != NULL ? pyct_rng_object(ctx->rng) : Py_None;
    PyObject *view = call != NULL && stream != NULL ? view_of(ctx, config) : NULL;
    PyObject *result =
        view != NULL
            ? PyObject_CallFunctionObjArgs(
                  call, what, view, ctx->config_only ? Py_True : Py_False, stream, NULL)
            : NULL;
    Py_XDECREF(view);
    if (drawing) {
        pyct_rng_begin(ctx->rng);
    }
    if (result == NULL) {
        return function_failed(ctx, err);
    }
    compiler c;
    *out = compile_root(&c, ctx->state, ctx->names, result);
    compiler_deinit(&c);
    Py_DECREF(result);
    return *out != NULL ? CT_OK : pyct_foreign(err);
}

static ct_status
stream_save(void *ctx_, ct_names *names, ct_value *out, ct_err *err)
{
    pyct_space_ctx *ctx = ctx_;
    PyObject *now = pyct_rng_state(ctx->rng);
    (void)names;
    if (now == NULL || pyct_value_from_object(ctx->state, ctx->names, now, out) < 0) {
        Py_XDECREF(now);
        return pyct_foreign(err);
    }
    Py_DECREF(now);
    return CT_OK;
}

static ct_status
stream_restore(void *ctx_, ct_names *names, const ct_value *v, ct_err *err)
{
    pyct_space_ctx *ctx = ctx_;
    PyObject *saved = pyct_value_to_object(ctx->state, ctx->names, v);
    int st = saved != NULL ? pyct_rng_set_state(ctx->rng, saved) : -1;
    (void)names;
    Py_XDECREF(saved);
    return st == 0 ? CT_OK : pyct_foreign(err);
}

static const ct_function_ops function_ops = {function_call, NULL, NULL};
static const ct_function_ops saving_ops = {function_call, stream_save, stream_restore};

const ct_function_ops *
pyct_space_function_ops(void)
{
    return &function_ops;
}

static void
warn(void *ctx_, const char *text)
{
    pyct_space_ctx *ctx = ctx_;
    PyObject *f = helper(&ctx->state->space_warning, "_warn");
    PyObject *done = f != NULL ? PyObject_CallFunction(f, "s", text) : NULL;
    if (done == NULL) {
        PyErr_WriteUnraisable(f);
    }
    Py_XDECREF(done);
}

/* ---- sampling one domain ---- */

/* sample_domain(form, random_state, size) -> list of values; a choice gives indices. */
static PyObject *
sample_domain(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_state *state = pyct_state_of_module(module);
    ct_err err = CT_ERR_INIT;
    ct_domain d;
    pyct_rng *rng = NULL;
    PyObject *list = NULL;

    if (nargs != 3 || !PyTuple_Check(args[0]) || PyTuple_GET_SIZE(args[0]) < 2) {
        PyErr_SetString(PyExc_TypeError, "sample_domain(form, random_state, size)");
        return NULL;
    }
    Py_ssize_t size = PyLong_AsSsize_t(args[2]);
    const char *kind = PyUnicode_AsUTF8(PyTuple_GET_ITEM(args[0], 0));
    if ((size == -1 && PyErr_Occurred()) || kind == NULL) {
        return NULL;
    }
    if (size < 0) {
        PyErr_Format(PyExc_ValueError, "size must be at least 0, got %zd", size);
        return NULL;
    }
    if (strcmp(kind, "choice") == 0) {
        Py_ssize_t count = PyObject_Length(PyTuple_GET_ITEM(args[0], 1));
        if (count < 0) {
            return NULL;
        }
        d = (ct_domain){.kind = CT_DOMAIN_CHOICE};
        d.count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
        if (ct_domain_prepare(&d, "choice", &err) != CT_OK) {
            return pyct_raise(state, &err);
        }
    } else if (ready_domain(state, args[0], kind, kind, &d) < 0) {
        return NULL;
    }
    if (pyct_rng_new(state, args[1], &rng) < 0) {
        return NULL;
    }
    list = PyList_New(size);
    for (Py_ssize_t i = 0; list != NULL && i < size; i++) {
        ct_value v = ct_nil();
        ct_status st = ct_domain_sample(&d, pyct_rng_source(rng), &v, &err);
        if (st == CT_OK && PyErr_Occurred()) {
            st = pyct_foreign(&err);
        }
        PyObject *item = NULL;
        if (st != CT_OK) {
            pyct_raise(state, &err);
        } else {
            item = v.kind == CT_F64 ? PyFloat_FromDouble(v.u.f)
                                    : PyLong_FromLongLong(v.u.i);
        }
        if (item == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, item);
    }
    pyct_rng_free(rng);
    return list;
}

/* ---- Variants: an iterator over (resolved variables, spec) ---- */

typedef struct pyct_variants {
    PyObject_HEAD
    pyct_state *state;
    pyct_names *names;
    pyct_rng *rng;
    ct_space *space;
    pyct_space_ctx *ctx;
    ct_variants *variants;
} pyct_variants;

static int
variants_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_variants *self = (pyct_variants *)op;
    Py_VISIT(Py_TYPE(op));
    return pyct_rng_visit(self->rng, visit, arg);
}

static int
variants_clear(PyObject *op)
{
    pyct_variants *self = (pyct_variants *)op;
    ct_variants *variants = self->variants;
    ct_space *space = self->space;
    pyct_rng *rng = self->rng;
    self->variants = NULL;
    self->space = NULL;
    self->rng = NULL;
    ct_variants_free(variants);
    ct_space_free(space);
    pyct_space_ctx_free(self->ctx);
    self->ctx = NULL;
    pyct_rng_free(rng);
    return 0;
}

static void
variants_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)variants_clear(op);
    pyct_names_free(((pyct_variants *)op)->names);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Variants(spec, constant_grid_search, random_state) */
static PyObject *
variants_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"spec", "constant_grid_search", "random_state", NULL};
    ct_err err = CT_ERR_INIT;
    PyObject *spec;
    PyObject *random_state;
    int constant;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OpO", keywords, &spec, &constant,
                                     &random_state)) {
        return NULL;
    }
    pyct_variants *self = (pyct_variants *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = pyct_state_of((PyObject *)self);
    self->names = pyct_names_new(self->state);
    if (self->names == NULL ||
        pyct_rng_new(self->state, random_state, &self->rng) < 0 ||
        pyct_space_from_config(self->state, self->names, spec, &self->space,
                               &self->ctx) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->ctx->rng = self->rng;
    self->ctx->config_only = false;
    ct_variants_options options = {.num_samples = 1,
                                   .constant_grid = constant != 0,
                                   .rng = pyct_rng_source(self->rng),
                                   .ops = &function_ops,
                                   .ctx = self->ctx};
    if (ct_variants_new(&self->variants, self->space, &options, &err) != CT_OK) {
        Py_DECREF(self);
        return pyct_raise(self->state, &err);
    }
    return (PyObject *)self;
}

/* The path of the i-th variable as a tuple of keys and indices. */
static PyObject *
variable_path(pyct_variants *self, size_t i)
{
    size_t depth = ct_variants_depth(self->variants, i);
    PyObject *path = PyTuple_New((Py_ssize_t)depth);
    for (size_t k = 0; path != NULL && k < depth; k++) {
        uint32_t at;
        PyObject *piece = ct_variants_step(self->variants, i, k, &at)
                              ? PyLong_FromUnsignedLong(at)
                              : Py_XNewRef(pyct_name_text(self->names, at));
        if (piece == NULL) {
            Py_CLEAR(path);
            break;
        }
        PyTuple_SET_ITEM(path, (Py_ssize_t)k, piece);
    }
    return path;
}

static PyObject *
resolved_dict(pyct_variants *self)
{
    PyObject *dict = PyDict_New();
    size_t count = ct_variants_count(self->variants);
    for (size_t i = 0; dict != NULL && i < count; i++) {
        PyObject *path = variable_path(self, i);
        PyObject *value =
            path != NULL ? pyct_value_to_object(self->state, self->names,
                                                ct_variants_value(self->variants, i))
                         : NULL;
        int st = value != NULL ? PyDict_SetItem(dict, path, value) : -1;
        Py_XDECREF(path);
        Py_XDECREF(value);
        if (st < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static PyObject *
variants_next(PyObject *op)
{
    pyct_variants *self = (pyct_variants *)op;
    ct_err err = CT_ERR_INIT;
    bool more = false;
    if (self->variants == NULL) {
        return NULL;
    }
    pyct_rng_begin(self->rng);
    ct_status st = ct_variants_next(self->variants, &more, &err);
    (void)pyct_rng_end(self->rng);
    if (st == CT_OK && PyErr_Occurred()) {
        st = pyct_foreign(&err);
    }
    if (st != CT_OK) {
        return pyct_raise(self->state, &err);
    }
    if (!more) {
        return NULL;
    }
    PyObject *resolved = resolved_dict(self);
    PyObject *spec = resolved != NULL
                         ? pyct_value_to_object(self->state, self->names,
                                                ct_variants_config(self->variants))
                         : NULL;
    PyObject *pair = spec != NULL ? PyTuple_Pack(2, resolved, spec) : NULL;
    Py_XDECREF(resolved);
    Py_XDECREF(spec);
    return pair;
}

static PyType_Slot variants_slots[] = {
    {Py_tp_new, PYCT_SLOT(variants_new)},
    {Py_tp_dealloc, PYCT_SLOT(variants_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(variants_traverse)},
    {Py_tp_clear, PYCT_SLOT(variants_clear)},
    {Py_tp_iter, PYCT_SLOT(PyObject_SelfIter)},
    {Py_tp_iternext, PYCT_SLOT(variants_next)},
    {Py_tp_doc, "Iterates over the variants of one sample of a spec."},
    {0, NULL},
};

static PyType_Spec variants_spec = {
    .name = "ctune._ctune.Variants",
    .basicsize = sizeof(pyct_variants),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = variants_slots,
};

/* ---- a searcher that owns its space ---- */

typedef struct py_basic {
    ct_searcher searcher; /* first */
    pyct_state *state;
    ct_searcher *inner;
    ct_space *space;
    pyct_space_ctx *ctx;
    PyObject *owner; /* strong: the BasicSearch, whose stream it draws from; or NULL */
} py_basic;

static ct_status
basic_next(ct_searcher *to, const ct_board *b, ct_suggestion *out,
           ct_search_state *state, ct_err *err)
{
    py_basic *s = (py_basic *)to;
    pyct_entry entry = pyct_enter(s->state); /* draws and functions are Python's */
    pyct_rng_begin(s->ctx->rng);
    ct_status st = s->inner->ops->next(s->inner, b, out, state, err);
    (void)pyct_rng_end(s->ctx->rng);
    if (st == CT_OK && PyErr_Occurred()) { /* a draw that could not say so */
        if (*state == CT_SEARCH_TRIAL) {
            ct_suggestion_deinit(out);
        }
        st = pyct_foreign(err);
    }
    pyct_leave(s->state, entry);
    return st;
}

static ct_status
basic_on_result(ct_searcher *to, const ct_board *b, ct_trial_id t, const ct_result *r,
                ct_err *err)
{
    py_basic *s = (py_basic *)to;
    return s->inner->ops->on_result(s->inner, b, t, r, err);
}

static ct_status
basic_on_complete(ct_searcher *to, const ct_board *b, ct_trial_id t, const ct_result *r,
                  bool error, ct_err *err)
{
    py_basic *s = (py_basic *)to;
    return s->inner->ops->on_complete(s->inner, b, t, r, error, err);
}

static uint64_t
basic_total(const ct_searcher *to)
{
    const py_basic *s = (const py_basic *)to;
    return s->inner->ops->total(s->inner);
}

static void
basic_free(ct_searcher *to)
{
    py_basic *s = (py_basic *)to;
    if (s->inner != NULL) {
        s->inner->ops->free(s->inner);
    }
    ct_space_free(s->space);
    pyct_space_ctx_free(s->ctx);
    Py_XDECREF(s->owner);
    ct_free(s);
}

static ct_status
basic_save(ct_searcher *to, ct_names *names, ct_value *out, ct_err *err)
{
    py_basic *s = (py_basic *)to;
    pyct_entry entry = pyct_enter(s->state); /* the stream is Python's */
    ct_status st = s->inner->ops->save(s->inner, names, out, err);
    pyct_leave(s->state, entry);
    return st;
}

static ct_status
basic_restore(ct_searcher *to, ct_names *names, const ct_value *v, ct_err *err)
{
    py_basic *s = (py_basic *)to;
    pyct_entry entry = pyct_enter(s->state);
    pyct_rng_begin(s->ctx->rng); /* part of a sample may be drawn again */
    ct_status st = s->inner->ops->restore(s->inner, names, v, err);
    (void)pyct_rng_end(s->ctx->rng);
    pyct_leave(s->state, entry);
    return st;
}

static const ct_searcher_ops basic_ops = {
    .name = "basic",
    .foreign = true,
    .quiet_waits = true,
    .next = basic_next,
    .on_result = basic_on_result,
    .on_complete = basic_on_complete,
    .total = basic_total,
    .save = basic_save,
    .restore = basic_restore,
    .free = basic_free,
};

/* ---- BasicSearch: what a BasicVariantGenerator keeps in C ---- */

/* An experiment that was added. */
typedef struct experiment {
    PyObject *config;
    uint64_t num_samples;
    uint64_t first; /* number of its first trial */
} experiment;

typedef struct pyct_basic {
    PyObject_HEAD
    pyct_state *state;
    pyct_names *names; /* of trials made without a run */
    pyct_rng *rng;
    PyObject *points;
    PyObject *prefix;
    long long max_concurrent;
    bool constant_grid;
    experiment *experiments;
    size_t count;
    size_t cap;
    uint64_t total;
    size_t at;            /* the experiment that makes trials */
    ct_searcher *current; /* its searcher, or NULL */
} pyct_basic;

/* The engine's searcher of one experiment. warns: about points outside the space. */
static ct_searcher *
experiment_searcher(pyct_basic *self, const experiment *e, pyct_names *names,
                    bool warns, bool owned, bool limited, ct_err *err)
{
    ct_value points = ct_nil();
    py_basic *s = ct_calloc(1, sizeof *s);
    if (s == NULL) {
        ct_fail_mem(err);
        return NULL;
    }
    s->searcher.ops = &basic_ops;
    s->state = self->state;
    const char *prefix = PyUnicode_AsUTF8(self->prefix);
    ct_status st = CT_OK;
    if (prefix == NULL ||
        pyct_space_from_config(self->state, names, e->config, &s->space, &s->ctx) < 0 ||
        pyct_value_from_object(self->state, names, self->points, &points) < 0) {
        st = pyct_foreign(err);
    } else {
        s->ctx->rng = self->rng;
        ct_basic_options options = {.variants = {.num_samples = e->num_samples,
                                                 .points = &points,
                                                 .constant_grid = self->constant_grid,
                                                 .functions_last = true,
                                                 .ahead = pyct_rng_shared(self->rng),
                                                 .rng = pyct_rng_source(self->rng),
                                                 .ops = &saving_ops,
                                                 .ctx = s->ctx,
                                                 .warn = warns ? warn : NULL},
                                    .prefix = prefix,
                                    .max_concurrent =
                                        limited ? self->max_concurrent : 0,
                                    .first = e->first,
                                    .foreign = true};
        st = ct_basic_new(&s->inner, s->space, &options, err);
    }
    ct_value_deinit(&points);
    if (st != CT_OK) {
        basic_free(&s->searcher);
        return NULL;
    }
    s->owner = owned ? Py_NewRef((PyObject *)self) : NULL;
    return &s->searcher;
}

static int
basic_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_basic *self = (pyct_basic *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->points);
    for (size_t i = 0; i < self->count; i++) {
        Py_VISIT(self->experiments[i].config);
    }
    return pyct_rng_visit(self->rng, visit, arg);
}

static int
basic_clear(PyObject *op)
{
    pyct_basic *self = (pyct_basic *)op;
    ct_searcher *current = self->current;
    pyct_rng *rng = self->rng;
    self->current = NULL;
    if (current != NULL) {
        current->ops->free(current);
    }
    self->rng = NULL;
    pyct_rng_free(rng);
    Py_CLEAR(self->points);
    while (self->count > 0) {
        PyObject *config = self->experiments[--self->count].config;
        Py_DECREF(config);
    }
    return 0;
}

static void
basic_dealloc(PyObject *op)
{
    pyct_basic *self = (pyct_basic *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)basic_clear(op);
    Py_CLEAR(self->prefix);
    ct_free(self->experiments);
    pyct_names_free(self->names);
    type->tp_free(op);
    Py_DECREF(type);
}

/* BasicSearch(points, max_concurrent, constant_grid_search, random_state, prefix) */
static PyObject *
basic_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *points;
    PyObject *random_state;
    PyObject *prefix;
    long long max_concurrent;
    int constant;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "BasicSearch() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!LpOU", &PyList_Type, &points, &max_concurrent,
                          &constant, &random_state, &prefix)) {
        return NULL;
    }
    if (max_concurrent < 0) {
        PyErr_Format(PyExc_ValueError,
                     "max_concurrent must be at least 0 (0 = no limit), got %lld",
                     max_concurrent);
        return NULL;
    }
    pyct_basic *self = (pyct_basic *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = pyct_state_of((PyObject *)self);
    self->points = Py_NewRef(points);
    self->prefix = Py_NewRef(prefix);
    self->max_concurrent = max_concurrent;
    self->constant_grid = constant != 0;
    self->names = pyct_names_new(self->state);
    if (self->names == NULL ||
        pyct_rng_new(self->state, random_state, &self->rng) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* add(config, num_samples): checks the space at once. -1 samples: endless. */
static PyObject *
basic_add(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    pyct_basic *self = (pyct_basic *)op;
    ct_err err = CT_ERR_INIT;
    if (nargs != 2 || !PyDict_Check(args[0])) {
        PyErr_Format(PyExc_TypeError, "config must be a dict, got %.100s",
                     nargs > 0 ? Py_TYPE(args[0])->tp_name : "nothing");
        return NULL;
    }
    int overflow = 0;
    long long samples = PyLong_AsLongLongAndOverflow(args[1], &overflow);
    if (samples == -1 && PyErr_Occurred()) {
        return NULL;
    }
    experiment e = {args[0], (uint64_t)samples, self->total};
    if (samples < 0 || overflow != 0 || samples >= PY_SSIZE_T_MAX) {
        e.num_samples = UINT64_MAX;
    }
    ct_searcher *s =
        experiment_searcher(self, &e, self->names, true, false, true, &err);
    if (s == NULL) {
        return pyct_raise(self->state, &err);
    }
    uint64_t total = s->ops->total(s);
    if (ct_grow((void **)&self->experiments, &self->cap, self->count + 1, sizeof e,
                &err) != CT_OK) {
        s->ops->free(s);
        return pyct_raise(self->state, &err);
    }
    if (self->current == NULL && self->at == self->count) {
        self->current = s;
    } else {
        s->ops->free(s);
    }
    Py_INCREF(e.config);
    self->experiments[self->count++] = e;
    self->total = total > UINT64_MAX - self->total ? UINT64_MAX : self->total + total;
    Py_RETURN_NONE;
}

/* (id, tag, config, evaluated_params, number of the experiment) */
static PyObject *
suggestion_tuple(pyct_basic *self, const ct_suggestion *s)
{
    PyObject *config = pyct_value_to_object(self->state, self->names, &s->config);
    PyObject *evaluated =
        config != NULL ? pyct_value_to_object(self->state, self->names, &s->evaluated)
                       : NULL;
    PyObject *tuple = evaluated != NULL
                          ? Py_BuildValue("(ssOOn)", s->id, s->tag, config, evaluated,
                                          (Py_ssize_t)self->at)
                          : NULL;
    Py_XDECREF(config);
    Py_XDECREF(evaluated);
    return tuple;
}

/* next() -> tuple; None: not now; False: never again. */
static PyObject *
basic_py_next(PyObject *op, PyObject *ignored)
{
    pyct_basic *self = (pyct_basic *)op;
    (void)ignored;
    for (;;) {
        ct_err err = CT_ERR_INIT;
        ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
        ct_search_state state = CT_SEARCH_FINISHED;
        if (self->current == NULL) {
            if (self->at >= self->count) {
                Py_RETURN_FALSE;
            }
            self->current = experiment_searcher(self, &self->experiments[self->at],
                                                self->names, false, false, true, &err);
            if (self->current == NULL) {
                return pyct_raise(self->state, &err);
            }
        }
        if (self->current->ops->next(self->current, NULL, &s, &state, &err) != CT_OK) {
            return pyct_raise(self->state, &err);
        }
        if (state == CT_SEARCH_TRIAL) {
            PyObject *tuple = suggestion_tuple(self, &s);
            ct_suggestion_deinit(&s);
            return tuple;
        }
        if (state == CT_SEARCH_WAIT) {
            Py_RETURN_NONE;
        }
        self->current->ops->free(self->current);
        self->current = NULL;
        self->at++;
    }
}

/* complete(): a trial of this search ended. */
static PyObject *
basic_complete(PyObject *op, PyObject *ignored)
{
    pyct_basic *self = (pyct_basic *)op;
    ct_err err = CT_ERR_INIT;
    (void)ignored;
    if (self->current != NULL &&
        self->current->ops->on_complete(self->current, NULL, 0, NULL, false, &err) !=
            CT_OK) {
        return pyct_raise(self->state, &err);
    }
    Py_RETURN_NONE;
}

/* save() -> (number of the experiment, where in it or None). */
static PyObject *
basic_py_save(PyObject *op, PyObject *ignored)
{
    pyct_basic *self = (pyct_basic *)op;
    ct_err err = CT_ERR_INIT;
    ct_value position = ct_nil();
    (void)ignored;
    if (self->current != NULL) {
        ct_searcher *inner = ((py_basic *)self->current)->inner;
        ct_names *names = pyct_names_table(self->names);
        if (inner->ops->save(inner, names, &position, &err) != CT_OK) {
            return pyct_raise(self->state, &err);
        }
    }
    PyObject *saved = pyct_value_to_object(self->state, self->names, &position);
    ct_value_deinit(&position);
    return saved != NULL ? Py_BuildValue("(nN)", (Py_ssize_t)self->at, saved) : NULL;
}

/* restore(saved): what save() gave, once the same experiments are added. */
static PyObject *
basic_py_restore(PyObject *op, PyObject *saved_tuple)
{
    pyct_basic *self = (pyct_basic *)op;
    ct_err err = CT_ERR_INIT;
    ct_searcher *made = NULL;
    PyObject *position;
    Py_ssize_t at;
    if (!PyTuple_Check(saved_tuple)) {
        PyErr_SetString(PyExc_TypeError, "saved must be a tuple, as save() gives it");
        return NULL;
    }
    if (!PyArg_ParseTuple(saved_tuple, "nO", &at, &position)) {
        return NULL;
    }
    if (at < 0 || (size_t)at > self->count ||
        ((size_t)at == self->count && position != Py_None)) {
        PyErr_Format(PyExc_ValueError, "there is no experiment %zd among %zu", at,
                     self->count);
        return NULL;
    }
    if (position != Py_None) {
        ct_value saved = ct_nil();
        made = experiment_searcher(self, &self->experiments[at], self->names, false,
                                   false, true, &err);
        if (made == NULL) {
            return pyct_raise(self->state, &err);
        }
        ct_searcher *inner = ((py_basic *)made)->inner;
        ct_names *names = pyct_names_table(self->names);
        ct_status st =
            pyct_value_from_object(self->state, self->names, position, &saved) < 0
                ? pyct_foreign(&err)
                : inner->ops->restore(inner, names, &saved, &err);
        ct_value_deinit(&saved);
        if (st != CT_OK) {
            made->ops->free(made);
            return pyct_raise(self->state, &err);
        }
    }
    ct_searcher *old = self->current;
    self->current = made;
    self->at = (size_t)at;
    if (old != NULL) {
        old->ops->free(old);
    }
    Py_RETURN_NONE;
}

static PyObject *
basic_get_total(PyObject *op, void *closure)
{
    (void)closure;
    uint64_t total = ((pyct_basic *)op)->total;
    return total > PY_SSIZE_T_MAX ? PyLong_FromSsize_t(PY_SSIZE_T_MAX)
                                  : PyLong_FromUnsignedLongLong(total);
}

static PyMethodDef basic_methods[] = {
    {"add", PYCT_METHOD(basic_add), METH_FASTCALL,
     "add($self, config, num_samples, /)\n--\n\nAdds an experiment."},
    {"next", basic_py_next, METH_NOARGS,
     "next($self, /)\n--\n\nA tuple; None: not now; False: never again."},
    {"complete", basic_complete, METH_NOARGS,
     "complete($self, /)\n--\n\nA trial ended: its place is free."},
    {"save", basic_py_save, METH_NOARGS,
     "save($self, /)\n--\n\nThe number of the experiment, and where in it."},
    {"restore", basic_py_restore, METH_O,
     "restore($self, saved, /)\n--\n\nTakes back what save() gave."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef basic_getset[] = {
    {"total", basic_get_total, NULL, "Trials in all; sys.maxsize if endless.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot basic_slots[] = {
    {Py_tp_new, PYCT_SLOT(basic_new)},
    {Py_tp_dealloc, PYCT_SLOT(basic_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(basic_traverse)},
    {Py_tp_clear, PYCT_SLOT(basic_clear)},
    {Py_tp_methods, basic_methods},
    {Py_tp_getset, basic_getset},
    {Py_tp_doc, "Grid and random search: what BasicVariantGenerator keeps in C."},
    {0, NULL},
};

static PyType_Spec basic_spec = {
    .name = "ctune._ctune.BasicSearch",
    .basicsize = sizeof(pyct_basic),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = basic_slots,
};

/* That of the only experiment, or a chain of all. */
static ct_searcher *
run_searcher(pyct_basic *self, pyct_names *names, ct_err *err)
{
    if (self->count == 1) {
        return experiment_searcher(self, self->experiments, names, false, true, true,
                                   err);
    }
    ct_searcher *made = NULL;
    ct_searcher **members = ct_calloc(self->count, sizeof(ct_searcher *));
    size_t n = 0;
    if (members == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    while (n < self->count) {
        members[n] = experiment_searcher(self, &self->experiments[n], names, false,
                                         true, false, err);
        if (members[n] == NULL) {
            break;
        }
        n++;
    }
    if (n < self->count ||
        ct_chain_new(&made, members, n, self->max_concurrent, err) != CT_OK) {
        while (n > 0) {
            n--;
            members[n]->ops->free(members[n]);
        }
    }
    ct_free(members);
    return made;
}

ct_searcher *
pyct_basic_searcher(pyct_state *state, PyObject *search_alg, PyObject *driver,
                    ct_err *err)
{
    ct_searcher *made = NULL;
    PyObject *held = PyObject_GetAttr(search_alg, state->str.basic_search);
    if (held == NULL) {
        pyct_foreign(err);
        return NULL;
    }
    if (!Py_IS_TYPE(held, state->basic_type)) {
        ct_fail(err, CT_ETYPE, "search_alg", "holds no BasicSearch");
    } else if (((pyct_basic *)held)->count == 0) {
        ct_fail(err, CT_ESTATE, "search_alg",
                "has no experiment yet; call add_configurations() first");
    } else {
        made = run_searcher((pyct_basic *)held, pyct_driver_names(driver), err);
    }
    Py_DECREF(held);
    return made;
}

bool
pyct_basic_check(const ct_searcher *s)
{
    return s->ops == &basic_ops;
}

/* ---- the module ---- */

static PyMethodDef functions[] = {
    {"sample_domain", PYCT_METHOD(sample_domain), METH_FASTCALL,
     "sample_domain($module, form, random_state, size, /)\n--\n\n"
     "Draws values; for a choice their indices."},
    {NULL, NULL, 0, NULL},
};

int
pyct_space_add(PyObject *module, pyct_state *state)
{
    if (PyModule_AddFunctions(module, functions) < 0 ||
        pyct_add_type(module, &state->domain_type, &domain_spec, NULL) < 0 ||
        pyct_add_type(module, &state->variants_type, &variants_spec, NULL) < 0) {
        return -1;
    }
    return pyct_add_type(module, &state->basic_type, &basic_spec, NULL);
}
