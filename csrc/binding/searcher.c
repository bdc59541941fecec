/* searcher.c: _ctune.Searcher, and search algorithms as policies of a run.
 *
 * Two adapters: `py_suggester` lets a Searcher stand behind the engine's generator, and
 * `py_search` lets any SearchAlgorithm stand for a searcher. Both call Python in the
 * driving thread, with the GIL held by the caller. */
#include "searcher.h"

#include "convert.h"
#include "driver.h"
#include "errors.h"
#include "overrides.h"
#include "space.h"
#include "types.h"

#include "base/mem.h"
#include "search/generator.h"

#include <string.h>

/* ---- _ctune.Searcher: what all Searcher objects derive from ---- */

static int
base_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return 0;
}

static void
base_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Subclasses need not call __init__, and give it whatever arguments they like. */
static PyObject *
base_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    return type->tp_alloc(type, 0);
}

static PyType_Slot base_slots[] = {
    {Py_tp_new, PYCT_SLOT(base_new)},
    {Py_tp_dealloc, PYCT_SLOT(base_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(base_traverse)},
    {Py_tp_doc,
     "By which the engine knows searchers: the base of ctune.search.Searcher."},
    {0, NULL},
};

static PyType_Spec base_spec = {
    .name = "ctune._ctune.Searcher",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = base_slots,
};

int
pyct_searcher_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->searcher_type, &base_spec, NULL);
}

/* ---- what both adapters share ---- */

typedef struct py_policy {
    pyct_state *state;
    PyObject *object;   /* strong: Searcher or SearchAlgorithm */
    PyObject *driver;   /* borrowed: it owns the policy */
    bool wants_results; /* on_trial_result does something */
} py_policy;

/* Whether the object's on_trial_result differs from that of its base class, which does
 * nothing: then no dict is made per result. A limiter's counts as its searcher's. */
static int
wants_results(pyct_state *state, PyObject *object, PyObject *base)
{
    PyObject *name = state->str.on_trial_result;
    PyObject *o = Py_NewRef(object);
    int wants = 0;
    while (wants == 0 && PyObject_TypeCheck(o, state->limiter_type)) {
        wants = pyct_overridden(o, state->limiter_type, name);
        PyObject *inner = PyObject_GetAttr(o, state->str.searcher);
        Py_SETREF(o, inner);
        if (inner == NULL) {
            return -1;
        }
    }
    if (wants == 0) {
        wants = pyct_overridden(o, (PyTypeObject *)base, name);
    }
    Py_DECREF(o);
    return wants;
}

static ct_status
tell_result(py_policy *p, PyObject *id, ct_trial_id t, const ct_result *r, ct_err *err)
{
    PyObject *dict = pyct_driver_result_dict(p->driver, r, t, 1);
    PyObject *stack[] = {p->object, id, dict};
    PyObject *answer =
        dict == NULL
            ? NULL
            : PyObject_VectorcallMethod(p->state->str.on_trial_result, stack, 3, NULL);
    Py_XDECREF(dict);
    Py_XDECREF(answer);
    return answer == NULL ? pyct_foreign(err) : CT_OK;
}

static ct_status
tell_complete(py_policy *p, PyObject *id, ct_trial_id t, const ct_result *r, bool error,
              ct_err *err)
{
    PyObject *dict =
        r == NULL ? Py_NewRef(Py_None) : pyct_driver_result_dict(p->driver, r, t, 1);
    PyObject *stack[] = {p->object, id, dict, error ? Py_True : Py_False};
    PyObject *answer =
        dict == NULL ? NULL
                     : PyObject_VectorcallMethod(p->state->str.on_trial_complete, stack,
                                                 2, p->state->complete_names);
    Py_XDECREF(dict);
    Py_XDECREF(answer);
    return answer == NULL ? pyct_foreign(err) : CT_OK;
}

/* ---- a Searcher as suggester ---- */

typedef struct py_suggester {
    ct_suggester suggester; /* first */
    py_policy p;
    ct_space *space; /* of the generator in front; its functions are called with ctx */
    pyct_space_ctx *ctx;
} py_suggester;

