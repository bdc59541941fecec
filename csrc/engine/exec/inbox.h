/* inbox.h: events posted from other threads (a Python executor's, a signal handler's). The
 * only door into a drive from outside its thread. Events are copied in encoded form. */
#ifndef CT_EXEC_INBOX_H
#define CT_EXEC_INBOX_H

#include "exec/exec.h"

typedef struct ct_inbox ct_inbox;

ct_status ct_inbox_new(ct_inbox **out, ct_names *names, ct_err *err);
void ct_inbox_free(ct_inbox *i);
/* Any thread. The bytes are whole frames, and a stream of their own: the sender's encoder
 * uses the sender's name table and starts anew (ct_encoder_restart) for each post. */
ct_status ct_inbox_post(ct_inbox *i, const void *frames, size_t len, ct_err *err);
ct_status ct_inbox_wait(ct_inbox *i, double timeout, ct_err *err);
/* Driving thread only; *out lives until the next take after a wait. */
ct_status ct_inbox_take(ct_inbox *i, ct_event *out, bool *got, ct_err *err);
void ct_inbox_wake(ct_inbox *i);

#endif
