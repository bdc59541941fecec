/* rng.h: a source of random numbers as the engine sees it, shaped like NumPy's
 * bitgen_t.
 *
 * The binding lends NumPy's bit generators through it, so that a seed gives the
 * configurations that users know; tests and the simulator use pcg.h. `uniform`,
 * `normal` and `integers` are functions of the source because NumPy's Generator and its
 * legacy RandomState make different numbers from the same bits. */
#ifndef CT_BASE_RNG_H
#define CT_BASE_RNG_H

#include "base/status.h"

#include <stdint.h>

typedef struct ct_rng ct_rng;
struct ct_rng {
    double (*next_double)(ct_rng *r); /* [0, 1), 53 bits */
    ct_status (*normal)(ct_rng *r, double mean, double sd, double *out, ct_err *err);
    /* Uniform in [low, high); high > low. */
    ct_status (*integers)(ct_rng *r, int64_t low, int64_t high, int64_t *out,
                          ct_err *err);
};

/* low + (high - low) * u, as both of NumPy's generators compute it. */
double ct_rng_uniform(ct_rng *r, double low, double high);

#endif
