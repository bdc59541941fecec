/* refs.h: Python objects as CT_REF values. */
#ifndef CT_BINDING_REFS_H
#define CT_BINDING_REFS_H

#include "state.h"

#include "base/value.h"

/* A counted ref that holds a strong reference to object. NULL with an exception set.
 * Releasing it is safe with and without the GIL. */
ct_ref *pyct_ref_new(pyct_state *state, PyObject *object);
PyObject *pyct_ref_object(const ct_ref *ref); /* borrowed */
/* Whether a ref was made by pyct_ref_new. */
bool pyct_ref_check(const ct_ref *ref);
/* Makes the object of a pickle again; a ct_ref_reader's function, `ctx` is the state. */
ct_status pyct_ref_read(void *ctx, const uint8_t *data, size_t len, ct_value *out,
                        ct_err *err);

#endif
