/* driver.c: _ctune.Driver: one run of an experiment.
 *
 * It owns the engine's pieces and the Python objects that they reach through hooks. The
 * run works without the GIL, and what needs Python takes it (see guard.h); only with a
 * scheduler, searcher or stopper written in Python is it held during a turn. */
#include "driver.h"

#include "driver_int.h"
#include "errors.h"
#include "executor.h"
#include "guard.h"
#include "messages.h"
#include "refs.h"
#include "scheduler.h"
#include "searcher.h"
#include "simulation.h"
#include "space.h"
#include "stopper.h"
#include "trainable.h"
#include "trial.h"
#include "types.h"

#include "base/keys.h"
#include "base/mem.h"
#include "exec/inline.h"
#include "os/file.h"
#include "os/realclock.h"
#include "query/rank.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Seconds after which a run looks for signals and whether the display is due. */
#define LOOK_S 0.005

/* --- what other files need --- */

const ct_board *
pyct_driver_board(pyct_driver *self)
{
    return ct_control_board(self->control);
}

pyct_names *
pyct_driver_names(PyObject *driver)
{
    return ((pyct_driver *)driver)->names;
}

ct_answers *
pyct_driver_answers(PyObject *driver)
{
    pyct_driver *self = (pyct_driver *)driver;

    return self->records ? &self->answers : NULL;
}

int
pyct_driver_keep_state(PyObject *driver, PyObject *policy, bool lent)
{
    PyObject *pair = PyTuple_Pack(2, policy, lent ? Py_True : Py_False);
    int st = pair != NULL ? PyList_Append(((pyct_driver *)driver)->stateful, pair) : -1;

    Py_XDECREF(pair);
    return st;
}

void
pyct_driver_collect(PyObject *driver, ct_orders *orders)
{
    ((pyct_driver *)driver)->orders = orders;
}

