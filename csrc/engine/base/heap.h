/* heap.h: a binary heap of (double key, uint64 order, uint32 id), smallest first; ties
 * in the order of `order`. Pending work, virtual time, idle queues. */
#ifndef CT_BASE_HEAP_H
#define CT_BASE_HEAP_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ct_heap_item {
    double key;
    uint64_t order;
    uint32_t id;
} ct_heap_item;

typedef struct ct_heap {
    ct_heap_item *items;
    size_t count;
    size_t cap;
} ct_heap;

#define CT_HEAP_INIT {NULL, 0, 0}

void ct_heap_deinit(ct_heap *h);
ct_status ct_heap_push(ct_heap *h, double key, uint64_t order, uint32_t id,
                       ct_err *err);
bool ct_heap_pop(ct_heap *h, ct_heap_item *out);
bool ct_heap_peek(const ct_heap *h, ct_heap_item *out);

#endif
