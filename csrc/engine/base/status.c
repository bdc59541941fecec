/* status.c: filling a ct_err.
 *
 * The text is cut to its field on a character boundary: it is UTF-8 on its way to
 * Python, and half a character would hide the whole message behind a decoding error. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Drops a UTF-8 sequence that the end of the text cuts in two. */
static void
trim_partial(char *text)
{
    size_t len = strlen(text);
    size_t i = len;
    while (i > 0 && len - i < 3 && ((unsigned char)text[i - 1] & 0xC0U) == 0x80U) {
        i--;
    }
    if (i == 0) {
        return;
    }
    unsigned char lead = (unsigned char)text[i - 1];
    size_t want = lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : lead >= 0xC0U ? 2 : 1;
    if (want > len - (i - 1)) {
        text[i - 1] = '\0';
    }
}

static void
err_vset(ct_err *err, ct_status code, const char *param, const char *fmt, va_list args)
{
    err->code = code;
    err->os_errno = 0;
    (void)snprintf(err->param, sizeof err->param, "%s", param != NULL ? param : "");
    int len = vsnprintf(err->text, sizeof err->text, fmt, args);
    if (len < 0) {
        err->text[0] = '\0';
    }
    trim_partial(err->param);
    trim_partial(err->text);
}

ct_status
ct_fail(ct_err *err, ct_status code, const char *param, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        err_vset(err, code, param, fmt, args);
        va_end(args);
    }
    return code;
}

ct_status
ct_fail_os(ct_err *err, int os_errno, const char *file, const char *fmt, ...)
{
    if (err == NULL) {
        return CT_EIO;
    }
    va_list args;
    va_start(args, fmt);
    err_vset(err, CT_EIO, file, fmt, args);
    va_end(args);
    err->os_errno = os_errno;
    size_t len = strlen(err->text);
    (void)snprintf(err->text + len, sizeof err->text - len, ": %s", strerror(os_errno));
    trim_partial(err->text);
    return CT_EIO;
}

ct_status
ct_fail_mem(ct_err *err)
{
    return ct_fail(err, CT_ENOMEM, "", "out of memory");
}

const char *
ct_status_name(ct_status code)
{
    switch (code) {
#define STATUS_CASE(name, meaning)                                                     \
    case CT_##name:                                                                    \
        return "CT_" #name;
        CT_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    case CT_STATUS_COUNT:
        break;
    }
    return "CT_UNKNOWN";
}
