/* autofill.c: see autofill.h.
 *
 * Order of the finished record: the user's keys, done, timesteps_total, episodes_total,
 * training_iteration, then who, when and how long. A key that the user gave keeps its
 * place; if its value is not the user's to choose, it is overwritten there. */
#include "flow/autofill.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* Fields of the user, by key: index + 1, or 0 when absent. */
typedef struct given {
    size_t at[CT_KEY_COUNT];
} given;

static void
find_given(const ct_record *r, given *g)
{
    size_t depth = 0;

    memset(g, 0, sizeof *g);
    for (size_t i = 0; i < r->count; i++) {
        const ct_field *f = &r->fields[i];
        if (f->kind == CT_FIELD_END) {
            depth--;
            continue;
        }
        if (depth == 0 && f->key < CT_KEY_COUNT) {
            g->at[f->key] = i + 1;
        }
        if (f->kind == CT_FIELD_DICT || f->kind == CT_FIELD_LIST) {
            depth++;
        }
    }
}

static const ct_field *
given_field(const ct_record *r, const given *g, ct_key key)
{
    const ct_field *f = g->at[key] == 0 ? NULL : &r->fields[g->at[key] - 1];
    return f != NULL && f->kind != CT_FIELD_NIL ? f : NULL;
}

/* The slot where an automatic key goes: the user's field of that key when it is a plain
 * value, else a new one at the end. Returns NULL when the user's container stands there:
 * it is left alone. */
static ct_status
slot(ct_record *r, const given *g, ct_key key, ct_field **out, ct_err *err)
{
    if (g->at[key] != 0) {
        ct_field *f = &r->fields[g->at[key] - 1];
        *out = f->kind == CT_FIELD_DICT || f->kind == CT_FIELD_LIST ? NULL : f;
        return CT_OK;
    }
    ct_status st = ct_record_nil(r, (ct_name)key, err);
    *out = st == CT_OK ? &r->fields[r->count - 1] : NULL;
    return st;
}

static ct_status
set_i64(ct_record *r, const given *g, ct_key key, int64_t v, ct_err *err)
{
    ct_field *f;
    ct_status st = slot(r, g, key, &f, err);
    if (st == CT_OK && f != NULL) {
        f->kind = CT_FIELD_I64;
        f->u.i = v;
    }
    return st;
}

static ct_status
set_f64(ct_record *r, const given *g, ct_key key, double v, ct_err *err)
{
    ct_field *f;
    ct_status st = slot(r, g, key, &f, err);
    if (st == CT_OK && f != NULL) {
        f->kind = CT_FIELD_F64;
        f->u.f = v;
    }
    return st;
}

static ct_status
set_str(ct_record *r, const given *g, ct_key key, const char *text, ct_err *err)
{
    if (g->at[key] == 0) {
        return ct_record_str(r, (ct_name)key, text, strlen(text), err);
    }
    /* Append the text, then move the new field onto the user's. */
    ct_status st = ct_record_str(r, (ct_name)key, text, strlen(text), err);
    if (st == CT_OK) {
        ct_field made = r->fields[--r->count];
        ct_field *f = &r->fields[g->at[key] - 1];
        if (f->kind != CT_FIELD_DICT && f->kind != CT_FIELD_LIST) {
            *f = made;
        }
    }
    return st;
}

static void
count_add(ct_count *c, const ct_field *f)
{
    c->known = true;
    if (f->kind == CT_FIELD_F64 && !c->real) {
        c->real = true;
        c->f = (double)c->i;
    }
    if (c->real) {
        c->f += f->kind == CT_FIELD_F64 ? f->u.f : (double)f->u.i;
    } else {
        c->i += f->u.i;
    }
}

static ct_status
set_count(ct_record *r, const given *g, ct_key key, const ct_count *c, ct_err *err)
{
    return c->real ? set_f64(r, g, key, c->f, err) : set_i64(r, g, key, c->i, err);
}

static void
spell_date(ct_reporter *who, double now)
{
    time_t second = (time_t)floor(now);
    struct tm tm;

    if ((int64_t)second == who->date_second && who->date[0] != '\0') {
        return;
    }
    localtime_r(&second, &tm);
    strftime(who->date, sizeof who->date, "%Y-%m-%d_%H-%M-%S", &tm);
    who->date_second = (int64_t)second;
}

