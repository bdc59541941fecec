/* save.c: the controller's state between two turns, for snapshots of the journal.
 *
 * The state is one string of bytes beside a small document that people can read. Saving
 * and loading walk over the same fields with the same functions, which write what they
 * are given or replace it, so the two cannot drift apart. Names travel as texts, since
 * another process numbers them otherwise; directories are relative to those of the
 * experiments, which may have moved; values travel as those of recorded answers do, an
 * object that many configs share once, but pickles of objects stand apart. Settings are not
 * part of it: a RUN event at the beginning of the next segment tells them. */
#include "control/control_int.h"

#include "policy/answers.h"

#include <stdlib.h>
#include <string.h>

enum { STATE_VERSION = 3 };

/* One walk. After the first failure nothing is read or written any more. */
typedef struct walk {
    ct_control *c;
    bool loads;
    ct_buf out;        /* saving */
    ct_buf objects;    /* likewise: the pickles of objects, one behind the other */
    ct_reader in;      /* loading */
    ct_reader pickles; /* likewise */
    ct_answers values; /* of this walk alone */
    ct_name *map;      /* names of the writer -> ours */
    size_t n_map;
    ct_request_id *requests; /* loading: theirs -> ours */
    size_t n_requests;
    ct_status st;
    ct_err *err;
} walk;

static bool
is_fine(walk *w)
{
    if (w->st == CT_OK && w->loads && w->in.bad) {
        w->st = ct_fail(w->err, CT_ECORRUPT, "snapshot", "its state ends too early");
    }
    return w->st == CT_OK;
}

static void
damaged(walk *w, const char *what)
{
    if (w->st == CT_OK) {
        w->st = ct_fail(w->err, CT_ECORRUPT, "snapshot", "what it says of %s cannot be",
                        what);
    }
}

/* --- fields --- */

static void
walk_u64(walk *w, uint64_t *v)
{
    if (is_fine(w)) {
        if (w->loads) {
            *v = ct_read_varint(&w->in);
        } else {
            w->st = ct_buf_put_varint(&w->out, *v, w->err);
        }
    }
}

static void
walk_u32(walk *w, uint32_t *v)
{
    uint64_t wide = *v;

    walk_u64(w, &wide);
    if (wide > UINT32_MAX) {
        damaged(w, "a number");
    }
    *v = (uint32_t)wide;
}

static void
walk_size(walk *w, size_t *v)
{
    uint64_t wide = *v;

    walk_u64(w, &wide);
    *v = (size_t)wide;
}

static void
walk_u8(walk *w, uint8_t *v)
{
    if (is_fine(w)) {
        if (w->loads) {
            *v = ct_read_u8(&w->in);
        } else {
            w->st = ct_buf_put_u8(&w->out, *v, w->err);
        }
    }
}

static void
walk_bool(walk *w, bool *v)
{
    uint8_t byte = *v;

    walk_u8(w, &byte);
    *v = byte != 0;
}

static void
walk_f64(walk *w, double *v)
{
    if (is_fine(w)) {
        if (w->loads) {
            *v = ct_read_f64(&w->in);
        } else {
            w->st = ct_buf_put_f64(&w->out, *v, w->err);
        }
    }
}

/* How many of something follow, each of at least one byte. */
static void
walk_count(walk *w, size_t *n)
{
    walk_size(w, n);
    if (w->loads && is_fine(w) && *n > w->in.len - w->in.at) {
        damaged(w, "a count");
    }
    *n = w->st == CT_OK ? *n : 0;
}

/* Allocated bytes with a NUL behind them; NULL is one of the values. */
static void
walk_bytes(walk *w, char **bytes, size_t *len)
{
    uint8_t has = *bytes != NULL;

    walk_u8(w, &has);
    if (!is_fine(w) || has == 0) {
        *len = w->loads ? 0 : *len;
        return;
    }
    if (!w->loads) {
        w->st = ct_buf_put_bytes(&w->out, *bytes, *len, w->err);
        return;
    }
    const uint8_t *data = ct_read_bytes(&w->in, len);
    if (is_fine(w)) {
        char *copy = ct_strndup((const char *)data, *len);
        if (copy == NULL) {
            w->st = ct_fail_mem(w->err);
            return;
        }
        ct_free(*bytes);
        *bytes = copy;
    }
}

