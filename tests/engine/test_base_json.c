/* test_base_json.c: value <-> JSON text, as Python's json module has it. */
#include "support.h"

#include "base/json.h"
#include "base/pcg.h"

#include <locale.h>
#include <math.h>
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

static ct_value
parse(ct_names *names, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    assert_ok(ct_json_parse(&v, text, strlen(text), names, &err), err);
    return v;
}

/* Prints v and compares; the buffer had something in it before. */
static void
check_print(const ct_value *v, const ct_names *names, int flags, const char *want)
{
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_buf_puts(&b, ">", &err), err);
    assert_ok(ct_json_print(&b, v, names, flags, &err), err);
    assert_ok(ct_buf_terminate(&b, &err), err);
    assert_string_equal((char *)b.data + 1, want);
    assert_int_equal(strlen((char *)b.data), b.len);
    ct_buf_deinit(&b);
}

static void
check_reprint(const char *text, int flags, const char *want)
{
    ct_names *names = names_of_test();
    ct_value v = parse(names, text);
    check_print(&v, names, flags, want);
    ct_value_deinit(&v);
    ct_names_free(names);
}

static void
test_text_looks_like_python_json_dumps(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"null", "null"},
        {" [ true,false , null ] ", "[true, false, null]"},
        {"{}", "{}"},
        {"[]", "[]"},
        {"{\"a\":{},\"b\":[ ],\"c\":[1]}", "{\"a\": {}, \"b\": [], \"c\": [1]}"},
        {"\"\\u0041\\/\\b\\f\\n\\r\\t\\\"\\\\\"", "\"A/\\b\\f\\n\\r\\t\\\"\\\\\""},
        {"\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
         "\"\\u00e9\\u20ac\\ud83d\\ude00\""},
        {"\"\\uD83D\\uDE00\\u001f\x7F\"", "\"\\ud83d\\ude00\\u001f\\u007f\""},
        {"{\"\\u00e9, \\\":\\\"\": \"a, b: [c] {d}\"}",
         "{\"\\u00e9, \\\":\\\"\": \"a, b: [c] {d}\"}"},
        {"[1.0, -0.0, 1e5, 1E+2, 0.1, 1e-5, 1e16, 123456.789]",
         "[1.0, -0.0, 100000.0, 100.0, 0.1, 1e-05, 1e+16, 123456.789]"},
        {"[NaN, Infinity, -Infinity]", "[NaN, Infinity, -Infinity]"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        check_reprint(pairs[i][0], 0, pairs[i][1]);
    }
}

static void
test_indented_text_looks_like_python_json_dumps(void **state)
{
    (void)state;
    const char *text = "{\"b\": [1, {\"x\": []}, {}], \"a\": {\"z\": 1, \"y\": \"s\"}}";
    check_reprint(
        text, CT_JSON_INDENT,
        "{\n  \"b\": [\n    1,\n    {\n      \"x\": []\n    },\n    {}\n  ],\n"
        "  \"a\": {\n    \"z\": 1,\n    \"y\": \"s\"\n  }\n}");
    check_reprint(text, CT_JSON_SORTED,
                  "{\"a\": {\"y\": \"s\", \"z\": 1}, \"b\": [1, {\"x\": []}, {}]}");
    check_reprint("[]", CT_JSON_INDENT, "[]");
    check_reprint("{}", CT_JSON_INDENT | CT_JSON_SORTED, "{}");
}

static void
test_keys_are_sorted_by_code_point(void **state)
{
    (void)state;
    check_reprint("{\"b\":1,\"\xF0\x9F\x98\x80\":2,\"\xEF\xBF\xBD\":3,\"B\":4,\"\":5,"
                  "\"ab\":6,\"a\":7,\"a\\u0000\":8,\"\xC3\xA9\":9}",
                  CT_JSON_SORTED,
                  "{\"\": 5, \"B\": 4, \"a\": 7, \"a\\u0000\": 8, \"ab\": 6, \"b\": 1, "
                  "\"\\u00e9\": 9, \"\\ufffd\": 3, \"\\ud83d\\ude00\": 2}");
}

