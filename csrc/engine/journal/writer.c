/* writer.c: group commit. Events of a turn are encoded into one buffer; the commit
 * closes it with a TURN frame and writes it at once.
 *
 * Invariant: up to `valid` the segment is header and whole turns. Whatever failed
 * behind that is cut off before the next write, and the turn's frames stay in the
 * buffer, so that it can be committed again. */
#include "journal/journal_int.h"

#include "base/mem.h"

#include <string.h>

#ifndef CT_VERSION
#define CT_VERSION ""
#endif

#define SYNC_SECONDS 1.0

static ct_status
numbered_path(ct_buf *out, const char *dir, const char *stem, uint32_t number,
              const char *suffix, ct_err *err)
{
    ct_buf_clear(out);
    ct_status st = ct_buf_printf(out, err, "%s/%s-%06u.%s", dir, stem, number, suffix);
    return st == CT_OK ? ct_buf_terminate(out, err) : st;
}

ct_status
journal_segment_path(ct_buf *out, const char *dir, uint32_t number, ct_err *err)
{
    return numbered_path(out, dir, "journal", number, "ctj", err);
}

ct_status
journal_snapshot_path(ct_buf *out, const char *dir, uint32_t number, ct_err *err)
{
    return numbered_path(out, dir, "snapshot", number, "json", err);
}

ct_status
journal_part_path(ct_buf *out, const char *dir, uint32_t number, const char *suffix,
                  ct_err *err)
{
    return numbered_path(out, dir, "snapshot", number, suffix, err);
}

