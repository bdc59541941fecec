/* np.c: see np.h. */
#define CT_NP_OWNER
#include "np.h"

int
pyct_numpy(void)
{
    return PyArray_API == NULL ? PyArray_ImportNumPyAPI() : 0;
}
