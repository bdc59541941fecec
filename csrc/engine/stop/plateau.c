/* plateau.c: plateaus of one trial, and of the best values of all. */
#include "stop/plateau.h"

#include "base/mem.h"
#include "base/stats.h"
#include "stop/key.h"

#include <math.h>
#include <string.h>

/* Each result looks at all the values that are kept. */
enum { MOST_VALUES = 1 << 24 };

/* ---- saved lists of numbers ---- */

static ct_status
push_number(ct_value *list, double v, ct_err *err)
{
    ct_value item = ct_f64(v);
    return ct_value_push(list, &item, err);
}

static ct_status
save_numbers(ct_value *list, const double *v, size_t n, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < n; i++) {
        st = push_number(list, v[i], err);
    }
    return st;
}

static ct_status
damaged(ct_err *err)
{
    return ct_fail(
        err, CT_ECORRUPT, "stop",
        "the saved state is not that of this plateau stopper; resume with the "
        "stopper that the run began with");
}

/* A count of at most `most`, from the number at `at`. */
static bool
read_count(const ct_value *list, uint32_t at, int64_t most, int64_t *out)
{
    if (at >= list->len || list->u.items[at].kind != CT_I64) {
        return false;
    }
    *out = list->u.items[at].u.i;
    return *out >= 0 && *out <= most;
}

static bool
read_numbers(const ct_value *list, uint32_t from, double *out)
{
    for (uint32_t i = from; i < list->len; i++) {
        if (!ct_value_number(&list->u.items[i], &out[i - from])) {
            return false;
        }
    }
    return true;
}

/* ---- of one trial ---- */

/* The last num_results values of each trial, oldest first; spans of one array. */
typedef struct trial_plateau {
    ct_stopper stopper; /* first */
    ct_stop_key key;
    ct_trial_plateau_opts opts; /* its metric is in `key` */
    int64_t *seen;              /* results per trial */
    size_t seen_cap;
    double **last; /* per trial; NULL before its first result */
    size_t last_cap;
} trial_plateau;

static size_t
window(const trial_plateau *self, ct_trial_id t)
{
    int64_t n = self->seen[t];
    return (size_t)(n < self->opts.num_results ? n : self->opts.num_results);
}

static ct_status
trials_reserve(trial_plateau *self, size_t need, ct_err *err)
{
    size_t before = self->seen_cap;
    ct_status st =
        ct_grow((void **)&self->seen, &self->seen_cap, need, sizeof *self->seen, err);
    if (st == CT_OK) {
        memset(self->seen + before, 0, (self->seen_cap - before) * sizeof *self->seen);
        before = self->last_cap;
        st = ct_grow((void **)&self->last, &self->last_cap, need, sizeof *self->last,
                     err);
    }
    for (size_t i = before; st == CT_OK && i < self->last_cap; i++) {
        self->last[i] = NULL;
    }
    return st;
}

/* Room for the window of one trial. */
static ct_status
window_reserve(trial_plateau *self, ct_trial_id t, ct_err *err)
{
    ct_status st = trials_reserve(self, (size_t)t + 1, err);
    if (st == CT_OK && self->last[t] == NULL) {
        self->last[t] =
            ct_calloc((size_t)self->opts.num_results, sizeof *self->last[t]);
        st = self->last[t] != NULL ? CT_OK : ct_fail_mem(err);
    }
    return st;
}

static bool
good_enough(const trial_plateau *self, double value)
{
    if (!self->opts.has_threshold) {
        return true;
    }
    return self->opts.maximize ? !(value < self->opts.threshold)
                               : !(value > self->opts.threshold);
}

ct_status
ct_stop_trial_plateau_check(ct_stopper *s, ct_trial_id t, double value, bool *stop,
                            ct_err *err)
{
    trial_plateau *self = (trial_plateau *)s;
    *stop = false;
    ct_status st = window_reserve(self, t, err);
    if (st != CT_OK) {
        return st;
    }
    size_t n = window(self, t);
    double *last = self->last[t];
    if (n == (size_t)self->opts.num_results) {
        n--;
        memmove(last, last + 1, n * sizeof *last);
    }
    last[n] = value;
    self->seen[t]++;
    if (self->seen[t] >= self->opts.grace_period &&
        self->seen[t] >= self->opts.num_results && good_enough(self, value)) {
        *stop = ct_std(last, n + 1) < self->opts.std;
    }
    return CT_OK;
}

static ct_status
trial_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                bool *stop, ct_err *err)
{
    double value;
    if (!ct_stop_key_get(&((trial_plateau *)s)->key, b, r, &value)) {
        value = (double)NAN;
    }
    return ct_stop_trial_plateau_check(s, t, value, stop, err);
}

static ct_status
trial_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    (void)s;
    (void)b;
    (void)err;
    *stop = false;
    return CT_OK;
}

