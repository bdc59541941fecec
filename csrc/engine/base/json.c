/* json.c: value <-> JSON text, through cJSON's tree (RFC 8259, plus NaN, Infinity and
 * -Infinity as Python's json module has them).
 *
 * cJSON holds numbers as doubles and strings as C strings, so whatever it would lose
 * travels in marked strings, in both directions. A mark is the byte 0x01:
 *
 *     0x01 '0', 0x01 '1'  within any string or key: the character NUL, the character 1
 *     0x01 '#' digits     a whole string: a number whose value or type cJSON would lose
 *
 * A user's 0x01 is always written as 0x01 '1', so nothing a user has can look like a
 * mark.
 *
 * Reading: the scanner checks the grammar of the whole text, so that errors name the
 * byte of the caller's text, and writes the marked text for cJSON. When cJSON answers
 * NULL to that, memory ran out. A number stays plain only if its double tells the type:
 * integers of at most 15 digits, and fractions of at most 15 digits that are not whole.
 *
 * Writing: the value becomes a cJSON tree (numbers are raw text), which cJSON prints
 * without white space; the layout pass then sets Python's separators or indentation,
 * escapes what is not ASCII, and resolves the marks.
 *
 * cJSON takes its memory from malloc: its hooks are global to the process and belong to
 * no library, so that memory is not in the count of mem.h. Its NULLs become
 * CT_ENOMEM. */
#include "base/json.h"

#include "base/base_int.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <cJSON.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    JSON_DEPTH = 500,
    MARK = 0x01,
    PLAIN_DIGITS = 15,    /* decimal digits that every double keeps */
    SMALL_DICT = 16,      /* up to here, repeated keys are found by looking */
    REPLACEMENT = 0xFFFD, /* stands for what is not UTF-8 */
};

/* ---- characters ---- */

/* Reads one character, 1 to 4 bytes. What is not UTF-8 gives REPLACEMENT for the
 * longest beginning of a character, as Python's decoder does with errors="replace". */
static size_t
utf8_next(const uint8_t *p, size_t left, uint32_t *cp)
{
    uint8_t lead = p[0];
    *cp = REPLACEMENT;
    if (lead < 0x80U) {
        *cp = lead;
        return 1;
    }
    if (lead < 0xC2U || lead > 0xF4U) {
        return 1;
    }
    size_t want = lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : 2;
    /* The second byte's range keeps out overlong forms, surrogates, and above
     * U+10FFFF. */
    uint8_t low = lead == 0xE0U ? 0xA0U : lead == 0xF0U ? 0x90U : 0x80U;
    uint8_t high = lead == 0xEDU ? 0x9FU : lead == 0xF4U ? 0x8FU : 0xBFU;
    uint32_t v = lead & (0x7FU >> want);
    for (size_t i = 1; i < want; i++) {
        if (i >= left || p[i] < low || p[i] > high) {
            return i;
        }
        v = v << 6 | (p[i] & 0x3FU);
        low = 0x80U;
        high = 0xBFU;
    }
    *cp = v;
    return want;
}

static ct_status
put_u16_escape(ct_buf *out, uint32_t unit, ct_err *err)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = "\\u";
    for (unsigned i = 0; i < 4; i++) {
        text[2 + i] = hex[unit >> (12 - 4 * i) & 15U];
    }
    return ct_buf_put(out, text, sizeof text, err);
}

/* A character that is not ASCII, or a control character, of which DEL is one. */
static ct_status
put_escape(ct_buf *out, uint32_t cp, ct_err *err)
{
    if (cp < 0x10000U) {
        return put_u16_escape(out, cp, err);
    }
    ct_status st = put_u16_escape(out, 0xD800U + ((cp - 0x10000U) >> 10), err);
    return st == CT_OK ? put_u16_escape(out, 0xDC00U + (cp & 0x3FFU), err) : st;
}

/* ---- pieces for the hot writers ---- */

/* The length of the run from p that needs no escape. */
static size_t
plain_run(const uint8_t *p, size_t len)
{
    size_t i = 0;
    while (i < len && p[i] >= 0x20U && p[i] < 0x7FU && p[i] != '"' && p[i] != '\\') {
        i++;
    }
    return i;
}

