/* note.h: what observers hear (output writers, Python callbacks, the display). Notes
 * leave after the journal holds the turn's events. Pointers live until the next
 * feed. */
#ifndef CT_FLOW_NOTE_H
#define CT_FLOW_NOTE_H

#include "base/ids.h"
#include "base/record.h"

#define CT_NOTE_LIST(X)                                                                \
    X(TRIAL_ADDED)                                                                     \
    X(TRIAL_STARTED) /* its worker runs (again) */                                     \
    X(RESULT)        /* record, with the final value of `done` */                      \
    X(CHECKPOINT)    /* path: a new checkpoint; then SAVED */                          \
    X(SAVED)                                                                           \
    X(CHECKPOINT_DROP) /* path: retention gave this checkpoint up: delete it */        \
    X(TRIAL_PAUSED)                                                                    \
    X(TRIAL_EXPLOITED) /* it got another config and goes on from trial `code` */       \
    X(TRIAL_COMPLETE)                                                                  \
    X(TRIAL_RECOVER) /* failed, will be tried again */                                 \
    X(TRIAL_ERROR)   /* failed for good */                                             \
    X(TRIAL_FAILURE) /* every failure, before the two above: text, blob, code =      \
                          number of this failure, counted from 1 */ \
    X(EXPERIMENT_END)

typedef enum ct_note_kind {
#define CT_NOTE_ENUM(kind) CT_NOTE_##kind,
    CT_NOTE_LIST(CT_NOTE_ENUM)
#undef CT_NOTE_ENUM
        CT_NOTE_COUNT
} ct_note_kind;

typedef struct ct_note {
    ct_note_kind kind;
    ct_trial_id trial;
    double time;
    int32_t code;
    const ct_record *record;
    const char *path;
    const char *text;
    size_t text_len;
    const uint8_t *blob;
    size_t blob_len;
} ct_note;

const char *ct_note_name(ct_note_kind kind);

#endif