/* Per trial a list: results seen, then the last values; or nil. */
static ct_status
trial_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names;
    trial_plateau *self = (trial_plateau *)s;
    size_t n = self->last_cap;
    while (n > 0 && self->last[n - 1] == NULL) {
        n--;
    }
    ct_value all = ct_list();
    ct_status st = CT_OK;
    for (size_t t = 0; st == CT_OK && t < n; t++) {
        ct_value item = ct_nil();
        if (self->last[t] != NULL) {
            item = ct_list();
            ct_value seen = ct_i64(self->seen[t]);
            st = ct_value_push(&item, &seen, err);
            if (st == CT_OK) {
                st = save_numbers(&item, self->last[t], window(self, (ct_trial_id)t),
                                  err);
            }
        }
        if (st == CT_OK) {
            st = ct_value_push(&all, &item, err);
        }
        ct_value_deinit(&item);
    }
    if (st == CT_OK) {
        *out = all;
        all = ct_nil();
    }
    ct_value_deinit(&all);
    return st;
}

static void
trials_forget(trial_plateau *self)
{
    for (size_t t = 0; t < self->last_cap; t++) {
        ct_free(self->last[t]);
    }
    ct_free(self->last);
    ct_free(self->seen);
    self->last = NULL;
    self->seen = NULL;
    self->last_cap = 0;
    self->seen_cap = 0;
}

static ct_status
trial_restore(ct_stopper *s, ct_names *names, const ct_value *v, const ct_past *past,
              ct_err *err)
{
    (void)past;
    (void)names;
    trial_plateau *self = (trial_plateau *)s;
    trial_plateau fresh = {.opts = self->opts};
    if (v->kind != CT_LIST) {
        return damaged(err);
    }
    ct_status st = CT_OK;
    for (uint32_t t = 0; st == CT_OK && t < v->len; t++) {
        const ct_value *item = &v->u.items[t];
        int64_t seen = 0;
        if (item->kind == CT_NIL) {
            continue;
        }
        if (item->kind != CT_LIST || !read_count(item, 0, INT64_MAX - 1, &seen)) {
            st = damaged(err);
            break;
        }
        st = window_reserve(&fresh, t, err);
        if (st == CT_OK) {
            fresh.seen[t] = seen;
            if (item->len - 1 != window(&fresh, t) ||
                !read_numbers(item, 1, fresh.last[t])) {
                st = damaged(err);
            }
        }
    }
    if (st == CT_OK) {
        trials_forget(self);
        self->seen = fresh.seen;
        self->seen_cap = fresh.seen_cap;
        self->last = fresh.last;
        self->last_cap = fresh.last_cap;
    } else {
        trials_forget(&fresh);
    }
    return st;
}

static void
trial_free(ct_stopper *s)
{
    trial_plateau *self = (trial_plateau *)s;
    if (self != NULL) {
        trials_forget(self);
        ct_stop_key_deinit(&self->key);
        ct_free(self);
    }
}

static const ct_stopper_ops TRIAL_OPS = {
    .name = "trial plateau",
    .foreign = false,
    .on_result = trial_on_result,
    .stop_all = trial_stop_all,
    .save = trial_save,
    .restore = trial_restore,
    .free = trial_free,
};

ct_status
ct_stop_trial_plateau_new(ct_stopper **out, const ct_trial_plateau_opts *opts,
                          ct_err *err)
{
    if (opts->num_results < 1 || opts->num_results > MOST_VALUES) {
        return ct_fail(err, CT_EINVAL, "num_results", "must be from 1 to %d, got %lld",
                       MOST_VALUES, (long long)opts->num_results);
    }
    if (isnan(opts->std)) {
        return ct_fail(err, CT_EINVAL, "std", "must be a number, got nan");
    }
    if (opts->has_threshold && isnan(opts->threshold)) {
        return ct_fail(err, CT_EINVAL, "metric_threshold", "must be a number, got nan");
    }
    trial_plateau *self = ct_calloc(1, sizeof *self);
    if (self == NULL) {
        return ct_fail_mem(err);
    }
    self->stopper.ops = &TRIAL_OPS;
    self->opts = *opts;
    self->opts.metric = NULL;
    ct_status st = ct_stop_key_init(&self->key, opts->metric, opts->metric_len, err);
    if (st != CT_OK) {
        trial_free(&self->stopper);
        return st;
    }
    *out = &self->stopper;
    return CT_OK;
}

/* ---- of the experiment ---- */

typedef struct experiment_plateau {
    ct_stopper stopper; /* first */
    ct_stop_key key;
    ct_experiment_plateau_opts opts; /* its metric is in `key` */
    int64_t count;                   /* of the best values */
    int64_t lasted;                  /* results in a row that found a plateau */
    bool reached;                    /* by the last one */
    double best[];                   /* ascending; room for top + 1 */
} experiment_plateau;

static void
keep_best(experiment_plateau *self, double value)
{
    int64_t at = self->count;
    while (at > 0 && self->best[at - 1] > value) {
        self->best[at] = self->best[at - 1];
        at--;
    }
    self->best[at] = value;
    self->count++;
    if (self->count > self->opts.top) {
        self->count--;
        if (self->opts.maximize) {
            memmove(self->best, self->best + 1,
                    (size_t)self->count * sizeof self->best[0]);
        }
    }
}

