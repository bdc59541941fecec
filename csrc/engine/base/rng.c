/* rng.c: what can be computed from a source's numbers alone. */
#include "base/rng.h"

#ifdef __clang__
/* A fused multiply-add would round once; NumPy rounds twice. */
#pragma STDC FP_CONTRACT OFF
#endif

double
ct_rng_uniform(ct_rng *r, double low, double high)
{
    double range = high - low;
    return low + range * r->next_double(r);
}
