/* answers.c: recording and playing back. Format and purpose are in answers.h. */
#include "policy/answers.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

/* What stands behind an object's number. */
enum { OBJECT_KNOWN, OBJECT_KEPT, OBJECT_LOST, OBJECT_APART };

/* ---- objects ---- */

static ct_status
hold(ct_answers *a, size_t number, ct_value *object, ct_err *err)
{
    ct_status st =
        ct_grow((void **)&a->held, &a->cap_held, number + 1, sizeof *a->held, err);
    if (st != CT_OK) {
        return st;
    }
    while (a->n_held <= number) {
        a->held[a->n_held++] = ct_nil();
    }
    ct_value_deinit(&a->held[number]);
    a->held[number] = *object;
    *object = ct_nil();
    return CT_OK;
}

/* The state of a new object and its bytes. */
static ct_status
bytes_write(ct_answers *a, ct_ref *ref, ct_buf *out, ct_err *err)
{
    ct_buf *bytes = a->apart == NULL ? out : a->apart;
    size_t state = out->len;
    ct_status st = ct_buf_put_u8(out, OBJECT_KEPT, err);
    size_t before = bytes->len;
    if (st == CT_OK && ref->ops->keep != NULL) {
        st = ref->ops->keep(ref, bytes, err);
    }
    if (st == CT_OK && bytes->len == before) {
        out->data[state] = OBJECT_LOST;
        a->lost = true;
    } else if (st == CT_OK && a->apart != NULL) {
        out->data[state] = OBJECT_APART;
        st = ct_buf_put_varint(out, bytes->len - before, err);
    }
    return st;
}

