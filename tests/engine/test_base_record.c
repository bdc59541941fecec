/* test_base_record.c: the tape of a result, its numbers, its packed form. */
#include "support.h"

#include "base/pcg.h"
#include "base/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct fixture {
    ct_names *names;
    ct_record record;
    ct_metrics_buf metrics;
    ct_err err;
} fixture;

static void
fixture_init(fixture *f)
{
    *f = (fixture){NULL, CT_RECORD_INIT, {NULL, 0, 0}, CT_ERR_INIT};
    assert_ok(ct_names_new(&f->names, &f->err), f->err);
}

static void
fixture_deinit(fixture *f)
{
    ct_record_deinit(&f->record);
    ct_metrics_buf_deinit(&f->metrics);
    ct_names_free(f->names);
}

static ct_name
name(fixture *f, const char *text)
{
    ct_name n = CT_NAME_NONE;
    assert_ok(ct_names_intern(f->names, text, strlen(text), &n, &f->err), f->err);
    return n;
}

static void
num(fixture *f, const char *key, double v)
{
    assert_ok(ct_record_f64(&f->record, name(f, key), v, &f->err), f->err);
}

static void
open_dict(fixture *f, const char *key)
{
    assert_ok(ct_record_open(&f->record, name(f, key), CT_FIELD_DICT, &f->err), f->err);
}

static void
end(fixture *f)
{
    assert_ok(ct_record_end(&f->record, &f->err), f->err);
}

/* Compares the metrics with "name=value name=value …". */
static void
check_metrics(fixture *f, const char *want)
{
    char got[1024] = "";
    size_t n = 0;
    assert_ok(ct_record_metrics(&f->record, f->names, &f->metrics, &f->err), f->err);
    for (size_t i = 0; i < f->metrics.count; i++) {
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%s=%g", i == 0 ? "" : " ",
                              ct_names_text(f->names, f->metrics.items[i].name),
                              f->metrics.items[i].value);
    }
    assert_string_equal(got, want);
}

/* One field of each kind, and nesting. */
static ct_status
fill_sample(ct_record *r, ct_err *err)
{
    ct_record_clear(r);
    ct_status st = ct_record_nil(r, 0, err);
    st = st == CT_OK ? ct_record_bool(r, 1, true, err) : st;
    st = st == CT_OK ? ct_record_bool(r, 2, false, err) : st;
    st = st == CT_OK ? ct_record_i64(r, 3, INT64_MIN, err) : st;
    st = st == CT_OK ? ct_record_i64(r, 300, -1, err) : st;
    st = st == CT_OK ? ct_record_i64(r, 70000, INT64_MAX, err) : st;
    st = st == CT_OK ? ct_record_f64(r, 4, -0.1, err) : st;
    st = st == CT_OK ? ct_record_str(r, 5, "t\0xt", 4, err) : st;
    st = st == CT_OK ? ct_record_str(r, 6, "", 0, err) : st;
    st = st == CT_OK ? ct_record_obj(r, 7, "\"json\"", 6, "\x80\x05N.", 4, err) : st;
    st = st == CT_OK ? ct_record_open(r, 8, CT_FIELD_LIST, err) : st;
    st = st == CT_OK ? ct_record_i64(r, CT_NAME_NONE, 1, err) : st;
    st = st == CT_OK ? ct_record_open(r, CT_NAME_NONE, CT_FIELD_DICT, err) : st;
    st = st == CT_OK ? ct_record_str(r, 9, "deep", 4, err) : st;
    st = st == CT_OK ? ct_record_end(r, err) : st;
    st = st == CT_OK ? ct_record_end(r, err) : st;
    st = st == CT_OK ? ct_record_open(r, 10, CT_FIELD_DICT, err) : st;
    st = st == CT_OK ? ct_record_end(r, err) : st;
    return st == CT_OK ? ct_record_config(r, 11, err) : st;
}

static void
assert_same_record(const ct_record *a, const ct_record *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->depth, b->depth);
    for (size_t i = 0; i < a->count; i++) {
        const ct_field *f = &a->fields[i];
        const ct_field *g = &b->fields[i];
        assert_int_equal(f->key, g->key);
        assert_int_equal(f->kind, g->kind);
        assert_int_equal(f->len, g->len);
        assert_int_equal(f->extra, g->extra);
        if (f->kind == CT_FIELD_STR || f->kind == CT_FIELD_OBJ) {
            assert_memory_equal(ct_record_text(a, f), ct_record_text(b, g),
                                (size_t)f->len + f->extra);
        } else {
            assert_true(f->u.i == g->u.i);
        }
    }
}

