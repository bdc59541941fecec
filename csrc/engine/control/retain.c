/* retain.c: when to save, and which checkpoints to keep.
 *
 * Of a trial's checkpoints the num_to_keep best are kept, and always the latest. Best is
 * by the score metric of the result that belongs to the checkpoint (NaN below -inf, a
 * missing one counts as -inf), else by age; of equals the newer one is better. One that
 * could not be restored is the worst. */
#include "control/control_int.h"

#include <math.h>
#include <string.h>

bool
control_save_due(const ct_control *c, ct_trial_id t, const ct_record *r, bool done)
{
    const ct_checkpoint_policy *p = &c->opts.checkpoint;
    const ct_field *f = ct_record_find(r, CT_KEY_SHOULD_CHECKPOINT);
    double number;

    (void)t;
    if (f != NULL && ct_field_number(f, &number) && number != 0.0) {
        return true;
    }
    if (done && p->at_end) {
        return true;
    }
    f = ct_record_find(r, CT_KEY_TRAINING_ITERATION);
    return p->frequency > 0 && f != NULL && f->kind == CT_FIELD_I64 &&
           f->u.i % (int64_t)p->frequency == 0;
}

typedef struct score {
    int rank; /* -1 = bad, 0 = NaN, 1 = a number or missing (-inf) */
    double value;
} score;

static ct_status
score_of(ct_control *c, const ct_checkpoint *k, score *out, ct_err *err)
{
    double v = -INFINITY;
    bool found = false;

    *out = (score){k->bad ? -1 : 1, -INFINITY};
    if (k->bad) {
        return CT_OK;
    }
    if (c->opts.checkpoint.score == CT_NAME_NONE || k->metrics == NULL) {
        out->value = (double)k->index;
        return CT_OK;
    }
    ct_reader in = ct_reader_of(k->metrics, k->metrics_len);
    ct_status st = ct_record_unpack(&c->last, &in, NULL, 0, err);
    if (st == CT_OK) {
        st = ct_record_metrics(&c->last, c->opts.names, &c->last_flat, err);
    }
    for (size_t i = 0; st == CT_OK && i < c->last_flat.count; i++) {
        if (c->last_flat.items[i].name == c->opts.checkpoint.score) {
            v = c->last_flat.items[i].value;
            found = true;
        }
    }
    if (found && isnan(v)) {
        out->rank = 0;
    } else if (found) {
        out->value = c->opts.checkpoint.score_min ? -v : v;
    }
    return st;
}

static bool
worse(score a, score b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.value < b.value;
}

static ct_status
drop(ct_control *c, ct_trial_id t, uint32_t at, ct_err *err)
{
    const char *path = ct_trials_get(c->trials, t)->checkpoints[at].path;
    const char *kept = ct_arena_strndup(&c->turn, path, strlen(path));
    ct_note *n;

    if (kept == NULL) {
        return ct_fail_mem(err);
    }
    ct_status st = control_note(c, CT_NOTE_CHECKPOINT_DROP, t, &n, err);
    if (st == CT_OK) {
        n->path = kept;
        ct_trials_drop_checkpoint(c->trials, t, at);
    }
    return st;
}

/* Never the latest, nor one that is pinned: it goes when it is no longer that. */
ct_status
control_retain(ct_control *c, ct_trial_id t, ct_err *err)
{
    uint32_t keep = c->opts.checkpoint.num_to_keep;
    uint32_t count = ct_trials_get(c->trials, t)->checkpoint_count;
    ct_status st = CT_OK;

    if (keep == 0 || count <= keep) {
        return CT_OK;
    }
    score *scores = ct_arena_alloc(&c->turn, count * sizeof *scores);
    if (scores == NULL) {
        return ct_fail_mem(err);
    }
    for (uint32_t i = 0; st == CT_OK && i < count; i++) {
        st = score_of(c, &ct_trials_get(c->trials, t)->checkpoints[i], &scores[i], err);
    }
    for (uint32_t i = count - 1; st == CT_OK && i-- > 0;) { /* all but the latest */
        uint32_t better = 0;
        for (uint32_t k = 0; k < count; k++) {
            better +=
                worse(scores[i], scores[k]) || (k > i && !worse(scores[k], scores[i]));
        }
        if (better >= keep && ct_trials_get(c->trials, t)->checkpoints[i].pins == 0) {
            /* from the back, so that the places in front stay */
            st = drop(c, t, i, err);
        }
    }
    return st;
}

ct_status
control_checkpoint(ct_control *c, ct_trial_id t, const char *path, size_t len,
                   ct_err *err)
{
    ct_trial *trial = ct_trials_mut(c->trials, t);
    ct_checkpoint k = {.index = trial->checkpoints_made, .time = c->board.now};
    ct_note *n;
    ct_status st;

    k.path = ct_strndup(path, len);
    if (k.path != NULL && trial->last != NULL) {
        k.metrics = ct_alloc(trial->last_len);
        if (k.metrics != NULL) {
            memcpy(k.metrics, trial->last, trial->last_len);
            k.metrics_len = trial->last_len;
        }
    }
    if (k.path == NULL || (trial->last != NULL && k.metrics == NULL)) {
        ct_checkpoint_deinit(&k);
        return ct_fail_mem(err);
    }
    st = control_note(c, CT_NOTE_CHECKPOINT, t, &n, err);
    if (st == CT_OK) {
        n->path = ct_arena_strndup(&c->turn, path, len);
        st = n->path == NULL ? ct_fail_mem(err)
                             : ct_trials_add_checkpoint(c->trials, t, &k, err);
    }
    if (st != CT_OK) {
        ct_checkpoint_deinit(&k);
        return st;
    }
    trial->checkpoints_made++;
    st = control_note(c, CT_NOTE_SAVED, t, NULL, err);
    if (st == CT_OK) {
        st = control_stands_alone(c, t, err);
    }
    if (st == CT_OK && trial->offering) {
        st = control_offer(c, t, err);
    }
    return st == CT_OK ? control_retain(c, t, err) : st;
}
