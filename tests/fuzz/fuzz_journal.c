/* fuzz_journal.c: journal segments. Whatever the bytes, only whole turns are delivered,
 * and the prefix that is called valid reads back alike. As in fuzz_frames.c, an input
 * is also read with sound checksums. */
#include "fuzz.h"

#include "journal/journal_int.h"

#include <string.h>

typedef struct counts {
    uint64_t events; /* of turns that ended */
    uint64_t open;   /* since then */
    uint64_t turns;
} counts;

static ct_status
count_event(void *ctx, const ct_event *ev, ct_err *err)
{
    (void)err;
    counts *c = ctx;
    FUZZ_CHECK((unsigned)ev->kind < CT_EVENT_COUNT);
    c->open++;
    return CT_OK;
}

static ct_status
count_turn(void *ctx, double time, bool settled, ct_err *err)
{
    (void)time, (void)settled;
    (void)err;
    counts *c = ctx;
    c->events += c->open;
    c->open = 0;
    c->turns++;
    return CT_OK;
}

static ct_status
put_header(ct_buf *out, ct_err *err)
{
    return journal_header(out, 1, (journal_turns){100, 7}, err);
}

static ct_status
put_turns(ct_buf *out, ct_err *err)
{
    ct_names *names = NULL;
    ct_encoder e;
    ct_record r = CT_RECORD_INIT;
    ct_name loss = 0;
    const uint8_t time[9] = {0};
    ct_status st = ct_names_new(&names, err);
    ct_encoder_init(&e, names);
    st = st == CT_OK ? ct_names_intern(names, "loss", 4, &loss, err) : st;
    st = st == CT_OK ? ct_record_f64(&r, loss, 1.5, err) : st;
    const ct_event ev = {.kind = CT_EVENT_RESULT, .record = &r};
    for (int i = 0; st == CT_OK && i < 3; i++) {
        st = ct_encode_event(&e, out, &ev, err);
        st = st == CT_OK ? ct_encode_frame(out, CT_FRAME_TURN, time, sizeof time, err)
                         : st;
    }
    ct_record_deinit(&r);
    ct_encoder_deinit(&e);
    ct_names_free(names);
    return st;
}

/* Seed 0: a segment. Seed 1: its frames behind the header as type, length, payload. Seed 2:
 * what is in the header's frame. */
ct_status
fuzz_seed(ct_buf *out, unsigned i, ct_err *err)
{
    ct_buf frames = CT_BUF_INIT;
    size_t at = 0;
    if (i > 2) {
        return ct_fail(err, CT_ENOTFOUND, "", "no more seeds");
    }
    ct_status st = i != 1 ? put_header(&frames, err) : CT_OK;
    st = st == CT_OK ? put_turns(&frames, err) : st;
    if (st == CT_OK && i == 0) {
        st = ct_buf_put(out, frames.data, frames.len, err);
    }
    if (st == CT_OK && i == 2) {
        uint8_t type = 0;
        const uint8_t *payload = NULL;
        size_t len = 0;
        size_t size = 0;
        FUZZ_CHECK(ct_frame_peek(frames.data, frames.len, &type, &payload, &len,
                                 &size) == CT_FRAME_WHOLE);
        st = ct_buf_put(out, payload, len, err);
    }
    while (st == CT_OK && i == 1 && at < frames.len) {
        uint8_t type = 0;
        const uint8_t *payload = NULL;
        size_t len = 0;
        size_t size = 0;
        FUZZ_CHECK(ct_frame_peek(frames.data + at, frames.len - at, &type, &payload,
                                 &len, &size) == CT_FRAME_WHOLE);
        st = ct_buf_put_u8(out, type, err);
        st = st == CT_OK ? ct_buf_put_bytes(out, payload, len, err) : st;
        at += size;
    }
    ct_buf_deinit(&frames);
    return st;
}

static ct_status
read_all(const uint8_t *data, size_t size, counts *c, ct_journal_summary *sum)
{
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    const ct_journal_visitor v = {count_event, count_turn, NULL, c};
    *c = (counts){0, 0, 0};
    *sum = (ct_journal_summary){0};
    FUZZ_CHECK(ct_names_new(&names, &err) == CT_OK);
    ct_status st = journal_read_bytes(data, size, "fuzz", names, &v, sum, &err);
    ct_names_free(names);
    return st;
}

static void
check_segment(const uint8_t *data, size_t size)
{
    counts c;
    counts prefix;
    ct_journal_summary sum;
    ct_journal_summary again;
    ct_status st = read_all(data, size, &c, &sum);
    FUZZ_CHECK(st == CT_OK || st == CT_ECORRUPT || st == CT_EUNSUPPORTED);
    FUZZ_CHECK(sum.turns == c.turns && sum.valid_bytes <= size);
    if (st == CT_OK) {
        FUZZ_CHECK(c.open == 0 && sum.events == c.events);
        FUZZ_CHECK(sum.torn == (sum.valid_bytes < size));
    }
    if (st != CT_EUNSUPPORTED) { /* what `ctune repair` would keep */
        FUZZ_CHECK(read_all(data, (size_t)sum.valid_bytes, &prefix, &again) == CT_OK);
        FUZZ_CHECK(again.turns == sum.turns && !again.torn);
        FUZZ_CHECK(prefix.events == c.events);
    }
}

/* What a header tells of the segment before, with a sound checksum. */
static void
check_header(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    ct_buf segment = CT_BUF_INIT;
    journal_turns said;
    const uint8_t end[9] = {0};
    FUZZ_CHECK(ct_encode_frame(&segment, CT_FRAME_HEADER, data, size, &err) == CT_OK);
    FUZZ_CHECK(!journal_tells(&segment, &said)); /* it holds no turn */
    FUZZ_CHECK(ct_encode_frame(&segment, CT_FRAME_TURN, end, sizeof end, &err) ==
               CT_OK);
    FUZZ_CHECK(journal_tells(&segment, &said) == (said.bytes > 0));
    ct_buf_deinit(&segment);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    ct_buf sound = CT_BUF_INIT;
    check_segment(data, size);
    check_header(data, size);
    FUZZ_CHECK(put_header(&sound, &err) == CT_OK);
    ct_reader in = ct_reader_of(data, size);
    while (!in.bad && in.at < in.len) {
        size_t len = 0;
        uint8_t type = ct_read_u8(&in);
        const uint8_t *payload = ct_read_bytes(&in, &len);
        if (payload != NULL) {
            FUZZ_CHECK(ct_encode_frame(&sound, type, payload, len, &err) == CT_OK);
        }
    }
    check_segment(sound.data, sound.len);
    ct_buf_deinit(&sound);
    return 0;
}