/* Counts the step, so that the totals are right before any key is written. */
static double
count_step(const ct_record *r, const given *g, ct_progress *p, double elapsed)
{
    const ct_field *f = given_field(r, g, CT_KEY_TIME_THIS_ITER_S);
    double this_iter = elapsed;
    double number;

    if (f != NULL && ct_field_number(f, &number)) {
        this_iter = number;
    }
    p->iteration++;
    p->iterations_since_restore++;
    p->time_total += this_iter;
    p->time_since_restore += this_iter;
    f = given_field(r, g, CT_KEY_TIMESTEPS_THIS_ITER);
    if (f != NULL && ct_field_number(f, &number)) {
        count_add(&p->timesteps, f);
        count_add(&p->timesteps_since_restore, f);
    }
    f = given_field(r, g, CT_KEY_EPISODES_THIS_ITER);
    if (f != NULL && ct_field_number(f, &number)) {
        count_add(&p->episodes, f);
    }
    return this_iter;
}

ct_status
ct_autofill(ct_record *r, ct_progress *p, ct_reporter *who, double elapsed, double now,
            ct_err *err)
{
    given g;
    ct_status st = CT_OK;

    find_given(r, &g);
    double this_iter = count_step(r, &g, p, elapsed);
    spell_date(who, now);

    if (g.at[CT_KEY_DONE] == 0) {
        st = ct_record_bool(r, CT_KEY_DONE, false, err);
    }
    if (st == CT_OK && p->timesteps.known && g.at[CT_KEY_TIMESTEPS_TOTAL] == 0) {
        st = set_count(r, &g, CT_KEY_TIMESTEPS_TOTAL, &p->timesteps, err);
    }
    if (st == CT_OK && p->episodes.known && g.at[CT_KEY_EPISODES_TOTAL] == 0) {
        st = set_count(r, &g, CT_KEY_EPISODES_TOTAL, &p->episodes, err);
    }
    if (st == CT_OK && g.at[CT_KEY_TRAINING_ITERATION] == 0) {
        st = ct_record_i64(r, CT_KEY_TRAINING_ITERATION, p->iteration, err);
    }
    if (st == CT_OK) {
        st = set_str(r, &g, CT_KEY_TRIAL_ID, who->trial_id, err);
    }
    if (st == CT_OK) {
        st = set_str(r, &g, CT_KEY_DATE, who->date, err);
    }
    if (st == CT_OK && given_field(r, &g, CT_KEY_TIMESTAMP) == NULL) {
        st = set_i64(r, &g, CT_KEY_TIMESTAMP, (int64_t)floor(now), err);
    }
    if (st == CT_OK) {
        st = set_f64(r, &g, CT_KEY_TIME_THIS_ITER_S, this_iter, err);
    }
    if (st == CT_OK) {
        st = set_f64(r, &g, CT_KEY_TIME_TOTAL_S, p->time_total, err);
    }
    if (st == CT_OK) {
        st = set_i64(r, &g, CT_KEY_PID, who->pid, err);
    }
    if (st == CT_OK) {
        st = set_str(r, &g, CT_KEY_HOSTNAME, who->hostname, err);
    }
    if (st == CT_OK) {
        st = set_str(r, &g, CT_KEY_NODE_IP, who->node_ip, err);
    }
    if (st == CT_OK && g.at[CT_KEY_CONFIG] == 0) {
        st = ct_record_config(r, CT_KEY_CONFIG, err);
    }
    if (st == CT_OK) {
        st = set_f64(r, &g, CT_KEY_TIME_SINCE_RESTORE, p->time_since_restore, err);
    }
    if (st == CT_OK) {
        st = set_i64(r, &g, CT_KEY_ITERATIONS_SINCE_RESTORE,
                     p->iterations_since_restore, err);
    }
    if (st == CT_OK && p->timesteps_since_restore.known) {
        st = set_count(r, &g, CT_KEY_TIMESTEPS_SINCE_RESTORE,
                       &p->timesteps_since_restore, err);
    }
    return st;
}

void
ct_progress_restored(ct_progress *p)
{
    p->iterations_since_restore = 0;
    p->time_since_restore = 0.0;
    p->timesteps_since_restore = (ct_count){false, false, 0, 0.0};
}