static ct_status
take_answer(py_suggester *s, PyObject *answer, ct_value *config,
            ct_suggest_state *state, ct_err *err)
{
    PyObject *finished = s->p.state->str.FINISHED;
    if (answer == Py_None) {
        *state = CT_SUGGEST_NONE;
        return CT_OK;
    }
    if (answer == finished ||
        (PyUnicode_Check(answer) && PyUnicode_Compare(answer, finished) == 0)) {
        *state = CT_SUGGEST_FINISHED;
        return CT_OK;
    }
    if (!PyDict_Check(answer)) {
        PyErr_Format(
            PyExc_TypeError,
            "%s.suggest() must return a dict, None or \"FINISHED\", got %s: %R",
            Py_TYPE(s->p.object)->tp_name, Py_TYPE(answer)->tp_name, answer);
        return pyct_foreign(err);
    }
    *state = CT_SUGGEST_CONFIG;
    if (pyct_value_from_object(s->p.state, pyct_driver_names(s->p.driver), answer,
                               config) < 0) {
        return pyct_foreign(err);
    }
    if (config->kind != CT_DICT) { /* as pyct_value_from_object takes other keys */
        ct_value_deinit(config);
        PyErr_Format(PyExc_TypeError,
                     "%s.suggest() returned a dict with keys that are not "
                     "str: %R",
                     Py_TYPE(s->p.object)->tp_name, answer);
        return pyct_foreign(err);
    }
    return CT_OK;
}

static ct_status
suggester_suggest(ct_suggester *to, const char *id, ct_value *config,
                  ct_suggest_state *state, ct_err *err)
{
    py_suggester *s = (py_suggester *)to;
    PyObject *text = PyUnicode_FromString(id);
    PyObject *answer =
        text == NULL
            ? NULL
            : PyObject_CallMethodOneArg(s->p.object, s->p.state->str.suggest, text);
    ct_status st =
        answer == NULL ? pyct_foreign(err) : take_answer(s, answer, config, state, err);
    Py_XDECREF(text);
    Py_XDECREF(answer);
    return st;
}

/* Runs tell on the trial of that text id. */
static ct_status
suggester_tell(py_suggester *s, const char *id, const ct_result *r, bool complete,
               bool error, ct_err *err)
{
    PyObject *text = PyUnicode_FromString(id);
    ct_trial_id t;
    ct_status st;
    if (text == NULL || pyct_driver_trial_number(s->p.driver, text, &t) < 0) {
        st = pyct_foreign(err);
    } else if (complete) {
        st = tell_complete(&s->p, text, t, r, error, err);
    } else {
        st = tell_result(&s->p, text, t, r, err);
    }
    Py_XDECREF(text);
    return st;
}

static ct_status
suggester_on_result(ct_suggester *to, const char *id, const ct_result *r, ct_err *err)
{
    py_suggester *s = (py_suggester *)to;
    return s->p.wants_results ? suggester_tell(s, id, r, false, false, err) : CT_OK;
}

static ct_status
suggester_on_complete(ct_suggester *to, const char *id, const ct_result *r, bool error,
                      ct_err *err)
{
    return suggester_tell((py_suggester *)to, id, r, true, error, err);
}

static void
suggester_free(ct_suggester *to)
{
    py_suggester *s = (py_suggester *)to;
    Py_XDECREF(s->p.object);
    ct_space_free(s->space);
    pyct_space_ctx_free(s->ctx);
    ct_free(s);
}

static const ct_suggester_ops suggester_ops = {
    .name = "python",
    .foreign = true,
    .suggest = suggester_suggest,
    .on_result = suggester_on_result,
    .on_complete = suggester_on_complete,
    .free = suggester_free,
};

/* Numbers for trial ids: uuid4 in the reference, so nobody may count on them. */
static int
random_seed(uint64_t *out)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *bytes = os == NULL ? NULL : PyObject_CallMethod(os, "urandom", "i", 8);
    if (bytes != NULL && PyBytes_Check(bytes)) {
        memcpy(out, PyBytes_AS_STRING(bytes), sizeof *out);
    }
    Py_XDECREF(os);
    Py_XDECREF(bytes);
    return bytes == NULL ? -1 : 0;
}

