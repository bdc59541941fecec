/* space.h: search spaces as Python objects, and the variants of one as a searcher. */
#ifndef CT_BINDING_SPACE_H
#define CT_BINDING_SPACE_H

#include "convert.h"

#include "policy/policy.h"
#include "space/space.h"

/* Whether the object is a _ctune.BasicSearch, and so a BasicVariantGenerator. */
bool pyct_basic_check(pyct_state *state, PyObject *search_alg);

/* The engine's searcher behind a BasicSearch to which a space has been added: compiles the
 * space with the names of the run. Borrows nothing but names; it keeps the object alive.
 * It is foreign and needs the GIL, also to be freed. NULL with *err filled (CT_EFOREIGN: a
 * Python exception is set). */
ct_searcher *pyct_basic_searcher(pyct_state *state, PyObject *search_alg, pyct_names *names,
                                 ct_err *err);

/* Compiles a config into a tree of the engine: Domain objects, {"grid_search": values} and
 * {"eval": text} become variables, whatever else constants. NULL with an exception set. */
ct_node *pyct_space_compile(pyct_state *state, pyct_names *names, PyObject *config);

#endif