static void
test_every_int64_comes_back_exactly(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *names = names_of_test();
    ct_pcg p;
    ct_pcg_init(&p, 1, 1);
    for (int i = 0; i < 3000; i++) {
        int64_t want = (int64_t)ct_pcg_next(&p) >> (i % 64);
        want = i == 0   ? INT64_MIN
               : i == 1 ? INT64_MAX
               : i == 2 ? (1LL << 53) + 1
                        : want;
        ct_value v = ct_i64(want);
        ct_buf b = CT_BUF_INIT;
        assert_ok(ct_json_print(&b, &v, NULL, 0, &err), err);
        v = ct_nil();
        assert_ok(ct_json_parse(&v, (char *)b.data, b.len, names, &err), err);
        assert_int_equal(v.kind, CT_I64);
        assert_true(v.u.i == want);
        ct_buf_deinit(&b);
    }
    ct_names_free(names);
}

static void
test_every_double_comes_back_as_a_double(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *names = names_of_test();
    ct_pcg p;
    ct_pcg_init(&p, 2, 1);
    for (int i = 0; i < 6000; i++) {
        uint64_t bits = ct_pcg_next(&p);
        double want;
        memcpy(&want, &bits, sizeof want);
        want = isnan(want) ? 1.0 : want;
        want = i % 3 == 0 ? (double)(int64_t)(bits >> (bits & 63U))
                          : want; /* whole ones */
        want = i % 3 == 1 ? (double)(bits % 100000) / 1000.0 : want;
        ct_value v = ct_f64(want);
        ct_buf b = CT_BUF_INIT;
        assert_ok(ct_json_print(&b, &v, NULL, 0, &err), err);
        v = ct_nil();
        assert_ok(ct_json_parse(&v, (char *)b.data, b.len, names, &err), err);
        assert_int_equal(v.kind, CT_F64);
        assert_memory_equal(&v.u.f, &want, sizeof want);
        ct_buf_deinit(&b);
    }
    ct_names_free(names);
}

static void
test_numbers_keep_their_kind_however_they_are_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        ct_kind kind;
        double value;
    } cases[] = {
        {"0", CT_I64, 0},
        {"-0", CT_I64, 0},
        {"-0.0", CT_F64, 0},
        {"1.000", CT_F64, 1},
        {"1e2", CT_F64, 100},
        {"0.99999999999999999999", CT_F64, 1},
        {"4503599627370496.4", CT_F64, 4503599627370496.5},
        {"9223372036854775808", CT_F64, 0x1p63},
        {"-9223372036854775809", CT_F64, -0x1p63},
        {"123456789012345678901234567890", CT_F64, 123456789012345678901234567890.0},
        {"1e400", CT_F64, (double)INFINITY},
        {"-1e400", CT_F64, -(double)INFINITY},
        {"1e-400", CT_F64, 0},
        {"0.10000000000000000555111512312578270211815834045410156250000000001", CT_F64,
         0.1},
    };
    ct_names *names = names_of_test();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double d = -1.0;
        ct_value v = parse(names, cases[i].text);
        assert_int_equal(v.kind, cases[i].kind);
        assert_true(ct_value_number(&v, &d) && d == cases[i].value);
    }
    ct_names_free(names);
}

static void
test_decimal_points_do_not_follow_the_locale(void **state)
{
    (void)state;
    static const char *const with_comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8",
                                             "de_DE.utf8"};
    bool found = false;
    for (size_t i = 0; !found && i < 3; i++) {
        found = setlocale(LC_NUMERIC, with_comma[i]) != NULL;
    }
    if (!found) {
        skip(); /* no such locale on this machine */
    }
    check_reprint("[1.5, 0.30000000000000004, 1.25e-7]", 0,
                  "[1.5, 0.30000000000000004, 1.25e-07]");
    (void)setlocale(LC_NUMERIC, "C");
}

static void
test_strings_that_look_like_marks_are_just_strings(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\"\\u0001#12\"",        "\"\\u0001#NaN\"", "\"\\u00011\"",
        "\"\\u0001\"",           "\"\\u0000\"",     "\"\\u00000\"",
        "\"a\\u0000b\\u0001c\"", "\"\\\\u0001\"",   "\"#1\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char dict[64];
        check_reprint(texts[i], 0, texts[i]);
        (void)snprintf(dict, sizeof dict, "{%s: %s}", texts[i], texts[i]);
        check_reprint(dict, 0, dict);
        ct_names *names = names_of_test();
        ct_value v = parse(names, texts[i]);
        assert_int_equal(v.kind, CT_STR);
        ct_value_deinit(&v);
        ct_names_free(names);
    }
    ct_names *names = names_of_test();
    ct_value v = parse(names, "\"\\u0000\\u0001#\"");
    assert_int_equal(v.len, 3);
    assert_memory_equal(v.u.s, "\0\1#", 4);
    ct_value_deinit(&v);
    ct_names_free(names);
}

