/* codec.c: the binary form of events, commands and values.
 *
 * Integers are varints unless said otherwise; signed ones are zigzag; f64 are the 8
 * bytes of the bits. A text is its length, its bytes and a NUL, so that a reader may
 * lend it as C text. "optional" fields are there when their bit in `fields` is set.
 * docs/formats says the same for readers in other languages.
 *
 *     NAME     number, text (the rest of the payload)
 *     EVENT    u8 kind, trial + 1 (0 = none), serial, f64 time, signed code, u8 fields,
 *              optional record (base/record), text, path, blob (length, bytes)
 *     COMMAND  u8 kind, trial + 1, from + 1, serial, index, upto, u8 fields,
 *              optional config (value), checkpoint, trial_id, trial_name, trial_dir,
 *              experiment (texts), resources (value), trainable (text)
 *     value    u8 kind; BOOL u8; I64 signed; F64 f64; STR length, bytes; LIST, TUPLE
 *              count, values; DICT count, (name, value)…; REF length, bytes of ops->wire
 *
 * Decoding accepts any bytes: what is not exactly of this form is CT_ECORRUPT. */
#include "flow/codec.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

enum {
    FRAME_HEAD = 5, /* length and type */
    FRAME_SUM = 4,
    NAME_LIMIT = 1 << 24, /* numbers of names in a stream; bounds the decoder's map */
    VALUE_DEPTH = 500,
};

/* Bits of `fields`. */
enum { EV_RECORD = 1, EV_TEXT = 2, EV_PATH = 4, EV_BLOB = 8, EV_ALL = 15 };
enum {
    CMD_CONFIG = 1,
    CMD_CHECKPOINT = 2,
    CMD_TRIAL_ID = 4,
    CMD_TRIAL_NAME = 8,
    CMD_TRIAL_DIR = 16,
    CMD_EXPERIMENT = 32,
    CMD_RESOURCES = 64,
    CMD_TRAINABLE = 128,
    CMD_ALL = 255
};

/* ---- frames ---- */

/* Leaves room for the head of a frame; *start is what frame_end needs. */
static ct_status
frame_begin(ct_buf *out, uint8_t type, size_t *start, ct_err *err)
{
    *start = out->len;
    ct_status st = ct_buf_put_u32(out, 0, err);
    return st == CT_OK ? ct_buf_put_u8(out, type, err) : st;
}

static ct_status
frame_end(ct_buf *out, size_t start, ct_err *err)
{
    size_t len = out->len - start - FRAME_SUM; /* of type and payload */
    if (len > CT_FRAME_MAX) {
        return ct_fail(err, CT_EINVAL, "",
                       "a message of %zu bytes is too large; the limit is %u", len,
                       CT_FRAME_MAX);
    }
    for (unsigned i = 0; i < 4; i++) {
        out->data[start + i] = (uint8_t)(len >> (8 * i));
    }
    return ct_buf_put_u32(out, ct_crc32c(0, out->data + start + 4, len), err);
}

ct_status
ct_encode_frame(ct_buf *out, uint8_t type, const void *data, size_t len, ct_err *err)
{
    size_t start = 0;
    size_t before = out->len;
    ct_status st = frame_begin(out, type, &start, err);
    if (st == CT_OK) {
        st = ct_buf_put(out, data, len, err);
    }
    if (st == CT_OK) {
        st = frame_end(out, start, err);
    }
    if (st != CT_OK) {
        out->len = before;
    }
    return st;
}

static uint32_t
load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

ct_frame_state
ct_frame_peek(const uint8_t *data, size_t avail, uint8_t *type, const uint8_t **payload,
              size_t *len, size_t *size)
{
    if (avail < 4) {
        return CT_FRAME_SHORT;
    }
    size_t body = load_u32(data);
    if (body < 1 || body > CT_FRAME_MAX) {
        return CT_FRAME_BAD;
    }
    if (avail - 4 < body + FRAME_SUM) {
        return CT_FRAME_SHORT;
    }
    if (ct_crc32c(0, data + 4, body) != load_u32(data + 4 + body)) {
        return CT_FRAME_BAD;
    }
    *type = data[4];
    *payload = data + FRAME_HEAD;
    *len = body - 1;
    *size = 4 + body + FRAME_SUM;
    return CT_FRAME_WHOLE;
}

