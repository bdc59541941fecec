/* variants.c: iteration over grid x samples.
 *
 * A stack of frames: frame 0 holds the variables outside any option, frame k+1 those
 * inside the options that frame k's variables chose at present. To advance, turn the
 * grid of the innermost frame, else drop the frame and turn the one around it. So the
 * memory is that of one variant, whatever the number of samples and grid points.
 *
 * A config is built by copying the template of the root and patching the value or the
 * chosen option of each variable into it, outer frames first. */
#include "space/variants.h"

#include "space/space_int.h"
#include "space/tag.h"

#include <assert.h>
#include <string.h>

enum { PASSES_MAX = 20 };

/* With more grid points than this, variants are not drawn ahead: they would not fit. */
#define AHEAD_MAX 1000000U

typedef struct frame {
    plan_var **vars; /* in walk order */
    size_t count;
    size_t cap;
    plan_var **grids; /* by path */
    size_t grid_count;
    size_t grid_cap;
    plan_var **done; /* other variables, in order of resolution */
    size_t done_count;
    size_t done_cap;
    size_t constant_count; /* constant_grid: the first of done that all points share */
} frame;

/* A variant that was drawn. */
typedef struct entry {
    ct_value config;
    plan_var **vars; /* resolved, in order; then the late functions */
    size_t count;
    size_t late_count;
    size_t cap;
} entry;

struct ct_variants {
    const ct_space *space;
    ct_variants_options options;
    ct_value points;
    size_t point_count;
    uint64_t total;
    plan *base;    /* of the space itself; made when first needed */
    plan *overlay; /* of the present point */
    plan *plan;    /* the present one of the two */
    plan *retired; /* results of functions that entries may still point to */
    frame *frames;
    size_t frame_count;
    size_t frame_cap;
    entry *entries; /* one, or those drawn ahead */
    size_t entry_count;
    size_t entry_cap;
    size_t at;       /* the current entry */
    uint64_t sample; /* samples begun */
    uint64_t given;  /* variants handed out of this one */
    bool in_sample;
    bool has_grid; /* of the present tree */
    ct_value
        rng_start;  /* the stream's state when the sample began, if it can be saved */
    ct_value shape; /* the evaluated parameters without values, of the last entry */
    plan_var **shape_vars;
    size_t shape_count;
    size_t shape_cap;
    plan_var **sorted;
    size_t sorted_cap;
    ct_ref unresolved;
};

/* ---- the marker ---- */

static void
unresolved_release(ct_ref *ref)
{
    (void)ref; /* part of ct_variants */
}

static ct_status
unresolved_json(const ct_ref *ref, ct_buf *out, ct_err *err)
{
    (void)ref;
    (void)out;
    return ct_fail(err, CT_ERECURSIVE, "", "the value is not resolved yet");
}

static ct_status
unresolved_wire(ct_ref *ref, ct_buf *out, ct_err *err)
{
    return unresolved_json(ref, out, err);
}

static bool
unresolved_equal(const ct_ref *a, const ct_ref *b)
{
    return a == b;
}

static const ct_ref_ops UNRESOLVED = {unresolved_release, unresolved_json,
                                      unresolved_wire, unresolved_equal, NULL};

bool
ct_is_unresolved(const ct_value *v)
{
    return v->kind == CT_REF && v->u.ref->ops == &UNRESOLVED;
}

/* ---- building a config ---- */

static ct_value *
slot_of(ct_value *config, const plan_var *var)
{
    ct_value *at = config;
    for (uint32_t i = 0; i < var->depth; i++) {
        at = at->kind == CT_DICT ? &at->u.entries[var->slots[i]].value
                                 : &at->u.items[var->slots[i]];
    }
    return at;
}

/* The subtree that a resolved variable brought in, or NULL. */
static const plan_group *
group_of(const plan_var *var)
{
    if (var->result != NULL) {
        return var->result->top;
    }
    return var->options != NULL ? var->options[var->chosen] : NULL;
}

static ct_status
patch(ct_value *config, const plan_var *var, ct_err *err)
{
    const plan_group *g = group_of(var);
    const ct_value *from = g != NULL ? &g->template : &var->value;
    if (g == NULL &&
        (var->node->kind == CT_NODE_CHOICE || var->node->kind == CT_NODE_GRID)) {
        from = &var->node->items[var->chosen]->u.value;
    }
    ct_value *slot = slot_of(config, var);
    ct_value_deinit(slot);
    if (from->kind == CT_F64 || from->kind == CT_I64) {
        *slot = *from;
        return CT_OK;
    }
    return ct_value_copy(slot, from, err);
}

