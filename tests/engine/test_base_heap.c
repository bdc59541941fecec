/* test_base_heap.c: the binary heap. */
#include "support.h"

#include "base/heap.h"
#include "base/pcg.h"

#include <math.h>

static void
test_items_leave_by_key_and_ties_by_order(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_heap h = CT_HEAP_INIT;
    ct_pcg p;
    ct_pcg_init(&p, 9, 9);
    for (uint32_t i = 0; i < 5000; i++) {
        double key = (double)(ct_pcg_next(&p) % 50); /* many ties */
        assert_ok(ct_heap_push(&h, key, 10000 - i, i, &err), err);
    }
    ct_heap_item last = {-1.0, 0, 0};
    for (uint32_t i = 0; i < 5000; i++) {
        ct_heap_item peeked;
        ct_heap_item item;
        assert_true(ct_heap_peek(&h, &peeked));
        assert_true(ct_heap_pop(&h, &item));
        assert_int_equal(peeked.id, item.id);
        assert_int_equal(item.order, 10000 - item.id);
        assert_true(item.key > last.key ||
                    (item.key >= last.key && item.order > last.order));
        last = item;
    }
    assert_int_equal(h.count, 0);
    ct_heap_deinit(&h);
}

static void
test_pushes_between_pops_keep_the_smallest_on_top(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_heap h = CT_HEAP_INIT;
    ct_pcg p;
    ct_pcg_init(&p, 1, 9);
    double now =
        0.0; /* as virtual time does: what is pushed lies after what was popped */
    for (uint32_t i = 0; i < 100; i++) {
        assert_ok(ct_heap_push(&h, p.rng.next_double(&p.rng), i, i, &err), err);
    }
    for (uint32_t i = 100; i < 5000; i++) {
        ct_heap_item item;
        assert_true(ct_heap_pop(&h, &item));
        assert_true(item.key >= now);
        now = item.key;
        assert_ok(ct_heap_push(&h, now + p.rng.next_double(&p.rng), i, i, &err), err);
    }
    assert_int_equal(h.count, 100);
    ct_heap_deinit(&h);
}

static void
test_infinite_keys_have_their_place(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_heap h = CT_HEAP_INIT;
    ct_heap_item item;
    assert_ok(ct_heap_push(&h, INFINITY, 0, 3, &err), err);
    assert_ok(ct_heap_push(&h, 0.0, 1, 2, &err), err);
    assert_ok(ct_heap_push(&h, -(double)INFINITY, 2, 1, &err), err);
    for (uint32_t want = 1; want <= 3; want++) {
        assert_true(ct_heap_pop(&h, &item));
        assert_int_equal(item.id, want);
    }
    ct_heap_deinit(&h);
}

static void
test_empty_heap_gives_nothing(void **state)
{
    (void)state;
    ct_heap h = CT_HEAP_INIT;
    ct_heap_item item = {1.0, 2, 3};
    assert_false(ct_heap_peek(&h, &item));
    assert_false(ct_heap_pop(&h, &item));
    assert_int_equal(item.id, 3);
    ct_heap_deinit(&h);
}

static ct_status
push_many(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_heap h = CT_HEAP_INIT;
    ct_status st = CT_OK;
    for (uint32_t i = 0; st == CT_OK && i < 100; i++) {
        st = ct_heap_push(&h, -(double)i, i, i, err);
        assert_int_equal(h.count, st == CT_OK ? i + 1 : i);
    }
    ct_heap_deinit(&h);
    return st;
}

static void
test_heap_survives_failing_allocations(void **state)
{
    (void)state;
    sweep_allocations(push_many, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_leave_by_key_and_ties_by_order),
        cmocka_unit_test(test_pushes_between_pops_keep_the_smallest_on_top),
        cmocka_unit_test(test_infinite_keys_have_their_place),
        cmocka_unit_test(test_empty_heap_gives_nothing),
        cmocka_unit_test(test_heap_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
