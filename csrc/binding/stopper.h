/* stopper.h: stoppers as Python objects, and as policies of a run. */
#ifndef CT_BINDING_STOPPER_H
#define CT_BINDING_STOPPER_H

#include "state.h"

#include "policy/policy.h"

/* The policy behind the `stop` argument of a run: None (never stops), a dict of thresholds,
 * a Stopper, a list or tuple of these (any of them), or a function(trial_id, result).
 * Native stoppers without overridden methods stay native, others become foreign adapters
 * which the caller asks with the GIL held. Ownership as in scheduler.h. NULL with *err
 * filled: CT_EFOREIGN with ValueError or TypeError set for anything else. */
ct_stopper *pyct_stopper_adapter(pyct_state *state, PyObject *stop, PyObject *driver,
                                 ct_err *err);

#endif
