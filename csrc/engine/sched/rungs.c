/* rungs.c: the rung book. Each rung's scores lie in a tree (base/ostat); which trial was
 * recorded where is a row of bits per trial, rows in one array indexed by trial id. */
#include "sched/rungs.h"

#include "base/mem.h"
#include "base/ostat.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef struct rung {
    double milestone;
    ct_ostat *scores; /* NULL until the first number */
    size_t nans;
} rung;

struct ct_rungs {
    rung *rungs;
    size_t count;
    size_t words; /* per trial */
    uint64_t *bits;
    size_t rows; /* trials that have a row */
};

/* A book whose milestones are still 0; NULL when out of memory. */
static ct_rungs *
book_alloc(size_t count)
{
    ct_rungs *r = ct_calloc(1, sizeof *r);
    rung *rungs = ct_calloc(count > 0 ? count : 1, sizeof *rungs);
    if (r == NULL || rungs == NULL) {
        ct_free(r);
        ct_free(rungs);
        return NULL;
    }
    r->rungs = rungs;
    r->count = count;
    r->words = (count + 63) / 64;
    return r;
}

ct_status
ct_rungs_new(ct_rungs **out, const double *milestones, size_t count, ct_err *err)
{
    ct_rungs *r = book_alloc(count);
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t k = 0; k < count; k++) {
        r->rungs[k].milestone = milestones[k];
    }
    *out = r;
    return CT_OK;
}

void
ct_rungs_free(ct_rungs *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t k = 0; k < r->count; k++) {
        ct_ostat_free(r->rungs[k].scores);
    }
    ct_free(r->rungs);
    ct_free(r->bits);
    ct_free(r);
}

size_t
ct_rungs_count(const ct_rungs *r)
{
    return r->count;
}

double
ct_rungs_milestone(const ct_rungs *r, size_t k)
{
    assert(k < r->count);
    return r->rungs[k].milestone;
}

bool
ct_rungs_has(const ct_rungs *r, size_t k, ct_trial_id t)
{
    assert(k < r->count);
    return t < r->rows && (r->bits[t * r->words + k / 64] >> (k % 64) & 1U) != 0;
}

size_t
ct_rungs_recorded(const ct_rungs *r, size_t k)
{
    assert(k < r->count);
    const ct_ostat *scores = r->rungs[k].scores;
    return r->rungs[k].nans + (scores != NULL ? ct_ostat_count(scores) : 0);
}

/* Gives every trial up to t a row of zeros. Doubles: trials come one by one. */
static ct_status
rows_reserve(ct_rungs *r, ct_trial_id t, ct_err *err)
{
    if (t < r->rows) {
        return CT_OK;
    }
    size_t rows = r->rows * 2 > (size_t)t + 1 ? r->rows * 2 : (size_t)t + 1;
    rows = rows < 64 ? 64 : rows;
    if (rows > SIZE_MAX / sizeof *r->bits / r->words) {
        return ct_fail_mem(err);
    }
    uint64_t *bits = ct_realloc(r->bits, rows * r->words * sizeof *bits);
    if (bits == NULL) {
        return ct_fail_mem(err);
    }
    memset(bits + r->rows * r->words, 0, (rows - r->rows) * r->words * sizeof *bits);
    r->bits = bits;
    r->rows = rows;
    return CT_OK;
}

static ct_status
score_insert(rung *g, double score, ct_err *err)
{
    if (isnan(score)) {
        g->nans++;
        return CT_OK;
    }
    ct_status st = CT_OK;
    if (g->scores == NULL) {
        st = ct_ostat_new(&g->scores, err);
    }
    return st == CT_OK ? ct_ostat_insert(g->scores, score, err) : st;
}

ct_status
ct_rungs_record(ct_rungs *r, size_t k, ct_trial_id t, double score, ct_err *err)
{
    assert(k < r->count && !ct_rungs_has(r, k, t));
    ct_status st = rows_reserve(r, t, err);
    if (st == CT_OK) {
        st = score_insert(&r->rungs[k], score, err);
    }
    if (st == CT_OK) {
        r->bits[t * r->words + k / 64] |= (uint64_t)1 << (k % 64);
    }
    return st;
}