static void
test_record_keeps_fields_in_order_and_allocates_nothing_once_warm(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_record r = CT_RECORD_INIT;
    ct_buf packed = CT_BUF_INIT;
    assert_ok(fill_sample(&r, &err), err);
    assert_ok(ct_record_pack(&r, &packed, &err), err);
    size_t count = r.count;
    ct_mem_fail_at(1);
    assert_ok(fill_sample(&r, &err), err);
    ct_buf_clear(&packed);
    assert_ok(ct_record_pack(&r, &packed, &err), err);
    assert_false(ct_mem_failed());
    ct_mem_fail_at(0);
    assert_int_equal(r.count, count);
    assert_int_equal(r.fields[4].key, 300);
    assert_int_equal(r.fields[4].u.i, -1);
    assert_memory_equal(ct_record_text(&r, ct_record_find(&r, 5)), "t\0xt", 4);
    assert_memory_equal(ct_record_text(&r, ct_record_find(&r, 7)), "\"json\"\x80\x05N.",
                        10);
    ct_record_deinit(&r);
    ct_buf_deinit(&packed);
}

static void
test_find_sees_top_level_keys_only_and_the_last_of_repeated_ones(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    num(&f, "a", 1);
    open_dict(&f, "d");
    num(&f, "b", 2);
    num(&f, "a", 3);
    end(&f);
    num(&f, "c", 4);
    num(&f, "a", 5);
    double v = 0.0;
    assert_true(ct_field_number(ct_record_find(&f.record, name(&f, "a")), &v) &&
                v == 5.0);
    assert_true(ct_field_number(ct_record_find(&f.record, name(&f, "c")), &v) &&
                v == 4.0);
    assert_null(ct_record_find(&f.record, name(&f, "b")));
    assert_int_equal(ct_record_find(&f.record, name(&f, "d"))->kind, CT_FIELD_DICT);
    assert_false(ct_field_number(ct_record_find(&f.record, name(&f, "d")), &v));
    fixture_deinit(&f);
}

static void
test_metrics_are_the_numbers_of_a_flat_result(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    check_metrics(&f, "");
    num(&f, "loss", 0.5);
    assert_ok(ct_record_str(&f.record, name(&f, "s"), "text", 4, &f.err), f.err);
    assert_ok(ct_record_bool(&f.record, name(&f, "done"), true, &f.err), f.err);
    assert_ok(ct_record_nil(&f.record, name(&f, "n"), &f.err), f.err);
    assert_ok(ct_record_i64(&f.record, name(&f, "iter"), 7, &f.err), f.err);
    assert_ok(ct_record_config(&f.record, name(&f, "config"), &f.err), f.err);
    num(&f, "a/b", 2);
    check_metrics(&f, "loss=0.5 done=1 iter=7 a/b=2");
    fixture_deinit(&f);
}

static void
test_nested_metrics_follow_plain_ones_level_by_level(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    open_dict(&f, "a");
    open_dict(&f, "x");
    num(&f, "deep", 1);
    end(&f);
    num(&f, "y", 2);
    end(&f);
    num(&f, "plain", 3);
    open_dict(&f, "b");
    num(&f, "z", 4);
    open_dict(&f, "empty");
    end(&f);
    open_dict(&f, "x");
    num(&f, "deep", 5);
    end(&f);
    end(&f);
    num(&f, "last", 6);
    check_metrics(&f, "plain=3 last=6 a/y=2 b/z=4 a/x/deep=1 b/x/deep=5");
    fixture_deinit(&f);
}

static void
test_lists_are_not_flattened(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    assert_ok(ct_record_open(&f.record, name(&f, "l"), CT_FIELD_LIST, &f.err), f.err);
    assert_ok(ct_record_f64(&f.record, CT_NAME_NONE, 1, &f.err), f.err);
    assert_ok(ct_record_open(&f.record, CT_NAME_NONE, CT_FIELD_DICT, &f.err), f.err);
    num(&f, "in/list", 2);
    end(&f);
    end(&f);
    open_dict(&f, "d");
    assert_ok(ct_record_open(&f.record, name(&f, "l"), CT_FIELD_LIST, &f.err), f.err);
    assert_ok(ct_record_f64(&f.record, CT_NAME_NONE, 3, &f.err), f.err);
    end(&f);
    num(&f, "x", 4);
    end(&f);
    num(&f, "y", 5);
    check_metrics(&f, "y=5 d/x=4");
    fixture_deinit(&f);
}