/* The same object is in the config of many trials: its bytes are written once. */
static ct_status
object_write(void *ctx, ct_ref *ref, ct_buf *out, ct_err *err)
{
    ct_answers *a = ctx;
    uint64_t address = (uint64_t)(uintptr_t)ref;
    uint32_t number;
    if (ct_map_get(&a->numbers, address, &number)) {
        ct_status known = ct_buf_put_varint(out, number, err);
        return known == CT_OK ? ct_buf_put_u8(out, OBJECT_KNOWN, err) : known;
    }
    number = (uint32_t)a->n_held;
    ct_value object = ct_of_ref(ct_ref_retain(ref));
    ct_status st = hold(a, number, &object, err);
    if (st == CT_OK) {
        st = ct_map_put(&a->numbers, address, number, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_varint(out, number, err);
    }
    if (st == CT_OK) {
        st = bytes_write(a, ref, out, err);
    }
    ct_value_deinit(&object);
    return st;
}

/* The bytes of a new object behind its state; NULL when there are none. */
static const uint8_t *
bytes_read(ct_answers *a, unsigned state, ct_reader *in, size_t *len)
{
    if (state == OBJECT_KEPT) {
        *len = in->len - in->at;
        return in->data + in->at;
    }
    uint64_t n = ct_read_varint(in);
    if (state == OBJECT_LOST || a->read_apart == NULL || in->bad ||
        n > a->read_apart->len - a->read_apart->at) {
        return NULL;
    }
    const uint8_t *bytes = a->read_apart->data + a->read_apart->at;
    a->read_apart->at += (size_t)n;
    *len = (size_t)n;
    return bytes;
}

static ct_status
object_read(void *ctx, const uint8_t *data, size_t len, ct_value *out, ct_err *err)
{
    ct_answers *a = ctx;
    ct_reader in = ct_reader_of(data, len);
    uint64_t number = ct_read_varint(&in);
    unsigned state = ct_read_u8(&in);
    if (in.bad || state > OBJECT_APART || number > a->n_held ||
        (state == OBJECT_KNOWN && number == a->n_held)) {
        return ct_fail(err, CT_ECORRUPT, "", "an object is damaged");
    }
    if (state != OBJECT_KNOWN) {
        ct_value object = ct_nil();
        ct_status st = CT_OK;
        size_t n = 0;
        const uint8_t *bytes = bytes_read(a, state, &in, &n);
        if (bytes == NULL || a->objects.read == NULL) {
            a->lost = true;
        } else {
            st = a->objects.read(a->objects.ctx, bytes, n, &object, err);
        }
        if (st == CT_OK) {
            st = hold(a, (size_t)number, &object, err);
        }
        ct_value_deinit(&object);
        if (st != CT_OK) {
            return st;
        }
    }
    a->lost = a->lost || a->held[number].kind == CT_NIL;
    return ct_value_copy(out, &a->held[number], err);
}

static void
forget_objects(ct_answers *a)
{
    for (size_t i = 0; i < a->n_held; i++) {
        ct_value_deinit(&a->held[i]);
    }
    a->n_held = 0;
    ct_map_deinit(&a->numbers);
}

void
ct_answers_init(ct_answers *a, ct_names *names, ct_ref_reader objects)
{
    *a = (ct_answers){.objects = objects};
    ct_encoder_init(&a->encoder, names);
    a->encoder.refs = (ct_ref_writer){object_write, a};
    ct_decoder_init(&a->decoder, names, (ct_ref_reader){object_read, a});
}

void
ct_answers_deinit(ct_answers *a)
{
    forget_objects(a);
    ct_free(a->held);
    ct_buf_deinit(&a->recorded);
    ct_buf_deinit(&a->loaded);
    ct_buf_deinit(&a->scratch);
    ct_buf_deinit(&a->frames);
    ct_encoder_deinit(&a->encoder);
    ct_decoder_deinit(&a->decoder);
}

void
ct_answers_restart(ct_answers *a)
{
    forget_objects(a);
    ct_encoder_restart(&a->encoder);
}

ct_status
ct_answers_record(ct_answers *a, ct_answer_kind kind, const void *data, size_t len,
                  ct_err *err)
{
    size_t before = a->recorded.len;
    ct_status st = ct_buf_put_u8(&a->recorded, (uint8_t)kind, err);
    if (st == CT_OK) {
        st = ct_buf_put_bytes(&a->recorded, data, len, err);
    }
    if (st != CT_OK) {
        a->recorded.len = before;
    }
    return st;
}

const uint8_t *
ct_answers_blob(const ct_answers *a, size_t *len)
{
    *len = a->recorded.len;
    return a->recorded.data;
}

void
ct_answers_sent(ct_answers *a)
{
    ct_buf_clear(&a->recorded);
}

void
ct_answers_rollback(ct_answers *a, size_t len)
{
    assert(len <= a->recorded.len);
    a->recorded.len = len;
}

/* Whether the bytes are whole answers of known kinds. */
static bool
blob_valid(const uint8_t *blob, size_t len)
{
    ct_reader r = ct_reader_of(blob, len);
    while (r.at < r.len) {
        size_t n;
        if (ct_read_u8(&r) >= CT_ANSWER_COUNT) {
            return false;
        }
        (void)ct_read_bytes(&r, &n);
        if (r.bad) {
            return false;
        }
    }
    return true;
}

ct_status
ct_answers_load(ct_answers *a, const uint8_t *blob, size_t len, ct_err *err)
{
    if (!blob_valid(blob, len)) {
        return ct_fail(err, CT_ECORRUPT, "answers",
                       "a record of %zu bytes does not hold whole answers; the journal "
                       "was damaged or written by another version",
                       len);
    }
    if (a->at == a->loaded.len) { /* all played: start over at the front */
        ct_buf_clear(&a->loaded);
        a->at = 0;
    }
    return ct_buf_put(&a->loaded, blob, len, err);
}

void
ct_answers_replay(ct_answers *a, bool on)
{
    a->replay = on;
}

size_t
ct_answers_left(const ct_answers *a)
{
    return a->loaded.len - a->at;
}

ct_status
ct_answers_play(ct_answers *a, ct_answer_kind kind, const uint8_t **data, size_t *len,
                ct_err *err)
{
    if (ct_answers_left(a) == 0) {
        return ct_fail(err, CT_ECORRUPT, "answers",
                       "the journal holds no answer to a question of kind %d; the run "
                       "that wrote it asked less",
                       (int)kind);
    }
    ct_reader r = ct_reader_of(a->loaded.data, a->loaded.len);
    r.at = a->at;
    unsigned found = ct_read_u8(&r);
    if (found != (unsigned)kind) {
        return ct_fail(err, CT_ECORRUPT, "answers",
                       "the journal holds an answer of kind %u where one of kind %d is "
                       "asked for; resume with the policies that the run began with",
                       found, (int)kind);
    }
    *data = ct_read_bytes(&r, len);
    a->at = r.at;
    return CT_OK;
}

bool
ct_answers_play_if(ct_answers *a, ct_answer_kind kind, const void *data, size_t len)
{
    ct_reader r = ct_reader_of(a->loaded.data, a->loaded.len);
    size_t n;
    r.at = a->at;
    if (r.at == r.len || ct_read_u8(&r) != (unsigned)kind) {
        return false;
    }
    const uint8_t *found = ct_read_bytes(&r, &n);
    if (r.bad || n != len || (len > 0 && memcmp(found, data, len) != 0)) {
        return false;
    }
    a->at = r.at;
    return true;
}

/* ---- values ---- */

ct_status
ct_answers_put_value(ct_answers *a, ct_buf *out, const ct_value *v, ct_err *err)
{
    ct_buf value = CT_BUF_INIT;
    ct_buf_clear(&a->frames);
    ct_status st = ct_encode_value(&a->encoder, &a->frames, &value, v, err);
    if (st == CT_OK) {
        st = ct_buf_put_bytes(out, a->frames.data, a->frames.len, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put(out, value.data, value.len, err);
    }
    ct_buf_deinit(&value);
    return st;
}

static ct_status
read_names(ct_answers *a, const uint8_t *data, size_t len, ct_err *err)
{
    while (len > 0) {
        uint8_t type;
        const uint8_t *payload;
        size_t payload_len;
        size_t size;
        if (ct_frame_peek(data, len, &type, &payload, &payload_len, &size) !=
                CT_FRAME_WHOLE ||
            type != CT_FRAME_NAME) {
            return ct_fail(err, CT_ECORRUPT, "answers", "a name is damaged");
        }
        ct_status st = ct_decode_name(&a->decoder, payload, payload_len, err);
        if (st != CT_OK) {
            return st;
        }
        data += size;
        len -= size;
    }
    return CT_OK;
}

ct_status
ct_answers_read_value(ct_answers *a, ct_reader *in, ct_value *out, ct_err *err)
{
    size_t len;
    const uint8_t *frames = ct_read_bytes(in, &len);
    ct_status st = in->bad ? ct_fail(err, CT_ECORRUPT, "answers", "a value is damaged")
                           : read_names(a, frames, len, err);
    return st == CT_OK ? ct_decode_value(&a->decoder, in, out, err) : st;
}

/* ---- draws ---- */

static ct_status
draw_play(ct_answers_rng *r, ct_answer_kind kind, uint64_t *out, ct_err *err)
{
    const uint8_t *data;
    size_t len;
    ct_status st = ct_answers_play(r->answers, kind, &data, &len, err);
    if (st != CT_OK) {
        return st;
    }
    ct_reader in = ct_reader_of(data, len);
    *out = ct_read_u64(&in);
    return !in.bad && in.at == len
               ? CT_OK
               : ct_fail(err, CT_ECORRUPT, "answers",
                         "a recorded draw has %zu bytes in place of 8", len);
}

static ct_status
draw_record(ct_answers_rng *r, ct_answer_kind kind, uint64_t bits, ct_err *err)
{
    ct_buf *bytes = &r->answers->scratch;
    ct_buf_clear(bytes);
    ct_status st = ct_buf_put_u64(bytes, bits, err);
    return st == CT_OK
               ? ct_answers_record(r->answers, kind, bytes->data, bytes->len, err)
               : st;
}

static ct_status
real_play(ct_answers_rng *r, double *out, ct_err *err)
{
    uint64_t bits = 0;
    ct_status st = draw_play(r, CT_ANSWER_REAL, &bits, err);
    memcpy(out, &bits, sizeof bits);
    return st;
}

static ct_status
real_record(ct_answers_rng *r, double v, ct_err *err)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return draw_record(r, CT_ANSWER_REAL, bits, err);
}

static double
answers_rng_double(ct_rng *rng)
{
    ct_answers_rng *r = (ct_answers_rng *)rng;
    double u = 0.0;
    if (r->answers == NULL) {
        return r->source->next_double(r->source);
    }
    if (r->st != CT_OK) {
        return u;
    }
    u = r->source->next_double(r->source);
    r->st = r->answers->replay ? real_play(r, &u, &r->err) : real_record(r, u, &r->err);
    return r->st == CT_OK ? u : 0.0;
}

static ct_status
answers_rng_normal(ct_rng *rng, double mean, double sd, double *out, ct_err *err)
{
    ct_answers_rng *r = (ct_answers_rng *)rng;
    ct_status st = r->source->normal(r->source, mean, sd, out, err);
    if (st != CT_OK || r->answers == NULL) {
        return st;
    }
    return r->answers->replay ? real_play(r, out, err) : real_record(r, *out, err);
}

static ct_status
answers_rng_integers(ct_rng *rng, int64_t low, int64_t high, int64_t *out, ct_err *err)
{
    ct_answers_rng *r = (ct_answers_rng *)rng;
    ct_status st = r->source->integers(r->source, low, high, out, err);
    if (st == CT_OK && r->answers != NULL && r->answers->replay) {
        uint64_t bits = 0;
        st = draw_play(r, CT_ANSWER_INTEGER, &bits, err);
        *out = bits <= INT64_MAX ? (int64_t)bits : -(int64_t)(UINT64_MAX - bits) - 1;
        return st == CT_OK && (*out < low || *out >= high)
                   ? ct_fail(err, CT_ECORRUPT, "answers",
                             "a recorded draw is outside the range asked for")
                   : st;
    }
    return st == CT_OK && r->answers != NULL
               ? draw_record(r, CT_ANSWER_INTEGER, (uint64_t)*out, err)
               : st;
}

void
ct_answers_rng_init(ct_answers_rng *r, ct_rng *source, ct_answers *answers)
{
    r->rng = (ct_rng){answers_rng_double, answers_rng_normal, answers_rng_integers};
    r->source = source;
    r->answers = answers;
    r->st = CT_OK;
    r->err = (ct_err)CT_ERR_INIT;
}

/* ---- values ---- */

static ct_status
value_play(ct_answers *a, ct_value *v, ct_err *err)
{
    const uint8_t *data = NULL;
    size_t len = 0;
    ct_value kept = ct_nil();
    ct_status st = ct_answers_play(a, CT_ANSWER_VALUE, &data, &len, err);
    if (st == CT_OK) {
        ct_reader in = ct_reader_of(data, len);
        a->lost = false;
        st = ct_answers_read_value(a, &in, &kept, err);
    }
    if (st != CT_OK ||
        a->lost) { /* an object in it could not be kept: it is made anew */
        ct_value_deinit(&kept);
        return st;
    }
    ct_value_deinit(v);
    *v = kept;
    return CT_OK;
}

ct_status
ct_answers_settle_value(ct_answers *a, ct_value *v, ct_err *err)
{
    ct_buf text = CT_BUF_INIT;
    if (a == NULL) {
        return CT_OK;
    }
    if (a->replay) {
        return value_play(a, v, err);
    }
    ct_status st = ct_answers_put_value(a, &text, v, err);
    if (st == CT_OK) {
        st = ct_answers_record(a, CT_ANSWER_VALUE, text.data, text.len, err);
    }
    ct_buf_deinit(&text);
    return st;
}
