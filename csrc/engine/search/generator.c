/* generator.c: see generator.h. */
#include "search/generator.h"

#include "base/mem.h"
#include "base/pcg.h"
#include "space/tag.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ID_BYTES = 9, PCG_STREAM = 0x1d5 /* not one that others use */ };

typedef struct generator {
    ct_searcher searcher; /* first */
    ct_suggester *suggester;
    ct_generator_options options;
    ct_pcg ids;
    uint64_t made; /* trials so far */
    bool finished;
} generator;

/* ---- merging the space with a suggestion ---- */

/* Where the walk is, for messages: linked from the leaf up. */
typedef struct place {
    const struct place *parent;
    ct_name key;
} place;

static ct_status
place_text(const ct_names *names, const place *at, ct_buf *out, ct_err *err)
{
    ct_status st = CT_OK;
    if (at->parent != NULL) {
        st = place_text(names, at->parent, out, err);
        if (st == CT_OK) {
            st = ct_buf_put_u8(out, '/', err);
        }
    }
    return st == CT_OK ? ct_buf_put(out, ct_names_text(names, at->key),
                                    ct_names_len(names, at->key), err)
                       : st;
}

static ct_status
fail_open(const ct_names *names, const place *at, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_status st = ct_buf_puts(&path, "config/", err);
    if (st == CT_OK) {
        st = place_text(names, at, &path, err);
    }
    if (st == CT_OK) {
        st = ct_buf_terminate(&path, err);
    }
    if (st == CT_OK) {
        st = ct_fail(err, CT_EINVAL, (const char *)path.data,
                     "is to be searched, but the searcher suggested no value for it; "
                     "return one from suggest(), or give the parameter a constant");
    }
    ct_buf_deinit(&path);
    return st;
}

/* A domain, choice or grid outside any option. */
static bool
is_open(const ct_node *n)
{
    switch (ct_node_kind_of(n)) {
    case CT_NODE_DOMAIN:
    case CT_NODE_CHOICE:
    case CT_NODE_GRID:
        return true;
    case CT_NODE_DICT:
    case CT_NODE_LIST:
    case CT_NODE_TUPLE:
        for (size_t i = 0; i < ct_node_count(n); i++) {
            if (is_open(ct_node_child(n, i))) {
                return true;
            }
        }
        return false;
    case CT_NODE_VALUE:
    case CT_NODE_FUNCTION:
    case CT_NODE_KIND_COUNT:
        break;
    }
    return false;
}

/* Merges v into a constant dict, which is changed. */
static ct_status
merge_values(ct_value *into, const ct_value *v, ct_err *err)
{
    ct_status st = CT_OK;
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        const ct_entry *e = &v->u.entries[i];
        ct_value *old = ct_value_get_mut(into, e->key);
        if (old != NULL && old->kind == CT_DICT && e->value.kind == CT_DICT) {
            st = merge_values(old, &e->value, err);
            continue;
        }
        ct_value copy = ct_nil();
        st = ct_value_copy(&copy, &e->value, err);
        if (st == CT_OK) {
            st = ct_value_put(into, e->key, &copy, err);
        }
    }
    return st;
}

/* A node of the suggestion alone, or merged into a constant dict. */
static ct_status
value_node(ct_node **out, const ct_value *base, const ct_value *v, ct_err *err)
{
    ct_value merged = ct_nil();
    bool both = base != NULL && base->kind == CT_DICT && v->kind == CT_DICT;
    ct_status st = ct_value_copy(&merged, both ? base : v, err);
    if (st == CT_OK && both) {
        st = merge_values(&merged, v, err);
    }
    if (st == CT_OK) {
        st = ct_node_value(out, &merged, err);
    }
    ct_value_deinit(&merged);
    return st;
}

static ct_status merge_dict(const ct_names *names, ct_node *dict, const ct_node *n,
                            const ct_value *v, const place *at, ct_err *err);

