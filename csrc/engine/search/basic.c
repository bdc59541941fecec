/* basic.c: variants as a searcher. */
#include "search/basic.h"

#include "base/mem.h"

#include <string.h>

typedef struct basic {
    ct_searcher searcher; /* first: a basic is a ct_searcher */
    ct_searcher_ops ops;  /* those of this one: not all can be saved */
    ct_variants *variants;
    char *prefix;
    int64_t max_concurrent;
    int64_t live;
    uint64_t next;
    bool finished;
    ct_buf text;
} basic;

static ct_status
text_copy(const ct_buf *b, char **out, ct_err *err)
{
    *out = ct_strndup((const char *)b->data, b->len);
    return *out != NULL ? CT_OK : ct_fail_mem(err);
}

static ct_status
put_number(ct_buf *b, uint64_t n, int digits, ct_err *err)
{
    char text[24];
    size_t len = ct_format_i64((int64_t)n, text);
    ct_status st = CT_OK;
    for (int i = (int)len; st == CT_OK && i < digits; i++) {
        st = ct_buf_put_u8(b, '0', err);
    }
    return st == CT_OK ? ct_buf_put(b, text, len, err) : st;
}

static ct_status
make_id(basic *s, ct_suggestion *out, ct_err *err)
{
    ct_buf_clear(&s->text);
    ct_status st = ct_buf_puts(&s->text, s->prefix, err);
    if (st == CT_OK) {
        st = put_number(&s->text, s->next, 5, err);
    }
    return st == CT_OK ? text_copy(&s->text, &out->id, err) : st;
}

/* Ids go on from the given one: "<prefix>00042". */
static ct_status
adopt_prefix(basic *s, const char *id, ct_err *err)
{
    const char *last = strrchr(id, '_');
    size_t len = last == NULL ? 0 : (size_t)(last - id) + 1;
    if (len == 0 || (strncmp(s->prefix, id, len) == 0 && s->prefix[len] == '\0')) {
        return CT_OK;
    }
    char *prefix = ct_strndup(id, len);
    if (prefix == NULL) {
        return ct_fail_mem(err);
    }
    ct_free(s->prefix);
    s->prefix = prefix;
    return CT_OK;
}

static ct_status
make_tag(basic *s, ct_suggestion *out, ct_err *err)
{
    ct_buf_clear(&s->text);
    ct_status st = put_number(&s->text, s->next, 0, err);
    if (st == CT_OK && ct_variants_count(s->variants) > 0) {
        st = ct_buf_put_u8(&s->text, '_', err);
        if (st == CT_OK) {
            st = ct_variants_tag(s->variants, &s->text, err);
        }
    }
    return st == CT_OK ? text_copy(&s->text, &out->tag, err) : st;
}

static ct_status
basic_next(ct_searcher *searcher, const ct_board *b, ct_suggestion *out,
           ct_search_state *state, ct_err *err)
{
    (void)b;
    basic *s = (basic *)searcher;
    *state = CT_SEARCH_FINISHED;
    if (s->finished) {
        return CT_OK;
    }
    bool again = out->id != NULL; /* it was made when other limits may have held */
    if (!again && s->max_concurrent > 0 && s->live >= s->max_concurrent) {
        *state = CT_SEARCH_WAIT;
        return CT_OK;
    }
    bool more = false;
    ct_status st = ct_variants_next(s->variants, &more, err);
    if (st != CT_OK || !more) {
        s->finished = st == CT_OK;
        return st;
    }
    ct_suggestion made = {out->id, NULL, ct_nil(), ct_nil(), 0};
    out->id = NULL;
    st = made.id != NULL ? adopt_prefix(s, made.id, err) : make_id(s, &made, err);
    if (st == CT_OK) {
        st = make_tag(s, &made, err);
    }
    if (st == CT_OK) {
        st = ct_variants_evaluated(s->variants, &made.evaluated, err);
    }
    if (st != CT_OK) {
        ct_suggestion_deinit(&made);
        return st;
    }
    ct_variants_take(s->variants, &made.config);
    *out = made;
    *state = CT_SEARCH_TRIAL;
    s->next++;
    s->live++;
    return CT_OK;
}

static ct_status
basic_on_result(ct_searcher *searcher, const ct_board *b, ct_trial_id t,
                const ct_result *r, ct_err *err)
{
    (void)searcher;
    (void)b;
    (void)t;
    (void)r;
    (void)err;
    return CT_OK;
}

static ct_status
basic_on_complete(ct_searcher *searcher, const ct_board *b, ct_trial_id t,
                  const ct_result *r, bool error, ct_err *err)
{
    (void)b;
    (void)t;
    (void)r;
    (void)error;
    (void)err;
    basic *s = (basic *)searcher;
    if (s->live > 0) {
        s->live--;
    }
    return CT_OK;
}

static uint64_t
basic_total(const ct_searcher *searcher)
{
    return ct_variants_total(((const basic *)searcher)->variants);
}

