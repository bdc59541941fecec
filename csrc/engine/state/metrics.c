/* metrics.c: the metric store.
 *
 * A trial's numbers lie in one block of columns, each with room for `cap` rows. Which
 * column holds which name is its layout: a list of names that all trials share which
 * reported the same names in the same order. A list grows at its end only, so that
 * columns keep their numbers when a trial reports something new.
 *
 * What a result lacks is NaN. To tell that from a reported NaN, a trial that ever
 * lacked something keeps one bit per value; the others, nearly all, keep none.
 *
 * The usual row repeats its layout: then the names are compared and the values stored.
 * Any other row is prepared first (columns, layout, room) and stored when nothing can
 * fail. */
#include "state/metrics.h"

#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { FIRST_ROWS = 4, FAR_ROWS = 256, LINE_ROWS = 8, LIVE_ROWS = 1024 };
enum { FOLD_DOUBLES = sizeof(ct_metric_fold) / sizeof(double) };
static_assert(sizeof(ct_metric_fold) == FOLD_DOUBLES * sizeof(double),
              "a block of doubles holds folds");

struct ct_column_block {
    uint32_t holders; /* the store, and views */
    uint32_t cap;     /* rows per column */
    uint32_t columns;
    uint32_t unused; /* keeps data aligned to 16 */
    double data[];
};

typedef struct layout {
    ct_name *names;
    uint32_t count;
    uint32_t same_hash; /* next layout in this chain, or UINT32_MAX */
    ct_map column_of;   /* name -> column */
} layout;

typedef struct series {
    ct_column_block *block; /* NULL while there are no rows */
    uint64_t *present;      /* per column words_of(cap) words; NULL = nothing missing */
    ct_column_block *folds; /* a ct_metric_fold per column; NULL = no folded rows */
    uint64_t folded;        /* rows */
    uint32_t layout;
    uint32_t rows; /* in the block */
} series;

struct ct_metrics {
    series *series; /* by trial */
    size_t series_count;
    size_t series_cap;
    layout *layouts; /* 0 is the empty one */
    size_t layout_count;
    size_t layout_cap;
    ct_map by_hash;    /* hash of names -> first layout of the chain */
    uint32_t *columns; /* of the row being stored */
    size_t columns_cap;
    ct_name *list; /* the list of names being looked up */
    size_t list_cap;
    ct_name step;
};

/* ---- layouts ---- */

static uint64_t
list_hash(const ct_name *names, size_t count)
{
    return ct_hash_bytes(names, count * sizeof *names);
}

static ct_status
layout_fill(layout *l, const ct_name *names, size_t count, ct_err *err)
{
    l->names = ct_alloc(count * sizeof *names);
    if (l->names == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t i = 0; i < count; i++) {
        l->names[i] = names[i];
        ct_status st = ct_map_put(&l->column_of, names[i], (uint32_t)i, err);
        if (st != CT_OK) {
            return st;
        }
    }
    l->count = (uint32_t)count;
    return CT_OK;
}

static void
layout_deinit(layout *l)
{
    ct_free(l->names);
    ct_map_deinit(&l->column_of);
}

/* The layout of that list; made if new. */
static ct_status
layout_of(ct_metrics *m, const ct_name *names, size_t count, uint32_t *out, ct_err *err)
{
    uint64_t hash = list_hash(names, count);
    uint32_t chain = UINT32_MAX;
    if (!ct_map_get(&m->by_hash, hash, &chain)) {
        chain = UINT32_MAX;
    }
    for (uint32_t i = chain; i != UINT32_MAX; i = m->layouts[i].same_hash) {
        const layout *l = &m->layouts[i];
        if (l->count == count && memcmp(l->names, names, count * sizeof *names) == 0) {
            *out = i;
            return CT_OK;
        }
    }
    ct_status st = ct_grow((void **)&m->layouts, &m->layout_cap, m->layout_count + 1,
                           sizeof *m->layouts, err);
    if (st != CT_OK) {
        return st;
    }
    layout l = {NULL, 0, chain, CT_MAP_INIT};
    st = layout_fill(&l, names, count, err);
    if (st == CT_OK) {
        st = ct_map_put(&m->by_hash, hash, (uint32_t)m->layout_count, err);
    }
    if (st != CT_OK) {
        layout_deinit(&l);
        return st;
    }
    *out = (uint32_t)m->layout_count;
    m->layouts[m->layout_count++] = l;
    return CT_OK;
}