/* ---- names of a stream ---- */

void
ct_encoder_init(ct_encoder *e, const ct_names *names)
{
    *e = (ct_encoder){.names = names};
}

void
ct_encoder_deinit(ct_encoder *e)
{
    ct_free(e->defined);
    e->defined = NULL;
    e->cap = 0;
}

void
ct_encoder_restart(ct_encoder *e)
{
    if (e->cap > 0) {
        memset(e->defined, 0, e->cap);
    }
}

static bool
is_defined(const ct_encoder *e, ct_name n)
{
    return n / 8 < e->cap && (e->defined[n / 8] & (1U << (n % 8))) != 0;
}

static ct_status
put_name_frame(const ct_encoder *e, ct_buf *out, ct_name n, ct_err *err)
{
    size_t start = 0;
    ct_status st = frame_begin(out, CT_FRAME_NAME, &start, err);
    if (st == CT_OK) {
        st = ct_buf_put_varint(out, n, err);
    }
    if (st == CT_OK) {
        st =
            ct_buf_put(out, ct_names_text(e->names, n), ct_names_len(e->names, n), err);
    }
    return st == CT_OK ? frame_end(out, start, err) : st;
}

/* Writes the definition of a name that this stream has not seen yet. */
static ct_status
define_name(ct_encoder *e, ct_buf *out, ct_name n, ct_err *err)
{
    if (is_defined(e, n)) {
        return CT_OK;
    }
    if (n >= NAME_LIMIT) {
        return ct_fail(err, CT_EINVAL, ct_names_text(e->names, n),
                       "more than %d different keys were used; report fewer",
                       NAME_LIMIT);
    }
    size_t before = e->cap;
    ct_status st = ct_grow((void **)&e->defined, &e->cap, n / 8 + 1, 1, err);
    if (st != CT_OK) {
        return st;
    }
    memset(e->defined + before, 0, e->cap - before);
    size_t len = out->len;
    st = put_name_frame(e, out, n, err);
    if (st != CT_OK) {
        out->len = len;
        return st;
    }
    e->defined[n / 8] = (uint8_t)(e->defined[n / 8] | 1U << (n % 8));
    return CT_OK;
}

/* Cuts out back to `len`. The names defined in what is cut are undefined again. */
static void
undo(ct_encoder *e, ct_buf *out, size_t len)
{
    size_t at = len;
    uint8_t type = 0;
    const uint8_t *payload = NULL;
    size_t n = 0;
    size_t size = 0;
    while (at < out->len && ct_frame_peek(out->data + at, out->len - at, &type,
                                          &payload, &n, &size) == CT_FRAME_WHOLE) {
        if (type == CT_FRAME_NAME) {
            ct_reader in = ct_reader_of(payload, n);
            size_t name = (size_t)ct_read_varint(&in);
            e->defined[name / 8] =
                (uint8_t)(e->defined[name / 8] & ~(1U << (name % 8)));
        }
        at += size;
    }
    out->len = len;
}

static ct_status
define_record(ct_encoder *e, ct_buf *out, const ct_record *r, ct_err *err)
{
    for (size_t i = 0; i < r->count; i++) {
        ct_name key = r->fields[i].key;
        if (key != CT_NAME_NONE && !is_defined(e, key)) {
            ct_status st = define_name(e, out, key, err);
            if (st != CT_OK) {
                return st;
            }
        }
    }
    return CT_OK;
}

static ct_status
define_value(ct_encoder *e, ct_buf *out, const ct_value *v, ct_err *err)
{
    ct_status st = CT_OK;
    if (v->kind == CT_LIST || v->kind == CT_TUPLE) {
        for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
            st = define_value(e, out, &v->u.items[i], err);
        }
    } else if (v->kind == CT_DICT) {
        for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
            st = define_name(e, out, v->u.entries[i].key, err);
            if (st == CT_OK) {
                st = define_value(e, out, &v->u.entries[i].value, err);
            }
        }
    }
    return st;
}