static void
walk_text(walk *w, char **text)
{
    size_t len = *text == NULL ? 0 : strlen(*text);

    walk_bytes(w, text, &len);
    if (w->loads && is_fine(w) && *text != NULL && strlen(*text) != len) {
        damaged(w, "a text");
    }
}

/* A path below `dir` is kept without that. */
static void
walk_path(walk *w, const char *dir, char **path)
{
    size_t len = dir == NULL ? 0 : strlen(dir);
    char *below = *path;

    if (!w->loads) {
        bool inside = len > 0 && below != NULL && strncmp(below, dir, len) == 0 &&
                      below[len] == '/' && below[len + 1] != '/';
        below = inside ? below + len + 1 : below;
        walk_text(w, &below);
        return;
    }
    walk_text(w, path);
    if (!is_fine(w) || *path == NULL || (*path)[0] == '/') {
        return;
    }
    if (dir == NULL) {
        damaged(w, "a path");
        return;
    }
    size_t rest = strlen(*path);
    char *whole = ct_alloc(len + rest + 2);
    if (whole == NULL) {
        w->st = ct_fail_mem(w->err);
        return;
    }
    memcpy(whole, dir, len);
    whole[len] = '/';
    memcpy(whole + len + 1, *path, rest + 1);
    ct_free(*path);
    *path = whole;
}

static void
walk_value(walk *w, ct_value *v)
{
    if (!is_fine(w)) {
        return;
    }
    if (w->loads) {
        ct_value_deinit(v);
        w->st = ct_answers_read_value(&w->values, &w->in, v, w->err);
    } else {
        w->st = ct_answers_put_value(&w->values, &w->out, v, w->err);
    }
    if (w->st == CT_OK && w->values.lost) {
        w->st = w->loads ? ct_fail(w->err, CT_ECORRUPT, "snapshot",
                                   "an object in it cannot be made again")
                         : ct_fail(w->err, CT_EINVAL, "config",
                                   "an object in it cannot be pickled");
    }
}

/* A packed record. */
static void
walk_record(walk *w, uint8_t **packed, uint32_t *len)
{
    char *bytes = (char *)*packed;
    size_t n = *len;
    ct_buf own = CT_BUF_INIT;

    if (!w->loads) {
        walk_bytes(w, &bytes, &n);
        return;
    }
    bytes = NULL;
    walk_bytes(w, &bytes, &n);
    if (is_fine(w) && bytes != NULL) {
        ct_reader in = ct_reader_of(bytes, n);
        w->st = ct_record_unpack(&w->c->last, &in, w->map, w->n_map, w->err);
        if (w->st == CT_OK) {
            w->st = ct_record_pack(&w->c->last, &own, w->err);
        }
        if (w->st == CT_OK) {
            *packed = own.data;
            *len = (uint32_t)own.len;
            own = (ct_buf)CT_BUF_INIT;
        }
    }
    ct_free(bytes);
    ct_buf_deinit(&own);
}

/* --- names, requests --- */

static void
walk_names(walk *w)
{
    ct_names *names = w->c->opts.names;
    size_t n = ct_names_count(names);

    walk_count(w, &n);
    if (w->loads && w->st == CT_OK) {
        w->map = ct_alloc((n + 1) * sizeof *w->map);
        w->st = w->map == NULL ? ct_fail_mem(w->err) : CT_OK;
    }
    for (size_t i = 0; is_fine(w) && i < n; i++) {
        if (!w->loads) {
            w->st = ct_buf_put_bytes(&w->out, ct_names_text(names, (ct_name)i),
                                     ct_names_len(names, (ct_name)i), w->err);
            continue;
        }
        size_t len;
        const uint8_t *text = ct_read_bytes(&w->in, &len);
        if (is_fine(w)) {
            w->st = ct_names_intern(names, (const char *)text, len, &w->map[i], w->err);
            w->n_map = i + 1;
        }
    }
}

