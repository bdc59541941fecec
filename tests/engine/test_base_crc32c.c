/* test_base_crc32c.c: CRC-32C against published values (RFC 3720, B.4) and itself. */
#include "support.h"

#include "base/base_int.h"
#include "base/bytes.h"
#include "base/pcg.h"

#include <string.h>

typedef uint32_t (*crc_function)(uint32_t crc, const void *data, size_t len);

static const crc_function WAYS[] = {ct_crc32c, base_crc32c_tables, base_crc32c_sse42};

/* Without the instruction the third must not be called. */
static size_t
ways(void)
{
    return base_crc32c_has_sse42() ? 3 : 2;
}

static void
test_known_texts_have_their_published_checksums(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0};
    uint8_t ones[32];
    uint8_t up[32];
    memset(ones, 0xFF, sizeof ones);
    for (size_t i = 0; i < sizeof up; i++) {
        up[i] = (uint8_t)i;
    }
    for (size_t w = 0; w < ways(); w++) {
        assert_int_equal(WAYS[w](0, "123456789", 9), 0xE3069283U);
        assert_int_equal(WAYS[w](0, zeros, sizeof zeros), 0x8A9136AAU);
        assert_int_equal(WAYS[w](0, ones, sizeof ones), 0x62A8AB43U);
        assert_int_equal(WAYS[w](0, up, sizeof up), 0x46DD794EU);
        assert_int_equal(WAYS[w](0, "", 0), 0);
    }
}

static void
test_all_ways_agree_on_any_length_alignment_and_division(void **state)
{
    (void)state;
    ct_pcg p;
    ct_pcg_init(&p, 1, 1);
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)ct_pcg_next(&p);
    }
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; from + len <= sizeof data; len++) {
            uint32_t want = base_crc32c_tables(0, data + from, len);
            size_t half = len / 3;
            for (size_t w = 0; w < ways(); w++) {
                assert_int_equal(WAYS[w](0, data + from, len), want);
                uint32_t part = WAYS[w](0, data + from, half);
                assert_int_equal(WAYS[w](part, data + from + half, len - half), want);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_texts_have_their_published_checksums),
        cmocka_unit_test(test_all_ways_agree_on_any_length_alignment_and_division),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
