/* number.c: numbers as text. Declared in bytes.h.
 *
 * The layout is that of Python's repr(float): with e the exponent of the first digit,
 * positional for -4 <= e < 16 (always with a point and a digit after it), otherwise
 * d.ddde+XX with at least two digits of exponent. */
#include "base/bytes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char PAIRS[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

/* Decimal digits of v; at most 20 bytes, no NUL. */
static size_t
digits_put(uint64_t v, char *out)
{
    char rev[20];
    size_t at = sizeof rev;
    while (v >= 100) {
        size_t pair = (size_t)(v % 100) * 2;
        v /= 100;
        rev[--at] = PAIRS[pair + 1];
        rev[--at] = PAIRS[pair];
    }
    if (v >= 10) {
        rev[--at] = PAIRS[v * 2 + 1];
        rev[--at] = PAIRS[v * 2];
    } else {
        rev[--at] = (char)('0' + v);
    }
    memcpy(out, rev + at, sizeof rev - at);
    return sizeof rev - at;
}

size_t
ct_format_i64(int64_t v, char *out)
{
    size_t n = 0;
    uint64_t size = (uint64_t)v;
    if (v < 0) {
        out[n++] = '-';
        size = 0 - size;
    }
    n += digits_put(size, out + n);
    out[n] = '\0';
    return n;
}

/* Lays out 0.d1d2d3… x 10^point, count >= 1 digits without trailing zeros. */
static size_t
layout_repr(const char *digits, int count, int point, char *out)
{
    size_t n = 0;
    size_t len = (size_t)count;
    if (point > -4 && point <= 0) {
        out[n++] = '0';
        out[n++] = '.';
        for (int i = point; i < 0; i++) {
            out[n++] = '0';
        }
        memcpy(out + n, digits, len);
        return n + len;
    }
    if (point > 0 && point <= 16) {
        size_t whole = (size_t)point;
        if (len <= whole) {
            memcpy(out, digits, len);
            memset(out + len, '0', whole - len);
            out[whole] = '.';
            out[whole + 1] = '0';
            return whole + 2;
        }
        memcpy(out, digits, whole);
        out[whole] = '.';
        memcpy(out + whole + 1, digits + whole, len - whole);
        return len + 1;
    }
    out[n++] = digits[0];
    if (count > 1) {
        out[n++] = '.';
        memcpy(out + n, digits + 1, len - 1);
        n += len - 1;
    }
    int exp = point - 1;
    out[n++] = 'e';
    out[n++] = exp < 0 ? '-' : '+';
    unsigned size = (unsigned)(exp < 0 ? -exp : exp);
    if (size >= 100) {
        out[n++] = (char)('0' + size / 100);
        size %= 100;
    }
    out[n++] = PAIRS[size * 2];
    out[n++] = PAIRS[size * 2 + 1];
    return n;
}

size_t
ct_format_f64(double v, char *out)
{
    if (isnan(v)) {
        memcpy(out, "nan", 4);
        return 3;
    }
    size_t n = 0;
    if (signbit(v)) {
        out[n++] = '-';
        v = -v;
    }
    if (isinf(v) || v <= 0.0) {
        memcpy(out + n, isinf(v) ? "inf" : "0.0", 4);
        return n + 3;
    }
    char text[40];
    for (int precision = 14; precision <= 16; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    char *e = strchr(text, 'e');
    int point = (int)strtol(e + 1, NULL, 10) + 1;
    int count = (int)(e - text) - 1;
    memmove(text + 1, text + 2, (size_t)count - 1);
    while (count > 1 && text[count - 1] == '0') {
        count--;
    }
    n += layout_repr(text, count, point, out + n);
    out[n] = '\0';
    return n;
}
