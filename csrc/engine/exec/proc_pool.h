/* proc_pool.h: worker processes, one per running trial, forked by a clean helper process.
 *
 * The helper is started by exec (nothing of this process is inherited but its control
 * socket); for each worker the driver makes a socket pair and passes one end to the helper,
 * which forks. Frames of flow/codec travel on the worker's socket; the helper's control
 * socket tells pids and how workers ended. Everything dies with the driver: the helper sees
 * its control socket close and kills the workers' process groups.
 *
 * A helper that dies takes its workers along. The next START makes another one, unless
 * none has ever come so far as to load the payload, or several in a row died before any of
 * their workers had started: then each START fails with the reason. */
#ifndef CT_EXEC_PROC_POOL_H
#define CT_EXEC_PROC_POOL_H

#include "base/clock.h"
#include "exec/exec.h"

typedef struct ct_proc_pool_opts {
    const char *const *argv; /* helper's command line, NULL-terminated; the pool appends
                                the number of the control descriptor */
    const char *const
        *env; /* "NAME=value" to add or replace, NULL-terminated; or NULL */
    const uint8_t
        *payload; /* sent first on the control socket: the pickled trainable. Borrowed
                     until the pool is closed: a new helper gets it again */
    size_t payload_len;
    int payload_fd; /* goes with it, and stays the caller's; -1 = none */
    ct_names *names;
    ct_clock *clock;      /* NULL: the machine's */
    double start_timeout; /* seconds until a helper that says nothing is an error */
    double work_limit; /* seconds that a worker may take for any command but STOP; it is
                          killed then and LOST says why. 0 = no limit */
} ct_proc_pool_opts;

ct_status ct_proc_pool_new(ct_exec **out, const ct_proc_pool_opts *opts, ct_err *err);

#endif
