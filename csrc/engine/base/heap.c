/* heap.c: binary heap in an array, item i above 2i+1 and 2i+2. Keys must not be NaN. */
#include "base/heap.h"

#include "base/mem.h"

void
ct_heap_deinit(ct_heap *h)
{
    ct_free(h->items);
    *h = (ct_heap)CT_HEAP_INIT;
}

static bool
item_before(const ct_heap_item *a, const ct_heap_item *b)
{
    return a->key < b->key || (a->key <= b->key && a->order < b->order);
}

ct_status
ct_heap_push(ct_heap *h, double key, uint64_t order, uint32_t id, ct_err *err)
{
    ct_status st =
        ct_grow((void **)&h->items, &h->cap, h->count + 1, sizeof *h->items, err);
    if (st != CT_OK) {
        return st;
    }
    ct_heap_item item = {key, order, id};
    size_t i = h->count++;
    while (i > 0 && item_before(&item, &h->items[(i - 1) / 2])) {
        h->items[i] = h->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->items[i] = item;
    return CT_OK;
}

bool
ct_heap_peek(const ct_heap *h, ct_heap_item *out)
{
    if (h->count == 0) {
        return false;
    }
    *out = h->items[0];
    return true;
}

bool
ct_heap_pop(ct_heap *h, ct_heap_item *out)
{
    if (!ct_heap_peek(h, out)) {
        return false;
    }
    ct_heap_item last = h->items[--h->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) {
            break;
        }
        if (child + 1 < h->count &&
            item_before(&h->items[child + 1], &h->items[child])) {
            child++;
        }
        if (!item_before(&h->items[child], &last)) {
            break;
        }
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last; /* with an empty heap: slot 0 again, which is unused */
    return true;
}