ct_status
journal_header(ct_buf *out, uint32_t number, journal_turns before, ct_err *err)
{
    ct_buf payload = CT_BUF_INIT;
    ct_buf_clear(out);
    ct_status st = ct_buf_put(&payload, JOURNAL_MAGIC, JOURNAL_MAGIC_LEN, err);
    if (st == CT_OK) {
        st = ct_buf_put_u32(&payload, JOURNAL_VERSION, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_u32(&payload, CT_CODEC_VERSION, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_u32(&payload, number, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_bytes(&payload, CT_VERSION, strlen(CT_VERSION), err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_u8(&payload, 0, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_u64(&payload, before.bytes, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put_u32(&payload, before.end, err);
    }
    if (st == CT_OK) {
        st = ct_encode_frame(out, CT_FRAME_HEADER, payload.data, payload.len, err);
    }
    ct_buf_deinit(&payload);
    return st;
}

ct_status
journal_segment_make(ct_file *out, const char *dir, uint32_t number,
                     journal_turns before, uint64_t *size, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_buf header = CT_BUF_INIT;
    ct_file file = CT_FILE_INIT;
    ct_status st = journal_header(&header, number, before, err);
    if (st == CT_OK) {
        st = journal_segment_path(&path, dir, number, err);
    }
    if (st == CT_OK) {
        st = ct_file_open_new(&file, (const char *)path.data, err);
    }
    if (st != CT_OK) {
        goto done;
    }
    st = ct_file_append(&file, header.data, header.len, err);
    if (st != CT_OK) {
        ct_file_close(&file);
        (void)ct_file_remove((const char *)path.data, NULL);
        goto done;
    }
    *size = header.len;
    *out = file;
done:
    ct_buf_deinit(&path);
    ct_buf_deinit(&header);
    return st;
}

ct_status
ct_journal_open(ct_journal **out, const char *dir, uint32_t number,
                const ct_names *names, ct_sync_policy sync, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_journal *j = ct_calloc(1, sizeof *j);
    if (j == NULL) {
        return ct_fail_mem(err);
    }
    j->file = (ct_file)CT_FILE_INIT;
    j->number = number;
    j->highest = number;
    j->sync = sync;
    ct_encoder_init(&j->encoder, names);
    j->dir = ct_strndup(dir, strlen(dir));
    ct_status st = j->dir != NULL ? CT_OK : ct_fail_mem(err);
    if (st == CT_OK) {
        st = journal_segment_path(&path, dir, number, err);
    }
    if (st == CT_OK && ct_file_exists((const char *)path.data)) {
        st = ct_fail(err, CT_ESTATE, (const char *)path.data, "exists already");
    }
    ct_buf_deinit(&path);
    if (st != CT_OK) {
        (void)ct_journal_close(j, NULL);
        return st;
    }
    *out = j;
    return CT_OK;
}

void
ct_journal_follow(ct_journal *j, const ct_journal_summary *read)
{
    if (j->file.fd < 0 && read->last_segment + 1 == j->number) {
        j->before = (journal_turns){read->turn_bytes, read->turn_end};
    }
}

/* What this segment goes on from must not be lost when this one is not. */
static ct_status
sync_before(const ct_journal *j, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_file file = CT_FILE_INIT;
    ct_status st = journal_segment_path(&path, j->dir, j->number - 1, err);
    if (st == CT_OK) {
        st = ct_file_open_append(&file, (const char *)path.data, err);
    }
    if (st == CT_OK) {
        st = ct_file_sync(&file, err);
    }
    ct_file_close(&file);
    ct_buf_deinit(&path);
    return st;
}

ct_status
journal_begin(ct_journal *j, ct_err *err)
{
    uint64_t size = 0;
    ct_status st = CT_OK;
    if (j->file.fd >= 0) {
        return CT_OK;
    }
    if (j->sync != CT_SYNC_NONE && j->before.bytes > 0) {
        st = sync_before(j, err);
    }
    if (st == CT_OK) {
        st = journal_segment_make(&j->file, j->dir, j->number, j->before, &size, err);
    }
    if (st == CT_OK && j->sync != CT_SYNC_NONE) {
        st = ct_dir_sync(j->dir, err);
    }
    if (st != CT_OK) {
        if (j->file.fd >= 0) { /* so that it can be tried again */
            (void)ct_file_remove(j->file.path, NULL);
        }
        ct_file_close(&j->file);
        return st;
    }
    j->valid = size;
    j->total += size;
    return CT_OK;
}

ct_status
ct_journal_add(ct_journal *j, const ct_event *ev, ct_err *err)
{
    ct_status st = ct_encode_event(&j->encoder, &j->turn, ev, err);
    if (st == CT_OK) {
        j->open = true;
    }
    return st;
}

void
ct_journal_rollback(ct_journal *j, size_t mark)
{
    if (mark < j->turn.len) {
        j->turn.len = mark;
        ct_encoder_restart(&j->encoder); /* it may have defined names there */
    }
}

void
ct_journal_unsettled(ct_journal *j)
{
    j->unsettled = true;
}

void
ct_journal_touch(ct_journal *j)
{
    j->open = true;
}

static ct_status
turn_end_put(ct_buf *out, double now, bool settled, ct_err *err)
{
    uint8_t payload[9];
    uint64_t bits;
    memcpy(&bits, &now, sizeof bits);
    for (unsigned i = 0; i < 8; i++) {
        payload[i] = (uint8_t)(bits >> (8 * i));
    }
    payload[8] = settled ? 1 : 0;
    return ct_encode_frame(out, CT_FRAME_TURN, payload, sizeof payload, err);
}

static bool
sync_is_due(const ct_journal *j, double now)
{
    switch (j->sync) {
    case CT_SYNC_NONE:
        return false;
    case CT_SYNC_INTERVAL: /* a clock that was set back must not stop it */
        return now - j->last_sync >= SYNC_SECONDS || now < j->last_sync;
    case CT_SYNC_ALWAYS:
        return true;
    }
    return true;
}

/* Writes the buffer behind `valid`; on failure the segment is, or will be, cut back. */
static ct_status
write_turn(ct_journal *j, double now, ct_err *err)
{
    ct_status st = journal_begin(j, err);
    if (st != CT_OK) {
        return st;
    }
    if (j->cut) {
        st = ct_file_truncate(j->file.path, j->valid, err);
        if (st != CT_OK) {
            return st;
        }
        j->cut = false;
    }
    st = ct_file_append(&j->file, j->turn.data, j->turn.len, err);
    if (st == CT_OK && sync_is_due(j, now)) {
        st = ct_file_sync(&j->file, err);
        j->last_sync = st == CT_OK ? now : j->last_sync;
        j->syncs += st == CT_OK;
        j->synced = st == CT_OK ? j->valid + j->turn.len : j->synced;
    }
    if (st != CT_OK) {
        j->cut = ct_file_truncate(j->file.path, j->valid, NULL) != CT_OK;
    }
    return st;
}

ct_status
ct_journal_end_turn(ct_journal *j, double now, ct_err *err)
{
    if (!j->open) {
        return CT_OK;
    }
    size_t before = j->turn.len;
    ct_status st = turn_end_put(&j->turn, now, !j->unsettled, err);
    if (st != CT_OK) {
        j->turn.len = before;
        return st;
    }
    j->open = false;
    j->unsettled = false;
    return CT_OK;
}

ct_status
ct_journal_commit(ct_journal *j, double now, ct_err *err)
{
    ct_status st = ct_journal_end_turn(j, now, err);
    if (st != CT_OK || j->turn.len == 0) {
        return st;
    }
    st = write_turn(j, now, err);
    if (st != CT_OK) {
        return st;
    }
    ct_reader end = ct_reader_of(j->turn.data, j->turn.len);
    end.at = j->turn.len - 4;
    j->turns = (journal_turns){j->turns.bytes + j->turn.len, ct_read_u32(&end)};
    j->valid += j->turn.len;
    j->total += j->turn.len;
    ct_buf_clear(&j->turn);
    return CT_OK;
}

size_t
ct_journal_pending(const ct_journal *j)
{
    return j->turn.len;
}

bool
ct_journal_is_durable(const ct_journal *j)
{
    return j->sync != CT_SYNC_NONE;
}

uint64_t
ct_journal_bytes(const ct_journal *j)
{
    return j->total;
}

ct_status
ct_journal_sync(ct_journal *j, ct_err *err)
{
    if (j->sync == CT_SYNC_NONE || j->synced >= j->valid) {
        return CT_OK;
    }
    ct_status st = ct_file_sync(&j->file, err);
    if (st == CT_OK) {
        j->syncs++;
        j->synced = j->valid;
    }
    return st;
}

uint64_t
ct_journal_segment_bytes(const ct_journal *j)
{
    return j->valid + j->turn.len;
}

uint64_t
ct_journal_snapshot_bytes(const ct_journal *j)
{
    return j->snapshot;
}

uint64_t
ct_journal_syncs(const ct_journal *j)
{
    return j->syncs;
}

ct_status
ct_journal_close(ct_journal *j, ct_err *err)
{
    ct_status st = CT_OK;
    if (j == NULL) {
        return CT_OK;
    }
    if (j->file.fd >= 0) {
        if (j->cut) {
            st = ct_file_truncate(j->file.path, j->valid, err);
        }
        if (st == CT_OK) {
            st = ct_file_sync(&j->file, err);
        }
    }
    ct_file_close(&j->file);
    ct_encoder_deinit(&j->encoder);
    ct_buf_deinit(&j->turn);
    ct_free(j->dir);
    ct_free(j);
    return st;
}
