/* support.h: what every C test includes. */
#ifndef CT_TEST_SUPPORT_H
#define CT_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/status.h"

/* Expects CT_OK and shows the error's text otherwise. */
#define assert_ok(expr, err)                                                           \
    do {                                                                               \
        ct_status support_st_ = (expr);                                                \
        if (support_st_ != CT_OK) {                                                    \
            fail_msg("%s: %s: %s %s", #expr, ct_status_name(support_st_), (err).param, \
                     (err).text);                                                      \
        }                                                                              \
    } while (0)

/* Runs `attempt(ctx, &err)` with the 1st, 2nd, 3rd… allocation failing until it passes
 * without a failure. Each failed try must answer CT_ENOMEM and leak nothing. The attempt
 * cleans up after itself in every case. */
static inline void
sweep_allocations(ct_status (*attempt)(void *ctx, ct_err *err), void *ctx)
{
    for (uint64_t n = 1;; n++) {
        ct_err err = CT_ERR_INIT;
        int64_t live = ct_mem_live();
        ct_mem_fail_at(n);
        ct_status st = attempt(ctx, &err);
        int hit = ct_mem_failed();
        ct_mem_fail_at(0);
        assert_int_equal(ct_mem_live(), live);
        if (!hit) {
            assert_int_equal(st, CT_OK);
            return;
        }
        assert_int_equal(st, CT_ENOMEM);
    }
}

#endif
