/* space.c: nodes, their checks, and overlays. */
#include "space/space.h"

#include "base/map.h"
#include "base/mem.h"
#include "space/space_int.h"
#include "space/tag.h"

#include <assert.h>
#include <string.h>

/* ---- nodes ---- */

static ct_status
node_new(ct_node **out, ct_node_kind kind, ct_err *err)
{
    ct_node *n = ct_calloc(1, sizeof *n);
    if (n == NULL) {
        return ct_fail_mem(err);
    }
    n->refs = 1;
    n->kind = kind;
    *out = n;
    return CT_OK;
}

ct_status
ct_node_value(ct_node **out, ct_value *v, ct_err *err)
{
    ct_status st = node_new(out, CT_NODE_VALUE, err);
    if (st != CT_OK) {
        ct_value_deinit(v);
        return st;
    }
    (*out)->u.value = *v;
    *v = ct_nil();
    return CT_OK;
}

ct_status
ct_node_domain(ct_node **out, const ct_domain *d, ct_err *err)
{
    assert(d->kind != CT_DOMAIN_CHOICE);
    ct_status st = node_new(out, CT_NODE_DOMAIN, err);
    if (st == CT_OK) {
        (*out)->u.domain = *d;
    }
    return st;
}

ct_status
ct_node_function(ct_node **out, ct_ref *fn, bool eager, ct_err *err)
{
    ct_status st = node_new(out, CT_NODE_FUNCTION, err);
    if (st != CT_OK) {
        ct_ref_release(fn);
        return st;
    }
    (*out)->u.fn = fn;
    (*out)->eager = eager;
    return CT_OK;
}

ct_status
ct_node_branch(ct_node **out, ct_node_kind kind, ct_err *err)
{
    assert(kind >= CT_NODE_DICT && kind <= CT_NODE_GRID && kind != CT_NODE_DOMAIN);
    return node_new(out, kind, err);
}

static ct_status
node_append(ct_node *parent, ct_node **child, ct_err *err)
{
    ct_status st = ct_grow((void **)&parent->items, &parent->cap,
                           (size_t)parent->count + 1, sizeof(ct_node *), err);
    if (st != CT_OK) {
        ct_node_release(*child);
        *child = NULL;
        return st;
    }
    parent->items[parent->count++] = *child;
    *child = NULL;
    return CT_OK;
}

ct_status
ct_node_push(ct_node *parent, ct_node **child, ct_err *err)
{
    assert(parent->kind != CT_NODE_DICT && parent->kind != CT_NODE_VALUE);
    return node_append(parent, child, err);
}

ct_status
ct_node_put(ct_node *dict, ct_name key, ct_node **child, ct_err *err)
{
    assert(dict->kind == CT_NODE_DICT);
    ct_status st = ct_grow((void **)&dict->keys, &dict->keys_cap,
                           (size_t)dict->count + 1, sizeof(ct_name), err);
    if (st != CT_OK) {
        ct_node_release(*child);
        *child = NULL;
        return st;
    }
    dict->keys[dict->count] = key;
    return node_append(dict, child, err);
}

ct_node *
ct_node_retain(ct_node *n)
{
    n->refs++;
    return n;
}

void
ct_node_release(ct_node *n)
{
    if (n == NULL || --n->refs > 0) {
        return;
    }
    for (uint32_t i = 0; i < n->count; i++) {
        ct_node_release(n->items[i]);
    }
    ct_free(n->items);
    ct_free(n->keys);
    if (n->kind == CT_NODE_VALUE) {
        ct_value_deinit(&n->u.value);
    } else if (n->kind == CT_NODE_FUNCTION) {
        ct_ref_release(n->u.fn);
    }
    ct_free(n);
}

ct_node_kind
ct_node_kind_of(const ct_node *n)
{
    return n->kind;
}

size_t
ct_node_count(const ct_node *n)
{
    return n->count;
}

const ct_node *
ct_node_child(const ct_node *n, size_t i)
{
    return n->items[i];
}

ct_name
ct_node_key(const ct_node *n, size_t i)
{
    return n->keys[i];
}

const ct_value *
ct_node_constant(const ct_node *n)
{
    return n->kind == CT_NODE_VALUE ? &n->u.value : NULL;
}