static ct_status
put_escaped_char(ct_buf *out, const uint8_t *p, size_t left, size_t *used, ct_err *err)
{
    static const char *const SHORT[0x20] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    uint32_t cp;
    *used = utf8_next(p, left, &cp);
    if (cp == '"' || cp == '\\') {
        char text[2] = {'\\', (char)cp};
        return ct_buf_put(out, text, sizeof text, err);
    }
    if (cp < 0x20U && SHORT[cp] != NULL) {
        return ct_buf_put(out, SHORT[cp], 2, err);
    }
    return put_escape(out, cp, err);
}

ct_status
ct_json_put_str(ct_buf *out, const char *text, size_t len, ct_err *err)
{
    const uint8_t *p = (const uint8_t *)text;
    if (len > SIZE_MAX - 2) {
        return ct_fail_mem(err);
    }
    size_t start = out->len;
    ct_status st = ct_buf_reserve(out, len + 2, err);
    if (st != CT_OK) {
        return st;
    }
    out->data[out->len++] = '"';
    size_t i = 0;
    while (st == CT_OK && i < len) {
        size_t run = plain_run(p + i, len - i);
        st = ct_buf_put(out, p + i, run, err);
        i += run;
        if (st == CT_OK && i < len) {
            size_t used = 1;
            st = put_escaped_char(out, p + i, len - i, &used, err);
            i += used;
        }
    }
    if (st == CT_OK) {
        st = ct_buf_put(out, "\"", 1, err);
    }
    if (st != CT_OK) {
        out->len = start;
    }
    return st;
}

ct_status
ct_json_put_f64(ct_buf *out, double v, ct_err *err)
{
    if (isnan(v)) {
        return ct_buf_put(out, "NaN", 3, err);
    }
    if (isinf(v)) {
        return ct_buf_puts(out, v < 0.0 ? "-Infinity" : "Infinity", err);
    }
    ct_status st = ct_buf_reserve(out, 32, err);
    if (st == CT_OK) {
        out->len += ct_format_f64(v, (char *)out->data + out->len);
    }
    return st;
}

/* ---- writing: value -> tree ---- */

typedef struct printer {
    const ct_names *names;
    bool sorted;
    ct_buf text; /* scratch: one string at a time */
} printer;

/* The scratch buffer becomes the C string s with marks for NUL and 1. */
static ct_status
mark_string(printer *p, const char *s, size_t len, ct_err *err)
{
    ct_buf_clear(&p->text);
    ct_status st = ct_buf_reserve(&p->text, len + 1, err);
    for (size_t i = 0; st == CT_OK && i < len; i++) {
        if ((unsigned char)s[i] > MARK) {
            st = ct_buf_put(&p->text, s + i, 1, err);
        } else {
            char mark[2] = {MARK, s[i] == MARK ? '1' : '0'};
            st = ct_buf_put(&p->text, mark, sizeof mark, err);
        }
    }
    return st == CT_OK ? ct_buf_terminate(&p->text, err) : st;
}

/* A ref's own text: its escapes of the character 1 must not be taken for marks. */
static ct_status
mark_ref(printer *p, const ct_ref *ref, ct_err *err)
{
    ct_buf raw = CT_BUF_INIT;
    ct_buf_clear(&p->text);
    ct_status st = ref->ops->json(ref, &raw, err);
    size_t i = 0;
    while (st == CT_OK && i < raw.len) {
        const char *at = (const char *)raw.data + i;
        size_t left = raw.len - i;
        size_t take = *at == '\\' && left > 1 ? 2 : 1;
        bool one = left >= 6 && memcmp(at, "\\u0001", 6) == 0;
        st = one ? ct_buf_put(&p->text, "\\u00011", 7, err)
                 : ct_buf_put(&p->text, at, take, err);
        i += one ? 6 : take;
    }
    if (st == CT_OK) {
        st = ct_buf_terminate(&p->text, err);
    }
    ct_buf_deinit(&raw);
    return st;
}

static ct_status tree_build(printer *p, cJSON **out, const ct_value *v, int depth,
                            ct_err *err);

static ct_status
tree_build_list(printer *p, cJSON *list, const ct_value *v, int depth, ct_err *err)
{
    for (uint32_t i = 0; i < v->len; i++) {
        cJSON *item = NULL;
        ct_status st = tree_build(p, &item, &v->u.items[i], depth + 1, err);
        if (st != CT_OK) {
            return st;
        }
        (void)cJSON_AddItemToArray(list, item); /* links only: cannot fail */
    }
    return CT_OK;
}

