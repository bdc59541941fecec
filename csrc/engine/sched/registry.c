/* registry.c: names, aliases and constructors of native schedulers. */
#include "sched/registry.h"

#include "sched/asha.h"
#include "sched/fifo.h"
#include "sched/hyperband.h"
#include "sched/median.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_LEN = 63 };

/* What a constructor gets. */
typedef struct make_args {
    const ct_value *options; /* a dict, or nil */
    ct_names *names;
    ct_rng *rng;
} make_args;

typedef ct_status (*make_fn)(ct_scheduler **out, const make_args *in, ct_err *err);

/* ---- reading options ---- */

static const ct_value *
option(const make_args *in, const char *key)
{
    if (in->options == NULL || in->options->kind != CT_DICT) {
        return NULL;
    }
    ct_name name = ct_names_find(in->names, key, strlen(key));
    return name != CT_NAME_NONE ? ct_value_get(in->options, name) : NULL;
}

static ct_status
option_number(const make_args *in, const char *key, double *io, ct_err *err)
{
    const ct_value *v = option(in, key);
    if (v == NULL || ct_value_number(v, io)) {
        return CT_OK;
    }
    return ct_fail(err, CT_ETYPE, key, "must be a number");
}

static ct_status
option_text(const make_args *in, const char *key, const char *fallback, ct_name *out,
            ct_err *err)
{
    const ct_value *v = option(in, key);
    if (v == NULL && fallback != NULL) {
        return ct_names_intern(in->names, fallback, strlen(fallback), out, err);
    }
    if (v == NULL || v->kind != CT_STR) {
        return ct_fail(err, CT_ETYPE, key, "must be given as text");
    }
    return ct_names_intern(in->names, v->u.s, v->len, out, err);
}

static ct_status
option_bool(const make_args *in, const char *key, bool *io, ct_err *err)
{
    const ct_value *v = option(in, key);
    if (v == NULL) {
        return CT_OK;
    }
    if (v->kind != CT_BOOL) {
        return ct_fail(err, CT_ETYPE, key, "must be true or false");
    }
    *io = v->u.b;
    return CT_OK;
}

static ct_status
option_mode(const make_args *in, bool *maximize, ct_err *err)
{
    const ct_value *v = option(in, "mode");
    bool max = v != NULL && v->kind == CT_STR && strcmp(v->u.s, "max") == 0;
    bool min = v != NULL && v->kind == CT_STR && strcmp(v->u.s, "min") == 0;
    if (!max && !min) {
        return ct_fail(err, CT_EINVAL, "mode", "must be \"min\" or \"max\", got %s",
                       v != NULL && v->kind == CT_STR ? v->u.s : "nothing of the kind");
    }
    *maximize = max;
    return CT_OK;
}

/* Rejects misspelt options: nothing is silently ignored. */
static ct_status
options_known(const make_args *in, const char *const *known, ct_err *err)
{
    if (in->options == NULL || in->options->kind == CT_NIL) {
        return CT_OK;
    }
    if (in->options->kind != CT_DICT) {
        return ct_fail(err, CT_ETYPE, "options", "must be a dict of option names");
    }
    for (uint32_t i = 0; i < in->options->len; i++) {
        const char *key = ct_names_text(in->names, in->options->u.entries[i].key);
        size_t k = 0;
        while (known[k] != NULL && strcmp(known[k], key) != 0) {
            k++;
        }
        if (known[k] == NULL) {
            return ct_fail(err, CT_EINVAL, key, "is not an option of this scheduler");
        }
    }
    return CT_OK;
}

/* ---- constructors ---- */

static ct_status
make_fifo(ct_scheduler **out, const make_args *in, ct_err *err)
{
    static const char *const known[] = {NULL};
    ct_status st = options_known(in, known, err);
    return st == CT_OK ? ct_fifo_new(out, err) : st;
}