/* Fills a list with None up to index t. */
static int
reach(PyObject *list, ct_trial_id t)
{
    while (PyList_GET_SIZE(list) <= (Py_ssize_t)t) {
        if (PyList_Append(list, Py_None) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Borrowed. */
static PyObject *
driver_view(pyct_driver *self, ct_trial_id t)
{
    if (reach(self->views, t) < 0) {
        return NULL;
    }
    PyObject *view = PyList_GET_ITEM(self->views, t);
    if (view == Py_None) {
        view = pyct_trial_view_new(self->state, (PyObject *)self, t);
        if (view == NULL || PyList_SetItem(self->views, (Py_ssize_t)t, view) < 0) {
            return NULL;
        }
    }
    return view;
}

PyObject *
pyct_driver_trial(PyObject *driver, ct_trial_id t)
{
    pyct_driver *self = (pyct_driver *)driver;

    if (reach(self->trials, t) < 0) {
        return NULL;
    }
    PyObject *trial = PyList_GET_ITEM(self->trials, t);
    if (trial != Py_None) {
        return Py_NewRef(trial);
    }
    PyObject *view = driver_view(self, t);
    trial = view == NULL ? NULL : PyObject_CallOneArg(self->trial_factory, view);
    if (trial != NULL &&
        PyList_SetItem(self->trials, (Py_ssize_t)t, Py_NewRef(trial)) < 0) {
        Py_CLEAR(trial);
    }
    return trial;
}

PyObject *
pyct_driver_trials(PyObject *driver)
{
    pyct_driver *self = (pyct_driver *)driver;
    size_t n = ct_trials_count(pyct_driver_board(self)->trials);

    if (self->went_on && self->iteration > 0) { /* some may have been replaced */
        self->went_on = false;
        self->made = 0;
        if (PyList_SetSlice(self->shown, 0, PY_SSIZE_T_MAX, NULL) < 0) {
            return NULL;
        }
    }
    for (; self->made < n; self->made++) {
        if (ct_trials_get(pyct_driver_board(self)->trials, (ct_trial_id)self->made)
                ->replaced) {
            continue;
        }
        PyObject *trial = pyct_driver_trial(driver, (ct_trial_id)self->made);
        if (trial == NULL || PyList_Append(self->shown, trial) < 0) {
            Py_XDECREF(trial);
            return NULL;
        }
        Py_DECREF(trial);
    }
    return Py_NewRef(self->shown);
}

int
pyct_driver_trial_number(PyObject *driver, PyObject *trial, ct_trial_id *out)
{
    pyct_driver *self = (pyct_driver *)driver;
    PyObject *id = PyUnicode_Check(trial)
                       ? Py_NewRef(trial)
                       : PyObject_GetAttr(trial, self->state->str.trial_id);
    const char *text = id == NULL ? NULL : PyUnicode_AsUTF8(id);
    int result = -1;

    if (id == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Format(PyExc_TypeError, "expected a Trial of this run, got %.100s: %R",
                     Py_TYPE(trial)->tp_name, trial);
    }

    if (text != NULL) {
        *out = ct_trials_find(pyct_driver_board(self)->trials, text);
        if (*out == CT_TRIAL_NONE) {
            PyErr_Format(PyExc_ValueError, "trial %R does not belong to this run", id);
        } else {
            result = 0;
        }
    }
    Py_XDECREF(id);
    return result;
}

PyObject *
pyct_driver_result_dict(PyObject *driver, const ct_result *r, ct_trial_id t, int flat)
{
    pyct_driver *self = (pyct_driver *)driver;
    PyObject *view = driver_view(self, t);
    PyObject *config = view == NULL ? NULL : pyct_trial_view_config(view);

    if (config == NULL) {
        return NULL;
    }
    return pyct_record_to_dict(self->state, self->names, r->record, config, flat != 0);
}

/* --- hooks of the controller --- */

static ct_status
hook_request(void *ctx, uint32_t experiment, const ct_value *config, ct_value *out,
             ct_err *err)
{
    pyct_driver *self = ctx;
    pyct_entry entry = pyct_enter(self->state);
    PyObject *object = pyct_value_to_object(self->state, self->names, config);
    PyObject *number = object == NULL ? NULL : PyLong_FromUnsignedLong(experiment);
    PyObject *asked =
        number == NULL
            ? NULL
            : PyObject_CallFunctionObjArgs(self->request_hook, number, object, NULL);
    ct_status st = CT_OK;

    *out = ct_nil();
    if (asked == NULL ||
        pyct_value_from_object(self->state, self->names, asked, out) < 0) {
        st = pyct_foreign(err);
    }
    Py_XDECREF(asked);
    Py_XDECREF(number);
    Py_XDECREF(object);
    pyct_leave(self->state, entry);
    return st;
}

/* Borrowed; NULL with an exception set if that is no name. */
static const char *
name_text(const char *parameter, PyObject *name, Py_ssize_t *len)
{
    if (!PyUnicode_Check(name)) {
        PyObject *shown = PyObject_Repr(name);
        if (shown == NULL) {
            PyErr_Clear(); /* its type has to do */
        }
        PyErr_Format(PyExc_TypeError, "%s must return a str, got %.100s%s%.200V",
                     parameter, Py_TYPE(name)->tp_name, shown == NULL ? "" : ": ",
                     shown, "");
        Py_XDECREF(shown);
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(name, len);
    if (text == NULL || strlen(text) != (size_t)*len) {
        PyErr_Clear();
        PyErr_Format(
            PyExc_ValueError,
            "%s returned %.200A, in which a character cannot be part of a name: "
            "a null or a lone surrogate",
            parameter, name);
        return NULL;
    }
    return text;
}

static ct_status
call_namer(pyct_driver *self, const char *parameter, PyObject *namer, ct_trial_id t,
           ct_buf *out, ct_err *err)
{
    pyct_entry entry = pyct_enter(self->state);
    PyObject *trial = pyct_driver_trial((PyObject *)self, t);
    PyObject *name = trial == NULL ? NULL : PyObject_CallOneArg(namer, trial);
    Py_ssize_t len;
    const char *text;
    ct_status st = CT_OK;

    if (name != NULL && name != Py_None) {
        text = name_text(parameter, name, &len);
        st = text == NULL ? pyct_foreign(err) : ct_buf_put(out, text, (size_t)len, err);
    } else if (name == NULL) {
        st = pyct_foreign(err);
    }
    Py_XDECREF(name);
    Py_XDECREF(trial);
    pyct_leave(self->state, entry);
    return st;
}

static ct_status
hook_name(void *ctx, ct_trial_id t, ct_buf *out, ct_err *err)
{
    return call_namer(ctx, "trial_name_creator", ((pyct_driver *)ctx)->name_hook, t,
                      out, err);
}

static ct_status
hook_dirname(void *ctx, ct_trial_id t, ct_buf *out, ct_err *err)
{
    return call_namer(ctx, "trial_dirname_creator", ((pyct_driver *)ctx)->dirname_hook,
                      t, out, err);
}

/* --- states of policies --- */

static ct_status
states_save(void *ctx, ct_value *out, ct_err *err)
{
    pyct_driver *self = ctx;
    pyct_entry entry = pyct_enter(self->state);
    PyObject *bytes = PyObject_CallMethod(self->states, "save", NULL);
    ct_ref *ref =
        bytes == NULL || bytes == Py_None ? NULL : pyct_ref_new(self->state, bytes);
    ct_status st = CT_OK;

    if (ref != NULL) {
        *out = ct_of_ref(ref);
    } else if (bytes == Py_None) {
        st = ct_fail(err, CT_EUNSUPPORTED, "", "the state of a policy cannot be saved");
    } else {
        st = pyct_foreign(err);
    }
    Py_XDECREF(bytes);
    pyct_leave(self->state, entry);
    return st;
}

static ct_status
states_restore(void *ctx, const ct_value *v, ct_err *err)
{
    pyct_driver *self = ctx;
    pyct_entry entry = pyct_enter(self->state);
    PyObject *bytes = pyct_value_to_object(self->state, self->names, v);
    PyObject *done =
        bytes == NULL ? NULL : PyObject_CallMethod(self->states, "restore", "O", bytes);
    ct_status st = done == NULL ? pyct_foreign(err) : CT_OK;

    Py_XDECREF(done);
    Py_XDECREF(bytes);
    pyct_leave(self->state, entry);
    return st;
}

/* Looks at the policies while they are new. */
static int
states_make(pyct_driver *self)
{
    PyObject *class = NULL;

    if (!self->records || PyList_GET_SIZE(self->stateful) == 0) {
        return 0;
    }
    class = pyct_lazy(&self->state->policy_states, "ctune._policies", "PolicyStates");
    self->states =
        class == NULL
            ? NULL
            : PyObject_CallFunctionObjArgs(class, self->stateful, (PyObject *)self,
                                           self->scheduler, self->searcher, NULL);
    return self->states == NULL ? -1 : 0;
}

/* --- inline execution --- */

static pyct_seat *
seat_of(pyct_driver *self, ct_trial_id t, ct_err *err)
{
    if (t >= self->n_seats) {
        size_t n = (size_t)t * 2 + 64;
        pyct_seat *seats = ct_realloc(self->seats, n * sizeof *seats);
        if (seats == NULL) {
            ct_fail_mem(err);
            return NULL;
        }
        memset(seats + self->n_seats, 0, (n - self->n_seats) * sizeof *seats);
        self->seats = seats;
        self->n_seats = n;
    }
    return &self->seats[t];
}

static void
seat_clear(pyct_seat *seat)
{
    Py_CLEAR(seat->host);
    Py_CLEAR(seat->trainable);
}

/* The exception of a step: an Event FAILED made by the host. KeyboardInterrupt is not the
 * trial's: it ends the run. */
static PyObject *
step_failed(pyct_driver *self, pyct_seat *seat)
{
    PyObject *type, *value, *traceback;

    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return NULL;
    }
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_XSETREF(self->exception, Py_NewRef(value));
    PyObject *event =
        PyObject_CallMethodOneArg(seat->host, self->state->str.on_error, value);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return event;
}

/* Keeps what the trainable raised: fail_fast="raise" raises it as it is. */
static int
keep_error(pyct_driver *self, const pyct_seat *seat)
{
    PyObject *error = PyObject_GetAttr(seat->host, self->state->str.error);

    if (error == NULL) {
        return -1;
    }
    if (error != Py_None) {
        Py_XSETREF(self->exception, Py_NewRef(error));
    }
    Py_DECREF(error);
    return 0;
}

static PyObject *
inline_handle(pyct_driver *self, pyct_seat *seat, const ct_command *c)
{
    PyObject *command = pyct_command_new(self->state, self->names, c);
    PyObject *event =
        command == NULL
            ? NULL
            : PyObject_CallMethodOneArg(seat->host, self->state->str.handle, command);

    Py_XDECREF(command);
    if (event != NULL && keep_error(self, seat) < 0) {
        Py_CLEAR(event);
    }
    if (event != NULL && (c->kind == CT_COMMAND_START || c->kind == CT_COMMAND_RESET)) {
        Py_XSETREF(seat->trainable,
                   PyObject_GetAttr(seat->host, self->state->str.trainable));
        if (seat->trainable == NULL) {
            Py_CLEAR(event);
        }
    }
    return event;
}

/* With the GIL. */
static ct_status
inline_carry_out(pyct_driver *self, const ct_command *c, ct_event *ev, ct_err *err)
{
    pyct_seat *seat = seat_of(self, c->trial, err);
    PyObject *event = NULL;

    if (seat == NULL) {
        return CT_ENOMEM;
    }
    if (c->kind == CT_COMMAND_STEP && seat->trainable != Py_None) {
        if (pyct_trainable_step(self->state, seat->trainable, self->names,
                                &self->record) == 0) {
            ev->kind = CT_EVENT_RESULT;
            ev->record = &self->record;
            return CT_OK;
        }
        event = step_failed(self, seat);
    } else {
        if (c->kind == CT_COMMAND_RESET && c->from < self->n_seats) {
            pyct_seat *from = &self->seats[c->from];
            *seat = *from;
            *from = (pyct_seat){NULL, NULL};
        }
        if (seat->host == NULL && c->kind == CT_COMMAND_START) {
            seat->host = PyObject_CallNoArgs(self->host_factory);
        }
        if (seat->host == NULL && PyErr_Occurred()) {
            return pyct_foreign(err);
        }
        if (seat->host == NULL) { /* nothing was started: nothing to stop */
            ev->kind = CT_EVENT_STOPPED;
            return CT_OK;
        }
        event = inline_handle(self, seat, c);
    }
    if (event == NULL ||
        pyct_event_fill(self->state, self->names, event, ev, &self->record) < 0) {
        Py_XDECREF(event);
        return pyct_foreign(err);
    }
    Py_XSETREF(self->event, event); /* ev borrows from it */
    if (c->kind == CT_COMMAND_STOP || c->kind == CT_COMMAND_KILL) {
        seat_clear(seat);
    }
    return CT_OK;
}

/* For whoever asks whether the run makes progress; see get_turn. */
static void
note_turn(pyct_driver *self, bool under_way)
{
    atomic_store_explicit(&self->turn, under_way ? self->iteration + 1 : 0,
                          memory_order_relaxed);
}

static ct_status
inline_run(void *ctx, const ct_command *c, ct_event *ev, ct_err *err)
{
    pyct_driver *self = ctx;
    pyct_entry entry = pyct_enter(self->state);
    note_turn(self, false);
    ct_status st = inline_carry_out(self, c, ev, err);
    note_turn(self, true);

    pyct_leave(self->state, entry);
    return st;
}

/* --- notes to Python --- */

static ct_status
write_params(pyct_driver *self, ct_trial_id t, ct_err *err)
{
    const ct_trial *trial = ct_trials_get(pyct_driver_board(self)->trials, t);
    PyObject *view = trial->dir == NULL ? NULL : driver_view(self, t);
    PyObject *config = view == NULL ? NULL : pyct_trial_view_config(view);
    PyObject *dumps =
        pyct_lazy(&self->state->dumps_config, "ctune._encode", "dumps_config");
    PyObject *bytes = NULL;
    ct_buf path = CT_BUF_INIT;
    ct_status st;

    if (trial->dir == NULL) {
        return CT_OK;
    }
    if (config != NULL && dumps != NULL) {
        bytes = PyObject_CallOneArg(dumps, config);
    }
    if (bytes == NULL) {
        return pyct_foreign(err);
    }
    st = ct_buf_printf(&path, err, "%s/params.pkl", trial->dir);
    if (st == CT_OK) {
        st = ct_buf_terminate(&path, err);
    }
    if (st == CT_OK) {
        st = ct_file_replace((char *)path.data, PyBytes_AS_STRING(bytes),
                             (size_t)PyBytes_GET_SIZE(bytes), false, err);
    }
    ct_buf_deinit(&path);
    Py_DECREF(bytes);
    return st;
}

/* Calls each of a tuple of callables with keyword arguments. */
static int
call_hooks(PyObject *hooks, PyObject *kwargs)
{
    PyObject *none = PyTuple_New(0);

    if (none == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(hooks); i++) {
        PyObject *r = PyObject_Call(PyTuple_GET_ITEM(hooks, i), none, kwargs);
        if (r == NULL) {
            Py_DECREF(none);
            return -1;
        }
        Py_DECREF(r);
    }
    Py_DECREF(none);
    return 0;
}

static int
put_new(PyObject *dict, PyObject *key, PyObject *value)
{
    int bad = value == NULL ? -1 : PyDict_SetItem(dict, key, value);

    Py_XDECREF(value);
    return bad;
}

static int
note_arguments(pyct_driver *self, const ct_note *n, PyObject *kwargs)
{
    pyct_state *state = self->state;
    PyObject *op = (PyObject *)self;

    if (put_new(kwargs, state->str.trials, pyct_driver_trials(op)) < 0) {
        return -1;
    }
    if (n->kind == CT_NOTE_EXPERIMENT_END) {
        return 0;
    }
    if (put_new(kwargs, state->str.iteration,
                PyLong_FromUnsignedLongLong(self->iteration)) < 0 ||
        put_new(kwargs, state->str.trial, pyct_driver_trial(op, n->trial)) < 0) {
        return -1;
    }
    if (n->kind == CT_NOTE_RESULT) {
        ct_result r = {NULL, 0, n->record};
        return put_new(kwargs, state->str.result,
                       pyct_driver_result_dict(op, &r, n->trial, 0));
    }
    if (n->kind == CT_NOTE_CHECKPOINT || n->kind == CT_NOTE_CHECKPOINT_DROP) {
        return put_new(kwargs, state->str.checkpoint,
                       PyObject_CallFunction(self->checkpoint_factory, "s", n->path));
    }
    if (n->kind == CT_NOTE_TRIAL_FAILURE) {
        return put_new(kwargs, state->str.error,
                       PyUnicode_DecodeUTF8(n->text == NULL ? "" : n->text,
                                            (Py_ssize_t)n->text_len, "replace"));
    }
    return 0;
}

/* Whether Python has anything to do with a note. */
static bool
wants_note(const pyct_driver *self, const ct_note *n)
{
    return self->hooks[n->kind] != NULL ||
           (n->kind == CT_NOTE_TRIAL_STARTED && self->write_params) ||
           (n->kind == CT_NOTE_TRIAL_FAILURE && n->blob_len > 0);
}

static ct_status
tell_note(pyct_driver *self, const ct_note *n, ct_err *err)
{
    PyObject *hooks = self->hooks[n->kind];
    ct_status st = CT_OK;

    if (n->kind == CT_NOTE_TRIAL_STARTED && self->write_params) {
        st = write_params(self, n->trial, err);
        if (st != CT_OK) {
            return st;
        }
    }
    if (n->kind == CT_NOTE_TRIAL_FAILURE && n->blob_len > 0) {
        PyObject *text =
            PyUnicode_DecodeUTF8(n->text, (Py_ssize_t)n->text_len, "replace");
        Py_XSETREF(self->failure,
                   Py_BuildValue("(Ny#)", text, n->blob, (Py_ssize_t)n->blob_len));
        if (self->failure == NULL) {
            return pyct_foreign(err);
        }
    }
    if (hooks == NULL) {
        return CT_OK;
    }
    PyObject *kwargs = PyDict_New();
    if (kwargs == NULL || note_arguments(self, n, kwargs) < 0 ||
        call_hooks(hooks, kwargs) < 0) {
        st = pyct_foreign(err);
    }
    Py_XDECREF(kwargs);
    return st;
}

static ct_status
on_note(void *ctx, const ct_note *n, ct_err *err)
{
    pyct_driver *self = ctx;
    if (self->simulated) {
        ct_status st = pyct_simulation_note(self->executor, n, err);
        if (st != CT_OK) {
            return st;
        }
    }
    if (!wants_note(self, n)) {
        return CT_OK;
    }
    pyct_entry entry = pyct_enter(self->state);
    ct_status st = tell_note(self, n, err);
    pyct_leave(self->state, entry);
    return st;
}

/* --- making a driver --- */

/* Borrowed value of a key; NULL when it is missing, or with an exception set. */
static PyObject *
dict_get(PyObject *dict, const char *name)
{
    PyObject *key = PyUnicode_FromString(name);
    PyObject *value = key == NULL ? NULL : PyDict_GetItemWithError(dict, key);

    Py_XDECREF(key);
    return value;
}

/* Borrowed option; NULL with KeyError when it is missing. */
static PyObject *
option(PyObject *options, const char *name)
{
    PyObject *value = dict_get(options, name);

    if (value == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_KeyError, "Driver: option %s is missing", name);
    }
    return value;
}

static int
take_object(PyObject *options, const char *name, PyObject **slot)
{
    PyObject *value = option(options, name);

    if (value == NULL) {
        return -1;
    }
    *slot = value == Py_None ? NULL : Py_NewRef(value);
    return 0;
}

static int
take_integer(PyObject *options, const char *name, long long *out)
{
    PyObject *value = option(options, name);

    *out = value == NULL ? -1 : PyLong_AsLongLong(value);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
take_real(PyObject *options, const char *name, double *out)
{
    PyObject *value = option(options, name);

    *out = value == NULL ? -1.0 : PyFloat_AsDouble(value);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* Borrowed text, NULL for None. */
static int
take_text(PyObject *options, const char *name, const char **out)
{
    PyObject *value = option(options, name);

    *out = NULL;
    if (value == NULL) {
        return -1;
    }
    if (value == Py_None) {
        return 0;
    }
    *out = PyUnicode_AsUTF8(value);
    return *out == NULL ? -1 : 0;
}

static int
take_name(pyct_driver *self, PyObject *options, const char *name, ct_name *out)
{
    PyObject *value = option(options, name);

    *out = CT_NAME_NONE;
    if (value == NULL) {
        return -1;
    }
    return value == Py_None ? 0 : pyct_name_of(self->names, value, out);
}

static int
take_hooks(pyct_driver *self, PyObject *options)
{
    PyObject *hooks = option(options, "hooks");

    if (hooks == NULL || !PyDict_Check(hooks)) {
        return -1;
    }
    for (int k = 0; k < CT_NOTE_COUNT; k++) {
        PyObject *calls = dict_get(hooks, ct_note_name((ct_note_kind)k));
        if (calls != NULL && PyTuple_GET_SIZE(calls) > 0) {
            self->hooks[k] = Py_NewRef(calls);
        }
    }
    self->step_begin = Py_XNewRef(dict_get(hooks, "STEP_BEGIN"));
    self->step_end = Py_XNewRef(dict_get(hooks, "STEP_END"));
    return PyErr_Occurred() ? -1 : 0;
}

static int
take_objects(pyct_driver *self, PyObject *options)
{
    const struct {
        const char *name;
        PyObject **slot;
    } objects[] = {
        {"scheduler", &self->scheduler},
        {"searcher", &self->searcher},
        {"stopper", &self->stopper},
        {"executor", &self->executor},
        {"trial_factory", &self->trial_factory},
        {"host_factory", &self->host_factory},
        {"request_hook", &self->request_hook},
        {"name_hook", &self->name_hook},
        {"dirname_hook", &self->dirname_hook},
        {"heartbeat", &self->heartbeat},
        {"settings", &self->settings},
        {"stands_still", &self->stands_still},
        {"no_snapshot", &self->no_snapshot},
        {"checkpoint_factory", &self->checkpoint_factory},
    };

    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        if (take_object(options, objects[i].name, objects[i].slot) < 0) {
            return -1;
        }
    }
    const char *dir;
    long long params, journal;
    if (take_text(options, "experiment_dir", &dir) < 0 ||
        take_integer(options, "journal", &journal) < 0) {
        return -1;
    }
    self->records = dir != NULL && journal >= 0;
    if (take_real(options, "heartbeat_s", &self->heartbeat_s) < 0 ||
        take_real(options, "stands_still_s", &self->watchdog.limit) < 0 ||
        take_integer(options, "write_params", &params) < 0) {
        return -1;
    }
    self->write_params = params != 0;
    return take_hooks(self, options);
}

/* What the engine could not compute again goes into the journal. */
static int
record_policies(pyct_driver *self, ct_err *err)
{
    ct_status st = ct_recorded_scheduler(&self->policy_scheduler, &self->answers, err);

    if (st == CT_OK) {
        st = ct_recorded_searcher(&self->policy_searcher, &self->answers, err);
    }
    if (st == CT_OK && self->policy_stopper != NULL) {
        st = ct_recorded_stopper(&self->policy_stopper, &self->answers, err);
    }
    return st == CT_OK ? 0 : -1;
}

static int
make_policies(pyct_driver *self, ct_err *err)
{
    PyObject *op = (PyObject *)self;

    self->policy_scheduler =
        pyct_scheduler_adapter(self->state, self->scheduler, op, err);
    if (self->policy_scheduler == NULL) {
        return -1;
    }
    self->policy_searcher = pyct_searcher_adapter(self->state, self->searcher, op, err);
    if (self->policy_searcher == NULL) {
        return -1;
    }
    if (self->stopper != NULL) {
        self->policy_stopper =
            pyct_stopper_adapter(self->state, self->stopper, op, err);
        if (self->policy_stopper == NULL) {
            return -1;
        }
    }
    self->holds_gil =
        self->policy_scheduler->ops->foreign ||
        (self->policy_searcher->ops->foreign &&
         !pyct_basic_check(self->policy_searcher)) ||
        (self->policy_stopper != NULL && self->policy_stopper->ops->foreign) ||
        self->step_begin != NULL || self->step_end != NULL;
    if (states_make(self) < 0) {
        (void)pyct_foreign(err);
        return -1;
    }
    return self->records ? record_policies(self, err) : 0;
}

static int
make_executor(pyct_driver *self, ct_err *err)
{
    ct_inline_ops ops = {inline_run, self};

    if (self->executor == NULL) {
        ct_inline_new(&self->exec, &ops, err);
    } else if (pyct_simulation_check(self->state, self->executor)) {
        self->exec =
            pyct_simulation_exec(self->executor, self->names, &self->virtual, err);
    } else if (PyDict_Check(self->executor)) {
        self->exec =
            pyct_process_executor(self->state, self->executor, self->names, err);
    } else {
        self->exec =
            pyct_executor_adapter(self->state, self->executor, self->names, err);
    }
    return self->exec == NULL ? -1 : 0;
}

static int
make_files(pyct_driver *self, PyObject *options, ct_err *err)
{
    ct_names *names = pyct_names_table(self->names);
    ct_output_opts out = {false, false, false};
    const char *dir;
    long long json, csv, errors, journal, sync;

    if (take_text(options, "experiment_dir", &dir) < 0 ||
        take_integer(options, "json", &json) < 0 ||
        take_integer(options, "csv", &csv) < 0 ||
        take_integer(options, "errors", &errors) < 0 ||
        take_integer(options, "journal_sync", &sync) < 0 ||
        take_integer(options, "journal", &journal) < 0) {
        return pyct_foreign(err) == CT_OK ? 0 : -1;
    }
    if (self->simulated) { /* its directory exists in names only */
        return 0;
    }
    out.json = json != 0;
    out.csv = csv != 0;
    out.errors = errors != 0;
    if (dir != NULL && (out.json || out.csv || out.errors) &&
        ct_output_new(&self->output, &out, names, err) != CT_OK) {
        return -1;
    }
    if (dir != NULL && journal >= 0) {
        if (ct_dir_make(dir, NULL, err) != CT_OK ||
            ct_journal_open(&self->journal, dir, (uint32_t)journal, names,
                            (ct_sync_policy)sync, err) != CT_OK) {
            return -1;
        }
    }
    return 0;
}

/* Metrics that every result must hold, as names. */
static int
take_required(pyct_driver *self, PyObject *options, ct_control_opts *o, ct_name *names,
              size_t room)
{
    PyObject *required = option(options, "required");

    if (required == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(required) && o->n_required < room;
         i++) {
        if (pyct_name_of(self->names, PyTuple_GET_ITEM(required, i),
                         &names[o->n_required]) < 0) {
            return -1;
        }
        o->n_required++;
    }
    o->required = names;
    return 0;
}

static int
take_control_options(pyct_driver *self, PyObject *options, ct_control_opts *o)
{
    long long pending, dirname, fast, reuse, frequency, at_end, keep, min, retries;

    if (take_integer(options, "max_pending", &pending) < 0 ||
        take_integer(options, "max_dirname", &dirname) < 0 ||
        take_integer(options, "fail_fast", &fast) < 0 ||
        take_integer(options, "reuse_actors", &reuse) < 0 ||
        take_integer(options, "checkpoint_frequency", &frequency) < 0 ||
        take_integer(options, "checkpoint_at_end", &at_end) < 0 ||
        take_integer(options, "num_to_keep", &keep) < 0 ||
        take_integer(options, "score_min", &min) < 0 ||
        take_integer(options, "restore_retries", &retries) < 0 ||
        take_real(options, "force_stop_s", &o->force_stop_s) < 0 ||
        take_name(self, options, "score_attribute", &o->checkpoint.score) < 0) {
        return -1;
    }
    o->max_pending = pending > (long long)UINT32_MAX ? UINT32_MAX : (uint32_t)pending;
    o->max_dirname = (uint32_t)dirname;
    o->fail_fast = (ct_fail_fast)fast;
    o->reuse_workers = reuse != 0;
    o->restore_retries = retries < 0 ? 0 : (uint32_t)retries;
    o->checkpoint.frequency = (uint32_t)frequency;
    o->checkpoint.at_end = at_end != 0;
    o->checkpoint.num_to_keep = (uint32_t)keep;
    o->checkpoint.score_min = min != 0;
    return 0;
}

/* One (name, directory, trainable, request, max_failures, exports). Texts are lent by it. */
static int
take_experiment(pyct_driver *self, PyObject *one, const char *dir, ct_experiment *out,
                ct_value *request)
{
    PyObject *asked;
    long long failures;
    int exports;

    if (!PyTuple_Check(one) ||
        !PyArg_ParseTuple(one, "sssOLp", &out->name, &out->dir, &out->trainable, &asked,
                          &failures, &exports) ||
        pyct_value_from_object(self->state, self->names, asked, request) < 0) {
        return -1;
    }
    out->dir = dir == NULL ? NULL : out->dir; /* nothing is stored */
    out->request = request;
    out->max_failures = failures;
    out->exports = exports != 0;
    return 0;
}

/* Makes the controller of the experiments, the items of `list`. */
static int
control_of(pyct_driver *self, PyObject *list, const char *dir, ct_control_opts *o,
           ct_err *err)
{
    size_t n = (size_t)PyList_GET_SIZE(list);
    ct_experiment *experiments = ct_calloc(n + 1, sizeof *experiments);
    ct_value *requests = ct_calloc(n + 1, sizeof *requests);
    size_t made = 0;
    int result = -1;

    if (experiments == NULL || requests == NULL) {
        (void)ct_fail_mem(err);
    } else {
        while (made < n && take_experiment(self, PyList_GET_ITEM(list, made), dir,
                                           &experiments[made], &requests[made]) == 0) {
            made++;
        }
        o->experiments = experiments;
        o->n_experiments = n;
        if (made < n) {
            pyct_foreign(err);
        } else {
            result = ct_control_new(&self->control, o, err) == CT_OK ? 0 : -1;
        }
    }
    for (size_t i = 0; requests != NULL && i < n; i++) {
        ct_value_deinit(&requests[i]);
    }
    ct_free(requests);
    ct_free(experiments);
    return result;
}

static int
make_control(pyct_driver *self, PyObject *options, ct_err *err)
{
    ct_name required[16];
    ct_value totals = ct_nil();
    const char *dir;
    ct_control_opts o = {
        .names = pyct_names_table(self->names),
        .scheduler = self->policy_scheduler,
        .searcher = self->policy_searcher,
        .stopper = self->policy_stopper,
        .hooks = {self->request_hook == NULL ? NULL : hook_request,
                  self->name_hook == NULL ? NULL : hook_name,
                  self->dirname_hook == NULL ? NULL : hook_dirname, self},
    };
    if (self->states != NULL) {
        o.foreign = (ct_foreign_state){states_save, states_restore, self};
    }
    if (self->records) {
        o.hooks =
            ct_recorded_trial_hooks(&self->recorded_hooks, &o.hooks, &self->answers);
    }
    PyObject *have = option(options, "resources");
    PyObject *list = have == NULL ? NULL : option(options, "experiments");
    int result = -1;

    if (list == NULL || take_text(options, "experiment_dir", &dir) < 0 ||
        pyct_value_from_object(self->state, self->names, have, &totals) < 0 ||
        take_control_options(self, options, &o) < 0 ||
        take_required(self, options, &o, required,
                      sizeof required / sizeof required[0]) < 0) {
        pyct_foreign(err);
    } else {
        o.resources = &totals;
        result = control_of(self, list, dir, &o, err);
    }
    ct_value_deinit(&totals);
    return result;
}

/* The kinds of notes that anybody acts on. */
static uint32_t
heard(const pyct_driver *self, bool files)
{
    uint32_t kinds =
        UINT32_C(1) << CT_NOTE_TRIAL_FAILURE | UINT32_C(1) << CT_NOTE_CHECKPOINT_DROP;

    files = files || self->simulated; /* which hears of all */
    for (int k = 0; k < CT_NOTE_COUNT; k++) {
        kinds |= self->hooks[k] == NULL ? 0 : UINT32_C(1) << k;
    }
    return files ? UINT32_MAX : kinds;
}

static int
make_drive(pyct_driver *self, PyObject *options, ct_err *err)
{
    long long json, csv, snapshot, times;
    double grace;

    if (take_integer(options, "snapshot_bytes", &snapshot) < 0 ||
        take_integer(options, "snapshot_times", &times) < 0 ||
        take_real(options, "interrupt_grace", &grace) < 0 ||
        take_integer(options, "json", &json) < 0 ||
        take_integer(options, "csv", &csv) < 0) {
        pyct_foreign(err);
        return -1;
    }
    const char *settings =
        self->settings == NULL ? NULL : PyUnicode_AsUTF8(self->settings);
    if (self->settings != NULL && settings == NULL) {
        pyct_foreign(err);
        return -1;
    }
    ct_drive_opts o = {
        .control = self->control,
        .settings = settings,
        .exec = self->exec,
        .journal = self->journal,
        .answers = self->records ? &self->answers : NULL,
        .output = self->output,
        .clock = self->simulated ? &self->virtual.clock : &self->clock,
        .observer = {on_note, self},
        .heard = heard(self, json != 0 || csv != 0 || self->write_params),
        .make_dirs = !self->simulated,
        .keep_dropped = self->hooks[CT_NOTE_CHECKPOINT_DROP] != NULL,
        .simulated = self->simulated,
        .interrupt_grace = grace,
        .snapshot_bytes = snapshot > 0 ? (uint64_t)snapshot : 0,
        .snapshot_times = times > 0 ? (uint64_t)times : 0,
    };
    return ct_drive_new(&self->drive, &o, err) == CT_OK ? 0 : -1;
}

static PyObject *
driver_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"options", NULL};
    PyObject *options;
    ct_err err = CT_ERR_INIT;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!:Driver", names, &PyDict_Type,
                                     &options)) {
        return NULL;
    }
    pyct_driver *self = (pyct_driver *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = pyct_state_of((PyObject *)self);
    ct_real_clock_init(&self->clock);
    ct_virtual_clock_init(&self->virtual, 0.0);
    self->names = pyct_names_new(self->state);
    self->views = PyList_New(0);
    self->trials = PyList_New(0);
    self->shown = PyList_New(0);
    self->stateful = PyList_New(0);
    if (self->names != NULL) {
        ct_answers_init(&self->answers, pyct_names_table(self->names),
                        (ct_ref_reader){pyct_ref_read, self->state});
    }
    self->simulated = false;
    if (self->names == NULL || self->views == NULL || self->trials == NULL ||
        self->shown == NULL || self->stateful == NULL ||
        take_objects(self, options) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->simulated = pyct_simulation_check(self->state, self->executor);
    /* The controller comes before the executor: what is wrong with the options is said
     * before any process starts. */
    if (make_policies(self, &err) < 0 || make_control(self, options, &err) < 0 ||
        make_files(self, options, &err) < 0 || make_executor(self, &err) < 0 ||
        make_drive(self, options, &err) < 0) {
        pyct_raise(self->state, &err);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* --- freeing --- */

#define DRIVER_OBJECTS(X)                                                              \
    X(scheduler)                                                                       \
    X(searcher)                                                                        \
    X(stopper)                                                                         \
    X(executor)                                                                        \
    X(trial_factory)                                                                   \
    X(host_factory)                                                                    \
    X(request_hook)                                                                    \
    X(name_hook)                                                                       \
    X(dirname_hook)                                                                    \
    X(heartbeat)                                                                       \
    X(settings)                                                                        \
    X(stands_still)                                                                    \
    X(no_snapshot)                                                                     \
    X(step_begin)                                                                      \
    X(step_end)                                                                        \
    X(checkpoint_factory)                                                              \
    X(stateful)                                                                        \
    X(states)                                                                          \
    X(views)                                                                           \
    X(trials)                                                                          \
    X(shown)                                                                           \
    X(controller)                                                                      \
    X(event)                                                                           \
    X(exception)                                                                       \
    X(failure)

static int
driver_traverse(PyObject *op, visitproc visit, void *arg)
{
    pyct_driver *self = (pyct_driver *)op;

    Py_VISIT(Py_TYPE(op));
#define VISIT(field) Py_VISIT(self->field);
    DRIVER_OBJECTS(VISIT)
#undef VISIT
    for (int k = 0; k < CT_NOTE_COUNT; k++) {
        Py_VISIT(self->hooks[k]);
    }
    for (size_t i = 0; i < self->n_seats; i++) {
        Py_VISIT(self->seats[i].host);
        Py_VISIT(self->seats[i].trainable);
    }
    return 0;
}

static int
driver_clear(PyObject *op)
{
    pyct_driver *self = (pyct_driver *)op;

#define CLEAR(field) Py_CLEAR(self->field);
    DRIVER_OBJECTS(CLEAR)
#undef CLEAR
    for (int k = 0; k < CT_NOTE_COUNT; k++) {
        Py_CLEAR(self->hooks[k]);
    }
    for (size_t i = 0; i < self->n_seats; i++) {
        seat_clear(&self->seats[i]);
    }
    return 0;
}

/* Adapters hold policies in a way that the garbage collector cannot see, and a policy may
 * hold trials, which hold the driver. */
static void
drop_policies(pyct_driver *self)
{
    ct_scheduler *scheduler = self->policy_scheduler;
    ct_searcher *searcher = self->policy_searcher;
    ct_stopper *stopper = self->policy_stopper;

    self->policy_scheduler = NULL;
    self->policy_searcher = NULL;
    self->policy_stopper = NULL;
    if (scheduler != NULL) {
        scheduler->ops->free(scheduler);
    }
    if (searcher != NULL) {
        searcher->ops->free(searcher);
    }
    if (stopper != NULL) {
        stopper->ops->free(stopper);
    }
}

/* Ends workers, closes files and lets go of the policies. The state stays readable. */
static ct_status
shut(pyct_driver *self, double grace, ct_err *err)
{
    ct_exec *exec = self->exec;
    ct_status st = CT_OK;
    ct_err later = CT_ERR_INIT;

    ct_drive_free(self->drive);
    self->drive = NULL;
    self->exec = NULL; /* another thread may call close() meanwhile */
    if (exec != NULL) {
        Py_BEGIN_ALLOW_THREADS
        st = exec->ops->close(exec, grace, err);
        exec->ops->free(exec);
        Py_END_ALLOW_THREADS
    }
    ct_output_free(self->output);
    self->output = NULL;
    if (self->journal != NULL) {
        ct_status end = ct_journal_close(self->journal, &later);
        self->journal = NULL;
        if (st == CT_OK && end != CT_OK) {
            st = end;
            *err = later;
        }
    }
    for (size_t i = 0; i < self->n_seats; i++) {
        seat_clear(&self->seats[i]);
    }
    drop_policies(self);
    Py_CLEAR(self->states);
    Py_CLEAR(self->stateful);
    ct_answers_restart(&self->answers); /* lets go of objects */
    return st;
}

/* Ends the inline trials that the run left: a function is left at its last report, now
 * and not whenever its memory is found to be of no use. */
static void
close_hosts(pyct_driver *self)
{
    for (size_t i = 0; i < self->n_seats; i++) {
        PyObject *host = Py_XNewRef(self->seats[i].host);
        if (host == NULL) {
            continue;
        }
        seat_clear(&self->seats[i]);
        PyObject *none = PyObject_CallMethod(host, "close", NULL);
        if (none == NULL) {
            PyErr_WriteUnraisable(host);
        }
        Py_XDECREF(none);
        Py_DECREF(host);
    }
}

static void
driver_dealloc(PyObject *op)
{
    pyct_driver *self = (pyct_driver *)op;
    PyTypeObject *type = Py_TYPE(op);
    ct_err err = CT_ERR_INIT;

    PyObject_GC_UnTrack(op);
    shut(self, 0.0, &err);
    driver_clear(op);
    ct_control_free(self->control);
    ct_record_deinit(&self->record);
    ct_buf_deinit(&self->why);
    ct_free(self->seats);
    ct_answers_deinit(&self->answers);
    pyct_names_free(self->names);
    type->tp_free(op);
    Py_DECREF(type);
}

/* --- running --- */

static int
call_step_hooks(pyct_driver *self, PyObject *hooks)
{
    PyObject *kwargs = PyDict_New();
    int bad = kwargs == NULL ||
                      put_new(kwargs, self->state->str.trials,
                              pyct_driver_trials((PyObject *)self)) < 0 ||
                      put_new(kwargs, self->state->str.iteration,
                              PyLong_FromUnsignedLongLong(self->iteration)) < 0 ||
                      call_hooks(hooks, kwargs) < 0
                  ? -1
                  : 0;

    Py_XDECREF(kwargs);
    return bad;
}

static ct_status
turn_with_gil(pyct_driver *self, bool *more, ct_err *err)
{
    if (self->step_begin != NULL && call_step_hooks(self, self->step_begin) < 0) {
        return pyct_foreign(err);
    }
    ct_status st = ct_drive_turn(self->drive, more, err);
    self->iteration++;
    if (st == CT_OK && self->step_end != NULL &&
        call_step_hooks(self, self->step_end) < 0) {
        return pyct_foreign(err);
    }
    return st;
}

#define ONCE_S 0.15

/* Now and then, with the GIL: signals and the display. */
static ct_status
look_up(pyct_driver *self, ct_err *err)
{
    if (PyErr_CheckSignals() < 0) {
        return pyct_foreign(err);
    }
    double now = self->clock.mono(&self->clock);
    if (self->heartbeat == NULL || now < self->next_beat) {
        return CT_OK;
    }
    PyObject *r = PyObject_CallNoArgs(self->heartbeat);
    if (r == NULL) {
        return pyct_foreign(err);
    }
    Py_DECREF(r);
    /* What the display takes is at most a hundredth of the time, and what it takes once:
     * what it loads. */
    double then = self->clock.mono(&self->clock);
    if (self->beats_took == 0.0) {
        self->first_beat = now;
    }
    self->beats_took += then - now;
    self->next_beat = fmax(then + self->heartbeat_s,
                           self->first_beat + (self->beats_took - ONCE_S) * 100.0);
    return CT_OK;
}

static ct_status
tell(pyct_driver *self, PyObject *whom, const char *text, ct_err *err)
{
    pyct_entry entry = pyct_enter(self->state);
    PyObject *r = PyObject_CallFunction(whom, "s", text);
    ct_status st = r == NULL ? pyct_foreign(err) : CT_OK;

    Py_XDECREF(r);
    pyct_leave(self->state, entry);
    return st;
}

/* After a turn; with or without the GIL. */
static ct_status
watch(pyct_driver *self, ct_err *err)
{
    double now = self->clock.mono(&self->clock);
    const ct_err *failed = ct_drive_snapshot_failed(self->drive);
    ct_status st =
        ct_watchdog_look(&self->watchdog, self->control, now, &self->why, err);

    if (st == CT_OK && failed != NULL && self->no_snapshot != NULL) {
        char text[sizeof failed->param + sizeof failed->text + 2];
        (void)snprintf(text, sizeof text, "%s%s%s", failed->param,
                       failed->param[0] != '\0' ? " " : "", failed->text);
        st = tell(self, self->no_snapshot, text, err);
    }
    if (st == CT_OK && self->why.len > 0 && self->stands_still != NULL) {
        st = tell(self, self->stands_still, (const char *)self->why.data, err);
    }
    return st;
}

/* The loop of a run of which no policy is written in Python; without the GIL. A signal may
 * come at any time, also just before a wait: the wait after one without a look is short. */
static ct_status
run_freely(pyct_driver *self, ct_err *err)
{
    double longest = self->heartbeat == NULL ? -1.0 : self->heartbeat_s;
    double looked = 0.0;
    bool fresh = true; /* looked since the last wait */
    bool more = true;
    ct_status st = CT_OK;

    while (more && st == CT_OK) {
        st = ct_drive_wait(self->drive, fresh ? longest : LOOK_S, err);
        if (st == CT_OK) {
            pyct_guard_take(self->state);
            note_turn(self, true);
            st = ct_drive_turn(self->drive, &more, err);
            self->iteration++;
            if (st == CT_OK) {
                st = watch(self, err);
            }
            pyct_guard_drop(self->state);
        }
        double now = self->clock.mono(&self->clock);
        fresh = now - looked >= LOOK_S;
        if (st == CT_OK && fresh) {
            looked = now;
            pyct_entry entry = pyct_enter(self->state);
            st = look_up(self, err);
            pyct_leave(self->state, entry);
        }
        note_turn(self, false);
    }
    return st;
}

/* The loop of the others; with the GIL, except while the executor waits. */
static ct_status
run_with_gil(pyct_driver *self, ct_err *err)
{
    double longest = self->heartbeat == NULL ? -1.0 : self->heartbeat_s;
    bool more = true;
    ct_status st = CT_OK;

    while (more && st == CT_OK) {
        Py_BEGIN_ALLOW_THREADS
        st = ct_drive_wait(self->drive, longest, err);
        Py_END_ALLOW_THREADS
        note_turn(self, true);
        if (st == CT_OK) {
            st = look_up(self, err);
        }
        if (st == CT_OK) {
            st = turn_with_gil(self, &more, err);
        }
        if (st == CT_OK) {
            st = watch(self, err);
        }
        note_turn(self, false);
    }
    return st;
}

static PyObject *
driver_run(PyObject *op, PyObject *ignored)
{
    pyct_driver *self = (pyct_driver *)op;
    ct_err err = CT_ERR_INIT;
    ct_status st;

    (void)ignored;
    if (self->drive == NULL || self->running) {
        PyErr_SetString(PyExc_RuntimeError, "this run is under way or has ended");
        return NULL;
    }
    self->running = true;
    if (self->holds_gil) {
        st = run_with_gil(self, &err);
    } else {
        pyct_guard_run(self->state);
        Py_BEGIN_ALLOW_THREADS
        st = run_freely(self, &err);
        Py_END_ALLOW_THREADS
        pyct_guard_ran(self->state);
    }
    self->running = false;
    if (st != CT_OK) {
        return pyct_raise(self->state, &err);
    }
    Py_RETURN_NONE;
}

static PyObject *
driver_close(PyObject *op, PyObject *grace)
{
    pyct_driver *self = (pyct_driver *)op;
    ct_err err = CT_ERR_INIT;
    double seconds = PyFloat_AsDouble(grace);

    if (seconds == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (self->running) {
        PyErr_SetString(PyExc_RuntimeError, "the run is under way: interrupt it first");
        return NULL;
    }
    close_hosts(self);
    if (shut(self, seconds, &err) != CT_OK) {
        return pyct_raise(self->state, &err);
    }
    Py_RETURN_NONE;
}

/* settings_in(dir) -> str or None: see ct_journal_settings. */
static PyObject *
driver_settings_in(PyObject *type, PyObject *dir)
{
    pyct_state *state = PyType_GetModuleState((PyTypeObject *)type);
    const char *path = PyUnicode_AsUTF8(dir);
    ct_buf text = CT_BUF_INIT;
    ct_err err = CT_ERR_INIT;
    PyObject *out = NULL;

    if (state == NULL || path == NULL) {
        return NULL;
    }
    ct_status st = ct_journal_settings(path, &text, &err);
    if (st == CT_OK) {
        out = PyUnicode_DecodeUTF8((const char *)text.data, (Py_ssize_t)text.len, NULL);
    } else if (st == CT_ENOTFOUND) {
        out = Py_NewRef(Py_None);
    } else {
        pyct_raise(state, &err);
    }
    ct_buf_deinit(&text);
    return out;
}

/* recover() -> dict: see ct_drive_recover. */
static PyObject *
driver_recover(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    pyct_driver *self = (pyct_driver *)op;
    const char *path;
    int quiet;
    ct_err err = CT_ERR_INIT;
    ct_recovery r;

    if (n != 2) {
        PyErr_SetString(PyExc_TypeError, "recover() takes a directory and a bool");
        return NULL;
    }
    path = PyUnicode_AsUTF8(args[0]);
    quiet = path == NULL ? -1 : PyObject_IsTrue(args[1]);
    if (quiet < 0) {
        return NULL;
    }
    if (self->drive == NULL || self->running || ct_drive_turns(self->drive) > 0) {
        PyErr_SetString(PyExc_RuntimeError, "this run is under way or has ended");
        return NULL;
    }
    self->answers.quiet_waits = quiet;
    self->running = true; /* policies that look at it find a run */
    ct_status st = ct_drive_recover(self->drive, path, &r, &err);
    self->running = false;
    if (st != CT_OK) {
        return pyct_raise(self->state, &err);
    }
    self->went_on = true;
    return Py_BuildValue("{sOsKsKsn}", "found", r.found ? Py_True : Py_False, "events",
                         (unsigned long long)r.events, "turns",
                         (unsigned long long)r.turns, "differing",
                         (Py_ssize_t)r.differing);
}

/* Writes a snapshot of the state beside the journal. */
static PyObject *
driver_snapshot(PyObject *op, PyObject *ignored)
{
    pyct_driver *self = (pyct_driver *)op;
    ct_err err = CT_ERR_INIT;

    (void)ignored;
    if (self->journal == NULL || self->drive == NULL) {
        Py_RETURN_NONE;
    }
    if (ct_drive_snapshot(self->drive, &err) != CT_OK) {
        return pyct_raise(self->state, &err);
    }
    Py_RETURN_NONE;
}

static PyObject *
driver_interrupt(PyObject *op, PyObject *level)
{
    pyct_driver *self = (pyct_driver *)op;
    long n = PyLong_AsLong(level);

    if (n == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (self->drive != NULL) {
        ct_drive_interrupt(self->drive, (int)n);
    }
    Py_RETURN_NONE;
}

/* --- looking at a run --- */

static PyObject *
driver_counts(PyObject *op, PyObject *ignored)
{
    const ct_trials *trials = pyct_driver_board((pyct_driver *)op)->trials;
    PyObject *out = PyDict_New();

    (void)ignored;
    for (int s = 0; out != NULL && s < CT_TRIAL_STATUS_COUNT; s++) {
        PyObject *n = PyLong_FromSize_t(ct_trials_with(trials, (ct_trial_status)s));
        if (n == NULL || PyDict_SetItemString(
                             out, ct_trial_status_name((ct_trial_status)s), n) < 0) {
            Py_CLEAR(out);
        }
        Py_XDECREF(n);
    }
    return out;
}

static PyObject *
driver_trials_with(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    const ct_trials *trials = pyct_driver_board((pyct_driver *)op)->trials;
    const char *word = n == 2 ? PyUnicode_AsUTF8(args[0]) : NULL;
    Py_ssize_t limit = word == NULL ? -1 : PyLong_AsSsize_t(args[1]);
    int s = 0;

    if (word == NULL || (limit == -1 && PyErr_Occurred())) {
        return PyErr_Occurred()
                   ? NULL
                   : PyErr_Format(PyExc_TypeError, "trials_with takes (status, limit)");
    }
    while (s < CT_TRIAL_STATUS_COUNT &&
           strcmp(word, ct_trial_status_name((ct_trial_status)s)) != 0) {
        s++;
    }
    if (s == CT_TRIAL_STATUS_COUNT) {
        return PyErr_Format(PyExc_ValueError, "status: %R is no status of a trial",
                            args[0]);
    }
    PyObject *out = PyList_New(0);
    for (ct_trial_id t = ct_trials_first(trials, (ct_trial_status)s);
         out != NULL && t != CT_TRIAL_NONE && PyList_GET_SIZE(out) < limit;
         t = ct_trials_next(trials, t)) {
        PyObject *trial = pyct_driver_trial(op, t);
        if (trial == NULL || PyList_Append(out, trial) < 0) {
            Py_CLEAR(out);
        }
        Py_XDECREF(trial);
    }
    return out;
}

static int
parse_scope(const char *text, ct_scope *out)
{
    static const char *const scopes[] = {[CT_SCOPE_LAST] = "last",
                                         [CT_SCOPE_ALL] = "all",
                                         [CT_SCOPE_AVG] = "avg",
                                         [CT_SCOPE_LAST5] = "last-5-avg",
                                         [CT_SCOPE_LAST10] = "last-10-avg"};

    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        if (strcmp(text, scopes[i]) == 0) {
            *out = (ct_scope)i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError,
                 "scope: must be last, all, avg, last-5-avg or last-10-avg, got '%s'",
                 text);
    return -1;
}

/* best(metric, mode, scope="last", filter_nan_and_inf=True), positional. */
static PyObject *
driver_best(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    pyct_driver *self = (pyct_driver *)op;
    ct_scope scope = CT_SCOPE_LAST;
    ct_name name;

    if (n < 2 || n > 4) {
        return PyErr_Format(PyExc_TypeError, "best takes 2 to 4 arguments, got %zd", n);
    }
    const char *mode = PyUnicode_AsUTF8(args[1]);
    const char *scope_text = n > 2 ? PyUnicode_AsUTF8(args[2]) : "last";
    int filter = n > 3 ? PyObject_IsTrue(args[3]) : 1;
    if (mode == NULL || scope_text == NULL || filter < 0 ||
        parse_scope(scope_text, &scope) < 0 ||
        pyct_name_of(self->names, args[0], &name) < 0) {
        return NULL;
    }
    ct_trial_id t = ct_rank_best(pyct_driver_board(self), name,
                                 strcmp(mode, "max") == 0, scope, filter != 0);
    if (t == CT_TRIAL_NONE) {
        Py_RETURN_NONE;
    }
    return pyct_driver_trial(op, t);
}

/* trial(index): that of the table. */
static PyObject *
driver_trial(PyObject *op, PyObject *index)
{
    size_t n = PyLong_AsSize_t(index);

    if (n == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    if (n >= ct_trials_count(pyct_driver_board((pyct_driver *)op)->trials)) {
        PyErr_Format(PyExc_IndexError, "there is no trial %zu", n);
        return NULL;
    }
    return pyct_driver_trial(op, (ct_trial_id)n);
}

static PyObject *
driver_used_resources(PyObject *op, PyObject *ignored)
{
    pyct_driver *self = (pyct_driver *)op;
    const ct_resources *r = pyct_driver_board(self)->resources;
    const ct_name *names;
    size_t n = ct_resources_names(r, &names);
    PyObject *out = PyDict_New();

    (void)ignored;
    for (size_t i = 0; out != NULL && i < n; i++) {
        PyObject *key = pyct_name_text(self->names, names[i]);
        PyObject *pair = Py_BuildValue("(dd)", ct_resources_used(r, names[i]),
                                       ct_resources_total(r, names[i]));
        if (key == NULL || pair == NULL || PyDict_SetItem(out, key, pair) < 0) {
            Py_CLEAR(out);
        }
        Py_XDECREF(pair);
    }
    return out;
}

static PyObject *
driver_describe(PyObject *op, PyObject *ignored)
{
    pyct_driver *self = (pyct_driver *)op;
    ct_scheduler *s = self->policy_scheduler;
    ct_buf text = CT_BUF_INIT;
    ct_err err = CT_ERR_INIT;
    PyObject *out = NULL;

    (void)ignored;
    if (s == NULL || s->ops->describe == NULL) { /* closed, or it says nothing */
        return PyUnicode_FromString("");
    }
    if (s->ops->describe(s, pyct_driver_board(self), &text, &err) == CT_OK) {
        out = PyUnicode_DecodeUTF8((char *)text.data, (Py_ssize_t)text.len, "replace");
    } else {
        pyct_raise(self->state, &err);
    }
    ct_buf_deinit(&text);
    return out;
}

static PyObject *
driver_stats(PyObject *op, PyObject *ignored)
{
    pyct_driver *self = (pyct_driver *)op;
    const ct_board *b = pyct_driver_board(self);
    size_t history;
    size_t metrics = ct_metrics_bytes(b->metrics, &history);

    (void)ignored;
    return Py_BuildValue(
        "{snsnsnsKsK}", "trial_bytes", (Py_ssize_t)ct_trials_bytes(b->trials),
        "metric_bytes", (Py_ssize_t)metrics, "history_bytes", (Py_ssize_t)history,
        "turns", (unsigned long long)self->iteration, "syncs",
        self->journal == NULL ? 0ULL
                              : (unsigned long long)ct_journal_syncs(self->journal));
}

static PyObject *
driver_finished(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    return PyBool_FromLong(ct_control_done(((pyct_driver *)op)->control));
}

static PyObject *
driver_interrupted(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    return PyBool_FromLong(ct_control_interrupted(((pyct_driver *)op)->control));
}

static PyObject *
get_trials(PyObject *op, void *closure)
{
    (void)closure;
    return pyct_driver_trials(op);
}

static PyObject *
get_controller(PyObject *op, void *closure)
{
    (void)closure;
    return pyct_driver_controller(op);
}

static PyObject *
get_virtual_time(PyObject *op, void *closure)
{
    (void)closure;
    return PyFloat_FromDouble(((pyct_driver *)op)->virtual.time);
}

/* Without the guard, which the turn may hold. */
static PyObject *
get_turn(PyObject *op, void *closure)
{
    pyct_driver *self = (pyct_driver *)op;

    (void)closure;
    return PyLong_FromUnsignedLongLong(
        atomic_load_explicit(&self->turn, memory_order_relaxed));
}

static PyObject *
get_exception(PyObject *op, void *closure)
{
    PyObject *e = ((pyct_driver *)op)->exception;

    (void)closure;
    return Py_NewRef(e == NULL ? Py_None : e);
}

static PyObject *
get_failure(PyObject *op, void *closure)
{
    PyObject *e = ((pyct_driver *)op)->failure;

    (void)closure;
    return Py_NewRef(e == NULL ? Py_None : e);
}

/* Other threads may ask while the run works. */
PYCT_GUARD_UNARY(driver_snapshot)
PYCT_GUARD_UNARY(driver_counts)
PYCT_GUARD_UNARY(driver_trial)
PYCT_GUARD_UNARY(driver_used_resources)
PYCT_GUARD_UNARY(driver_describe)
PYCT_GUARD_UNARY(driver_stats)
PYCT_GUARD_UNARY(driver_finished)
PYCT_GUARD_UNARY(driver_interrupted)
PYCT_GUARD_FAST(driver_trials_with)
PYCT_GUARD_FAST(driver_best)
PYCT_GUARD_GETTER(get_trials)

static PyGetSetDef driver_getset[] = {
    {"trials", guarded_get_trials, NULL, "list of Trial, in table order.", NULL},
    {"controller", get_controller, NULL, "What Python schedulers get as controller.",
     NULL},
    {"virtual_time", get_virtual_time, NULL,
     "float: seconds that passed in a simulation.", NULL},
    {"turn", get_turn, NULL,
     "int: the turn under way, from 1; 0 while the executor waits or a trial works.",
     NULL},
    {"exception", get_exception, NULL, "The last inline trial's exception, or None.",
     NULL},
    {"failure", get_failure, NULL, "The last failure's text and pickle, or None.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef driver_methods[] = {
    {"run", driver_run, METH_NOARGS,
     "run($self, /)\n--\n\n"
     "Run the experiment to its end."},
    {"close", driver_close, METH_O,
     "close($self, grace, /)\n--\n\n"
     "End workers (orderly for up to grace seconds), close files."},
    {"settings_in", driver_settings_in, METH_O | METH_CLASS,
     "settings_in($self, directory, /)\n--\n\n"
     "str or None: settings of the last run that its journal holds."},
    {"recover", PYCT_METHOD(driver_recover), METH_FASTCALL,
     "recover($self, directory, quiet_waits, /)\n--\n\n"
     "Replay the journal of a directory; dict found, events, turns, differing. With "
     "quiet_waits a searcher is not asked where it had nothing to suggest."},
    {"snapshot", guarded_driver_snapshot, METH_NOARGS,
     "snapshot($self, /)\n--\n\n"
     "Write the state beside the journal."},
    {"interrupt", driver_interrupt, METH_O,
     "interrupt($self, level, /)\n--\n\n"
     "1: stop after the running steps; 2: at once. Any thread."},
    {"counts", guarded_driver_counts, METH_NOARGS,
     "counts($self, /)\n--\n\n"
     "dict status -> int."},
    {"trial", guarded_driver_trial, METH_O,
     "trial($self, index, /)\n--\n\n"
     "Trial at a position in the table."},
    {"trials_with", PYCT_METHOD(guarded_driver_trials_with), METH_FASTCALL,
     "trials_with($self, status, limit, /)\n--\n\n"
     "list of at most limit Trial of that status."},
    {"best", PYCT_METHOD(guarded_driver_best), METH_FASTCALL,
     "best($self, metric, mode, scope=\"last\", filter_nan_and_inf=True, /)\n--\n\n"
     "Trial or None."},
    {"used_resources", guarded_driver_used_resources, METH_NOARGS,
     "used_resources($self, /)\n--\n\n"
     "dict name -> (used, total)."},
    {"describe", guarded_driver_describe, METH_NOARGS,
     "describe($self, /)\n--\n\n"
     "The scheduler's words."},
    {"stats", guarded_driver_stats, METH_NOARGS,
     "stats($self, /)\n--\n\n"
     "dict of memory, turns, and syncs of the journal while it is open."},
    {"finished", guarded_driver_finished, METH_NOARGS,
     "finished($self, /)\n--\n\n"
     "bool."},
    {"interrupted", guarded_driver_interrupted, METH_NOARGS,
     "interrupted($self, /)\n--\n\n"
     "bool."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot driver_slots[] = {
    {Py_tp_new, PYCT_SLOT(driver_new)},
    {Py_tp_dealloc, PYCT_SLOT(driver_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(driver_traverse)},
    {Py_tp_clear, PYCT_SLOT(driver_clear)},
    {Py_tp_methods, driver_methods},
    {Py_tp_getset, driver_getset},
    {Py_tp_doc, "Driver(options)\n--\n\nOne run of an experiment; made by ctune._run."},
    {0, NULL},
};

static PyType_Spec driver_spec = {
    .name = "ctune._ctune.Driver",
    .basicsize = sizeof(pyct_driver),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = driver_slots,
};

int
pyct_driver_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->driver_type, &driver_spec, NULL);
}
