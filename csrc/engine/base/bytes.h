/* bytes.h: a growable byte buffer, little-endian fields, varints, CRC-32C.
 *
 * Writers append to a ct_buf. Readers take bytes from a ct_reader, which never runs
 * past its end: after the first short read `bad` is set and every later read gives
 * 0. */
#ifndef CT_BASE_BYTES_H
#define CT_BASE_BYTES_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ct_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
} ct_buf;

#define CT_BUF_INIT {NULL, 0, 0}

void ct_buf_deinit(ct_buf *b);
void ct_buf_clear(ct_buf *b); /* len = 0, memory kept */
ct_status ct_buf_reserve(ct_buf *b, size_t extra, ct_err *err);
ct_status ct_buf_put(ct_buf *b, const void *data, size_t len, ct_err *err);
ct_status ct_buf_puts(ct_buf *b, const char *text, ct_err *err);
ct_status ct_buf_printf(ct_buf *b, ct_err *err, const char *fmt, ...) CT_PRINTF(3, 4);
ct_status ct_buf_put_u8(ct_buf *b, uint8_t v, ct_err *err);
ct_status ct_buf_put_u32(ct_buf *b, uint32_t v, ct_err *err); /* little endian */
ct_status ct_buf_put_u64(ct_buf *b, uint64_t v, ct_err *err);
ct_status ct_buf_put_f64(ct_buf *b, double v, ct_err *err); /* bits, NaN payload kept */
ct_status ct_buf_put_varint(ct_buf *b, uint64_t v, ct_err *err); /* LEB128 */
/* Varint length, then bytes. */
ct_status ct_buf_put_bytes(ct_buf *b, const void *data, size_t len, ct_err *err);
/* Adds a NUL that is not counted in len, so that data can be read as text. */
ct_status ct_buf_terminate(ct_buf *b, ct_err *err);
/* A double as the shortest text that reads back the same, in the form of Python's repr
 * (0.1, 1e-05, 1e+16, 3.0, nan, inf, -inf). Returns the length; out holds at least
 * 32. */
size_t ct_format_f64(double v, char *out);
/* An int64 in decimal. Returns the length; out holds at least 24. */
size_t ct_format_i64(int64_t v, char *out);

typedef struct ct_reader {
    const uint8_t *data;
    size_t len;
    size_t at;
    bool bad;
} ct_reader;

ct_reader ct_reader_of(const void *data, size_t len);
uint8_t ct_read_u8(ct_reader *r);
uint32_t ct_read_u32(ct_reader *r);
uint64_t ct_read_u64(ct_reader *r);
double ct_read_f64(ct_reader *r);
uint64_t ct_read_varint(ct_reader *r);
/* Borrowed bytes of a length-prefixed field; NULL and *len = 0 when bad. */
const uint8_t *ct_read_bytes(ct_reader *r, size_t *len);

uint32_t ct_crc32c(uint32_t crc, const void *data, size_t len); /* start with 0 */

#endif