static ct_status
tree_add_entry(printer *p, cJSON *dict, const ct_entry *e, int depth, ct_err *err)
{
    cJSON *item = NULL;
    ct_status st = tree_build(p, &item, &e->value, depth + 1, err);
    if (st == CT_OK) {
        const char *key = ct_names_text(p->names, e->key);
        st = mark_string(p, key, ct_names_len(p->names, e->key), err);
    }
    if (st == CT_OK) {
        cJSON_AddItemToObject(dict, (const char *)p->text.data, item);
        if (item->string == NULL) { /* it copies the key; older ones return nothing */
            st = ct_fail_mem(err);
        } else {
            item = NULL;
        }
    }
    cJSON_Delete(item);
    return st;
}

static int
compare_keys(const ct_names *names, ct_name a, ct_name b)
{
    size_t la = ct_names_len(names, a);
    size_t lb = ct_names_len(names, b);
    int c = memcmp(ct_names_text(names, a), ct_names_text(names, b), la < lb ? la : lb);
    return c != 0 ? c : (la > lb) - (la < lb);
}

/* Merge sort of pointers to entries: qsort has no place for the table of names. */
static void
sort_entries(const ct_names *names, const ct_entry **e, const ct_entry **tmp, size_t n)
{
    if (n < 2) {
        return;
    }
    size_t half = n / 2;
    sort_entries(names, e, tmp, half);
    sort_entries(names, e + half, tmp, n - half);
    memcpy(tmp, e, half * sizeof *tmp);
    size_t left = 0;
    size_t right = half;
    for (size_t k = 0; left < half; k++) {
        bool take_right =
            right < n && compare_keys(names, e[right]->key, tmp[left]->key) < 0;
        e[k] = take_right ? e[right++] : tmp[left++];
    }
}

static ct_status
tree_build_dict(printer *p, cJSON *dict, const ct_value *v, int depth, ct_err *err)
{
    const ct_entry **order = NULL;
    if (p->sorted && v->len > 0) {
        order = ct_alloc(2 * (size_t)v->len * sizeof *order);
        if (order == NULL) {
            return ct_fail_mem(err);
        }
        for (uint32_t i = 0; i < v->len; i++) {
            order[i] = &v->u.entries[i];
        }
        sort_entries(p->names, order, order + v->len, v->len);
    }
    ct_status st = CT_OK;
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        const ct_entry *e = order != NULL ? order[i] : &v->u.entries[i];
        st = tree_add_entry(p, dict, e, depth, err);
    }
    ct_free(order);
    return st;
}

/* The node for a value, without what is below it; NULL when out of memory. */
static ct_status
tree_node(printer *p, cJSON **out, const ct_value *v, ct_err *err)
{
    char number[32];
    ct_status st = CT_OK;
    switch (v->kind) {
    case CT_NIL:
    case CT_KIND_COUNT:
        *out = cJSON_CreateNull();
        break;
    case CT_BOOL:
        *out = cJSON_CreateBool(v->u.b);
        break;
    case CT_I64:
        (void)ct_format_i64(v->u.i, number);
        *out = cJSON_CreateRaw(number);
        break;
    case CT_F64:
        ct_buf_clear(&p->text);
        st = ct_json_put_f64(&p->text, v->u.f, err);
        if (st == CT_OK) {
            st = ct_buf_terminate(&p->text, err);
        }
        *out = st == CT_OK ? cJSON_CreateRaw((const char *)p->text.data) : NULL;
        break;
    case CT_STR:
        st = mark_string(p, v->u.s, v->len, err);
        *out = st == CT_OK ? cJSON_CreateString((const char *)p->text.data) : NULL;
        break;
    case CT_REF:
        st = mark_ref(p, v->u.ref, err);
        *out = st == CT_OK ? cJSON_CreateRaw((const char *)p->text.data) : NULL;
        break;
    case CT_LIST:
    case CT_TUPLE:
        *out = cJSON_CreateArray();
        break;
    case CT_DICT:
        *out = cJSON_CreateObject();
        break;
    }
    return st == CT_OK && *out == NULL ? ct_fail_mem(err) : st;
}

