/* tag.c: cleaning and printing values for tags. */
#include "space/tag.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* the fma below is meant, others are not */
#endif

size_t
ct_format_fixed4(double v, char *out)
{
    double size = fabs(v);
    if (!(size < 4e11)) { /* large, infinite or NaN */
        if (isnan(v)) {   /* printf would show its sign */
            memcpy(out, "nan", 4);
            return 3;
        }
        return (size_t)snprintf(out, 320, "%.4f", v);
    }
    /* size * 10000 = scaled + rest exactly. */
    double scaled = size * 10000.0;
    double rest = fma(size, 10000.0, -scaled);
    double whole = floor(scaled);
    double over = (scaled - whole) - 0.5; /* 0 or so large that rest cannot turn it */
    uint64_t n = (uint64_t)whole;
    bool tie = !(over > 0.0) && !(over < 0.0);
    if (over > 0.0 || (tie && (rest > 0.0 || (!(rest < 0.0) && (n & 1U) != 0)))) {
        n++;
    }
    size_t len = 0;
    if (signbit(v)) {
        out[len++] = '-';
    }
    len += ct_format_i64((int64_t)(n / 10000), out + len);
    uint64_t tail = n % 10000;
    out[len++] = '.';
    out[len++] = (char)('0' + tail / 1000);
    out[len++] = (char)('0' + tail / 100 % 10);
    out[len++] = (char)('0' + tail / 10 % 10);
    out[len++] = (char)('0' + tail % 10);
    out[len] = '\0';
    return len;
}

static bool
is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '-';
}

ct_status
ct_tag_clean(ct_buf *out, const char *text, size_t len, ct_err *err)
{
    ct_status st = ct_buf_reserve(out, len, err);
    if (st != CT_OK) {
        return st;
    }
    size_t start = out->len;
    bool gap = false;
    for (size_t i = 0; i < len; i++) {
        bool plain = is_plain((unsigned char)text[i]);
        if (plain || !gap) {
            uint8_t c = plain ? (uint8_t)text[i] : (uint8_t)'_';
            if (c != '_' || out->len > start) { /* nothing but text opens it */
                out->data[out->len++] = c;
            }
        }
        gap = !plain;
    }
    while (out->len > start && out->data[out->len - 1] == '_') {
        out->len--;
    }
    return CT_OK;
}

static ct_status
repr_str(ct_buf *out, const ct_value *v, ct_err *err)
{
    const unsigned char *s = (const unsigned char *)v->u.s;
    bool single = memchr(s, '\'', v->len) != NULL;
    uint8_t quote = single && memchr(s, '"', v->len) == NULL ? '"' : '\'';
    ct_status st = ct_buf_put_u8(out, quote, err);
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        if (s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
            st = ct_buf_printf(out, err, "\\%c",
                               s[i] == '\n'   ? 'n'
                               : s[i] == '\r' ? 'r'
                                              : 't');
        } else if (s[i] < 0x20 || s[i] == 0x7f) {
            st = ct_buf_printf(out, err, "\\x%02x", s[i]);
        } else if (s[i] == '\\' || s[i] == quote) {
            st = ct_buf_printf(out, err, "\\%c", s[i]);
        } else {
            st = ct_buf_put_u8(out, s[i], err);
        }
    }
    return st == CT_OK ? ct_buf_put_u8(out, quote, err) : st;
}

static ct_status
repr_items(ct_buf *out, const ct_value *v, const ct_space *s, ct_err *err)
{
    const char *open = v->kind == CT_DICT ? "{}" : v->kind == CT_LIST ? "[]" : "()";
    ct_status st = ct_buf_put_u8(out, (uint8_t)open[0], err);
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        st = i > 0 ? ct_buf_puts(out, ", ", err) : CT_OK;
        const ct_value *item =
            v->kind == CT_DICT ? &v->u.entries[i].value : &v->u.items[i];
        if (st == CT_OK && v->kind == CT_DICT) {
            ct_name key = v->u.entries[i].key;
            const ct_names *names = ct_space_names(s);
            ct_value text = {.kind = CT_STR, .len = (uint32_t)ct_names_len(names, key)};
            char *borrowed;
            const char *chars = ct_names_text(names, key);
            memcpy(&borrowed, &chars, sizeof borrowed); /* only read below */
            text.u.s = borrowed;
            st = repr_str(out, &text, err);
            if (st == CT_OK) {
                st = ct_buf_puts(out, ": ", err);
            }
        }
        if (st == CT_OK) {
            st = ct_tag_repr(out, item, s, err);
        }
    }
    if (st == CT_OK && v->kind == CT_TUPLE && v->len == 1) {
        st = ct_buf_put_u8(out, ',', err);
    }
    return st == CT_OK ? ct_buf_put_u8(out, (uint8_t)open[1], err) : st;
}

ct_status
ct_tag_repr(ct_buf *out, const ct_value *v, const ct_space *s, ct_err *err)
{
    char text[32];
    const char *label;
    switch (v->kind) {
    case CT_BOOL:
        return ct_buf_puts(out, v->u.b ? "True" : "False", err);
    case CT_I64:
        return ct_buf_put(out, text, ct_format_i64(v->u.i, text), err);
    case CT_F64:
        return ct_buf_put(out, text, ct_format_f64(v->u.f, text), err);
    case CT_STR:
        return repr_str(out, v, err);
    case CT_LIST:
    case CT_TUPLE:
    case CT_DICT:
        return repr_items(out, v, s, err);
    case CT_REF:
        label = s != NULL ? ct_space_label_of(s, v->u.ref) : NULL;
        return ct_buf_puts(out, label != NULL ? label : "object", err);
    case CT_NIL:
    case CT_KIND_COUNT:
        break;
    }
    return ct_buf_puts(out, "None", err);
}

ct_status
ct_tag_value(ct_buf *out, const ct_value *v, const ct_space *s, ct_err *err)
{
    ct_status st;
    if (v->kind == CT_F64) {
        st = ct_buf_reserve(out, 320, err);
        if (st == CT_OK) {
            out->len += ct_format_fixed4(v->u.f, (char *)out->data + out->len);
        }
        return st;
    }
    if (v->kind == CT_STR) {
        return ct_tag_clean(out, v->u.s, v->len, err);
    }
    if (v->kind == CT_I64 || v->kind == CT_BOOL || v->kind == CT_NIL) {
        return ct_tag_repr(out, v, s, err);
    }
    ct_buf text = CT_BUF_INIT;
    st = ct_tag_repr(&text, v, s, err);
    if (st == CT_OK) {
        st = ct_tag_clean(out, (const char *)text.data, text.len, err);
    }
    ct_buf_deinit(&text);
    return st;
}