/* total_samples of a SearchAlgorithm; a negative or infinite number means endless. */
static int
total_of(pyct_state *state, PyObject *search_alg, uint64_t *out)
{
    PyObject *total = PyObject_GetAttr(search_alg, state->str.total_samples);
    double n = total == NULL ? -1.0 : PyFloat_AsDouble(total);
    Py_XDECREF(total);
    if (PyErr_Occurred()) {
        return -1;
    }
    *out = n < 0.0 || n >= 9e18 ? UINT64_MAX : (uint64_t)n;
    return 0;
}

/* Reads what a SearchGenerator holds. */
static int
read_generator(pyct_state *state, PyObject *generator, py_suggester *s,
               ct_generator_options *options)
{
    PyObject *base =
        pyct_lazy(&state->searcher_class, "ctune.search._searcher", "Searcher");
    PyObject *config = NULL;
    pyct_names *names = pyct_driver_names(s->p.driver);
    int wants = -1;

    s->p.object =
        base == NULL ? NULL : PyObject_GetAttr(generator, state->str.searcher);
    if (s->p.object != NULL) {
        wants = wants_results(state, s->p.object, base);
        s->p.wants_results = wants > 0;
    }
    config = wants < 0 ? NULL : PyObject_GetAttr(generator, state->str.config);
    int st = config == NULL ? -1 : 0;
    if (st == 0) {
        st = pyct_space_from_config(state, names, config, &s->space, &s->ctx);
    }
    Py_XDECREF(config);
    if (st < 0 || total_of(state, generator, &options->num_samples) < 0) {
        return -1;
    }
    options->names = pyct_names_table(names);
    options->space = s->space;
    options->ops = pyct_space_function_ops();
    options->ctx = s->ctx;
    return random_seed(&options->seed);
}

static ct_searcher *
generator_adapter(pyct_state *state, PyObject *generator, PyObject *driver, ct_err *err)
{
    ct_searcher *made = NULL;
    ct_generator_options options = {.seed = 0};
    py_suggester *s = ct_calloc(1, sizeof *s);
    if (s == NULL) {
        ct_fail_mem(err);
        return NULL;
    }
    s->suggester.ops = &suggester_ops;
    s->p.state = state;
    s->p.driver = driver;
    if (read_generator(state, generator, s, &options) < 0) {
        pyct_foreign(err);
    } else if (pyct_driver_keep_state(driver, s->p.object, false) < 0) {
        pyct_foreign(err);
    } else {
        ct_generator_new(&made, &s->suggester, &options, err);
    }
    if (made == NULL) {
        suggester_free(&s->suggester);
    }
    return made;
}

/* ---- any other SearchAlgorithm ---- */

typedef struct py_search {
    ct_searcher searcher; /* first */
    py_policy p;
    uint64_t total;
    PyObject *own_ids; /* dict: id of a trial -> what the object calls it; or NULL */
} py_search;

/* A trial that was made before has the id that it got then; this object gave it one of its
 * own. New reference. */
static PyObject *
own_id(const py_search *s, const char *id)
{
    PyObject *text = PyUnicode_FromString(id);
    PyObject *own = text == NULL || s->own_ids == NULL
                        ? NULL
                        : PyDict_GetItemWithError(s->own_ids, text);
    if (own == NULL) {
        return text;
    }
    Py_DECREF(text);
    return Py_NewRef(own);
}

/* Takes `given` in place of the id at *out. */
static int
adopt_id(py_search *s, char **out, char *given)
{
    if (s->own_ids == NULL) {
        s->own_ids = PyDict_New();
    }
    PyObject *own = PyUnicode_FromString(*out);
    int bad = s->own_ids == NULL || own == NULL ||
                      PyDict_SetItemString(s->own_ids, given, own) < 0
                  ? -1
                  : 0;
    Py_XDECREF(own);
    ct_free(*out);
    *out = given;
    return bad;
}