static ct_status
asha_numbers(const make_args *in, ct_asha_opts *o, ct_err *err)
{
    double brackets = 1.0;
    ct_status st = option_number(in, "max_t", &o->max_t, err);
    if (st == CT_OK) {
        st = option_number(in, "grace_period", &o->grace_period, err);
    }
    if (st == CT_OK) {
        st = option_number(in, "reduction_factor", &o->reduction_factor, err);
    }
    if (st == CT_OK) {
        st = option_number(in, "brackets", &brackets, err);
    }
    if (st == CT_OK) {
        st = option_bool(in, "stop_last_trials", &o->stop_last_trials, err);
    }
    if (st != CT_OK) {
        return st;
    }
    o->brackets = brackets >= 1.0 && brackets <= 1e9 ? (int64_t)brackets : 0;
    if ((double)o->brackets < brackets || (double)o->brackets > brackets) {
        return ct_fail(err, CT_EINVAL, "brackets", "must be a positive integer, got %g",
                       brackets);
    }
    return CT_OK;
}

static ct_status
objective(const make_args *in, const char *time_default, ct_name *time_attr,
          ct_name *metric, bool *maximize, ct_err *err)
{
    ct_status st = option_text(in, "time_attr", time_default, time_attr, err);
    if (st == CT_OK) {
        st = option_text(in, "metric", NULL, metric, err);
    }
    return st == CT_OK ? option_mode(in, maximize, err) : st;
}

static ct_status
make_asha(ct_scheduler **out, const make_args *in, ct_err *err)
{
    static const char *const known[] = {"time_attr",
                                        "metric",
                                        "mode",
                                        "max_t",
                                        "grace_period",
                                        "brackets",
                                        "reduction_factor",
                                        "stop_last_trials",
                                        NULL};
    ct_asha_opts o = {.max_t = 100.0,
                      .grace_period = 1.0,
                      .reduction_factor = 4.0,
                      .brackets = 1,
                      .stop_last_trials = true,
                      .rng = in->rng};
    ct_asha *a = NULL;
    ct_status st = options_known(in, known, err);
    if (st == CT_OK) {
        st = objective(in, "training_iteration", &o.time_attr, &o.metric, &o.maximize,
                       err);
    }
    if (st == CT_OK) {
        st = asha_numbers(in, &o, err);
    }
    if (st == CT_OK) {
        st = ct_asha_new(&a, &o, err);
    }
    if (st == CT_OK) {
        *out = ct_asha_scheduler(a);
    }
    return st;
}

static ct_status
make_hyperband_as(ct_scheduler **out, const make_args *in, bool bohb, ct_err *err)
{
    static const char *const known[] = {
        "time_attr",        "metric",           "mode", "max_t",
        "reduction_factor", "stop_last_trials", NULL};
    ct_hyperband_opts o = {
        .max_t = 81.0, .reduction_factor = 3.0, .stop_last_trials = true, .bohb = bohb};
    ct_hyperband *h = NULL;
    ct_status st = options_known(in, known, err);
    if (st == CT_OK) {
        st = objective(in, "training_iteration", &o.time_attr, &o.metric, &o.maximize,
                       err);
    }
    if (st == CT_OK) {
        st = option_number(in, "max_t", &o.max_t, err);
    }
    if (st == CT_OK) {
        st = option_number(in, "reduction_factor", &o.reduction_factor, err);
    }
    if (st == CT_OK) {
        st = option_bool(in, "stop_last_trials", &o.stop_last_trials, err);
    }
    if (st == CT_OK) {
        st = ct_hyperband_new(&h, &o, err);
    }
    if (st == CT_OK) {
        *out = ct_hyperband_scheduler(h);
    }
    return st;
}

static ct_status
make_hyperband(ct_scheduler **out, const make_args *in, ct_err *err)
{
    return make_hyperband_as(out, in, false, err);
}

static ct_status
make_bohb(ct_scheduler **out, const make_args *in, ct_err *err)
{
    return make_hyperband_as(out, in, true, err);
}

