/* guard.h: who may look at a run while its turns work without the GIL.
 *
 * The state of a run is written by one thread, which holds the guard and not the GIL. It
 * lets go of the guard whenever it calls Python (pyct_enter), so Python code may wait for
 * any other thread. Other threads read the state with the GIL and the guard
 * (PYCT_GUARD_…). Nobody waits for the guard with the GIL in hand, so the two cannot lock
 * each other out; waiting threads are served in order, so a busy run does not starve its
 * readers. While no such run is under way, the guard costs one comparison. */
#ifndef CT_BINDING_GUARD_H
#define CT_BINDING_GUARD_H

#include "state.h"

/* One per module, counted: what Python drops last may outlive the module. NULL with an
 * exception. */
pyct_guard *pyct_guard_new(void);
pyct_guard *pyct_guard_retain(pyct_guard *g);
void pyct_guard_release(pyct_guard *g); /* NULL is fine */

/* A run begins and ends; with the GIL. */
void pyct_guard_run(pyct_state *state);
void pyct_guard_ran(pyct_state *state);
/* For the thread that works; without the GIL. */
void pyct_guard_take(pyct_state *state);
void pyct_guard_drop(pyct_state *state);
/* For readers, with the GIL, which is let go while they wait. Nests. begin tells what end
 * has to know. */
bool pyct_guard_begin(pyct_state *state);
void pyct_guard_end(pyct_state *state, bool begun);

/* Into Python and back, from any thread, with or without GIL and guard. */
typedef struct pyct_entry {
    PyGILState_STATE gil;
    unsigned depth; /* how often this thread held the guard */
} pyct_entry;
pyct_entry pyct_guard_enter(pyct_guard *g);
void pyct_guard_leave(pyct_guard *g, pyct_entry entry);
pyct_entry pyct_enter(pyct_state *state);
void pyct_leave(pyct_state *state, pyct_entry entry);

/* Defines guarded_<function>, which holds the guard around it. */
#define PYCT_GUARD(function, parameters, arguments)                                    \
    static PyObject *guarded_##function parameters                                     \
    {                                                                                  \
        pyct_state *state = pyct_state_of(op);                                         \
        bool begun = pyct_guard_begin(state);                                          \
        PyObject *out = function arguments;                                            \
        pyct_guard_end(state, begun);                                                  \
        return out;                                                                    \
    }
#define PYCT_GUARD_GETTER(function)                                                    \
    PYCT_GUARD(function, (PyObject * op, void *closure), (op, closure))
#define PYCT_GUARD_UNARY(function)                                                     \
    PYCT_GUARD(function, (PyObject * op, PyObject * arg), (op, arg))
#define PYCT_GUARD_FAST(function)                                                      \
    PYCT_GUARD(function, (PyObject * op, PyObject *const *args, Py_ssize_t nargs),     \
               (op, args, nargs))
#define PYCT_GUARD_CALL(function)                                                      \
    PYCT_GUARD(function, (PyObject * op, PyObject * args, PyObject * kwargs),          \
               (op, args, kwargs))
#define PYCT_GUARD_NAMED(function)                                                     \
    PYCT_GUARD(                                                                        \
        function,                                                                      \
        (PyObject * op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames),   \
        (op, args, nargs, kwnames))

#endif