bool
ct_rungs_nth_best(const ct_rungs *r, size_t k, size_t n, double *out)
{
    const ct_ostat *scores = r->rungs[k].scores;
    if (scores == NULL || n < 1 || n > ct_ostat_count(scores)) {
        return false;
    }
    *out = ct_ostat_at(scores, ct_ostat_count(scores) - n);
    return true;
}

bool
ct_rungs_cutoff(const ct_rungs *r, size_t k, double q, double *out)
{
    assert(k < r->count);
    const ct_ostat *scores = r->rungs[k].scores;
    if (scores != NULL && ct_ostat_count(scores) > 0) {
        *out = ct_ostat_percentile(scores, q);
        return true;
    }
    *out = (double)NAN;
    return r->rungs[k].nans > 0;
}

/* ---- state ---- */

static ct_status
put(ct_value *dict, ct_names *names, const char *key, ct_value *item, ct_err *err)
{
    ct_name name;
    ct_status st = ct_names_intern(names, key, strlen(key), &name, err);
    if (st != CT_OK) {
        ct_value_deinit(item);
        return st;
    }
    return ct_value_put(dict, name, item, err);
}

static ct_status
push_f64(ct_value *list, double v, ct_err *err)
{
    ct_value item = ct_f64(v);
    return ct_value_push(list, &item, err);
}

static ct_status
push_i64(ct_value *list, int64_t v, ct_err *err)
{
    ct_value item = ct_i64(v);
    return ct_value_push(list, &item, err);
}

static ct_status
save_rung(const rung *g, ct_value *milestones, ct_value *scores, ct_value *nans,
          ct_err *err)
{
    ct_value own = ct_list();
    ct_status st = push_f64(milestones, g->milestone, err);
    size_t n = g->scores != NULL ? ct_ostat_count(g->scores) : 0;
    for (size_t i = 0; st == CT_OK && i < n; i++) {
        st = push_f64(&own, ct_ostat_at(g->scores, i), err);
    }
    if (st == CT_OK) {
        st = ct_value_push(scores, &own, err);
    }
    if (st == CT_OK) {
        st = push_i64(nans, (int64_t)g->nans, err);
    }
    ct_value_deinit(&own);
    return st;
}

/* Trials without a record are left out, so that the value does not depend on how far the
 * rows have grown. */
static ct_status
save_rows(const ct_rungs *r, ct_value *trials, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t t = 0; st == CT_OK && t < r->rows; t++) {
        const uint64_t *row = r->bits + t * r->words;
        uint64_t any = 0;
        for (size_t w = 0; w < r->words; w++) {
            any |= row[w];
        }
        if (any == 0) {
            continue;
        }
        st = push_i64(trials, (int64_t)t, err);
        for (size_t w = 0; st == CT_OK && w < r->words; w++) {
            int64_t bits;
            memcpy(&bits, &row[w], sizeof bits);
            st = push_i64(trials, bits, err);
        }
    }
    return st;
}

ct_status
ct_rungs_save(const ct_rungs *r, ct_names *names, ct_value *out, ct_err *err)
{
    ct_value dict = ct_dict();
    ct_value milestones = ct_list();
    ct_value scores = ct_list();
    ct_value nans = ct_list();
    ct_value trials = ct_list();
    ct_status st = CT_OK;
    for (size_t k = 0; st == CT_OK && k < r->count; k++) {
        st = save_rung(&r->rungs[k], &milestones, &scores, &nans, err);
    }
    if (st == CT_OK) {
        st = save_rows(r, &trials, err);
    }
    if (st == CT_OK) {
        st = put(&dict, names, "milestones", &milestones, err);
    }
    if (st == CT_OK) {
        st = put(&dict, names, "scores", &scores, err);
    }
    if (st == CT_OK) {
        st = put(&dict, names, "nan", &nans, err);
    }
    if (st == CT_OK) {
        st = put(&dict, names, "trials", &trials, err);
    }
    if (st == CT_OK) {
        *out = dict;
        dict = ct_nil();
    }
    ct_value_deinit(&milestones);
    ct_value_deinit(&scores);
    ct_value_deinit(&nans);
    ct_value_deinit(&trials);
    ct_value_deinit(&dict);
    return st;
}

static ct_status
damaged(ct_err *err, const char *what)
{
    return ct_fail(err, CT_ECORRUPT, "rungs", "%s; the saved state is damaged", what);
}