/* An attribute of a Trial as value; None stays an empty dict. */
static int
take_dict(py_search *s, PyObject *trial, PyObject *name, ct_value *out)
{
    PyObject *dict = PyObject_GetAttr(trial, name);
    int st = dict == NULL ? -1
                          : pyct_value_from_object(
                                s->p.state, pyct_driver_names(s->p.driver), dict, out);
    if (st == 0 && out->kind == CT_NIL) {
        *out = ct_dict();
    }
    if (st == 0 && out->kind != CT_DICT) {
        PyErr_Format(PyExc_TypeError,
                     "%s.next_trial(): %U must be a dict with str keys",
                     Py_TYPE(s->p.object)->tp_name, name);
        st = -1;
    }
    Py_XDECREF(dict);
    return st;
}

static int
take_text(PyObject *trial, PyObject *name, char **out)
{
    PyObject *text = PyObject_GetAttr(trial, name);
    PyObject *shown = text == NULL ? NULL : PyObject_Str(text);
    const char *utf8 = shown == NULL ? NULL : PyUnicode_AsUTF8(shown);
    if (utf8 != NULL) {
        *out =
            ct_strndup(text == Py_None ? "" : utf8, text == Py_None ? 0 : strlen(utf8));
        if (*out == NULL) {
            PyErr_NoMemory();
        }
    }
    Py_XDECREF(text);
    Py_XDECREF(shown);
    return *out == NULL ? -1 : 0;
}

static int
search_finished(py_search *s)
{
    PyObject *answer =
        PyObject_CallMethodNoArgs(s->p.object, s->p.state->str.is_finished);
    int finished = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return finished;
}

static ct_status
search_next(ct_searcher *to, const ct_board *b, ct_suggestion *out,
            ct_search_state *state, ct_err *err)
{
    py_search *s = (py_search *)to;
    pyct_state *names = s->p.state;
    (void)b;
    char *given = out->id;
    *out = (ct_suggestion){NULL, NULL, ct_nil(), ct_nil(), 0};
    PyObject *trial = PyObject_CallMethodNoArgs(s->p.object, names->str.next_trial);
    int st = trial == NULL ? -1 : 0;
    if (trial == Py_None) {
        st = search_finished(s);
        *state = st > 0 ? CT_SEARCH_FINISHED : CT_SEARCH_WAIT;
    } else if (trial != NULL) {
        *state = CT_SEARCH_TRIAL;
        st = take_text(trial, names->str.trial_id, &out->id);
        if (st == 0 && given != NULL) {
            st = adopt_id(s, &out->id, given);
            given = NULL;
        }
        st = st < 0 ? st : take_text(trial, names->str.experiment_tag, &out->tag);
        st = st < 0 ? st : take_dict(s, trial, names->str.config, &out->config);
        st = st < 0 ? st
                    : take_dict(s, trial, names->str.evaluated_params, &out->evaluated);
    }
    Py_XDECREF(trial);
    ct_free(given);
    if (st < 0) {
        ct_suggestion_deinit(out);
        return pyct_foreign(err);
    }
    return CT_OK;
}

static ct_status
search_on_result(ct_searcher *to, const ct_board *b, ct_trial_id t, const ct_result *r,
                 ct_err *err)
{
    py_search *s = (py_search *)to;
    if (!s->p.wants_results) {
        return CT_OK;
    }
    PyObject *id = own_id(s, ct_trials_get(b->trials, t)->id);
    ct_status st = id == NULL ? pyct_foreign(err) : tell_result(&s->p, id, t, r, err);
    Py_XDECREF(id);
    return st;
}

static ct_status
search_on_complete(ct_searcher *to, const ct_board *b, ct_trial_id t,
                   const ct_result *r, bool error, ct_err *err)
{
    py_search *s = (py_search *)to;
    PyObject *id = own_id(s, ct_trials_get(b->trials, t)->id);
    ct_status st =
        id == NULL ? pyct_foreign(err) : tell_complete(&s->p, id, t, r, error, err);
    Py_XDECREF(id);
    return st;
}

static uint64_t
search_total(const ct_searcher *to)
{
    return ((const py_search *)to)->total;
}

