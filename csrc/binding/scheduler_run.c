/* scheduler_run.c: scheduler objects as policies of a run; see scheduler.h. */
#include "scheduler.h"

#include "convert.h"
#include "driver.h"
#include "errors.h"
#include "guard.h"
#include "overrides.h"
#include "native.h"
#include "driver_int.h"

#include "base/mem.h"
#include "sched/fifo.h"

#include <string.h>

/* ---- a native scheduler in a run ---- */

typedef struct lent {
    ct_scheduler scheduler; /* first */
    ct_scheduler_ops ops;   /* own copy: name and buffering are the engine's */
    pyct_native *owner;     /* strong */
    pyct_names *names;      /* of the run */
    ct_name time_attr;      /* in the run's table */
    ct_name metric;
    ct_trial_id offset;    /* number of the run's trial 0 */
    const ct_board *board; /* of the question under way */
} lent;

/* The engine's numbers include those of earlier trials. */
static ct_trial_status
lent_status(void *ctx, ct_trial_id number)
{
    const lent *self = ctx;
    return number >= self->offset ? ct_board_status(self->board, number - self->offset)
                                  : CT_TRIAL_TERMINATED;
}

static bool
lent_any(void *ctx, unsigned statuses)
{
    return ct_board_any(((const lent *)ctx)->board, statuses);
}

static const ct_board_ops LENT_VIEW = {lent_status, lent_any};

static ct_board
view_of(lent *self, const ct_board *b)
{
    ct_board view = *b;
    self->board = b;
    view.ops = &LENT_VIEW;
    view.ctx = self;
    return view;
}

/* The result as the engine knows it: under its own two names. */
static ct_result
numbers_of(const lent *self, const ct_result *r, ct_metric items[2])
{
    ct_result out = {items, 0, NULL};
    if (r != NULL && ct_result_get(r, self->time_attr, &items[0].value)) {
        items[out.count++].name = PYCT_TIME;
    }
    if (r != NULL && ct_result_get(r, self->metric, &items[out.count].value)) {
        items[out.count++].name = PYCT_METRIC;
    }
    return out;
}

/* Orders of this question speak of the run's trials. */
static void
renumber(const lent *self, ct_orders *orders, size_t from)
{
    for (size_t i = from; i < orders->count; i++) {
        orders->items[i].trial -= self->offset;
        if (orders->items[i].source != CT_TRIAL_NONE) {
            orders->items[i].source -= self->offset;
        }
    }
}

/* Remembers the text id for later questions from Python. */
static ct_status
lent_meet(lent *self, const char *id, ct_trial_id number, ct_err *err)
{
    pyct_native *owner = self->owner;
    ct_status st = ct_grow((void **)&owner->met, &owner->met_cap, owner->met_count + 1,
                           sizeof *owner->met, err);
    char *copy = st == CT_OK ? ct_strndup(id, strlen(id)) : NULL;
    if (copy == NULL) {
        return st != CT_OK ? st : ct_fail_mem(err);
    }
    owner->met[owner->met_count++] = (run_trial){copy, number};
    return CT_OK;
}

/* A draw needs the GIL; native turns work without it. */
static ct_status
lent_draw_and_add(lent *self, const ct_board *view, ct_trial_id number,
                  ct_orders *orders, ct_err *err)
{
    ct_scheduler *engine = self->owner->engine;
    if (self->owner->rng == NULL) {
        return engine->ops->on_add(engine, view, number, orders, err);
    }
    pyct_state *state = pyct_state_of((PyObject *)self->owner);
    pyct_entry entry = pyct_enter(state);
    ct_status st = engine->ops->on_add(engine, view, number, orders, err);
    if (st == CT_OK) {
        st = pyct_rng_check(self->owner->rng, err);
    }
    pyct_leave(state, entry);
    return st;
}

static ct_status
lent_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
            ct_err *err)
{
    lent *self = (lent *)s;
    ct_trial_id number = self->offset + t;
    ct_board view = view_of(self, b);
    size_t from = orders->count;
    ct_status st = CT_OK;
    if (number >= self->owner->numbers) { /* not a retry */
        st = lent_meet(self, ct_trials_get(b->trials, t)->id, number, err);
        self->owner->numbers = st == CT_OK ? number + 1 : self->owner->numbers;
    }
    if (st == CT_OK) {
        st = lent_draw_and_add(self, &view, number, orders, err);
    }
    if (st == CT_OK && self->owner->kind->on_add != NULL) {
        st = self->owner->kind->on_add(self->owner, &view, number, orders, err);
    }
    renumber(self, orders, from);
    return st;
}

