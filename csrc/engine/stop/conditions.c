/* conditions.c: thresholds, iterations, time budget, any-of. */
#include "stop/conditions.h"

#include "base/mem.h"
#include "stop/key.h"

#include <math.h>
#include <string.h>

/* What most conditions answer to the question that is not theirs. */
static ct_status
never_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    (void)s;
    (void)b;
    (void)err;
    *stop = false;
    return CT_OK;
}

static ct_status
stateless_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)s;
    (void)names;
    (void)err;
    *out = ct_nil();
    return CT_OK;
}

static ct_status
stateless_restore(ct_stopper *s, ct_names *names, const ct_value *v,
                  const ct_past *past, ct_err *err)
{
    (void)past;
    (void)s;
    (void)names;
    (void)v;
    (void)err;
    return CT_OK;
}

/* ---- thresholds ---- */

typedef struct threshold {
    ct_stop_key key;
    double limit;
} threshold;

typedef struct thresholds {
    ct_stopper stopper; /* first */
    size_t count;
    threshold items[];
} thresholds;

static void
thresholds_free(ct_stopper *s)
{
    thresholds *self = (thresholds *)s;
    if (self == NULL) {
        return;
    }
    for (size_t i = 0; i < self->count; i++) {
        ct_stop_key_deinit(&self->items[i].key);
    }
    ct_free(self);
}

static ct_status
thresholds_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t,
                     const ct_result *r, bool *stop, ct_err *err)
{
    (void)t;
    thresholds *self = (thresholds *)s;
    *stop = false;
    for (size_t i = 0; !*stop && i < self->count; i++) {
        threshold *item = &self->items[i];
        double v;
        if (!ct_stop_key_get(&item->key, b, r, &v)) {
            return ct_stop_key_fail(&item->key, b, r, err);
        }
        *stop = v >= item->limit;
    }
    return CT_OK;
}

static const ct_stopper_ops THRESHOLDS_OPS = {
    .name = "thresholds",
    .foreign = false,
    .forgets = true,
    .on_result = thresholds_on_result,
    .stop_all = never_all,
    .save = stateless_save,
    .restore = stateless_restore,
    .free = thresholds_free,
};

static ct_status
threshold_init(threshold *out, const ct_threshold *in, ct_err *err)
{
    if (isnan(in->limit)) {
        return ct_fail(
            err, CT_EINVAL, "stop",
            "the condition \"%.*s\" has the limit nan, which nothing reaches",
            (int)(in->key_len < 128 ? in->key_len : 128), in->key);
    }
    out->limit = in->limit;
    return ct_stop_key_init(&out->key, in->key, in->key_len, err);
}

ct_status
ct_stop_thresholds_new(ct_stopper **out, const ct_threshold *items, size_t count,
                       ct_err *err)
{
    thresholds *self = NULL;
    if (count > (SIZE_MAX - sizeof *self) / sizeof self->items[0]) {
        return ct_fail_mem(err);
    }
    self = ct_calloc(1, sizeof *self + count * sizeof self->items[0]);
    if (self == NULL) {
        return ct_fail_mem(err);
    }
    self->stopper.ops = &THRESHOLDS_OPS;
    ct_status st = CT_OK;
    for (; self->count < count; self->count++) {
        st = threshold_init(&self->items[self->count], &items[self->count], err);
        if (st != CT_OK) {
            goto done;
        }
    }
    *out = &self->stopper;
    self = NULL;
done:
    thresholds_free((ct_stopper *)self);
    return st;
}

/* ---- iterations ---- */

typedef struct iterations {
    ct_stopper stopper; /* first */
    int64_t max_iter;
    uint32_t *seen; /* results per trial */
    size_t cap;
} iterations;

static ct_status
seen_reserve(iterations *self, size_t need, ct_err *err)
{
    size_t before = self->cap;
    ct_status st =
        ct_grow((void **)&self->seen, &self->cap, need, sizeof *self->seen, err);
    if (st == CT_OK && self->cap > before) {
        memset(self->seen + before, 0, (self->cap - before) * sizeof *self->seen);
    }
    return st;
}

