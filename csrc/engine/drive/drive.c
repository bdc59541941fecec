/* drive.c: see drive.h. */
#include "drive/drive_int.h"

#include "base/mem.h"
#include "os/file.h"

#include <string.h>

/* Seconds between TICK events: they make the controller look at time limits and ask a
 * searcher that had nothing to suggest. */
#define TICK_S 1.0
/* While nothing runs but the searcher may still answer: ask it more often. */
#define IDLE_TICK_S 0.05
/* Turns that nobody outside hears of may wait for their write this long, or this much. */
#define UNHEARD_S 0.05
#define UNHEARD_BYTES (64u * 1024u)
/* So often a simulation may do nothing: Python policies may count questions. */
#define STUCK_TURNS 1000
/* Events taken in one turn: bounds the memory of a turn. */
#define TURN_EVENTS 256

ct_status
ct_drive_new(ct_drive **out, const ct_drive_opts *opts, ct_err *err)
{
    ct_drive *d = ct_calloc(1, sizeof *d);

    *out = NULL;
    if (d == NULL) {
        return ct_fail_mem(err);
    }
    d->opts = *opts;
    atomic_init(&d->interrupt, 0);
    d->last_tick = opts->clock->mono(opts->clock);
    d->snapshot_at = opts->journal == NULL ? 0 : opts->snapshot_bytes;
    *out = d;
    return CT_OK;
}

void
ct_drive_free(ct_drive *d)
{
    ct_free(d);
}

ct_status
ct_drive_wait(ct_drive *d, double timeout, ct_err *err)
{
    double limit = ct_control_idle(d->opts.control) ? IDLE_TICK_S : TICK_S;

    if (d->turns == 0) { /* nothing was submitted yet */
        timeout = 0.0;
    } else if (d->opts.simulated) {
        timeout = ct_control_idle(d->opts.control) ? limit : -1.0;
    } else if (timeout < 0.0 || timeout > limit) {
        timeout = limit;
    }
    return d->opts.exec->ops->wait(d->opts.exec, timeout, err);
}

/* Where journal and answers stand, to take back what an error ended. */
typedef struct mark {
    size_t journal, answers;
} mark;

static mark
mark_now(const ct_drive *d)
{
    mark m = {0, 0};

    if (d->opts.journal != NULL) {
        m.journal = ct_journal_pending(d->opts.journal);
    }
    if (d->opts.answers != NULL) {
        (void)ct_answers_blob(d->opts.answers, &m.answers);
    }
    return m;
}

/* What failed did not happen: a replay must not run into the same error. */
static void
take_back(ct_drive *d, mark m)
{
    if (d->opts.journal != NULL) {
        ct_journal_rollback(d->opts.journal, m.journal);
        ct_journal_unsettled(d->opts.journal);
    }
    if (d->opts.answers != NULL) {
        ct_answers_rollback(d->opts.answers, m.answers);
    }
}

static ct_status
take(ct_drive *d, const ct_event *ev, ct_err *err)
{
    mark before = mark_now(d);
    ct_status st =
        d->opts.journal == NULL ? CT_OK : ct_journal_add(d->opts.journal, ev, err);

    if (st == CT_OK) {
        st = ct_control_feed(d->opts.control, ev, err);
    }
    if (st != CT_OK) {
        take_back(d, before);
    }
    return st;
}

/* Interrupts and ticks: the drive's own events. */
static ct_status
take_own(ct_drive *d, double now, double mono, ct_err *err)
{
    int level = atomic_load(&d->interrupt);
    double tick = ct_control_idle(d->opts.control) ? IDLE_TICK_S : TICK_S;
    ct_event ev = {.trial = CT_TRIAL_NONE, .time = now};

    if ((d->turns == 0 || d->segment_begins) && d->opts.settings != NULL) {
        ev.kind = CT_EVENT_RUN;
        ev.code = d->segment_begins ? CT_RUN_IS
                  : d->resumes      ? CT_RUN_GOES_ON
                                    : CT_RUN_BEGINS;
        ev.text = d->opts.settings;
        ev.text_len = strlen(ev.text);
        d->segment_begins = false;
        ct_status st = take(d, &ev, err);
        if (st != CT_OK || d->turns == 0) {
            return st;
        }
        ev = (ct_event){.trial = CT_TRIAL_NONE, .time = now};
    }
    if (level > d->interrupt_seen) {
        if (d->interrupt_seen == 0) {
            d->interrupt_time = mono;
        }
        d->interrupt_seen = level;
        ev.kind = CT_EVENT_INTERRUPT;
        ev.code = level;
        return take(d, &ev, err);
    }
    bool due = d->opts.simulated ? ct_control_idle(d->opts.control)
                                 : mono - d->last_tick >= tick;
    if (d->turns > 0 && due) {
        d->last_tick = mono;
        ev.kind = CT_EVENT_TICK;
        return take(d, &ev, err);
    }
    return CT_OK;
}

