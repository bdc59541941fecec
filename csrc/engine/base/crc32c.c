/* crc32c.c: CRC-32C (Castagnoli polynomial, reflected 0x82F63B78).
 *
 * Two ways to the same number: the SSE4.2 instruction where the processor has it, and
 * tables that take eight bytes a step ("slicing by 8", Kounavis and Berry 2008). Table
 * k gives the effect of a byte that is followed by k more bytes. crc_table.h is
 * generated. */
#include "base/base_int.h"
#include "base/bytes.h"
#include "base/crc_table.h"
#include "base/wide.h"

#include <string.h>

uint32_t
base_crc32c_tables(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t c = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint32_t lo = c ^ le32_load(p);
        c = CRC_TABLE[7][lo & 0xFFU] ^ CRC_TABLE[6][(lo >> 8) & 0xFFU] ^
            CRC_TABLE[5][(lo >> 16) & 0xFFU] ^ CRC_TABLE[4][lo >> 24] ^
            CRC_TABLE[3][p[4]] ^ CRC_TABLE[2][p[5]] ^ CRC_TABLE[1][p[6]] ^
            CRC_TABLE[0][p[7]];
    }
    for (; len > 0; len--, p++) {
        c = (c >> 8) ^ CRC_TABLE[0][(c ^ *p) & 0xFFU];
    }
    return ~c;
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <nmmintrin.h>

bool
base_crc32c_has_sse42(void)
{
    return __builtin_cpu_supports("sse4.2") != 0;
}

__attribute__((target("sse4.2"))) uint32_t
base_crc32c_sse42(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t c = (uint32_t)~crc;
    uint64_t word;
    for (; len >= 8; len -= 8, p += 8) {
        memcpy(&word, p, sizeof word);
        c = _mm_crc32_u64(c, word);
    }
    for (; len > 0; len--, p++) {
        c = _mm_crc32_u8((uint32_t)c, *p);
    }
    return ~(uint32_t)c;
}

#else

bool
base_crc32c_has_sse42(void)
{
    return false;
}

uint32_t
base_crc32c_sse42(uint32_t crc, const void *data, size_t len)
{
    return base_crc32c_tables(crc, data, len);
}

#endif

uint32_t
ct_crc32c(uint32_t crc, const void *data, size_t len)
{
    return base_crc32c_has_sse42() ? base_crc32c_sse42(crc, data, len)
                                   : base_crc32c_tables(crc, data, len);
}
