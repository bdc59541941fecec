/* Frames, events, commands and values: what is written is read back; what is damaged or
 * invented is refused. */
#include "support.h"

#include "flow/codec.h"
#include "flow/note.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- an object that only "Python" can see ---- */

typedef struct thing {
    ct_ref ref;
    int number;
} thing;

static void
thing_release(ct_ref *r)
{
    ct_free(r);
}

static ct_status
thing_json(const ct_ref *r, ct_buf *out, ct_err *err)
{
    return ct_buf_printf(out, err, "%d", ((const thing *)r)->number);
}

static ct_status
thing_wire(ct_ref *r, ct_buf *out, ct_err *err)
{
    return ct_buf_put_u8(out, (uint8_t)((thing *)r)->number, err);
}

static bool
thing_equal(const ct_ref *a, const ct_ref *b)
{
    return ((const thing *)a)->number == ((const thing *)b)->number;
}

static const ct_ref_ops thing_ops = {thing_release, thing_json, thing_wire, thing_equal,
                                     NULL};

static ct_status
thing_new(ct_value *out, int number, ct_err *err)
{
    thing *t = ct_alloc(sizeof *t);
    if (t == NULL) {
        return ct_fail_mem(err);
    }
    *t = (thing){{&thing_ops, 1}, number};
    *out = ct_of_ref(&t->ref);
    return CT_OK;
}

static ct_status
thing_read(void *ctx, const uint8_t *data, size_t len, ct_value *out, ct_err *err)
{
    (void)ctx;
    if (len != 1) {
        return ct_fail(err, CT_ECORRUPT, "", "a thing has one byte, got %zu", len);
    }
    return thing_new(out, data[0], err);
}

/* ---- a sender and a receiver with tables of their own ---- */

typedef struct wire {
    ct_names *from;
    ct_names *to;
    ct_encoder enc;
    ct_decoder dec;
    ct_buf bytes;
} wire;

static ct_status
wire_open(wire *w, ct_err *err)
{
    memset(w, 0, sizeof *w);
    ct_status st = ct_names_new(&w->from, err);
    if (st == CT_OK) {
        st = ct_names_new(&w->to, err);
    }
    ct_encoder_init(&w->enc, w->from);
    ct_decoder_init(&w->dec, w->to, (ct_ref_reader){thing_read, NULL});
    return st;
}

static void
wire_close(wire *w)
{
    ct_encoder_deinit(&w->enc);
    ct_decoder_deinit(&w->dec);
    ct_buf_deinit(&w->bytes);
    ct_names_free(w->from);
    ct_names_free(w->to);
}

static ct_name
name(ct_names *t, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_name n = 0;
    assert_ok(ct_names_intern(t, text, strlen(text), &n, &err), err);
    return n;
}

/* Feeds NAME frames to the decoder until another frame comes. */
static ct_status
next_frame(wire *w, size_t *at, uint8_t *type, const uint8_t **payload, size_t *len,
           ct_err *err)
{
    for (;;) {
        size_t size = 0;
        assert_int_equal(ct_frame_peek(w->bytes.data + *at, w->bytes.len - *at, type,
                                       payload, len, &size),
                         CT_FRAME_WHOLE);
        *at += size;
        if (*type != CT_FRAME_NAME) {
            return CT_OK;
        }
        ct_status st = ct_decode_name(&w->dec, *payload, *len, err);
        if (st != CT_OK) {
            return st;
        }
    }
}

