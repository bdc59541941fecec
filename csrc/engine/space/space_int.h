/* space_int.h: what the files of this room share. */
#ifndef CT_SPACE_SPACE_INT_H
#define CT_SPACE_SPACE_INT_H

#include "base/bytes.h"
#include "base/mem.h"
#include "space/space.h"

enum { SPACE_DEPTH_MAX = 200 };

struct ct_node {
    uint32_t refs;
    ct_node_kind kind;
    bool checked;
    bool constant; /* valid once checked */
    bool eager;    /* FUNCTION */
    uint32_t count;
    size_t cap;
    ct_node **items; /* children; cap counts them */
    ct_name *keys;   /* DICT: keys of the children */
    size_t keys_cap;
    union {
        ct_value value;
        ct_domain domain;
        ct_ref *fn;
    } u;
};

/* One step of a path: a dict's key or a list's index. */
typedef struct ct_piece {
    bool is_index;
    uint32_t at; /* ct_name or index */
} ct_piece;

/* "a/b/0"; replaces the content of out and terminates it. */
ct_status space_path_text(const ct_names *names, const ct_piece *pieces, size_t count,
                          ct_buf *out, ct_err *err);
/* Order of two paths as tuples: piece by piece, keys by code points. */
int space_path_order(const ct_names *names, const ct_piece *a, size_t a_count,
                     const ct_piece *b, size_t b_count);
/* Checks a tree that stands at the given place. */
ct_status space_check(const ct_names *names, ct_node *root, const ct_piece *at,
                      size_t at_count, ct_err *err);

/* ---- plan.c: a tree made ready for iteration ---- */

typedef struct plan plan;
typedef struct plan_var plan_var;

/* What a subtree adds to a config when it becomes part of it. */
typedef struct plan_group {
    ct_value template; /* its constants; nil where a variable stands */
    plan_var **vars;   /* variables outside any option, in walk order */
    size_t var_count;
    plan_var **late; /* functions that wait for all else */
    size_t late_count;
    struct plan_group *chain; /* all groups of a plan, to free them */
} plan_group;

/* A variable at its place, and what it is at present. Lives in the plan's arena. */
struct plan_var {
    const ct_node *node;
    const ct_piece *pieces; /* path */
    const uint32_t *slots;  /* positions in the containers along the path */
    uint32_t depth;
    uint32_t rank;  /* place in the order of paths; UINT32_MAX in a function's result */
    uint32_t order; /* place in the order of the walk, options included */
    ct_name path;
    const char *key; /* last piece, cleaned for tags */
    uint32_t key_len;
    plan_group **options; /* NULL entries: plain constants; NULL: all of them are */
    plan_var *chain;
    bool resolved;
    uint32_t chosen;
    ct_value value; /* a number, or a function's constant */
    plan *result;   /* a function's result that is a space itself */
};

struct plan {
    ct_arena arena;
    ct_node *root;
    plan_group *top;
    plan_group *groups;
    plan_var *vars;
    size_t var_count;
    plan *chain;
};

/* root stands at the given place; retained. late: functions that are not eager are
 * late. */
ct_status plan_new(plan **out, ct_names *names, ct_node *root, bool late,
                   const plan_var *at, ct_err *err);
void plan_free(plan *p);
/* Order of paths. */
int plan_var_order(const ct_names *names, const plan_var *a, const plan_var *b);

#endif