static void
mark(ct_variants *v, ct_value *config, const plan_var *var)
{
    ct_value *slot = slot_of(config, var);
    ct_value_deinit(slot);
    *slot = ct_of_ref(ct_ref_retain(&v->unresolved));
}

static void
mark_group(ct_variants *v, ct_value *config, const plan_group *g)
{
    for (size_t i = 0; i < g->var_count; i++) {
        mark(v, config, g->vars[i]);
    }
    for (size_t i = 0; i < g->late_count; i++) {
        mark(v, config, g->late[i]);
    }
}

/* The config as far as it is resolved. marks: with markers where it is not. */
static ct_status
build(ct_variants *v, bool marks, ct_value *config, ct_err *err)
{
    const plan_group *top = v->plan->top;
    ct_status st = ct_value_copy(config, &top->template, err);
    if (st == CT_OK && marks) {
        mark_group(v, config, top);
    }
    for (size_t f = 0; f < v->frame_count; f++) {
        const frame *fr = &v->frames[f];
        for (size_t i = 0; st == CT_OK && i < fr->count; i++) {
            const plan_var *var = fr->vars[i];
            if (!var->resolved) {
                continue;
            }
            st = patch(config, var, err);
            if (st == CT_OK && marks && group_of(var) != NULL) {
                mark_group(v, config, group_of(var));
            }
        }
    }
    if (st != CT_OK) {
        ct_value_deinit(config);
    }
    return st;
}

/* ---- resolving variables ---- */

/* Forgets a function's last result. */
static void
drop_result(ct_variants *v, plan_var *var)
{
    if (var->result == NULL) {
        return;
    }
    if (v->options.ahead) {
        var->result->chain = v->retired;
        v->retired = var->result;
    } else {
        plan_free(var->result);
    }
    var->result = NULL;
}

static ct_status
call_function(ct_variants *v, plan_var *var, const ct_value *config, ct_err *err)
{
    if (v->options.ops == NULL || v->options.ops->call == NULL) {
        return ct_fail(err, CT_EUNSUPPORTED,
                       ct_names_text(ct_space_names(v->space), var->path),
                       "is a function, which cannot be called here");
    }
    ct_node *n = NULL;
    ct_status st =
        v->options.ops->call(v->options.ctx, var->node->u.fn, config, &n, err);
    if (st == CT_OK) {
        st = space_check(ct_space_names(v->space), n, var->pieces, var->depth, err);
    }
    if (st == CT_OK && n->kind == CT_NODE_VALUE) {
        ct_value_deinit(&var->value);
        st = ct_value_copy(&var->value, &n->u.value, err);
    } else if (st == CT_OK) {
        st = plan_new(&var->result, ct_space_names(v->space), n,
                      v->options.functions_last, var, err);
    }
    ct_node_release(n);
    return st;
}

static ct_status
resolve(ct_variants *v, plan_var *var, ct_err *err)
{
    const ct_node *n = var->node;
    if (n->kind == CT_NODE_DOMAIN) {
        return ct_domain_sample(&n->u.domain, v->options.rng, &var->value, err);
    }
    if (n->kind == CT_NODE_CHOICE) {
        int64_t i = 0;
        ct_status st = v->options.rng->integers(v->options.rng, 0, n->count, &i, err);
        var->chosen = (uint32_t)i;
        return st;
    }
    drop_result(v, var);
    ct_value config = ct_nil();
    ct_status st = build(v, true, &config, err);
    if (st == CT_OK) {
        st = call_function(v, var, &config, err);
    }
    ct_value_deinit(&config);
    return st;
}

