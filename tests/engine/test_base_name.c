/* test_base_name.c: interned strings. */
#include "support.h"

#include "base/name.h"

#include <stdio.h>
#include <string.h>

static ct_names *
names_of_test(void)
{
    ct_err err = CT_ERR_INIT;
    ct_names *t = NULL;
    assert_ok(ct_names_new(&t, &err), err);
    return t;
}

static ct_name
intern(ct_names *t, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_name n = CT_NAME_NONE;
    assert_ok(ct_names_intern(t, text, strlen(text), &n, &err), err);
    return n;
}

static void
test_names_are_dense_and_equal_texts_share_one(void **state)
{
    (void)state;
    ct_names *t = names_of_test();
    assert_int_equal(ct_names_count(t), 0);
    assert_int_equal(ct_names_find(t, "loss", 4), CT_NAME_NONE);
    assert_int_equal(intern(t, "loss"), 0);
    assert_int_equal(intern(t, "acc"), 1);
    assert_int_equal(intern(t, "loss"), 0);
    assert_int_equal(intern(t, ""), 2);
    assert_int_equal(intern(t, ""), 2);
    assert_int_equal(ct_names_count(t), 3);
    assert_int_equal(ct_names_find(t, "acc", 3), 1);
    assert_int_equal(ct_names_find(t, "ac", 2), CT_NAME_NONE);
    ct_names_free(t);
}

static void
test_texts_stay_where_they_are_as_the_table_grows(void **state)
{
    (void)state;
    ct_names *t = names_of_test();
    const char *first = ct_names_text(t, intern(t, "first"));
    char text[32];
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(text, sizeof text, "name %d", i);
        assert_int_equal(intern(t, text), i + 1);
    }
    assert_ptr_equal(ct_names_text(t, 0), first);
    for (int i = 0; i < 20000; i++) {
        int len = snprintf(text, sizeof text, "name %d", i);
        assert_int_equal(ct_names_find(t, text, (size_t)len), i + 1);
        assert_string_equal(ct_names_text(t, (ct_name)i + 1), text);
        assert_int_equal(ct_names_len(t, (ct_name)i + 1), len);
    }
    ct_names_free(t);
}

static void
test_names_may_hold_nuls(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *t = names_of_test();
    ct_name a = CT_NAME_NONE;
    ct_name b = CT_NAME_NONE;
    assert_ok(ct_names_intern(t, "x\0y", 3, &a, &err), err);
    assert_ok(ct_names_intern(t, "x\0z", 3, &b, &err), err);
    assert_int_not_equal(a, b);
    assert_int_not_equal(a, intern(t, "x"));
    assert_int_equal(ct_names_len(t, a), 3);
    assert_memory_equal(ct_names_text(t, a), "x\0y", 4);
    ct_names_free(t);
}

static void
test_joined_name_is_the_name_of_the_text_with_a_slash(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *t = names_of_test();
    ct_name literal = intern(t, "a/b");
    ct_name a = intern(t, "a");
    ct_name b = intern(t, "b");
    ct_name joined = CT_NAME_NONE;
    assert_ok(ct_names_join(t, a, b, &joined, &err), err);
    assert_int_equal(joined, literal);
    size_t count = ct_names_count(t);
    assert_ok(ct_names_join(t, b, a, &joined, &err), err);
    assert_string_equal(ct_names_text(t, joined), "b/a");
    assert_ok(ct_names_join(t, b, a, &joined, &err), err);
    assert_int_equal(ct_names_count(t), count + 1);
    assert_true(ct_names_has_slash(t, joined));
    assert_true(ct_names_has_slash(t, literal));
    assert_false(ct_names_has_slash(t, a));
    ct_names_free(t);
}

static void
test_repeated_join_allocates_nothing(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *t = names_of_test();
    ct_name a = intern(t, "a");
    ct_name joined = CT_NAME_NONE;
    assert_ok(ct_names_join(t, a, a, &joined, &err), err);
    ct_mem_fail_at(1);
    assert_ok(ct_names_join(t, a, a, &joined, &err), err);
    assert_int_equal(intern(t, "a/a"), joined);
    assert_false(ct_mem_failed());
    ct_mem_fail_at(0);
    ct_names_free(t);
}

static ct_status
fill_names(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_names *t = NULL;
    ct_status st = ct_names_new(&t, err);
    ct_name last = CT_NAME_NONE;
    for (int i = 0; st == CT_OK && i < 40; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "n%d", i);
        size_t count = ct_names_count(t);
        ct_name n = CT_NAME_NONE;
        st = ct_names_intern(t, text, (size_t)len, &n, err);
        if (st != CT_OK) { /* nothing changed: a second try gives the next number */
            assert_int_equal(ct_names_find(t, text, (size_t)len), CT_NAME_NONE);
            assert_int_equal(ct_names_count(t), count);
            assert_int_equal(intern(t, text), count);
        } else if (last != CT_NAME_NONE) {
            st = ct_names_join(t, last, n, &last, err);
        } else {
            last = n;
        }
    }
    ct_names_free(t);
    return st;
}

static void
test_table_survives_failing_allocations(void **state)
{
    (void)state;
    sweep_allocations(fill_names, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_dense_and_equal_texts_share_one),
        cmocka_unit_test(test_texts_stay_where_they_are_as_the_table_grows),
        cmocka_unit_test(test_names_may_hold_nuls),
        cmocka_unit_test(test_joined_name_is_the_name_of_the_text_with_a_slash),
        cmocka_unit_test(test_repeated_join_allocates_nothing),
        cmocka_unit_test(test_table_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
