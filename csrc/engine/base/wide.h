/* wide.h: 64 x 64 -> 128 bit multiplication, and little-endian words, for this room.
 *
 * The words are written out byte by byte, not in a loop: so compilers see one move. */
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

static inline uint32_t
le32_load(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static inline uint64_t
le64_load(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 |
           (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 |
           (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static inline void
le32_store(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static inline void
le64_store(uint8_t *p, uint64_t v)
{
    le32_store(p, (uint32_t)v);
    le32_store(p + 4, (uint32_t)(v >> 32));
}

#endif
