/* space_support.h: short makers of search spaces for tests, and a scripted stream.
 *
 * Makers own what they are given and stop the test on failure, so that a space reads
 * like its Python form: s_dict(t, "a", s_uniform(0, 1), "b", s_grid_i64(2, 1, 2),
 * NULL). */
#ifndef CT_TEST_SPACE_SUPPORT_H
#define CT_TEST_SPACE_SUPPORT_H

#include "support.h"

#include <string.h>

#include "base/name.h"
#include "base/pcg.h"
#include "space/space.h"
#include "space/variants.h"


static inline ct_name
s_name(ct_names *names, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_name n = 0;
    assert_ok(ct_names_intern(names, text, strlen(text), &n, &err), err);
    return n;
}

static inline ct_node *
s_const(ct_value v)
{
    ct_err err = CT_ERR_INIT;
    ct_node *n = NULL;
    assert_ok(ct_node_value(&n, &v, &err), err);
    return n;
}

static inline ct_node *
s_int(int64_t i)
{
    return s_const(ct_i64(i));
}

static inline ct_value
s_text_value(const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    assert_ok(ct_str(&v, text, strlen(text), &err), err);
    return v;
}

static inline ct_node *
s_text(const char *text)
{
    return s_const(s_text_value(text));
}

static inline ct_node *
s_domain(ct_domain d)
{
    ct_err err = CT_ERR_INIT;
    ct_node *n = NULL;
    assert_ok(ct_node_domain(&n, &d, &err), err);
    return n;
}

static inline ct_node *
s_uniform(double lower, double upper)
{
    return s_domain(
        (ct_domain){.kind = CT_DOMAIN_FLOAT, .lower = lower, .upper = upper});
}

static inline ct_node *
s_loguniform(double lower, double upper)
{
    return s_domain((ct_domain){
        .kind = CT_DOMAIN_FLOAT, .log = true, .lower = lower, .upper = upper});
}

static inline ct_node *
s_randint(int64_t low, int64_t high)
{
    return s_domain((ct_domain){.kind = CT_DOMAIN_INT, .low = low, .high = high});
}

static inline ct_node *
s_branch(ct_node_kind kind)
{
    ct_err err = CT_ERR_INIT;
    ct_node *n = NULL;
    assert_ok(ct_node_branch(&n, kind, &err), err);
    return n;
}

static inline void
s_push(ct_node *parent, ct_node *child)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_node_push(parent, &child, &err), err);
}

static inline void
s_put(ct_names *names, ct_node *dict, const char *key, ct_node *child)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_node_put(dict, s_name(names, key), &child, &err), err);
}

/* Pairs of const char * and ct_node *, ended by NULL. */
static inline ct_node *
s_dict(ct_names *names, ...)
{
    ct_node *dict = s_branch(CT_NODE_DICT);
    va_list args;
    va_start(args, names);
    for (;;) {
        const char *key = va_arg(args, const char *);
        if (key == NULL) {
            break;
        }
        ct_node *child = va_arg(args, ct_node *);
        s_put(names, dict, key, child);
    }
    va_end(args);
    return dict;
}

/* Children ended by NULL. */
static inline ct_node *
s_of(ct_node_kind kind, ...)
{
    ct_node *n = s_branch(kind);
    va_list args;
    va_start(args, kind);
    for (ct_node *c = va_arg(args, ct_node *); c != NULL; c = va_arg(args, ct_node *)) {
        s_push(n, c);
    }
    va_end(args);
    return n;
}

static inline ct_node *
s_grid_upto(int64_t count)
{
    ct_node *n = s_branch(CT_NODE_GRID);
    for (int64_t i = 0; i < count; i++) {
        s_push(n, s_int(i));
    }
    return n;
}

static inline ct_space *
s_space(ct_names *names, ct_node *root)
{
    ct_err err = CT_ERR_INIT;
    ct_space *s = NULL;
    assert_ok(ct_space_new(&s, names, &root, &err), err);
    return s;
}

/* A stream that plays back numbers and counts the draws. */
typedef struct s_script {
    ct_rng rng;
    const double *doubles;
    size_t at;
    size_t count;
    size_t draws;
} s_script;

static inline double
s_script_double(ct_rng *r)
{
    s_script *s = (s_script *)r;
    s->draws++;
    return s->doubles[s->at++ % s->count];
}

static inline ct_status
s_script_normal(ct_rng *r, double mean, double sd, double *out, ct_err *err)
{
    (void)err;
    *out = mean + sd * s_script_double(r);
    return CT_OK;
}

static inline ct_status
s_script_integers(ct_rng *r, int64_t low, int64_t high, int64_t *out, ct_err *err)
{
    (void)err;
    *out = low + (int64_t)(s_script_double(r) * (double)(high - low));
    return CT_OK;
}

static inline s_script
s_script_of(const double *doubles, size_t count)
{
    return (s_script){
        {s_script_double, s_script_normal, s_script_integers}, doubles, 0, count, 0};
}

#endif