static ct_status
make_median(ct_scheduler **out, const make_args *in, ct_err *err)
{
    static const char *const known[] = {
        "time_attr",      "metric",    "mode", "grace_period", "min_samples_required",
        "min_time_slice", "hard_stop", NULL};
    ct_median_opts o = {
        .grace_period = 60.0, .min_samples_required = 3.0, .hard_stop = true};
    ct_median *m = NULL;
    ct_status st = options_known(in, known, err);
    if (st == CT_OK) {
        st = objective(in, "time_total_s", &o.time_attr, &o.metric, &o.maximize, err);
    }
    if (st == CT_OK) {
        st = option_number(in, "grace_period", &o.grace_period, err);
    }
    if (st == CT_OK) {
        st = option_number(in, "min_samples_required", &o.min_samples_required, err);
    }
    if (st == CT_OK) {
        st = option_number(in, "min_time_slice", &o.min_time_slice, err);
    }
    if (st == CT_OK) {
        st = option_bool(in, "hard_stop", &o.hard_stop, err);
    }
    if (st == CT_OK) {
        st = ct_median_new(&m, &o, err);
    }
    if (st == CT_OK) {
        *out = ct_median_scheduler(m);
    }
    return st;
}

/* ---- the table ---- */

typedef struct known_name {
    const char *name;
    const char *canonical;
    make_fn make; /* NULL: documented, without native constructor */
} known_name;

static const known_name KNOWN[] = {
    {"fifo", "fifo", make_fifo},
    {"async_hyperband", "async_hyperband", make_asha},
    {"asynchyperband", "async_hyperband", make_asha},
    {"median_stopping_rule", "median_stopping_rule", make_median},
    {"medianstopping", "median_stopping_rule", make_median},
    {"hyperband", "hyperband", make_hyperband},
    {"hb_bohb", "hb_bohb", make_bohb},
    {"pbt", "pbt", NULL},
    {"pbt_replay", "pbt_replay", NULL},
    {"pb2", "pb2", NULL},
    {"resource_changing", "resource_changing", NULL},
};
enum { KNOWN_COUNT = sizeof KNOWN / sizeof KNOWN[0] };

static bool
same_name(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] != '\0' && tolower((unsigned char)a[i]) == b[i]) {
        i++;
    }
    return a[i] == '\0' && b[i] == '\0';
}

static const known_name *
known_find(const char *name)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        if (same_name(name, KNOWN[i].name)) {
            return &KNOWN[i];
        }
    }
    return NULL;
}

const char *
ct_sched_canonical(const char *name)
{
    const known_name *k = known_find(name);
    return k != NULL ? k->canonical : NULL;
}

/* Levenshtein distance with one row; only the start of a long text is compared. */
static size_t
edits(const char *a, const char *b)
{
    size_t row[NAME_MAX_LEN + 1];
    size_t n = strnlen(b, NAME_MAX_LEN);
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= NAME_MAX_LEN && a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = tolower((unsigned char)a[i - 1]) == b[j - 1] ? 0 : 1;
            size_t best = diagonal + change;
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

const char *
ct_sched_nearest(const char *name)
{
    size_t best = 0;
    for (size_t i = 1; i < KNOWN_COUNT; i++) {
        if (edits(name, KNOWN[i].name) < edits(name, KNOWN[best].name)) {
            best = i;
        }
    }
    return KNOWN[best].name;
}

ct_status
ct_sched_create(ct_scheduler **out, const char *name, const ct_value *options,
                ct_names *names, ct_rng *rng, ct_err *err)
{
    const known_name *k = known_find(name);
    if (k == NULL) {
        return ct_fail(err, CT_ENOTFOUND, "scheduler",
                       "\"%s\" is not a scheduler; did you mean \"%s\"?", name,
                       ct_sched_nearest(name));
    }
    if (k->make == NULL) {
        return ct_fail(err, CT_EUNSUPPORTED, "scheduler",
                       "\"%s\" has no constructor in the engine", k->name);
    }
    make_args in = {options, names, rng};
    return k->make(out, &in, err);
}