/* ---- small fields ---- */

static uint64_t
zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t
unzigzag(uint64_t z)
{
    int64_t half = (int64_t)(z >> 1);
    return (z & 1U) != 0 ? -half - 1 : half;
}

static ct_status
put_trial(ct_buf *out, ct_trial_id t, ct_err *err)
{
    return ct_buf_put_varint(out, t == CT_TRIAL_NONE ? 0 : (uint64_t)t + 1, err);
}

static ct_trial_id
read_trial(ct_reader *in)
{
    uint64_t v = ct_read_varint(in);
    if (v > CT_TRIAL_NONE) {
        in->bad = true;
    }
    return v == 0 || in->bad ? CT_TRIAL_NONE : (ct_trial_id)(v - 1);
}

static ct_status
put_text(ct_buf *out, const char *text, size_t len, ct_err *err)
{
    ct_status st = ct_buf_put_bytes(out, text, len, err);
    return st == CT_OK ? ct_buf_put_u8(out, 0, err) : st;
}

static ct_status
put_ctext(ct_buf *out, const char *text, ct_err *err)
{
    return text != NULL ? put_text(out, text, strlen(text), err) : CT_OK;
}

static const char *
read_text(ct_reader *in, size_t *len)
{
    const uint8_t *p = ct_read_bytes(in, len);
    if (ct_read_u8(in) != 0 || in->bad) {
        in->bad = true;
        *len = 0;
        return NULL;
    }
    return (const char *)p;
}

/* A text that will be used as C text: without NULs inside. */
static const char *
read_ctext(ct_reader *in, size_t *len)
{
    const char *text = read_text(in, len);
    if (text != NULL && strlen(text) != *len) {
        in->bad = true;
        return NULL;
    }
    return text;
}

static ct_status
corrupt(const ct_reader *in, const char *what, ct_err *err)
{
    return ct_fail(err, CT_ECORRUPT, "", "%s is damaged at byte %zu of its payload",
                   what, in->at);
}

/* ---- values ---- */

static ct_status
put_ref(const ct_encoder *e, ct_buf *out, ct_ref *ref, ct_err *err)
{
    ct_buf wire = CT_BUF_INIT;
    ct_status st = e->refs.write != NULL ? e->refs.write(e->refs.ctx, ref, &wire, err)
                                         : ref->ops->wire(ref, &wire, err);
    if (st == CT_OK) {
        st = ct_buf_put_bytes(out, wire.data, wire.len, err);
    }
    ct_buf_deinit(&wire);
    return st;
}

static ct_status
put_value(const ct_encoder *e, ct_buf *out, const ct_value *v, unsigned depth,
          ct_err *err)
{
    if (depth > VALUE_DEPTH) {
        return ct_fail(err, CT_EINVAL, "config",
                       "is nested more than %d deep; flatten it", VALUE_DEPTH);
    }
    ct_status st = ct_buf_put_u8(out, (uint8_t)v->kind, err);
    if (st != CT_OK) {
        return st;
    }
    switch (v->kind) {
    case CT_NIL:
    case CT_KIND_COUNT:
        return CT_OK;
    case CT_BOOL:
        return ct_buf_put_u8(out, v->u.b ? 1 : 0, err);
    case CT_I64:
        return ct_buf_put_varint(out, zigzag(v->u.i), err);
    case CT_F64:
        return ct_buf_put_f64(out, v->u.f, err);
    case CT_STR:
        return ct_buf_put_bytes(out, v->u.s, v->len, err);
    case CT_LIST:
    case CT_TUPLE:
        st = ct_buf_put_varint(out, v->len, err);
        for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
            st = put_value(e, out, &v->u.items[i], depth + 1, err);
        }
        return st;
    case CT_DICT:
        st = ct_buf_put_varint(out, v->len, err);
        for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
            st = ct_buf_put_varint(out, v->u.entries[i].key, err);
            if (st == CT_OK) {
                st = put_value(e, out, &v->u.entries[i].value, depth + 1, err);
            }
        }
        return st;
    case CT_REF:
        return put_ref(e, out, v->u.ref, err);
    }
    return CT_OK;
}