static ct_status
tree_build(printer *p, cJSON **out, const ct_value *v, int depth, ct_err *err)
{
    bool list = v->kind == CT_LIST || v->kind == CT_TUPLE;
    bool dict = v->kind == CT_DICT;
    if ((list || dict) && depth >= JSON_DEPTH) {
        return ct_fail(
            err, CT_EINVAL, "",
            "a value is nested more than %d deep; JSON files take a flatter one",
            JSON_DEPTH);
    }
    cJSON *node = NULL;
    ct_status st = tree_node(p, &node, v, err);
    if (st == CT_OK && list) {
        st = tree_build_list(p, node, v, depth, err);
    } else if (st == CT_OK && dict) {
        st = tree_build_dict(p, node, v, depth, err);
    }
    if (st != CT_OK) {
        cJSON_Delete(node);
        return st;
    }
    *out = node;
    return CT_OK;
}

/* ---- writing: cJSON's text -> ours ---- */

static ct_status
layout_newline(ct_buf *out, size_t depth, ct_err *err)
{
    ct_status st = ct_buf_reserve(out, 1 + 2 * depth, err);
    if (st == CT_OK) {
        out->data[out->len++] = '\n';
        memset(out->data + out->len, ' ', 2 * depth);
        out->len += 2 * depth;
    }
    return st;
}