/* One child: what the space has (NULL = nothing) under what was suggested (likewise). */
static ct_status
merge_child(const ct_names *names, ct_node *parent, const ct_node *n, const ct_value *v,
            const place *at, ct_err *err)
{
    ct_node *child = NULL;
    ct_status st;
    if (v != NULL && v->kind == CT_DICT && n != NULL &&
        ct_node_kind_of(n) == CT_NODE_DICT) {
        st = ct_node_branch(&child, CT_NODE_DICT, err);
        if (st == CT_OK) {
            st = merge_dict(names, child, n, v, at, err);
        }
    } else if (v != NULL) {
        st = value_node(&child, n == NULL ? NULL : ct_node_constant(n), v, err);
    } else if (ct_node_kind_of(n) == CT_NODE_DICT && !ct_node_is_constant(n)) {
        static const ct_value nothing = {.kind = CT_DICT};
        st = ct_node_branch(&child, CT_NODE_DICT, err); /* names the open leaf below */
        if (st == CT_OK) {
            st = merge_dict(names, child, n, &nothing, at, err);
        }
    } else if (is_open(n)) {
        st = fail_open(names, at, err);
    } else {
        ct_node *shared;
        memcpy(&shared, &n, sizeof shared); /* counted; never changed */
        child = ct_node_retain(shared);
        st = CT_OK;
    }
    if (st == CT_OK) {
        return ct_node_put(parent, at->key, &child, err);
    }
    ct_node_release(child);
    return st;
}

/* Fills an empty dict: the space's keys in their order, then those that are new. */
static ct_status
merge_dict(const ct_names *names, ct_node *dict, const ct_node *n, const ct_value *v,
           const place *at, ct_err *err)
{
    ct_status st = CT_OK;
    size_t n_count = n == NULL ? 0 : ct_node_count(n);
    for (size_t i = 0; st == CT_OK && i < n_count; i++) {
        place here = {at, ct_node_key(n, i)};
        st = merge_child(names, dict, ct_node_child(n, i), ct_value_get(v, here.key),
                         &here, err);
    }
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        place here = {at, v->u.entries[i].key};
        bool known = false;
        for (size_t k = 0; k < n_count && !known; k++) {
            known = ct_node_key(n, k) == here.key;
        }
        if (!known) {
            st = merge_child(names, dict, NULL, &v->u.entries[i].value, &here, err);
        }
    }
    return st;
}

/* The root of the space, or NULL when it has no key: a constant dict may be a VALUE. */
static ct_status
merge_root(generator *g, const ct_value *v, ct_node **out, ct_err *err)
{
    const ct_node *root =
        g->options.space == NULL ? NULL : ct_space_root(g->options.space);
    if (root != NULL && ct_node_kind_of(root) != CT_NODE_DICT) {
        return value_node(out, ct_node_constant(root), v, err);
    }
    ct_status st = ct_node_branch(out, CT_NODE_DICT, err);
    if (st == CT_OK) {
        st = merge_dict(g->options.names, *out, root, v, NULL, err);
    }
    if (st != CT_OK) {
        ct_node_release(*out);
        *out = NULL;
    }
    return st;
}

/* Calls the functions that are left: the one variant of a space without any domain. */
static ct_status
resolve(generator *g, ct_space *merged, ct_value *config, ct_err *err)
{
    ct_variants_options options = {
        .num_samples = 1,
        .functions_last = true,
        .rng = &g->ids.rng, /* functions may return domains */
        .ops = g->options.ops,
        .ctx = g->options.ctx,
    };
    ct_variants *variants = NULL;
    bool more = false;
    ct_status st = ct_variants_new(&variants, merged, &options, err);
    if (st == CT_OK) {
        st = ct_variants_next(variants, &more, err);
    }
    if (st == CT_OK && more) {
        ct_variants_take(variants, config);
    }
    ct_variants_free(variants);
    return st;
}

/* ---- the tag ---- */

typedef struct tag_entry {
    size_t start; /* of its path in pieces */
    size_t depth;
    const ct_value *value;
} tag_entry;

typedef struct tag_list {
    tag_entry *entries;
    size_t count;
    size_t cap;
    ct_name *pieces;
    size_t piece_count;
    size_t piece_cap;
} tag_list;

static ct_status
tag_add(tag_list *l, const place *at, const ct_value *v, ct_err *err)
{
    size_t depth = 0;
    for (const place *p = at; p != NULL; p = p->parent) {
        depth++;
    }
    ct_status st =
        ct_grow((void **)&l->entries, &l->cap, l->count + 1, sizeof *l->entries, err);
    if (st == CT_OK) {
        st = ct_grow((void **)&l->pieces, &l->piece_cap, l->piece_count + depth,
                     sizeof *l->pieces, err);
    }
    if (st != CT_OK) {
        return st;
    }
    l->entries[l->count++] = (tag_entry){l->piece_count, depth, v};
    l->piece_count += depth;
    size_t i = l->piece_count;
    for (const place *p = at; p != NULL; p = p->parent) {
        l->pieces[--i] = p->key;
    }
    return CT_OK;
}