/* why: what the last function said that could not be resolved. */
static ct_status
circular(const ct_variants *v, plan_var *const *vars, size_t count, const ct_err *why,
         ct_err *err)
{
    const ct_names *names = ct_space_names(v->space);
    ct_buf list = CT_BUF_INIT;
    ct_status st = CT_OK;
    const char *first = "";
    for (size_t i = 0; st == CT_OK && i < count; i++) {
        if (vars[i]->resolved) {
            continue;
        }
        const char *path = ct_names_text(names, vars[i]->path);
        first = first[0] == '\0' ? path : first;
        st = ct_buf_printf(&list, err, "%s`%s`", list.len > 0 ? ", " : "", path);
    }
    if (st == CT_OK) {
        st = ct_fail(
            err, CT_ERECURSIVE, first,
            "cannot be resolved: there is a circle among %.*s (%s); let one of them "
            "not use the others",
            (int)(list.len < 300 ? list.len : 300), (const char *)list.data, why->text);
    }
    ct_buf_deinit(&list);
    return st;
}

/* Resolves the unresolved ones of vars (no grids) in passes; fr->done gets them in
 * order. must: fails if some remain. */
static ct_status
resolve_all(ct_variants *v, frame *fr, bool must, ct_err *err)
{
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        bool progress = false;
        bool rest = false;
        ct_err why = CT_ERR_INIT;
        for (size_t i = 0; i < fr->count; i++) {
            plan_var *var = fr->vars[i];
            if (var->resolved || var->node->kind == CT_NODE_GRID) {
                continue;
            }
            bool function = var->node->kind == CT_NODE_FUNCTION;
            ct_status st = resolve(v, var, function ? &why : err);
            if (st == CT_ERECURSIVE && function) {
                rest = true;
                continue;
            }
            if (st != CT_OK) {
                if (function && err != NULL) {
                    *err = why;
                }
                return st;
            }
            var->resolved = true;
            fr->done[fr->done_count++] = var;
            progress = true;
        }
        if (!rest) {
            return CT_OK;
        }
        if (!progress || pass + 1 == PASSES_MAX) {
            if (!must) {
                return CT_OK;
            }
            return circular(v, fr->vars, fr->count, &why, err);
        }
    }
    return CT_OK;
}

/* Resolves a frame's variables for the present grid point. */
static ct_status
sample_frame(ct_variants *v, frame *fr, bool entered, ct_err *err)
{
    bool constant = v->options.constant_grid && fr->grid_count > 0;
    size_t keep = constant && !entered ? fr->constant_count : 0;
    for (size_t i = keep; i < fr->done_count; i++) {
        fr->done[i]->resolved = false;
    }
    fr->done_count = keep;
    if (constant && entered) {
        for (size_t i = 0; i < fr->grid_count; i++) {
            fr->grids[i]->resolved = false;
        }
        ct_status st = resolve_all(v, fr, false, err);
        if (st != CT_OK) {
            return st;
        }
        fr->constant_count = fr->done_count;
    }
    for (size_t i = 0; i < fr->grid_count; i++) {
        fr->grids[i]->resolved = true;
    }
    return resolve_all(v, fr, true, err);
}

/* ---- frames ---- */

static ct_status
vars_add(plan_var ***items, size_t *count, size_t *cap, plan_var *var, ct_err *err)
{
    ct_status st = ct_grow((void **)items, cap, *count + 1, sizeof(plan_var *), err);
    if (st == CT_OK) {
        (*items)[(*count)++] = var;
    }
    return st;
}