/* Requests have the numbers from 0 on. */
static size_t
count_requests(const ct_control *c)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n_experiments; i++) {
        n = c->experiments[i].request >= n ? (size_t)c->experiments[i].request + 1 : n;
    }
    for (ct_trial_id t = 0; t < ct_trials_count(c->trials); t++) {
        size_t request = ct_trials_get(c->trials, t)->request;
        size_t claim = c->lives[t].claim;
        n = request >= n ? request + 1 : n;
        n = claim >= n ? claim + 1 : n;
    }
    return n;
}

static void
walk_requests(walk *w)
{
    size_t n = w->loads ? 0 : count_requests(w->c);

    walk_count(w, &n);
    if (w->loads && w->st == CT_OK) {
        w->requests = ct_alloc((n + 1) * sizeof *w->requests);
        w->st = w->requests == NULL ? ct_fail_mem(w->err) : CT_OK;
    }
    for (size_t i = 0; is_fine(w) && i < n; i++) {
        ct_value v = ct_nil();
        if (!w->loads) {
            w->st = ct_value_copy(
                &v, ct_resources_request_value(w->c->resources, (ct_request_id)i),
                w->err);
        }
        walk_value(w, &v);
        if (w->loads && is_fine(w)) {
            w->st = ct_resources_request(w->c->resources, &v, &w->requests[i], w->err);
            w->n_requests = i + 1;
        }
        ct_value_deinit(&v);
    }
}

static void
walk_request(walk *w, ct_request_id *id)
{
    walk_u32(w, id);
    if (w->loads && w->st == CT_OK) {
        if (*id >= w->n_requests) {
            damaged(w, "resources");
            *id = 0;
        } else {
            *id = w->requests[*id];
        }
    }
}

/* --- trials --- */

static void
walk_ref(walk *w, ct_checkpoint_ref *ref)
{
    walk_u32(w, &ref->trial);
    walk_u32(w, &ref->index);
}

static void
walk_checkpoint(walk *w, const char *dir, ct_checkpoint *k)
{
    walk_path(w, dir, &k->path);
    walk_u32(w, &k->index);
    walk_f64(w, &k->time);
    walk_record(w, &k->metrics, &k->metrics_len);
    walk_u32(w, &k->pins);
    walk_bool(w, &k->bad);
    if (w->loads && is_fine(w) && k->path == NULL) {
        damaged(w, "a checkpoint");
    }
}

static void
walk_checkpoints(walk *w, const char *dir, ct_trial_id t)
{
    const ct_trial *trial = ct_trials_get(w->c->trials, t);
    size_t n = trial->checkpoint_count;

    walk_count(w, &n);
    for (size_t i = 0; is_fine(w) && i < n; i++) {
        if (!w->loads) {
            walk_checkpoint(w, dir, &trial->checkpoints[i]);
            continue;
        }
        ct_checkpoint k = {0};
        walk_checkpoint(w, dir, &k);
        if (is_fine(w)) {
            w->st = ct_trials_add_checkpoint(w->c->trials, t, &k, w->err);
        }
        if (w->st != CT_OK) {
            ct_checkpoint_deinit(&k);
        }
    }
}

static void
walk_live(walk *w, live *l)
{
    walk_u64(w, &l->serial);
    walk_u8(w, &l->command);
    walk_u8(w, &l->then);
    walk_bool(w, &l->worker);
    walk_bool(w, &l->claimed);
    walk_bool(w, &l->ending);
    walk_bool(w, &l->pause_asked);
    walk_bool(w, &l->pause_saves);
    walk_bool(w, &l->repause);
    walk_bool(w, &l->exploits);
    walk_bool(w, &l->exported);
    walk_bool(w, &l->restored);
    walk_u32(w, &l->doubts);
    walk_bool(w, &l->restarts);
    walk_bool(w, &l->again);
    walk_u8(w, &l->again_command);
    walk_u64(w, &l->again_order);
    walk_u64(w, &l->reached);
    walk_u64(w, &l->upto);
    walk_u8(w, &l->why);
    walk_f64(w, &l->ending_since);
    walk_request(w, &l->claim);
}

