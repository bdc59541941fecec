/* plan.c: a tree made ready for iteration.
 *
 * Each subtree that can become part of a config (the root, each option that is not a
 * plain constant) becomes a group: a template to copy, and its variables with the
 * positions at which to patch the copy. Positions count children, so that patching
 * needs no lookup. */
#include "space/space_int.h"

#include "space/tag.h"

#include <string.h>

typedef struct compiler {
    plan *plan;
    ct_names *names;
    bool late;
    ct_piece pieces[2 * SPACE_DEPTH_MAX + 2];
    uint32_t slots[2 * SPACE_DEPTH_MAX + 2];
    uint32_t depth;
    ct_buf text;
    /* The group being filled. */
    plan_var **vars;
    size_t var_count;
    size_t var_cap;
    plan_var **lates;
    size_t late_count;
    size_t late_cap;
} compiler;

static ct_status group_new(compiler *c, const ct_node *n, plan_group **out,
                           ct_err *err);

static void *
arena_copy(plan *p, const void *data, size_t size)
{
    void *copy = ct_arena_alloc(&p->arena, size);
    if (copy != NULL && size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

static ct_status
var_name(compiler *c, plan_var *var, ct_err *err)
{
    ct_status st = space_path_text(c->names, c->pieces, c->depth, &c->text, err);
    if (st == CT_OK) {
        st = ct_names_intern(c->names, (const char *)c->text.data, c->text.len,
                             &var->path, err);
    }
    if (st == CT_OK) {
        size_t last = c->depth > 0 ? c->depth - 1 : 0;
        st =
            space_path_text(c->names, c->pieces + last, c->depth - last, &c->text, err);
    }
    if (st != CT_OK) {
        return st;
    }
    ct_buf clean = CT_BUF_INIT;
    st = ct_tag_clean(&clean, (const char *)c->text.data, c->text.len, err);
    if (st == CT_OK) {
        var->key = ct_arena_strndup(&c->plan->arena,
                                    clean.len > 0 ? (char *)clean.data : "", clean.len);
        var->key_len = (uint32_t)clean.len;
        st = var->key != NULL ? CT_OK : ct_fail_mem(err);
    }
    ct_buf_deinit(&clean);
    return st;
}

static ct_status
var_options(compiler *c, plan_var *var, ct_err *err)
{
    const ct_node *n = var->node;
    bool plain = true;
    for (uint32_t i = 0; plain && i < n->count; i++) {
        plain = n->items[i]->kind == CT_NODE_VALUE;
    }
    if (plain) {
        return CT_OK;
    }
    var->options = ct_arena_alloc(&c->plan->arena, n->count * sizeof *var->options);
    if (var->options == NULL) {
        return ct_fail_mem(err);
    }
    for (uint32_t i = 0; i < n->count; i++) {
        var->options[i] = NULL;
        if (n->items[i]->kind != CT_NODE_VALUE) {
            ct_status st = group_new(c, n->items[i], &var->options[i], err);
            if (st != CT_OK) {
                return st;
            }
        }
    }
    return CT_OK;
}

static ct_status
var_new(compiler *c, const ct_node *n, ct_err *err)
{
    plan *p = c->plan;
    plan_var *var = ct_arena_alloc(&p->arena, sizeof *var);
    if (var == NULL) {
        return ct_fail_mem(err);
    }
    *var = (plan_var){.node = n, .depth = c->depth, .rank = UINT32_MAX};
    var->value = ct_nil();
    var->order = (uint32_t)p->var_count++;
    var->chain = p->vars;
    p->vars = var;
    var->pieces = arena_copy(p, c->pieces, c->depth * sizeof *c->pieces);
    var->slots = arena_copy(p, c->slots, c->depth * sizeof *c->slots);
    if (var->pieces == NULL || var->slots == NULL) {
        return ct_fail_mem(err);
    }
    ct_status st = var_name(c, var, err);
    if (st != CT_OK) {
        return st;
    }
    if (n->kind == CT_NODE_FUNCTION && c->late && !n->eager) {
        st = ct_grow((void **)&c->lates, &c->late_cap, c->late_count + 1, sizeof var,
                     err);
        if (st == CT_OK) {
            c->lates[c->late_count++] = var;
        }
        return st;
    }
    st = ct_grow((void **)&c->vars, &c->var_cap, c->var_count + 1, sizeof var, err);
    if (st != CT_OK) {
        return st;
    }
    c->vars[c->var_count++] = var;
    return var_options(c, var, err);
}

static ct_status
walk(compiler *c, const ct_node *n, ct_value *out, ct_err *err)
{
    if (n->kind == CT_NODE_VALUE) {
        return ct_value_copy(out, &n->u.value, err);
    }
    if (n->kind != CT_NODE_DICT && n->kind != CT_NODE_LIST &&
        n->kind != CT_NODE_TUPLE) {
        return var_new(c, n, err);
    }
    *out = n->kind == CT_NODE_DICT   ? ct_dict()
           : n->kind == CT_NODE_LIST ? ct_list()
                                     : ct_tuple();
    for (uint32_t i = 0; i < n->count; i++) {
        bool dict = n->kind == CT_NODE_DICT;
        c->pieces[c->depth] = (ct_piece){!dict, dict ? n->keys[i] : i};
        c->slots[c->depth++] = i;
        ct_value item = ct_nil();
        ct_status st = walk(c, n->items[i], &item, err);
        c->depth--;
        if (st != CT_OK) {
            ct_value_deinit(&item);
            return st;
        }
        st = dict ? ct_value_put(out, n->keys[i], &item, err)
                  : ct_value_push(out, &item, err);
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

static ct_status
group_new(compiler *c, const ct_node *n, plan_group **out, ct_err *err)
{
    plan_group *g = ct_arena_alloc(&c->plan->arena, sizeof *g);
    if (g == NULL) {
        return ct_fail_mem(err);
    }
    *g = (plan_group){.chain = c->plan->groups};
    g->template = ct_nil();
    c->plan->groups = g;
    /* The lists of the group around this one wait on the stack. */
    compiler outer = *c;
    c->vars = NULL;
    c->var_count = c->var_cap = 0;
    c->lates = NULL;
    c->late_count = c->late_cap = 0;
    ct_status st = walk(c, n, &g->template, err);
    if (st == CT_OK) {
        g->vars = arena_copy(c->plan, c->vars, c->var_count * sizeof *c->vars);
        g->var_count = c->var_count;
        g->late = arena_copy(c->plan, c->lates, c->late_count * sizeof *c->lates);
        g->late_count = c->late_count;
        st = g->vars != NULL && g->late != NULL ? CT_OK : ct_fail_mem(err);
    }
    ct_free(c->vars);
    ct_free(c->lates);
    c->vars = outer.vars;
    c->var_count = outer.var_count;
    c->var_cap = outer.var_cap;
    c->lates = outer.lates;
    c->late_count = outer.late_count;
    c->late_cap = outer.late_cap;
    *out = g;
    return st;
}

int
plan_var_order(const ct_names *names, const plan_var *a, const plan_var *b)
{
    return space_path_order(names, a->pieces, a->depth, b->pieces, b->depth);
}

/* Merges two sorted halves; a qsort cannot be handed the names. */
static void
sort_vars(const ct_names *names, plan_var **items, plan_var **spare, size_t count)
{
    if (count < 2) {
        return;
    }
    size_t half = count / 2;
    sort_vars(names, items, spare, half);
    sort_vars(names, items + half, spare, count - half);
    memcpy(spare, items, count * sizeof(plan_var *));
    size_t a = 0;
    size_t b = half;
    for (size_t i = 0; i < count; i++) {
        bool first =
            b >= count || (a < half && plan_var_order(names, spare[a], spare[b]) <= 0);
        items[i] = first ? spare[a++] : spare[b++];
    }
}

static ct_status
rank_vars(plan *p, const ct_names *names, ct_err *err)
{
    plan_var **all = ct_alloc(2 * p->var_count * sizeof(plan_var *));
    if (all == NULL) {
        return ct_fail_mem(err);
    }
    size_t n = 0;
    for (plan_var *v = p->vars; v != NULL; v = v->chain) {
        all[n++] = v;
    }
    sort_vars(names, all, all + n, n);
    for (size_t i = 0; i < n; i++) {
        all[i]->rank = (uint32_t)i;
    }
    ct_free(all);
    return CT_OK;
}

ct_status
plan_new(plan **out, ct_names *names, ct_node *root, bool late, const plan_var *at,
         ct_err *err)
{
    plan *p = ct_calloc(1, sizeof *p);
    compiler *c = ct_calloc(1, sizeof *c);
    ct_status st = p != NULL && c != NULL ? CT_OK : ct_fail_mem(err);
    if (st != CT_OK) {
        ct_free(p);
        ct_free(c);
        return st;
    }
    ct_arena_init(&p->arena, 1024);
    p->root = ct_node_retain(root);
    c->plan = p;
    c->names = names;
    c->late = late;
    if (at != NULL) {
        c->depth = at->depth;
        for (uint32_t i = 0; i < at->depth; i++) {
            c->pieces[i] = at->pieces[i];
            c->slots[i] = at->slots[i];
        }
    }
    st = group_new(c, root, &p->top, err);
    if (st == CT_OK && at == NULL) {
        st = rank_vars(p, names, err);
    }
    ct_buf_deinit(&c->text);
    ct_free(c);
    if (st != CT_OK) {
        plan_free(p);
        return st;
    }
    *out = p;
    return CT_OK;
}

void
plan_free(plan *p)
{
    if (p == NULL) {
        return;
    }
    for (plan_var *v = p->vars; v != NULL; v = v->chain) {
        ct_value_deinit(&v->value);
        plan_free(v->result);
    }
    for (plan_group *g = p->groups; g != NULL; g = g->chain) {
        ct_value_deinit(&g->template);
    }
    ct_node_release(p->root);
    ct_arena_deinit(&p->arena);
    ct_free(p);
}
