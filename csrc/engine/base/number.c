/* number.c: numbers as text. Declared in bytes.h.
 *
 * Doubles: the algorithm of Giulietti, "The Schubfach way to render doubles" (2020):
 * three multiplications by a 128-bit power of ten give the double and the ends of its
 * rounding interval in decimal. pow10.h holds the powers.
 *
 * The layout is that of Python's repr(float): with e the exponent of the first digit,
 * positional for -4 <= e < 16 (always with a point and a digit after it), otherwise
 * d.ddde+XX with at least two digits of exponent. */
#include "base/bytes.h"
#include "base/pow10.h"
#include "base/wide.h"

#include <string.h>

static const char PAIRS[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

/* Exactly eight digits of v < 10^8. */
static void
eight_put(uint32_t v, char *out)
{
    uint32_t high = v / 10000;
    uint32_t low = v % 10000;
    memcpy(out, PAIRS + 2 * (size_t)(high / 100), 2);
    memcpy(out + 2, PAIRS + 2 * (size_t)(high % 100), 2);
    memcpy(out + 4, PAIRS + 2 * (size_t)(low / 100), 2);
    memcpy(out + 6, PAIRS + 2 * (size_t)(low % 100), 2);
}

/* How many digits v has. */
static size_t
digits_count(uint64_t v)
{
    size_t n = 1;
    for (; v >= 10000; v /= 10000) {
        n += 4;
    }
    return n + (v >= 10 ? 1 : 0) + (v >= 100 ? 1 : 0) + (v >= 1000 ? 1 : 0);
}

/* Decimal digits of v; at most 20 bytes, no NUL. */
static size_t
digits_put(uint64_t v, char *out)
{
    size_t n = digits_count(v);
    size_t at = n;
    while (at >= 8) {
        at -= 8;
        eight_put((uint32_t)(v % 100000000), out + at);
        v /= 100000000;
    }
    for (; at >= 2; at -= 2, v /= 100) {
        memcpy(out + at - 2, PAIRS + 2 * (size_t)(v % 100), 2);
    }
    if (at > 0) {
        out[0] = (char)('0' + v);
    }
    return n;
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

/* digits x 10^exp, digits below 10^17. */
typedef struct decimal {
    uint64_t digits;
    int exp;
} decimal;

/* g * cp / 2^128 rounded to odd: the last bit is set when anything was cut off, so that
 * comparisons with multiples of 2 come out as if the number were exact. g is too large
 * by at most one unit, which the test against 1 forgives. */
static uint64_t
round_to_odd(const uint64_t g[2], uint64_t cp)
{
    wide high = wide_mul(g[0], cp);
    wide low = wide_mul(g[1], cp);
    uint64_t mid = high.lo + low.hi;
    uint64_t top = high.hi + (mid < high.lo ? 1 : 0);
    return top | (mid > 1 ? 1 : 0);
}

/* The shortest decimal in the rounding interval of c x 2^q, and of those the closest.
 * s is v in units of 10^k, cut; the candidates are s and s + 1, and before them the
 * multiples of ten around s, of which at most one lies in the interval. All quantities
 * are multiplied by 4, so that the ends of the interval are whole too. The interval is
 * narrower below when v is a power of two. */
static decimal
shortest_decimal(uint64_t c, int q, bool power_of_two)
{
    int k = (q * 1262611 - (power_of_two ? 524031 : 0)) >> 22; /* see gen_pow10.py */
    int shift = q + ((-k * 1741647) >> 19) + 1;
    const uint64_t *g = POW10[-k - POW10_MIN];
    uint64_t v = round_to_odd(g, (4 * c) << shift);
    uint64_t low = round_to_odd(g, (4 * c - (power_of_two ? 1 : 2)) << shift);
    uint64_t high = round_to_odd(g, (4 * c + 2) << shift);
    low += c & 1U; /* the ends themselves round to v only if c is even */
    high -= c & 1U;
    uint64_t s = v / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool below = low <= 40 * tens;
        bool above = 40 * tens + 40 <= high;
        if (below != above) {
            return (decimal){tens + (above ? 1 : 0), k + 1};
        }
    }
    bool below = low <= 4 * s;
    bool above = 4 * s + 4 <= high;
    if (below != above) {
        return (decimal){s + (above ? 1 : 0), k};
    }
    uint64_t half = 4 * s + 2;
    bool up = v > half || (v == half && (s & 1U) != 0);
    return (decimal){s + (up ? 1 : 0), k};
}

size_t
ct_format_f64(double v, char *out)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint64_t fraction = bits & ((1ULL << 52) - 1);
    int biased = (int)(bits >> 52 & 0x7FFU);
    if (biased == 0x7FF && fraction != 0) {
        memcpy(out, "nan", 4);
        return 3;
    }
    size_t n = 0;
    if (bits >> 63 != 0) {
        out[n++] = '-';
        v = -v;
    }
    if (biased == 0x7FF) {
        memcpy(out + n, "inf", 4);
        return n + 3;
    }
    if (v < 0x1p53 && (double)(int64_t)v >= v) { /* whole, and each digit counts */
        n += digits_put((uint64_t)v, out + n);
        memcpy(out + n, ".0", 3);
        return n + 2;
    }
    uint64_t c = biased > 0 ? fraction | 1ULL << 52 : fraction;
    int q = (biased > 0 ? biased : 1) - 1075;
    decimal d = shortest_decimal(c, q, fraction == 0 && biased > 1);
    char digits[20];
    size_t count = digits_put(d.digits, digits);
    int point = (int)count + d.exp;
    while (digits[count - 1] == '0') {
        count--;
    }
    n += layout_repr(digits, (int)count, point, out + n);
    out[n] = '\0';
    return n;
}
