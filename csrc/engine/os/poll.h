/* poll.h: waiting for descriptors, with a time limit and a wake-up from other threads.
 *
 * A poller watches descriptors for one thread. Level-triggered: what is not read is
 * reported again. A signal ends a wait early, so that the caller can look at it. */
#ifndef CT_OS_POLL_H
#define CT_OS_POLL_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ct_poller ct_poller;

typedef struct ct_ready {
    uint32_t tag;  /* as given to add */
    bool readable; /* bytes, end of file or an error: a read will tell */
    bool writable;
} ct_ready;

ct_status ct_poller_new(ct_poller **out, ct_err *err);
void ct_poller_free(ct_poller *p);
/* Watches fd for reading. O(1) amortised. The caller keeps the descriptor. */
ct_status ct_poller_add(ct_poller *p, int fd, uint32_t tag, ct_err *err);
/* Whether to report that fd takes bytes; off at first. O(1). */
void ct_poller_want_write(ct_poller *p, int fd, bool on);
void ct_poller_remove(ct_poller *p, int fd); /* not watched is fine; O(1) */
/* Returns when something is ready, `timeout` seconds passed (< 0: no limit), a signal came
 * or wake was called since the last wait. Forgets what next has not fetched. */
ct_status ct_poller_wait(ct_poller *p, double timeout, ct_err *err);
/* The next ready descriptor of the last wait; removed ones are left out. */
bool ct_poller_next(ct_poller *p, ct_ready *out);
void ct_poller_wake(
    ct_poller *p); /* any thread, any number of times; also in handlers */

#endif