/* The list under that key, or NULL. */
static const ct_value *
list_of(const ct_value *dict, const ct_names *names, const char *key)
{
    const ct_value *v = NULL;
    if (dict->kind == CT_DICT) {
        ct_name name = ct_names_find(names, key, strlen(key));
        v = name != CT_NAME_NONE ? ct_value_get(dict, name) : NULL;
    }
    return v != NULL && v->kind == CT_LIST ? v : NULL;
}

static ct_status
restore_rung(rung *g, const ct_value *scores, const ct_value *nans, ct_err *err)
{
    if (scores->kind != CT_LIST || nans->kind != CT_I64 || nans->u.i < 0) {
        return damaged(err, "a rung is not a list of scores and a count");
    }
    ct_status st = CT_OK;
    for (uint32_t i = 0; st == CT_OK && i < scores->len; i++) {
        double v;
        if (!ct_value_number(&scores->u.items[i], &v) || isnan(v)) {
            return damaged(err, "a score is not a number");
        }
        st = score_insert(g, v, err);
    }
    g->nans = (size_t)nans->u.i;
    return st;
}

static ct_status
restore_rows(ct_rungs *r, const ct_value *trials, ct_err *err)
{
    size_t step = r->words + 1;
    if (r->words == 0 && trials->len > 0) {
        return damaged(err, "a bracket without rungs has recorded trials");
    }
    if (trials->len % step != 0) {
        return damaged(err, "a row of trials is cut off");
    }
    for (size_t i = 0; i < trials->len; i += step) {
        for (size_t w = 0; w < step; w++) {
            if (trials->u.items[i + w].kind != CT_I64) {
                return damaged(err, "a row of trials holds more than integers");
            }
        }
        int64_t id = trials->u.items[i].u.i;
        if (id < 0 || id >= (int64_t)CT_TRIAL_NONE) {
            return damaged(err, "a trial number is out of range");
        }
        ct_status st = rows_reserve(r, (ct_trial_id)id, err);
        if (st != CT_OK) {
            return st;
        }
        for (size_t w = 0; w < r->words; w++) {
            memcpy(&r->bits[(size_t)id * r->words + w], &trials->u.items[i + 1 + w].u.i,
                   sizeof *r->bits);
        }
    }
    return CT_OK;
}

/* Bits and scores must tell the same number of records, or a trial could be recorded
 * twice. */
static ct_status
check_counts(const ct_rungs *r, ct_err *err)
{
    for (size_t k = 0; k < r->count; k++) {
        size_t n = 0;
        for (size_t t = 0; t < r->rows; t++) {
            n += ct_rungs_has(r, k, (ct_trial_id)t) ? 1 : 0;
        }
        if (n != ct_rungs_recorded(r, k)) {
            return damaged(err, "a rung has more or fewer scores than trials");
        }
    }
    return CT_OK;
}

ct_status
ct_rungs_restore(ct_rungs **r, ct_names *names, const ct_value *v, ct_err *err)
{
    const ct_value *milestones = list_of(v, names, "milestones");
    const ct_value *scores = list_of(v, names, "scores");
    const ct_value *nans = list_of(v, names, "nan");
    const ct_value *trials = list_of(v, names, "trials");
    size_t n = (*r)->count;
    if (milestones == NULL || scores == NULL || nans == NULL || trials == NULL) {
        return damaged(err, "a list is missing");
    }
    if (milestones->len != n || scores->len != n || nans->len != n) {
        return damaged(err, "it has another number of rungs");
    }
    ct_rungs *fresh = book_alloc(n);
    if (fresh == NULL) {
        return ct_fail_mem(err);
    }
    ct_status st = CT_OK;
    for (size_t k = 0; st == CT_OK && k < n; k++) {
        double m;
        double expected = (*r)->rungs[k].milestone;
        if (!ct_value_number(&milestones->u.items[k], &m) || m < expected ||
            m > expected) {
            st = damaged(err, "a milestone differs");
            break;
        }
        fresh->rungs[k].milestone = expected;
        st =
            restore_rung(&fresh->rungs[k], &scores->u.items[k], &nans->u.items[k], err);
    }
    if (st == CT_OK) {
        st = restore_rows(fresh, trials, err);
    }
    if (st == CT_OK) {
        st = check_counts(fresh, err);
    }
    if (st == CT_OK) {
        ct_rungs *old = *r;
        *r = fresh;
        fresh = old;
    }
    ct_rungs_free(fresh);
    return st;
}
