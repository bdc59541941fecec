/* proc_helper.h: the helper's side of proc_pool: takes orders to fork, reaps, kills.
 *
 * The forking itself is the caller's (an interpreter has work to do around it):
 *
 *     ct_helper_new; ct_helper_payload; (load it); ct_helper_loaded or _unloadable;
 *     while ct_helper_next gives a worker:
 *         pid = fork()
 *         child: ct_helper_become_worker, then serve the socket
 *         parent: ct_helper_forked
 *
 * Single-threaded, and the only user of SIGCHLD and SIGHUP in its process. */
#ifndef CT_EXEC_PROC_HELPER_H
#define CT_EXEC_PROC_HELPER_H

#include "base/bytes.h"
#include "os/proc.h"

#include <stdbool.h>

typedef struct ct_helper ct_helper;

/* Turns this process, started by the pool, into its helper. Closes all it has inherited
 * but the descriptor `keep`, or -1. */
ct_status ct_helper_new(ct_helper **out, int control, int keep, ct_err *err);
void ct_helper_free(ct_helper *h);
/* Waits for the payload and replaces *out by it; *fd is the caller's, -1 if none came with
 * it. *end: the driver is gone. */
ct_status ct_helper_payload(ct_helper *h, ct_buf *out, int *fd, bool *end, ct_err *err);
void ct_helper_loaded(ct_helper *h);
void ct_helper_unloadable(ct_helper *h, const char *text, size_t len);
/* Waits for an order to fork: the worker's number and its socket, now the caller's. Reaps
 * and kills meanwhile. *end: the driver is gone and so are all workers. */
ct_status ct_helper_next(ct_helper *h, uint32_t *worker, int *fd, bool *end,
                         ct_err *err);
/* pid of the new worker, or -errno of the fork that failed. */
ct_status ct_helper_forked(ct_helper *h, uint32_t worker, pid_t pid, ct_err *err);
/* In the child: closes the control socket, frees h. False: the helper is gone already. */
bool ct_helper_become_worker(ct_helper *h);

#endif