static bool
column_of(const layout *l, ct_name name, uint32_t *out)
{
    return ct_map_get(&l->column_of, name, out);
}

/* ---- the store ---- */

ct_status
ct_metrics_new(ct_metrics **out, ct_name step, ct_err *err)
{
    ct_metrics *m = ct_calloc(1, sizeof *m);
    if (m == NULL) {
        return ct_fail_mem(err);
    }
    m->step = step;
    uint32_t empty = 0;
    static const ct_name none[1] = {CT_NAME_NONE};
    ct_status st = layout_of(m, none, 0, &empty, err);
    if (st != CT_OK) {
        ct_metrics_free(m);
        return st;
    }
    *out = m;
    return CT_OK;
}

void
ct_metrics_free(ct_metrics *m)
{
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->series_count; i++) {
        ct_column_block_release(m->series[i].block);
        ct_column_block_release(m->series[i].folds);
        ct_free(m->series[i].present);
    }
    for (size_t i = 0; i < m->layout_count; i++) {
        layout_deinit(&m->layouts[i]);
    }
    ct_free(m->series);
    ct_free(m->layouts);
    ct_map_deinit(&m->by_hash);
    ct_free(m->columns);
    ct_free(m->list);
    ct_free(m);
}

void
ct_column_block_release(ct_column_block *b)
{
    if (b == NULL) {
        return;
    }
    assert(b->holders > 0);
    b->holders--;
    if (b->holders == 0) {
        ct_free(b);
    }
}

static const series *
series_get(const ct_metrics *m, ct_trial_id trial)
{
    return trial < m->series_count ? &m->series[trial] : NULL;
}

static ct_status
series_make(ct_metrics *m, ct_trial_id trial, ct_err *err)
{
    ct_status st = ct_grow((void **)&m->series, &m->series_cap, (size_t)trial + 1,
                           sizeof *m->series, err);
    if (st != CT_OK) {
        return st;
    }
    while (m->series_count <= trial) {
        m->series[m->series_count++] = (series){0};
    }
    return CT_OK;
}

/* ---- blocks and presence ---- */

static size_t
words_of(size_t cap)
{
    return (cap + 63) / 64;
}

static bool
is_present(const series *s, uint32_t column, size_t row)
{
    if (s->present == NULL) {
        return true;
    }
    uint64_t word = s->present[column * words_of(s->block->cap) + row / 64];
    return ((word >> (row % 64)) & 1U) != 0;
}

static void
mark_present(const series *s, uint32_t column, size_t row)
{
    uint64_t *word = &s->present[column * words_of(s->block->cap) + row / 64];
    *word |= UINT64_C(1) << (row % 64);
}

static ct_column_block *
block_new(size_t columns, size_t cap)
{
    if (columns > 0 &&
        cap > (SIZE_MAX - sizeof(ct_column_block)) / sizeof(double) / columns) {
        return NULL;
    }
    ct_column_block *b = ct_alloc(sizeof *b + columns * cap * sizeof(double));
    if (b != NULL) {
        b->holders = 1;
        b->cap = (uint32_t)cap;
        b->columns = (uint32_t)columns;
        b->unused = 0;
    }
    return b;
}

/* The presence bits of s from a row on in the shape of a new block; new columns are all
 * missing. */
static uint64_t *
present_reshape(const series *s, size_t from, size_t columns, size_t cap)
{
    uint64_t *bits = ct_calloc(columns * words_of(cap) + 1, sizeof *bits);
    uint32_t old_columns = s->block != NULL ? s->block->columns : 0;
    for (uint32_t c = 0; bits != NULL && c < old_columns; c++) {
        uint64_t *to = bits + c * words_of(cap);
        for (size_t row = from; row < s->rows; row++) {
            if (is_present(s, c, row)) {
                to[(row - from) / 64] |= UINT64_C(1) << ((row - from) % 64);
            }
        }
    }
    return bits;
}

/* Moves the trial's numbers from a row on to a block of that many columns and rows. The
 * old block stays with those who hold it. On failure nothing changed. */
