/* pcg.c: PCG XSL RR 128/64.
 *
 * Source: O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good
 * Algorithms for Random Number Generation", HMC-CS-2014-0905, section 6.3.1 (XSL-RR)
 * and its 128-bit multiplier. The state is stored high word first; inc is odd.
 *
 * Nothing is kept between draws besides the state (the second number of the polar
 * method is thrown away), so that four numbers restore a stream exactly. */
#include "base/pcg.h"

#include "base/wide.h"

#include <math.h>

static const uint64_t MULTIPLIER[2] = {2549297995355413924ULL, 4865540595714422341ULL};

static void
pcg_step(ct_pcg *p)
{
    wide low = wide_mul(p->state[1], MULTIPLIER[1]);
    uint64_t hi = low.hi + p->state[0] * MULTIPLIER[1] + p->state[1] * MULTIPLIER[0];
    uint64_t lo = low.lo + p->inc[1];
    p->state[0] = hi + p->inc[0] + (lo < low.lo ? 1 : 0);
    p->state[1] = lo;
}

uint64_t
ct_pcg_next(ct_pcg *p)
{
    pcg_step(p);
    uint64_t x = p->state[0] ^ p->state[1];
    unsigned rot = (unsigned)(p->state[0] >> 58);
    return (x >> rot) | (x << ((64U - rot) & 63U));
}

static double
pcg_double(ct_rng *r)
{
    return (double)(ct_pcg_next((ct_pcg *)r) >> 11) * 0x1p-53;
}

/* Marsaglia's polar method. */
static ct_status
pcg_normal(ct_rng *r, double mean, double sd, double *out, ct_err *err)
{
    if (!(sd >= 0.0)) {
        return ct_fail(err, CT_EINVAL, "sd", "must be at least 0, got %g", sd);
    }
    for (;;) {
        double x = 2.0 * pcg_double(r) - 1.0;
        double y = 2.0 * pcg_double(r) - 1.0;
        double s = x * x + y * y;
        if (s < 1.0 && s > 0.0) {
            *out = mean + sd * (x * sqrt(-2.0 * log(s) / s));
            return CT_OK;
        }
    }
}

/* Lemire, "Fast Random Integer Generation in an Interval", 2019: the high word of a
 * product is uniform once the few low words that are too frequent are rejected. */
static ct_status
pcg_integers(ct_rng *r, int64_t low, int64_t high, int64_t *out, ct_err *err)
{
    if (high <= low) {
        return ct_fail(err, CT_EINVAL, "high",
                       "must be greater than low (%lld), got %lld", (long long)low,
                       (long long)high);
    }
    uint64_t range = (uint64_t)high - (uint64_t)low;
    wide m = wide_mul(ct_pcg_next((ct_pcg *)r), range);
    if (m.lo < range) {
        uint64_t reject = (0 - range) % range;
        while (m.lo < reject) {
            m = wide_mul(ct_pcg_next((ct_pcg *)r), range);
        }
    }
    uint64_t v = (uint64_t)low + m.hi;
    *out = v <= INT64_MAX ? (int64_t)v : -(int64_t)(UINT64_MAX - v) - 1;
    return CT_OK;
}

void
ct_pcg_init(ct_pcg *p, uint64_t seed, uint64_t stream)
{
    p->rng.next_double = pcg_double;
    p->rng.normal = pcg_normal;
    p->rng.integers = pcg_integers;
    p->inc[0] = stream >> 63;
    p->inc[1] = (stream << 1) | 1U;
    p->state[0] = 0;
    p->state[1] = 0;
    pcg_step(p);
    p->state[1] += seed;
    p->state[0] += p->state[1] < seed ? 1 : 0;
    pcg_step(p);
}