static ct_status
lent_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
               ct_verdict *out, ct_orders *orders, ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *engine = self->owner->engine;
    ct_metric items[2];
    ct_result numbers = numbers_of(self, r, items);
    ct_board view = view_of(self, b);
    size_t from = orders->count;
    *out = CT_CONTINUE;
    if (self->owner->kind->lenient && numbers.count < 2) {
        return CT_OK;
    }
    ct_status st = engine->ops->on_result(engine, &view, self->offset + t, &numbers,
                                          out, orders, err);
    renumber(self, orders, from);
    return st;
}

static ct_status
lent_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                 ct_orders *orders, ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *engine = self->owner->engine;
    ct_metric items[2];
    ct_result numbers = numbers_of(self, r, items);
    ct_board view = view_of(self, b);
    size_t from = orders->count;
    ct_status st = engine->ops->on_complete(engine, &view, self->offset + t, &numbers,
                                            orders, err);
    renumber(self, orders, from);
    return st;
}

static ct_status
lent_on_error(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
              ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *engine = self->owner->engine;
    ct_board view = view_of(self, b);
    size_t from = orders->count;
    ct_status st = engine->ops->on_error(engine, &view, self->offset + t, orders, err);
    renumber(self, orders, from);
    return st;
}

static ct_status
lent_on_remove(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
               ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *engine = self->owner->engine;
    ct_board view = view_of(self, b);
    size_t from = orders->count;
    ct_status st = engine->ops->on_remove(engine, &view, self->offset + t, orders, err);
    renumber(self, orders, from);
    return st;
}

static ct_status
lent_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
            ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *engine = self->owner->engine;
    ct_board view = view_of(self, b);
    size_t from = orders->count;
    if (!pyct_native_chooses(self->owner)) {
        *out = ct_fifo_choose(b);
        return CT_OK;
    }
    ct_status st = engine->ops->choose(engine, &view, out, orders, err);
    renumber(self, orders, from);
    *out = *out != CT_TRIAL_NONE ? *out - self->offset : CT_TRIAL_NONE;
    return st;
}

static ct_status
lent_on_exploited(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_trial_id source,
                  bool done, const ct_value *note, ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *engine = self->owner->engine;
    ct_board view = view_of(self, b);
    return engine->ops->on_exploited(engine, &view, self->offset + t,
                                     self->offset + source, done, note, err);
}

/* The stream that the engine draws from, which the user's code may draw from as well; nil
 * for engines that draw nothing. */
static ct_status
stream_save(const lent *self, ct_value *out, ct_err *err)
{
    pyct_state *state = pyct_state_of((PyObject *)self->owner);
    ct_status st = CT_OK;
    if (self->owner->rng == NULL) {
        return CT_OK;
    }
    pyct_entry entry = pyct_enter(state);
    PyObject *now = pyct_rng_state(self->owner->rng);
    if (now == NULL || pyct_value_from_object(state, self->names, now, out) < 0) {
        st = pyct_foreign(err);
    }
    Py_XDECREF(now);
    pyct_leave(state, entry);
    return st;
}

static ct_status
stream_restore(const lent *self, const ct_value *v, ct_err *err)
{
    pyct_state *state = pyct_state_of((PyObject *)self->owner);
    ct_status st = CT_OK;
    if (self->owner->rng == NULL || v->kind == CT_NIL) {
        return CT_OK;
    }
    pyct_entry entry = pyct_enter(state);
    PyObject *saved = pyct_value_to_object(state, self->names, v);
    if (saved == NULL || pyct_rng_set_state(self->owner->rng, saved) < 0) {
        st = pyct_foreign(err);
    }
    Py_XDECREF(saved);
    pyct_leave(state, entry);
    return st;
}

/* [offset, engine, random stream]: the numbers of the run's trials stay what they were. */
static ct_status
lent_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *inner = self->owner->engine;
    ct_value parts[] = {ct_i64((int64_t)self->offset), ct_nil(), ct_nil()};
    ct_status st = inner->ops->save(inner, names, &parts[1], err);
    if (st == CT_OK) {
        st = stream_save(self, &parts[2], err);
    }
    if (st == CT_OK) {
        return ct_value_list_of(out, parts, 3, err);
    }
    ct_value_deinit(&parts[1]);
    return st;
}

