/* ostat.c: a counted B+ tree of doubles.
 *
 * Leaves hold up to LEAF_MAX values in order; inner nodes hold, per child, how many
 * values lie below it and the largest of them. Insertion goes down once: a full child
 * is split before it is entered, so that no split ever travels upwards. A split changes
 * no value and no count of the whole, so that running out of memory half way does no
 * harm; counts are raised only after the value is in. All leaves have the same depth.
 * A removal leaves nodes as they are, empty ones too, and largest values as bounds.
 *
 * Percentiles follow NumPy's "linear" method, operation by operation. */
#include "base/ostat.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* NumPy rounds the product before it adds */
#endif

enum {
    LEAF_MAX = 128,
    INNER_MAX = 32,
    DEPTH_MAX = 24, /* inner nodes are at least half full: 16^24 leaves */
};

typedef struct leaf {
    size_t n;
    double v[LEAF_MAX];
} leaf;

typedef struct inner {
    size_t n;
    double max[INNER_MAX];
    size_t count[INNER_MAX];
    void *child[INNER_MAX]; /* leaves when the level is 1 */
} inner;

struct ct_ostat {
    void *root;
    size_t level; /* 0: the root is a leaf */
    size_t count;
};

ct_status
ct_ostat_new(ct_ostat **out, ct_err *err)
{
    ct_ostat *s = ct_calloc(1, sizeof *s);
    leaf *root = ct_calloc(1, sizeof *root);
    if (s == NULL || root == NULL) {
        ct_free(s);
        ct_free(root);
        return ct_fail_mem(err);
    }
    s->root = root;
    *out = s;
    return CT_OK;
}

static void
node_free(void *node, size_t level)
{
    if (level > 0) {
        inner *in = node;
        for (size_t i = 0; i < in->n; i++) {
            node_free(in->child[i], level - 1);
        }
    }
    ct_free(node);
}

void
ct_ostat_free(ct_ostat *s)
{
    if (s != NULL) {
        node_free(s->root, s->level);
        ct_free(s);
    }
}

static bool
node_full(const void *node, size_t level)
{
    return level == 0 ? ((const leaf *)node)->n == LEAF_MAX
                      : ((const inner *)node)->n == INNER_MAX;
}

/* The position of a child's two halves in their parent. */
typedef struct halves {
    void *right;
    double left_max;
    size_t left_count;
} halves;

static ct_status
leaf_split(leaf *left, halves *out, ct_err *err)
{
    leaf *right = ct_alloc(sizeof *right);
    if (right == NULL) {
        return ct_fail_mem(err);
    }
    left->n = LEAF_MAX / 2;
    right->n = LEAF_MAX - left->n;
    memcpy(right->v, left->v + left->n, right->n * sizeof *right->v);
    *out = (halves){right, left->v[left->n - 1], left->n};
    return CT_OK;
}

static ct_status
inner_split(inner *left, halves *out, ct_err *err)
{
    inner *right = ct_alloc(sizeof *right);
    if (right == NULL) {
        return ct_fail_mem(err);
    }
    size_t n = INNER_MAX / 2;
    left->n = n;
    right->n = INNER_MAX - n;
    memcpy(right->max, left->max + n, right->n * sizeof *right->max);
    memcpy(right->count, left->count + n, right->n * sizeof *right->count);
    memcpy(right->child, left->child + n, right->n * sizeof *right->child);
    *out = (halves){right, left->max[n - 1], 0};
    for (size_t i = 0; i < n; i++) {
        out->left_count += left->count[i];
    }
    return CT_OK;
}

/* Splits the full child at i of a node that is not full. */
static ct_status
child_split(inner *node, size_t i, size_t child_level, ct_err *err)
{
    halves h = {NULL, 0.0, 0};
    ct_status st = child_level == 0 ? leaf_split(node->child[i], &h, err)
                                    : inner_split(node->child[i], &h, err);
    if (st != CT_OK) {
        return st;
    }
    size_t tail = node->n - i - 1;
    memmove(node->max + i + 2, node->max + i + 1, tail * sizeof *node->max);
    memmove(node->count + i + 2, node->count + i + 1, tail * sizeof *node->count);
    memmove(node->child + i + 2, node->child + i + 1, tail * sizeof *node->child);
    node->max[i + 1] = node->max[i];
    node->count[i + 1] = node->count[i] - h.left_count;
    node->child[i + 1] = h.right;
    node->max[i] = h.left_max;
    node->count[i] = h.left_count;
    node->n++;
    return CT_OK;
}

