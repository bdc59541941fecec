/* batch.c: the events of one wait. See exec_int.h. */
#include "exec/exec_int.h"

#include "base/mem.h"

#include <string.h>

void
ct_batch_deinit(ct_batch *b)
{
    for (size_t i = 0; i < b->made; i++) {
        ct_record_deinit(b->records[i]);
        ct_free(b->records[i]);
    }
    ct_free(b->records);
    ct_free(b->events);
    memset(b, 0, sizeof *b);
}

void
ct_batch_clear(ct_batch *b)
{
    b->count = 0;
    b->next = 0;
}

static ct_status
batch_record(ct_batch *b, ct_err *err)
{
    ct_status st = ct_grow((void **)&b->records, &b->records_cap, b->made + 1,
                           sizeof(ct_record *), err);
    if (st != CT_OK) {
        return st;
    }
    ct_record *r = ct_calloc(1, sizeof *r);
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    b->records[b->made++] = r;
    return CT_OK;
}

ct_status
ct_batch_slot(ct_batch *b, ct_event **ev, ct_record **record, ct_err *err)
{
    ct_status st = ct_grow((void **)&b->events, &b->events_cap, b->count + 1,
                           sizeof *b->events, err);
    if (st == CT_OK && b->count == b->made) {
        st = batch_record(b, err);
    }
    if (st == CT_OK) {
        *ev = &b->events[b->count];
        memset(*ev, 0, sizeof **ev);
        *record = b->records[b->count];
    }
    return st;
}

bool
ct_batch_take(ct_batch *b, ct_event *out)
{
    if (b->next == b->count) {
        return false;
    }
    *out = b->events[b->next++];
    return true;
}
