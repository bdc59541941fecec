/* wide.h: 64 x 64 -> 128 bit multiplication, for this room's arithmetic. */
#ifndef CT_BASE_WIDE_H
#define CT_BASE_WIDE_H

#include <stdint.h>

typedef struct wide {
    uint64_t hi;
    uint64_t lo;
} wide;

static inline wide
wide_mul(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 u128;
    u128 p = (u128)a * b;
    return (wide){(uint64_t)(p >> 64), (uint64_t)p};
#else
    uint64_t a0 = a & UINT32_MAX;
    uint64_t a1 = a >> 32;
    uint64_t b0 = b & UINT32_MAX;
    uint64_t b1 = b >> 32;
    uint64_t low = a0 * b0;
    uint64_t mid = a1 * b0 + (low >> 32); /* at most 2^64 - 2^32: no overflow */
    uint64_t mid2 = a0 * b1 + (mid & UINT32_MAX);
    return (wide){a1 * b1 + (mid >> 32) + (mid2 >> 32),
                  (mid2 << 32) | (low & UINT32_MAX)};
#endif
}

#endif
