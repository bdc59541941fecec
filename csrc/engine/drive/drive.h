/* drive.h: ties controller, executor, journal and output into one loop.
 *
 *     while (more) { ct_drive_wait(d, …); ct_drive_turn(d, &more, …); }
 *
 * wait touches nothing but the executor, so it may run without the GIL. A turn takes the
 * executor's events, feeds the controller, commits the journal, and only then lets
 * commands and notes out: what observers saw is never lost. Turns of a local executor of
 * which nobody hears are committed together, at the latest after 50 ms: until then only
 * this process knows of them. */
#ifndef CT_DRIVE_DRIVE_H
#define CT_DRIVE_DRIVE_H

#include "base/clock.h"
#include "control/control.h"
#include "exec/exec.h"
#include "journal/journal.h"
#include "output/output.h"
#include "policy/answers.h"

/* Someone who hears notes after the output files. Anything but CT_OK ends the run. */
typedef struct ct_observer {
    ct_status (*note)(void *ctx, const ct_note *n, ct_err *err); /* NULL = nobody */
    void *ctx;
} ct_observer;

typedef struct ct_drive_opts {
    ct_control *control; /* all borrowed; the caller frees them after the drive */
    ct_exec *exec;
    ct_journal *journal; /* NULL = none */
    ct_answers *answers; /* of the foreign policies; NULL = none, or no journal */
    ct_output *output;   /* NULL = none */
    ct_clock *clock;
    ct_observer observer;
    uint32_t heard; /* kinds of notes that output or observer act on, as bits */
    bool
        make_dirs; /* make a trial's directory before it starts, remove what it gave up */
    bool keep_dropped; /* the observer removes checkpoints that were given up */
    bool simulated;    /* time passes only in waits, and waits may be of any length */
    double interrupt_grace; /* seconds for open commands after an interrupt */
    const char *settings;   /* of the run, JSON: its first event says; NULL = none */
    /* A snapshot is due when a segment of the journal has grown to this (0 = never), and
     * to so many times the last snapshot. */
    uint64_t snapshot_bytes;
    uint64_t snapshot_times;
} ct_drive_opts;

typedef struct ct_drive ct_drive;

/* What the journal of a directory brought back. */
typedef struct ct_recovery {
    bool found;             /* a run was begun there */
    uint64_t events, turns; /* replayed */
    uint32_t last_segment;  /* the run goes on in a later one */
    size_t differing;       /* trials for which a searcher said something else now */
} ct_recovery;

ct_status ct_drive_new(ct_drive **out, const ct_drive_opts *opts, ct_err *err);
void ct_drive_free(ct_drive *d);
/* Before the first turn: replays the journal of `dir` from the beginning of its last run,
 * or from its newest snapshot, so that the controller and the policies are where they were at the end, and brings the
 * trials' files up to it. Without a journal nothing happens. The next turn tells that the
 * run goes on. Errors: those of the journal's reader; of a policy; CT_ECORRUPT when the
 * policies are not those of the run; the controller is of no use then. */
ct_status ct_drive_recover(ct_drive *d, const char *dir, ct_recovery *out, ct_err *err);
/* Waits for an event, at most `timeout` seconds; simulated: until the next one. */
ct_status ct_drive_wait(ct_drive *d, double timeout, ct_err *err);
/* Errors: those of policies and files; CT_ETUNE when simulated trials wait and nothing
 * will ever wake them. *more is false when the experiment has ended (or was interrupted and is quiet). */
ct_status ct_drive_turn(ct_drive *d, bool *more, ct_err *err);
/* Between two turns: writes a snapshot and begins a new segment. Errors: those of
 * ct_control_save and the journal; nothing has changed then. */
ct_status ct_drive_snapshot(ct_drive *d, ct_err *err);
/* Why the last snapshot that was due failed; once, then NULL. The run goes on with its
 * whole journal. */
const ct_err *ct_drive_snapshot_failed(ct_drive *d);
/* Any thread, also signal handlers: 1 = stop gracefully, 2 = at once. */
void ct_drive_interrupt(ct_drive *d, int level);
uint64_t ct_drive_turns(const ct_drive *d);

#endif
