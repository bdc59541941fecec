/* inbox.c: see inbox.h. Posts are kept as u32 length | frames in one buffer under a lock;
 * the driving thread swaps it for an empty one and decodes at leisure. */
#include "exec/inbox.h"

#include "base/mem.h"
#include "exec/exec_int.h"
#include "os/poll.h"
#include "os/thread.h"

struct ct_inbox {
    ct_mutex lock;
    ct_buf posted; /* under the lock */
    ct_buf taken;  /* the driving thread's; events borrow from it */
    size_t at;     /* the first post in taken that is not decoded */
    ct_batch batch;
    bool fresh; /* a wait came since the last take */
    ct_names *names;
    ct_poller *poller;
};

ct_status
ct_inbox_new(ct_inbox **out, ct_names *names, ct_err *err)
{
    ct_inbox *i = ct_calloc(1, sizeof *i);
    if (i == NULL) {
        return ct_fail_mem(err);
    }
    i->names = names;
    ct_status st = ct_mutex_init(&i->lock, err);
    if (st != CT_OK) {
        ct_free(i);
        return st;
    }
    st = ct_poller_new(&i->poller, err);
    if (st != CT_OK) {
        ct_inbox_free(i);
        return st;
    }
    *out = i;
    return CT_OK;
}

void
ct_inbox_free(ct_inbox *i)
{
    if (i != NULL) {
        ct_mutex_deinit(&i->lock);
        ct_buf_deinit(&i->posted);
        ct_buf_deinit(&i->taken);
        ct_batch_deinit(&i->batch);
        ct_poller_free(i->poller);
        ct_free(i);
    }
}

void
ct_inbox_wake(ct_inbox *i)
{
    ct_poller_wake(i->poller);
}

static ct_status
inbox_check(const void *frames, size_t len, ct_err *err)
{
    const uint8_t *at = frames;
    while (len > 0) {
        uint8_t type;
        const uint8_t *payload;
        size_t payload_len, size;
        if (ct_frame_peek(at, len, &type, &payload, &payload_len, &size) !=
            CT_FRAME_WHOLE) {
            return ct_fail(err, CT_ECORRUPT, "inbox", "got bytes that are no frame");
        }
        at += size;
        len -= size;
    }
    return CT_OK;
}

ct_status
ct_inbox_post(ct_inbox *i, const void *frames, size_t len, ct_err *err)
{
    if (len > CT_FRAME_MAX) {
        return ct_fail(err, CT_EINVAL, "inbox", "got %zu bytes in one post", len);
    }
    ct_status st = inbox_check(frames, len, err);
    if (st != CT_OK) {
        return st;
    }
    ct_mutex_lock(&i->lock);
    st = ct_buf_reserve(&i->posted, len + sizeof(uint32_t), err);
    if (st == CT_OK) { /* neither can fail: the room is there */
        (void)ct_buf_put_u32(&i->posted, (uint32_t)len, err);
        (void)ct_buf_put(&i->posted, frames, len, err);
    }
    ct_mutex_unlock(&i->lock);
    if (st == CT_OK) {
        ct_poller_wake(i->poller);
    }
    return st;
}

static bool
inbox_has_posts(ct_inbox *i)
{
    ct_mutex_lock(&i->lock);
    bool has = i->posted.len > 0;
    ct_mutex_unlock(&i->lock);
    return has;
}

ct_status
ct_inbox_wait(ct_inbox *i, double timeout, ct_err *err)
{
    bool ready = i->batch.next < i->batch.count || i->at < i->taken.len;
    i->fresh = true;
    return ready || inbox_has_posts(i) ? CT_OK
                                       : ct_poller_wait(i->poller, timeout, err);
}

/* Decodes one post into the batch. */
static ct_status
inbox_decode(ct_inbox *i, const uint8_t *data, size_t len, ct_err *err)
{
    ct_decoder d;
    ct_ref_reader no_refs = {NULL, NULL};
    ct_decoder_init(&d, i->names, no_refs);
    ct_status st = CT_OK;
    while (st == CT_OK && len > 0) {
        uint8_t type;
        const uint8_t *payload;
        size_t payload_len, size;
        (void)ct_frame_peek(data, len, &type, &payload, &payload_len, &size);
        if (type == CT_FRAME_NAME) {
            st = ct_decode_name(&d, payload, payload_len, err);
        } else if (type == CT_FRAME_EVENT) {
            ct_event *ev;
            ct_record *record;
            st = ct_batch_slot(&i->batch, &ev, &record, err);
            if (st == CT_OK) {
                st = ct_decode_event(&d, payload, payload_len, ev, record, err);
                i->batch.count += st == CT_OK;
            }
        }
        data += size;
        len -= size;
    }
    ct_decoder_deinit(&d);
    return st;
}

/* A post that cannot be decoded is skipped after its error: the next take goes on. */
static ct_status
inbox_refill(ct_inbox *i, ct_err *err)
{
    if (i->at == i->taken.len) {
        ct_buf_clear(&i->taken);
        i->at = 0;
        ct_mutex_lock(&i->lock);
        ct_buf empty = i->taken;
        i->taken = i->posted;
        i->posted = empty;
        ct_mutex_unlock(&i->lock);
    }
    ct_status st = CT_OK;
    while (st == CT_OK && i->at < i->taken.len) {
        ct_reader r = ct_reader_of(i->taken.data + i->at, i->taken.len - i->at);
        uint32_t len = ct_read_u32(&r);
        size_t start = i->at + sizeof len;
        i->at = start + len;
        st = inbox_decode(i, i->taken.data + start, len, err);
    }
    return st;
}

ct_status
ct_inbox_take(ct_inbox *i, ct_event *out, bool *got, ct_err *err)
{
    *got = ct_batch_take(&i->batch, out);
    if (*got || !i->fresh) {
        return CT_OK;
    }
    i->fresh = false;
    ct_batch_clear(&i->batch);
    ct_status st = inbox_refill(i, err);
    *got = st == CT_OK && ct_batch_take(&i->batch, out);
    return st;
}
