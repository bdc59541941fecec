/* scheduler.h: schedulers as Python objects, and as policies of a run. */
#ifndef CT_BINDING_SCHEDULER_H
#define CT_BINDING_SCHEDULER_H

#include "state.h"

#include "policy/policy.h"

/* The policy that stands for a scheduler object in a run.
 *
 * An object of a native class of which no method is overridden (in a subclass or on the
 * object itself) hands out its engine: no Python runs per decision, and what it learns is
 * visible on the object (num_stopped, debug_string) during the run and afterwards. Any
 * other object gets an adapter that calls its Python methods with the controller, Trial
 * objects and flat result dicts, with the GIL held by the caller; it is marked foreign.
 *
 * The policy keeps the object alive and borrows the driver, which owns the policy; free it
 * with the GIL held. Metric and mode are read now: call set_search_properties before.
 * NULL with *err filled (CT_EFOREIGN: a Python exception is set). */
ct_scheduler *pyct_scheduler_adapter(pyct_state *state, PyObject *scheduler,
                                     PyObject *driver, ct_err *err);

#endif