static ct_status
fill_record(ct_record *r, ct_names *names, ct_err *err)
{
    ct_name loss = CT_NAME_NONE;
    ct_name inner = CT_NAME_NONE;
    ct_name text = CT_NAME_NONE;
    ct_record_clear(r);
    ct_status st = ct_names_intern(names, "unrelated", 9, &loss, err);
    if (st == CT_OK) {
        st = ct_names_intern(names, "loss", 4, &loss, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(names, "inner", 5, &inner, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(names, "text", 4, &text, err);
    }
    if (st == CT_OK) {
        st = ct_record_f64(r, loss, 0.1, err);
    }
    if (st == CT_OK) {
        st = ct_record_open(r, inner, CT_FIELD_DICT, err);
    }
    if (st == CT_OK) {
        st = ct_record_str(r, text, "a\0b", 3, err);
    }
    if (st == CT_OK) {
        st = ct_record_end(r, err);
    }
    return st;
}

/* ---- tests ---- */

static void
test_events_come_back_with_names_of_the_readers_table(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    wire w;
    ct_record r = CT_RECORD_INIT;
    ct_record back = CT_RECORD_INIT;
    assert_ok(wire_open(&w, &err), err);
    (void)name(w.to, "text"); /* so that the numbers differ */
    assert_ok(fill_record(&r, w.from, &err), err);
    const uint8_t blob[] = {0, 1, 2};
    const ct_event sent = {.kind = CT_EVENT_RESULT,
                           .trial = 7,
                           .serial = 1234567890123,
                           .time = 1.5,
                           .code = -11,
                           .record = &r,
                           .text = "tra\0ce",
                           .text_len = 6,
                           .path = "/c/1",
                           .path_len = 4,
                           .blob = blob,
                           .blob_len = 3};
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &sent, &err), err);
    size_t first = w.bytes.len;
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &sent, &err), err);
    assert_true(w.bytes.len - first < first); /* names are defined once */
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        uint8_t type = 0;
        const uint8_t *payload = NULL;
        size_t len = 0;
        ct_event ev;
        assert_ok(next_frame(&w, &at, &type, &payload, &len, &err), err);
        assert_int_equal(type, CT_FRAME_EVENT);
        assert_ok(ct_decode_event(&w.dec, payload, len, &ev, &back, &err), err);
        assert_int_equal(ev.kind, CT_EVENT_RESULT);
        assert_int_equal(ev.trial, 7);
        assert_true(ev.serial == 1234567890123);
        assert_true(ev.time == 1.5);
        assert_int_equal(ev.code, -11);
        assert_int_equal(ev.text_len, 6);
        assert_memory_equal(ev.text, "tra\0ce", 7);
        assert_string_equal(ev.path, "/c/1");
        assert_int_equal(ev.blob_len, 3);
        assert_memory_equal(ev.blob, blob, 3);
        const ct_field *f = ct_record_find(ev.record, name(w.to, "loss"));
        assert_non_null(f);
        assert_true(f->u.f == 0.1);
    }
    assert_int_equal(at, w.bytes.len);
    ct_record_deinit(&r);
    ct_record_deinit(&back);
    wire_close(&w);
}

static void
test_an_event_without_fields_stays_without(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    wire w;
    ct_record back = CT_RECORD_INIT;
    assert_ok(wire_open(&w, &err), err);
    const ct_event sent = {.kind = CT_EVENT_TICK, .trial = CT_TRIAL_NONE};
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &sent, &err), err);
    size_t at = 0;
    size_t len = 0;
    uint8_t type = 0;
    const uint8_t *payload = NULL;
    ct_event ev;
    assert_ok(next_frame(&w, &at, &type, &payload, &len, &err), err);
    assert_ok(ct_decode_event(&w.dec, payload, len, &ev, &back, &err), err);
    assert_int_equal(ev.trial, CT_TRIAL_NONE);
    assert_null(ev.record);
    assert_null(ev.text);
    assert_null(ev.path);
    assert_null(ev.blob);
    wire_close(&w);
}