static bool
plateau(const experiment_plateau *self)
{
    return self->count == self->opts.top &&
           ct_std(self->best, (size_t)self->count) <= self->opts.std;
}

bool
ct_stop_experiment_plateau_check(ct_stopper *s, double value)
{
    experiment_plateau *self = (experiment_plateau *)s;
    if (!isnan(value)) {
        keep_best(self, value);
    }
    self->reached = plateau(self);
    self->lasted = self->reached ? self->lasted + 1 : 0;
    return ct_stop_experiment_plateau_over(s);
}

bool
ct_stop_experiment_plateau_reached(const ct_stopper *s)
{
    return ((const experiment_plateau *)s)->reached;
}

bool
ct_stop_experiment_plateau_over(const ct_stopper *s)
{
    const experiment_plateau *self = (const experiment_plateau *)s;
    return self->reached && self->lasted >= self->opts.patience;
}

static ct_status
experiment_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t,
                     const ct_result *r, bool *stop, ct_err *err)
{
    (void)t;
    ct_stop_key *key = &((experiment_plateau *)s)->key;
    double value;
    *stop = false;
    if (!ct_stop_key_get(key, b, r, &value)) {
        return ct_stop_key_fail(key, b, r, err);
    }
    *stop = ct_stop_experiment_plateau_check(s, value);
    return CT_OK;
}

static ct_status
experiment_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    (void)b;
    (void)err;
    *stop = ct_stop_experiment_plateau_over(s);
    return CT_OK;
}

/* A list: results the plateau lasted, then the best values. */
static ct_status
experiment_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names;
    const experiment_plateau *self = (const experiment_plateau *)s;
    ct_value list = ct_list();
    ct_value lasted = ct_i64(self->lasted);
    ct_status st = ct_value_push(&list, &lasted, err);
    if (st == CT_OK) {
        st = save_numbers(&list, self->best, (size_t)self->count, err);
    }
    if (st == CT_OK) {
        *out = list;
        list = ct_nil();
    }
    ct_value_deinit(&list);
    return st;
}

static ct_status
experiment_restore(ct_stopper *s, ct_names *names, const ct_value *v,
                   const ct_past *past, ct_err *err)
{
    (void)past;
    (void)names;
    experiment_plateau *self = (experiment_plateau *)s;
    int64_t lasted;
    double seen;
    if (v->kind != CT_LIST || !read_count(v, 0, INT64_MAX - 1, &lasted) ||
        (int64_t)v->len - 1 > self->opts.top) {
        return damaged(err);
    }
    for (uint32_t i = 1; i < v->len; i++) {
        if (!ct_value_number(&v->u.items[i], &seen) || isnan(seen)) {
            return damaged(err);
        }
    }
    self->count = 0;
    for (uint32_t i = 1; i < v->len; i++) {
        (void)ct_value_number(&v->u.items[i], &seen);
        keep_best(self, seen);
    }
    self->lasted = lasted;
    self->reached = plateau(self);
    return CT_OK;
}

static void
experiment_free(ct_stopper *s)
{
    experiment_plateau *self = (experiment_plateau *)s;
    if (self != NULL) {
        ct_stop_key_deinit(&self->key);
        ct_free(self);
    }
}

static const ct_stopper_ops EXPERIMENT_OPS = {
    .name = "experiment plateau",
    .foreign = false,
    .on_result = experiment_on_result,
    .stop_all = experiment_stop_all,
    .save = experiment_save,
    .restore = experiment_restore,
    .free = experiment_free,
};

ct_status
ct_stop_experiment_plateau_new(ct_stopper **out, const ct_experiment_plateau_opts *opts,
                               ct_err *err)
{
    if (opts->top < 2 || opts->top > MOST_VALUES) {
        return ct_fail(err, CT_EINVAL, "top", "must be from 2 to %d, got %lld",
                       MOST_VALUES, (long long)opts->top);
    }
    if (!(opts->std > 0.0)) {
        return ct_fail(err, CT_EINVAL, "std", "must be above 0, got %g", opts->std);
    }
    if (opts->patience < 0) {
        return ct_fail(err, CT_EINVAL, "patience", "must be at least 0, got %lld",
                       (long long)opts->patience);
    }
    experiment_plateau *self = NULL;
    self = ct_calloc(1, sizeof *self + ((size_t)opts->top + 1) * sizeof self->best[0]);
    if (self == NULL) {
        return ct_fail_mem(err);
    }
    self->stopper.ops = &EXPERIMENT_OPS;
    self->opts = *opts;
    self->opts.metric = NULL;
    ct_status st = ct_stop_key_init(&self->key, opts->metric, opts->metric_len, err);
    if (st != CT_OK) {
        experiment_free(&self->stopper);
        return st;
    }
    *out = &self->stopper;
    return CT_OK;
}