static ct_status
series_reshape(series *s, size_t from, size_t columns, size_t cap, bool need_present,
               ct_err *err)
{
    ct_column_block *b = block_new(columns, cap);
    uint64_t *present = NULL;
    if (b == NULL) {
        return ct_fail_mem(err);
    }
    if (need_present || s->present != NULL) {
        present = present_reshape(s, from, columns, cap);
        if (present == NULL) {
            ct_column_block_release(b);
            return ct_fail_mem(err);
        }
    }
    uint32_t old_columns = s->block != NULL ? s->block->columns : 0;
    size_t rows = s->rows - from;
    for (size_t c = 0; c < columns; c++) {
        double *to = b->data + c * cap;
        if (c < old_columns) {
            memcpy(to, s->block->data + c * s->block->cap + from, rows * sizeof *to);
            continue;
        }
        for (size_t row = 0; row < rows; row++) {
            to[row] = (double)NAN;
        }
    }
    ct_column_block_release(s->block);
    ct_free(s->present);
    s->block = b;
    s->present = present;
    s->rows = (uint32_t)rows;
    return CT_OK;
}

/* ---- folding ---- */

static const ct_metric_fold *
fold_of(const series *s, uint32_t column)
{
    if (s->folds == NULL || column >= s->folds->columns) {
        return NULL; /* the metric is younger than the last folding */
    }
    const void *data = s->folds->data;
    return (const ct_metric_fold *)data + column;
}

/* Comparisons are ordered so that NaN does what it does to Python's max and min. */
static void
fold_add(ct_metric_fold *f, double v, double step)
{
    if (f->count == 0.0) {
        f->max = f->min = f->avg = v;
    } else {
        f->max = f->max > v ? f->max : v;
        f->min = f->min < v ? f->min : v;
        f->avg = 1.0 / step * (v + (step - 1.0) * f->avg);
    }
    f->count++;
}

static size_t
newest_count(const ct_metric_fold *f)
{
    return f->count < CT_METRIC_NEWEST ? (size_t)f->count : CT_METRIC_NEWEST;
}

/* Adds to what was folded of a column before the first `rows` of those that are kept. */
static void
fold_column(const ct_metrics *m, const series *s, uint32_t column, size_t rows,
            ct_metric_fold *out)
{
    const ct_metric_fold *before = fold_of(s, column);
    *out = before != NULL ? *before : (ct_metric_fold){0};
    if (s->block == NULL || column >= s->block->columns) {
        return;
    }
    uint32_t step_column = 0;
    bool has_step = m->step != CT_NAME_NONE &&
                    column_of(&m->layouts[s->layout], m->step, &step_column) &&
                    step_column < s->block->columns;
    const double *data = s->block->data + (size_t)column * s->block->cap;
    const double *steps = s->block->data + (size_t)step_column * s->block->cap;
    for (size_t row = 0; row < rows; row++) {
        if (!is_present(s, column, row)) {
            continue;
        }
        double at = (double)s->folded + (double)row + 1.0;
        if (has_step && is_present(s, step_column, row) && !isnan(steps[row])) {
            at = steps[row] != 0.0 ? steps[row] : 1.0;
        }
        fold_add(out, data[row], at);
    }
    /* From the end, so that only as many rows are looked at as are needed. */
    double newest[CT_METRIC_NEWEST];
    size_t n = CT_METRIC_NEWEST;
    for (size_t row = rows; row > 0 && n > 0; row--) {
        if (is_present(s, column, row - 1)) {
            newest[--n] = data[row - 1];
        }
    }
    size_t old = before != NULL ? newest_count(before) : 0;
    while (n > 0 && old > 0) {
        newest[--n] = before->newest[--old];
    }
    memcpy(out->newest, newest + n, (CT_METRIC_NEWEST - n) * sizeof *newest);
}

/* Folds the oldest rows and leaves a block of `cap` rows for the others, or none. On failure
 * nothing changed. */
static ct_status
series_fold(const ct_metrics *m, series *s, size_t rows, size_t cap, ct_err *err)
{
    uint32_t columns = m->layouts[s->layout].count;
    ct_column_block *folds = block_new(columns, FOLD_DOUBLES);
    if (folds == NULL) {
        return ct_fail_mem(err);
    }
    void *data = folds->data;
    for (uint32_t c = 0; c < columns; c++) {
        fold_column(m, s, c, rows, (ct_metric_fold *)data + c);
    }
    if (rows < s->rows) {
        ct_status st = series_reshape(s, rows, columns, cap, false, err);
        if (st != CT_OK) {
            ct_column_block_release(folds);
            return st;
        }
    } else {
        ct_column_block_release(s->block);
        ct_free(s->present);
        s->block = NULL;
        s->present = NULL;
        s->rows = 0;
    }
    ct_column_block_release(s->folds);
    s->folds = folds;
    s->folded += rows;
    return CT_OK;
}