/* The run's trials are there already, and the object answers for them afterwards. */
static ct_status
meet_again(lent *self, ct_err *err)
{
    const ct_trials *trials =
        pyct_driver_board((pyct_driver *)self->owner->driver)->trials;
    size_t n = ct_trials_count(trials);
    ct_status st = CT_OK;
    for (ct_trial_id t = 0; st == CT_OK && t < n; t++) {
        st = lent_meet(self, ct_trials_get(trials, t)->id, self->offset + t, err);
    }
    self->owner->offset = self->offset;
    self->owner->numbers = self->offset + (ct_trial_id)n;
    return st;
}

static ct_status
lent_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *inner = self->owner->engine;
    if (v->kind != CT_LIST || v->len != 3 || v->u.items[0].kind != CT_I64 ||
        v->u.items[0].u.i < 0 || v->u.items[0].u.i >= (int64_t)CT_TRIAL_NONE) {
        return ct_fail(err, CT_ECORRUPT, "scheduler",
                       "the saved state is not one of %s", self->owner->kind->name);
    }
    ct_status st = inner->ops->restore(inner, names, &v->u.items[1], err);
    if (st == CT_OK) {
        st = stream_restore(self, &v->u.items[2], err);
    }
    if (st == CT_OK) {
        self->offset = (ct_trial_id)v->u.items[0].u.i;
        st = meet_again(self, err);
    }
    return st;
}

static ct_status
lent_describe(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err)
{
    lent *self = (lent *)s;
    ct_scheduler *inner = self->owner->engine;
    ct_board view = view_of(self, b);
    return inner->ops->describe(inner, &view, out, err);
}

/* When the run is over, its trials keep the status that they had. Lost without memory:
 * then they count as terminated. */
static void
keep_statuses(lent *self)
{
    pyct_native *owner = self->owner;
    size_t n = owner->numbers;
    if (!pyct_native_chooses(owner) || self->board == NULL ||
        ct_grow((void **)&owner->ended, &owner->ended_cap, n, sizeof *owner->ended,
                NULL) != CT_OK) {
        return;
    }
    for (; owner->ended_count < self->offset; owner->ended_count++) {
        owner->ended[owner->ended_count] = CT_TRIAL_TERMINATED;
    }
    for (size_t i = self->offset; i < n; i++) {
        owner->ended[i] = (uint8_t)lent_status(self, (ct_trial_id)i);
    }
    owner->ended_count = n;
}

static void
lent_free(ct_scheduler *s)
{
    lent *self = (lent *)s;
    keep_statuses(self);
    self->owner->driver = NULL;
    if (self->owner->rng != NULL) {
        pyct_rng_record(self->owner->rng, NULL);
    }
    Py_DECREF((PyObject *)self->owner);
    ct_free(s);
}

static const ct_scheduler_ops LENT_OPS = {
    .foreign = false,
    .on_add = lent_on_add,
    .on_result = lent_on_result,
    .on_complete = lent_on_complete,
    .on_error = lent_on_error,
    .on_remove = lent_on_remove,
    .choose = lent_choose,
    .save = lent_save,
    .restore = lent_restore,
    .describe = lent_describe,
    .free = lent_free,
};