static ct_status
frame_fill(ct_variants *v, frame *fr, const plan_group *g, ct_err *err)
{
    for (size_t i = 0; i < g->var_count; i++) {
        plan_var *var = g->vars[i];
        ct_status st = vars_add(&fr->vars, &fr->count, &fr->cap, var, err);
        var->resolved = false;
        if (st == CT_OK && var->node->kind == CT_NODE_GRID) {
            var->chosen = 0;
            st = vars_add(&fr->grids, &fr->grid_count, &fr->grid_cap, var, err);
            for (size_t k = fr->grid_count - 1; st == CT_OK && k > 0; k--) {
                plan_var *before = fr->grids[k - 1];
                if (plan_var_order(ct_space_names(v->space), before, var) <= 0) {
                    break;
                }
                fr->grids[k] = before;
                fr->grids[k - 1] = var;
            }
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

/* Opens the next frame: the root's variables, or those inside what the innermost frame
 * chose. *any tells whether there are any. */
static ct_status
frame_push(ct_variants *v, bool *any, ct_err *err)
{
    if (v->frame_count ==
        v->frame_cap) { /* new frames start empty, old ones keep memory */
        size_t old = v->frame_cap;
        ct_status st = ct_grow((void **)&v->frames, &v->frame_cap, v->frame_count + 1,
                               sizeof(frame), err);
        if (st != CT_OK) {
            return st;
        }
        memset(v->frames + old, 0, (v->frame_cap - old) * sizeof(frame));
    }
    frame *fr = &v->frames[v->frame_count];
    fr->count = 0;
    fr->grid_count = 0;
    fr->done_count = 0;
    fr->constant_count = 0;
    ct_status st = CT_OK;
    if (v->frame_count == 0) {
        st = frame_fill(v, fr, v->plan->top, err);
    } else {
        const frame *outer = fr - 1;
        for (size_t i = 0; st == CT_OK && i < outer->count; i++) {
            const plan_group *g = group_of(outer->vars[i]);
            if (g != NULL && g->var_count > 0) {
                st = frame_fill(v, fr, g, err);
            }
        }
    }
    if (st == CT_OK) {
        st = ct_grow((void **)&fr->done, &fr->done_cap, fr->count + 1,
                     sizeof(plan_var *), err);
    }
    *any = fr->count > 0 || v->frame_count == 0;
    if (st != CT_OK || !*any) {
        return st;
    }
    v->frame_count++;
    return sample_frame(v, fr, true, err);
}

/* Turns the grid; the first variable fastest. False after its last point. */
static bool
frame_turn(frame *fr)
{
    for (size_t i = 0; i < fr->grid_count; i++) {
        plan_var *var = fr->grids[i];
        if (++var->chosen < var->node->count) {
            return true;
        }
        var->chosen = 0;
    }
    return false;
}

/* Moves the frames to the next variant of the sample. */
static ct_status
frames_next(ct_variants *v, bool *more, ct_err *err)
{
    bool any = true;
    ct_status st = CT_OK;
    if (v->frame_count == 0) {
        st = frame_push(v, &any, err);
    } else {
        while (v->frame_count > 0 && !frame_turn(&v->frames[v->frame_count - 1])) {
            v->frame_count--;
        }
        *more = v->frame_count > 0;
        if (!*more) {
            return CT_OK;
        }
        st = sample_frame(v, &v->frames[v->frame_count - 1], false, err);
    }
    while (st == CT_OK && any && v->frames[v->frame_count - 1].count > 0) {
        st = frame_push(v, &any, err);
    }
    *more = true;
    return st;
}

/* ---- entries ---- */

static ct_status
entry_add(entry *e, plan_var *var, ct_err *err)
{
    return vars_add(&e->vars, &e->count, &e->cap, var, err);
}

/* A deeper variable at the place of an outer one has replaced it. */
static ct_status
entry_add_new(entry *e, plan_var *var, bool deeper, ct_err *err)
{
    for (size_t i = 0; deeper && i < e->count; i++) {
        if (e->vars[i]->path == var->path) {
            return CT_OK;
        }
    }
    return entry_add(e, var, err);
}

static ct_status
entry_late(entry *e, const plan_group *g, ct_value *config, ct_variants *v, ct_err *err)
{
    for (size_t i = 0; i < g->late_count; i++) {
        plan_var *var = g->late[i];
        ct_status st = entry_add(e, var, err);
        if (st != CT_OK) {
            return st;
        }
        var->resolved = false;
        mark(v, config, var);
        size_t k = e->count - 1;
        for (; k > e->count - 1 - e->late_count && e->vars[k - 1]->order > var->order;
             k--) {
            e->vars[k] = e->vars[k - 1];
        }
        e->vars[k] = var;
        e->late_count++;
    }
    return CT_OK;
}

/* Writes down the variant at which the frames stand. */
static ct_status
entry_fill(ct_variants *v, entry *e, ct_err *err)
{
    e->count = 0;
    e->late_count = 0;
    ct_value_deinit(&e->config);
    ct_status st = build(v, false, &e->config, err);
    for (size_t f = 0; f < v->frame_count; f++) {
        const frame *fr = &v->frames[f];
        for (size_t i = 0; st == CT_OK && i < fr->done_count; i++) {
            st = entry_add_new(e, fr->done[i], f > 0, err);
        }
        for (size_t i = 0; st == CT_OK && i < fr->grid_count; i++) {
            st = entry_add_new(e, fr->grids[i], f > 0, err);
        }
    }
    if (st == CT_OK) {
        st = entry_late(e, v->plan->top, &e->config, v, err);
    }
    for (size_t f = 0; f < v->frame_count; f++) {
        const frame *fr = &v->frames[f];
        for (size_t i = 0; st == CT_OK && i < fr->count; i++) {
            const plan_group *g = group_of(fr->vars[i]);
            if (g != NULL && g->late_count > 0) {
                st = entry_late(e, g, &e->config, v, err);
            }
        }
    }
    e->count -= e->late_count;
    return st;
}

/* Calls the late functions of an entry that is handed out. */
static ct_status
entry_finish(ct_variants *v, entry *e, ct_err *err)
{
    plan_var **late = e->vars + e->count;
    for (size_t i = 0; i < e->late_count; i++) {
        late[i]->resolved = false;
    }
    size_t left = e->late_count;
    while (left > 0) {
        size_t before = left;
        ct_err why = CT_ERR_INIT;
        for (size_t i = 0; i < e->late_count; i++) {
            if (late[i]->resolved) {
                continue;
            }
            ct_status st = call_function(v, late[i], &e->config, &why);
            if (st == CT_ERECURSIVE) {
                continue;
            }
            if (st == CT_OK && late[i]->result != NULL) {
                plan_free(late[i]->result);
                late[i]->result = NULL;
                st = ct_fail(
                    &why, CT_EINVAL,
                    ct_names_text(ct_space_names(v->space), late[i]->path),
                    "is a function that gave a search space; give a value, or use "
                    "choice() over the spaces");
            }
            if (st == CT_OK) {
                st = patch(&e->config, late[i], &why);
            }
            if (st != CT_OK) {
                if (err != NULL) {
                    *err = why;
                }
                return st;
            }
            late[i]->resolved = true;
            left--;
        }
        if (left == before) {
            return circular(v, late, e->late_count, &why, err);
        }
    }
    return CT_OK;
}

/* ---- samples ---- */

static uint64_t
sample_count(const ct_variants *v)
{
    uint64_t n = v->options.num_samples;
    return n > v->point_count ? n : v->point_count;
}

static ct_status
sample_plan(ct_variants *v, ct_err *err)
{
    plan_free(v->overlay);
    v->overlay = NULL;
    ct_node *root = NULL;
    ct_status st = CT_OK;
    if (v->sample < v->point_count) {
        st = ct_space_overlay(v->space, &v->points.u.items[v->sample], NULL, NULL,
                              &root, err);
        if (st == CT_OK) {
            st = plan_new(&v->overlay, ct_space_names(v->space), root,
                          v->options.functions_last, NULL, err);
        }
        v->plan = v->overlay;
        ct_node_release(root);
    } else {
        if (v->base == NULL) {
            ct_node *whole = NULL;
            const ct_node *shared = ct_space_root(v->space);
            memcpy(&whole, &shared, sizeof whole); /* plans only count references */
            st = plan_new(&v->base, ct_space_names(v->space), whole,
                          v->options.functions_last, NULL, err);
        }
        v->plan = v->base;
    }
    if (st == CT_OK) {
        v->has_grid = ct_node_has_grid(v->plan->root);
    }
    return st;
}

static void
retired_free(ct_variants *v)
{
    while (v->retired != NULL) {
        plan *p = v->retired;
        v->retired = p->chain;
        plan_free(p);
    }
}

static ct_status
sample_begin(ct_variants *v, ct_err *err)
{
    const ct_function_ops *ops = v->options.ops;
    v->frame_count = 0;
    v->entry_count = 0;
    v->at = 0;
    v->given = 0;
    v->shape_count = SIZE_MAX; /* variables may have moved */
    retired_free(v);
    ct_status st = CT_OK;
    if (v->plan == NULL || v->plan == v->overlay || v->sample < v->point_count) {
        v->plan = NULL;
        st = sample_plan(v, err);
    }
    if (st == CT_OK && ops != NULL && ops->rng_save != NULL && v->has_grid) {
        ct_value_deinit(&v->rng_start);
        st =
            ops->rng_save(v->options.ctx, ct_space_names(v->space), &v->rng_start, err);
    }
    if (st == CT_OK) {
        v->sample++;
        v->in_sample = true;
    }
    return st;
}

static ct_status
entry_next(ct_variants *v, entry **out, ct_err *err)
{
    if (v->entry_count == v->entry_cap) {
        size_t old = v->entry_cap;
        ct_status st = ct_grow((void **)&v->entries, &v->entry_cap, v->entry_count + 1,
                               sizeof(entry), err);
        if (st != CT_OK) {
            return st;
        }
        memset(v->entries + old, 0, (v->entry_cap - old) * sizeof(entry));
    }
    *out = &v->entries[v->entry_count++];
    return CT_OK;
}

/* Draws the next variant of the sample, or all of them; *more = false: there is
 * none. */
static ct_status
draw(ct_variants *v, bool *more, ct_err *err)
{
    bool all = v->options.ahead && v->has_grid &&
               ct_node_grid_points(v->plan->root) <= AHEAD_MAX;
    if (all && v->at + 1 < v->entry_count) {
        v->at++;
        *more = true;
        return CT_OK;
    }
    if (all && v->entry_count > 0) {
        *more = false;
        return CT_OK;
    }
    v->entry_count = 0;
    v->at = 0;
    do {
        entry *e = NULL;
        ct_status st = frames_next(v, more, err);
        if (st == CT_OK && *more) {
            st = entry_next(v, &e, err);
        }
        if (st == CT_OK && *more) {
            st = entry_fill(v, e, err);
        }
        if (st != CT_OK) {
            return st;
        }
    } while (all && *more);
    *more = v->entry_count > 0;
    return CT_OK;
}

/* The next variant without its late functions. */
static ct_status
step(ct_variants *v, bool *more, ct_err *err)
{
    for (;;) {
        ct_status st = CT_OK;
        if (!v->in_sample) {
            *more = v->sample < sample_count(v);
            if (!*more) {
                v->entry_count = 0;
                return CT_OK;
            }
            st = sample_begin(v, err);
        }
        if (st == CT_OK) {
            st = draw(v, more, err);
        }
        if (st != CT_OK) {
            return st;
        }
        if (*more) {
            v->given++;
            return CT_OK;
        }
        v->in_sample = false;
    }
}

ct_status
ct_variants_next(ct_variants *v, bool *more, ct_err *err)
{
    ct_status st = step(v, more, err);
    return st == CT_OK && *more ? entry_finish(v, &v->entries[v->at], err) : st;
}

/* ---- making and freeing ---- */

static uint64_t
add_capped(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static ct_status
count_total(ct_variants *v, ct_err *err)
{
    for (size_t i = 0; i < v->point_count; i++) {
        ct_node *root = NULL;
        ct_status st = ct_space_overlay(v->space, &v->points.u.items[i],
                                        v->options.warn, v->options.ctx, &root, err);
        if (st != CT_OK) {
            return st;
        }
        v->total = add_capped(v->total, ct_node_grid_points(root));
        ct_node_release(root);
    }
    uint64_t samples = v->options.num_samples;
    if (samples > v->point_count) {
        uint64_t rest = samples == UINT64_MAX ? samples : samples - v->point_count;
        uint64_t grid = ct_node_grid_points(ct_space_root(v->space));
        v->total =
            add_capped(v->total, rest > UINT64_MAX / grid ? UINT64_MAX : rest * grid);
    }
    return CT_OK;
}

ct_status
ct_variants_new(ct_variants **out, const ct_space *space,
                const ct_variants_options *options, ct_err *err)
{
    if (options->points != NULL && options->points->kind != CT_LIST &&
        options->points->kind != CT_TUPLE) {
        return ct_fail(err, CT_ETYPE, "points_to_evaluate", "must be a list of dicts");
    }
    ct_variants *v = ct_calloc(1, sizeof *v);
    if (v == NULL) {
        return ct_fail_mem(err);
    }
    v->space = space;
    v->options = *options;
    v->options.points = NULL;
    v->unresolved = (ct_ref){&UNRESOLVED, 1};
    v->points = ct_list();
    v->rng_start = ct_nil();
    v->shape = ct_nil();
    v->shape_count = SIZE_MAX;
    ct_status st = CT_OK;
    if (options->points != NULL) {
        v->points = ct_nil();
        st = ct_value_copy(&v->points, options->points, err);
        v->point_count = st == CT_OK ? v->points.len : 0;
    }
    if (st == CT_OK) {
        st = count_total(v, err);
    }
    if (st != CT_OK) {
        ct_variants_free(v);
        return st;
    }
    *out = v;
    return CT_OK;
}

void
ct_variants_free(ct_variants *v)
{
    if (v == NULL) {
        return;
    }
    for (size_t i = 0; i < v->entry_cap; i++) {
        ct_value_deinit(&v->entries[i].config);
        ct_free(v->entries[i].vars);
    }
    ct_free(v->entries);
    for (size_t i = 0; i < v->frame_cap; i++) {
        ct_free(v->frames[i].vars);
        ct_free(v->frames[i].grids);
        ct_free(v->frames[i].done);
    }
    ct_free(v->frames);
    retired_free(v);
    plan_free(v->overlay);
    plan_free(v->base);
    ct_value_deinit(&v->points);
    ct_value_deinit(&v->rng_start);
    ct_value_deinit(&v->shape);
    ct_free(v->shape_vars);
    ct_free(v->sorted);
    ct_free(v);
}

uint64_t
ct_variants_total(const ct_variants *v)
{
    return v->total;
}

/* ---- the current variant ---- */

static entry *
current(const ct_variants *v)
{
    assert(v->entry_count > 0);
    return &v->entries[v->at];
}

const ct_value *
ct_variants_config(const ct_variants *v)
{
    return &current(v)->config;
}

void
ct_variants_take(ct_variants *v, ct_value *config)
{
    *config = current(v)->config;
    current(v)->config = ct_nil();
}

size_t
ct_variants_count(const ct_variants *v)
{
    return v->entry_count > 0 ? current(v)->count : 0;
}

ct_name
ct_variants_name(const ct_variants *v, size_t i)
{
    return current(v)->vars[i]->path;
}

size_t
ct_variants_depth(const ct_variants *v, size_t i)
{
    return current(v)->vars[i]->depth;
}

bool
ct_variants_step(const ct_variants *v, size_t i, size_t step, uint32_t *at)
{
    const ct_piece *piece = &current(v)->vars[i]->pieces[step];
    *at = piece->at;
    return piece->is_index;
}

const ct_value *
ct_variants_value(const ct_variants *v, size_t i)
{
    entry *e = current(v);
    return slot_of(&e->config, e->vars[i]);
}

/* Most variants have the variables of the one before: their dict is copied in one
 * go. */
static ct_status
shape_update(ct_variants *v, const entry *e, ct_err *err)
{
    if (v->shape_count == e->count &&
        (e->count == 0 ||
         memcmp(v->shape_vars, e->vars, e->count * sizeof(plan_var *)) == 0)) {
        return CT_OK;
    }
    v->shape_count = SIZE_MAX;
    ct_value_deinit(&v->shape);
    v->shape = ct_dict();
    size_t n = 0;
    for (size_t i = 0; i < e->count; i++) {
        ct_value none = ct_nil();
        ct_status st = vars_add(&v->shape_vars, &n, &v->shape_cap, e->vars[i], err);
        if (st == CT_OK) {
            st = ct_value_put(&v->shape, e->vars[i]->path, &none, err);
        }
        if (st != CT_OK) {
            return st;
        }
    }
    v->shape_count = e->count;
    return CT_OK;
}

ct_status
ct_variants_evaluated(const ct_variants *v, ct_value *out, ct_err *err)
{
    ct_variants *cache;
    memcpy(&cache, &v, sizeof cache); /* the shape is a cache */
    entry *e = current(v);
    ct_status st = shape_update(cache, e, err);
    if (st == CT_OK) {
        st = ct_value_copy(out, &v->shape, err);
    }
    for (size_t i = 0; st == CT_OK && i < e->count; i++) {
        const ct_value *from = slot_of(&e->config, e->vars[i]);
        /* Two variables may share a name ("a/b" and a key "a/b"): the last one
         * counts. */
        ct_value *to = out->len == e->count ? &out->u.entries[i].value
                                            : ct_value_get_mut(out, e->vars[i]->path);
        ct_value_deinit(to);
        st = ct_value_copy(to, from, err);
        if (st != CT_OK) {
            ct_value_deinit(out);
        }
    }
    return st;
}

static bool
comes_before(const ct_variants *v, const plan_var *a, const plan_var *b)
{
    if (a->rank != UINT32_MAX && b->rank != UINT32_MAX) {
        return a->rank < b->rank;
    }
    return plan_var_order(ct_space_names(v->space), a, b) < 0;
}

ct_status
ct_variants_tag(ct_variants *v, ct_buf *out, ct_err *err)
{
    entry *e = current(v);
    size_t n = 0;
    for (size_t i = 0; i < e->count; i++) {
        ct_status st = vars_add(&v->sorted, &n, &v->sorted_cap, e->vars[i], err);
        if (st != CT_OK) {
            return st;
        }
        size_t k = n - 1;
        for (; k > 0 && comes_before(v, e->vars[i], v->sorted[k - 1]); k--) {
            v->sorted[k] = v->sorted[k - 1];
        }
        v->sorted[k] = e->vars[i];
    }
    for (size_t i = 0; i < n; i++) {
        const plan_var *var = v->sorted[i];
        ct_status st = i > 0 ? ct_buf_put_u8(out, ',', err) : CT_OK;
        if (st == CT_OK) {
            st = ct_buf_put(out, var->key, var->key_len, err);
        }
        if (st == CT_OK) {
            st = ct_buf_put_u8(out, '=', err);
        }
        if (st == CT_OK) {
            st = ct_tag_value(out, slot_of(&e->config, var), v->space, err);
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

/* ---- positions ---- */

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

static const ct_value *
get(ct_names *names, const ct_value *dict, const char *key)
{
    ct_name n = ct_names_find(names, key, strlen(key));
    return n == CT_NAME_NONE ? NULL : ct_value_get(dict, n);
}

ct_status
ct_variants_save(const ct_variants *v, ct_names *names, ct_value *out, ct_err *err)
{
    const ct_function_ops *ops = v->options.ops;
    if (ops == NULL || ops->rng_save == NULL) {
        return ct_fail(err, CT_EUNSUPPORTED, "random_state",
                       "the state of this random stream cannot be saved");
    }
    *out = ct_dict();
    bool inside = v->in_sample && v->has_grid;
    ct_value sample = ct_i64((int64_t)v->sample);
    ct_value given = ct_i64(inside ? (int64_t)v->given : 0);
    ct_value start = ct_nil();
    ct_value now = ct_nil();
    ct_status st = put(names, out, "sample", &sample, err);
    if (st == CT_OK) {
        st = put(names, out, "given", &given, err);
    }
    if (st == CT_OK && inside) {
        st = ct_value_copy(&start, &v->rng_start, err);
    }
    if (st == CT_OK) {
        st = put(names, out, "rng_start", &start, err);
    }
    if (st == CT_OK) {
        st = ops->rng_save(v->options.ctx, names, &now, err);
    }
    if (st == CT_OK) {
        st = put(names, out, "rng", &now, err);
    }
    if (st != CT_OK) {
        ct_value_deinit(out);
    }
    return st;
}

ct_status
ct_variants_restore(ct_variants *v, ct_names *names, const ct_value *saved, ct_err *err)
{
    const ct_function_ops *ops = v->options.ops;
    if (ops == NULL || ops->rng_restore == NULL) {
        return ct_fail(err, CT_EUNSUPPORTED, "random_state",
                       "the state of this random stream cannot be restored");
    }
    bool dict = saved->kind == CT_DICT;
    const ct_value *sample = dict ? get(names, saved, "sample") : NULL;
    const ct_value *given = dict ? get(names, saved, "given") : NULL;
    const ct_value *start = dict ? get(names, saved, "rng_start") : NULL;
    const ct_value *now = dict ? get(names, saved, "rng") : NULL;
    if (sample == NULL || sample->kind != CT_I64 || sample->u.i < 0 || given == NULL ||
        given->kind != CT_I64 || given->u.i < 0 || start == NULL || now == NULL ||
        (given->u.i > 0 && sample->u.i == 0)) {
        return ct_fail(err, CT_ECORRUPT, "variants", "the saved position is damaged");
    }
    ct_status st = CT_OK;
    bool more = true;
    v->in_sample = false;
    v->sample = (uint64_t)sample->u.i;
    if (given->u.i > 0) { /* draw the sample again up to the place */
        v->sample--;
        st = ops->rng_restore(v->options.ctx, names, start, err);
        for (int64_t i = 0; st == CT_OK && more && i < given->u.i; i++) {
            st = step(v, &more, err);
        }
        if (st == CT_OK && !more) {
            st = ct_fail(err, CT_ECORRUPT, "variants",
                         "the saved position lies past the end of the space");
        }
    }
    return st == CT_OK ? ops->rng_restore(v->options.ctx, names, now, err) : st;
}
