/* np.h: NumPy's C API, imported when first needed and not before: workers and short runs
 * never pay for it. Include this instead of NumPy's headers; np.c owns the table. */
#ifndef CT_BINDING_NP_H
#define CT_BINDING_NP_H

#include "state.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL ctune_ARRAY_API
#ifndef CT_NP_OWNER
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

/* Makes the API ready. 0, or -1 with the import's exception set. Call it before any
 * PyArray_ function or macro that uses the table. */
int pyct_numpy(void);

#endif
