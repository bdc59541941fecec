/* event.h: what happened. Events are the controller's only input.
 *
 * An event is a flat struct; the comment of each kind names the fields that it uses.
 * Pointers are borrowed from whoever made the event (an executor: until its next
 * wait). */
#ifndef CT_FLOW_EVENT_H
#define CT_FLOW_EVENT_H

#include "base/ids.h"
#include "base/record.h"

/* X(kind): with work, the event answers the command of the same serial. */
#define CT_EVENT_LIST(X)                                                               \
    X(STARTED)      /* text = host name, path = node ip, code = pid */                 \
    X(START_FAILED) /* text = traceback, blob = pickled exception */                   \
    X(RESULT)       /* record; path = checkpoint persisted with it, or NULL */         \
    X(SAVED)        /* path = checkpoint directory, or NULL when nothing was saved */  \
    X(SAVE_FAILED)  /* text, blob */                                                   \
    X(RESTORED)                                                                        \
    X(RESTORE_FAILED) /* text, blob */                                                 \
    X(RESET)          /* the worker serves the trial now; fields as STARTED */         \
    X(RESET_REFUSED)  /* reset_config answered False */                                \
    X(EXPORTED)                                                                        \
    X(STOPPED)                                                                         \
    X(FAILED)   /* text = traceback, blob = pickled exception */                       \
    X(LOST)     /* the worker is gone: code = signal, or -(exit code); text */         \
    X(CAPACITY) /* blob = packed resources */                                          \
    X(ANSWER)   /* blob = what a foreign policy said (policy/answers) */               \
    X(TICK)                                                                            \
    X(INTERRUPT) /* code 1 = stop gracefully, 2 = at once */                           \
    X(BUDGET_OVER)                                                                     \
    X(RUN) /* code = ct_run_code; text = the settings of the run, JSON */

/* What a RUN event says. */
typedef enum ct_run_code {
    CT_RUN_BEGINS,
    CT_RUN_GOES_ON, /* after a cut */
    CT_RUN_IS       /* a segment behind a snapshot begins: nothing has changed */
} ct_run_code;

typedef enum ct_event_kind {
#define CT_EVENT_ENUM(kind) CT_EVENT_##kind,
    CT_EVENT_LIST(CT_EVENT_ENUM)
#undef CT_EVENT_ENUM
        CT_EVENT_COUNT
} ct_event_kind;

typedef struct ct_event {
    ct_event_kind kind;
    ct_trial_id trial; /* CT_TRIAL_NONE when about the experiment */
    uint64_t serial;   /* of the command that this answers; 0 = none */
    double time;       /* seconds since the epoch; stamped by the drive if 0 */
    int32_t code;
    ct_record *record; /* the controller sets `done` in it when it stops the trial */
    const char *text;
    size_t text_len;
    const char *path;
    size_t path_len;
    const uint8_t *blob;
    size_t blob_len;
} ct_event;

const char *ct_event_name(ct_event_kind kind); /* "RESULT" */

#endif
