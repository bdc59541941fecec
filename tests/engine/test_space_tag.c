/* Tests of space/tag.h. */
#include "space_support.h"

#include <math.h>
#include <stdio.h>

#include "space/tag.h"

static void
test_four_decimals_are_those_of_printf(void **state)
{
    (void)state;
    double cases[] = {
        0.0,      -0.0,       0.5,   0.00005,  0.00015,    0.00025,
        0.03125,  0.15625,    -1.5,  2.00005,  1e10,       399999999999.99994,
        4e11,     1e300,      NAN,   INFINITY, -INFINITY,  0.99995,
        9.99995,  0.00004999, -1e-9, 5e-324,   12345.6789, 0.123456789,
        1.0 / 3.0};
    char want[400];
    char got[400];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)snprintf(want, sizeof want, "%.4f", cases[i]);
        assert_int_equal(ct_format_fixed4(cases[i], got), strlen(want));
        assert_string_equal(got, want);
    }
    ct_pcg pcg;
    ct_pcg_init(&pcg, 3, 1);
    for (int i = 0; i < 200000; i++) {
        /* Ties (multiples of 1/32768) and their neighbours, many sizes. */
        double v = (double)(ct_pcg_next(&pcg) % 4000000) / 32768.0;
        int way = i % 4;
        v = way == 1 ? nextafter(v, 1e9) : way == 2 ? nextafter(v, 0.0) : v;
        v = way == 3 ? pow(10.0, 24.0 * pcg.rng.next_double(&pcg.rng) - 12.0) : v;
        (void)snprintf(want, sizeof want, "%.4f", v);
        (void)ct_format_fixed4(v, got);
        assert_string_equal(got, want);
    }
}

static void
clean_is(const char *text, const char *want)
{
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_buf_puts(&b, "_", &err), err); /* what stands before is left alone */
    assert_ok(ct_tag_clean(&b, text, strlen(text), &err), err);
    assert_ok(ct_buf_terminate(&b, &err), err);
    assert_string_equal((const char *)b.data + 1, want);
    ct_buf_deinit(&b);
}

static void
test_cleaning_joins_foreign_characters_and_strips_the_ends(void **state)
{
    (void)state;
    clean_is("plain-_1", "plain-_1");
    clean_is("a b,,c", "a_b_c");
    clean_is("__x__", "x");
    clean_is("('__ref_ph', 'a5e792c9')", "ref_ph_a5e792c9");
    clean_is("{'a': ('__ref_ph', 'c9505aa8')}", "a___ref_ph_c9505aa8");
    clean_is("\xc3\xa9", "");
    clean_is("", "");
    clean_is("_a_ /_", "a");
}

static void
value_is(ct_value v, const ct_space *s, const char *want)
{
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_tag_value(&b, &v, s, &err), err);
    assert_ok(ct_buf_terminate(&b, &err), err);
    assert_string_equal((const char *)b.data, want);
    ct_buf_deinit(&b);
    ct_value_deinit(&v);
}

static void
test_values_read_as_in_python(void **state)
{
    (void)state;
    value_is(ct_f64(0.25155), NULL, "0.2515");
    value_is(ct_i64(-3), NULL, "-3");
    value_is(ct_bool(true), NULL, "True");
    value_is(ct_nil(), NULL, "None");
    value_is(s_text_value("a b"), NULL, "a_b");
    ct_err err = CT_ERR_INIT;
    ct_value list = ct_list();
    ct_value item = ct_i64(1);
    assert_ok(ct_value_push(&list, &item, &err), err);
    item = s_text_value("a b");
    assert_ok(ct_value_push(&list, &item, &err), err);
    item = ct_f64(0.5);
    assert_ok(ct_value_push(&list, &item, &err), err);
    value_is(list, NULL, "1_a_b_0_5");
}

static void
test_repr_quotes_and_escapes(void **state)
{
    (void)state;
    ct_names *names = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_names_new(&names, &err), err);
    ct_space *s = s_space(names, s_dict(names, "k", s_int(1), NULL));
    ct_value dict = ct_dict();
    ct_value tuple = ct_tuple();
    ct_value item = s_text_value("it's\n\x01\\");
    assert_ok(ct_value_push(&tuple, &item, &err), err);
    assert_ok(ct_value_put(&dict, s_name(names, "k"), &tuple, &err), err);
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_tag_repr(&b, &dict, s, &err), err);
    assert_ok(ct_buf_terminate(&b, &err), err);
    assert_string_equal((const char *)b.data, "{'k': (\"it's\\n\\x01\\\\\",)}");
    ct_buf_deinit(&b);
    ct_value_deinit(&dict);
    ct_space_free(s);
    ct_names_free(names);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_four_decimals_are_those_of_printf),
        cmocka_unit_test(test_cleaning_joins_foreign_characters_and_strips_the_ends),
        cmocka_unit_test(test_values_read_as_in_python),
        cmocka_unit_test(test_repr_quotes_and_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