static ct_scheduler *
lend(PyObject *scheduler, PyObject *driver, ct_err *err)
{
    pyct_native *owner = pyct_native_ready(scheduler);
    pyct_names *names = pyct_driver_names(driver);
    ct_name time_attr;
    ct_name metric = CT_NAME_NONE;
    if (owner == NULL || pyct_native_objective(owner) < 0 ||
        pyct_name_of(names, owner->time_attr, &time_attr) < 0 ||
        (!owner->kind->without_metric &&
         pyct_name_of(names, owner->base.metric, &metric) < 0)) {
        (void)pyct_foreign(err);
        return NULL;
    }
    if (owner->driver != NULL) {
        (void)ct_fail(err, CT_EINVAL, "scheduler",
                      "is in use by another run; give each run a scheduler of its own");
        return NULL;
    }
    if (owner->kind->keeps_more &&
        pyct_driver_keep_state(driver, scheduler, true) < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    lent *self = ct_calloc(1, sizeof *self);
    if (self == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    self->ops = LENT_OPS;
    self->ops.name = owner->engine->ops->name;
    self->ops.on_exploited =
        owner->engine->ops->on_exploited != NULL ? lent_on_exploited : NULL;
    self->ops.supports_buffering = owner->engine->ops->supports_buffering;
    self->scheduler.ops = &self->ops;
    self->owner = (pyct_native *)Py_NewRef(scheduler);
    self->names = names;
    self->time_attr = time_attr;
    self->metric = metric;
    self->offset = owner->numbers;
    owner->driver = driver;
    owner->offset = self->offset;
    if (owner->rng != NULL) {
        pyct_rng_record(owner->rng, pyct_driver_answers(driver));
    }
    return &self->scheduler;
}

/* ---- a Python scheduler in a run ---- */

/* What an adapter may answer without Python. */
typedef enum method_kind {
    METHOD_ADD,
    METHOD_RESULT,
    METHOD_COMPLETE,
    METHOD_ERROR,
    METHOD_REMOVE,
    METHOD_CHOOSE,
    METHOD_COUNT
} method_kind;

typedef struct foreign_scheduler {
    ct_scheduler scheduler; /* first */
    ct_scheduler_ops ops;   /* own copy: buffering is a property of the object */
    pyct_state *state;
    PyObject *object;        /* strong */
    PyObject *driver;        /* borrowed: it owns the adapter */
    PyObject *controller;    /* strong; NULL until needed */
    bool skip[METHOD_COUNT]; /* FIFO's own: there is nothing to call */
} foreign_scheduler;

static PyObject *
method_name(const pyct_state *state, method_kind m)
{
    switch (m) {
    case METHOD_ADD:
        return state->str.on_trial_add;
    case METHOD_RESULT:
        return state->str.on_trial_result;
    case METHOD_COMPLETE:
        return state->str.on_trial_complete;
    case METHOD_ERROR:
        return state->str.on_trial_error;
    case METHOD_REMOVE:
        return state->str.on_trial_remove;
    case METHOD_CHOOSE:
        return state->str.choose_trial_to_run;
    case METHOD_COUNT:
        break;
    }
    return state->str.on_trial_add;
}

/* Calls object.method(controller, trial?, last?). `t` NONE: no trial; last may be NULL.
 * New reference, or NULL. */
static PyObject *
foreign_call(foreign_scheduler *self, method_kind m, ct_trial_id t, PyObject *last,
             ct_orders *orders)
{
    if (self->controller == NULL) {
        self->controller = pyct_driver_controller(self->driver);
        if (self->controller == NULL) {
            return NULL;
        }
    }
    PyObject *trial = NULL;
    if (t != CT_TRIAL_NONE) {
        trial = pyct_driver_trial(self->driver, t);
        if (trial == NULL) {
            return NULL;
        }
    }
    PyObject *args[] = {self->object, self->controller, trial, last};
    size_t n = trial == NULL ? 2 : last == NULL ? 3 : 4;
    pyct_driver_collect(self->driver, orders);
    PyObject *out =
        PyObject_VectorcallMethod(method_name(self->state, m), args, n, NULL);
    pyct_driver_collect(self->driver, NULL);
    Py_XDECREF(trial);
    return out;
}

/* For the methods whose answer does not matter. */
static ct_status
foreign_notify(foreign_scheduler *self, method_kind m, ct_trial_id t, PyObject *last,
               ct_orders *orders, ct_err *err)
{
    PyObject *out = foreign_call(self, m, t, last, orders);
    if (out == NULL) {
        return pyct_foreign(err);
    }
    Py_DECREF(out);
    return CT_OK;
}

static ct_status
foreign_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
               ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    return self->skip[METHOD_ADD]
               ? CT_OK
               : foreign_notify(self, METHOD_ADD, t, NULL, orders, err);
}

/* 0 and *out, or -1 with a ValueError that names what was returned. */
static int
verdict_of(foreign_scheduler *self, PyObject *said, ct_verdict *out)
{
    PyObject *const words[] = {self->state->str.CONTINUE, self->state->str.PAUSE,
                               self->state->str.STOP, self->state->str.NOOP};
    const ct_verdict verdicts[] = {CT_CONTINUE, CT_PAUSE, CT_STOP, CT_NOOP};
    for (size_t i = 0; i < 4; i++) {
        if (said == words[i] ||
            (PyUnicode_Check(said) && PyUnicode_Compare(said, words[i]) == 0)) {
            *out = verdicts[i];
            return 0;
        }
    }
    PyErr_Format(
        PyExc_ValueError,
        "%s.on_trial_result() returned %R; it must return one of CONTINUE, PAUSE, "
        "STOP and NOOP of TrialScheduler",
        Py_TYPE(self->object)->tp_name, said);
    return -1;
}

static ct_status
foreign_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                  ct_verdict *out, ct_orders *orders, ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    *out = CT_CONTINUE;
    if (self->skip[METHOD_RESULT]) {
        return CT_OK;
    }
    PyObject *result = pyct_driver_result_dict(self->driver, r, t, 1);
    PyObject *said =
        result != NULL ? foreign_call(self, METHOD_RESULT, t, result, orders) : NULL;
    int st = said != NULL ? verdict_of(self, said, out) : -1;
    Py_XDECREF(result);
    Py_XDECREF(said);
    return st == 0 ? CT_OK : pyct_foreign(err);
}

