/* fuzz.h: what a fuzz target offers.
 *
 * A target takes any bytes and aborts when a reader breaks its word; the sanitizers
 * watch the rest. It links with libFuzzer, or with driver.c, which replays files and
 * mutates the target's own seeds with a fixed stream, so that every build runs the same
 * inputs. */
#ifndef CT_TEST_FUZZ_H
#define CT_TEST_FUZZ_H

#include "base/bytes.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Appends the i-th valid input; CT_ENOTFOUND behind the last. */
ct_status fuzz_seed(ct_buf *out, unsigned i, ct_err *err);

/* An invariant; unlike assert it also holds in builds with NDEBUG. */
#define FUZZ_CHECK(cond)                                                               \
    do {                                                                               \
        if (!(cond)) {                                                                 \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);           \
            abort();                                                                   \
        }                                                                              \
    } while (0)

#endif
