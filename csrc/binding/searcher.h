/* searcher.h: searchers as Python objects, and as policies of a run. */
#ifndef CT_BINDING_SEARCHER_H
#define CT_BINDING_SEARCHER_H

#include "state.h"

#include "policy/policy.h"

/* The policy that stands for a search algorithm in a run:
 *
 * - a SearchGenerator: the engine's generator around its Searcher, whose suggest(),
 *   on_trial_result() and on_trial_complete() are called with text ids and flat dicts;
 * - a BasicVariantGenerator: the engine's own variants;
 * - any other SearchAlgorithm, or one of the above with overridden methods: next_trial(),
 *   on_trial_result() and on_trial_complete() of the object.
 *
 * The experiment must have been added to it (add_configurations). All but a native one are
 * foreign: the caller holds the GIL and calls from the driving thread. The policy keeps the
 * object alive and borrows the driver, which owns the policy; free it with the GIL held.
 * NULL with *err filled (CT_EFOREIGN: a Python exception is set). */
ct_searcher *pyct_searcher_adapter(pyct_state *state, PyObject *search_alg,
                                   PyObject *driver, ct_err *err);

#endif