ct_status
ct_encode_value(ct_encoder *e, ct_buf *names_out, ct_buf *out, const ct_value *v,
                ct_err *err)
{
    size_t names_before = names_out->len;
    size_t before = out->len;
    ct_status st = define_value(e, names_out, v, err);
    size_t names_len = names_out->len - names_before;
    if (st == CT_OK) {
        st = put_value(e, out, v, 0, err);
    }
    if (st != CT_OK) {
        if (names_out != out) {
            out->len = before;
        } else {
            out->len = names_before + names_len;
        }
        undo(e, names_out, names_before);
    }
    return st;
}

static ct_status read_value(ct_decoder *d, ct_reader *in, ct_value *out, unsigned depth,
                            ct_err *err);

static ct_status
read_items(ct_decoder *d, ct_reader *in, ct_value *list, unsigned depth, ct_err *err)
{
    uint64_t count = ct_read_varint(in);
    ct_status st = CT_OK;
    if (in->bad || count > in->len - in->at) { /* each item takes a byte or more */
        return corrupt(in, "a list", err);
    }
    for (uint64_t i = 0; st == CT_OK && i < count; i++) {
        ct_value item = ct_nil();
        st = read_value(d, in, &item, depth + 1, err);
        if (st == CT_OK) {
            st = ct_value_push(list, &item, err);
        }
    }
    return st;
}

static ct_status
read_name(const ct_decoder *d, ct_reader *in, ct_name *out, ct_err *err)
{
    uint64_t n = ct_read_varint(in);
    *out = !in->bad && n < d->n_map ? d->map[n] : CT_NAME_NONE;
    return *out != CT_NAME_NONE ? CT_OK
                                : corrupt(in, "a key (its name is not defined)", err);
}

static ct_status
read_entries(ct_decoder *d, ct_reader *in, ct_value *dict, unsigned depth, ct_err *err)
{
    uint64_t count = ct_read_varint(in);
    ct_status st = CT_OK;
    if (in->bad || count > (in->len - in->at) / 2 || count > d->n_map) {
        return corrupt(in, "a dict", err); /* keys are distinct names of this stream */
    }
    for (uint64_t i = 0; st == CT_OK && i < count; i++) {
        ct_name key = CT_NAME_NONE;
        ct_value item = ct_nil();
        st = read_name(d, in, &key, err);
        if (st == CT_OK) {
            st = read_value(d, in, &item, depth + 1, err);
        }
        if (st == CT_OK) {
            st = ct_value_put(dict, key, &item, err);
        }
    }
    return st;
}

static ct_status
read_ref(const ct_decoder *d, ct_reader *in, ct_value *out, ct_err *err)
{
    size_t len = 0;
    const uint8_t *p = ct_read_bytes(in, &len);
    if (in->bad || d->refs.read == NULL) {
        return corrupt(in, "an object (or nobody here can read it)", err);
    }
    return d->refs.read(d->refs.ctx, p, len, out, err);
}

static ct_status
read_str(ct_reader *in, ct_value *out, ct_err *err)
{
    size_t len = 0;
    const uint8_t *p = ct_read_bytes(in, &len);
    if (in->bad) {
        return corrupt(in, "a text", err);
    }
    return ct_str(out, (const char *)p, len, err);
}

