/* explain.c: why nothing runs, for people.
 *
 * Walks over all trials: for a run that stands still, not for one that goes on. The text
 * holds no time, so that the same cause has the same text. */
#include "control/control_int.h"

#include <string.h>

#define NAMES_SHOWN 3

/* What a trial waits for. */
typedef enum wait_kind {
    WAIT_NOTHING,
    WAIT_WORK,      /* its worker is at work */
    WAIT_VERDICT,   /* the scheduler said NOOP about it */
    WAIT_CHOICE,    /* paused until the scheduler chooses it */
    WAIT_RESOURCES, /* pending */
    WAIT_END,       /* its worker was told to stop */
    WAIT_EXPLOIT,   /* for the checkpoint of another trial */
    WAIT_COUNT
} wait_kind;

static wait_kind
wait_of(const ct_control *c, ct_trial_id t)
{
    const live *l = &c->lives[t];

    if (l->serial != 0) {
        bool ends = l->command == CT_COMMAND_STOP || l->command == CT_COMMAND_KILL;
        return ends ? WAIT_END : WAIT_WORK;
    }
    switch ((ct_trial_status)ct_trials_get(c->trials, t)->status) {
    case CT_TRIAL_RUNNING:
        return l->exploits ? WAIT_EXPLOIT : WAIT_VERDICT;
    case CT_TRIAL_PAUSED:
        return WAIT_CHOICE;
    case CT_TRIAL_PENDING:
        return WAIT_RESOURCES;
    case CT_TRIAL_TERMINATED:
    case CT_TRIAL_ERROR:
    case CT_TRIAL_STATUS_COUNT:
        break;
    }
    return WAIT_NOTHING;
}

typedef struct waiting {
    size_t count[WAIT_COUNT];
    ct_trial_id first[WAIT_COUNT][NAMES_SHOWN];
} waiting;

static ct_status
put_sentence_start(ct_buf *out, ct_err *err)
{
    return out->len > 0 ? ct_buf_puts(out, "; ", err) : CT_OK;
}

/* "a, b, c and 7 more" */
static ct_status
put_trials(const ct_control *c, const waiting *w, wait_kind k, ct_buf *out, ct_err *err)
{
    size_t shown = w->count[k] < NAMES_SHOWN ? w->count[k] : NAMES_SHOWN;
    ct_status st = CT_OK;

    for (size_t i = 0; st == CT_OK && i < shown; i++) {
        bool last = i > 0 && i + 1 == w->count[k];
        st = ct_buf_printf(out, err, "%s%s",
                           i == 0 ? ""
                           : last ? " and "
                                  : ", ",
                           ct_trials_get(c->trials, w->first[k][i])->name);
    }
    if (st == CT_OK && w->count[k] > shown) {
        st = ct_buf_printf(out, err, " and %zu more", w->count[k] - shown);
    }
    return st;
}

/* The first resource that is short for the trial. */
static ct_status
put_resource(const ct_control *c, ct_trial_id t, ct_buf *out, ct_err *err)
{
    ct_request_id request = ct_trials_get(c->trials, t)->request;
    const ct_value *asked = ct_resources_request_value(c->resources, request);

    if (ct_resources_fits(c->resources, request)) {
        return ct_buf_puts(out, "to be started", err);
    }
    for (size_t i = 0; i < asked->len; i++) {
        ct_name name = asked->u.entries[i].key;
        const ct_value *v = &asked->u.entries[i].value;
        double want = v->kind == CT_I64 ? (double)v->u.i : v->u.f;
        double total = ct_resources_total(c->resources, name);
        double have = total - ct_resources_used(c->resources, name);
        if (want > have) {
            return ct_buf_printf(out, err, "%g %s, of which %g of %g are free", want,
                                 ct_names_text(c->opts.names, name), have, total);
        }
    }
    return ct_buf_puts(out, "resources", err);
}

static ct_status
put_pending(const ct_control *c, const waiting *w, ct_buf *out, ct_err *err)
{
    ct_trial_id first = w->first[WAIT_RESOURCES][0];
    ct_status st = put_sentence_start(out, err);

    if (st == CT_OK) {
        st = ct_buf_printf(out, err, "%s waits for ",
                           ct_trials_get(c->trials, first)->name);
    }
    if (st == CT_OK) {
        st = put_resource(c, first, out, err);
    }
    if (st == CT_OK && w->count[WAIT_RESOURCES] > 1) {
        st = ct_buf_printf(out, err, ", and %zu more trials are pending",
                           w->count[WAIT_RESOURCES] - 1);
    }
    return st;
}

static ct_status
put_kind(const ct_control *c, const waiting *w, wait_kind k, const char *one,
         const char *many, ct_buf *out, ct_err *err)
{
    ct_status st = put_sentence_start(out, err);

    if (st == CT_OK) {
        st = put_trials(c, w, k, out, err);
    }
    return st == CT_OK ? ct_buf_puts(out, w->count[k] == 1 ? one : many, err) : st;
}

ct_status
ct_control_explain(const ct_control *c, ct_buf *out, ct_err *err)
{
    static const struct {
        wait_kind kind;
        const char *one;
        const char *many;
    } words[] = {
        {WAIT_VERDICT,
         " keeps its worker and waits for the scheduler, which answered NOOP",
         " keep their workers and wait for the scheduler, which answered NOOP"},
        {WAIT_CHOICE, " is paused until the scheduler chooses it",
         " are paused until the scheduler chooses them"},
        {WAIT_EXPLOIT, " waits for the checkpoint of another trial",
         " wait for the checkpoints of other trials"},
        {WAIT_END, " has ended, but its worker is still stopping",
         " have ended, but their workers are still stopping"},
    };
    waiting w = {{0}, {{0}}};
    ct_status st = CT_OK;
    size_t n = ct_trials_count(c->trials);

    ct_buf_clear(out);
    if (ct_control_done(c) || c->interrupted) {
        return CT_OK;
    }
    for (ct_trial_id t = 0; t < n; t++) {
        wait_kind k = wait_of(c, t);
        if (k == WAIT_WORK) {
            return CT_OK;
        }
        if (w.count[k] < NAMES_SHOWN) {
            w.first[k][w.count[k]] = t;
        }
        w.count[k]++;
    }
    for (size_t i = 0; st == CT_OK && i < sizeof words / sizeof words[0]; i++) {
        if (w.count[words[i].kind] > 0) {
            st = put_kind(c, &w, words[i].kind, words[i].one, words[i].many, out, err);
        }
    }
    if (st == CT_OK && w.count[WAIT_RESOURCES] > 0) {
        st = put_pending(c, &w, out, err);
    }
    if (st == CT_OK && out->len == 0) {
        st = ct_buf_puts(out,
                         "the searcher suggests no trial and does not say that it has "
                         "finished",
                         err);
    }
    return st == CT_OK ? ct_buf_terminate(out, err) : st;
}
