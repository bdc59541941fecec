/* fuzz_frames.c: streams of frames as they come from a worker's pipe.
 *
 * Checksums would keep nearly every changed input out of the decoders: each input is
 * read once as a stream of frames, and once as (type, length, payload) without them. */
#include "fuzz.h"

#include "flow/codec.h"

#include <string.h>

static ct_status
read_ref(void *ctx, const uint8_t *data, size_t len, ct_value *out, ct_err *err)
{
    (void)ctx;
    return ct_str(out, (const char *)data, len, err); /* any value will do */
}

/* Frames without their checksums: type, u32 length, payload. */
static ct_status
strip(ct_buf *out, const ct_buf *frames, ct_err *err)
{
    size_t at = 0;
    ct_status st = CT_OK;
    while (st == CT_OK && at < frames->len) {
        uint8_t type = 0;
        const uint8_t *payload = NULL;
        size_t len = 0;
        size_t size = 0;
        FUZZ_CHECK(ct_frame_peek(frames->data + at, frames->len - at, &type, &payload,
                                 &len, &size) == CT_FRAME_WHOLE);
        st = ct_buf_put_u8(out, type, err);
        st = st == CT_OK ? ct_buf_put_u32(out, (uint32_t)len, err) : st;
        st = st == CT_OK ? ct_buf_put(out, payload, len, err) : st;
        at += size;
    }
    return st;
}

static ct_status
put_frames(ct_buf *out, ct_err *err)
{
    ct_names *names = NULL;
    ct_encoder e;
    ct_record r = CT_RECORD_INIT;
    ct_value config = ct_dict();
    ct_value item = ct_f64(0.5);
    ct_name lr = 0;
    ct_status st = ct_names_new(&names, err);
    ct_encoder_init(&e, names);
    st = st == CT_OK ? ct_names_intern(names, "lr", 2, &lr, err) : st;
    st = st == CT_OK ? ct_value_put(&config, lr, &item, err) : st;
    st = st == CT_OK ? ct_record_f64(&r, lr, 1.5, err) : st;
    const ct_event result = {.kind = CT_EVENT_RESULT,
                             .trial = 1,
                             .serial = 5,
                             .record = &r,
                             .path = "/c",
                             .path_len = 2};
    const ct_event failed = {.kind = CT_EVENT_FAILED,
                             .trial = 1,
                             .serial = 6,
                             .text = "no",
                             .text_len = 2,
                             .blob = (const uint8_t *)"b",
                             .blob_len = 1};
    const ct_command start = {.kind = CT_COMMAND_START,
                              .trial = 2,
                              .config = &config,
                              .trial_id = "t",
                              .trial_dir = "/d",
                              .resources = &config};
    st = st == CT_OK ? ct_encode_event(&e, out, &result, err) : st;
    st = st == CT_OK ? ct_encode_event(&e, out, &failed, err) : st;
    st = st == CT_OK ? ct_encode_command(&e, out, &start, err) : st;
    ct_value_deinit(&config);
    ct_record_deinit(&r);
    ct_encoder_deinit(&e);
    ct_names_free(names);
    return st;
}

ct_status
fuzz_seed(ct_buf *out, unsigned i, ct_err *err)
{
    ct_buf frames = CT_BUF_INIT;
    if (i > 1) {
        return ct_fail(err, CT_ENOTFOUND, "", "no more seeds");
    }
    if (i == 0) {
        return put_frames(out, err);
    }
    ct_status st = put_frames(&frames, err);
    st = st == CT_OK ? strip(out, &frames, err) : st;
    ct_buf_deinit(&frames);
    return st;
}

static bool
expected(ct_status st)
{
    return st == CT_OK || st == CT_ECORRUPT;
}

static void
feed(ct_decoder *d, uint8_t type, const uint8_t *payload, size_t len)
{
    ct_err err = CT_ERR_INIT;
    ct_event ev;
    ct_command_box box;
    ct_record r = CT_RECORD_INIT;
    if (type == CT_FRAME_NAME) {
        FUZZ_CHECK(expected(ct_decode_name(d, payload, len, &err)));
    } else if (type == CT_FRAME_EVENT) {
        FUZZ_CHECK(expected(ct_decode_event(d, payload, len, &ev, &r, &err)));
    } else if (type == CT_FRAME_COMMAND) {
        ct_status st = ct_decode_command(d, payload, len, &box, &err);
        FUZZ_CHECK(expected(st));
        if (st == CT_OK) {
            FUZZ_CHECK(box.command.trial_dir == NULL ||
                       strlen(box.command.trial_dir) < len);
            ct_command_box_deinit(&box);
        }
    }
    ct_record_deinit(&r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_decoder framed;
    ct_decoder bare;
    FUZZ_CHECK(ct_names_new(&names, &err) == CT_OK);
    ct_decoder_init(&framed, names, (ct_ref_reader){read_ref, NULL});
    ct_decoder_init(&bare, names, (ct_ref_reader){read_ref, NULL});
    uint8_t type = 0;
    const uint8_t *payload = NULL;
    size_t len = 0;
    size_t frame = 0;
    size_t at = 0;
    while (at < size && ct_frame_peek(data + at, size - at, &type, &payload, &len,
                                      &frame) == CT_FRAME_WHOLE) {
        FUZZ_CHECK(frame <= size - at && payload + len <= data + at + frame);
        feed(&framed, type, payload, len);
        at += frame;
    }
    ct_reader in = ct_reader_of(data, size);
    while (!in.bad && in.at < in.len) {
        type = ct_read_u8(&in);
        len = ct_read_u32(&in);
        if (!in.bad) {
            len = len < in.len - in.at ? len : in.len - in.at;
            feed(&bare, type, in.data + in.at, len);
            in.at += len;
        }
    }
    ct_decoder_deinit(&framed);
    ct_decoder_deinit(&bare);
    ct_names_free(names);
    return 0;
}