/* Fills *out, which is nil; the caller deinits it in every case. */
static ct_status
read_into(ct_decoder *d, ct_reader *in, ct_value *out, unsigned depth, ct_err *err)
{
    unsigned kind = ct_read_u8(in);
    unsigned flag = 0;
    if (in->bad || depth > VALUE_DEPTH) {
        return corrupt(in, "a value", err);
    }
    switch (kind) {
    case CT_NIL:
        break;
    case CT_BOOL:
        flag = ct_read_u8(in);
        if (flag > 1) {
            return corrupt(in, "a bool", err);
        }
        *out = ct_bool(flag == 1);
        break;
    case CT_I64:
        *out = ct_i64(unzigzag(ct_read_varint(in)));
        break;
    case CT_F64:
        *out = ct_f64(ct_read_f64(in));
        break;
    case CT_STR:
        return read_str(in, out, err);
    case CT_LIST:
    case CT_TUPLE:
        *out = kind == CT_LIST ? ct_list() : ct_tuple();
        return read_items(d, in, out, depth, err);
    case CT_DICT:
        *out = ct_dict();
        return read_entries(d, in, out, depth, err);
    case CT_REF:
        return read_ref(d, in, out, err);
    default:
        return corrupt(in, "a value's kind", err);
    }
    return in->bad ? corrupt(in, "a number", err) : CT_OK;
}

static ct_status
read_value(ct_decoder *d, ct_reader *in, ct_value *out, unsigned depth, ct_err *err)
{
    ct_value v = ct_nil();
    ct_status st = read_into(d, in, &v, depth, err);
    if (st != CT_OK) {
        ct_value_deinit(&v);
        return st;
    }
    *out = v;
    return CT_OK;
}

ct_status
ct_decode_value(ct_decoder *d, ct_reader *in, ct_value *out, ct_err *err)
{
    return read_value(d, in, out, 0, err);
}

/* ---- events ---- */

