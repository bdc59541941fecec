/* inline.h: runs commands in this process and thread, through functions that the binding
 * lends. Steps of running trials take turns, one command between two waits, in order of
 * submission. */
#ifndef CT_EXEC_INLINE_H
#define CT_EXEC_INLINE_H

#include "exec/exec.h"

typedef struct ct_inline_ops {
    /* Carries out one command and fills *ev (kind, record, text…); what it points to lives
     * until the next call. Fails only when the run itself cannot go on. */
    ct_status (*run)(void *ctx, const ct_command *c, ct_event *ev, ct_err *err);
    void *ctx;
} ct_inline_ops;

ct_status ct_inline_new(ct_exec **out, const ct_inline_ops *ops, ct_err *err);

#endif
