/* control_int.h: what the files of this room share. */
#ifndef CT_CONTROL_INT_H
#define CT_CONTROL_INT_H

#include "base/keys.h"
#include "base/map.h"
#include "base/mem.h"
#include "control/control.h"

/* What the controller knows about a trial's worker. One per trial, by id. */
typedef struct live {
    uint64_t serial;  /* of the open command; 0 = none */
    uint8_t command;  /* its ct_command_kind */
    uint8_t then;     /* ct_verdict to carry out when an open save is answered */
    bool worker;      /* a worker serves this trial */
    bool claimed;     /* its resources are taken */
    bool ending;      /* STOP or KILL is sent or waits for the open command */
    bool pause_asked; /* a scheduler ordered a pause; after the open step */
    bool pause_saves; /* that pause saves first */
    bool repause;     /* RUNNING until the pause is complete */
    bool exploits;    /* it waits to go on from another trial's checkpoint */
    bool exported;    /* its worker was told to export */
    bool restored;    /* it goes on from a checkpoint and has not reported since */
    uint32_t doubts;  /* failures of that kind in a row, from the same checkpoint */
    bool restarts;    /* it gets a new worker, after a cut */
    bool again;       /* its command that was open at a cut is to be given again: */
    uint8_t again_command; /* CT_COMMAND_COUNT: none */
    uint64_t again_order;  /* its serial then */
    uint64_t reached;      /* iteration of the last result of its worker */
    uint64_t upto;         /* a new worker steps unheard until this iteration */
    uint8_t why;           /* ct_end that its last verdict STOP means */
    double ending_since;
    ct_request_id claim; /* what its worker was started with */
} live;

typedef struct queued_command {
    ct_command_kind kind;
    ct_trial_id trial;
    ct_trial_id from;
    uint64_t serial;
} queued_command;

typedef struct experiment {
    char *name;
    char *dir;
    char *trainable;
    char *recorded_dir;    /* where it was when the journal was written, or NULL */
    ct_request_id request; /* the default */
    int64_t max_failures;
    bool exports;
} experiment;

struct ct_control {
    ct_control_opts opts; /* pointers into what follows or borrowed policies */
    experiment *experiments;
    size_t n_experiments;
    bool stores; /* there are directories */
    ct_name *required;

    ct_trials *trials;
    ct_metrics *metrics;
    ct_resources *resources;
    ct_board board;
    ct_map dirnames; /* hashes of the names of trial directories */

    live *lives;
    size_t lives_cap;
    uint64_t serials;  /* last serial given */
    size_t open;       /* commands not answered */
    size_t workers;    /* trials with a worker, idle ones included */
    ct_trial_id *idle; /* ended trials whose worker waits for reuse */
    size_t idle_count;
    size_t idle_cap;

    ct_orders orders;
    ct_orders batch;    /* the orders being carried out */
    ct_orders exploits; /* those that wait for a save */
    queued_command *commands;
    size_t n_commands, cap_commands, at_command;
    ct_note *notes;
    size_t n_notes, cap_notes, at_note;
    uint32_t note_kinds;
    ct_arena turn; /* texts of notes */

    ct_metrics_buf flat; /* of the result at hand */
    ct_record last;      /* scratch: an unpacked last result */
    ct_metrics_buf last_flat;
    ct_buf text;

    bool search_done;
    bool ask;        /* the searcher may answer otherwise than before */
    bool place;      /* resources or pending trials changed: try to start */
    bool stop_asked; /* stop the experiment */
    bool stopping;   /* done so */
    bool interrupted;
    bool failed_fast;
    bool final; /* the failure at hand is not tried again */
    bool ended; /* EXPERIMENT_END is noted */

    double utc_offset; /* seconds; of the dates in names */
    bool ordered;      /* see resume.c */
    bool gathers; /* after a cut: nothing else begins until all workers are there */
    size_t restarting; /* workers that are not */
};

static inline const experiment *
experiment_of(const ct_control *c, ct_trial_id t)
{
    return &c->experiments[ct_trials_get(c->trials, t)->experiment];
}

