/* test_base_mem.c: the allocation hook, growth, arenas. */
#include "support.h"

#include <string.h>

static void
test_only_the_chosen_request_fails(void **state)
{
    (void)state;
    ct_mem_fail_at(2);
    void *a = ct_alloc(8);
    assert_false(ct_mem_failed());
    void *b = ct_calloc(1, 8);
    assert_true(ct_mem_failed());
    void *c = ct_realloc(NULL, 8);
    ct_mem_fail_at(0);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    assert_false(ct_mem_failed());
    ct_free(a);
    ct_free(c);
}

static void
test_failed_realloc_leaves_the_old_block(void **state)
{
    (void)state;
    char *p = ct_strndup("hello", 5);
    ct_mem_fail_at(1);
    assert_null(ct_realloc(p, 100));
    ct_mem_fail_at(0);
    assert_string_equal(p, "hello");
    ct_free(p);
}

static void
test_live_blocks_are_counted(void **state)
{
    (void)state;
    int64_t live = ct_mem_live();
    void *a = ct_alloc(0);
    void *b = ct_calloc(0, 8);
    void *c = ct_realloc(NULL, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_int_equal(ct_mem_live(), live + 3);
    c = ct_realloc(c, 100);
    assert_int_equal(ct_mem_live(), live + 3);
    ct_free(a);
    ct_free(b);
    ct_free(c);
    ct_free(NULL);
    assert_int_equal(ct_mem_live(), live);
}

static void
test_product_that_overflows_is_refused(void **state)
{
    (void)state;
    assert_null(ct_calloc(SIZE_MAX / 2, 3));
    assert_null(ct_strndup("", SIZE_MAX));
    ct_err err = CT_ERR_INIT;
    void *items = NULL;
    size_t cap = 0;
    assert_int_equal(ct_grow(&items, &cap, SIZE_MAX / 4, 8, &err), CT_ENOMEM);
    assert_null(items);
    assert_int_equal(cap, 0);
}

static void
test_growth_keeps_items_and_is_geometric(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int *items = NULL;
    size_t cap = 0;
    size_t moves = 0;
    for (int i = 0; i < 10000; i++) {
        size_t before = cap;
        assert_ok(ct_grow((void **)&items, &cap, (size_t)i + 1, sizeof *items, &err),
                  err);
        moves += cap != before;
        items[i] = i;
    }
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(items[i], i);
    }
    assert_true(moves < 25);
    ct_mem_fail_at(1);
    size_t before = cap;
    assert_int_equal(ct_grow((void **)&items, &cap, cap + 1, sizeof *items, &err),
                     CT_ENOMEM);
    ct_mem_fail_at(0);
    assert_int_equal(cap, before);
    assert_int_equal(items[9999], 9999);
    ct_free(items);
}

static void
test_arena_gives_aligned_separate_memory_of_any_size(void **state)
{
    (void)state;
    ct_arena a;
    ct_arena_init(&a, 256);
    unsigned char *blocks[200];
    for (size_t i = 0; i < 200; i++) {
        size_t size = i * i % 777; /* also larger than a block */
        blocks[i] = ct_arena_alloc(&a, size);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, size);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t k = 0; k < i * i % 777; k++) {
            assert_int_equal(blocks[i][k], i);
        }
    }
    assert_null(ct_arena_alloc(&a, SIZE_MAX));
    assert_null(ct_arena_alloc(&a, SIZE_MAX - 40));
    ct_arena_deinit(&a);
}

static void
test_arena_reset_and_deinit_give_memory_back(void **state)
{
    (void)state;
    int64_t live = ct_mem_live();
    ct_arena a;
    ct_arena_init(&a, 64);
    for (int turn = 0; turn < 5; turn++) {
        for (int i = 0; i < 50; i++) {
            const char *s = ct_arena_strndup(&a, "abcdef", 4);
            assert_string_equal(s, "abcd");
        }
        ct_arena_reset(&a);
        assert_true(ct_mem_live() - live <= 1); /* one block at most is kept */
    }
    ct_arena_deinit(&a);
    ct_arena_deinit(&a);
    assert_int_equal(ct_mem_live(), live);
}

static ct_status
use_arena(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_arena a;
    ct_arena_init(&a, 64);
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < 10; i++) {
        char *p = ct_arena_alloc(&a, 40 + i);
        if (p == NULL) {
            st = ct_fail_mem(err);
        } else {
            memset(p, 1, 40 + i);
        }
    }
    ct_arena_deinit(&a);
    return st;
}

static void
test_arena_survives_failing_allocations(void **state)
{
    (void)state;
    sweep_allocations(use_arena, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_chosen_request_fails),
        cmocka_unit_test(test_failed_realloc_leaves_the_old_block),
        cmocka_unit_test(test_live_blocks_are_counted),
        cmocka_unit_test(test_product_that_overflows_is_refused),
        cmocka_unit_test(test_growth_keeps_items_and_is_geometric),
        cmocka_unit_test(test_arena_gives_aligned_separate_memory_of_any_size),
        cmocka_unit_test(test_arena_reset_and_deinit_give_memory_back),
        cmocka_unit_test(test_arena_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