static void
test_what_is_not_utf8_becomes_a_replacement_character(void **state)
{
    (void)state;
    /* As bytes.decode("utf-8", "replace") of CPython. */
    static const struct {
        const char *bytes;
        const char *want;
    } cases[] = {
        {"a\xFFz", "\"a\\ufffdz\""},
        {"\xC3", "\"\\ufffd\""},
        {"\xC3z", "\"\\ufffdz\""},
        {"\xE2\x82z", "\"\\ufffdz\""},
        {"\xF0\x9F\x98", "\"\\ufffd\""},
        {"\xC0\xAF", "\"\\ufffd\\ufffd\""},
        {"\xE0\x80\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xED\xA0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xF4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xF4\x8F\xBF\xBF", "\"\\udbff\\udfff\""},
        {"\xED\x9F\xBF\xEE\x80\x80", "\"\\ud7ff\\ue000\""},
    };
    ct_err err = CT_ERR_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ct_value v = ct_nil();
        assert_ok(ct_str(&v, cases[i].bytes, strlen(cases[i].bytes), &err), err);
        check_print(&v, NULL, 0, cases[i].want);
        ct_value_deinit(&v);
        char text[32];
        (void)snprintf(text, sizeof text, "\"%s\"", cases[i].bytes);
        check_reprint(text, 0, cases[i].want);
        ct_buf b = CT_BUF_INIT;
        assert_ok(ct_json_put_str(&b, cases[i].bytes, strlen(cases[i].bytes), &err),
                  err);
        assert_int_equal(b.len, strlen(cases[i].want));
        assert_memory_equal(b.data, cases[i].want, b.len);
        ct_buf_deinit(&b);
    }
    check_reprint("\"\\ud800\"", 0, "\"\\ufffd\"");
    check_reprint("\"\\ude00\\ud83dx\"", 0, "\"\\ufffd\\ufffdx\"");
    check_reprint("\"\\ud83d\\ud83d\\ude00\"", 0, "\"\\ufffd\\ud83d\\ude00\"");
}

static void
test_hot_writers_write_what_the_tree_writes(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg p;
    ct_pcg_init(&p, 4, 1);
    for (int i = 0; i < 2000; i++) {
        char text[40];
        size_t len = ct_pcg_next(&p) % sizeof text;
        for (size_t k = 0; k < len; k++) {
            uint64_t r = ct_pcg_next(&p);
            text[k] = (char)((r >> 8) % 4 == 0 ? r % 256 : 'a' + r % 26);
        }
        ct_value v = ct_nil();
        ct_buf tree = CT_BUF_INIT;
        ct_buf hot = CT_BUF_INIT;
        assert_ok(ct_str(&v, text, len, &err), err);
        assert_ok(ct_json_print(&tree, &v, NULL, 0, &err), err);
        assert_ok(ct_json_put_str(&hot, text, len, &err), err);
        assert_int_equal(tree.len, hot.len);
        assert_memory_equal(tree.data, hot.data, hot.len);
        ct_value_deinit(&v);
        ct_buf_clear(&hot);
        const double numbers[] = {(double)NAN, (double)INFINITY, -(double)INFINITY,
                                  0.5};
        assert_ok(ct_json_put_f64(&hot, numbers[i % 4], &err), err);
        v = ct_f64(numbers[i % 4]);
        ct_buf_clear(&tree);
        assert_ok(ct_json_print(&tree, &v, NULL, 0, &err), err);
        assert_int_equal(tree.len, hot.len);
        assert_memory_equal(tree.data, hot.data, hot.len);
        ct_buf_deinit(&tree);
        ct_buf_deinit(&hot);
    }
}