/* Collects the leaves of the config; those that functions of n gave are left out. */
static ct_status
tag_walk(tag_list *l, const ct_node *n, const ct_value *v, const place *at, ct_err *err)
{
    if (n != NULL && ct_node_kind_of(n) == CT_NODE_FUNCTION) {
        return CT_OK;
    }
    if (v->kind != CT_DICT) {
        return tag_add(l, at, v, err);
    }
    ct_status st = CT_OK;
    bool tree = n != NULL && ct_node_kind_of(n) == CT_NODE_DICT;
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        /* Keys of the tree are those of the config, in the same order. */
        const ct_node *child =
            tree && i < ct_node_count(n) ? ct_node_child(n, i) : NULL;
        place here = {at, v->u.entries[i].key};
        st = tag_walk(l, child, &v->u.entries[i].value, &here, err);
    }
    return st;
}

/* Paths compare as tuples of texts. Bytes of UTF-8 order as code points do. */
static int
tag_order(const tag_list *l, const ct_names *names, const tag_entry *a,
          const tag_entry *b)
{
    for (size_t i = 0; i < a->depth && i < b->depth; i++) {
        ct_name x = l->pieces[a->start + i];
        ct_name y = l->pieces[b->start + i];
        if (x != y) {
            size_t x_len = ct_names_len(names, x);
            size_t y_len = ct_names_len(names, y);
            int order = memcmp(ct_names_text(names, x), ct_names_text(names, y),
                               x_len < y_len ? x_len : y_len);
            return order != 0 ? order : x_len < y_len ? -1 : 1;
        }
    }
    return a->depth < b->depth ? -1 : a->depth > b->depth;
}

static void
tag_sort(tag_list *l, const ct_names *names)
{
    for (size_t i = 1; i < l->count; i++) { /* few, and often in order already */
        tag_entry e = l->entries[i];
        size_t k = i;
        for (; k > 0 && tag_order(l, names, &e, &l->entries[k - 1]) < 0; k--) {
            l->entries[k] = l->entries[k - 1];
        }
        l->entries[k] = e;
    }
}

static ct_status
tag_write(const generator *g, const tag_list *l, ct_buf *out, ct_err *err)
{
    const ct_names *names = g->options.names;
    ct_status st = ct_buf_printf(out, err, "%" PRIu64 "_", g->made + 1);
    for (size_t i = 0; st == CT_OK && i < l->count; i++) {
        const tag_entry *e = &l->entries[i];
        ct_name key = l->pieces[e->start + e->depth - 1];
        st = i > 0 ? ct_buf_put_u8(out, ',', err) : CT_OK;
        if (st == CT_OK) {
            st = ct_tag_clean(out, ct_names_text(names, key), ct_names_len(names, key),
                              err);
        }
        if (st == CT_OK) {
            st = ct_buf_put_u8(out, '=', err);
        }
        if (st == CT_OK) {
            st = ct_tag_value(out, e->value, g->options.space, err);
        }
    }
    return st;
}

/* merged: the tree the config was made of. */
static ct_status
make_tag(const generator *g, const ct_space *merged, const ct_value *config, char **out,
         ct_err *err)
{
    tag_list list = {NULL, 0, 0, NULL, 0, 0};
    ct_buf text = CT_BUF_INIT;
    ct_status st = tag_walk(&list, ct_space_root(merged), config, NULL, err);
    if (st == CT_OK) {
        tag_sort(&list, g->options.names);
        st = tag_write(g, &list, &text, err);
    }
    if (st == CT_OK) {
        *out = ct_strndup((const char *)text.data, text.len);
        st = *out == NULL ? ct_fail_mem(err) : CT_OK;
    }
    ct_buf_deinit(&text);
    ct_free(list.entries);
    ct_free(list.pieces);
    return st;
}

/* ---- evaluated parameters ---- */

/* Adds the leaves that lie `depth` dicts deep; *deeper: there are more below. */
static ct_status
flatten_level(ct_names *names, const ct_value *dict, ct_name prefix, size_t depth,
              ct_value *out, bool *deeper, ct_err *err)
{
    ct_status st = CT_OK;
    for (uint32_t i = 0; st == CT_OK && i < dict->len; i++) {
        const ct_entry *e = &dict->u.entries[i];
        ct_name key = e->key;
        if (e->value.kind == CT_DICT && depth == 0) {
            *deeper = *deeper || e->value.len > 0;
            continue;
        }
        if (e->value.kind != CT_DICT && depth > 0) {
            continue;
        }
        if (prefix != CT_NAME_NONE) {
            st = ct_names_join(names, prefix, e->key, &key, err);
        }
        if (st == CT_OK && depth > 0) {
            st = flatten_level(names, &e->value, key, depth - 1, out, deeper, err);
        } else if (st == CT_OK) {
            ct_value copy = ct_nil();
            st = ct_value_copy(&copy, &e->value, err);
            if (st == CT_OK) {
                st = ct_value_put(out, key, &copy, err);
            }
        }
    }
    return st;
}

