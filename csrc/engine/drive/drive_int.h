/* drive_int.h: what the files of this room share. */
#ifndef CT_DRIVE_INT_H
#define CT_DRIVE_INT_H

#include "drive/drive.h"

#include <stdatomic.h>

struct ct_drive {
    ct_drive_opts opts;
    atomic_int interrupt; /* level asked for */
    int interrupt_seen;
    double interrupt_time;
    double last_tick;
    double last_commit;
    uint64_t turns;
    int idle_turns; /* simulated ones, in a row, in which nothing was done */
    bool resumes;   /* the run goes on from a journal */
};

#endif