static ct_status
build_config(ct_value *out, ct_names *names, ct_err *err)
{
    ct_value inner = ct_tuple();
    ct_value item = ct_i64(INT64_MIN);
    ct_name key = 0;
    *out = ct_dict();
    ct_status st = ct_value_push(&inner, &item, err);
    item = ct_bool(true);
    if (st == CT_OK) {
        st = ct_value_push(&inner, &item, err);
    }
    if (st == CT_OK) {
        st = ct_str(&item, "x\0y", 3, err);
    }
    if (st == CT_OK) {
        st = ct_value_push(&inner, &item, err);
    }
    item = ct_list();
    if (st == CT_OK) {
        st = ct_value_push(&inner, &item, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(names, "lr", 2, &key, err);
    }
    if (st == CT_OK) {
        st = ct_value_put(out, key, &inner, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(names, "model", 5, &key, err);
    }
    if (st == CT_OK) {
        st = thing_new(&item, 42, err);
    }
    if (st == CT_OK) {
        st = ct_value_put(out, key, &item, err);
    }
    ct_value_deinit(&inner);
    return st;
}

static void
test_commands_come_back_whole(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    wire w;
    assert_ok(wire_open(&w, &err), err);
    ct_value config = ct_nil();
    ct_value expected = ct_nil();
    ct_value resources = ct_dict();
    ct_value one = ct_f64(0.5);
    assert_ok(build_config(&config, w.from, &err), err);
    assert_ok(build_config(&expected, w.to, &err), err);
    assert_ok(ct_value_put(&resources, name(w.from, "CPU"), &one, &err), err);
    const ct_command sent = {.kind = CT_COMMAND_START,
                             .trial = 3,
                             .from = CT_TRIAL_NONE,
                             .serial = 9,
                             .index = 2,
                             .config = &config,
                             .checkpoint = "/ckpt",
                             .trial_id = "a_0",
                             .trial_name = "train_a_0",
                             .trial_dir = NULL,
                             .experiment = "exp",
                             .resources = &resources};
    assert_ok(ct_encode_command(&w.enc, &w.bytes, &sent, &err), err);
    size_t at = 0;
    size_t len = 0;
    uint8_t type = 0;
    const uint8_t *payload = NULL;
    ct_command_box box;
    assert_ok(next_frame(&w, &at, &type, &payload, &len, &err), err);
    assert_int_equal(type, CT_FRAME_COMMAND);
    assert_ok(ct_decode_command(&w.dec, payload, len, &box, &err), err);
    assert_int_equal(box.command.kind, CT_COMMAND_START);
    assert_int_equal(box.command.from, CT_TRIAL_NONE);
    assert_int_equal(box.command.index, 2);
    assert_string_equal(box.command.checkpoint, "/ckpt");
    assert_string_equal(box.command.trial_id, "a_0");
    assert_string_equal(box.command.trial_name, "train_a_0");
    assert_null(box.command.trial_dir);
    assert_string_equal(box.command.experiment, "exp");
    assert_true(ct_value_equal(box.command.config, &expected));
    assert_int_equal(box.command.config->u.entries[0].value.kind, CT_TUPLE);
    assert_int_equal(box.command.resources->len, 1);
    ct_command_box_deinit(&box);
    ct_value_deinit(&config);
    ct_value_deinit(&expected);
    ct_value_deinit(&resources);
    wire_close(&w);
}

static void
test_an_object_nobody_can_read_is_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    wire w;
    assert_ok(wire_open(&w, &err), err);
    ct_value v = ct_nil();
    ct_buf out = CT_BUF_INIT;
    assert_ok(thing_new(&v, 5, &err), err);
    assert_ok(ct_encode_value(&w.enc, &w.bytes, &out, &v, &err), err);
    w.dec.refs.read = NULL;
    ct_reader in = ct_reader_of(out.data, out.len);
    ct_value back = ct_nil();
    assert_int_equal(ct_decode_value(&w.dec, &in, &back, &err), CT_ECORRUPT);
    ct_value_deinit(&v);
    ct_buf_deinit(&out);
    wire_close(&w);
}

static void
test_a_restarted_stream_defines_its_names_again(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    wire w;
    ct_record r = CT_RECORD_INIT;
    assert_ok(wire_open(&w, &err), err);
    assert_ok(fill_record(&r, w.from, &err), err);
    const ct_event ev = {.kind = CT_EVENT_RESULT, .record = &r};
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &ev, &err), err);
    size_t first = w.bytes.len;
    ct_encoder_restart(&w.enc);
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &ev, &err), err);
    assert_int_equal(w.bytes.len, 2 * first);
    assert_memory_equal(w.bytes.data, w.bytes.data + first, first);
    ct_record_deinit(&r);
    wire_close(&w);
}

static void
test_a_frame_cut_anywhere_is_short_and_a_flipped_bit_is_never_accepted(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_encode_frame(&b, CT_FRAME_BLOB, "payload", 7, &err), err);
    uint8_t type = 0;
    const uint8_t *p = NULL;
    size_t len = 0;
    size_t size = 0;
    for (size_t n = 0; n < b.len; n++) {
        assert_int_equal(ct_frame_peek(b.data, n, &type, &p, &len, &size),
                         CT_FRAME_SHORT);
    }
    assert_int_equal(ct_frame_peek(b.data, b.len, &type, &p, &len, &size),
                     CT_FRAME_WHOLE);
    assert_int_equal(type, CT_FRAME_BLOB);
    assert_int_equal(len, 7);
    assert_int_equal(size, b.len);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.data[bit / 8] = (uint8_t)(b.data[bit / 8] ^ (1U << (bit % 8)));
        assert_int_not_equal(ct_frame_peek(b.data, b.len, &type, &p, &len, &size),
                             CT_FRAME_WHOLE);
        b.data[bit / 8] = (uint8_t)(b.data[bit / 8] ^ (1U << (bit % 8)));
    }
    ct_buf_deinit(&b);
}

