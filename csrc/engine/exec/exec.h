/* exec.h: the contract of executors: commands in, events out.
 *
 * Any number of commands may run at once for different trials, at most one for the same
 * trial. Each command is answered by exactly one event; LOST answers all that are open for
 * that worker. STOP and KILL free the worker: no event of it follows their answer. */
#ifndef CT_EXEC_EXEC_H
#define CT_EXEC_EXEC_H

#include "flow/command.h"
#include "flow/event.h"

typedef struct ct_exec ct_exec;
typedef struct ct_exec_ops {
    const char *name;
    /* Commands are carried out in this process: what they did dies with it. */
    bool local;
    /* Takes a copy of what it needs. Fails only when the executor itself is broken; what
     * goes wrong with a trial comes back as an event. */
    ct_status (*submit)(ct_exec *e, const ct_command *c, ct_err *err);
    /* Returns when poll has something, `timeout` seconds passed (< 0: no limit) or wake was
     * called. Touches no Python object: called without the GIL. */
    ct_status (*wait)(ct_exec *e, double timeout, ct_err *err);
    /* Takes the next event, if any. What it points to lives until the next wait. */
    ct_status (*poll)(ct_exec *e, ct_event *out, bool *got, ct_err *err);
    void (*wake)(ct_exec *e); /* from any thread */
    /* Ends all workers (orderly for up to grace seconds, then by force). */
    ct_status (*close)(ct_exec *e, double grace, ct_err *err);
    void (*free)(ct_exec *e); /* closes at once if still open */
} ct_exec_ops;
struct ct_exec {
    const ct_exec_ops *ops;
};

#endif