/* "a/b" -> value; plain keys first, then level by level. */
static ct_status
flatten(ct_names *names, const ct_value *dict, ct_value *out, ct_err *err)
{
    bool deeper = true;
    ct_status st = CT_OK;
    *out = ct_dict();
    for (size_t depth = 0; deeper && st == CT_OK; depth++) {
        deeper = false;
        st = flatten_level(names, dict, CT_NAME_NONE, depth, out, &deeper, err);
    }
    return st;
}

/* ---- the searcher ---- */

static ct_status
make_id(generator *g, const ct_board *b, char **out, ct_err *err)
{
    char id[ID_BYTES];
    do { /* 32 bits collide now and then among 100,000 trials */
        snprintf(id, sizeof id, "%08" PRIx32, (uint32_t)(ct_pcg_next(&g->ids) >> 32));
    } while (b != NULL && ct_trials_find(b->trials, id) != CT_TRIAL_NONE);
    *out = ct_strndup(id, ID_BYTES - 1);
    return *out == NULL ? ct_fail_mem(err) : CT_OK;
}

static ct_status
make_trial(generator *g, const ct_value *suggested, ct_suggestion *out, ct_err *err)
{
    ct_space *merged = NULL;
    ct_node *root = NULL;
    ct_status st = CT_OK;
    if (suggested->kind != CT_DICT) {
        return ct_fail(err, CT_ETYPE, "suggest()",
                       "must return a dict, None or \"FINISHED\"");
    }
    st = merge_root(g, suggested, &root, err);
    if (st == CT_OK) {
        st = ct_space_new(&merged, g->options.names, &root, err);
    }
    if (st == CT_OK) {
        st = resolve(g, merged, &out->config, err);
    }
    if (st == CT_OK) {
        st = make_tag(g, merged, &out->config, &out->tag, err);
    }
    if (st == CT_OK) {
        st = flatten(g->options.names, suggested, &out->evaluated, err);
    }
    ct_space_free(merged);
    return st;
}

static ct_status
generator_next(ct_searcher *s, const ct_board *b, ct_suggestion *out,
               ct_search_state *state, ct_err *err)
{
    generator *g = (generator *)s;
    ct_suggest_state answer = CT_SUGGEST_NONE;
    ct_value suggested = ct_nil();
    char *given = out->id;
    *out = (ct_suggestion){NULL, NULL, ct_nil(), ct_nil(), 0};
    /* A given one was made when there may have been more samples. */
    if (given == NULL && (g->finished || g->made >= g->options.num_samples)) {
        *state = CT_SEARCH_FINISHED;
        return CT_OK;
    }
    ct_status st = make_id(g, b, &out->id, err);
    if (given != NULL) { /* its number is drawn all the same */
        ct_free(out->id);
        out->id = given;
    }
    if (st == CT_OK) {
        st =
            g->suggester->ops->suggest(g->suggester, out->id, &suggested, &answer, err);
    }
    if (st == CT_OK && answer == CT_SUGGEST_CONFIG) {
        st = make_trial(g, &suggested, out, err);
    }
    ct_value_deinit(&suggested);
    if (st == CT_OK && answer == CT_SUGGEST_CONFIG) {
        g->made++;
        *state = CT_SEARCH_TRIAL;
        return CT_OK;
    }
    ct_suggestion_deinit(out);
    if (st == CT_OK) {
        g->finished = answer == CT_SUGGEST_FINISHED;
        *state = g->finished ? CT_SEARCH_FINISHED : CT_SEARCH_WAIT;
    }
    return st;
}

static ct_status
generator_on_result(ct_searcher *s, const ct_board *b, ct_trial_id t,
                    const ct_result *r, ct_err *err)
{
    ct_suggester *to = ((generator *)s)->suggester;
    return to->ops->on_result(to, ct_trials_get(b->trials, t)->id, r, err);
}

static ct_status
generator_on_complete(ct_searcher *s, const ct_board *b, ct_trial_id t,
                      const ct_result *r, bool error, ct_err *err)
{
    ct_suggester *to = ((generator *)s)->suggester;
    return to->ops->on_complete(to, ct_trials_get(b->trials, t)->id, r, error, err);
}