/* Puts a new root above a full one. */
static ct_status
root_split(ct_ostat *s, ct_err *err)
{
    inner *root = ct_alloc(sizeof *root);
    if (root == NULL) {
        return ct_fail_mem(err);
    }
    root->n = 1;
    root->child[0] = s->root;
    root->count[0] = s->count;
    root->max[0] = s->level > 0 ? ((inner *)s->root)->max[INNER_MAX - 1]
                                : ((leaf *)s->root)->v[LEAF_MAX - 1];
    ct_status st = child_split(root, 0, s->level, err);
    if (st != CT_OK) {
        ct_free(root);
        return st;
    }
    s->root = root;
    s->level++;
    return CT_OK;
}

/* The first child whose largest value is not below v, or the last. */
static size_t
inner_pick(const inner *node, double v)
{
    size_t i = 0;
    for (size_t k = 0; k + 1 < node->n; k++) { /* no early exit: this becomes SIMD */
        i += node->max[k] < v ? 1 : 0;
    }
    return i;
}

static void
leaf_insert(leaf *l, double v)
{
    size_t low = 0;
    size_t n = l->n;
    while (n > 0) { /* the first position whose value is greater */
        size_t half = n / 2;
        if (l->v[low + half] <= v) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    memmove(l->v + low + 1, l->v + low, (l->n - low) * sizeof *l->v);
    l->v[low] = v;
    l->n++;
}

ct_status
ct_ostat_insert(ct_ostat *s, double v, ct_err *err)
{
    assert(!isnan(v));
    ct_status st = CT_OK;
    if (node_full(s->root, s->level)) {
        st = root_split(s, err);
        if (st != CT_OK) {
            return st;
        }
    }
    inner *path[DEPTH_MAX];
    size_t at[DEPTH_MAX];
    void *node = s->root;
    for (size_t level = s->level; level > 0; level--) {
        inner *in = node;
        size_t i = inner_pick(in, v);
        if (node_full(in->child[i], level - 1)) {
            st = child_split(in, i, level - 1, err);
            if (st != CT_OK) {
                return st;
            }
            i += in->max[i] < v ? 1 : 0;
        }
        path[level] = in;
        at[level] = i;
        node = in->child[i];
    }
    leaf_insert(node, v);
    for (size_t level = s->level; level > 0; level--) {
        inner *in = path[level];
        size_t i = at[level];
        in->count[i]++;
        if (in->max[i] < v) {
            in->max[i] = v;
        }
    }
    s->count++;
    return CT_OK;
}

static bool
leaf_remove(leaf *l, double v)
{
    size_t i = 0;
    while (i < l->n && l->v[i] < v) {
        i++;
    }
    if (i == l->n || l->v[i] > v) {
        return false;
    }
    l->n--;
    memmove(l->v + i, l->v + i + 1, (l->n - i) * sizeof *l->v);
    return true;
}

/* Equal values may lie on both sides of a bound. */
static bool
node_remove(void *node, size_t level, double v)
{
    if (level == 0) {
        return leaf_remove(node, v);
    }
    inner *in = node;
    for (size_t i = inner_pick(in, v); i < in->n; i++) {
        if (in->count[i] > 0 && node_remove(in->child[i], level - 1, v)) {
            in->count[i]--;
            return true;
        }
        if (in->max[i] > v) {
            break;
        }
    }
    return false;
}

bool
ct_ostat_remove(ct_ostat *s, double v)
{
    bool found = node_remove(s->root, s->level, v);
    s->count -= found ? 1 : 0;
    return found;
}

size_t
ct_ostat_count(const ct_ostat *s)
{
    return s->count;
}

double
ct_ostat_at(const ct_ostat *s, size_t rank)
{
    assert(rank < s->count);
    const void *node = s->root;
    for (size_t level = s->level; level > 0; level--) {
        const inner *in = node;
        size_t i = 0;
        while (rank >= in->count[i]) {
            rank -= in->count[i];
            i++;
        }
        node = in->child[i];
    }
    return ((const leaf *)node)->v[rank];
}

double
ct_ostat_percentile(const ct_ostat *s, double q)
{
    assert(s->count > 0 && q >= 0.0 && q <= 100.0);
    size_t last = s->count - 1;
    double index = (double)last * (q / 100.0);
    /* At the top NumPy's index is -1, the last value twice: not a shortcut, since an
     * infinite step makes the result NaN there as well. */
    bool top = index >= (double)last;
    double below = top ? -1.0 : floor(index);
    double t = index - below;
    double a = ct_ostat_at(s, top ? last : (size_t)below);
    double b = top ? a : ct_ostat_at(s, (size_t)below + 1);
    double step = b - a;
    return t >= 0.5 ? b - step * (1.0 - t) : a + step * t;
}
