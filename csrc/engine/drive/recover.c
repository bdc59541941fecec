/* recover.c: a run's state from its journal: its newest snapshot, and the same events to the
 * same controller.
 *
 * Commands were carried out or are lost with their workers; the RUN event that follows
 * gives those again that were open. Notes were told, except perhaps those of the last
 * turns: the files of the trials are brought up to them. */
#include "drive/drive_int.h"

#include "os/file.h"

#include <string.h>

typedef struct replay {
    ct_drive *drive;
    bool in_turn;
    ct_value state; /* of the snapshot; nil when there is none, or it is loaded */
    bool loaded;
} replay;

static ct_status
catch_up(const ct_drive *d, const ct_note *n, ct_err *err)
{
    if (n->kind == CT_NOTE_CHECKPOINT_DROP) {
        return d->opts.make_dirs ? ct_dir_remove_tree(n->path, err) : CT_OK;
    }
    return d->opts.output == NULL
               ? CT_OK
               : ct_output_catch_up(d->opts.output, ct_control_board(d->opts.control),
                                    n, err);
}

static void
enter_turn(replay *r)
{
    if (!r->in_turn) {
        ct_control_begin(r->drive->opts.control);
        r->in_turn = true;
    }
}

static ct_status
on_event(void *ctx, const ct_event *ev, ct_err *err)
{
    replay *r = ctx;
    const ct_drive_opts *o = &r->drive->opts;

    enter_turn(r);
    if (ev->kind != CT_EVENT_ANSWER) {
        return ct_control_feed(o->control, ev, err);
    }
    return o->answers == NULL
               ? CT_OK
               : ct_answers_load(o->answers, ev->blob, ev->blob_len, err);
}

static ct_status
on_turn(void *ctx, double time, bool settled, ct_err *err)
{
    replay *r = ctx;
    const ct_drive_opts *o = &r->drive->opts;
    ct_status st = CT_OK;
    ct_note n;

    enter_turn(r);
    r->in_turn = false;
    if (settled) {
        st = ct_control_settle(o->control, time, err);
    }
    if (st == CT_OK && o->answers != NULL && ct_answers_left(o->answers) > 0) {
        st = ct_fail(err, CT_ECORRUPT, "answers",
                     "the run that wrote the journal asked more than this one; resume "
                     "with the searcher, scheduler and stop conditions that it had");
    }
    while (st == CT_OK && ct_control_next_note(o->control, &n)) {
        st = catch_up(r->drive, &n, err);
    }
    return st;
}

/* Starts from the snapshot's state, if there is one. */
static ct_status
load(replay *r, ct_err *err)
{
    const ct_drive_opts *o = &r->drive->opts;
    ct_ref_reader objects = {NULL, NULL};

    if (r->state.kind == CT_NIL) {
        return CT_OK;
    }
    if (o->answers != NULL) {
        objects = o->answers->objects;
    }
    ct_status st = ct_control_load(o->control, &r->state, objects, err);
    if (st == CT_OK && o->output != NULL) {
        st = ct_output_catch_up_from(o->output, ct_control_board(o->control), err);
    }
    ct_value_deinit(&r->state);
    r->loaded = true;
    return st;
}

static ct_status
on_segment(void *ctx, uint32_t number, ct_err *err)
{
    replay *r = ctx;
    (void)number;
    if (r->drive->opts.answers != NULL) {
        ct_answers_restart(r->drive->opts.answers);
    }
    return load(r, err);
}

/* --- checkpoints --- */

typedef struct lost {
    const ct_trial *trial;
    ct_buf path;
} lost;

/* The trial will give these numbers again. */
static ct_status
drop_if_unknown(void *ctx, const char *name, ct_err *err)
{
    static const char stem[] = "checkpoint_";
    size_t n = sizeof stem - 1;
    lost *l = ctx;
    uint64_t number = 0;
    size_t digits = 0;

    if (strncmp(name, stem, n) != 0) {
        return CT_OK;
    }
    for (; name[n] >= '0' && name[n] <= '9' && digits < 12; n++, digits++) {
        number = number * 10 + (uint64_t)(name[n] - '0');
    }
    if (digits == 0 || name[n] != '\0' || number < l->trial->checkpoints_made) {
        return CT_OK;
    }
    ct_buf_clear(&l->path);
    ct_status st = ct_buf_printf(&l->path, err, "%s/%s", l->trial->dir, name);
    if (st == CT_OK) {
        st = ct_buf_terminate(&l->path, err);
    }
    return st == CT_OK ? ct_dir_discard((const char *)l->path.data, err) : st;
}

/* Removes checkpoints of which the journal does not tell: it lost its last turns, or a
 * worker was faster than it. */
static ct_status
drop_unknown(const ct_trials *trials, ct_err *err)
{
    lost l = {NULL, CT_BUF_INIT};
    ct_status st = CT_OK;

    for (ct_trial_id t = 0; st == CT_OK && t < ct_trials_count(trials); t++) {
        l.trial = ct_trials_get(trials, t);
        if (l.trial->dir == NULL || l.trial->status == CT_TRIAL_TERMINATED ||
            l.trial->status == CT_TRIAL_ERROR) {
            continue; /* an ended one saves nothing behind its last turn */
        }
        st = ct_dir_list(l.trial->dir, drop_if_unknown, &l, err);
        st = st == CT_ENOTFOUND ? CT_OK : st;
    }
    ct_buf_deinit(&l.path);
    return st;
}

ct_status
ct_drive_recover(ct_drive *d, const char *dir, ct_recovery *out, ct_err *err)
{
    replay r = {d, false, ct_nil(), false};
    ct_journal_visitor v = {on_event, on_turn, on_segment, &r};
    ct_journal_summary read;
    ct_answers *a = d->opts.answers;

    *out = (ct_recovery){.found = false};
    if (a != NULL) {
        ct_answers_replay(a, true);
    }
    ct_status st = ct_journal_recover(dir, ct_control_names(d->opts.control), &r.state,
                                      &v, &read, err);
    if (st == CT_OK) {
        st = load(&r, err); /* no segment follows it */
    }
    ct_value_deinit(&r.state);
    if (a != NULL) {
        ct_answers_replay(a, false);
        ct_answers_restart(a);
        out->differing = a->differing;
    }
    if (st == CT_OK && d->opts.output != NULL) {
        st =
            ct_output_caught_up(d->opts.output, ct_control_board(d->opts.control), err);
    }
    if (st == CT_OK && d->opts.make_dirs) {
        st = drop_unknown(ct_control_board(d->opts.control)->trials, err);
    }
    if (st != CT_OK) {
        return st;
    }
    if (d->opts.journal != NULL) {
        ct_journal_follow(d->opts.journal, &read);
    }
    ct_control_begin(d->opts.control);
    out->found = read.turns > 0 || r.loaded;
    out->events = read.events;
    out->turns = read.turns;
    out->last_segment = read.last_segment;
    d->resumes = out->found;
    return CT_OK;
}