static void
test_literal_slash_wins_over_a_nested_path(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    open_dict(&f, "a");
    num(&f, "b", 1);
    num(&f, "c", 2);
    open_dict(&f, "d");
    num(&f, "e", 3);
    end(&f);
    num(&f, "d/e", 4);
    end(&f);
    num(&f, "a/b", 5);
    check_metrics(&f, "a/b=5 a/c=2 a/d/e=4");
    fixture_deinit(&f);
}

static void
test_flattening_again_allocates_nothing(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    open_dict(&f, "a");
    num(&f, "b", 1);
    end(&f);
    num(&f, "c", 2);
    check_metrics(&f, "c=2 a/b=1");
    ct_mem_fail_at(1);
    check_metrics(&f, "c=2 a/b=1");
    assert_false(ct_mem_failed());
    ct_mem_fail_at(0);
    fixture_deinit(&f);
}

static void
test_deepest_nesting_is_accepted_and_one_more_refused(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    ct_name d = name(&f, "d");
    for (int i = 0; i < CT_RECORD_DEPTH; i++) {
        open_dict(&f, "d");
    }
    assert_int_equal(ct_record_open(&f.record, d, CT_FIELD_DICT, &f.err), CT_EINVAL);
    num(&f, "x", 1);
    for (int i = 0; i < CT_RECORD_DEPTH; i++) {
        end(&f);
    }
    assert_ok(ct_record_metrics(&f.record, f.names, &f.metrics, &f.err), f.err);
    assert_int_equal(f.metrics.count, 1);
    assert_int_equal(ct_names_len(f.names, f.metrics.items[0].name),
                     2 * CT_RECORD_DEPTH + 1);
    ct_buf b = CT_BUF_INIT;
    ct_record back = CT_RECORD_INIT;
    assert_ok(ct_record_pack(&f.record, &b, &f.err), f.err);
    ct_reader in = ct_reader_of(b.data, b.len);
    assert_ok(ct_record_unpack(&back, &in, NULL, 0, &f.err), f.err);
    assert_same_record(&f.record, &back);
    ct_record_deinit(&back);
    ct_buf_deinit(&b);
    fixture_deinit(&f);
}

static void
test_packed_record_reads_back_the_same(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_record r = CT_RECORD_INIT;
    ct_record back = CT_RECORD_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(fill_sample(&r, &err), err);
    assert_ok(ct_buf_puts(&b, "before", &err), err);
    assert_ok(ct_record_pack(&r, &b, &err), err);
    assert_ok(ct_buf_puts(&b, "after", &err), err);
    ct_reader in = ct_reader_of(b.data + 6, b.len - 6);
    assert_ok(ct_record_unpack(&back, &in, NULL, 0, &err), err);
    assert_same_record(&r, &back);
    assert_int_equal(in.len - in.at, 5);
    ct_record_deinit(&r);
    ct_record_deinit(&back);
    ct_buf_deinit(&b);
}

static void
test_packed_numbers_are_small(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_record r = CT_RECORD_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_record_i64(&r, 5, -3, &err), err);
    assert_ok(ct_record_f64(&r, 6, 0.1, &err), err);
    assert_ok(ct_record_bool(&r, 7, true, &err), err);
    assert_ok(ct_record_pack(&r, &b, &err), err);
    assert_int_equal(b.len, 1 + 3 + 10 + 2);
    ct_record_deinit(&r);
    ct_buf_deinit(&b);
}

static void
test_names_of_a_stream_are_translated_and_unknown_ones_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_record r = CT_RECORD_INIT;
    ct_record back = CT_RECORD_INIT;
    ct_buf b = CT_BUF_INIT;
    const ct_name map[] = {40, CT_NAME_NONE, 42};
    for (ct_name key = 0; key < 4; key++) {
        ct_record_clear(&r);
        ct_buf_clear(&b);
        assert_ok(ct_record_i64(&r, key, 1, &err), err);
        assert_ok(ct_record_pack(&r, &b, &err), err);
        ct_reader in = ct_reader_of(b.data, b.len);
        ct_status st = ct_record_unpack(&back, &in, map, 3, &err);
        if (key == 0 || key == 2) {
            assert_ok(st, err);
            assert_int_equal(back.fields[0].key, map[key]);
        } else {
            assert_int_equal(st, CT_ECORRUPT);
            assert_int_equal(back.count, 0);
        }
        in = ct_reader_of(b.data, b.len);
        assert_int_equal(ct_record_unpack(&back, &in, NULL, 3, &err),
                         key < 3 ? CT_OK : CT_ECORRUPT);
        in = ct_reader_of(b.data, b.len);
        assert_int_equal(ct_record_unpack(&back, &in, map, 0, &err), CT_ECORRUPT);
    }
    ct_record_deinit(&r);
    ct_record_deinit(&back);
    ct_buf_deinit(&b);
}