/* Copies the payload to a block of its exact length, so that overruns are seen. */
static void
decode_exactly(wire *w, const uint8_t *payload, size_t len)
{
    ct_err err = CT_ERR_INIT;
    uint8_t *exact = ct_alloc(len);
    assert_non_null(exact);
    memcpy(exact, payload, len);
    ct_event ev;
    ct_record back = CT_RECORD_INIT;
    ct_status st = ct_decode_event(&w->dec, exact, len, &ev, &back, &err);
    assert_true(st == CT_OK || st == CT_ECORRUPT);
    ct_record_deinit(&back);
    ct_command_box box;
    st = ct_decode_command(&w->dec, exact, len, &box, &err);
    assert_true(st == CT_OK || st == CT_ECORRUPT);
    if (st == CT_OK) {
        ct_command_box_deinit(&box);
    }
    ct_free(exact);
}

static void
test_cut_and_changed_payloads_are_refused_without_harm(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    wire w;
    ct_record r = CT_RECORD_INIT;
    ct_value config = ct_nil();
    assert_ok(wire_open(&w, &err), err);
    assert_ok(fill_record(&r, w.from, &err), err);
    assert_ok(build_config(&config, w.from, &err), err);
    const ct_event ev = {.kind = CT_EVENT_RESULT,
                         .record = &r,
                         .text = "t",
                         .text_len = 1,
                         .path = "p",
                         .path_len = 1};
    const ct_command c = {.kind = CT_COMMAND_START, .config = &config, .trial_id = "i"};
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &ev, &err), err);
    assert_ok(ct_encode_command(&w.enc, &w.bytes, &c, &err), err);
    size_t at = 0;
    while (at < w.bytes.len) {
        uint8_t type = 0;
        const uint8_t *payload = NULL;
        size_t len = 0;
        ct_event dummy;
        ct_record back = CT_RECORD_INIT;
        assert_ok(next_frame(&w, &at, &type, &payload, &len, &err), err);
        for (size_t n = 0; n < len; n++) {
            assert_int_equal(ct_decode_event(&w.dec, payload, n, &dummy, &back, &err),
                             CT_ECORRUPT);
            decode_exactly(&w, payload, n);
        }
        ct_record_deinit(&back);
        uint8_t copy[512];
        assert_true(len < sizeof copy);
        for (size_t i = 0; i < len; i++) {
            for (unsigned v = 0; v < 256; v++) {
                memcpy(copy, payload, len);
                copy[i] = (uint8_t)v;
                decode_exactly(&w, copy, len);
            }
        }
    }
    ct_value_deinit(&config);
    ct_record_deinit(&r);
    wire_close(&w);
}

static void
test_a_record_with_a_name_that_was_never_defined_is_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    wire w;
    ct_record r = CT_RECORD_INIT;
    ct_record back = CT_RECORD_INIT;
    assert_ok(wire_open(&w, &err), err);
    assert_ok(fill_record(&r, w.from, &err), err);
    const ct_event ev = {.kind = CT_EVENT_RESULT, .record = &r};
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &ev, &err), err);
    ct_buf_clear(&w.bytes);
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &ev, &err), err); /* without names */
    size_t at = 0;
    size_t len = 0;
    uint8_t type = 0;
    const uint8_t *payload = NULL;
    ct_event got;
    assert_ok(next_frame(&w, &at, &type, &payload, &len, &err), err);
    assert_int_equal(ct_decode_event(&w.dec, payload, len, &got, &back, &err),
                     CT_ECORRUPT);
    ct_record_deinit(&r);
    ct_record_deinit(&back);
    wire_close(&w);
}

static void
test_a_result_without_a_record_is_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    wire w;
    ct_record back = CT_RECORD_INIT;
    assert_ok(wire_open(&w, &err), err);
    const ct_event ev = {.kind = CT_EVENT_RESULT};
    assert_ok(ct_encode_event(&w.enc, &w.bytes, &ev, &err), err);
    size_t at = 0;
    size_t len = 0;
    uint8_t type = 0;
    const uint8_t *payload = NULL;
    ct_event got;
    assert_ok(next_frame(&w, &at, &type, &payload, &len, &err), err);
    assert_int_equal(ct_decode_event(&w.dec, payload, len, &got, &back, &err),
                     CT_ECORRUPT);
    ct_record_deinit(&back);
    wire_close(&w);
}