/* lifecycle.c: statuses, commands, notes */
ct_status control_set_status(ct_control *c, ct_trial_id t, ct_trial_status s,
                             ct_err *err);
ct_status control_command(ct_control *c, ct_command_kind kind, ct_trial_id t,
                          ct_trial_id from, ct_err *err);
ct_status control_note(ct_control *c, ct_note_kind kind, ct_trial_id t, ct_note **out,
                       ct_err *err);
/* Ends the trial's worker, after its open command if there is one. */
ct_status control_end_worker(ct_control *c, ct_trial_id t, bool kill, ct_err *err);
/* The worker is gone: resources are free again. */
void control_worker_gone(ct_control *c, ct_trial_id t);
/* The last result as policies want it; *out has record NULL when there is none. */
ct_status control_last_result(ct_control *c, ct_trial_id t, ct_result *out, bool *has,
                              ct_err *err);

/* resume.c: how a run begins and goes on */
/* A RUN event; `before` = time of the event before it. */
ct_status control_run(ct_control *c, const ct_event *ev, double before, ct_err *err);
/* Gives the trial's command again that was open at the cut; those of all, in order. */
ct_status control_again(ct_control *c, ct_trial_id t, ct_err *err);
ct_status control_all_again(ct_control *c, ct_err *err);

/* start.c: new trials, starting them */
ct_status control_add_trial(ct_control *c, ct_suggestion *s, ct_err *err);
ct_status control_ask(ct_control *c, ct_err *err);
ct_status control_place(ct_control *c, ct_err *err);

/* CT_EINVAL in the name of `who` when the machine can never give the resources. */
ct_status control_check_request(ct_control *c, ct_request_id request, const char *who,
                                ct_err *err);

/* finish.c: how trials end */
ct_status control_complete(ct_control *c, ct_trial_id t, ct_err *err);
ct_status control_stop_trial(ct_control *c, ct_trial_id t, ct_err *err);
ct_status control_stop_all(ct_control *c, ct_err *err);
/* The worker of a trial that has ended well: exports, then is kept for another trial or
 * ended. */
ct_status control_release(ct_control *c, ct_trial_id t, ct_err *err);
/* Lets a worker without an open command export what its trial has come to, once; *told:
 * whether it has to. */
ct_status control_export(ct_control *c, ct_trial_id t, bool *told, ct_err *err);
ct_status control_carry_out_orders(ct_control *c, ct_err *err);

/* exploit.c: trials that go on from the checkpoints of others */
/* Takes out of the orders from `first` on those to offer what trial t is about to save. */
ct_status control_take_offers(ct_control *c, size_t first, ct_trial_id t, ct_err *err);
ct_status control_order_offer(ct_control *c, const ct_order *o, ct_err *err);
/* Offers the trial's checkpoint of now, if it was asked for. */
ct_status control_offer(ct_control *c, ct_trial_id t, ct_err *err);
/* It offers nothing any more. */
ct_status control_withdraw(ct_control *c, ct_trial_id t, ct_err *err);
/* It has a checkpoint of its own again. */
ct_status control_stands_alone(ct_control *c, ct_trial_id t, ct_err *err);
/* Takes the order's value. */
ct_status control_order_exploit(ct_control *c, ct_order *o, ct_err *err);
ct_status control_order_config(ct_control *c, ct_order *o, ct_err *err);
/* Carries out the exploits that wait for nothing any more. */
ct_status control_exploits(ct_control *c, ct_err *err);

/* retry.c: failures */
ct_status control_failed(ct_control *c, const ct_event *ev, bool worker_lives,
                         ct_err *err);
/* A trial that had ended well failed to export: not tried again. */
ct_status control_export_failed(ct_control *c, const ct_event *ev, bool worker_lives,
                                ct_err *err);

/* retain.c: checkpoints */
ct_status control_checkpoint(ct_control *c, ct_trial_id t, const char *path, size_t len,
                             ct_err *err);
/* Drops what num_to_keep does not want and nobody needs. */
ct_status control_retain(ct_control *c, ct_trial_id t, ct_err *err);
bool control_save_due(const ct_control *c, ct_trial_id t, const ct_record *r,
                      bool done);

#endif