static ct_status
put_event(ct_buf *out, const ct_event *ev, ct_err *err)
{
    unsigned fields =
        (ev->record != NULL ? EV_RECORD : 0U) | (ev->text != NULL ? EV_TEXT : 0U) |
        (ev->path != NULL ? EV_PATH : 0U) | (ev->blob != NULL ? EV_BLOB : 0U);
    ct_status st = ct_buf_put_u8(out, (uint8_t)ev->kind, err);
    if (st == CT_OK) {
        st = put_trial(out, ev->trial, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_varint(out, ev->serial, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_f64(out, ev->time, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_varint(out, zigzag(ev->code), err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_u8(out, (uint8_t)fields, err);
    }
    if (st == CT_OK && ev->record != NULL) {
        st = ct_record_pack(ev->record, out, err);
    }
    if (st == CT_OK && ev->text != NULL) {
        st = put_text(out, ev->text, ev->text_len, err);
    }
    if (st == CT_OK && ev->path != NULL) {
        st = put_text(out, ev->path, ev->path_len, err);
    }
    if (st == CT_OK && ev->blob != NULL) {
        st = ct_buf_put_bytes(out, ev->blob, ev->blob_len, err);
    }
    return st;
}

ct_status
ct_encode_event(ct_encoder *e, ct_buf *out, const ct_event *ev, ct_err *err)
{
    size_t before = out->len;
    size_t start = 0;
    ct_status st = CT_OK;
    if (ev->record != NULL) {
        st = define_record(e, out, ev->record, err);
    }
    size_t whole = out->len;
    if (st == CT_OK) {
        st = frame_begin(out, CT_FRAME_EVENT, &start, err);
    }
    if (st == CT_OK) {
        st = put_event(out, ev, err);
    }
    if (st == CT_OK) {
        st = frame_end(out, start, err);
    }
    if (st != CT_OK) {
        out->len = whole;
        undo(e, out, before);
    }
    return st;
}

/* ---- commands ---- */

static unsigned
command_fields(const ct_command *c)
{
    return (c->config != NULL ? CMD_CONFIG : 0U) |
           (c->checkpoint != NULL ? CMD_CHECKPOINT : 0U) |
           (c->trial_id != NULL ? CMD_TRIAL_ID : 0U) |
           (c->trial_name != NULL ? CMD_TRIAL_NAME : 0U) |
           (c->trial_dir != NULL ? CMD_TRIAL_DIR : 0U) |
           (c->experiment != NULL ? CMD_EXPERIMENT : 0U) |
           (c->resources != NULL ? CMD_RESOURCES : 0U) |
           (c->trainable != NULL ? CMD_TRAINABLE : 0U);
}

static ct_status
put_command_head(ct_buf *out, const ct_command *c, ct_err *err)
{
    ct_status st = ct_buf_put_u8(out, (uint8_t)c->kind, err);
    if (st == CT_OK) {
        st = put_trial(out, c->trial, err);
    }
    if (st == CT_OK) {
        st = put_trial(out, c->from, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_varint(out, c->serial, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_varint(out, c->index, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_varint(out, c->upto, err);
    }
    return st == CT_OK ? ct_buf_put_u8(out, (uint8_t)command_fields(c), err) : st;
}

static ct_status
put_command(const ct_encoder *e, ct_buf *out, const ct_command *c, ct_err *err)
{
    const char *const texts[] = {c->checkpoint, c->trial_id, c->trial_name,
                                 c->trial_dir, c->experiment};
    ct_status st = put_command_head(out, c, err);
    if (st == CT_OK && c->config != NULL) {
        st = put_value(e, out, c->config, 0, err);
    }
    for (size_t i = 0; st == CT_OK && i < sizeof texts / sizeof *texts; i++) {
        st = put_ctext(out, texts[i], err);
    }
    if (st == CT_OK && c->resources != NULL) {
        st = put_value(e, out, c->resources, 0, err);
    }
    return st == CT_OK ? put_ctext(out, c->trainable, err) : st;
}

ct_status
ct_encode_command(ct_encoder *e, ct_buf *out, const ct_command *c, ct_err *err)
{
    size_t before = out->len;
    size_t start = 0;
    ct_status st = CT_OK;
    if (c->config != NULL) {
        st = define_value(e, out, c->config, err);
    }
    if (st == CT_OK && c->resources != NULL) {
        st = define_value(e, out, c->resources, err);
    }
    size_t whole = out->len;
    if (st == CT_OK) {
        st = frame_begin(out, CT_FRAME_COMMAND, &start, err);
    }
    if (st == CT_OK) {
        st = put_command(e, out, c, err);
    }
    if (st == CT_OK) {
        st = frame_end(out, start, err);
    }
    if (st != CT_OK) {
        out->len = whole;
        undo(e, out, before);
    }
    return st;
}

/* ---- decoding ---- */

void
ct_decoder_init(ct_decoder *d, ct_names *names, ct_ref_reader refs)
{
    *d = (ct_decoder){names, NULL, 0, refs};
}

void
ct_decoder_deinit(ct_decoder *d)
{
    ct_free(d->map);
    d->map = NULL;
    d->n_map = 0;
}

ct_status
ct_decode_name(ct_decoder *d, const uint8_t *payload, size_t len, ct_err *err)
{
    ct_reader in = ct_reader_of(payload, len);
    uint64_t n = ct_read_varint(&in);
    if (in.bad || n >= NAME_LIMIT) {
        return corrupt(&in, "the definition of a name", err);
    }
    ct_name ours = CT_NAME_NONE;
    ct_status st = ct_names_intern(d->names, (const char *)payload + in.at, len - in.at,
                                   &ours, err);
    if (st != CT_OK) {
        return st;
    }
    if (n >= d->n_map) {
        /* A power of two, so that the length of the map is also its capacity. */
        size_t want = 64;
        while (want <= n) {
            want *= 2;
        }
        ct_name *map = ct_realloc(d->map, want * sizeof *map);
        if (map == NULL) {
            return ct_fail_mem(err);
        }
        for (size_t i = d->n_map; i < want; i++) {
            map[i] = CT_NAME_NONE;
        }
        d->map = map;
        d->n_map = want;
    }
    d->map[n] = ours;
    return CT_OK;
}

/* A stream that has defined no name knows none; NULL would mean that all are known. */
static ct_status
read_record(const ct_decoder *d, ct_reader *in, ct_record *record, ct_err *err)
{
    static const ct_name none = CT_NAME_NONE;
    return ct_record_unpack(record, in, d->map != NULL ? d->map : &none, d->n_map, err);
}

ct_status
ct_decode_event(ct_decoder *d, const uint8_t *payload, size_t len, ct_event *ev,
                ct_record *record, ct_err *err)
{
    ct_reader in = ct_reader_of(payload, len);
    *ev = (ct_event){0};
    unsigned kind = ct_read_u8(&in);
    ev->trial = read_trial(&in);
    ev->serial = ct_read_varint(&in);
    ev->time = ct_read_f64(&in);
    int64_t code = unzigzag(ct_read_varint(&in));
    unsigned fields = ct_read_u8(&in);
    if (in.bad || kind >= CT_EVENT_COUNT || code < INT32_MIN || code > INT32_MAX ||
        (fields & ~(unsigned)EV_ALL) != 0 ||
        (kind == CT_EVENT_RESULT && (fields & EV_RECORD) == 0)) {
        return corrupt(&in, "an event", err);
    }
    ev->kind = (ct_event_kind)kind;
    ev->code = (int32_t)code;
    if ((fields & EV_RECORD) != 0) {
        ct_status st = read_record(d, &in, record, err);
        if (st != CT_OK) {
            return st;
        }
        ev->record = record;
    }
    if ((fields & EV_TEXT) != 0) {
        ev->text = read_text(&in, &ev->text_len);
    }
    if ((fields & EV_PATH) != 0) {
        ev->path = read_ctext(&in, &ev->path_len);
    }
    if ((fields & EV_BLOB) != 0) {
        ev->blob = ct_read_bytes(&in, &ev->blob_len);
    }
    return in.bad || in.at != in.len ? corrupt(&in, "an event", err) : CT_OK;
}

void
ct_command_box_deinit(ct_command_box *b)
{
    ct_value_deinit(&b->config);
    ct_value_deinit(&b->resources);
    b->command.config = NULL;
    b->command.resources = NULL;
}

static ct_status
read_command_fields(ct_decoder *d, ct_reader *in, unsigned fields, ct_command_box *out,
                    ct_err *err)
{
    ct_command *c = &out->command;
    if ((fields & CMD_CONFIG) != 0) {
        ct_status st = read_value(d, in, &out->config, 0, err);
        if (st != CT_OK) {
            return st;
        }
        c->config = &out->config;
    }
    const char **texts[] = {&c->checkpoint, &c->trial_id, &c->trial_name, &c->trial_dir,
                            &c->experiment};
    size_t len = 0;
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        if ((fields & ((unsigned)CMD_CHECKPOINT << i)) != 0) {
            *texts[i] = read_ctext(in, &len);
        }
    }
    if (!in->bad && (fields & CMD_RESOURCES) != 0) {
        ct_status st = read_value(d, in, &out->resources, 0, err);
        if (st != CT_OK) {
            return st;
        }
        c->resources = &out->resources;
    }
    if (!in->bad && (fields & CMD_TRAINABLE) != 0) {
        c->trainable = read_ctext(in, &len);
    }
    return in->bad || in->at != in->len ? corrupt(in, "a command", err) : CT_OK;
}

ct_status
ct_decode_command(ct_decoder *d, const uint8_t *payload, size_t len,
                  ct_command_box *out, ct_err *err)
{
    ct_reader in = ct_reader_of(payload, len);
    *out = (ct_command_box){.config = ct_nil(), .resources = ct_nil()};
    unsigned kind = ct_read_u8(&in);
    out->command.trial = read_trial(&in);
    out->command.from = read_trial(&in);
    out->command.serial = ct_read_varint(&in);
    uint64_t index = ct_read_varint(&in);
    out->command.upto = ct_read_varint(&in);
    unsigned fields = ct_read_u8(&in);
    if (in.bad || kind >= CT_COMMAND_COUNT || index > UINT32_MAX ||
        (fields & ~(unsigned)CMD_ALL) != 0) {
        return corrupt(&in, "a command", err);
    }
    out->command.kind = (ct_command_kind)kind;
    out->command.index = (uint32_t)index;
    ct_status st = read_command_fields(d, &in, fields, out, err);
    if (st != CT_OK) {
        ct_command_box_deinit(out);
    }
    return st;
}