static ct_status
round_trip(void *ctx, ct_err *err)
{
    (void)ctx;
    wire w;
    ct_record r = CT_RECORD_INIT;
    ct_record back = CT_RECORD_INIT;
    ct_value config = ct_nil();
    ct_command_box box = {.config = ct_nil(), .resources = ct_nil()};
    ct_status st = wire_open(&w, err);
    if (st == CT_OK) {
        st = fill_record(&r, w.from, err);
    }
    if (st == CT_OK) {
        st = build_config(&config, w.from, err);
    }
    const ct_event ev = {.kind = CT_EVENT_RESULT, .record = &r};
    const ct_command c = {.kind = CT_COMMAND_START, .config = &config};
    if (st == CT_OK) {
        st = ct_encode_command(&w.enc, &w.bytes, &c, err);
    }
    if (st == CT_OK) {
        st = ct_encode_event(&w.enc, &w.bytes, &ev, err);
    }
    size_t at = 0;
    size_t len = 0;
    uint8_t type = 0;
    const uint8_t *payload = NULL;
    if (st == CT_OK) {
        st = next_frame(&w, &at, &type, &payload, &len, err);
    }
    if (st == CT_OK) {
        st = ct_decode_command(&w.dec, payload, len, &box, err);
    }
    if (st == CT_OK) {
        st = next_frame(&w, &at, &type, &payload, &len, err);
    }
    if (st == CT_OK) {
        ct_event got;
        st = ct_decode_event(&w.dec, payload, len, &got, &back, err);
    }
    ct_command_box_deinit(&box);
    ct_value_deinit(&config);
    ct_record_deinit(&r);
    ct_record_deinit(&back);
    wire_close(&w);
    return st;
}

static void
test_every_failed_allocation_is_reported_without_leak(void **state)
{
    (void)state;
    sweep_allocations(round_trip, NULL);
}

/* A refused event must leave the stream as if it had never been tried. */
static void
test_a_failed_encoding_leaves_the_stream_as_it_was(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        ct_err err = CT_ERR_INIT;
        wire w;
        ct_record r = CT_RECORD_INIT;
        assert_ok(wire_open(&w, &err), err);
        assert_ok(fill_record(&r, w.from, &err), err);
        const ct_event ev = {
            .kind = CT_EVENT_RESULT, .record = &r, .text = "t", .text_len = 1};
        ct_mem_fail_at(n);
        ct_status st = ct_encode_event(&w.enc, &w.bytes, &ev, &err);
        bool failed = ct_mem_failed();
        ct_mem_fail_at(0);
        if (failed) {
            assert_int_equal(st, CT_ENOMEM);
            assert_int_equal(w.bytes.len, 0);
            assert_ok(ct_encode_event(&w.enc, &w.bytes, &ev, &err), err);
        }
        size_t at = 0;
        size_t len = 0;
        uint8_t type = 0;
        const uint8_t *payload = NULL;
        ct_event got;
        ct_record back = CT_RECORD_INIT;
        assert_ok(next_frame(&w, &at, &type, &payload, &len, &err), err);
        assert_ok(ct_decode_event(&w.dec, payload, len, &got, &back, &err), err);
        ct_record_deinit(&r);
        ct_record_deinit(&back);
        wire_close(&w);
        if (!failed) {
            return;
        }
    }
}

static void
test_kinds_have_the_names_of_the_documentation(void **state)
{
    (void)state;
    assert_string_equal(ct_event_name(CT_EVENT_RESET_REFUSED), "RESET_REFUSED");
    assert_string_equal(ct_command_name(CT_COMMAND_STEP), "STEP");
    assert_string_equal(ct_note_name(CT_NOTE_TRIAL_COMPLETE), "TRIAL_COMPLETE");
    assert_string_equal(ct_event_name((ct_event_kind)99), "UNKNOWN");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_come_back_with_names_of_the_readers_table),
        cmocka_unit_test(test_an_event_without_fields_stays_without),
        cmocka_unit_test(test_commands_come_back_whole),
        cmocka_unit_test(test_an_object_nobody_can_read_is_refused),
        cmocka_unit_test(test_a_restarted_stream_defines_its_names_again),
        cmocka_unit_test(
            test_a_frame_cut_anywhere_is_short_and_a_flipped_bit_is_never_accepted),
        cmocka_unit_test(test_cut_and_changed_payloads_are_refused_without_harm),
        cmocka_unit_test(test_a_record_with_a_name_that_was_never_defined_is_refused),
        cmocka_unit_test(test_a_result_without_a_record_is_refused),
        cmocka_unit_test(test_every_failed_allocation_is_reported_without_leak),
        cmocka_unit_test(test_a_failed_encoding_leaves_the_stream_as_it_was),
        cmocka_unit_test(test_kinds_have_the_names_of_the_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