/* Copies a string with its quotes; *at stands on the opening one. */
static ct_status
layout_string(ct_buf *out, const char *text, size_t *at, ct_err *err)
{
    size_t i = *at + 1;
    ct_status st = ct_buf_put(out, "\"", 1, err);
    while (st == CT_OK && text[i] != '"' && text[i] != '\0') {
        const uint8_t *p = (const uint8_t *)text + i;
        if (strncmp(text + i, "\\u0001", 6) == 0) { /* its second half always follows */
            st = put_u16_escape(out, text[i + 6] == '1' ? 1 : 0, err);
            i += 7;
        } else if (text[i] == '\\') {
            size_t take = text[i + 1] != '\0' ? 2 : 1;
            st = ct_buf_put(out, p, take, err);
            i += take;
        } else if (*p >= 0x7FU) {
            uint32_t cp;
            i += utf8_next(p, strnlen((const char *)p, 4), &cp);
            st = put_escape(out, cp, err);
        } else {
            size_t run = 1;
            while (p[run] >= 0x20U && p[run] < 0x7FU && p[run] != '"' &&
                   p[run] != '\\') {
                run++;
            }
            st = ct_buf_put(out, p, run, err);
            i += run;
        }
    }
    *at = text[i] == '"' ? i + 1 : i;
    return st == CT_OK ? ct_buf_put(out, "\"", 1, err) : st;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static ct_status
layout(ct_buf *out, const char *text, bool indent, ct_err *err)
{
    ct_status st = CT_OK;
    size_t depth = 0;
    size_t i = 0;
    while (st == CT_OK && text[i] != '\0') {
        char c = text[i];
        if (c == '"') {
            st = layout_string(out, text, &i, err);
            continue;
        }
        i++;
        if (is_space(c)) { /* only a ref's own text has any */
            continue;
        }
        bool closes = c == '}' || c == ']';
        if (closes && depth > 0) {
            depth--;
        }
        char open = c == '}' ? '{' : '[';
        bool empty = closes && out->len > 0 && out->data[out->len - 1] == (uint8_t)open;
        if (closes && indent && !empty) {
            st = layout_newline(out, depth, err);
        }
        if (st == CT_OK) {
            st = ct_buf_put(out, &c, 1, err);
        }
        if (st != CT_OK) {
            break;
        }
        if (c == '{' || c == '[') {
            depth++;
            while (is_space(text[i])) {
                i++;
            }
            if (indent && text[i] != '}' && text[i] != ']') {
                st = layout_newline(out, depth, err);
            }
        } else if (c == ',' && indent) {
            st = layout_newline(out, depth, err);
        } else if (c == ',' || c == ':') {
            st = ct_buf_put(out, " ", 1, err);
        }
    }
    return st;
}

ct_status
ct_json_print(ct_buf *out, const ct_value *v, const ct_names *names, int flags,
              ct_err *err)
{
    printer p = {names, (flags & CT_JSON_SORTED) != 0, CT_BUF_INIT};
    cJSON *tree = NULL;
    char *text = NULL;
    size_t start = out->len;
    ct_status st = tree_build(&p, &tree, v, 0, err);
    if (st != CT_OK) {
        goto done;
    }
    text = cJSON_PrintUnformatted(tree);
    if (text == NULL) {
        st = ct_fail_mem(err);
        goto done;
    }
    st = layout(out, text, (flags & CT_JSON_INDENT) != 0, err);
    if (st != CT_OK) {
        out->len = start;
    }
done:
    cJSON_free(text);
    cJSON_Delete(tree);
    ct_buf_deinit(&p.text);
    return st;
}

/* ---- reading: the scanner ---- */

typedef struct scanner {
    const uint8_t *text;
    size_t len;
    size_t at;
    ct_buf out; /* the same document, marked, for cJSON */
    size_t depth;
    uint8_t closer[JSON_DEPTH]; /* of each open container */
} scanner;

static ct_status
scan_fail(const scanner *s, const char *what, ct_err *err)
{
    return ct_fail(err, CT_ECORRUPT, "json", "not JSON at byte %zu: %s", s->at, what);
}

static int
scan_peek(const scanner *s)
{
    return s->at < s->len ? s->text[s->at] : -1;
}

static ct_status
put_char(ct_buf *out, int c, ct_err *err)
{
    return ct_buf_put_u8(out, (uint8_t)c, err);
}

static ct_status
put_mark(ct_buf *out, char what, ct_err *err)
{
    char mark[2] = {MARK, what};
    return ct_buf_put(out, mark, sizeof mark, err);
}

/* The number of a \uXXXX at p, or -1. */
static int32_t
hex_escape(const uint8_t *p, size_t left)
{
    if (left < 6 || p[0] != '\\' || p[1] != 'u') {
        return -1;
    }
    int32_t v = 0;
    for (size_t i = 2; i < 6; i++) {
        int c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        v = v * 16 + digit;
    }
    return v;
}

static ct_status
scan_escape(scanner *s, ct_err *err)
{
    const uint8_t *p = s->text + s->at;
    size_t left = s->len - s->at;
    size_t take = 2;
    if (left < 2 || memchr("\"\\/bfnrtu", p[1], 9) == NULL) {
        return scan_fail(s, "an unknown escape", err);
    }
    if (p[1] == 'u') {
        int32_t unit = hex_escape(p, left);
        if (unit < 0) {
            return scan_fail(s, "\\u needs four hexadecimal digits", err);
        }
        s->at += 6;
        if (unit <= MARK) {
            return put_mark(&s->out, unit == MARK ? '1' : '0', err);
        }
        take = 6;
        if (unit >= 0xD800 && unit < 0xE000) { /* half a pair stands for nothing */
            int32_t next = unit < 0xDC00 ? hex_escape(p + 6, left - 6) : -1;
            if (next < 0xDC00 || next >= 0xE000) {
                return ct_buf_puts(&s->out, "\\ufffd", err);
            }
            s->at += 6;
            take = 12;
        }
        return ct_buf_put(&s->out, p, take, err);
    }
    s->at += take;
    return ct_buf_put(&s->out, p, take, err);
}

static ct_status
scan_string(scanner *s, ct_err *err)
{
    size_t open = s->at++;
    ct_status st = put_char(&s->out, '"', err);
    while (st == CT_OK) {
        const uint8_t *p = s->text + s->at;
        size_t left = s->len - s->at;
        size_t run = plain_run(p, left);
        st = ct_buf_put(&s->out, p, run, err);
        s->at += run;
        if (st != CT_OK) {
            return st;
        }
        int c = scan_peek(s);
        if (c < 0) {
            s->at = open;
            return scan_fail(s, "this string has no end", err);
        }
        if (c == '"') {
            s->at++;
            return put_char(&s->out, '"', err);
        }
        if (c == '\\') {
            st = scan_escape(s, err);
        } else if (c < 0x20) {
            return scan_fail(s, "a control character in a string must be escaped", err);
        } else {
            uint32_t cp;
            p = s->text + s->at;
            size_t used = utf8_next(p, s->len - s->at, &cp);
            st = cp == REPLACEMENT ? ct_buf_puts(&s->out, "\\ufffd", err)
                                   : ct_buf_put(&s->out, p, used, err);
            s->at += used;
        }
    }
    return st;
}

static size_t
scan_digits(scanner *s)
{
    size_t start = s->at;
    while (s->at < s->len && s->text[s->at] >= '0' && s->text[s->at] <= '9') {
        s->at++;
    }
    return s->at - start;
}

/* Writes text[from, at) for cJSON, as a number or marked. */
static ct_status
put_number(scanner *s, size_t from, bool plain, ct_err *err)
{
    ct_status st = CT_OK;
    if (!plain) {
        st = put_char(&s->out, '"', err);
        if (st == CT_OK) {
            st = put_mark(&s->out, '#', err);
        }
    }
    if (st == CT_OK) {
        st = ct_buf_put(&s->out, s->text + from, s->at - from, err);
    }
    if (st == CT_OK && !plain) {
        st = put_char(&s->out, '"', err);
    }
    return st;
}

static ct_status
scan_number(scanner *s, ct_err *err)
{
    size_t from = s->at;
    if (scan_peek(s) == '-') {
        s->at++;
    }
    size_t first = s->at;
    size_t digits = scan_digits(s);
    if (digits == 0 || (digits > 1 && s->text[first] == '0')) {
        s->at = first;
        return scan_fail(s,
                         digits == 0 ? "a number needs a digit"
                                     : "a number must not begin with 0",
                         err);
    }
    bool plain = true;
    if (scan_peek(s) == '.') {
        s->at++;
        size_t point = s->at;
        size_t more = scan_digits(s);
        if (more == 0) {
            return scan_fail(s, "a digit must follow the point", err);
        }
        digits += more;
        plain = false;
        for (size_t i = point; i < s->at; i++) {
            plain = plain || s->text[i] != '0'; /* 1.0 would come back as an integer */
        }
    }
    if (scan_peek(s) == 'e' || scan_peek(s) == 'E') {
        s->at++;
        if (scan_peek(s) == '+' || scan_peek(s) == '-') {
            s->at++;
        }
        if (scan_digits(s) == 0) {
            return scan_fail(s, "an exponent needs a digit", err);
        }
        plain = false;
    }
    return put_number(s, from, plain && digits <= PLAIN_DIGITS, err);
}

static bool
scan_word(scanner *s, const char *word)
{
    size_t len = strlen(word);
    if (len > s->len - s->at || memcmp(s->text + s->at, word, len) != 0) {
        return false;
    }
    s->at += len;
    return true;
}

/* A value that is no container. */
static ct_status
scan_scalar(scanner *s, ct_err *err)
{
    static const char *const WORDS[] = {"true", "false", "null"};
    static const char *const NUMBERS[] = {"NaN", "Infinity", "-Infinity"};
    size_t from = s->at;
    int c = scan_peek(s);
    if (c == '"') {
        return scan_string(s, err);
    }
    for (size_t i = 0; i < 3; i++) {
        if (scan_word(s, WORDS[i])) {
            return ct_buf_puts(&s->out, WORDS[i], err);
        }
        if (scan_word(s, NUMBERS[i])) {
            return put_number(s, from, false, err);
        }
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return scan_number(s, err);
    }
    return scan_fail(
        s, c < 0 ? "it ends where a value is expected" : "expected a value", err);
}

typedef enum scan_state {
    WANT_VALUE,
    WANT_ITEM_OR_CLOSE, /* just after [ */
    WANT_KEY_OR_CLOSE,  /* just after { */
    WANT_KEY,
    WANT_NEXT, /* a comma or the closing bracket */
} scan_state;

static ct_status
scan_open(scanner *s, int c, ct_err *err)
{
    if (s->depth == JSON_DEPTH) {
        return ct_fail(err, CT_ECORRUPT, "json", "nested more than %d deep at byte %zu",
                       JSON_DEPTH, s->at);
    }
    s->closer[s->depth++] = c == '{' ? '}' : ']';
    s->at++;
    return put_char(&s->out, c, err);
}

static ct_status
scan_close(scanner *s, int c, ct_err *err)
{
    s->depth--;
    s->at++;
    return put_char(&s->out, c, err);
}

static void
scan_space(scanner *s)
{
    while (s->at < s->len && is_space((char)s->text[s->at])) {
        s->at++;
    }
}

static ct_status
scan_key(scanner *s, ct_err *err)
{
    if (scan_peek(s) != '"') {
        return scan_fail(s, "expected a key in double quotes", err);
    }
    ct_status st = scan_string(s, err);
    if (st != CT_OK) {
        return st;
    }
    scan_space(s);
    if (scan_peek(s) != ':') {
        return scan_fail(s, "expected a colon after the key", err);
    }
    s->at++;
    return put_char(&s->out, ':', err);
}

static ct_status
scan_step(scanner *s, scan_state *state, ct_err *err)
{
    int c = scan_peek(s);
    bool may_close = *state == WANT_NEXT || *state == WANT_ITEM_OR_CLOSE ||
                     *state == WANT_KEY_OR_CLOSE;
    if (may_close && c == s->closer[s->depth - 1]) {
        *state = WANT_NEXT;
        return scan_close(s, c, err);
    }
    if (*state == WANT_NEXT) {
        if (c != ',') {
            return scan_fail(s,
                             c < 0 ? "it ends within a list or dict"
                                   : "expected a comma or a closing bracket",
                             err);
        }
        *state = s->closer[s->depth - 1] == '}' ? WANT_KEY : WANT_VALUE;
        s->at++;
        return put_char(&s->out, ',', err);
    }
    if (*state == WANT_KEY || *state == WANT_KEY_OR_CLOSE) {
        *state = WANT_VALUE;
        return scan_key(s, err);
    }
    if (c == '{' || c == '[') {
        *state = c == '{' ? WANT_KEY_OR_CLOSE : WANT_ITEM_OR_CLOSE;
        return scan_open(s, c, err);
    }
    *state = WANT_NEXT;
    return scan_scalar(s, err);
}

/* Checks the document and writes its marked form, NUL-terminated. */
static ct_status
scan_document(scanner *s, ct_err *err)
{
    scan_state state = WANT_VALUE;
    do {
        scan_space(s);
        ct_status st = scan_step(s, &state, err);
        if (st != CT_OK) {
            return st;
        }
    } while (s->depth > 0);
    scan_space(s);
    if (s->at != s->len) {
        return scan_fail(s, "text follows the value", err);
    }
    return ct_buf_terminate(&s->out, err);
}

/* ---- reading: tree -> value ---- */

/* Resolves the marks of a string in place and gives its length. */
static size_t
unmark(char *s)
{
    char *first = strchr(s, MARK);
    if (first == NULL) {
        return strlen(s);
    }
    char *to = first;
    for (const char *from = first; *from != '\0'; from++) {
        if (*from == MARK) {
            from++;
            *to++ = *from == '1' ? MARK : '\0';
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return (size_t)(to - s);
}

/* strtod reads the locale's decimal point; JSON's is always a dot. */
static ct_status
parse_f64(const char *text, double *out, ct_err *err)
{
    const char *dot = strchr(text, '.');
    const char *point = localeconv()->decimal_point;
    if (dot == NULL || strcmp(point, ".") == 0) {
        *out = strtod(text, NULL);
        return CT_OK;
    }
    ct_buf b = CT_BUF_INIT;
    ct_status st = ct_buf_put(&b, text, (size_t)(dot - text), err);
    if (st == CT_OK) {
        st = ct_buf_puts(&b, point, err);
    }
    if (st == CT_OK) {
        st = ct_buf_puts(&b, dot + 1, err);
    }
    if (st == CT_OK) {
        st = ct_buf_terminate(&b, err);
    }
    if (st == CT_OK) {
        *out = strtod((const char *)b.data, NULL);
    }
    ct_buf_deinit(&b);
    return st;
}

/* The text of a marked number. An integer beyond int64 becomes a double. */
static ct_status
value_number(ct_value *out, const char *text, ct_err *err)
{
    if (strpbrk(text, ".eEN") == NULL && strchr(text, 'I') == NULL) {
        errno = 0;
        long long i = strtoll(text, NULL, 10);
        if (errno == 0) {
            *out = ct_i64(i);
            return CT_OK;
        }
    }
    double f = 0.0;
    ct_status st = CT_OK;
    if (*text == 'N') {
        f = NAN;
    } else if (strchr(text, 'I') != NULL) {
        f = *text == '-' ? -INFINITY : INFINITY;
    } else {
        st = parse_f64(text, &f, err);
    }
    *out = ct_f64(f);
    return st;
}

static ct_status value_take(ct_value *out, const cJSON *node, ct_names *names,
                            ct_err *err);

static ct_status
value_take_list(ct_value *list, const cJSON *node, ct_names *names, ct_err *err)
{
    for (const cJSON *child = node->child; child != NULL; child = child->next) {
        ct_value item = ct_nil();
        ct_status st = value_take(&item, child, names, err);
        if (st == CT_OK) {
            st = ct_value_push(list, &item, err);
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

/* Puts one entry; the last of repeated keys wins. seen maps keys to positions. */
static ct_status
value_take_entry(ct_value *dict, ct_map *seen, const cJSON *child, ct_names *names,
                 ct_err *err)
{
    ct_name key = CT_NAME_NONE;
    uint32_t at = 0;
    ct_value item = ct_nil();
    ct_status st =
        ct_names_intern(names, child->string, unmark(child->string), &key, err);
    if (st == CT_OK) {
        st = value_take(&item, child, names, err);
    }
    if (st != CT_OK) {
        return st;
    }
    if (dict->len < SMALL_DICT) {
        return ct_value_put(dict, key, &item, err);
    }
    bool first = seen->count == 0;
    for (uint32_t i = 0; first && st == CT_OK && i < dict->len; i++) {
        st = ct_map_put(seen, dict->u.entries[i].key, i, err);
    }
    if (st == CT_OK && ct_map_get(seen, key, &at)) {
        ct_value_deinit(&dict->u.entries[at].value);
        dict->u.entries[at].value = item;
        return CT_OK;
    }
    if (st == CT_OK) {
        st = ct_map_put(seen, key, dict->len, err);
    }
    if (st != CT_OK) {
        ct_value_deinit(&item);
        return st;
    }
    return base_value_append(dict, key, &item, err);
}

static ct_status
value_take_dict(ct_value *dict, const cJSON *node, ct_names *names, ct_err *err)
{
    ct_map seen = CT_MAP_INIT;
    ct_status st = CT_OK;
    for (const cJSON *c = node->child; st == CT_OK && c != NULL; c = c->next) {
        st = value_take_entry(dict, &seen, c, names, err);
    }
    ct_map_deinit(&seen);
    return st;
}

/* Turns a node into a value. *out is nil before, and after a failure. */
static ct_status
value_take(ct_value *out, const cJSON *node, ct_names *names, ct_err *err)
{
    ct_status st = CT_OK;
    if (cJSON_IsString(node)) {
        char *s = node->valuestring;
        if (s[0] == MARK && s[1] == '#') {
            return value_number(out, s + 2, err);
        }
        return ct_str(out, s, unmark(s), err);
    }
    if (cJSON_IsNumber(node)) { /* whole only if it was written as an integer */
        double f = node->valuedouble;
        *out = floor(f) == f ? ct_i64((int64_t)f) : ct_f64(f);
    } else if (cJSON_IsBool(node)) {
        *out = ct_bool(cJSON_IsTrue(node) != 0);
    } else if (cJSON_IsArray(node)) {
        *out = ct_list();
        st = value_take_list(out, node, names, err);
    } else if (cJSON_IsObject(node)) {
        *out = ct_dict();
        st = value_take_dict(out, node, names, err);
    }
    if (st != CT_OK) {
        ct_value_deinit(out);
    }
    return st;
}

ct_status
ct_json_parse(ct_value *out, const char *text, size_t len, ct_names *names, ct_err *err)
{
    scanner s = {.text = (const uint8_t *)text, .len = len, .out = CT_BUF_INIT};
    cJSON *tree = NULL;
    ct_value v = ct_nil();
    ct_status st = scan_document(&s, err);
    if (st != CT_OK) {
        goto done;
    }
    tree = cJSON_Parse((const char *)s.out.data);
    if (tree == NULL) {
        st = ct_fail_mem(err);
        goto done;
    }
    st = value_take(&v, tree, names, err);
    if (st == CT_OK) {
        *out = v;
    }
done:
    cJSON_Delete(tree);
    ct_buf_deinit(&s.out);
    return st;
}
