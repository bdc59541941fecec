/* policy.h: the three contracts, and what else only the binding knows. A policy answers
 * questions at once; it does no work.
 *
 * Native policies are C and deterministic from their own state, their seed and the events.
 * Foreign ones (a Python subclass behind the binding's adapter) set `foreign`: what they
 * say is recorded, and recovery goes by the record. */
#ifndef CT_POLICY_POLICY_H
#define CT_POLICY_POLICY_H

#include "policy/orders.h"
#include "state/board.h"

typedef enum ct_verdict { CT_CONTINUE, CT_PAUSE, CT_STOP, CT_NOOP } ct_verdict;

typedef struct ct_scheduler ct_scheduler;
typedef struct ct_scheduler_ops {
    const char *name;
    bool foreign;
    bool supports_buffering;
    ct_status (*on_add)(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                        ct_orders *orders, ct_err *err);
    ct_status (*on_result)(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                           const ct_result *r, ct_verdict *out, ct_orders *orders,
                           ct_err *err);
    /* A running trial is being stopped; r = its last result. */
    ct_status (*on_complete)(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                             const ct_result *r, ct_orders *orders, ct_err *err);
    ct_status (*on_error)(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                          ct_orders *orders, ct_err *err);
    /* A pending or paused trial is being stopped. */
    ct_status (*on_remove)(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                           ct_orders *orders, ct_err *err);
    /* The trial to start next, or CT_TRIAL_NONE. Asking changes nothing. */
    ct_status (*choose)(ct_scheduler *s, const ct_board *b, ct_trial_id *out,
                        ct_orders *orders, ct_err *err);
    /* An EXPLOIT order was carried out, or was not: what was offered could not be saved,
     * or the trial ended meanwhile. `note` is the third part of the order's value. May be
     * NULL. */
    ct_status (*on_exploited)(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                              ct_trial_id source, bool done, const ct_value *note,
                              ct_err *err);
    ct_status (*save)(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err);
    ct_status (*restore)(ct_scheduler *s, ct_names *names, const ct_value *v,
                         ct_err *err);
    /* The debug string. */
    ct_status (*describe)(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err);
    void (*free)(ct_scheduler *s);
} ct_scheduler_ops;
struct ct_scheduler {
    const ct_scheduler_ops *ops;
};

/* For notices that a scheduler does not care about: on_add, on_error, on_remove. */
ct_status ct_scheduler_ignore(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                              ct_orders *orders, ct_err *err);
/* The same for on_complete. */
ct_status ct_scheduler_ignore_end(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                                  const ct_result *r, ct_orders *orders, ct_err *err);

typedef enum ct_search_state {
    CT_SEARCH_TRIAL,   /* *out holds a new trial */
    CT_SEARCH_WAIT,    /* nothing now, ask again after the next event */
    CT_SEARCH_FINISHED /* never again */
} ct_search_state;

/* A new trial as a searcher hands it over; the taker deinits it. */
typedef struct ct_suggestion {
    char *id;            /* text id */
    char *tag;           /* experiment tag */
    ct_value config;     /* fully resolved */
    ct_value evaluated;  /* dict "a/b" -> sampled value */
    uint32_t experiment; /* number of its experiment */
} ct_suggestion;
void ct_suggestion_deinit(ct_suggestion *s);

typedef struct ct_searcher ct_searcher;
typedef struct ct_searcher_ops {
    const char *name;
    bool foreign;
    bool
        quiet_waits; /* what makes it wait is not its own state: asking changes nothing */
    /* An id in *out is the new trial's: it was made before and is made again. */
    ct_status (*next)(ct_searcher *s, const ct_board *b, ct_suggestion *out,
                      ct_search_state *state, ct_err *err);
    ct_status (*on_result)(ct_searcher *s, const ct_board *b, ct_trial_id t,
                           const ct_result *r, ct_err *err);
    /* r may be NULL: the trial ended without a result, or was never started. */
    ct_status (*on_complete)(ct_searcher *s, const ct_board *b, ct_trial_id t,
                             const ct_result *r, bool error, ct_err *err);
    uint64_t (*total)(
        const ct_searcher *s); /* trials it will make; UINT64_MAX endless */
    ct_status (*save)(ct_searcher *s, ct_names *names, ct_value *out, ct_err *err);
    ct_status (*restore)(ct_searcher *s, ct_names *names, const ct_value *v,
                         ct_err *err);
    void (*free)(ct_searcher *s);
} ct_searcher_ops;
struct ct_searcher {
    const ct_searcher_ops *ops;
};

typedef struct ct_stopper ct_stopper;
/* Tells a condition that did not hear of them the results so far. */
typedef struct ct_past {
    ct_status (*tell)(void *ctx, ct_stopper *s, ct_err *err);
    void *ctx;
} ct_past;
typedef struct ct_stopper_ops {
    const char *name;
    bool foreign;
    bool forgets; /* results before change nothing of what it says */
    ct_status (*on_result)(ct_stopper *s, const ct_board *b, ct_trial_id t,
                           const ct_result *r, bool *stop, ct_err *err);
    ct_status (*stop_all)(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err);
    /* What it had to say in a replay, where it did not count, about the last result of a
     * trial: false if it was not asked. May be NULL. */
    bool (*said)(const ct_stopper *s, ct_trial_id t, bool *stop);
    /* So many seconds passed in which nothing ran: they count for no budget. May be
     * NULL. */
    void (*skip)(ct_stopper *s, double seconds);
    ct_status (*save)(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err);
    /* CT_ECORRUPT = the value is of another kind, and nothing changed. Only conditions
     * that hold others use the past. */
    ct_status (*restore)(ct_stopper *s, ct_names *names, const ct_value *v,
                         const ct_past *past, ct_err *err);
    void (*free)(ct_stopper *s);
} ct_stopper_ops;
struct ct_stopper {
    const ct_stopper_ops *ops;
};

/* The state with the kind of condition that it is of. CT_EUNSUPPORTED if it has none that
 * can be saved. */
ct_status ct_stopper_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err);
bool ct_stopper_saved_by(const ct_stopper *s, const ct_value *v);
/* Brings a condition to where the one was that was saved; `v` may be NULL, or of another
 * kind: then it is told the past. */
ct_status ct_stopper_restore(ct_stopper *s, ct_names *names, const ct_value *v,
                             const ct_past *past, ct_err *err);

/* What the engine cannot know about a trial: answered by the binding, and
 * foreign. NULL = default. */
typedef struct ct_trial_hooks {
    /* Resources that a config of an experiment asks for, as a dict; *out nil = the
     * experiment's default. */
    ct_status (*request)(void *ctx, uint32_t experiment, const ct_value *config,
                         ct_value *out, ct_err *err);
    /* Replaces the trial's name (str(trial)). Appends to out; nothing = default. */
    ct_status (*name)(void *ctx, ct_trial_id t, ct_buf *out, ct_err *err);
    /* The same for the name of its directory. */
    ct_status (*dirname)(void *ctx, ct_trial_id t, ct_buf *out, ct_err *err);
    void *ctx;
} ct_trial_hooks;

/* The state of policies that are foreign. They may share objects with each other, so it is
 * saved and restored as one value, beside what each of them has as the engine's. NULL =
 * there are none. `save` is CT_EUNSUPPORTED where one of them cannot be saved. */
typedef struct ct_foreign_state {
    ct_status (*save)(void *ctx, ct_value *out, ct_err *err);
    ct_status (*restore)(void *ctx, const ct_value *v, ct_err *err);
    void *ctx;
} ct_foreign_state;

const char *ct_verdict_name(ct_verdict v); /* "CONTINUE" */

#endif