static ct_status
iterations_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t,
                     const ct_result *r, bool *stop, ct_err *err)
{
    (void)b;
    (void)r;
    iterations *self = (iterations *)s;
    ct_status st = seen_reserve(self, (size_t)t + 1, err);
    if (st != CT_OK) {
        return st;
    }
    if (self->seen[t] < UINT32_MAX) {
        self->seen[t]++;
    }
    *stop = (int64_t)self->seen[t] >= self->max_iter;
    return CT_OK;
}

/* A list of counts by trial. */
static ct_status
iterations_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names;
    const iterations *self = (const iterations *)s;
    size_t n = self->cap;
    while (n > 0 && self->seen[n - 1] == 0) {
        n--;
    }
    ct_value list = ct_list();
    ct_status st = CT_OK;
    for (size_t t = 0; st == CT_OK && t < n; t++) {
        ct_value item = ct_i64((int64_t)self->seen[t]);
        st = ct_value_push(&list, &item, err);
    }
    if (st == CT_OK) {
        *out = list;
        list = ct_nil();
    }
    ct_value_deinit(&list);
    return st;
}

static ct_status
iterations_restore(ct_stopper *s, ct_names *names, const ct_value *v,
                   const ct_past *past, ct_err *err)
{
    (void)past;
    (void)names;
    iterations *self = (iterations *)s;
    if (v->kind != CT_LIST) {
        return ct_fail(err, CT_ECORRUPT, "stop", "the saved counts are not a list");
    }
    for (uint32_t t = 0; t < v->len; t++) {
        const ct_value *item = &v->u.items[t];
        if (item->kind != CT_I64 || item->u.i < 0 || item->u.i > (int64_t)UINT32_MAX) {
            return ct_fail(err, CT_ECORRUPT, "stop",
                           "the saved count of trial %u is not a count", (unsigned)t);
        }
    }
    ct_status st = seen_reserve(self, v->len, err);
    if (st != CT_OK) {
        return st;
    }
    for (size_t t = 0; t < self->cap; t++) {
        self->seen[t] = t < v->len ? (uint32_t)v->u.items[t].u.i : 0;
    }
    return CT_OK;
}

static void
iterations_free(ct_stopper *s)
{
    iterations *self = (iterations *)s;
    if (self != NULL) {
        ct_free(self->seen);
        ct_free(self);
    }
}

static const ct_stopper_ops ITERATIONS_OPS = {
    .name = "iterations",
    .foreign = false,
    .on_result = iterations_on_result,
    .stop_all = never_all,
    .save = iterations_save,
    .restore = iterations_restore,
    .free = iterations_free,
};

ct_status
ct_stop_iterations_new(ct_stopper **out, int64_t max_iter, ct_err *err)
{
    iterations *self = ct_calloc(1, sizeof *self);
    if (self == NULL) {
        return ct_fail_mem(err);
    }
    self->stopper.ops = &ITERATIONS_OPS;
    self->max_iter = max_iter;
    *out = &self->stopper;
    return CT_OK;
}

/* ---- time budget ---- */

typedef struct budget {
    ct_stopper stopper; /* first */
    double limit;       /* seconds in all */
    double left;
    double last; /* time of the last question */
    bool started;
} budget;

bool
ct_stop_budget_check(ct_stopper *s, double now)
{
    budget *self = (budget *)s;
    if (self->started) {
        self->left -= now - self->last;
    }
    self->last = now;
    self->started = true;
    return self->left <= 0.0;
}

double
ct_stop_budget_left(const ct_stopper *s)
{
    return ((const budget *)s)->left;
}

void
ct_stop_budget_set(ct_stopper *s, double left)
{
    budget *self = (budget *)s;
    self->left = left;
    self->started = false;
}

static ct_status
budget_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                 bool *stop, ct_err *err)
{
    (void)s;
    (void)b;
    (void)t;
    (void)r;
    (void)err;
    *stop = false;
    return CT_OK;
}

