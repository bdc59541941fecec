/* tag.h: values as they appear in experiment tags ("0_fail=0,y=1,x=0.2516"): floats
 * with four decimals, anything else as Python's str() writes it, each run of characters
 * outside A-Z a-z 0-9 _ - made one underscore, none at either end. */
#ifndef CT_SPACE_TAG_H
#define CT_SPACE_TAG_H

#include "base/bytes.h"
#include "base/value.h"
#include "space/space.h"

/* Appends the cleaned text. */
ct_status ct_tag_clean(ct_buf *out, const char *text, size_t len, ct_err *err);
/* Appends the cleaned value. s (may be NULL) has the texts of objects and the names. */
ct_status ct_tag_value(ct_buf *out, const ct_value *v, const ct_space *s, ct_err *err);
/* Appends Python's repr() of the value; s must not be NULL if v holds a dict. */
ct_status ct_tag_repr(ct_buf *out, const ct_value *v, const ct_space *s, ct_err *err);
/* "%.4f", exactly rounded, without the cost of printf for usual sizes. out holds at
 * least 320 bytes. Returns the length. */
size_t ct_format_fixed4(double v, char *out);

#endif