static ct_status
foreign_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                    const ct_result *r, ct_orders *orders, ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    if (self->skip[METHOD_COMPLETE]) {
        return CT_OK;
    }
    PyObject *result =
        r != NULL ? pyct_driver_result_dict(self->driver, r, t, 1) : PyDict_New();
    if (result == NULL) {
        return pyct_foreign(err);
    }
    ct_status st = foreign_notify(self, METHOD_COMPLETE, t, result, orders, err);
    Py_DECREF(result);
    return st;
}

static ct_status
foreign_on_error(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
                 ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    return self->skip[METHOD_ERROR]
               ? CT_OK
               : foreign_notify(self, METHOD_ERROR, t, NULL, orders, err);
}

static ct_status
foreign_on_remove(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
                  ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    return self->skip[METHOD_REMOVE]
               ? CT_OK
               : foreign_notify(self, METHOD_REMOVE, t, NULL, orders, err);
}

static ct_status
foreign_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
               ct_err *err)
{
    foreign_scheduler *self = (foreign_scheduler *)s;
    if (self->skip[METHOD_CHOOSE]) {
        *out = ct_fifo_choose(b);
        return CT_OK;
    }
    PyObject *said = foreign_call(self, METHOD_CHOOSE, CT_TRIAL_NONE, NULL, orders);
    int st = said == NULL ? -1 : 0;
    *out = CT_TRIAL_NONE;
    if (said != NULL && said != Py_None) {
        st = pyct_driver_trial_number(self->driver, said, out);
    }
    Py_XDECREF(said);
    return st == 0 ? CT_OK : pyct_foreign(err);
}

static ct_status
foreign_describe(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err)
{
    (void)b;
    foreign_scheduler *self = (foreign_scheduler *)s;
    PyObject *text = PyObject_CallMethod(self->object, "debug_string", NULL);
    Py_ssize_t len = 0;
    const char *utf8 = text != NULL ? PyUnicode_AsUTF8AndSize(text, &len) : NULL;
    ct_status st =
        utf8 != NULL ? ct_buf_put(out, utf8, (size_t)len, err) : pyct_foreign(err);
    Py_XDECREF(text);
    return st;
}

static void
foreign_free(ct_scheduler *s)
{
    foreign_scheduler *self = (foreign_scheduler *)s;
    Py_XDECREF(self->controller);
    Py_DECREF(self->object);
    ct_free(self);
}

/* What it knows, the object keeps: see pyct_driver_keep_state. */
static ct_status
foreign_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)s, (void)names, (void)err;
    *out = ct_nil();
    return CT_OK;
}

static ct_status
foreign_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)s, (void)names, (void)v, (void)err;
    return CT_OK;
}

static const ct_scheduler_ops FOREIGN_OPS = {
    .name = "python",
    .foreign = true,
    .supports_buffering = true,
    .on_add = foreign_on_add,
    .on_result = foreign_on_result,
    .on_complete = foreign_on_complete,
    .on_error = foreign_on_error,
    .on_remove = foreign_on_remove,
    .choose = foreign_choose,
    .save = foreign_save,
    .restore = foreign_restore,
    .describe = foreign_describe,
    .free = foreign_free,
};

/* Marks what is FIFO's: notices that do nothing, and its choice, which would otherwise
 * look at every trial. Counts the rest; -1 with an exception. */
