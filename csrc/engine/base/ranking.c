/* ranking.c: a treap in arrays, one node per id.
 *
 * In order, nodes ascend by (score, id); downwards, their priorities descend. A priority
 * is a hash of the id, so that the shape follows from the members alone and needs no
 * source of random numbers. size[i] counts the nodes below i and i itself. */
#include "base/ranking.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>

#define NONE UINT32_MAX

typedef struct node {
    double score;
    uint32_t left;
    uint32_t right;
    uint32_t size; /* 0: not ranked */
} node;

struct ct_ranking {
    node *nodes;
    size_t cap;
    uint32_t root;
};

ct_status
ct_ranking_new(ct_ranking **out, ct_err *err)
{
    ct_ranking *r = ct_calloc(1, sizeof *r);
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    r->root = NONE;
    *out = r;
    return CT_OK;
}

void
ct_ranking_free(ct_ranking *r)
{
    if (r != NULL) {
        ct_free(r->nodes);
        ct_free(r);
    }
}

ct_status
ct_ranking_reserve(ct_ranking *r, size_t ids, ct_err *err)
{
    size_t old = r->cap;
    if (ids <= old) {
        return CT_OK;
    }
    ct_status st = ct_grow((void **)&r->nodes, &r->cap, ids, sizeof *r->nodes, err);
    for (size_t i = old; i < r->cap; i++) {
        r->nodes[i] = (node){0.0, NONE, NONE, 0};
    }
    return st;
}

/* The finalizer of MurmurHash3: every bit of the id moves every bit of the result. */
static uint32_t
priority(uint32_t id)
{
    id ^= id >> 16;
    id *= 0x85EBCA6BU;
    id ^= id >> 13;
    id *= 0xC2B2AE35U;
    return id ^ id >> 16;
}

static bool
before(double score_a, uint32_t a, double score_b, uint32_t b)
{
    return score_a < score_b || (!(score_a > score_b) && a < b);
}

static uint32_t
size_of(const ct_ranking *r, uint32_t i)
{
    return i == NONE ? 0 : r->nodes[i].size;
}

static void
resize(ct_ranking *r, uint32_t i)
{
    node *n = &r->nodes[i];
    n->size = 1 + size_of(r, n->left) + size_of(r, n->right);
}

/* Parts the tree at i: what comes before (score, id), and the rest. */
static void
split(ct_ranking *r, uint32_t i, double score, uint32_t id, uint32_t *low,
      uint32_t *high)
{
    if (i == NONE) {
        *low = *high = NONE;
        return;
    }
    node *n = &r->nodes[i];
    uint32_t part;
    if (before(n->score, i, score, id)) {
        split(r, n->right, score, id, &part, high);
        n->right = part;
        *low = i;
    } else {
        split(r, n->left, score, id, low, &part);
        n->left = part;
        *high = i;
    }
    resize(r, i);
}

/* All of a come before all of b. */
static uint32_t
merge(ct_ranking *r, uint32_t a, uint32_t b)
{
    if (a == NONE || b == NONE) {
        return a == NONE ? b : a;
    }
    if (priority(a) > priority(b)) {
        r->nodes[a].right = merge(r, r->nodes[a].right, b);
        resize(r, a);
        return a;
    }
    r->nodes[b].left = merge(r, a, r->nodes[b].left);
    resize(r, b);
    return b;
}

void
ct_ranking_drop(ct_ranking *r, uint32_t id)
{
    if (!ct_ranking_has(r, id)) {
        return;
    }
    double score = r->nodes[id].score;
    uint32_t *link = &r->root;
    while (*link != id) {
        node *n = &r->nodes[*link];
        n->size--;
        link = before(score, id, n->score, *link) ? &n->left : &n->right;
    }
    *link = merge(r, r->nodes[id].left, r->nodes[id].right);
    r->nodes[id] = (node){0.0, NONE, NONE, 0};
}

void
ct_ranking_set(ct_ranking *r, uint32_t id, double score)
{
    assert(id < r->cap && !isnan(score));
    uint32_t low;
    uint32_t high;
    ct_ranking_drop(r, id);
    split(r, r->root, score, id, &low, &high);
    r->nodes[id] = (node){score, NONE, NONE, 1};
    r->root = merge(r, merge(r, low, id), high);
}

bool
ct_ranking_has(const ct_ranking *r, uint32_t id)
{
    return id < r->cap && r->nodes[id].size > 0;
}

size_t
ct_ranking_count(const ct_ranking *r)
{
    return size_of(r, r->root);
}

uint32_t
ct_ranking_at(const ct_ranking *r, size_t rank)
{
    assert(rank < ct_ranking_count(r));
    uint32_t i = r->root;
    for (;;) {
        size_t left = size_of(r, r->nodes[i].left);
        if (rank == left) {
            return i;
        }
        if (rank < left) {
            i = r->nodes[i].left;
        } else {
            rank -= left + 1;
            i = r->nodes[i].right;
        }
    }
}

size_t
ct_ranking_rank(const ct_ranking *r, uint32_t id)
{
    assert(ct_ranking_has(r, id));
    double score = r->nodes[id].score;
    size_t below = 0;
    uint32_t i = r->root;
    while (i != id) {
        const node *n = &r->nodes[i];
        if (before(score, id, n->score, i)) {
            i = n->left;
        } else {
            below += (size_t)size_of(r, n->left) + 1;
            i = n->right;
        }
    }
    return below + size_of(r, r->nodes[id].left);
}

double
ct_ranking_score(const ct_ranking *r, uint32_t id)
{
    assert(ct_ranking_has(r, id));
    return r->nodes[id].score;
}
