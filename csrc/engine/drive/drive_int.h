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
    int idle_turns;         /* simulated ones, in a row, in which nothing was done */
    bool resumes;           /* the run goes on from a journal */
    bool segment_begins;    /* the next turn tells the settings in it */
    uint64_t snapshot_at;   /* bytes of the segment at which one is due; 0 = never */
    ct_err snapshot_failed; /* code CT_OK: none did, or it was told */
    ct_err snapshot_told;
    bool snapshot_complains; /* one failed and none has succeeded since */
};

#endif