/* Unpacks an exact copy; what is accepted must be well formed and pack again. */
static ct_status
unpack_any(const uint8_t *data, size_t len)
{
    ct_err err = CT_ERR_INIT;
    ct_record back = CT_RECORD_INIT;
    uint8_t *exact = ct_alloc(len);
    if (len > 0) {
        memcpy(exact, data, len);
    }
    ct_reader in = ct_reader_of(exact, len);
    ct_status st = ct_record_unpack(&back, &in, NULL, 0, &err);
    if (st == CT_OK) {
        ct_record again = CT_RECORD_INIT;
        ct_buf b = CT_BUF_INIT;
        assert_int_equal(back.depth, 0);
        (void)ct_record_find(&back, 12345);
        assert_ok(ct_record_pack(&back, &b, &err), err);
        ct_reader in2 = ct_reader_of(b.data, b.len);
        assert_ok(ct_record_unpack(&again, &in2, NULL, 0, &err), err);
        assert_same_record(&back, &again);
        ct_record_deinit(&again);
        ct_buf_deinit(&b);
    } else {
        assert_int_equal(st, CT_ECORRUPT);
        assert_non_null(strstr(err.text, "byte "));
        assert_int_equal(back.count, 0);
    }
    ct_record_deinit(&back);
    ct_free(exact);
    return st;
}

static void
test_truncated_record_is_corrupt_at_every_length(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_record r = CT_RECORD_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(fill_sample(&r, &err), err);
    assert_ok(ct_record_pack(&r, &b, &err), err);
    for (size_t cut = 0; cut < b.len; cut++) {
        assert_int_equal(unpack_any(b.data, cut), CT_ECORRUPT);
    }
    assert_int_equal(unpack_any(b.data, b.len), CT_OK);
    ct_record_deinit(&r);
    ct_buf_deinit(&b);
}

static void
test_damaged_record_is_refused_or_well_formed(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_record r = CT_RECORD_INIT;
    ct_buf b = CT_BUF_INIT;
    ct_pcg p;
    ct_pcg_init(&p, 8, 1);
    for (int i = 0; i < 30000; i++) {
        assert_ok(fill_sample(&r, &err), err);
        ct_buf_clear(&b);
        assert_ok(ct_record_pack(&r, &b, &err), err);
        for (uint64_t k = 1 + ct_pcg_next(&p) % 3; k > 0; k--) {
            uint64_t x = ct_pcg_next(&p);
            b.data[x % b.len] ^= (uint8_t)(x >> 32);
        }
        (void)unpack_any(b.data, b.len);
        for (size_t k = 0; k < b.len; k++) { /* and no structure at all */
            b.data[k] = (uint8_t)(ct_pcg_next(&p) % (i % 2 == 0 ? 256 : 26));
        }
        b.data[0] = (uint8_t)(i % 8);
        (void)unpack_any(b.data, b.len);
    }
    ct_record_deinit(&r);
    ct_buf_deinit(&b);
}

static void
test_unbalanced_or_misplaced_fields_are_corrupt(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *bytes;
        size_t len;
    } cases[] = {
        {"an END with nothing open", "\x01\x07", 2},
        {"an END with a key", "\x02\x15\x00\x17\x00", 5},
        {"a list that is not closed", "\x01\x15\x00", 3},
        {"a top-level field without key", "\x01\x00", 2},
        {"an item of a list with a key", "\x03\x15\x00\x10\x01\x07", 6},
        {"an item of a dict without key", "\x03\x16\x00\x00\x07", 5},
        {"an unknown kind", "\x01\x1A\x00", 3},
        {"an unknown bit in a tag", "\x01\x50\x00", 3},
        {"truth on a field that is no bool", "\x01\x30\x00", 3},
        {"more fields than bytes", "\x7F\x10\x00", 3},
        {"a name beyond 32 bits", "\x01\x10\xFF\xFF\xFF\xFF\x1F", 7},
        {"a text longer than the rest", "\x01\x14\x00\x05xxxx", 8},
        {"lengths whose sum wraps",
         "\x01\x19\x00\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01x", 15},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (unpack_any((const uint8_t *)cases[i].bytes, cases[i].len) != CT_ECORRUPT) {
            fail_msg("%s was accepted", cases[i].what);
        }
    }
    assert_int_equal(unpack_any((const uint8_t *)"\x03\x15\x00\x00\x07", 5), CT_OK);
    assert_int_equal(unpack_any((const uint8_t *)"\x00", 1), CT_OK);
}

