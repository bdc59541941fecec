/* test_base_map.c: the hash map, compared with a plain array. */
#include "support.h"

#include "base/map.h"
#include "base/pcg.h"

#include <string.h>

enum { KEYS = 3000 };

static void
test_map_agrees_with_an_array_under_random_changes(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    static bool present[KEYS];
    static uint32_t value[KEYS];
    ct_map m = CT_MAP_INIT;
    ct_pcg p;
    ct_pcg_init(&p, 5, 5);
    size_t count = 0;
    memset(present, 0, sizeof present);
    for (int step = 0; step < 60000; step++) {
        uint64_t r = ct_pcg_next(&p);
        size_t k = r % KEYS;
        uint64_t key = (uint64_t)k << 32 | (k % 7); /* as joined names are keyed */
        bool grows = step % 20000 < 12000;
        if ((r >> 40) % 3 < (grows ? 2U : 1U)) {
            count += present[k] ? 0 : 1;
            present[k] = true;
            value[k] = (uint32_t)(r >> 32);
            assert_ok(ct_map_put(&m, key, value[k], &err), err);
        } else {
            assert_int_equal(ct_map_remove(&m, key), present[k]);
            count -= present[k] ? 1 : 0;
            present[k] = false;
        }
        assert_int_equal(m.count, count);
    }
    for (size_t k = 0; k < KEYS; k++) {
        uint32_t v = 0;
        bool found = ct_map_get(&m, (uint64_t)k << 32 | (k % 7), &v);
        assert_int_equal(found, present[k]);
        assert_int_equal(v, present[k] ? value[k] : 0);
    }
    ct_map_deinit(&m);
    assert_int_equal(m.count, 0);
}

static void
test_empty_map_finds_and_removes_nothing(void **state)
{
    (void)state;
    ct_map m = CT_MAP_INIT;
    uint32_t v = 3;
    assert_false(ct_map_get(&m, 0, &v));
    assert_false(ct_map_remove(&m, 0));
    assert_int_equal(v, 3);
    ct_map_deinit(&m);
}

static void
test_extreme_keys_and_values_are_ordinary(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_map m = CT_MAP_INIT;
    uint32_t v = 0;
    assert_ok(ct_map_put(&m, 0, UINT32_MAX, &err), err);
    assert_ok(ct_map_put(&m, UINT64_MAX, 0, &err), err);
    assert_true(ct_map_get(&m, 0, &v));
    assert_int_equal(v, UINT32_MAX);
    assert_true(ct_map_get(&m, UINT64_MAX, &v));
    assert_int_equal(v, 0);
    ct_map_deinit(&m);
}

static void
test_failed_put_leaves_the_map_as_it_was(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_map m = CT_MAP_INIT;
    uint64_t key = 0;
    uint32_t v = 0;
    for (int failures = 0; failures < 6; key++) {
        ct_mem_fail_at(1);
        ct_status st = ct_map_put(&m, key, (uint32_t)key, &err);
        ct_mem_fail_at(0);
        if (st != CT_OK) {
            failures++;
            assert_int_equal(st, CT_ENOMEM);
            assert_int_equal(m.count, key);
            assert_false(ct_map_get(&m, key, &v));
            assert_ok(ct_map_put(&m, key, (uint32_t)key, &err), err);
        }
    }
    for (uint64_t k = 0; k < key; k++) {
        assert_true(ct_map_get(&m, k, &v));
        assert_int_equal(v, k);
    }
    ct_map_deinit(&m);
}

static void
test_hashes_spread_low_bits_of_regular_inputs(void **state)
{
    (void)state;
    uint32_t hit[2][256] = {{0}, {0}};
    for (uint64_t i = 0; i < 25600; i++) {
        hit[0][ct_hash_u64(i << 32) & 255U]++;
        hit[1][ct_hash_bytes(&i, sizeof i) & 255U]++;
    }
    for (size_t k = 0; k < 256; k++) { /* expected 100, standard deviation 10 */
        assert_in_range(hit[0][k], 40, 160);
        assert_in_range(hit[1][k], 40, 160);
    }
}

static void
test_hash_of_bytes_sees_every_byte_and_the_length(void **state)
{
    (void)state;
    char text[40] = "the quick brown fox jumps over the dog!";
    for (size_t len = 0; len < sizeof text; len++) {
        uint64_t h = ct_hash_bytes(text, len);
        assert_int_equal(h, ct_hash_bytes(text, len));
        assert_true(len == 0 || h != ct_hash_bytes(text, len - 1));
        for (size_t i = 0; i < len; i++) {
            text[i] ^= 1;
            assert_true(ct_hash_bytes(text, len) != h);
            text[i] ^= 1;
        }
    }
    assert_true(ct_hash_bytes("\0", 1) != ct_hash_bytes("\0\0", 2));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_agrees_with_an_array_under_random_changes),
        cmocka_unit_test(test_empty_map_finds_and_removes_nothing),
        cmocka_unit_test(test_extreme_keys_and_values_are_ordinary),
        cmocka_unit_test(test_failed_put_leaves_the_map_as_it_was),
        cmocka_unit_test(test_hashes_spread_low_bits_of_regular_inputs),
        cmocka_unit_test(test_hash_of_bytes_sees_every_byte_and_the_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
