/* base_int.h: what files of this room share, and what their tests compare. */
#ifndef CT_BASE_BASE_INT_H
#define CT_BASE_BASE_INT_H

#include "base/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The two ways of ct_crc32c. Without the instruction, the second is the first. */
uint32_t base_crc32c_tables(uint32_t crc, const void *data, size_t len);
uint32_t base_crc32c_sse42(uint32_t crc, const void *data, size_t len);
bool base_crc32c_has_sse42(void);

/* Adds an entry whose key is known to be new, without looking. Takes *item. */
ct_status base_value_append(ct_value *dict, ct_name key, ct_value *item, ct_err *err);

#endif
