/* test_base_bytes.c: the buffer and the reader. */
#include "support.h"

#include "base/bytes.h"

#include <math.h>
#include <string.h>

static const uint64_t VARINTS[] = {
    0,          1,          127,        128,        16383,      16384,
    UINT32_MAX, 1ULL << 56, 1ULL << 63, UINT64_MAX, 0x7FFFFFFF, 1234567,
};
enum { N_VARINTS = sizeof VARINTS / sizeof VARINTS[0] };

static ct_status
write_fields(ct_buf *b, ct_err *err)
{
    ct_status st = ct_buf_put_u8(b, 0xAB, err);
    st = st == CT_OK ? ct_buf_put_u32(b, 0x01020304, err) : st;
    st = st == CT_OK ? ct_buf_put_u64(b, 0x0102030405060708U, err) : st;
    st = st == CT_OK ? ct_buf_put_f64(b, -0.0, err) : st;
    st = st == CT_OK ? ct_buf_put_bytes(b, "hello\0world", 11, err) : st;
    st = st == CT_OK ? ct_buf_put_bytes(b, NULL, 0, err) : st;
    for (size_t i = 0; st == CT_OK && i < N_VARINTS; i++) {
        st = ct_buf_put_varint(b, VARINTS[i], err);
    }
    return st;
}

static void
check_fields(ct_reader *r)
{
    size_t len = 0;
    assert_int_equal(ct_read_u8(r), 0xAB);
    assert_int_equal(ct_read_u32(r), 0x01020304);
    assert_int_equal(ct_read_u64(r), 0x0102030405060708U);
    assert_true(signbit(ct_read_f64(r)));
    assert_memory_equal(ct_read_bytes(r, &len), "hello\0world", 11);
    assert_int_equal(len, 11);
    assert_non_null(ct_read_bytes(r, &len));
    assert_int_equal(len, 0);
    for (size_t i = 0; i < N_VARINTS; i++) {
        assert_int_equal(ct_read_varint(r), VARINTS[i]);
    }
}

static void
test_fields_read_back_and_are_little_endian(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(write_fields(&b, &err), err);
    assert_memory_equal(b.data + 1, "\x04\x03\x02\x01\x08\x07\x06\x05\x04\x03\x02\x01",
                        12);
    ct_reader r = ct_reader_of(b.data, b.len);
    check_fields(&r);
    assert_false(r.bad);
    assert_int_equal(r.at, b.len);
    ct_buf_deinit(&b);
}

static void
test_nan_keeps_its_payload(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    uint64_t bits = 0x7FF8DEADBEEF0001U;
    double nan;
    memcpy(&nan, &bits, sizeof nan);
    assert_ok(ct_buf_put_f64(&b, nan, &err), err);
    ct_reader r = ct_reader_of(b.data, b.len);
    nan = ct_read_f64(&r);
    uint64_t back;
    memcpy(&back, &nan, sizeof back);
    assert_int_equal(back, bits);
    ct_buf_deinit(&b);
}

static void
test_truncated_bytes_turn_the_reader_bad_and_give_zeros(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(write_fields(&b, &err), err);
    for (size_t cut = 0; cut < b.len; cut++) {
        uint8_t *exact = ct_alloc(cut); /* the sanitizer sees a read past its end */
        if (cut > 0) {
            memcpy(exact, b.data, cut);
        }
        ct_reader r = ct_reader_of(exact, cut);
        size_t len = 7;
        (void)ct_read_u8(&r);
        (void)ct_read_u32(&r);
        (void)ct_read_u64(&r);
        (void)ct_read_f64(&r);
        (void)ct_read_bytes(&r, &len);
        (void)ct_read_bytes(&r, &len);
        for (size_t i = 0; i < N_VARINTS; i++) {
            (void)ct_read_varint(&r);
        }
        assert_true(r.bad);
        assert_int_equal(ct_read_u32(&r), 0);
        assert_null(ct_read_bytes(&r, &len));
        assert_int_equal(len, 0);
        ct_free(exact);
    }
    ct_buf_deinit(&b);
}

static void
test_varint_beyond_64_bits_is_bad(void **state)
{
    (void)state;
    static const uint8_t eleven[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                     0xFF, 0xFF, 0xFF, 0xFF, 0x01};
    static const uint8_t high[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                   0xFF, 0xFF, 0xFF, 0xFF, 0x02};
    ct_reader r = ct_reader_of(eleven, sizeof eleven);
    assert_int_equal(ct_read_varint(&r), 0);
    assert_true(r.bad);
    r = ct_reader_of(high, sizeof high);
    assert_int_equal(ct_read_varint(&r), 0);
    assert_true(r.bad);
}

static void
test_length_beyond_the_end_gives_no_bytes(void **state)
{
    (void)state;
    static const uint8_t data[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                   0xFF, 0xFF, 0xFF, 0x01, 'x'};
    ct_reader r = ct_reader_of(data, sizeof data);
    size_t len = 1;
    assert_null(ct_read_bytes(&r, &len));
    assert_int_equal(len, 0);
    assert_true(r.bad);
}

static void
test_printf_appends_texts_of_any_length(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_buf_puts(&b, "<", &err), err);
    for (int width = 0; width < 300; width++) {
        size_t before = b.len;
        assert_ok(ct_buf_printf(&b, &err, "%*d", width, 7), err);
        assert_int_equal(b.len - before, width > 0 ? width : 1);
        assert_int_equal(b.data[b.len - 1], '7');
    }
    assert_ok(ct_buf_terminate(&b, &err), err);
    assert_int_equal(strlen((char *)b.data), b.len);
    ct_buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_true(b.cap > 0);
    ct_buf_deinit(&b);
    assert_null(b.data);
}

static void
test_impossible_sizes_are_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_buf_puts(&b, "abc", &err), err);
    assert_int_equal(ct_buf_reserve(&b, SIZE_MAX, &err), CT_ENOMEM);
    assert_int_equal(ct_buf_put_bytes(&b, "", SIZE_MAX, &err), CT_ENOMEM);
    assert_int_equal(b.len, 3);
    ct_buf_deinit(&b);
}

static ct_status
write_much(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_buf b = CT_BUF_INIT;
    ct_status st = CT_OK;
    for (int i = 0; st == CT_OK && i < 20; i++) {
        size_t len = b.len;
        st = ct_buf_printf(&b, err, "%0100d", i);
        st = st == CT_OK ? ct_buf_put_bytes(&b, "0123456789", 10, err) : st;
        assert_true(st == CT_OK ? b.len == len + 111
                                : b.len == len || b.len == len + 100);
    }
    ct_buf_deinit(&b);
    return st;
}

static void
test_buffer_survives_failing_allocations(void **state)
{
    (void)state;
    sweep_allocations(write_much, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_read_back_and_are_little_endian),
        cmocka_unit_test(test_nan_keeps_its_payload),
        cmocka_unit_test(test_truncated_bytes_turn_the_reader_bad_and_give_zeros),
        cmocka_unit_test(test_varint_beyond_64_bits_is_bad),
        cmocka_unit_test(test_length_beyond_the_end_gives_no_bytes),
        cmocka_unit_test(test_printf_appends_texts_of_any_length),
        cmocka_unit_test(test_impossible_sizes_are_refused),
        cmocka_unit_test(test_buffer_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
