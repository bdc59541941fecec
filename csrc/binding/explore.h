/* explore.h: what population-based training makes of a config (explore), with Python's
 * module `random` and in the order of the reference, so that a seed gives the same. */
#ifndef CT_BINDING_EXPLORE_H
#define CT_BINDING_EXPLORE_H

#include "state.h"

/* copy.deepcopy, without its cost for what configs mostly hold. New reference. */
PyObject *pyct_copy_deep(pyct_state *state, PyObject *value);
/* random.random(); -1 with an exception. */
int pyct_random(pyct_state *state, double *out);
/* An index below n, as random.choice draws it; IndexError when n is 0. */
int pyct_random_below(pyct_state *state, Py_ssize_t n, Py_ssize_t *out);

/* (new config, operations) of a config: each key of `mutations` is perturbed, the rest is
 * copied. `factors`: a sequence. `custom` may be None. New reference or NULL. */
PyObject *pyct_explore(pyct_state *state, PyObject *config, PyObject *mutations,
                       double resample_probability, PyObject *factors,
                       PyObject *custom);
/* Puts into the dict what `mutations` has and it lacks; 1 when there was something, else 0.
 * What was put goes into `filled` as well. */
int pyct_explore_fill(pyct_state *state, PyObject *config, PyObject *mutations,
                      PyObject *filled);
/* perturbed_tag(tag, config, keys) of the module. */
PyObject *pyct_perturbed_tag(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

#endif
