/* executor.c: see executor.h.
 *
 * The adapter's wait() calls Python's: it is entered without the GIL and takes it. What
 * poll hands out borrows from the Event objects and records of that wait, which are kept
 * until the next one. */
#include "executor.h"

#include "errors.h"
#include "guard.h"
#include "messages.h"

#include "base/mem.h"
#include "exec/proc_pool.h"

#include <string.h>

/* --- process pools --- */

/* Borrowed texts of a list of str, NULL-terminated. NULL with an exception set. */
static const char **
texts_of(PyObject *list)
{
    Py_ssize_t n = PyList_GET_SIZE(list);
    const char **out = ct_calloc((size_t)n + 1, sizeof *out);

    if (out == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        out[i] = PyUnicode_AsUTF8(PyList_GET_ITEM(list, i));
        if (out[i] == NULL) {
            ct_free(out);
            return NULL;
        }
    }
    return out;
}

/* "NAME=value" for each entry. New reference. */
static PyObject *
env_list(PyObject *env)
{
    PyObject *list = PyList_New(0);
    PyObject *name, *value;
    Py_ssize_t at = 0;

    while (list != NULL && PyDict_Next(env, &at, &name, &value)) {
        PyObject *text = PyUnicode_FromFormat("%U=%U", name, value);
        if (text == NULL || PyList_Append(list, text) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(text);
    }
    return list;
}

/* Borrowed; NULL with an exception set. */
static PyObject *
option(PyObject *options, const char *name, PyTypeObject *type)
{
    PyObject *key = PyUnicode_FromString(name);
    PyObject *found = key == NULL ? NULL : PyDict_GetItemWithError(options, key);

    Py_XDECREF(key);
    if (found == NULL && PyErr_Occurred()) {
        return NULL;
    }
    if (found == NULL || !PyObject_TypeCheck(found, type)) {
        PyErr_Format(PyExc_TypeError, "executor: option %s must be %s, got %R", name,
                     type->tp_name, found == NULL ? Py_None : found);
        return NULL;
    }
    return found;
}

ct_exec *
pyct_process_executor(pyct_state *state, PyObject *options, pyct_names *names,
                      ct_err *err)
{
    PyObject *argv = option(options, "argv", &PyList_Type);
    PyObject *env = argv == NULL ? NULL : option(options, "env", &PyDict_Type);
    PyObject *payload = env == NULL ? NULL : option(options, "payload", &PyBytes_Type);
    PyObject *timeout =
        payload == NULL ? NULL : option(options, "start_timeout", &PyFloat_Type);
    PyObject *limit =
        timeout == NULL ? NULL : option(options, "work_limit", &PyFloat_Type);
    PyObject *number =
        limit == NULL ? NULL : option(options, "payload_fd", &PyLong_Type);
    int fd = number == NULL ? -1 : (int)PyLong_AsLong(number);
    PyObject *pairs = number == NULL || PyErr_Occurred() ? NULL : env_list(env);
    const char **argv_texts = pairs == NULL ? NULL : texts_of(argv);
    const char **env_texts = argv_texts == NULL ? NULL : texts_of(pairs);
    ct_exec *out = NULL;

    (void)state;
    if (env_texts == NULL) {
        pyct_foreign(err);
    } else {
        ct_proc_pool_opts opts = {
            .argv = argv_texts,
            .env = env_texts,
            .payload = (const uint8_t *)PyBytes_AS_STRING(payload),
            .payload_len = (size_t)PyBytes_GET_SIZE(payload),
            .payload_fd = fd,
            .names = pyct_names_table(names),
            .start_timeout = PyFloat_AS_DOUBLE(timeout),
            .work_limit = PyFloat_AS_DOUBLE(limit),
        };
        ct_proc_pool_new(&out, &opts, err);
    }
    ct_free(argv_texts);
    ct_free(env_texts);
    Py_XDECREF(pairs);
    return out;
}

/* --- objects written in Python --- */

typedef struct adapter {
    ct_exec base; /* first */
    pyct_state *state;
    pyct_guard *guard; /* counted: freed with the last objects of a process */
    PyObject *executor;
    pyct_names *names;
    PyObject *events; /* list of the last wait, or NULL */
    Py_ssize_t next;
    ct_record *records; /* one for each event of the last wait */
    size_t n_records;
    bool closed;
} adapter;

/* Calls a method without arguments and drops what it returns. */
static ct_status
call_plainly(adapter *a, const char *method, ct_err *err)
{
    PyObject *result = PyObject_CallMethod(a->executor, method, NULL);

    if (result == NULL) {
        return pyct_foreign(err);
    }
    Py_DECREF(result);
    return CT_OK;
}

static ct_status
adapter_submit(ct_exec *e, const ct_command *c, ct_err *err)
{
    adapter *a = (adapter *)e;
    pyct_entry entry = pyct_guard_enter(a->guard);
    ct_status st = CT_OK;
    PyObject *command = pyct_command_new(a->state, a->names, c);
    PyObject *result = command == NULL
                           ? NULL
                           : PyObject_CallMethod(a->executor, "submit", "O", command);

    if (result == NULL) {
        st = pyct_foreign(err);
    }
    Py_XDECREF(command);
    Py_XDECREF(result);
    pyct_guard_leave(a->guard, entry);
    return st;
}

static ct_status
adapter_make_room(adapter *a, size_t n, ct_err *err)
{
    if (n > a->n_records) {
        ct_record *records = ct_realloc(a->records, n * sizeof *records);
        if (records == NULL) {
            return ct_fail_mem(err);
        }
        memset(records + a->n_records, 0, (n - a->n_records) * sizeof *records);
        a->records = records;
        a->n_records = n;
    }
    return CT_OK;
}

/* Calls wait() and keeps what it returns. */
static ct_status
adapter_fetch(adapter *a, double timeout, ct_err *err)
{
    PyObject *limit = timeout < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(timeout);
    PyObject *answer =
        limit == NULL ? NULL : PyObject_CallMethod(a->executor, "wait", "O", limit);
    PyObject *events =
        answer == NULL
            ? NULL
            : PySequence_Fast(answer,
                              "an executor's wait() must return a list of Events");

    Py_XDECREF(limit);
    Py_XDECREF(answer);
    if (events == NULL) {
        return pyct_foreign(err);
    }
    Py_XSETREF(a->events, events);
    a->next = 0;
    return adapter_make_room(a, (size_t)PySequence_Fast_GET_SIZE(events), err);
}

static ct_status
adapter_wait(ct_exec *e, double timeout, ct_err *err)
{
    adapter *a = (adapter *)e;
    pyct_entry entry = pyct_guard_enter(a->guard);
    ct_status st = CT_OK;

    if (a->events == NULL || a->next >= PySequence_Fast_GET_SIZE(a->events)) {
        st = adapter_fetch(a, timeout, err);
    }
    pyct_guard_leave(a->guard, entry);
    return st;
}

static ct_status
adapter_poll(ct_exec *e, ct_event *out, bool *got, ct_err *err)
{
    adapter *a = (adapter *)e;
    pyct_entry entry = pyct_guard_enter(a->guard);
    ct_status st = CT_OK;

    *got = a->events != NULL && a->next < PySequence_Fast_GET_SIZE(a->events);
    if (*got) {
        ct_record *record = &a->records[a->next];
        PyObject *event = PySequence_Fast_GET_ITEM(a->events, a->next);
        a->next++;
        memset(out, 0, sizeof *out);
        out->trial = CT_TRIAL_NONE;
        if (pyct_event_fill(a->state, a->names, event, out, record) < 0) {
            *got = false;
            st = pyct_foreign(err);
        }
    }
    pyct_guard_leave(a->guard, entry);
    return st;
}

static void
adapter_wake(ct_exec *e)
{
    adapter *a = (adapter *)e;
    pyct_entry entry = pyct_guard_enter(a->guard);
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    if (call_plainly(a, "interrupt", NULL) != CT_OK) {
        PyErr_WriteUnraisable(a->executor);
    }
    PyErr_Restore(type, value, traceback);
    pyct_guard_leave(a->guard, entry);
}

static ct_status
adapter_close(ct_exec *e, double grace, ct_err *err)
{
    adapter *a = (adapter *)e;
    ct_status st = CT_OK;

    (void)grace;
    if (!a->closed) {
        a->closed = true;
        pyct_entry entry = pyct_guard_enter(a->guard);
        st = call_plainly(a, "close", err);
        pyct_guard_leave(a->guard, entry);
    }
    return st;
}

static void
adapter_free(ct_exec *e)
{
    adapter *a = (adapter *)e;
    pyct_entry entry = pyct_guard_enter(a->guard);
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    if (adapter_close(e, 0, NULL) != CT_OK) {
        PyErr_WriteUnraisable(a->executor);
    }
    PyErr_Restore(type, value, traceback);
    for (size_t i = 0; i < a->n_records; i++) {
        ct_record_deinit(&a->records[i]);
    }
    ct_free(a->records);
    Py_XDECREF(a->events);
    Py_DECREF(a->executor);
    pyct_guard_leave(a->guard, entry);
    pyct_guard_release(a->guard);
    ct_free(a);
}

static const ct_exec_ops adapter_ops = {
    .name = "python",
    .submit = adapter_submit,
    .wait = adapter_wait,
    .poll = adapter_poll,
    .wake = adapter_wake,
    .close = adapter_close,
    .free = adapter_free,
};

ct_exec *
pyct_executor_adapter(pyct_state *state, PyObject *executor, pyct_names *names,
                      ct_err *err)
{
    adapter *a = ct_calloc(1, sizeof *a);

    if (a == NULL) {
        ct_fail_mem(err);
        return NULL;
    }
    a->base.ops = &adapter_ops;
    a->state = state;
    a->guard = pyct_guard_retain(state->guard);
    a->executor = Py_NewRef(executor);
    a->names = names;
    return &a->base;
}