static void
test_packed_nesting_is_bounded(void **state)
{
    (void)state;
    uint8_t data[2 + 2 * (CT_RECORD_DEPTH + 1) + 2];
    for (size_t depth = CT_RECORD_DEPTH; depth <= CT_RECORD_DEPTH + 1; depth++) {
        size_t n = 0;
        data[n++] = (uint8_t)(2 * depth) | 0x80;
        data[n++] = (uint8_t)(2 * depth >> 7);
        data[n++] = 0x15;
        data[n++] = 0x00;
        memset(data + n, CT_FIELD_LIST, depth - 1);
        n += depth - 1;
        memset(data + n, CT_FIELD_END, depth);
        n += depth;
        assert_int_equal(unpack_any(data, n),
                         depth == CT_RECORD_DEPTH ? CT_OK : CT_ECORRUPT);
    }
}

static ct_status
fill_pack_unpack_flatten(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_record r = CT_RECORD_INIT;
    ct_record back = CT_RECORD_INIT;
    ct_buf b = CT_BUF_INIT;
    ct_names *names = NULL;
    ct_metrics_buf metrics = {NULL, 0, 0};
    ct_name x = CT_NAME_NONE;
    ct_status st = fill_sample(&r, err);
    st = st == CT_OK ? ct_record_pack(&r, &b, err) : st;
    if (st == CT_OK) {
        ct_reader in = ct_reader_of(b.data, b.len);
        st = ct_record_unpack(&back, &in, NULL, 0, err);
        assert_true(st == CT_OK || back.count == 0);
    }
    st = st == CT_OK ? ct_names_new(&names, err) : st;
    st = st == CT_OK ? ct_names_intern(names, "x", 1, &x, err) : st;
    ct_record_clear(&r);
    st = st == CT_OK ? ct_record_open(&r, x, CT_FIELD_DICT, err) : st;
    st = st == CT_OK ? ct_record_i64(&r, x, 1, err) : st;
    st = st == CT_OK ? ct_record_end(&r, err) : st;
    st = st == CT_OK ? ct_record_metrics(&r, names, &metrics, err) : st;
    ct_record_deinit(&r);
    ct_record_deinit(&back);
    ct_buf_deinit(&b);
    ct_metrics_buf_deinit(&metrics);
    ct_names_free(names);
    return st;
}

static void
test_records_survive_failing_allocations(void **state)
{
    (void)state;
    sweep_allocations(fill_pack_unpack_flatten, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_record_keeps_fields_in_order_and_allocates_nothing_once_warm),
        cmocka_unit_test(
            test_find_sees_top_level_keys_only_and_the_last_of_repeated_ones),
        cmocka_unit_test(test_metrics_are_the_numbers_of_a_flat_result),
        cmocka_unit_test(test_nested_metrics_follow_plain_ones_level_by_level),
        cmocka_unit_test(test_lists_are_not_flattened),
        cmocka_unit_test(test_literal_slash_wins_over_a_nested_path),
        cmocka_unit_test(test_flattening_again_allocates_nothing),
        cmocka_unit_test(test_deepest_nesting_is_accepted_and_one_more_refused),
        cmocka_unit_test(test_packed_record_reads_back_the_same),
        cmocka_unit_test(test_packed_numbers_are_small),
        cmocka_unit_test(
            test_names_of_a_stream_are_translated_and_unknown_ones_refused),
        cmocka_unit_test(test_truncated_record_is_corrupt_at_every_length),
        cmocka_unit_test(test_damaged_record_is_refused_or_well_formed),
        cmocka_unit_test(test_unbalanced_or_misplaced_fields_are_corrupt),
        cmocka_unit_test(test_packed_nesting_is_bounded),
        cmocka_unit_test(test_records_survive_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
