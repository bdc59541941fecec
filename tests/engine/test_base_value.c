/* test_base_value.c: the JSON-like tree. Names are plain numbers here. */
#include "support.h"

#include "base/pcg.h"
#include "base/value.h"

#include <math.h>
#include <string.h>

/* A ref that counts its releases and equals refs of the same tag. */
typedef struct test_ref {
    ct_ref ref;
    int tag;
    int *released;
} test_ref;

static void
test_ref_release(ct_ref *ref)
{
    (*((test_ref *)ref)->released)++;
    ct_free(ref);
}

static bool
test_ref_equal(const ct_ref *a, const ct_ref *b)
{
    return ((const test_ref *)a)->tag == ((const test_ref *)b)->tag;
}

static const ct_ref_ops TEST_OPS = {test_ref_release, NULL, NULL, test_ref_equal, NULL};

static ct_value
ref_of_test(int tag, int *released)
{
    test_ref *r = ct_alloc(sizeof *r);
    assert_non_null(r);
    *r = (test_ref){{&TEST_OPS, 1}, tag, released};
    return ct_of_ref(&r->ref);
}

static ct_value
str(const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    assert_ok(ct_str(&v, text, strlen(text), &err), err);
    return v;
}

static void
put(ct_value *dict, ct_name key, ct_value item)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_value_put(dict, key, &item, &err), err);
    assert_int_equal(item.kind, CT_NIL);
}

static void
push(ct_value *list, ct_value item)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_value_push(list, &item, &err), err);
    assert_int_equal(item.kind, CT_NIL);
}

static void
test_value_takes_16_bytes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(ct_value), 16);
}

static void
test_list_keeps_items_in_order_while_it_grows(void **state)
{
    (void)state;
    ct_value list = ct_list();
    for (int i = 0; i < 1000; i++) {
        push(&list, ct_i64(i));
    }
    assert_int_equal(list.len, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(list.u.items[i].u.i, i);
    }
    ct_value_deinit(&list);
    assert_int_equal(list.kind, CT_NIL);
}

static void
test_replaced_key_keeps_its_place_and_frees_the_old_value(void **state)
{
    (void)state;
    int released = 0;
    ct_value d = ct_dict();
    put(&d, 5, ref_of_test(1, &released));
    put(&d, 6, str("six"));
    put(&d, 5, ct_bool(true));
    assert_int_equal(released, 1);
    assert_int_equal(d.len, 2);
    assert_int_equal(d.u.entries[0].key, 5);
    assert_int_equal(ct_value_get(&d, 5)->kind, CT_BOOL);
    assert_null(ct_value_get(&d, 7));
    *ct_value_get_mut(&d, 5) = ct_i64(9);
    assert_int_equal(ct_value_get(&d, 5)->u.i, 9);
    ct_value_deinit(&d);
}

static void
test_dict_agrees_with_an_array_under_random_changes(void **state)
{
    (void)state;
    ct_pcg p;
    ct_pcg_init(&p, 3, 3);
    ct_value d = ct_dict();
    int64_t want[40];
    memset(want, 0, sizeof want);
    for (int i = 1; i < 5000; i++) {
        uint64_t r = ct_pcg_next(&p);
        ct_name key = (ct_name)(r % 40);
        if ((r >> 32) % 2 == 0 || i % 1000 > 800) {
            assert_int_equal(ct_value_remove(&d, key), want[key] != 0);
            want[key] = 0;
        } else {
            put(&d, key, ct_i64(i));
            want[key] = i;
        }
        size_t count = 0;
        for (ct_name k = 0; k < 40; k++) {
            const ct_value *v = ct_value_get(&d, k);
            assert_int_equal(v != NULL ? v->u.i : 0, want[k]);
            count += want[k] != 0 ? 1 : 0;
        }
        assert_int_equal(d.len, count);
    }
    ct_value_deinit(&d);
}

static void
test_removing_keeps_the_order_of_the_others(void **state)
{
    (void)state;
    ct_value d = ct_dict();
    for (ct_name k = 0; k < 5; k++) {
        put(&d, k, str("text"));
    }
    assert_true(ct_value_remove(&d, 1));
    assert_true(ct_value_remove(&d, 4));
    assert_false(ct_value_remove(&d, 4));
    assert_int_equal(d.len, 3);
    assert_int_equal(d.u.entries[0].key, 0);
    assert_int_equal(d.u.entries[1].key, 2);
    assert_int_equal(d.u.entries[2].key, 3);
    ct_value_deinit(&d);
}

