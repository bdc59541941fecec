/* sim.h: workers that exist only in virtual time. Each command gets a duration; the answer
 * comes when the virtual clock reaches it. Faults are scripted: late, double, missing and
 * lost answers. The same controller as in production runs on it. */
#ifndef CT_EXEC_SIM_H
#define CT_EXEC_SIM_H

#include "base/clock.h"
#include "exec/exec.h"

typedef struct ct_sim_answer {
    double duration; /* seconds of virtual time */
    ct_event event;  /* kind, record, code, text…; trial and serial are filled in */
    bool lost;       /* never answered by itself: comes as LOST after duration */
    bool twice;      /* the same answer again right after */
    bool late_after_kill; /* the answer comes although the trial was killed meanwhile */
} ct_sim_answer;

typedef struct ct_sim_ops {
    /* Says how this command will end. The record it points to is copied. */
    ct_status (*plan)(void *ctx, const ct_command *c, double now, ct_sim_answer *out,
                      ct_err *err);
    void *ctx;
} ct_sim_ops;

ct_status ct_sim_new(ct_exec **out, const ct_sim_ops *ops, ct_virtual_clock *clock,
                     ct_err *err);

#endif