/* ---- appending ---- */

static bool
repeats_layout(const layout *l, const ct_metric *items, size_t count)
{
    if (l->count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (l->names[i] != items[i].name) {
            return false;
        }
    }
    return true;
}

/* Fills m->columns for the row and finds the layout that holds it. */
static ct_status
place_row(ct_metrics *m, const series *s, const ct_metric *items, size_t count,
          uint32_t *layout_out, ct_err *err)
{
    const layout *l = &m->layouts[s->layout];
    size_t known = l->count;
    ct_status st = ct_grow((void **)&m->columns, &m->columns_cap, count + 1,
                           sizeof *m->columns, err);
    if (st == CT_OK) {
        st = ct_grow((void **)&m->list, &m->list_cap, known + count + 1,
                     sizeof *m->list, err);
    }
    if (st != CT_OK) {
        return st;
    }
    size_t n = known;
    for (size_t i = 0; i < count; i++) {
        if (!column_of(l, items[i].name, &m->columns[i])) {
            m->list[n++] = items[i].name;
        }
    }
    *layout_out = s->layout;
    if (n == known) {
        return CT_OK;
    }
    ct_map fresh = CT_MAP_INIT; /* a name may come twice within the row */
    size_t kept = known;
    for (size_t i = known; st == CT_OK && i < n; i++) {
        uint32_t seen = 0;
        if (!ct_map_get(&fresh, m->list[i], &seen)) {
            m->list[kept] = m->list[i];
            st = ct_map_put(&fresh, m->list[kept], (uint32_t)kept, err);
            kept++;
        }
    }
    ct_map_deinit(&fresh);
    if (st != CT_OK) {
        return st;
    }
    memcpy(m->list, l->names, known * sizeof *m->list);
    st = layout_of(m, m->list, kept, layout_out, err);
    for (size_t i = 0; st == CT_OK && i < count; i++) {
        (void)column_of(&m->layouts[*layout_out], items[i].name, &m->columns[i]);
    }
    return st;
}

/* Whether the row that place_row has just placed leaves a column empty. */
static bool
row_lacks_something(ct_metrics *m, size_t columns, size_t count)
{
    size_t distinct = 0;
    for (size_t c = 0; c < columns; c++) {
        m->list[c] = 0; /* done with the names: it serves as marks now */
    }
    for (size_t i = 0; i < count; i++) {
        distinct += m->list[m->columns[i]] == 0 ? 1 : 0;
        m->list[m->columns[i]] = 1;
    }
    return distinct < columns;
}

static size_t
more_rows(const series *s)
{
    if (s->block == NULL) {
        return FIRST_ROWS;
    }
    size_t cap = s->block->cap;
    if (s->rows < cap) {
        return cap;
    }
    /* Columns a power of two apart would all fall into the same lines of the cache. */
    return cap * 2 + (cap >= FAR_ROWS ? LINE_ROWS : 0);
}

/* A row that does not repeat the layout, or finds no room. */
static ct_status
append_slow(ct_metrics *m, series *s, const ct_metric *items, size_t count, ct_err *err)
{
    uint32_t to = 0;
    ct_status st = place_row(m, s, items, count, &to, err);
    if (st != CT_OK) {
        return st;
    }
    if (s->block != NULL && s->rows == s->block->cap && s->rows >= 2 * LIVE_ROWS) {
        st = series_fold(m, s, s->rows - LIVE_ROWS, s->block->cap, err);
        if (st != CT_OK) {
            return st;
        }
    }
    size_t columns = m->layouts[to].count;
    bool grown = s->block != NULL && columns > s->block->columns && s->rows > 0;
    bool lacks = grown || row_lacks_something(m, columns, count);
    if (s->block == NULL || s->rows == s->block->cap || columns > s->block->columns ||
        (lacks && s->present == NULL)) {
        st = series_reshape(s, 0, columns, more_rows(s), lacks, err);
        if (st != CT_OK) {
            return st;
        }
    }
    s->layout = to;
    size_t row = s->rows;
    for (size_t c = 0; c < columns; c++) {
        s->block->data[c * s->block->cap + row] = (double)NAN;
    }
    for (size_t i = 0; i < count; i++) {
        s->block->data[(size_t)m->columns[i] * s->block->cap + row] = items[i].value;
        if (s->present != NULL) {
            mark_present(s, m->columns[i], row);
        }
    }
    s->rows++;
    return CT_OK;
}