/* Trial t, which loading makes. */
static void
walk_trial(walk *w, ct_trial_id t)
{
    ct_control *c = w->c;
    ct_trial fresh = {.config = ct_nil(), .evaluated = ct_nil()};
    ct_trial *trial = w->loads ? &fresh : ct_trials_mut(c->trials, t);

    walk_text(w, &trial->id);
    walk_text(w, &trial->tag);
    walk_value(w, &trial->config);
    walk_value(w, &trial->evaluated);
    if (w->loads) {
        if (is_fine(w) && fresh.id == NULL) {
            damaged(w, "a trial");
        }
        if (w->st == CT_OK) {
            w->st = ct_grow((void **)&c->lives, &c->lives_cap, (size_t)t + 1,
                            sizeof *c->lives, w->err);
        }
        if (w->st == CT_OK) {
            memset(&c->lives[t], 0, sizeof c->lives[t]);
            w->st = ct_trials_add(c->trials, fresh.id, fresh.tag, &fresh.config,
                                  &fresh.evaluated, &t, w->err);
        }
        ct_free(fresh.id);
        ct_free(fresh.tag);
        ct_value_deinit(&fresh.config);
        ct_value_deinit(&fresh.evaluated);
        if (w->st != CT_OK) {
            return;
        }
        trial = ct_trials_mut(c->trials, t);
    }
    walk_u32(w, &trial->experiment);
    if (trial->experiment >= c->n_experiments) {
        trial->experiment = 0;
        damaged(w, "an experiment");
    }
    const char *dir = c->experiments[trial->experiment].dir;
    uint8_t status = trial->status;
    walk_u8(w, &status);
    walk_text(w, &trial->name);
    walk_path(w, dir, &trial->dir);
    walk_path(w, dir, &trial->error_file);
    walk_record(w, &trial->last, &trial->last_len);
    trial->last_cap = w->loads ? trial->last_len : trial->last_cap;
    walk_request(w, &trial->request);
    walk_u32(w, &trial->results);
    walk_u32(w, &trial->failures);
    walk_u32(w, &trial->told);
    walk_u32(w, &trial->checkpoints_made);
    walk_ref(w, &trial->from);
    walk_ref(w, &trial->offered);
    walk_u32(w, &trial->revision);
    walk_f64(w, &trial->start_time);
    walk_f64(w, &trial->last_result_time);
    walk_u8(w, &trial->end);
    walk_bool(w, &trial->replaced);
    walk_bool(w, &trial->stop_requested);
    walk_bool(w, &trial->offering);
    walk_checkpoints(w, dir, t);
    walk_live(w, &c->lives[t]);
    if (w->loads && is_fine(w)) {
        if (status >= CT_TRIAL_STATUS_COUNT) {
            damaged(w, "a status");
            return;
        }
        ct_trials_set_status(c->trials, t, (ct_trial_status)status);
        if (c->lives[t].claimed) {
            ct_resources_claim(c->resources, c->lives[t].claim);
        }
        if (c->stores && trial->dir != NULL) {
            const char *name = strrchr(trial->dir, '/') + 1;
            w->st =
                ct_map_put(&c->dirnames, ct_hash_bytes(name, strlen(name)), t, w->err);
        }
    }
}

typedef struct place {
    uint32_t at;
    ct_trial_id trial;
} place;