static ct_status
put(ct_names *names, ct_value *dict, const char *key, ct_value *item, ct_err *err)
{
    ct_name n;
    ct_status st = ct_names_intern(names, key, strlen(key), &n, err);
    if (st != CT_OK) {
        ct_value_deinit(item);
        return st;
    }
    return ct_value_put(dict, n, item, err);
}

static ct_status
basic_save(ct_searcher *searcher, ct_names *names, ct_value *out, ct_err *err)
{
    basic *s = (basic *)searcher;
    ct_value next = ct_i64((int64_t)s->next);
    ct_value live = ct_i64(s->live);
    ct_value prefix = ct_nil();
    ct_value position = ct_nil();
    *out = ct_dict();
    ct_status st = put(names, out, "next", &next, err);
    if (st == CT_OK) {
        st = put(names, out, "live", &live, err);
    }
    if (st == CT_OK) {
        st = ct_str(&prefix, s->prefix, strlen(s->prefix), err);
    }
    if (st == CT_OK) {
        st = put(names, out, "prefix", &prefix, err);
    }
    if (st == CT_OK) {
        st = ct_variants_save(s->variants, names, &position, err);
    }
    if (st == CT_OK) {
        st = put(names, out, "variants", &position, err);
    }
    if (st != CT_OK) {
        ct_value_deinit(out);
    }
    return st;
}

static const ct_value *
get(const ct_names *names, const ct_value *dict, const char *key, ct_kind kind)
{
    ct_name n = ct_names_find(names, key, strlen(key));
    const ct_value *v =
        n != CT_NAME_NONE && dict->kind == CT_DICT ? ct_value_get(dict, n) : NULL;
    return v != NULL && v->kind == kind ? v : NULL;
}

static ct_status
basic_restore(ct_searcher *searcher, ct_names *names, const ct_value *v, ct_err *err)
{
    basic *s = (basic *)searcher;
    const ct_value *next = get(names, v, "next", CT_I64);
    const ct_value *live = get(names, v, "live", CT_I64);
    const ct_value *prefix = get(names, v, "prefix", CT_STR);
    const ct_value *position = get(names, v, "variants", CT_DICT);
    if (next == NULL || next->u.i < 0 || live == NULL || live->u.i < 0 ||
        prefix == NULL || position == NULL) {
        return ct_fail(err, CT_ECORRUPT, "searcher", "the saved state is damaged");
    }
    char *copy = ct_strndup(prefix->u.s, prefix->len);
    if (copy == NULL) {
        return ct_fail_mem(err);
    }
    ct_status st = ct_variants_restore(s->variants, names, position, err);
    if (st != CT_OK) {
        ct_free(copy);
        return st;
    }
    ct_free(s->prefix);
    s->prefix = copy;
    s->next = (uint64_t)next->u.i;
    s->live = live->u.i;
    s->finished = false; /* it may have more samples now, and finds out */
    return CT_OK;
}

static void
basic_free(ct_searcher *searcher)
{
    if (searcher == NULL) {
        return;
    }
    basic *s = (basic *)searcher;
    ct_variants_free(s->variants);
    ct_free(s->prefix);
    ct_buf_deinit(&s->text);
    ct_free(s);
}

static const ct_searcher_ops OPS = {
    .name = "basic",
    .quiet_waits = true,
    .next = basic_next,
    .on_result = basic_on_result,
    .on_complete = basic_on_complete,
    .total = basic_total,
    .save = basic_save,
    .restore = basic_restore,
    .free = basic_free,
};

ct_status
ct_basic_new(ct_searcher **out, const ct_space *space, const ct_basic_options *options,
             ct_err *err)
{
    if (options->max_concurrent < 0) {
        return ct_fail(err, CT_EINVAL, "max_concurrent",
                       "must be at least 0 (0 = no limit), got %lld",
                       (long long)options->max_concurrent);
    }
    basic *s = ct_calloc(1, sizeof *s);
    if (s == NULL) {
        return ct_fail_mem(err);
    }
    const ct_function_ops *hooks = options->variants.ops;
    s->ops = OPS;
    s->ops.foreign = options->foreign;
    if (hooks == NULL || hooks->rng_save == NULL) { /* a position it cannot name */
        s->ops.save = NULL;
        s->ops.restore = NULL;
    }
    s->searcher.ops = &s->ops;
    s->max_concurrent = options->max_concurrent;
    s->next = options->first;
    s->prefix = ct_strndup(options->prefix, strlen(options->prefix));
    ct_status st = s->prefix != NULL ? CT_OK : ct_fail_mem(err);
    if (st == CT_OK) {
        st = ct_variants_new(&s->variants, space, &options->variants, err);
    }
    if (st != CT_OK) {
        basic_free(&s->searcher);
        return st;
    }
    *out = &s->searcher;
    return CT_OK;
}
