/* The queue of orders. */
#include "support.h"

#include "policy/orders.h"

static void
test_orders_keep_their_sequence_and_values(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_orders o = CT_ORDERS_INIT;
    ct_value size = ct_dict();
    ct_value cpus = ct_i64(2);
    assert_ok(ct_value_put(&size, 7, &cpus, &err), err);
    assert_ok(ct_orders_add(&o, CT_ORDER_PAUSE, 4, true, NULL, &err), err);
    assert_ok(ct_orders_add(&o, CT_ORDER_RESIZE, 1, false, &size, &err), err);
    assert_int_equal(size.kind, CT_NIL); /* taken */
    assert_int_equal(o.count, 2);
    assert_int_equal(o.items[0].kind, CT_ORDER_PAUSE);
    assert_int_equal(o.items[0].trial, 4);
    assert_true(o.items[0].checkpoint);
    assert_int_equal(o.items[0].value.kind, CT_NIL);
    assert_int_equal(o.items[1].kind, CT_ORDER_RESIZE);
    assert_int_equal(ct_value_get(&o.items[1].value, 7)->u.i, 2);
    ct_orders_deinit(&o);
}

static void
test_a_cleared_queue_is_refilled_without_allocating(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_orders o = CT_ORDERS_INIT;
    for (ct_trial_id t = 0; t < 10; t++) {
        assert_ok(ct_orders_add(&o, CT_ORDER_STOP, t, false, NULL, &err), err);
    }
    ct_orders_clear(&o);
    assert_int_equal(o.count, 0);
    ct_mem_fail_at(1);
    for (ct_trial_id t = 0; t < 10; t++) {
        assert_ok(ct_orders_add(&o, CT_ORDER_UNPAUSE, t, false, NULL, &err), err);
    }
    assert_false(ct_mem_failed());
    ct_mem_fail_at(0);
    ct_orders_deinit(&o);
}

static ct_status
orders_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_orders o = CT_ORDERS_INIT;
    ct_status st = CT_OK;
    for (ct_trial_id t = 0; st == CT_OK && t < 20; t++) {
        ct_value text = ct_nil();
        st = ct_str(&text, "resources", 9, err);
        if (st == CT_OK) {
            st = ct_orders_add(&o, CT_ORDER_RESIZE, t, false, &text, err);
            assert_int_equal(text.kind, CT_NIL); /* taken, also on failure */
        }
    }
    ct_orders_deinit(&o);
    return st;
}

static void
test_orders_leak_nothing_when_memory_runs_out(void **state)
{
    (void)state;
    sweep_allocations(orders_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_keep_their_sequence_and_values),
        cmocka_unit_test(test_a_cleared_queue_is_refilled_without_allocating),
        cmocka_unit_test(test_orders_leak_nothing_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