static void
test_errors_name_the_byte(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *at;
    } cases[] = {
        {"", "byte 0:"},
        {"  ", "byte 2:"},
        {"[1, 2", "byte 5:"},
        {"[1,]", "byte 3:"},
        {"{\"a\" 1}", "byte 5:"},
        {"{a: 1}", "byte 1:"},
        {"{\"a\": 1,}", "byte 8:"},
        {"01", "byte 0:"},
        {"-", "byte 1:"},
        {"1.", "byte 2:"},
        {"1e+", "byte 3:"},
        {"1 2", "byte 2:"},
        {"tru", "byte 0:"},
        {"[\"abc", "byte 1:"},
        {"\"\\x\"", "byte 1:"},
        {"\"\\u12G4\"", "byte 1:"},
        {"\"\\u12", "byte 1:"},
        {"\"a\nb\"", "byte 2:"},
        {"[1}", "byte 2:"},
        {"]", "byte 0:"},
        {"nan", "byte 0:"},
        {"-Inf", "byte 1:"},
        {"\xEF\xBB\xBF[]", "byte 0:"},
        {"{\"a\":}", "byte 5:"},
        {"[,1]", "byte 1:"},
        {"{,}", "byte 1:"},
        {"+1", "byte 0:"},
        {".5", "byte 0:"},
        {"'a'", "byte 0:"},
        {"[1 2]", "byte 3:"},
        {"\"\\", "byte 1:"},
        {"[-01]", "byte 2:"},
    };
    ct_names *names = names_of_test();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ct_err err = CT_ERR_INIT;
        ct_value v = ct_nil();
        ct_status st =
            ct_json_parse(&v, cases[i].text, strlen(cases[i].text), names, &err);
        if (st != CT_ECORRUPT || strstr(err.text, cases[i].at) == NULL) {
            fail_msg("%s: want %s, got %s: %s", cases[i].text, cases[i].at,
                     ct_status_name(st), err.text);
        }
        assert_int_equal(v.kind, CT_NIL);
    }
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    assert_int_equal(ct_json_parse(&v, "1\0", 2, names, &err), CT_ECORRUPT);
    assert_int_equal(ct_json_parse(&v, "\"\0\"", 3, names, &err), CT_ECORRUPT);
    ct_names_free(names);
}

static void
test_nesting_is_bounded_both_ways(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *names = names_of_test();
    char text[1002];
    ct_value v = ct_nil();
    memset(text, '[', 500);
    memset(text + 500, ']', 500);
    assert_ok(ct_json_parse(&v, text, 1000, names, &err), err);
    text[1000] = '\0';
    check_print(&v, names, 0, text);
    ct_value outer = ct_list();
    assert_ok(ct_value_push(&outer, &v, &err), err);
    ct_buf b = CT_BUF_INIT;
    assert_int_equal(ct_json_print(&b, &outer, names, 0, &err), CT_EINVAL);
    assert_int_equal(b.len, 0);
    ct_value_deinit(&outer);
    memset(text, '[', 501);
    memset(text + 501, ']', 501);
    assert_int_equal(ct_json_parse(&v, text, 1002, names, &err), CT_ECORRUPT);
    assert_non_null(strstr(err.text, "byte 500"));
    ct_names_free(names);
}

static void
test_last_of_repeated_keys_wins_at_the_place_of_the_first(void **state)
{
    (void)state;
    check_reprint("{\"a\": 1, \"b\": 2, \"a\": [3]}", 0, "{\"a\": [3], \"b\": 2}");
    ct_err err = CT_ERR_INIT;
    ct_names *names = names_of_test();
    ct_buf b = CT_BUF_INIT;
    for (int i = 0; i < 3000; i++) { /* also where a map replaces looking */
        assert_ok(ct_buf_printf(&b, &err, "%s\"k%d\": [%d]", i == 0 ? "{" : ", ",
                                i % 1000, i),
                  err);
    }
    assert_ok(ct_buf_puts(&b, "}", &err), err);
    ct_value v = ct_nil();
    assert_ok(ct_json_parse(&v, (char *)b.data, b.len, names, &err), err);
    assert_int_equal(v.len, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(v.u.entries[i].value.u.items[0].u.i, 2000 + i);
    }
    ct_value_deinit(&v);
    ct_buf_deinit(&b);
    ct_names_free(names);
}

/* ---- refs ---- */

typedef struct text_ref {
    ct_ref ref;
    const char *text;
} text_ref;