bool
ct_node_is_constant(const ct_node *n)
{
    assert(n->checked);
    return n->constant;
}

/* ---- paths ---- */

ct_status
space_path_text(const ct_names *names, const ct_piece *pieces, size_t count,
                ct_buf *out, ct_err *err)
{
    ct_buf_clear(out);
    for (size_t i = 0; i < count; i++) {
        ct_status st = i > 0 ? ct_buf_put_u8(out, '/', err) : CT_OK;
        if (st == CT_OK && pieces[i].is_index) {
            char digits[24];
            st = ct_buf_put(out, digits, ct_format_i64(pieces[i].at, digits), err);
        } else if (st == CT_OK) {
            st = ct_buf_put(out, ct_names_text(names, pieces[i].at),
                            ct_names_len(names, pieces[i].at), err);
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return ct_buf_terminate(out, err);
}

static int
key_order(const ct_names *names, ct_name a, ct_name b)
{
    size_t la = ct_names_len(names, a);
    size_t lb = ct_names_len(names, b);
    int c = memcmp(ct_names_text(names, a), ct_names_text(names, b), la < lb ? la : lb);
    return c != 0 ? c : (la > lb) - (la < lb);
}

int
space_path_order(const ct_names *names, const ct_piece *a, size_t a_count,
                 const ct_piece *b, size_t b_count)
{
    for (size_t i = 0; i < a_count && i < b_count; i++) {
        int c = 0;
        if (a[i].is_index != b[i].is_index) {
            c = a[i].is_index ? -1 : 1;
        } else if (a[i].at != b[i].at) {
            c = a[i].is_index ? (a[i].at > b[i].at ? 1 : -1)
                              : key_order(names, a[i].at, b[i].at);
        }
        if (c != 0) {
            return c;
        }
    }
    return (a_count > b_count) - (a_count < b_count);
}

/* ---- checks ---- */

typedef struct checker {
    const ct_names *names;
    ct_piece pieces[SPACE_DEPTH_MAX + 1]; /* where the walk is */
    size_t depth;
    size_t level; /* nesting, options included */
} checker;

static ct_status check_node(checker *c, ct_node *n, ct_err *err);

/* Fails with the walk's place as the parameter. */
static ct_status
check_failed(const checker *c, ct_buf *path, ct_err *err)
{
    return space_path_text(c->names, c->pieces, c->depth, path, err);
}

static ct_status
check_children(checker *c, ct_node *n, ct_err *err)
{
    bool options = n->kind == CT_NODE_CHOICE || n->kind == CT_NODE_GRID;
    n->constant = !options;
    for (uint32_t i = 0; i < n->count; i++) {
        if (!options) {
            bool index = n->kind != CT_NODE_DICT;
            c->pieces[c->depth++] = (ct_piece){index, index ? i : n->keys[i]};
        }
        ct_status st = check_node(c, n->items[i], err);
        if (!options) {
            c->depth--;
        }
        if (st != CT_OK) {
            return st;
        }
        n->constant = n->constant && n->items[i]->constant;
    }
    return CT_OK;
}

static ct_status
check_leaf(checker *c, ct_node *n, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_status st = CT_OK;
    if (n->kind == CT_NODE_DOMAIN && !n->u.domain.prepared) {
        st = check_failed(c, &path, err);
        if (st == CT_OK) {
            st = ct_domain_prepare(&n->u.domain, (const char *)path.data, err);
        }
    } else if ((n->kind == CT_NODE_CHOICE || n->kind == CT_NODE_GRID) &&
               n->count == 0) {
        st = check_failed(c, &path, err);
        if (st == CT_OK) {
            st = ct_fail(
                err, CT_EINVAL, (const char *)path.data,
                n->kind == CT_NODE_GRID
                    ? "is an empty grid, so there would be no trial at all; give at "
                      "least one value"
                    : "has nothing to choose from; give at least one value");
        }
    }
    ct_buf_deinit(&path);
    return st;
}

static ct_status
check_node(checker *c, ct_node *n, ct_err *err)
{
    if (n->checked) { /* shared with a tree that has passed */
        return CT_OK;
    }
    if (c->level >= SPACE_DEPTH_MAX || c->depth >= SPACE_DEPTH_MAX) {
        ct_buf path = CT_BUF_INIT;
        size_t depth = c->depth;
        c->depth = depth < 8 ? depth : 8;
        ct_status st = check_failed(c, &path, err);
        if (st == CT_OK) {
            st = ct_fail(err, CT_EINVAL, (const char *)path.data,
                         "is nested more than %d deep; does the space contain itself?",
                         (int)SPACE_DEPTH_MAX);
        }
        c->depth = depth;
        ct_buf_deinit(&path);
        return st;
    }
    ct_status st = check_leaf(c, n, err);
    if (st != CT_OK) {
        return st;
    }
    c->level++;
    st = check_children(c, n, err);
    c->level--;
    if (n->kind == CT_NODE_DOMAIN || n->kind == CT_NODE_FUNCTION) {
        n->constant = false;
    }
    n->checked = st == CT_OK;
    return st;
}

ct_status
space_check(const ct_names *names, ct_node *root, const ct_piece *at, size_t at_count,
            ct_err *err)
{
    checker *c = ct_calloc(1, sizeof *c);
    if (c == NULL) {
        return ct_fail_mem(err);
    }
    c->names = names;
    c->depth = at_count;
    if (at_count > 0) {
        memcpy(c->pieces, at, at_count * sizeof *at);
    }
    ct_status st = check_node(c, root, err);
    ct_free(c);
    return st;
}

/* ---- the space ---- */

struct ct_space {
    ct_names *names;
    ct_node *root;
    ct_map labels; /* address of a ct_ref -> ct_name in texts */
    ct_names *texts;
};

ct_status
ct_space_new(ct_space **out, ct_names *names, ct_node **root, ct_err *err)
{
    ct_space *s = ct_calloc(1, sizeof *s);
    ct_status st = s != NULL ? CT_OK : ct_fail_mem(err);
    if (st == CT_OK) {
        s->names = names;
        s->root = *root;
        *root = NULL;
        st = ct_names_new(&s->texts, err);
    }
    if (st == CT_OK) {
        st = space_check(names, s->root, NULL, 0, err);
    }
    if (st != CT_OK) {
        ct_node_release(*root);
        *root = NULL;
        ct_space_free(s);
        return st;
    }
    *out = s;
    return CT_OK;
}

void
ct_space_free(ct_space *s)
{
    if (s == NULL) {
        return;
    }
    ct_node_release(s->root);
    ct_map_deinit(&s->labels);
    ct_names_free(s->texts);
    ct_free(s);
}

const ct_node *
ct_space_root(const ct_space *s)
{
    return s->root;
}

ct_names *
ct_space_names(const ct_space *s)
{
    return s->names;
}

ct_status
ct_space_label(ct_space *s, const ct_ref *ref, const char *text, ct_err *err)
{
    ct_name n;
    ct_status st = ct_names_intern(s->texts, text, strlen(text), &n, err);
    return st == CT_OK ? ct_map_put(&s->labels, (uint64_t)(uintptr_t)ref, n, err) : st;
}

const char *
ct_space_label_of(const ct_space *s, const ct_ref *ref)
{
    uint32_t n;
    return ct_map_get(&s->labels, (uint64_t)(uintptr_t)ref, &n)
               ? ct_names_text(s->texts, n)
               : NULL;
}

uint64_t
ct_node_grid_points(const ct_node *root)
{
    bool grid = root->kind == CT_NODE_GRID;
    uint64_t total = grid ? root->count : 1;
    if (grid || root->kind == CT_NODE_CHOICE) {
        return total;
    }
    for (uint32_t i = 0; i < root->count; i++) {
        uint64_t below = ct_node_grid_points(root->items[i]);
        total = total > UINT64_MAX / below ? UINT64_MAX : total * below;
    }
    return total;
}

bool
ct_node_has_grid(const ct_node *root)
{
    bool found = root->kind == CT_NODE_GRID;
    for (uint32_t i = 0; !found && i < root->count; i++) {
        found = !root->items[i]->constant && ct_node_has_grid(root->items[i]);
    }
    return found;
}

/* ---- overlays ---- */

typedef struct overlay {
    const ct_space *space;
    ct_warn_fn warn;
    void *ctx;
    ct_piece pieces[SPACE_DEPTH_MAX + 1];
    size_t depth;
} overlay;

static ct_status overlay_node(overlay *o, const ct_node *n, const ct_value *v,
                              ct_node **out, ct_err *err);

static ct_status
value_node(ct_node **out, const ct_value *v, ct_err *err)
{
    ct_value copy = ct_nil();
    ct_status st = ct_value_copy(&copy, v, err);
    if (st == CT_OK) {
        st = ct_node_value(out, &copy, err);
    }
    if (st == CT_OK) {
        (*out)->checked = true;
        (*out)->constant = true;
    }
    return st;
}

/* A branch with the children of a constant container. */
static ct_status
unfold(ct_node **out, const ct_value *v, ct_err *err)
{
    ct_node *n = NULL;
    ct_status st = ct_node_branch(&n,
                                  v->kind == CT_DICT   ? CT_NODE_DICT
                                  : v->kind == CT_LIST ? CT_NODE_LIST
                                                       : CT_NODE_TUPLE,
                                  err);
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        ct_node *child = NULL;
        st = value_node(
            &child, v->kind == CT_DICT ? &v->u.entries[i].value : &v->u.items[i], err);
        if (st == CT_OK) {
            st = v->kind == CT_DICT ? ct_node_put(n, v->u.entries[i].key, &child, err)
                                    : ct_node_push(n, &child, err);
        }
    }
    if (st != CT_OK) {
        ct_node_release(n);
        return st;
    }
    n->checked = true;
    n->constant = true;
    *out = n;
    return CT_OK;
}

/* A branch of the same kind that shares the children. */
static ct_status
shallow_copy(ct_node **out, const ct_node *n, ct_err *err)
{
    ct_node *copy = NULL;
    ct_status st = ct_node_branch(&copy, n->kind, err);
    for (uint32_t i = 0; st == CT_OK && i < n->count; i++) {
        ct_node *child = ct_node_retain(n->items[i]);
        st = n->kind == CT_NODE_DICT ? ct_node_put(copy, n->keys[i], &child, err)
                                     : ct_node_push(copy, &child, err);
    }
    if (st != CT_OK) {
        ct_node_release(copy);
        return st;
    }
    *out = copy;
    return CT_OK;
}

static bool
option_matches(const ct_node *n, const ct_value *v)
{
    if (n->kind == CT_NODE_VALUE) {
        return ct_value_equal(&n->u.value, v);
    }
    if (n->kind == CT_NODE_DOMAIN) {
        return ct_domain_contains(&n->u.domain, v);
    }
    if (n->kind == CT_NODE_DICT) {
        bool same = v->kind == CT_DICT && v->len == n->count;
        for (uint32_t i = 0; same && i < n->count; i++) {
            const ct_value *item = ct_value_get(v, n->keys[i]);
            same = item != NULL && option_matches(n->items[i], item);
        }
        return same;
    }
    if (n->kind == CT_NODE_LIST || n->kind == CT_NODE_TUPLE) {
        bool same = (v->kind == CT_LIST || v->kind == CT_TUPLE) && v->len == n->count;
        for (uint32_t i = 0; same && i < n->count; i++) {
            same = option_matches(n->items[i], &v->u.items[i]);
        }
        return same;
    }
    bool any = n->kind == CT_NODE_FUNCTION;
    for (uint32_t i = 0; !any && i < n->count; i++) {
        any = option_matches(n->items[i], v);
    }
    return any;
}

static ct_status
overlay_warn(overlay *o, const ct_node *n, const ct_value *v, ct_err *err)
{
    if (o->warn == NULL || option_matches(n, v)) {
        return CT_OK;
    }
    ct_buf path = CT_BUF_INIT;
    ct_buf text = CT_BUF_INIT;
    ct_status st =
        space_path_text(ct_space_names(o->space), o->pieces, o->depth, &path, err);
    if (st == CT_OK) {
        st = ct_buf_puts(&text, "points_to_evaluate: the value `", err);
    }
    if (st == CT_OK) {
        st = ct_tag_repr(&text, v, o->space, err);
    }
    if (st == CT_OK) {
        bool constant = n->constant;
        st = ct_buf_printf(&text, err,
                           "` of parameter `%s` is %s; it is used all the same",
                           (const char *)path.data,
                           constant ? "not equal to the constant in the search space"
                                    : "not within the valid values of its domain");
    }
    if (st == CT_OK) {
        st = ct_buf_terminate(&text, err);
    }
    if (st == CT_OK) {
        o->warn(o->ctx, (const char *)text.data);
    }
    ct_buf_deinit(&path);
    ct_buf_deinit(&text);
    return st;
}

static ct_status
overlay_missing(overlay *o, ct_status code, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_status st =
        space_path_text(ct_space_names(o->space), o->pieces, o->depth, &path, err);
    if (st == CT_OK) {
        st = ct_fail(
            err, code, "points_to_evaluate",
            "gives `%s`, which does not correspond to anything in the search space; "
            "give only parameters that the space has",
            (const char *)path.data);
    }
    ct_buf_deinit(&path);
    return st;
}

static bool
in_range(const ct_node *n, const ct_value *v, uint32_t i, uint32_t *at)
{
    if (v->kind != CT_DICT) {
        *at = i;
        return i < n->count;
    }
    for (uint32_t k = 0; k < n->count; k++) {
        if (n->keys[k] == v->u.entries[i].key) {
            *at = k;
            return true;
        }
    }
    return false;
}

/* Puts each entry of v in its place in the fresh branch n. */
static ct_status
overlay_children(overlay *o, ct_node *n, const ct_value *v, ct_err *err)
{
    bool dict = v->kind == CT_DICT;
    for (uint32_t i = 0; i < v->len; i++) {
        o->pieces[o->depth++] =
            dict ? (ct_piece){false, v->u.entries[i].key} : (ct_piece){true, i};
        uint32_t at = 0;
        ct_node *child = NULL;
        ct_status st =
            !in_range(n, v, i, &at)
                ? overlay_missing(o, dict ? CT_ENOTFOUND : CT_EINVAL, err)
                : overlay_node(o, n->items[at],
                               dict ? &v->u.entries[i].value : &v->u.items[i], &child,
                               err);
        o->depth--;
        if (st != CT_OK) {
            return st;
        }
        ct_node_release(n->items[at]);
        n->items[at] = child;
    }
    n->constant = true;
    for (uint32_t i = 0; i < n->count; i++) {
        n->constant = n->constant && n->items[i]->constant;
    }
    n->checked = true;
    return CT_OK;
}

static bool
same_shape(const ct_node *n, const ct_value *v)
{
    ct_kind kind = n->kind == CT_NODE_VALUE   ? n->u.value.kind
                   : n->kind == CT_NODE_DICT  ? CT_DICT
                   : n->kind == CT_NODE_LIST  ? CT_LIST
                   : n->kind == CT_NODE_TUPLE ? CT_TUPLE
                                              : CT_NIL;
    if (v->kind == CT_DICT) {
        return kind == CT_DICT;
    }
    return (v->kind == CT_LIST || v->kind == CT_TUPLE) &&
           (kind == CT_LIST || kind == CT_TUPLE);
}

static ct_status
overlay_node(overlay *o, const ct_node *n, const ct_value *v, ct_node **out,
             ct_err *err)
{
    if (!same_shape(n, v) || o->depth >= SPACE_DEPTH_MAX) {
        ct_status st = overlay_warn(o, n, v, err);
        return st == CT_OK ? value_node(out, v, err) : st;
    }
    ct_node *copy = NULL;
    ct_status st = n->kind == CT_NODE_VALUE ? unfold(&copy, &n->u.value, err)
                                            : shallow_copy(&copy, n, err);
    if (st == CT_OK) {
        st = overlay_children(o, copy, v, err);
    }
    if (st != CT_OK) {
        ct_node_release(copy);
        return st;
    }
    *out = copy;
    return CT_OK;
}

ct_status
ct_space_overlay(const ct_space *s, const ct_value *point, ct_warn_fn warn, void *ctx,
                 ct_node **root, ct_err *err)
{
    if (point->kind != CT_DICT) {
        return ct_fail(err, CT_ETYPE, "points_to_evaluate",
                       "must hold dicts of parameters");
    }
    overlay *o = ct_calloc(1, sizeof *o);
    if (o == NULL) {
        return ct_fail_mem(err);
    }
    o->space = s;
    o->warn = warn;
    o->ctx = ctx;
    ct_status st = overlay_node(o, s->root, point, root, err);
    ct_free(o);
    return st;
}