static ct_status
budget_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    (void)err;
    *stop = ct_stop_budget_check(s, b->now);
    return CT_OK;
}

static void
budget_skip(ct_stopper *s, double seconds)
{
    ((budget *)s)->last += seconds;
}

/* What was used: a run that goes on may have more. */
static ct_status
budget_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names;
    (void)err;
    *out = ct_f64(((const budget *)s)->limit - ct_stop_budget_left(s));
    return CT_OK;
}

static ct_status
budget_restore(ct_stopper *s, ct_names *names, const ct_value *v, const ct_past *past,
               ct_err *err)
{
    (void)past;
    (void)names;
    double used;
    if (!ct_value_number(v, &used) || isnan(used)) {
        return ct_fail(err, CT_ECORRUPT, "time_budget_s",
                       "what was used of the budget is not a number");
    }
    ct_stop_budget_set(s, ((const budget *)s)->limit - used);
    return CT_OK;
}

static void
budget_free(ct_stopper *s)
{
    ct_free(s);
}

static const ct_stopper_ops BUDGET_OPS = {
    .name = "time budget",
    .foreign = false,
    .on_result = budget_on_result,
    .stop_all = budget_stop_all,
    .skip = budget_skip,
    .save = budget_save,
    .restore = budget_restore,
    .free = budget_free,
};

ct_status
ct_stop_budget_new(ct_stopper **out, double seconds, ct_err *err)
{
    if (isnan(seconds)) {
        return ct_fail(err, CT_EINVAL, "timeout",
                       "must be a number of seconds, got nan");
    }
    budget *self = ct_calloc(1, sizeof *self);
    if (self == NULL) {
        return ct_fail_mem(err);
    }
    self->stopper.ops = &BUDGET_OPS;
    self->limit = seconds;
    self->left = seconds;
    *out = &self->stopper;
    return CT_OK;
}

/* ---- any of several ---- */

typedef struct any_of {
    ct_stopper stopper; /* first */
    size_t count;
    ct_stopper *members[];
} any_of;

static ct_status
any_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *r,
              bool *stop, ct_err *err)
{
    any_of *self = (any_of *)s;
    ct_status st = CT_OK;
    *stop = false;
    for (size_t i = 0; st == CT_OK && !*stop && i < self->count; i++) {
        ct_stopper *m = self->members[i];
        st = m->ops->on_result(m, b, t, r, stop, err);
    }
    return st;
}

static ct_status
any_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    any_of *self = (any_of *)s;
    ct_status st = CT_OK;
    *stop = false;
    for (size_t i = 0; st == CT_OK && !*stop && i < self->count; i++) {
        ct_stopper *m = self->members[i];
        st = m->ops->stop_all(m, b, stop, err);
    }
    return st;
}

static void
any_skip(ct_stopper *s, double seconds)
{
    any_of *self = (any_of *)s;
    for (size_t i = 0; i < self->count; i++) {
        ct_stopper *m = self->members[i];
        if (m->ops->skip != NULL) {
            m->ops->skip(m, seconds);
        }
    }
}

static ct_status
any_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    any_of *self = (any_of *)s;
    ct_value list = ct_list();
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < self->count; i++) {
        ct_value item = ct_nil();
        st = ct_stopper_save(self->members[i], names, &item, err);
        if (st == CT_OK) {
            st = ct_value_push(&list, &item, err);
        }
    }
    if (st == CT_OK) {
        *out = list;
        list = ct_nil();
    }
    ct_value_deinit(&list);
    return st;
}

/* Each member takes the state at its place if that is of its kind, or else, unless places
 * matter, the first of its kind that is at no other member's place. */
static const ct_value *
state_for(const any_of *self, const ct_value *v, size_t place, bool places, bool *used)
{
    if (place < v->len &&
        ct_stopper_saved_by(self->members[place], &v->u.items[place])) {
        return &v->u.items[place];
    }
    for (size_t i = 0; !places && i < v->len; i++) {
        bool stays =
            i < self->count && ct_stopper_saved_by(self->members[i], &v->u.items[i]);
        if (!used[i] && !stays &&
            ct_stopper_saved_by(self->members[place], &v->u.items[i])) {
            used[i] = true;
            return &v->u.items[i];
        }
    }
    return NULL;
}

