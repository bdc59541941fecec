/* status.h: what every fallible function of the engine returns, and ct_err.
 *
 * A function that can fail returns ct_status and, on failure, fills the caller's
 * ct_err once, where the cause is known; callers pass it up untouched. */
#ifndef CT_BASE_STATUS_H
#define CT_BASE_STATUS_H

#include <stddef.h>

/* X(code, meaning). The binding maps each code to one Python exception class. */
#define CT_STATUS_LIST(X)                                                              \
    X(OK, "no error")                                                                  \
    X(ENOMEM, "out of memory")                                                         \
    X(EINVAL, "a parameter has a value that cannot be used")                           \
    X(ETYPE, "a parameter has the wrong type")                                         \
    X(ENOTFOUND, "a name, key or file does not exist")                                 \
    X(ESTATE, "the call is not allowed in the present state")                          \
    X(EIO, "the operating system refused")                                             \
    X(ECORRUPT, "a file or frame is damaged")                                          \
    X(ERECURSIVE, "a value depends on one that is not resolved yet")                   \
    X(EUNSUPPORTED, "this is not implemented")                                         \
    X(ETUNE, "the experiment cannot go on")                                            \
    X(EFOREIGN, "a Python exception is set and explains it")

typedef enum ct_status {
#define CT_STATUS_ENUM(code, meaning) CT_##code,
    CT_STATUS_LIST(CT_STATUS_ENUM)
#undef CT_STATUS_ENUM
        CT_STATUS_COUNT
} ct_status;

/* One failure. A plain struct on the caller's stack; nothing to free. */
typedef struct ct_err {
    ct_status code;
    int os_errno;    /* errno when code is CT_EIO, else 0 */
    char param[256]; /* the parameter, key or file at fault; may be "" */
    char text[640];  /* one sentence with the value seen and the remedy */
} ct_err;

#define CT_ERR_INIT {CT_OK, 0, "", ""}

#if defined(__GNUC__)
#define CT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CT_PRINTF(fmt, args)
#endif

/* Fills *err (may be NULL) and returns code, so that `return ct_fail(...)` reads
 * well. */
ct_status ct_fail(ct_err *err, ct_status code, const char *param, const char *fmt, ...)
    CT_PRINTF(4, 5);

/* The same for a system call that failed: adds strerror(os_errno). Code CT_EIO. */
ct_status ct_fail_os(ct_err *err, int os_errno, const char *file, const char *fmt, ...)
    CT_PRINTF(4, 5);

/* Out of memory, in one place. */
ct_status ct_fail_mem(ct_err *err);

/* "CT_EINVAL" and the like; never NULL. */
const char *ct_status_name(ct_status code);

#endif
