/* json.h: value <-> JSON text. The only includer of cJSON.
 *
 * Integers are exact over all of int64 (cJSON keeps only doubles, so integers it would
 * round travel as marked strings between our scanner and its tree). NaN, Infinity and
 * -Infinity are written and read as Python's json module does. Text is written with
 * ASCII escapes and the separators ", " and ": ", as Python's json.dumps does by
 * default. */
#ifndef CT_BASE_JSON_H
#define CT_BASE_JSON_H

#include "base/bytes.h"
#include "base/name.h"
#include "base/value.h"

enum {
    CT_JSON_SORTED = 1, /* keys sorted by code point */
    CT_JSON_INDENT = 2, /* two spaces, as json.dumps(indent=2) */
};

/* Appends. Tuples print as lists, refs as the text they give. CT_EINVAL when nested
 * more than 500 deep. What is not UTF-8 prints as U+FFFD. */
ct_status ct_json_print(ct_buf *out, const ct_value *v, const ct_names *names,
                        int flags, ct_err *err);
/* On failure (CT_ECORRUPT) err names the byte offset. Depth is limited to 500. Integers
 * beyond int64 become doubles; of repeated keys the last wins; half a surrogate pair
 * and what is not UTF-8 become U+FFFD. */
ct_status ct_json_parse(ct_value *out, const char *text, size_t len, ct_names *names,
                        ct_err *err);
/* Appends a quoted, escaped string, the double (NaN, Infinity), as the hot writers
 * need. */
ct_status ct_json_put_str(ct_buf *out, const char *text, size_t len, ct_err *err);
ct_status ct_json_put_f64(ct_buf *out, double v, ct_err *err);

#endif