/* The ids; what else the object knows it keeps itself: see pyct_driver_keep_state. */
static ct_status
search_save(ct_searcher *to, ct_names *names, ct_value *out, ct_err *err)
{
    py_search *s = (py_search *)to;
    pyct_names *own = pyct_driver_names(s->p.driver);
    (void)names;
    *out = ct_nil();
    return s->own_ids == NULL ||
                   pyct_value_from_object(s->p.state, own, s->own_ids, out) == 0
               ? CT_OK
               : pyct_foreign(err);
}

static ct_status
search_restore(ct_searcher *to, ct_names *names, const ct_value *v, ct_err *err)
{
    py_search *s = (py_search *)to;
    (void)names;
    PyObject *ids = pyct_value_to_object(s->p.state, pyct_driver_names(s->p.driver), v);
    if (ids == NULL) {
        return pyct_foreign(err);
    }
    Py_XSETREF(s->own_ids, ids);
    return CT_OK;
}

static void
search_free(ct_searcher *to)
{
    py_search *s = (py_search *)to;
    Py_DECREF(s->p.object);
    Py_XDECREF(s->own_ids);
    ct_free(s);
}

static const ct_searcher_ops search_ops = {
    .name = "python",
    .foreign = true,
    .next = search_next,
    .on_result = search_on_result,
    .on_complete = search_on_complete,
    .total = search_total,
    .save = search_save,
    .restore = search_restore,
    .free = search_free,
};

static ct_searcher *
search_adapter(pyct_state *state, PyObject *search_alg, PyObject *driver, ct_err *err)
{
    uint64_t total;
    int has = pyct_has(search_alg, state->str.next_trial);
    if (has == 0) {
        PyErr_Format(
            PyExc_TypeError,
            "search_alg must be a Searcher or a SearchAlgorithm with next_trial(), "
            "got %s",
            Py_TYPE(search_alg)->tp_name);
    }
    if (has != 1) {
        pyct_foreign(err);
        return NULL;
    }
    if (total_of(state, search_alg, &total) < 0 ||
        pyct_driver_keep_state(driver, search_alg, false) < 0) {
        pyct_foreign(err);
        return NULL;
    }
    py_search *s = ct_calloc(1, sizeof *s);
    if (s == NULL) {
        ct_fail_mem(err);
        return NULL;
    }
    s->searcher.ops = &search_ops;
    s->p = (py_policy){state, Py_NewRef(search_alg), driver, true};
    s->own_ids = NULL;
    s->total = total;
    return &s->searcher;
}

/* ---- which one ---- */

/* Whether the object is of the class and none of what the engine would do instead is
 * overridden. -1 with an exception. */
static int
is_native(pyct_state *state, PyObject *object, PyObject *class)
{
    PyObject *const names[] = {state->str.next_trial, state->str.on_trial_result,
                               state->str.on_trial_complete, state->str.is_finished};
    int st = class == NULL ? -1 : PyObject_IsInstance(object, class);
    for (size_t i = 0; st == 1 && i < sizeof names / sizeof names[0]; i++) {
        int over = pyct_overridden(object, (PyTypeObject *)class, names[i]);
        st = over < 0 ? -1 : !over;
    }
    return st;
}

ct_searcher *
pyct_searcher_adapter(pyct_state *state, PyObject *search_alg, PyObject *driver,
                      ct_err *err)
{
    int native =
        is_native(state, search_alg,
                  pyct_lazy(&state->generator_class, "ctune.search.search_generator",
                            "SearchGenerator"));
    if (native > 0) {
        return generator_adapter(state, search_alg, driver, err);
    }
    if (native == 0) {
        native = is_native(state, search_alg,
                           pyct_lazy(&state->basic_class, "ctune.search.basic_variant",
                                     "BasicVariantGenerator"));
    }
    if (native > 0) {
        return pyct_basic_searcher(state, search_alg, driver, err);
    }
    if (native < 0) {
        pyct_foreign(err);
        return NULL;
    }
    return search_adapter(state, search_alg, driver, err);
}