static uint64_t
generator_total(const ct_searcher *s)
{
    return ((const generator *)s)->options.num_samples;
}

/* ---- state: {"made", "finished", "ids": [4 words]}; that of a foreign suggester is part of
 * ct_foreign_state ---- */

static ct_status
put_field(ct_names *names, ct_value *dict, const char *key, ct_value item, ct_err *err)
{
    ct_name name;
    ct_status st = ct_names_intern(names, key, strlen(key), &name, err);
    if (st != CT_OK) {
        ct_value_deinit(&item);
        return st;
    }
    return ct_value_put(dict, name, &item, err);
}

static ct_status
generator_save(ct_searcher *s, ct_names *names, ct_value *out, ct_err *err)
{
    const generator *g = (const generator *)s;
    const uint64_t words[] = {g->ids.state[0], g->ids.state[1], g->ids.inc[0],
                              g->ids.inc[1]};
    ct_value ids = ct_list();
    ct_status st = CT_OK;
    *out = ct_dict();
    for (size_t i = 0; st == CT_OK && i < 4; i++) {
        ct_value word = ct_i64((int64_t)words[i]);
        st = ct_value_push(&ids, &word, err);
    }
    if (st == CT_OK) {
        st = put_field(names, out, "made", ct_i64((int64_t)g->made), err);
    }
    if (st == CT_OK) {
        st = put_field(names, out, "finished", ct_bool(g->finished), err);
    }
    if (st == CT_OK) {
        st = put_field(names, out, "ids", ids, err);
        ids = ct_nil();
    }
    ct_value_deinit(&ids);
    if (st != CT_OK) {
        ct_value_deinit(out);
    }
    return st;
}

static const ct_value *
field(ct_names *names, const ct_value *dict, const char *key, ct_kind kind)
{
    ct_name name = ct_names_find(names, key, strlen(key));
    const ct_value *v = name == CT_NAME_NONE ? NULL : ct_value_get(dict, name);
    return v != NULL && v->kind == kind ? v : NULL;
}

static ct_status
generator_restore(ct_searcher *s, ct_names *names, const ct_value *v, ct_err *err)
{
    generator *g = (generator *)s;
    const ct_value *made = NULL;
    const ct_value *finished = NULL;
    const ct_value *ids = NULL;
    if (v->kind == CT_DICT) {
        made = field(names, v, "made", CT_I64);
        finished = field(names, v, "finished", CT_BOOL);
        ids = field(names, v, "ids", CT_LIST);
    }
    bool sound = made != NULL && made->u.i >= 0 && finished != NULL && ids != NULL &&
                 ids->len == 4;
    for (uint32_t i = 0; sound && i < 4; i++) {
        sound = ids->u.items[i].kind == CT_I64;
    }
    if (!sound) {
        return ct_fail(err, CT_ECORRUPT, "searcher",
                       "the saved state is not one of a generator");
    }
    g->made = (uint64_t)made->u.i;
    g->finished = finished->u.b;
    for (uint32_t i = 0; i < 2; i++) {
        g->ids.state[i] = (uint64_t)ids->u.items[i].u.i;
        g->ids.inc[i] = (uint64_t)ids->u.items[2 + i].u.i;
    }
    return CT_OK;
}

static void
generator_free(ct_searcher *s)
{
    generator *g = (generator *)s;
    g->suggester->ops->free(g->suggester);
    ct_free(g);
}

#define GENERATOR_OPS(is_foreign)                                                      \
    {.name = "generator",                                                              \
     .foreign = (is_foreign),                                                          \
     .next = generator_next,                                                           \
     .on_result = generator_on_result,                                                 \
     .on_complete = generator_on_complete,                                             \
     .total = generator_total,                                                         \
     .save = generator_save,                                                           \
     .restore = generator_restore,                                                     \
     .free = generator_free}

static const ct_searcher_ops native_ops = GENERATOR_OPS(false);
static const ct_searcher_ops foreign_ops = GENERATOR_OPS(true);

ct_status
ct_generator_new(ct_searcher **out, ct_suggester *suggester,
                 const ct_generator_options *options, ct_err *err)
{
    generator *g = ct_calloc(1, sizeof *g);
    if (g == NULL) {
        return ct_fail_mem(err);
    }
    g->searcher.ops = suggester->ops->foreign ? &foreign_ops : &native_ops;
    g->suggester = suggester;
    g->options = *options;
    ct_pcg_init(&g->ids, options->seed, PCG_STREAM);
    *out = &g->searcher;
    return CT_OK;
}