static void
text_ref_release(ct_ref *ref)
{
    (void)ref;
}

static ct_status
text_ref_json(const ct_ref *ref, ct_buf *out, ct_err *err)
{
    const char *text = ((const text_ref *)ref)->text;
    return text != NULL ? ct_buf_puts(out, text, err)
                        : ct_fail(err, CT_EFOREIGN, "", "raised");
}

static const ct_ref_ops TEXT_OPS = {text_ref_release, text_ref_json, NULL, NULL, NULL};

static void
check_ref(const char *text, int flags, const char *want)
{
    ct_err err = CT_ERR_INIT;
    text_ref r = {{&TEXT_OPS, 1}, text};
    ct_value list = ct_list();
    ct_value item = ct_of_ref(&r.ref);
    assert_ok(ct_value_push(&list, &item, &err), err);
    check_print(&list, NULL, flags, want);
    ct_value_deinit(&list);
}

static void
test_refs_print_the_text_they_give_in_our_layout(void **state)
{
    (void)state;
    check_ref("\"<object>\"", 0, "[\"<object>\"]");
    check_ref("[1,2 ,\n3]", 0, "[[1, 2, 3]]");
    check_ref("{ }", 0, "[{}]");
    check_ref("[1,2]", CT_JSON_INDENT, "[\n  [\n    1,\n    2\n  ]\n]");
    check_ref("[ ]", CT_JSON_INDENT, "[\n  []\n]");
    check_ref("\"\\u0001x\\u00011\\\\u0001\\u0000\"", 0,
              "[\"\\u0001x\\u00011\\\\u0001\\u0000\"]");
    check_ref("\"\\u0001\"", 0, "[\"\\u0001\"]");
    check_ref("\"\xC3\xA9\"", 0, "[\"\\u00e9\"]");
}

static void
test_malformed_text_of_a_ref_is_not_read_past_its_end(void **state)
{
    (void)state;
    check_ref("\"abc\\", 0, "[\"abc\\]\"");
    check_ref("]]]}", 0, "[]]]}]");
}

static void
test_failure_of_a_ref_is_passed_on(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    text_ref r = {{&TEXT_OPS, 1}, NULL};
    ct_value v = ct_of_ref(&r.ref);
    ct_buf b = CT_BUF_INIT;
    assert_int_equal(ct_json_print(&b, &v, NULL, 0, &err), CT_EFOREIGN);
    assert_string_equal(err.text, "raised");
    assert_int_equal(b.len, 0);
    ct_value_deinit(&v);
    ct_buf_deinit(&b);
}

static void
test_tuples_print_as_lists(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_value t = ct_tuple();
    ct_value item = ct_i64(1);
    assert_ok(ct_value_push(&t, &item, &err), err);
    check_print(&t, NULL, 0, "[1]");
    ct_value_deinit(&t);
}

/* ---- damaged input ---- */

static const char SAMPLE[] =
    "{\"a\\u0000\": [1, -2.5e3, 9223372036854775807, NaN, -Infinity, true, null],"
    " \"\xC3\xA9\\ud83d\\ude00\": {\"x\": \"\\u0001#1\", \"y\": [[], {}]}, \"z\": 0.1}";

/* What parses must print, and parse again to the same. */
static void
check_any(ct_names *names, const char *text, size_t len)
{
    ct_err err = CT_ERR_INIT;
    char *exact = ct_alloc(len);
    ct_value v = ct_nil();
    ct_value again = ct_nil();
    ct_buf b = CT_BUF_INIT;
    memcpy(exact, text, len);
    ct_status st = ct_json_parse(&v, exact, len, names, &err);
    if (st == CT_OK) {
        assert_ok(ct_json_print(&b, &v, names, CT_JSON_INDENT, &err), err);
        assert_ok(ct_json_parse(&again, (char *)b.data, b.len, names, &err), err);
        assert_true(ct_value_equal(&v, &again));
    } else {
        assert_int_equal(st, CT_ECORRUPT);
        assert_non_null(strstr(err.text, "byte "));
    }
    ct_value_deinit(&v);
    ct_value_deinit(&again);
    ct_buf_deinit(&b);
    ct_free(exact);
}