static ct_status
members_restore(any_of *self, ct_names *names, const ct_value *v, bool places,
                const ct_past *past, ct_err *err)
{
    if (v->kind != CT_LIST) {
        return ct_fail(err, CT_ECORRUPT, "stop",
                       "the saved state is not one of several conditions");
    }
    bool *used = ct_calloc((size_t)v->len + 1, sizeof *used);
    ct_status st = used != NULL ? CT_OK : ct_fail_mem(err);
    for (size_t i = 0; st == CT_OK && i < self->count; i++) {
        st = ct_stopper_restore(self->members[i], names,
                                state_for(self, v, i, places, used), past, err);
    }
    ct_free(used);
    return st;
}

static ct_status
any_restore(ct_stopper *s, ct_names *names, const ct_value *v, const ct_past *past,
            ct_err *err)
{
    return members_restore((any_of *)s, names, v, false, past, err);
}

/* Each experiment has its place. */
static ct_status
own_restore(ct_stopper *s, ct_names *names, const ct_value *v, const ct_past *past,
            ct_err *err)
{
    return members_restore((any_of *)s, names, v, true, past, err);
}

static void
any_free(ct_stopper *s)
{
    any_of *self = (any_of *)s;
    if (self == NULL) {
        return;
    }
    for (size_t i = 0; i < self->count; i++) {
        self->members[i]->ops->free(self->members[i]);
    }
    ct_free(self);
}

static ct_status
own_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t, const ct_result *r,
              bool *stop, ct_err *err)
{
    any_of *self = (any_of *)s;
    ct_stopper *m = self->members[ct_trials_get(b->trials, t)->experiment];
    return m->ops->on_result(m, b, t, r, stop, err);
}

#define MEMBERS_OPS(title, is_foreign, ask, back)                                      \
    {                                                                                  \
        .name = title,                                                                 \
        .foreign = (is_foreign),                                                       \
        .on_result = (ask),                                                            \
        .stop_all = any_stop_all,                                                      \
        .skip = any_skip,                                                              \
        .save = any_save,                                                              \
        .restore = (back),                                                             \
        .free = any_free,                                                              \
    }
/* Native, foreign. */
static const ct_stopper_ops ANY_OPS[] = {
    MEMBERS_OPS("any of", false, any_on_result, any_restore),
    MEMBERS_OPS("any of", true, any_on_result, any_restore)};
static const ct_stopper_ops OWN_OPS[] = {
    MEMBERS_OPS("by experiment", false, own_on_result, own_restore),
    MEMBERS_OPS("by experiment", true, own_on_result, own_restore)};

static ct_status
members_new(ct_stopper **out, const ct_stopper_ops *ops, ct_stopper *const *members,
            size_t count, ct_err *err)
{
    any_of *self = NULL;
    if (count > (SIZE_MAX - sizeof *self) / sizeof self->members[0]) {
        return ct_fail_mem(err);
    }
    self = ct_calloc(1, sizeof *self + count * sizeof self->members[0]);
    if (self == NULL) {
        return ct_fail_mem(err);
    }
    self->stopper.ops = &ops[0];
    self->count = count;
    for (size_t i = 0; i < count; i++) {
        self->members[i] = members[i];
        if (members[i]->ops->foreign) {
            self->stopper.ops = &ops[1];
        }
    }
    *out = &self->stopper;
    return CT_OK;
}

ct_status
ct_stop_any_new(ct_stopper **out, ct_stopper *const *members, size_t count, ct_err *err)
{
    return members_new(out, ANY_OPS, members, count, err);
}

ct_status
ct_stop_by_experiment_new(ct_stopper **out, ct_stopper *const *members, size_t count,
                          ct_err *err)
{
    return members_new(out, OWN_OPS, members, count, err);
}