ct_status
ct_metrics_append(ct_metrics *m, ct_trial_id trial, const ct_metric *items,
                  size_t count, ct_err *err)
{
    if (trial >= m->series_count) {
        ct_status st = series_make(m, trial, err);
        if (st != CT_OK) {
            return st;
        }
    }
    series *s = &m->series[trial];
    if (s->block == NULL || s->rows == s->block->cap ||
        !repeats_layout(&m->layouts[s->layout], items, count)) {
        return append_slow(m, s, items, count, err);
    }
    double *to = s->block->data + s->rows;
    size_t stride = s->block->cap;
    for (size_t i = 0; i < count; i++, to += stride) {
        *to = items[i].value;
    }
    for (uint32_t c = 0; s->present != NULL && c < count; c++) {
        mark_present(s, c, s->rows);
    }
    s->rows++;
    return CT_OK;
}

void
ct_metrics_trim(ct_metrics *m, ct_trial_id trial)
{
    if (trial >= m->series_count) {
        return;
    }
    series *s = &m->series[trial];
    if (s->rows == 0) {
        return;
    }
    if (s->folds != NULL || s->rows > FOLD_DOUBLES) {
        (void)series_fold(m, s, s->rows, 0, NULL);
    } else if (s->rows < s->block->cap) {
        (void)series_reshape(s, 0, s->block->columns, s->rows, false, NULL);
    }
}

/* ---- reading ---- */

size_t
ct_metrics_rows(const ct_metrics *m, ct_trial_id trial)
{
    const series *s = series_get(m, trial);
    return s != NULL ? (size_t)s->folded + s->rows : 0;
}

size_t
ct_metrics_folded(const ct_metrics *m, ct_trial_id trial)
{
    const series *s = series_get(m, trial);
    return s != NULL ? (size_t)s->folded : 0;
}

bool
ct_metrics_last(const ct_metrics *m, ct_trial_id trial, ct_name name, double *out)
{
    const series *s = series_get(m, trial);
    uint32_t column = 0;
    if (s == NULL || !column_of(&m->layouts[s->layout], name, &column)) {
        return false;
    }
    for (size_t row = s->rows; row > 0; row--) {
        if (is_present(s, column, row - 1)) {
            *out = s->block->data[(size_t)column * s->block->cap + row - 1];
            return true;
        }
    }
    const ct_metric_fold *f = fold_of(s, column);
    if (f == NULL || newest_count(f) == 0) {
        return false;
    }
    *out = f->newest[newest_count(f) - 1];
    return true;
}

bool
ct_metrics_column(ct_metrics *m, ct_trial_id trial, ct_name name, ct_column *out)
{
    const series *s = series_get(m, trial);
    uint32_t column = 0;
    if (s == NULL || !column_of(&m->layouts[s->layout], name, &column)) {
        return false;
    }
    const ct_metric_fold *f = fold_of(s, column);
    if (s->rows > 0) {
        out->block = s->block;
        out->data = s->block->data + (size_t)column * s->block->cap;
        out->rows = s->rows;
    } else if (f != NULL) {
        out->block = s->folds;
        out->data = f->newest;
        out->rows = newest_count(f);
    } else {
        return false;
    }
    out->block->holders++;
    return true;
}

/* What is known of a folded row, see metrics.h. */
static double
folded_value(const series *s, const ct_metric_fold *f, size_t row)
{
    size_t newest = newest_count(f);
    if (row + newest >= s->folded) {
        return f->newest[row + newest - s->folded];
    }
    return row == 0 ? f->max : row == 1 ? f->min : (double)NAN;
}

size_t
ct_metrics_row(const ct_metrics *m, ct_trial_id trial, size_t row, ct_metric *out)
{
    const series *s = series_get(m, trial);
    size_t n = 0;
    if (row >= ct_metrics_rows(m, trial)) {
        return 0;
    }
    const layout *l = &m->layouts[s->layout];
    for (uint32_t i = 0; i < l->count; i++) {
        const ct_metric_fold *f = fold_of(s, i);
        if (row < s->folded) {
            if (f != NULL && f->count > 0.0) {
                out[n++] = (ct_metric){l->names[i], folded_value(s, f, row)};
            }
        } else if (is_present(s, i, row - s->folded)) {
            double v = s->block->data[(size_t)i * s->block->cap + (row - s->folded)];
            out[n++] = (ct_metric){l->names[i], v};
        }
    }
    return n;
}