static void
test_truncated_text_is_an_error_at_every_length(void **state)
{
    (void)state;
    ct_names *names = names_of_test();
    for (size_t cut = 1; cut + 1 < sizeof SAMPLE; cut++) {
        ct_err err = CT_ERR_INIT;
        ct_value v = ct_nil();
        assert_int_equal(ct_json_parse(&v, SAMPLE, cut, names, &err), CT_ECORRUPT);
        check_any(names, SAMPLE, cut);
    }
    check_any(names, SAMPLE, sizeof SAMPLE - 1);
    ct_names_free(names);
}

static void
test_damaged_text_is_refused_or_read_consistently(void **state)
{
    (void)state;
    static const char alphabet[] = "[]{},:\"\\u0d1e-+.NI \n\x01\x80\xC3\xED";
    ct_pcg p;
    ct_pcg_init(&p, 6, 1);
    ct_names *names = names_of_test();
    for (int i = 0; i < 30000; i++) {
        char text[sizeof SAMPLE];
        memcpy(text, SAMPLE, sizeof text);
        size_t from = ct_pcg_next(&p) % (sizeof text - 1);
        size_t len = 1 + ct_pcg_next(&p) % (sizeof text - 1 - from);
        for (uint64_t k = ct_pcg_next(&p) % 4; k > 0; k--) {
            uint64_t r = ct_pcg_next(&p);
            text[from + r % len] = alphabet[(r >> 32) % (sizeof alphabet - 1)];
        }
        check_any(names, text + from, len);
    }
    ct_names_free(names);
}

static ct_status
parse_and_print(void *ctx, ct_err *err)
{
    const char *text = ctx;
    ct_names *names = NULL;
    ct_value v = ct_nil();
    ct_buf b = CT_BUF_INIT;
    ct_status st = ct_names_new(&names, err);
    st = st == CT_OK ? ct_json_parse(&v, text, strlen(text), names, err) : st;
    st = st == CT_OK
             ? ct_json_print(&b, &v, names, CT_JSON_SORTED | CT_JSON_INDENT, err)
             : st;
    assert_true(st == CT_OK || b.len == 0);
    ct_value_deinit(&v);
    ct_buf_deinit(&b);
    ct_names_free(names);
    return st;
}

static void
test_reading_and_writing_survive_failing_allocations(void **state)
{
    (void)state;
    char sample[sizeof SAMPLE];
    memcpy(sample, SAMPLE, sizeof sample);
    sweep_allocations(parse_and_print, sample);
    char many[] =
        "{\"0\":0,\"1\":1,\"2\":2,\"3\":3,\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,"
        "\"9\":9,\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"f\":\"5\",\"g\":\"6\","
        "\"h\":\"7\",\"i\":[8],\"j\":{},\"h\":[\"again\"]}";
    sweep_allocations(parse_and_print, many);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_looks_like_python_json_dumps),
        cmocka_unit_test(test_indented_text_looks_like_python_json_dumps),
        cmocka_unit_test(test_keys_are_sorted_by_code_point),
        cmocka_unit_test(test_every_int64_comes_back_exactly),
        cmocka_unit_test(test_every_double_comes_back_as_a_double),
        cmocka_unit_test(test_numbers_keep_their_kind_however_they_are_written),
        cmocka_unit_test(test_decimal_points_do_not_follow_the_locale),
        cmocka_unit_test(test_strings_that_look_like_marks_are_just_strings),
        cmocka_unit_test(test_what_is_not_utf8_becomes_a_replacement_character),
        cmocka_unit_test(test_hot_writers_write_what_the_tree_writes),
        cmocka_unit_test(test_errors_name_the_byte),
        cmocka_unit_test(test_nesting_is_bounded_both_ways),
        cmocka_unit_test(test_last_of_repeated_keys_wins_at_the_place_of_the_first),
        cmocka_unit_test(test_refs_print_the_text_they_give_in_our_layout),
        cmocka_unit_test(test_malformed_text_of_a_ref_is_not_read_past_its_end),
        cmocka_unit_test(test_failure_of_a_ref_is_passed_on),
        cmocka_unit_test(test_tuples_print_as_lists),
        cmocka_unit_test(test_truncated_text_is_an_error_at_every_length),
        cmocka_unit_test(test_damaged_text_is_refused_or_read_consistently),
        cmocka_unit_test(test_reading_and_writing_survive_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
