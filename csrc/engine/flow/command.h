/* command.h: work to be done. Every command is answered by exactly one event of the
 * same serial; LOST answers all commands that are open for that trial's worker. */
#ifndef CT_FLOW_COMMAND_H
#define CT_FLOW_COMMAND_H

#include "base/ids.h"
#include "base/value.h"

#define CT_COMMAND_LIST(X)                                                             \
    X(START)   /* make a worker with this config; restore `checkpoint` if not NULL */  \
    X(STEP)    /* one training iteration */                                            \
    X(SAVE)    /* write a checkpoint with number `index` below `trial_dir` */          \
    X(RESTORE) /* load `checkpoint` */                                                 \
    X(RESET)   /* give the worker of trial `from` to this trial; fields as START */    \
    X(EXPORT)                                                                          \
    X(STOP) /* end the worker in an orderly way */                                     \
    X(KILL) /* end it at once */

typedef enum ct_command_kind {
#define CT_COMMAND_ENUM(kind) CT_COMMAND_##kind,
    CT_COMMAND_LIST(CT_COMMAND_ENUM)
#undef CT_COMMAND_ENUM
        CT_COMMAND_COUNT
} ct_command_kind;

/* Borrowed from the controller until its next feed. START and RESET use all
 * fields, SAVE trial_dir and index; the others only kind, trial and serial. */
typedef struct ct_command {
    ct_command_kind kind;
    ct_trial_id trial;
    ct_trial_id from; /* RESET */
    uint64_t serial;
    uint32_t index;            /* number of the next checkpoint */
    uint64_t upto;             /* START: step without telling until this iteration */
    const ct_value *config;    /* START, RESET */
    const char *checkpoint;    /* directory to restore from, or NULL */
    const char *trial_id;      /* text id, "a1b2c_00000" */
    const char *trial_name;    /* "train_a1b2c_00000" */
    const char *trial_dir;     /* absolute; exists; NULL without storage */
    const char *experiment;    /* experiment name */
    const char *trainable;     /* what to train; NULL when there is only one */
    const ct_value *resources; /* dict name -> amount */
} ct_command;

const char *ct_command_name(ct_command_kind kind); /* "STEP" */

#endif
