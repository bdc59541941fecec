/* space.h: a search space: a tree like a ct_value whose leaves may be domains, grids or
 * functions.
 *
 * A caller builds ct_nodes from the leaves up and hands the root to ct_space_new, which
 * checks the whole tree and names the path at fault ("nest/layers/0") in its errors.
 * From then on nodes never change; trees share them by counting, so that a space
 * overlaid with a partial config costs only the changed branches.
 *
 * Options of a choice or grid are nodes too: they may hold further domains and grids,
 * which count only if the option is chosen (a conditional space). An option adds
 * nothing to the path of what is below it.
 *
 * Everything here belongs to one thread. */
#ifndef CT_SPACE_SPACE_H
#define CT_SPACE_SPACE_H

#include "base/name.h"
#include "base/value.h"
#include "space/domain.h"

typedef enum ct_node_kind {
    CT_NODE_VALUE, /* a constant, scalar or container */
    CT_NODE_DICT,
    CT_NODE_LIST,
    CT_NODE_TUPLE,
    CT_NODE_DOMAIN, /* a number drawn from a domain */
    CT_NODE_CHOICE, /* one option, drawn */
    CT_NODE_GRID,   /* every option in turn */
    CT_NODE_FUNCTION,
    CT_NODE_KIND_COUNT
} ct_node_kind;

typedef struct ct_node ct_node;

/* Makers. Each gives one reference. What they take they take also on failure. */
ct_status ct_node_value(ct_node **out, ct_value *v, ct_err *err); /* takes *v */
/* Not CT_DOMAIN_CHOICE. An unprepared domain is prepared by ct_space_new. */
ct_status ct_node_domain(ct_node **out, const ct_domain *d, ct_err *err);
/* Takes fn. eager: also called where functions wait for all else (variants.h). */
ct_status ct_node_function(ct_node **out, ct_ref *fn, bool eager, ct_err *err);
/* An empty DICT, LIST, TUPLE, CHOICE or GRID. */
ct_status ct_node_branch(ct_node **out, ct_node_kind kind, ct_err *err);
/* Takes *child (left NULL). parent: LIST, TUPLE, CHOICE or GRID. */
ct_status ct_node_push(ct_node *parent, ct_node **child, ct_err *err);
/* The same for a DICT; a key is given once. */
ct_status ct_node_put(ct_node *dict, ct_name key, ct_node **child, ct_err *err);
ct_node *ct_node_retain(ct_node *n);
void ct_node_release(ct_node *n); /* NULL is fine */

ct_node_kind ct_node_kind_of(const ct_node *n);
size_t ct_node_count(const ct_node *n); /* children */
const ct_node *ct_node_child(const ct_node *n, size_t i);
ct_name ct_node_key(const ct_node *n, size_t i);    /* of a DICT: the i-th child's */
const ct_value *ct_node_constant(const ct_node *n); /* of a VALUE, else NULL */
/* No domain, grid or function anywhere below. Known once the tree is checked. */
bool ct_node_is_constant(const ct_node *n);

typedef struct ct_space ct_space;

/* Checks the tree and takes *root (left NULL, also on failure). names: where the keys
 * of its dicts come from; must outlive the space. Errors: CT_EINVAL for bounds, an
 * empty choice or grid, or a tree nested too deep; param is the path. */
ct_status ct_space_new(ct_space **out, ct_names *names, ct_node **root, ct_err *err);
void ct_space_free(ct_space *s);
const ct_node *ct_space_root(const ct_space *s);
ct_names *ct_space_names(const ct_space *s);

/* The text that stands for an object in experiment tags; copied. Without one it is
 * "object". */
ct_status ct_space_label(ct_space *s, const ct_ref *ref, const char *text, ct_err *err);
const char *ct_space_label_of(const ct_space *s, const ct_ref *ref); /* or NULL */

/* Points of the grid: the product over grids outside any option; UINT64_MAX if more. */
uint64_t ct_node_grid_points(const ct_node *root);
/* Any grid, also inside options. */
bool ct_node_has_grid(const ct_node *root);

/* The tree with the leaves of a partial config in place of what stands there. Warns, by
 * calling warn(ctx, text) if it is not NULL, about a value outside its domain or
 * different from a constant. A dict or list given for a whole choice, grid, domain or
 * scalar replaces it. Errors: CT_ENOTFOUND for a key, CT_EINVAL for an index that the
 * space lacks. */
typedef void (*ct_warn_fn)(void *ctx, const char *text);
ct_status ct_space_overlay(const ct_space *s, const ct_value *point, ct_warn_fn warn,
                           void *ctx, ct_node **root, ct_err *err);

#endif
