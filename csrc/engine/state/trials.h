/* trials.h: the trial table. Every trial's id, status, config and checkpoints.
 *
 * Ids are dense from 0 and never reused: other rooms index arrays by them. Only
 * control/ changes a trial; everyone else reads through board.h. */
#ifndef CT_STATE_TRIALS_H
#define CT_STATE_TRIALS_H

#include "base/ids.h"
#include "base/record.h"
#include "base/value.h"

typedef enum ct_trial_status {
    CT_TRIAL_PENDING,
    CT_TRIAL_RUNNING,
    CT_TRIAL_PAUSED,
    CT_TRIAL_TERMINATED,
    CT_TRIAL_ERROR,
    CT_TRIAL_STATUS_COUNT
} ct_trial_status;

/* Why a trial is TERMINATED. */
typedef enum ct_end {
    CT_END_NOT,
    CT_END_DONE,      /* it said so itself */
    CT_END_CRITERION, /* a stop condition about it */
    CT_END_SCHEDULER,
    CT_END_ALL /* with the experiment */
} ct_end;

const char *ct_trial_status_name(ct_trial_status s); /* "PENDING" */

typedef struct ct_checkpoint {
    char *path;       /* directory */
    uint32_t index;   /* checkpoint_%06d */
    double time;      /* when it was saved */
    uint8_t *metrics; /* packed record of the result it belongs to; may be NULL */
    uint32_t metrics_len;
    uint32_t pins; /* who else needs it: offers and trials that go on from it */
    bool bad;      /* nobody can go on from it: it is as if it were not there */
} ct_checkpoint;

/* One checkpoint of one trial. `trial` CT_TRIAL_NONE: none. */
typedef struct ct_checkpoint_ref {
    ct_trial_id trial;
    uint32_t index;
} ct_checkpoint_ref;

/* Read-only for everyone but control/. */
typedef struct ct_trial {
    char *id;        /* "a1b2c_00000" */
    char *tag;       /* experiment tag, "0_lr=0.1" */
    char *name;      /* "train_a1b2c_00000", or what trial_name_creator gave */
    char *dir;       /* absolute trial directory, or NULL until it is named */
    ct_value config; /* resolved */
    ct_value
        evaluated; /* dict "a/b" -> value of what was sampled; nil = all of config */
    uint8_t *last; /* packed record of the last result; NULL = none yet */
    uint32_t last_len;
    uint32_t last_cap;
    uint32_t request;          /* resources, an id of resources.h */
    uint32_t experiment;       /* number of its experiment */
    uint32_t results;          /* number of results taken */
    uint32_t failures;         /* so far */
    uint32_t told;             /* failures that observers heard of */
    uint32_t checkpoints_made; /* index of the next one */
    uint32_t checkpoint_count;
    ct_checkpoint *checkpoints; /* kept ones, oldest first; the last is the latest */
    ct_checkpoint_ref from; /* of another trial, which it goes on from until it saves */
    ct_checkpoint_ref offered; /* kept for others to exploit */
    uint32_t revision;         /* how often its config was replaced */
    int32_t worker_pid;
    double start_time;       /* first start; 0 = never */
    double last_result_time; /* 0 = never */
    char *error_file;        /* path of error.txt after a failure, else NULL */
    uint8_t status;          /* ct_trial_status */
    uint8_t end;             /* ct_end */
    bool replaced;           /* by a trial that began anew */
    bool stop_requested;
    bool offering; /* its next save is for others to exploit */
} ct_trial;

typedef struct ct_trials ct_trials;

ct_status ct_trials_new(ct_trials **out, ct_err *err);
void ct_trials_free(ct_trials *t);
/* Adds a pending trial; O(1) amortised. Takes *config and *evaluated (left nil) on
 * success only. Texts are copied; NULL is allowed for all but id. */
ct_status ct_trials_add(ct_trials *t, const char *id, const char *tag, ct_value *config,
                        ct_value *evaluated, ct_trial_id *out, ct_err *err);
size_t ct_trials_count(const ct_trials *t);
const ct_trial *ct_trials_get(const ct_trials *t, ct_trial_id id);   /* id must exist */
ct_trial *ct_trials_mut(ct_trials *t, ct_trial_id id);               /* control/ only */
ct_trial_id ct_trials_find(const ct_trials *t, const char *text_id); /* or NONE; O(1) */
/* The one place where a status changes: keeps the counts and the lists below. */
void ct_trials_set_status(ct_trials *t, ct_trial_id id, ct_trial_status s);
size_t ct_trials_with(const ct_trials *t, ct_trial_status s); /* how many */
/* Trials of one status in the order in which they entered the *table* (a requeued trial
 * moves to the end); NONE ends the walk. O(1) each. */
ct_trial_id ct_trials_first(const ct_trials *t, ct_trial_status s);
ct_trial_id ct_trials_next(const ct_trials *t, ct_trial_id id);
/* Moves a trial to the end of the table's order (retry). */
void ct_trials_requeue(ct_trials *t, ct_trial_id id);
/* Grows along the table's order. */
uint32_t ct_trials_place(const ct_trials *t, ct_trial_id id);
ct_status ct_trials_set_last(ct_trials *t, ct_trial_id id, const ct_record *r,
                             ct_err *err);
ct_status ct_trials_last(const ct_trials *t, ct_trial_id id, ct_record *out,
                         ct_err *err);
/* Takes *c on success. */
ct_status ct_trials_add_checkpoint(ct_trials *t, ct_trial_id id, ct_checkpoint *c,
                                   ct_err *err);
void ct_trials_drop_checkpoint(ct_trials *t, ct_trial_id id, uint32_t at);
void ct_checkpoint_deinit(ct_checkpoint *c);
/* What a trial would go on from now. */
ct_checkpoint_ref ct_trials_latest(const ct_trials *t, ct_trial_id id);
/* NULL when there is none (any more). */
const ct_checkpoint *ct_trials_checkpoint(const ct_trials *t, ct_checkpoint_ref ref);
/* Counts or discounts one who needs it. A ref to nothing is fine. */
void ct_trials_pin(ct_trials *t, ct_checkpoint_ref ref, bool pin);
/* Replaces the config, and what was sampled unless NULL: else that stays what it was.
 * Takes *config and *evaluated. */
void ct_trials_set_config(ct_trials *t, ct_trial_id id, ct_value *config,
                          ct_value *evaluated);
/* Replaces one of the owned texts (tag, name, dir, error_file): field = &trial->dir. */
ct_status ct_trial_set_text(char **field, const char *text, ct_err *err);
size_t ct_trials_bytes(const ct_trials *t); /* heap memory, for the benchmark */

#endif
