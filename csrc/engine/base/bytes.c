/* bytes.c: the growable buffer and the reader over bytes.
 *
 * Fields are little-endian whatever the machine. A varint is LEB128: seven bits per
 * byte, low bits first, the high bit set on all but the last byte; at most ten bytes,
 * and the tenth holds a single bit. Number texts are in number.c, checksums in
 * crc32c.c. */
#include "base/bytes.h"

#include "base/mem.h"
#include "base/wide.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BUF_FIRST = 64, VARINT_MAX = 10 };

void
ct_buf_deinit(ct_buf *b)
{
    ct_free(b->data);
    *b = (ct_buf)CT_BUF_INIT;
}

void
ct_buf_clear(ct_buf *b)
{
    b->len = 0;
}

ct_status
ct_buf_reserve(ct_buf *b, size_t extra, ct_err *err)
{
    if (extra <= b->cap - b->len) {
        return CT_OK;
    }
    if (extra > SIZE_MAX - b->len) {
        return ct_fail_mem(err);
    }
    size_t need = b->len + extra;
    return ct_grow((void **)&b->data, &b->cap, need < BUF_FIRST ? BUF_FIRST : need, 1,
                   err);
}

ct_status
ct_buf_put(ct_buf *b, const void *data, size_t len, ct_err *err)
{
    ct_status st = ct_buf_reserve(b, len, err);
    if (st == CT_OK && len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
    return st;
}

ct_status
ct_buf_puts(ct_buf *b, const char *text, ct_err *err)
{
    return ct_buf_put(b, text, strlen(text), err);
}

ct_status
ct_buf_printf(ct_buf *b, ct_err *err, const char *fmt, ...)
{
    va_list args;
    va_list again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t room = b->cap - b->len;
    int len = vsnprintf(room > 0 ? (char *)b->data + b->len : NULL, room, fmt, args);
    ct_status st = CT_OK;
    if (len < 0) {
        st = ct_fail(err, CT_EINVAL, "", "text cannot be formatted with \"%s\"", fmt);
    } else if ((size_t)len >= room) { /* vsnprintf also wants room for its NUL */
        st = ct_buf_reserve(b, (size_t)len + 1, err);
        if (st == CT_OK) {
            (void)vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, again);
        }
    }
    if (st == CT_OK) {
        b->len += (size_t)len;
    }
    va_end(again);
    va_end(args);
    return st;
}

ct_status
ct_buf_put_u8(ct_buf *b, uint8_t v, ct_err *err)
{
    return ct_buf_put(b, &v, 1, err);
}

ct_status
ct_buf_put_u32(ct_buf *b, uint32_t v, ct_err *err)
{
    uint8_t raw[4];
    le32_store(raw, v);
    return ct_buf_put(b, raw, sizeof raw, err);
}

ct_status
ct_buf_put_u64(ct_buf *b, uint64_t v, ct_err *err)
{
    ct_status st = ct_buf_reserve(b, 8, err);
    if (st == CT_OK) {
        le64_store(b->data + b->len, v);
        b->len += 8;
    }
    return st;
}

ct_status
ct_buf_put_f64(ct_buf *b, double v, ct_err *err)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return ct_buf_put_u64(b, bits, err);
}

ct_status
ct_buf_put_varint(ct_buf *b, uint64_t v, ct_err *err)
{
    ct_status st = ct_buf_reserve(b, VARINT_MAX, err);
    if (st != CT_OK) {
        return st;
    }
    uint8_t *to = b->data + b->len;
    while (v >= 0x80U) {
        *to++ = (uint8_t)(v | 0x80U);
        v >>= 7;
    }
    *to++ = (uint8_t)v;
    b->len = (size_t)(to - b->data);
    return CT_OK;
}

ct_status
ct_buf_put_bytes(ct_buf *b, const void *data, size_t len, ct_err *err)
{
    if (len > SIZE_MAX - VARINT_MAX) {
        return ct_fail_mem(err);
    }
    ct_status st = ct_buf_reserve(b, len + VARINT_MAX, err); /* all or nothing */
    if (st == CT_OK) {
        st = ct_buf_put_varint(b, len, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put(b, data, len, err);
    }
    return st;
}

ct_status
ct_buf_terminate(ct_buf *b, ct_err *err)
{
    ct_status st = ct_buf_reserve(b, 1, err);
    if (st == CT_OK) {
        b->data[b->len] = 0;
    }
    return st;
}

/* ---- reading ---- */

ct_reader
ct_reader_of(const void *data, size_t len)
{
    return (ct_reader){data, len, 0, false};
}

/* The next n bytes, or NULL when they are not all there. */
static const uint8_t *
reader_take(ct_reader *r, size_t n)
{
    if (r->bad || n > r->len - r->at) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->data + r->at;
    r->at += n;
    return p;
}

uint8_t
ct_read_u8(ct_reader *r)
{
    const uint8_t *p = reader_take(r, 1);
    return p != NULL ? *p : 0;
}

uint32_t
ct_read_u32(ct_reader *r)
{
    const uint8_t *p = reader_take(r, 4);
    return p != NULL ? le32_load(p) : 0;
}

uint64_t
ct_read_u64(ct_reader *r)
{
    const uint8_t *p = reader_take(r, 8);
    return p != NULL ? le64_load(p) : 0;
}

double
ct_read_f64(ct_reader *r)
{
    uint64_t bits = ct_read_u64(r);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

uint64_t
ct_read_varint(ct_reader *r)
{
    uint64_t v = 0;
    if (!r->bad && r->at < r->len && r->data[r->at] < 0x80U) {
        return r->data[r->at++]; /* nearly all are this small */
    }
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = ct_read_u8(r);
        if (r->bad || (shift == 63 && byte > 1)) {
            break;
        }
        v |= (uint64_t)(byte & 0x7FU) << shift;
        if (byte < 0x80U) {
            return v;
        }
    }
    r->bad = true;
    return 0;
}

const uint8_t *
ct_read_bytes(ct_reader *r, size_t *len)
{
    uint64_t n = ct_read_varint(r);
    if (r->bad || n > r->len - r->at) {
        r->bad = true;
        *len = 0;
        return NULL;
    }
    *len = (size_t)n;
    return reader_take(r, (size_t)n);
}