const ct_metric_fold *
ct_metrics_fold(const ct_metrics *m, ct_trial_id trial, size_t i)
{
    static const ct_metric_fold none;
    const ct_metric_fold *f = fold_of(&m->series[trial], (uint32_t)i);
    return f != NULL ? f : &none;
}

ct_status
ct_metrics_put_folds(ct_metrics *m, ct_trial_id trial, size_t rows,
                     const ct_name *names, const ct_metric_fold *folds, size_t count,
                     ct_err *err)
{
    uint32_t to = 0;
    ct_status st = series_make(m, trial, err);
    if (st == CT_OK) {
        st = layout_of(m, names, count, &to, err);
    }
    if (st != CT_OK) {
        return st;
    }
    series *s = &m->series[trial];
    assert(s->rows == 0 && s->folds == NULL);
    s->folds = block_new(count, FOLD_DOUBLES);
    if (s->folds == NULL) {
        return ct_fail_mem(err);
    }
    memcpy(s->folds->data, folds, count * sizeof *folds);
    s->folded = rows;
    s->layout = to;
    return CT_OK;
}

size_t
ct_metrics_names(const ct_metrics *m, ct_trial_id trial, const ct_name **out)
{
    const series *s = series_get(m, trial);
    const layout *l = &m->layouts[s != NULL ? s->layout : 0];
    *out = l->names;
    return l->count;
}

/* ---- statistics ---- */

/* All rows of a metric as if they were folded; false when none had it. */
static bool
fold_all(const ct_metrics *m, ct_trial_id trial, ct_name name, ct_metric_fold *out)
{
    const series *s = series_get(m, trial);
    uint32_t column = 0;
    if (s == NULL || !column_of(&m->layouts[s->layout], name, &column)) {
        return false;
    }
    fold_column(m, s, column, s->rows, out);
    return out->count > 0.0;
}

size_t
ct_metrics_newest(const ct_metrics *m, ct_trial_id trial, ct_name name,
                  double out[CT_METRIC_NEWEST])
{
    ct_metric_fold f;
    if (!fold_all(m, trial, name, &f)) {
        return 0;
    }
    memcpy(out, f.newest, newest_count(&f) * sizeof *out);
    return newest_count(&f);
}

/* The mean of the last n values, summed from the oldest on. */
static double
mean_of_last(const ct_metric_fold *f, size_t n)
{
    size_t count = newest_count(f);
    size_t used = count < n ? count : n;
    double sum = 0.0;
    for (size_t i = count - used; i < count; i++) {
        sum += f->newest[i];
    }
    return sum / (double)used;
}

bool
ct_metrics_stats(const ct_metrics *m, ct_trial_id trial, ct_name name,
                 ct_metric_stats *out)
{
    ct_metric_fold f;
    if (!fold_all(m, trial, name, &f)) {
        return false;
    }
    double last = f.newest[newest_count(&f) - 1];
    bool one =
        f.count == 1.0; /* the reference does not add it to 0, which loses -0.0 */
    *out = (ct_metric_stats){f.max,
                             f.min,
                             f.avg,
                             last,
                             one ? last : mean_of_last(&f, 5),
                             one ? last : mean_of_last(&f, CT_METRIC_NEWEST),
                             (size_t)f.count};
    return true;
}

size_t
ct_metrics_bytes(const ct_metrics *m, size_t *history)
{
    size_t blocks = 0;
    for (size_t i = 0; i < m->series_count; i++) {
        const ct_column_block *b = m->series[i].block;
        if (b != NULL) {
            blocks += sizeof *b + (size_t)b->columns * b->cap * sizeof(double);
            if (m->series[i].present != NULL) {
                blocks += b->columns * words_of(b->cap) * sizeof(uint64_t);
            }
        }
        b = m->series[i].folds;
        blocks += b != NULL ? sizeof *b + b->columns * sizeof(ct_metric_fold) : 0;
    }
    size_t total = sizeof *m + blocks + m->series_cap * sizeof *m->series +
                   m->layout_cap * sizeof *m->layouts +
                   m->columns_cap * sizeof *m->columns + m->list_cap * sizeof *m->list;
    for (size_t i = 0; i < m->layout_count; i++) {
        total += m->layouts[i].count * sizeof(ct_name);
    }
    if (history != NULL) {
        *history = blocks;
    }
    return total;
}