static int
find_skips(pyct_state *state, PyObject *object, bool skip[METHOD_COUNT])
{
    int calls = METHOD_COUNT;
    for (int m = 0; m < METHOD_COUNT; m++) {
        int own = 1;
        if (PyObject_TypeCheck(object, state->fifo_type)) {
            own = pyct_overridden(object, state->fifo_type,
                                  method_name(state, (method_kind)m));
        }
        if (own > 0 && m == METHOD_CHOOSE &&
            PyObject_TypeCheck(object, state->asha_type) &&
            ((pyct_native *)object)->engine != NULL &&
            !pyct_native_chooses((pyct_native *)object)) { /* ASHA's is FIFO's then */
            own = pyct_overridden(object, state->asha_type,
                                  method_name(state, METHOD_CHOOSE));
        }
        if (own < 0) {
            return -1;
        }
        skip[m] = own == 0;
        calls -= skip[m] ? 1 : 0;
    }
    return calls;
}

static int
supports_buffering(pyct_state *state, PyObject *object)
{
    PyObject *value = PyObject_GetAttr(object, state->str.supports_buffered_results);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return 1;
    }
    int truth = value == NULL ? -1 : PyObject_IsTrue(value);
    Py_XDECREF(value);
    return truth;
}

static ct_scheduler *
foreign_new(pyct_state *state, PyObject *object, PyObject *driver, const bool *skip,
            ct_err *err)
{
    int buffering = supports_buffering(state, object);
    if (buffering < 0 || pyct_driver_keep_state(driver, object, false) < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    foreign_scheduler *self = ct_calloc(1, sizeof *self);
    if (self == NULL) {
        (void)ct_fail_mem(err);
        return NULL;
    }
    self->ops = FOREIGN_OPS;
    self->ops.supports_buffering = buffering == 1;
    self->scheduler.ops = &self->ops;
    self->state = state;
    self->object = Py_NewRef(object);
    self->driver = driver;
    for (int m = 0; m < METHOD_COUNT; m++) {
        self->skip[m] = skip[m];
    }
    return &self->scheduler;
}

/* Whether any question method of a native scheduler is not that of its class in C. */
static int
native_overridden(pyct_state *state, PyObject *object)
{
    PyTypeObject *const types[] = {state->asha_type,      state->bohb_type,
                                   state->hyperband_type, state->median_type,
                                   state->pbt_type,       state->replay_type};
    size_t i = 0;
    while (i < sizeof types / sizeof types[0] &&
           !PyObject_TypeCheck(object, types[i])) {
        i++;
    }
    if (i == sizeof types / sizeof types[0]) {
        return 1;
    }
    int found = 0;
    for (int m = 0; found == 0 && m < METHOD_COUNT; m++) {
        found = pyct_overridden(object, types[i], method_name(state, (method_kind)m));
    }
    return found;
}

/* A scheduler of another family must at least answer the two questions. */
static int
check_interface(pyct_state *state, PyObject *object)
{
    int answers =
        PyType_Check(object) ? 0 : pyct_has(object, state->str.on_trial_result);
    if (answers == 1) {
        answers = pyct_has(object, state->str.choose_trial_to_run);
    }
    if (answers != 0) {
        return answers < 0 ? -1 : 0;
    }
    PyErr_Format(
        PyExc_TypeError,
        "scheduler must be an object of a TrialScheduler class, or the name of "
        "one, got %R",
        object);
    return -1;
}

ct_scheduler *
pyct_scheduler_adapter(pyct_state *state, PyObject *scheduler, PyObject *driver,
                       ct_err *err)
{
    bool skip[METHOD_COUNT];
    int calls =
        check_interface(state, scheduler) < 0 ? -1 : find_skips(state, scheduler, skip);
    int overridden = 1;
    if (calls > 0 && PyObject_TypeCheck(scheduler, state->native_type)) {
        overridden = native_overridden(state, scheduler);
    }
    if (calls < 0 || overridden < 0) {
        (void)pyct_foreign(err);
        return NULL;
    }
    if (overridden == 0) {
        return lend(scheduler, driver, err);
    }
    if (calls == 0) {
        ct_scheduler *fifo = NULL;
        return ct_fifo_new(&fifo, err) == CT_OK ? fifo : NULL;
    }
    return foreign_new(state, scheduler, driver, skip, err);
}