static ct_status
take_events(ct_drive *d, double now, ct_err *err)
{
    ct_exec *exec = d->opts.exec;

    for (int i = 0; i < TURN_EVENTS; i++) {
        ct_event ev;
        bool got;
        ct_status st = exec->ops->poll(exec, &ev, &got, err);
        if (st != CT_OK || !got) {
            return st;
        }
        if (ev.time == 0.0) {
            ev.time = now;
        }
        st = take(d, &ev, err);
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

static ct_status
send_commands(ct_drive *d, ct_err *err)
{
    ct_command c;

    while (ct_control_next_command(d->opts.control, &c)) {
        bool starts = c.kind == CT_COMMAND_START || c.kind == CT_COMMAND_RESET;
        ct_status st = CT_OK;
        if (starts && d->opts.make_dirs && c.trial_dir != NULL) {
            st = ct_dir_make(c.trial_dir, NULL, err);
        }
        if (st == CT_OK) {
            st = d->opts.exec->ops->submit(d->opts.exec, &c, err);
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

/* After a loss of power the journal must not name a checkpoint that is gone. */
static ct_status
remove_checkpoint(ct_drive *d, const char *path, ct_err *err)
{
    ct_status st = CT_OK;

    if (!d->opts.make_dirs || d->opts.keep_dropped) {
        return CT_OK;
    }
    if (d->opts.journal != NULL) {
        st = ct_journal_sync(d->opts.journal, err);
    }
    return st == CT_OK ? ct_dir_discard(path, err) : st;
}

static ct_status
send_notes(ct_drive *d, ct_err *err)
{
    const ct_board *board = ct_control_board(d->opts.control);
    ct_note n;

    while (ct_control_next_note(d->opts.control, &n)) {
        ct_status st = CT_OK;
        if (n.kind == CT_NOTE_CHECKPOINT_DROP) {
            st = remove_checkpoint(d, n.path, err);
        } else if (d->opts.output != NULL) {
            st = ct_output_note(d->opts.output, board, &n, err);
        }
        if (st == CT_OK && d->opts.observer.note != NULL) {
            st = d->opts.observer.note(d->opts.observer.ctx, &n, err);
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

/* After an interrupt: until the open commands are answered or the grace is over. */
static bool
quiet(const ct_drive *d, double mono)
{
    return d->interrupt_seen > 1 ||
           (d->interrupt_seen == 1 &&
            (ct_control_open(d->opts.control) == 0 ||
             mono - d->interrupt_time >= d->opts.interrupt_grace));
}

/* What foreign policies said in this turn, as its last event. */
static ct_status
add_answers(ct_drive *d, double now, ct_err *err)
{
    ct_event ev = {.kind = CT_EVENT_ANSWER, .trial = CT_TRIAL_NONE, .time = now};

    if (d->opts.answers == NULL) {
        return CT_OK;
    }
    ev.blob = ct_answers_blob(d->opts.answers, &ev.blob_len);
    if (ev.blob_len == 0) {
        return CT_OK;
    }
    ct_status st = ct_journal_add(d->opts.journal, &ev, err);
    if (st == CT_OK) {
        ct_answers_sent(d->opts.answers);
    }
    return st;
}

/* Record before effect. */
static ct_status
commit(ct_drive *d, double now, double mono, bool last, ct_err *err)
{
    ct_journal *j = d->opts.journal;

    if (j == NULL) {
        return CT_OK;
    }
    ct_status st = add_answers(d, now, err);
    if (st != CT_OK) {
        return st;
    }
    if (ct_control_acted(d->opts.control)) { /* by the time alone, if without events */
        ct_journal_touch(j);
    }
    bool unheard = d->opts.exec->ops->local && !last &&
                   (ct_control_note_kinds(d->opts.control) & d->opts.heard) == 0;
    if (unheard && mono - d->last_commit < UNHEARD_S &&
        ct_journal_pending(j) < UNHEARD_BYTES) {
        return ct_journal_end_turn(j, now, err);
    }
    d->last_commit = mono;
    return ct_journal_commit(j, now, err);
}

/* In virtual time nothing comes from outside: when nothing was done for many turns, nothing
 * will ever happen again. */
static ct_status
check_stuck(ct_drive *d, ct_err *err)
{
    const ct_control *c = d->opts.control;
    bool idle = ct_control_idle(c) && !ct_control_acted(c);
    d->idle_turns = d->opts.simulated && idle ? d->idle_turns + 1 : 0;
    if (d->idle_turns < STUCK_TURNS) {
        return CT_OK;
    }
    const ct_trials *trials = ct_control_board(c)->trials;
    return ct_fail(
        err, CT_ETUNE, "simulation",
        "stands still: the scheduler starts none of %zu pending and %zu paused "
        "trials, and the searcher suggests nothing",
        ct_trials_with(trials, CT_TRIAL_PENDING),
        ct_trials_with(trials, CT_TRIAL_PAUSED));
}

/* A failed feed ends the run, but what was taken so far is committed and told first. */
static ct_status
take_all(ct_drive *d, double now, double mono, ct_err *err)
{
    ct_status st = take_own(d, now, mono, err);

    if (st == CT_OK) {
        st = take_events(d, now, err);
    }
    if (st != CT_OK) {
        return st;
    }
    mark before = mark_now(d);
    st = ct_control_settle(d->opts.control, now, err);
    if (st != CT_OK) {
        take_back(d, before);
    }
    return st;
}

/* --- snapshots --- */

ct_status
ct_drive_snapshot(ct_drive *d, ct_err *err)
{
    ct_journal *j = d->opts.journal;
    ct_value state = ct_nil();

    if (j == NULL) {
        return CT_OK;
    }
    ct_status st = ct_control_save(d->opts.control, &state, err);
    if (st == CT_OK) {
        st = ct_journal_commit(j, d->opts.clock->now(d->opts.clock), err);
    }
    /* No journal brings back what the trials' files lack, once its segments are gone. */
    const char *dir;
    for (size_t i = 0; st == CT_OK && ct_journal_is_durable(j) &&
                       (dir = ct_control_dir(d->opts.control, i)) != NULL;
         i++) {
        st = ct_dir_sync_all(dir, err);
    }
    if (st == CT_OK) {
        st = ct_journal_snapshot(j, &state, err);
    }
    if (st == CT_OK) {
        d->segment_begins = true;
        if (d->opts.answers != NULL) {
            ct_answers_restart(d->opts.answers);
        }
    }
    ct_value_deinit(&state);
    return st;
}

/* One whose cost is small against what was written since the last one. A run of which the
 * state cannot be saved never tries again; one that failed otherwise tries when twice as
 * much was written. Errors: CT_EFOREIGN, such as an interrupt while a policy was saved. */
static ct_status
snapshot_if_due(ct_drive *d, ct_err *why)
{
    ct_err err = CT_ERR_INIT;
    uint64_t bytes =
        d->snapshot_at == 0 ? 0 : ct_journal_segment_bytes(d->opts.journal);

    if (d->snapshot_at == 0 || bytes < d->snapshot_at) {
        return CT_OK;
    }
    ct_status st = ct_drive_snapshot(d, &err);
    if (st == CT_EFOREIGN) {
        if (why != NULL) {
            *why = err;
        }
        return st;
    }
    if (st == CT_OK) {
        uint64_t least =
            d->opts.snapshot_times * ct_journal_snapshot_bytes(d->opts.journal);
        d->snapshot_at =
            least > d->opts.snapshot_bytes ? least : d->opts.snapshot_bytes;
        d->snapshot_complains = false;
        return CT_OK;
    }
    d->snapshot_at = st == CT_EUNSUPPORTED ? 0 : 2 * bytes;
    if (st != CT_EUNSUPPORTED && !d->snapshot_complains) {
        d->snapshot_complains = true;
        d->snapshot_failed = err;
    }
    return CT_OK;
}

const ct_err *
ct_drive_snapshot_failed(ct_drive *d)
{
    if (d->snapshot_failed.code == CT_OK) {
        return NULL;
    }
    d->snapshot_told = d->snapshot_failed;
    d->snapshot_failed.code = CT_OK;
    return &d->snapshot_told;
}

ct_status
ct_drive_turn(ct_drive *d, bool *more, ct_err *err)
{
    ct_clock *clock = d->opts.clock;
    double now = clock->now(clock);
    double mono = clock->mono(clock);
    ct_err later = CT_ERR_INIT;

    ct_control_begin(d->opts.control);
    ct_status st = take_all(d, now, mono, err);
    *more = st == CT_OK && !ct_control_done(d->opts.control) && !quiet(d, mono);
    if (*more) {
        st = check_stuck(d, err);
        *more = st == CT_OK;
    }
    ct_status end = commit(d, now, mono, !*more, &later);
    if (end == CT_OK && st == CT_OK) {
        end = send_commands(d, &later);
    }
    /* After a Python exception nothing of Python may be called: only the files hear. */
    if (end == CT_OK && st != CT_EFOREIGN) {
        end = send_notes(d, &later);
    }
    d->turns++;
    if (st == CT_OK && end != CT_OK) {
        if (err != NULL) {
            *err = later;
        }
        st = end;
    }
    return st == CT_OK && *more ? snapshot_if_due(d, err) : st;
}

void
ct_drive_interrupt(ct_drive *d, int level)
{
    if (level > atomic_load(&d->interrupt)) {
        atomic_store(&d->interrupt, level);
    }
    d->opts.exec->ops->wake(d->opts.exec);
}

uint64_t
ct_drive_turns(const ct_drive *d)
{
    return d->turns;
}