/* {0: [1, 2.5, "text", (nil, ref)], 1: {}, 2: true} */
static ct_value
tree_of_test(int *released)
{
    ct_value list = ct_list();
    ct_value tuple = ct_tuple();
    ct_value d = ct_dict();
    push(&tuple, ct_nil());
    push(&tuple, ref_of_test(7, released));
    push(&list, ct_i64(1));
    push(&list, ct_f64(2.5));
    push(&list, str("text"));
    push(&list, tuple);
    put(&d, 0, list);
    put(&d, 1, ct_dict());
    put(&d, 2, ct_bool(true));
    return d;
}

static void
test_copy_is_deep_and_shares_refs(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int released = 0;
    ct_value a = tree_of_test(&released);
    ct_value b = ct_nil();
    assert_ok(ct_value_copy(&b, &a, &err), err);
    assert_true(ct_value_equal(&a, &b));
    ct_value_get_mut(&b, 0)->u.items[2].u.s[0] = 'T';
    assert_false(ct_value_equal(&a, &b));
    assert_string_equal(ct_value_get(&a, 0)->u.items[2].u.s, "text");
    ct_value_deinit(&a);
    assert_int_equal(released, 0);
    ct_value_deinit(&b);
    assert_int_equal(released, 1);
}

static void
test_numbers_compare_by_exact_value(void **state)
{
    (void)state;
    const struct {
        ct_value a;
        ct_value b;
        bool equal;
    } cases[] = {
        {ct_i64(1), ct_f64(1.0), true},
        {ct_i64(1), ct_bool(true), true},
        {ct_f64(0.0), ct_bool(false), true},
        {ct_f64(0.0), ct_f64(-0.0), true},
        {ct_f64((double)NAN), ct_f64((double)NAN), true},
        {ct_f64((double)NAN), ct_i64(0), false},
        {ct_f64((double)INFINITY), ct_i64(INT64_MAX), false},
        {ct_i64(INT64_MAX), ct_f64(0x1p63), false},
        {ct_i64(INT64_MIN), ct_f64(-0x1p63), true},
        {ct_i64((1LL << 53) + 1), ct_f64(0x1p53), false},
        {ct_i64(1), ct_f64(1.5), false},
        {ct_nil(), ct_bool(false), false},
        {ct_nil(), ct_nil(), true},
        {ct_list(), ct_tuple(), true},
        {ct_list(), ct_dict(), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(ct_value_equal(&cases[i].a, &cases[i].b), cases[i].equal);
        assert_int_equal(ct_value_equal(&cases[i].b, &cases[i].a), cases[i].equal);
    }
}

static void
test_dicts_compare_without_order_and_containers_by_all_items(void **state)
{
    (void)state;
    ct_value a = ct_dict();
    ct_value b = ct_dict();
    put(&a, 1, str("x"));
    put(&a, 2, str("y"));
    put(&b, 2, str("y"));
    put(&b, 1, str("x"));
    assert_true(ct_value_equal(&a, &b));
    put(&b, 1, str("xx"));
    assert_false(ct_value_equal(&a, &b));
    put(&b, 1, str("x"));
    put(&b, 3, ct_nil());
    assert_false(ct_value_equal(&a, &b));
    put(&a, 4, ct_nil());
    assert_false(ct_value_equal(&a, &b));
    ct_value_deinit(&a);
    ct_value_deinit(&b);
}

static void
test_refs_compare_as_their_owner_says(void **state)
{
    (void)state;
    int released = 0;
    ct_value a = ref_of_test(1, &released);
    ct_value b = ref_of_test(1, &released);
    ct_value c = ref_of_test(2, &released);
    assert_true(ct_value_equal(&a, &b));
    assert_false(ct_value_equal(&a, &c));
    ct_value_deinit(&a);
    ct_value_deinit(&b);
    ct_value_deinit(&c);
    assert_int_equal(released, 3);
    ct_ref_release(NULL);
}

static void
test_number_of_a_value_is_given_for_bool_int_and_float_only(void **state)
{
    (void)state;
    double d = 0.0;
    ct_value v = ct_bool(true);
    assert_true(ct_value_number(&v, &d) && d == 1.0);
    v = ct_i64(-3);
    assert_true(ct_value_number(&v, &d) && d == -3.0);
    v = ct_f64(2.5);
    assert_true(ct_value_number(&v, &d) && d == 2.5);
    v = ct_nil();
    assert_false(ct_value_number(&v, &d));
    v = ct_dict();
    assert_false(ct_value_number(&v, &d));
    assert_true(d == 2.5);
}

static void
test_strings_hold_nuls_and_count_their_bytes(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    assert_ok(ct_str(&v, "a\0b", 3, &err), err);
    assert_int_equal(v.len, 3);
    assert_memory_equal(v.u.s, "a\0b", 4);
    assert_int_equal(ct_value_bytes(&v), 4);
    ct_value_deinit(&v);
    assert_int_equal(ct_str(&v, "", SIZE_MAX, &err), CT_EINVAL);
    assert_int_equal(v.kind, CT_NIL);
}

static void
test_bytes_count_all_blocks_below_a_value(void **state)
{
    (void)state;
    ct_value v = ct_dict();
    assert_int_equal(ct_value_bytes(&v), 0);
    put(&v, 0, str("12345"));
    ct_value list = ct_list();
    push(&list, ct_nil());
    push(&list, ct_nil());
    push(&list, ct_nil());
    put(&v, 1, list);
    assert_int_equal(ct_value_bytes(&v),
                     2 * sizeof(ct_entry) + 6 + 4 * sizeof(ct_value));
    ct_value_deinit(&v);
}

static ct_status
build_and_copy(void *ctx, ct_err *err)
{
    int *released = ctx;
    ct_value d = ct_dict();
    ct_value copy = ct_nil();
    ct_status st = CT_OK;
    for (ct_name k = 0; st == CT_OK && k < 9; k++) {
        ct_value list = ct_list();
        ct_value text = ct_nil();
        st = ct_str(&text, "text", 4, err);
        st = st == CT_OK ? ct_value_push(&list, &text, err) : st;
        if (st == CT_OK) {
            st = ct_value_put(&d, k, &list, err); /* takes it also on failure */
        }
        assert_int_equal(text.kind, CT_NIL);
        ct_value_deinit(&list);
    }
    st = st == CT_OK ? ct_value_copy(&copy, &d, err) : st;
    if (st == CT_OK) {
        assert_true(ct_value_equal(&copy, &d));
    } else {
        assert_int_equal(copy.kind, CT_NIL);
    }
    ct_value_deinit(&d);
    ct_value_deinit(&copy);
    assert_int_equal(*released, 0);
    return st;
}

static void
test_building_and_copying_survive_failing_allocations(void **state)
{
    (void)state;
    int released = 0;
    sweep_allocations(build_and_copy, &released);
}

static void
test_failed_push_and_put_release_the_item(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int released = 0;
    ct_value list = ct_list();
    ct_value d = ct_dict();
    ct_value a = ref_of_test(1, &released);
    ct_value b = ref_of_test(2, &released);
    ct_mem_fail_at(1);
    assert_int_equal(ct_value_push(&list, &a, &err), CT_ENOMEM);
    ct_mem_fail_at(1);
    assert_int_equal(ct_value_put(&d, 1, &b, &err), CT_ENOMEM);
    ct_mem_fail_at(0);
    assert_int_equal(released, 2);
    assert_int_equal(a.kind, CT_NIL);
    assert_int_equal(b.kind, CT_NIL);
    assert_int_equal(list.len + d.len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_takes_16_bytes),
        cmocka_unit_test(test_list_keeps_items_in_order_while_it_grows),
        cmocka_unit_test(test_replaced_key_keeps_its_place_and_frees_the_old_value),
        cmocka_unit_test(test_dict_agrees_with_an_array_under_random_changes),
        cmocka_unit_test(test_removing_keeps_the_order_of_the_others),
        cmocka_unit_test(test_copy_is_deep_and_shares_refs),
        cmocka_unit_test(test_numbers_compare_by_exact_value),
        cmocka_unit_test(test_dicts_compare_without_order_and_containers_by_all_items),
        cmocka_unit_test(test_refs_compare_as_their_owner_says),
        cmocka_unit_test(test_number_of_a_value_is_given_for_bool_int_and_float_only),
        cmocka_unit_test(test_strings_hold_nuls_and_count_their_bytes),
        cmocka_unit_test(test_bytes_count_all_blocks_below_a_value),
        cmocka_unit_test(test_building_and_copying_survive_failing_allocations),
        cmocka_unit_test(test_failed_push_and_put_release_the_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
