/* rng.h: NumPy's random streams as the engine's ct_rng.
 *
 * A stream is a numpy.random.Generator, a numpy.random.RandomState, an int (the seed of
 * a new PCG64 Generator) or None: the global legacy stream, asked for anew at each
 * draw, since users may seed and replace it. NumPy is imported at the first draw, not
 * before. Draws are those of Generator.uniform, normal, integers and choice, and of
 * their legacy counterparts, for size 1. Each draw holds the bit generator's lock, or
 * all draws between begin and end hold it together, which is faster.
 *
 * All functions, and all draws, need the GIL. */
#ifndef CT_BINDING_RNG_H
#define CT_BINDING_RNG_H

#include "state.h"

#include "policy/answers.h"

typedef struct pyct_rng pyct_rng;

/* 0, or -1 with an exception set (random_state is none of the above). */
int pyct_rng_new(pyct_state *state, PyObject *random_state, pyct_rng **out);
void pyct_rng_free(pyct_rng *r);
ct_rng *pyct_rng_source(pyct_rng *r); /* borrowed */
/* From now on, draws of a shared stream are answers of a run (policy/answers); NULL = no
 * longer. */
void pyct_rng_record(pyct_rng *r, ct_answers *answers);
/* After draws that cannot fail by themselves: CT_EFOREIGN when one left an exception, or
 * the error of one that could not be recorded. */
ct_status pyct_rng_check(pyct_rng *r, ct_err *err);
/* From the first draw on the lock is kept, until end. Do not call user code in between. */
void pyct_rng_begin(pyct_rng *r); /* NULL is fine, in all three */
bool pyct_rng_end(pyct_rng *r);   /* whether begin came before; a failure stays set */
/* Whether others may draw from the stream: it was not made from a seed here. */
bool pyct_rng_shared(const pyct_rng *r);
/* The Generator or RandomState behind it, for Python code that draws. Borrowed; NULL
 * with an exception set. */
PyObject *pyct_rng_object(pyct_rng *r);
/* Its state as NumPy gives it: a dict. NULL with an exception set. */
PyObject *pyct_rng_state(pyct_rng *r);
int pyct_rng_set_state(pyct_rng *r, PyObject *now); /* -1 with an exception set */
int pyct_rng_visit(pyct_rng *r, visitproc visit, void *arg); /* r may be NULL */

#endif
