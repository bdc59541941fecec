/* space.h: search spaces made from Python configs, and the variants of one as a
 * searcher. */
#ifndef CT_BINDING_SPACE_H
#define CT_BINDING_SPACE_H

#include "convert.h"
#include "rng.h"

#include "policy/policy.h"
#include "space/variants.h"

/* What the functions of a compiled space need when they are called. */
typedef struct pyct_space_ctx pyct_space_ctx;

/* Compiles a config: Domain objects, {"grid_search": values} and {"eval": text} become
 * variables, whatever else constants. names must outlive both results. Free the space
 * before its context. 0, or -1 with an exception set. */
int pyct_space_from_config(pyct_state *state, pyct_names *names, PyObject *config,
                           ct_space **space, pyct_space_ctx **ctx);
void pyct_space_ctx_free(pyct_space_ctx *ctx); /* NULL is fine; needs the GIL */
/* How its functions are called, with the context as ctx. They need the GIL. */
const ct_function_ops *pyct_space_function_ops(void);

/* The engine's searcher behind a BasicVariantGenerator to which an experiment was
 * added, with the space compiled for the names of the driver. Foreign, but it takes the
 * GIL itself when it is asked; freed with the GIL held. NULL with *err filled
 * (CT_EFOREIGN: a Python exception is set). */
ct_searcher *pyct_basic_searcher(pyct_state *state, PyObject *search_alg,
                                 PyObject *driver, ct_err *err);
bool pyct_basic_check(const ct_searcher *s); /* made by pyct_basic_searcher */

#endif
