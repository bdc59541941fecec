/* errors.h: ct_err -> Python exception. The one place where codes become classes. */
#ifndef CT_BINDING_ERRORS_H
#define CT_BINDING_ERRORS_H

#include "state.h"

#include "base/status.h"

/* Raises the exception for *err. With CT_EFOREIGN the exception is already set and stays.
 * Returns NULL, so that `return pyct_raise(...)` reads well. */
PyObject *pyct_raise(pyct_state *state, const ct_err *err);

/* A Python exception is set: says so to the engine. Returns CT_EFOREIGN. */
ct_status pyct_foreign(ct_err *err);

#endif
