/* control.h: the controller: a state machine that does no I/O.
 *
 * It is fed events and hands back commands (work for the executor) and notes (for
 * observers). One turn:
 *
 *     ct_control_begin → ct_control_feed (each event) → ct_control_settle
 *     → [the caller commits the journal] → next_command…, next_note…
 *
 * It is the only writer of state/. It reads no clock: time comes with the events. What a
 * policy answers within a turn follows from the policy's state and the events, so feeding
 * the same events again gives the same commands. */
#ifndef CT_CONTROL_CONTROL_H
#define CT_CONTROL_CONTROL_H

#include "flow/codec.h"
#include "flow/command.h"
#include "flow/event.h"
#include "flow/note.h"
#include "policy/policy.h"
#include "state/board.h"

typedef enum ct_fail_fast {
    CT_FAIL_GO_ON, /* a failed trial does not touch the others */
    CT_FAIL_FAST,  /* the first failed trial stops the experiment */
    CT_FAIL_RAISE  /* the first failure ends the run with the trial's exception */
} ct_fail_fast;

typedef struct ct_checkpoint_policy {
    uint32_t frequency;   /* class trainables: every so many iterations; 0 = never */
    bool at_end;          /* class trainables: when a trial ends */
    uint32_t num_to_keep; /* per trial; 0 = all */
    ct_name score;        /* metric that ranks checkpoints; NONE = by age */
    bool score_min;       /* smaller is better */
} ct_checkpoint_policy;

/* What the trials of one experiment have in common. */
typedef struct ct_experiment {
    const char *name;
    const char *dir;         /* absolute; NULL = nothing is stored, in none of them */
    const char *trainable;   /* its name */
    const ct_value *request; /* default of a trial, dict name -> amount */
    int64_t max_failures;    /* retries per trial; < 0 = no limit */
    bool exports;            /* trials that end well export before their worker goes */
} ct_experiment;

typedef struct ct_control_opts {
    ct_names *names;         /* begins with base/keys.h */
    ct_scheduler *scheduler; /* policies are borrowed and must outlive the controller */
    ct_searcher *searcher;
    ct_stopper *stopper;              /* NULL = none */
    const ct_value *resources;        /* totals, dict name -> amount */
    const ct_experiment *experiments; /* numbered as suggestions say */
    size_t n_experiments;             /* at least 1 */
    uint32_t max_pending;             /* trials made ahead of their start; at least 1 */
    uint32_t max_dirname;             /* bytes of a directory name before its date */
    ct_fail_fast fail_fast;
    bool reuse_workers;
    ct_checkpoint_policy checkpoint;
    const ct_name *required; /* metrics that every result must hold */
    size_t n_required;
    double force_stop_s;      /* a worker that stops longer than this is killed */
    uint32_t restore_retries; /* failed restores that are no failures, per checkpoint */
    ct_trial_hooks hooks;
    ct_foreign_state foreign;
} ct_control_opts;

typedef struct ct_control ct_control;

/* Errors: CT_EINVAL naming the option. Texts and values are copied. */
ct_status ct_control_new(ct_control **out, const ct_control_opts *opts, ct_err *err);
void ct_control_free(ct_control *c);

/* Starts a turn: forgets the last one's commands and notes. */
void ct_control_begin(ct_control *c);
/* Takes one event. Late answers to abandoned commands are dropped. An error ends the run:
 * a policy failed, a required metric is missing, or fail_fast is CT_FAIL_RAISE. */
ct_status ct_control_feed(ct_control *c, const ct_event *ev, ct_err *err);
/* Ends the turn: carries out orders, asks the searcher, starts trials. */
ct_status ct_control_settle(ct_control *c, double now, ct_err *err);
/* The turn's commands and notes, in order; false at the end. Borrowed until begin. */
bool ct_control_next_command(ct_control *c, ct_command *out);
bool ct_control_next_note(ct_control *c, ct_note *out);
/* The kinds among the turn's notes, a bit for each ct_note_kind. */
uint32_t ct_control_note_kinds(const ct_control *c);
/* Whether the turn has made any command or note. */
bool ct_control_acted(const ct_control *c);

/* Every trial has ended, no worker is left and no trial will come. */
bool ct_control_done(const ct_control *c);
/* Commands that are not answered yet. */
size_t ct_control_open(const ct_control *c);
/* Whether the search waits although nothing runs: ask again after a moment. */
bool ct_control_idle(const ct_control *c);
/* Replaces *out by why nothing runs, NUL-terminated: which trials wait for which resource,
 * the scheduler or the searcher. Nothing if some worker is at work. O(trials). */
ct_status ct_control_explain(const ct_control *c, ct_buf *out, ct_err *err);
bool ct_control_interrupted(const ct_control *c);
/* Some trial failed for good and fail_fast is set. */
bool ct_control_failed_fast(const ct_control *c);
ct_names *ct_control_names(const ct_control *c); /* lends the table it was made with */
/* Lends the view of trials, metrics and resources. */
const ct_board *ct_control_board(const ct_control *c);
ct_metrics *ct_control_metrics(ct_control *c);
/* The directory of an experiment; NULL behind the last one, or if nothing is stored. */
const char *ct_control_dir(const ct_control *c, size_t number);
/* Asks to stop one trial or (CT_TRIAL_NONE) the experiment; takes effect in settle. */
ct_status ct_control_stop(ct_control *c, ct_trial_id t, ct_err *err);
/* Between two turns: everything that later turns depend on but the settings, as a
 * document for a snapshot: "state" is a string of bytes, "objects" another one of pickles, if
 * there are any; the rest is for people. Errors: CT_EUNSUPPORTED when a policy cannot be saved; CT_EINVAL when an object
 * in a config has no pickle; CT_EFOREIGN. */
ct_status ct_control_save(ct_control *c, ct_value *out, ct_err *err);
/* Puts a new controller, of the same experiments and policies, where that one was; it is of
 * no use after an error. `objects` makes objects from their pickles. */
ct_status ct_control_load(ct_control *c, const ct_value *saved, ct_ref_reader objects,
                          ct_err *err);

#endif