static int
compare_places(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The table's order, where it is not that of the numbers. */
static void
walk_order(walk *w)
{
    ct_trials *trials = w->c->trials;
    size_t n = ct_trials_count(trials);
    place *order = ct_alloc((n + 1) * sizeof *order);
    bool plain = true;

    if (order == NULL) {
        w->st = w->st == CT_OK ? ct_fail_mem(w->err) : w->st;
        return;
    }
    for (ct_trial_id t = 0; t < n; t++) {
        order[t] = (place){ct_trials_place(trials, t), t};
        plain = plain && (t == 0 || order[t].at > order[t - 1].at);
    }
    walk_bool(w, &plain);
    if (!plain && !w->loads) {
        qsort(order, n, sizeof *order, compare_places);
    }
    for (size_t i = 0; !plain && is_fine(w) && i < n; i++) {
        walk_u32(w, &order[i].trial);
        if (order[i].trial >= n) {
            damaged(w, "the order of trials");
        } else if (w->loads && is_fine(w)) {
            ct_trials_requeue(trials, order[i].trial);
        }
    }
    ct_free(order);
}

static void
check_refs(walk *w)
{
    size_t n = ct_trials_count(w->c->trials);

    for (ct_trial_id t = 0; w->st == CT_OK && t < n; t++) {
        const ct_trial *trial = ct_trials_get(w->c->trials, t);
        if ((trial->from.trial != CT_TRIAL_NONE && trial->from.trial >= n) ||
            (trial->offered.trial != CT_TRIAL_NONE && trial->offered.trial >= n)) {
            damaged(w, "whose checkpoints are used");
        }
    }
}

static void
walk_trials(walk *w)
{
    size_t n = ct_trials_count(w->c->trials);

    walk_count(w, &n);
    for (size_t t = 0; is_fine(w) && t < n; t++) {
        walk_trial(w, (ct_trial_id)t);
    }
    if (is_fine(w)) {
        walk_order(w);
        check_refs(w);
    }
}

/* --- metrics --- */

static void
walk_metric_name(walk *w, ct_name *name)
{
    walk_u32(w, name);
    if (w->loads && is_fine(w)) {
        if (*name >= w->n_map) {
            damaged(w, "a metric");
            return;
        }
        *name = w->map[*name];
    }
}

static void
walk_fold(walk *w, ct_metric_fold *f)
{
    walk_f64(w, &f->count);
    walk_f64(w, &f->max);
    walk_f64(w, &f->min);
    walk_f64(w, &f->avg);
    if (is_fine(w) && !(f->count >= 0.0)) {
        damaged(w, "a metric");
    }
    for (size_t i = 0; is_fine(w) && i < CT_METRIC_NEWEST && (double)i < f->count;
         i++) {
        walk_f64(w, &f->newest[i]);
    }
}

/* What rows left that were folded. */
static void
walk_folds(walk *w, ct_trial_id t, size_t rows)
{
    ct_metrics *m = w->c->metrics;
    const ct_name *known;
    size_t n = ct_metrics_names(m, t, &known);

    walk_count(w, &n);
    ct_name *names = ct_calloc(n + 1, sizeof *names);
    ct_metric_fold *folds = ct_calloc(n + 1, sizeof *folds);
    if (w->st == CT_OK && (names == NULL || folds == NULL)) {
        w->st = ct_fail_mem(w->err);
    }
    for (size_t i = 0; is_fine(w) && i < n; i++) {
        if (!w->loads) {
            names[i] = known[i];
            folds[i] = *ct_metrics_fold(m, t, i);
        }
        walk_metric_name(w, &names[i]);
        walk_fold(w, &folds[i]);
    }
    if (w->loads && is_fine(w)) {
        w->st = ct_metrics_put_folds(m, t, rows, names, folds, n, w->err);
    }
    ct_free(names);
    ct_free(folds);
}

/* Row by row as they were appended, so that columns come to stand where they stood. */
static void
walk_row(walk *w, ct_trial_id t, size_t row)
{
    ct_metrics_buf *b = &w->c->flat;
    size_t n = w->loads ? 0 : ct_metrics_row(w->c->metrics, t, row, b->items);

    walk_count(w, &n);
    if (w->st == CT_OK) {
        w->st = ct_grow((void **)&b->items, &b->cap, n + 1, sizeof *b->items, w->err);
    }
    for (size_t i = 0; is_fine(w) && i < n; i++) {
        walk_metric_name(w, &b->items[i].name);
        walk_f64(w, &b->items[i].value);
    }
    if (w->loads && is_fine(w)) {
        w->st = ct_metrics_append(w->c->metrics, t, b->items, n, w->err);
    }
}

static void
walk_metrics(walk *w)
{
    ct_control *c = w->c;

    for (ct_trial_id t = 0; is_fine(w) && t < ct_trials_count(c->trials); t++) {
        const ct_name *names;
        size_t folded = ct_metrics_folded(c->metrics, t);
        size_t rows = ct_metrics_rows(c->metrics, t) - folded;
        size_t columns = ct_metrics_names(c->metrics, t, &names);
        walk_size(w, &folded);
        if (is_fine(w) && folded > 0) {
            walk_folds(w, t, folded);
        }
        walk_count(w, &rows);
        if (w->st == CT_OK && !w->loads) {
            w->st = ct_grow((void **)&c->flat.items, &c->flat.cap, columns + 1,
                            sizeof *c->flat.items, w->err);
        }
        for (size_t i = 0; is_fine(w) && i < rows; i++) {
            walk_row(w, t, folded + i);
        }
    }
}

/* --- the rest --- */

static void
walk_orders(walk *w, ct_orders *o)
{
    size_t n = o->count;

    walk_count(w, &n);
    for (size_t i = 0; is_fine(w) && i < n; i++) {
        ct_order fresh = {.source = CT_TRIAL_NONE, .value = ct_nil()};
        ct_order *order = w->loads ? &fresh : &o->items[i];
        uint32_t kind = (uint32_t)order->kind;
        walk_u32(w, &kind);
        walk_u32(w, &order->trial);
        walk_u32(w, &order->source);
        walk_bool(w, &order->checkpoint);
        walk_value(w, &order->value);
        if (!w->loads) {
            continue;
        }
        size_t trials = ct_trials_count(w->c->trials);
        if (is_fine(w) &&
            (kind >= CT_ORDER_COUNT || order->trial >= trials ||
             (order->source != CT_TRIAL_NONE && order->source >= trials))) {
            damaged(w, "an order");
        }
        if (w->st == CT_OK) {
            w->st = ct_orders_add(o, (ct_order_kind)kind, order->trial,
                                  order->checkpoint, &order->value, w->err);
        }
        if (w->st == CT_OK) {
            o->items[o->count - 1].source = order->source;
        }
        ct_value_deinit(&fresh.value);
    }
}

static void
walk_control(walk *w)
{
    ct_control *c = w->c;

    walk_u64(w, &c->serials);
    walk_size(w, &c->open);
    walk_size(w, &c->workers);
    walk_size(w, &c->restarting);
    walk_f64(w, &c->board.now);
    walk_bool(w, &c->search_done);
    walk_bool(w, &c->ask);
    walk_bool(w, &c->place);
    walk_bool(w, &c->stop_asked);
    walk_bool(w, &c->stopping);
    walk_bool(w, &c->interrupted);
    walk_bool(w, &c->failed_fast);
    walk_bool(w, &c->ended);
    walk_bool(w, &c->gathers);
    size_t n = c->idle_count;
    walk_count(w, &n);
    if (w->loads && w->st == CT_OK) {
        w->st =
            ct_grow((void **)&c->idle, &c->idle_cap, n + 1, sizeof *c->idle, w->err);
        c->idle_count = w->st == CT_OK ? n : 0;
    }
    for (size_t i = 0; is_fine(w) && i < n; i++) {
        walk_u32(w, &c->idle[i]);
        if (c->idle[i] >= ct_trials_count(c->trials)) {
            damaged(w, "idle workers");
        }
    }
    walk_orders(w, &c->orders);
    walk_orders(w, &c->exploits);
}

/* --- policies --- */

static void
cannot(walk *w, const char *what, const char *name)
{
    w->st =
        ct_fail(w->err, CT_EUNSUPPORTED, what, "the state of %s cannot be saved", name);
}

/* `able` is false where there is no save. The value of one without a state is nil. */
#define WALK_POLICY(w, what, policy)                                                   \
    do {                                                                               \
        ct_value v_ = ct_nil();                                                        \
        if (is_fine(w) &&                                                              \
            ((policy)->ops->save == NULL || (policy)->ops->restore == NULL)) {         \
            cannot(w, what, (policy)->ops->name);                                      \
        }                                                                              \
        if (is_fine(w) && !(w)->loads) {                                               \
            (w)->st = (policy)->ops->save(policy, (w)->c->opts.names, &v_, (w)->err);  \
        }                                                                              \
        walk_value(w, &v_);                                                            \
        if (is_fine(w) && (w)->loads && v_.kind != CT_NIL) {                           \
            (w)->st =                                                                  \
                (policy)->ops->restore(policy, (w)->c->opts.names, &v_, (w)->err);     \
        }                                                                              \
        ct_value_deinit(&v_);                                                          \
    } while (0)

/* Other stop conditions than those that were saved hear of the results before, as far as
 * numbers tell them. What they say to it no longer counts; a result that lacks their
 * metric tells them nothing. */
static ct_status
tell_history(void *ctx, ct_stopper *s, ct_err *err)
{
    ct_control *c = ctx;
    ct_metrics_buf *b = &c->flat;
    ct_status st = CT_OK;

    for (ct_trial_id t = 0; st == CT_OK && t < ct_trials_count(c->trials); t++) {
        const ct_name *names;
        size_t columns = ct_metrics_names(c->metrics, t, &names);
        st = ct_grow((void **)&b->items, &b->cap, columns + 1, sizeof *b->items, err);
        for (size_t i = 0; st == CT_OK && i < ct_metrics_rows(c->metrics, t); i++) {
            ct_record_clear(&c->last);
            ct_result r = {b->items, ct_metrics_row(c->metrics, t, i, b->items),
                           &c->last};
            bool stop;
            st = s->ops->on_result(s, &c->board, t, &r, &stop, err);
            st = s->ops->foreign || st == CT_ENOMEM ? st : CT_OK;
        }
    }
    return st;
}

static void
walk_stopper(walk *w, ct_stopper *stopper)
{
    ct_past past = {tell_history, w->c};
    ct_value v = ct_nil();

    if (!w->loads && is_fine(w)) {
        w->st = ct_stopper_save(stopper, w->c->opts.names, &v, w->err);
    }
    walk_value(w, &v);
    if (w->loads && is_fine(w)) {
        w->st = ct_stopper_restore(stopper, w->c->opts.names, &v, &past, w->err);
    }
    ct_value_deinit(&v);
}

static void
walk_policies(walk *w)
{
    ct_scheduler *scheduler = w->c->opts.scheduler;
    ct_searcher *searcher = w->c->opts.searcher;
    ct_stopper *stopper = w->c->opts.stopper;
    bool stops = stopper != NULL;

    WALK_POLICY(w, "scheduler", scheduler);
    WALK_POLICY(w, "searcher", searcher);
    walk_bool(w, &stops);
    if (is_fine(w) && stopper != NULL && stops) {
        walk_stopper(w, stopper);
    } else if (is_fine(w) && stopper != NULL) { /* a later run may have other ones */
        w->st = ct_stopper_restore(stopper, w->c->opts.names, NULL,
                                   &(ct_past){tell_history, w->c}, w->err);
    } else if (stops) {
        ct_value v = ct_nil();
        walk_value(w, &v);
        ct_value_deinit(&v);
    }
}

/* What foreign policies are, besides; nil where there is none. */
static void
walk_foreign(walk *w)
{
    const ct_foreign_state *f = &w->c->opts.foreign;
    ct_value v = ct_nil();

    if (is_fine(w) && !w->loads && f->save != NULL) {
        w->st = f->save(f->ctx, &v, w->err);
    }
    walk_value(w, &v);
    if (is_fine(w) && w->loads && f->restore != NULL && v.kind != CT_NIL) {
        w->st = f->restore(f->ctx, &v, w->err);
    }
    ct_value_deinit(&v);
}

/* --- all of it --- */

static void
walk_all(walk *w)
{
    size_t n = w->c->n_experiments;

    walk_size(w, &n);
    if (is_fine(w) && n != w->c->n_experiments) {
        w->st = ct_fail(w->err, CT_EINVAL, "run_or_experiment",
                        "%zu experiments were begun in this directory and cannot go on "
                        "as %zu; give the same list",
                        n, w->c->n_experiments);
    }
    walk_names(w);
    walk_requests(w);
    walk_trials(w);
    walk_metrics(w);
    walk_control(w);
    walk_policies(w);
    walk_foreign(w);
}

static walk
walk_begin(ct_control *c, bool loads, ct_err *err)
{
    return (walk){
        .c = c, .loads = loads, .out = CT_BUF_INIT, .objects = CT_BUF_INIT, .err = err};
}

static void
walk_end(walk *w)
{
    ct_answers_deinit(&w->values);
    ct_buf_deinit(&w->out);
    ct_buf_deinit(&w->objects);
    ct_free(w->map);
    ct_free(w->requests);
}

static ct_status
put(ct_control *c, ct_value *dict, const char *key, ct_value v, ct_err *err)
{
    ct_name name;
    ct_status st = ct_names_intern(c->opts.names, key, strlen(key), &name, err);

    if (st != CT_OK) {
        ct_value_deinit(&v);
        return st;
    }
    return ct_value_put(dict, name, &v, err);
}

static ct_status
put_bytes(ct_control *c, ct_value *dict, const char *key, const ct_buf *bytes,
          ct_err *err)
{
    ct_value v = ct_nil();

    if (bytes->len >= UINT32_MAX) {
        return ct_fail(err, CT_EUNSUPPORTED, "snapshot",
                       "a state of %zu bytes is too large", bytes->len);
    }
    ct_status st = ct_str(&v, (const char *)bytes->data, bytes->len, err);
    return st == CT_OK ? put(c, dict, key, v, err) : st;
}

static ct_status
put_state(walk *w, ct_value *dict, ct_err *err)
{
    ct_status st = put_bytes(w->c, dict, "state", &w->out, err);
    return st == CT_OK && w->objects.len > 0
               ? put_bytes(w->c, dict, "objects", &w->objects, err)
               : st;
}

/* What people may want to know of it. */
static ct_status
put_summary(ct_control *c, ct_value *dict, ct_err *err)
{
    ct_value name = ct_nil();
    ct_status st = put(c, dict, "version", ct_i64(STATE_VERSION), err);

    if (st == CT_OK) {
        st = ct_str(&name, c->experiments[0].name, strlen(c->experiments[0].name), err);
    }
    if (st == CT_OK) {
        st = put(c, dict, "experiment", name, err);
    }
    if (st == CT_OK) {
        st = put(c, dict, "time", ct_f64(c->board.now), err);
    }
    for (int s = 0; st == CT_OK && s < CT_TRIAL_STATUS_COUNT; s++) {
        size_t n = ct_trials_with(c->trials, (ct_trial_status)s);
        st = put(c, dict, ct_trial_status_name((ct_trial_status)s), ct_i64((int64_t)n),
                 err);
    }
    return st;
}

ct_status
ct_control_save(ct_control *c, ct_value *out, ct_err *err)
{
    walk w = walk_begin(c, false, err);

    *out = ct_dict();
    ct_answers_init(&w.values, c->opts.names, (ct_ref_reader){NULL, NULL});
    w.values.apart = &w.objects;
    walk_all(&w);
    if (w.st == CT_OK) {
        w.st = put_summary(c, out, err);
    }
    if (w.st == CT_OK) {
        w.st = put_state(&w, out, err);
    }
    walk_end(&w);
    if (w.st != CT_OK) {
        ct_value_deinit(out);
    }
    return w.st;
}

static const ct_value *
get(const ct_control *c, const ct_value *dict, const char *key, ct_kind kind)
{
    ct_name n = ct_names_find(c->opts.names, key, strlen(key));
    const ct_value *v =
        dict->kind == CT_DICT && n != CT_NAME_NONE ? ct_value_get(dict, n) : NULL;

    return v != NULL && v->kind == kind ? v : NULL;
}

ct_status
ct_control_load(ct_control *c, const ct_value *saved, ct_ref_reader objects,
                ct_err *err)
{
    const ct_value *version = get(c, saved, "version", CT_I64);
    const ct_value *state = get(c, saved, "state", CT_STR);
    const ct_value *pickles = get(c, saved, "objects", CT_STR);
    walk w = walk_begin(c, true, err);

    if (ct_trials_count(c->trials) > 0) {
        return ct_fail(err, CT_ESTATE, "snapshot", "the run has begun already");
    }
    if (version == NULL || state == NULL) {
        return ct_fail(err, CT_ECORRUPT, "snapshot", "it holds no state");
    }
    if (version->u.i != STATE_VERSION) {
        return ct_fail(err, CT_EUNSUPPORTED, "snapshot",
                       "its state has version %lld, this is for version %d",
                       (long long)version->u.i, STATE_VERSION);
    }
    ct_answers_init(&w.values, c->opts.names, objects);
    w.in = ct_reader_of(state->u.s, state->len);
    if (pickles != NULL) {
        w.pickles = ct_reader_of(pickles->u.s, pickles->len);
    }
    w.values.read_apart = &w.pickles;
    walk_all(&w);
    if (is_fine(&w) && (w.in.at != w.in.len || w.pickles.at != w.pickles.len)) {
        damaged(&w, "its own length");
    }
    walk_end(&w);
    return w.st;
}
