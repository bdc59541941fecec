/* pcg.h: the engine's own stream (PCG XSL RR 128/64; O'Neill 2014), for ids, tests and
 * the simulator. Deterministic from its seed; its state saves to four numbers. */
#ifndef CT_BASE_PCG_H
#define CT_BASE_PCG_H

#include "base/rng.h"

typedef struct ct_pcg {
    ct_rng rng; /* first: a ct_pcg is a ct_rng */
    uint64_t state[2];
    uint64_t inc[2];
} ct_pcg;

void ct_pcg_init(ct_pcg *p, uint64_t seed, uint64_t stream);
uint64_t ct_pcg_next(ct_pcg *p);

#endif
