/* repair.c: what can be kept of a damaged journal; see journal.h.
 *
 * Nothing is ever lost here: before a file changes its content has a second name,
 * "<name>.damaged" or "<name>.damaged-2" and so on, which no reader looks at. Files are
 * changed from the last to the first: whenever this stops half way, what is left is
 * still found damaged and can be repaired again. */
#include "journal/journal_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define BACKUPS_MAX 1000

typedef struct repair {
    const char *dir;
    bool dry;
    ct_repair_tell tell;
    void *ctx;
    size_t *changed;
    size_t short_at; /* index + 1 of the segment that the next one tells more of */
    ct_buf path;
    ct_buf backup;
    ct_buf bytes; /* of the segment at hand */
    ct_buf fixed;
} repair;

/* ---- looking ---- */

/* Counts the turns and events that can be recognized in data[from, to), also behind
 * damage. The checksum of a frame makes it unlikely that other bytes pass for one. */
static void
count(const uint8_t *data, size_t from, size_t to, uint64_t *turns, uint64_t *events)
{
    *turns = *events = 0;
    for (size_t at = from; at < to;) {
        uint8_t type = 0;
        const uint8_t *payload;
        size_t len, size = 1;
        bool known = to - at > 4 && data[at + 4] >= CT_FRAME_NAME &&
                     data[at + 4] <= CT_FRAME_BLOB;
        bool whole = known && ct_frame_peek(data + at, to - at, &type, &payload, &len,
                                            &size) == CT_FRAME_WHOLE;
        *turns += whole && type == CT_FRAME_TURN;
        *events += whole && type == CT_FRAME_EVENT;
        at += whole ? size : 1;
    }
}

static ct_status
ignore_event(void *ctx, const ct_event *ev, ct_err *err)
{
    (void)ctx, (void)ev, (void)err;
    return CT_OK;
}

/* Reads a segment for its damage alone, with names of its own. */
static ct_status
check(const ct_buf *bytes, const char *path, ct_journal_summary *out, ct_err *err)
{
    ct_names *names = NULL;
    ct_journal_visitor v = {.on_event = ignore_event};
    *out = (ct_journal_summary){0};
    ct_status st = ct_names_new(&names, err);
    if (st == CT_OK) {
        st = journal_read_bytes(bytes->data, bytes->len, path, names, &v, out, err);
    }
    ct_names_free(names);
    return st;
}

/* A segment whose header alone is damaged: r->fixed = the segment with a new one. The
 * frames must begin where that header says, or where a header of ours would end. */
static ct_status
fix_header(repair *r, uint32_t number, bool *fixed, ct_journal_summary *sum,
           ct_err *err)
{
    ct_buf header = CT_BUF_INIT;
    ct_status st = journal_header(&header, number, (journal_turns){0, 0}, err);
    size_t starts[2] = {header.len, 0};
    if (st == CT_OK && r->bytes.len >= 4) {
        ct_reader in = ct_reader_of(r->bytes.data, r->bytes.len);
        starts[1] = (size_t)ct_read_u32(&in) + 8;
    }
    *fixed = false;
    for (int i = 0; st == CT_OK && !*fixed && i < 2; i++) {
        if (starts[i] == 0 || starts[i] >= r->bytes.len) {
            continue;
        }
        ct_buf_clear(&r->fixed);
        st = ct_buf_put(&r->fixed, header.data, header.len, err);
        if (st == CT_OK) {
            st = ct_buf_put(&r->fixed, r->bytes.data + starts[i],
                            r->bytes.len - starts[i], err);
        }
        if (st == CT_OK) {
            ct_err own = CT_ERR_INIT;
            ct_status found = check(&r->fixed, "", sum, &own);
            *fixed = found == CT_OK && sum->turns > 0;
            st = found == CT_ENOMEM ? ct_fail_mem(err) : CT_OK;
        }
    }
    ct_buf_deinit(&header);
    return st;
}

/* ---- changing ---- */

/* Gives the file at r->path a second name: r->backup. */
static ct_status
keep(repair *r, ct_err *err)
{
    ct_status st = CT_ESTATE;
    for (int n = 1; st == CT_ESTATE && n <= BACKUPS_MAX; n++) {
        ct_buf_clear(&r->backup);
        st = ct_buf_printf(&r->backup, err, "%s.damaged", (const char *)r->path.data);
        if (st == CT_OK && n > 1) {
            st = ct_buf_printf(&r->backup, err, "-%d", n);
        }
        if (st == CT_OK) {
            st = ct_buf_terminate(&r->backup, err);
        }
        if (st == CT_OK) {
            st = ct_file_link((const char *)r->path.data, (const char *)r->backup.data,
                              err);
        }
    }
    return st;
}

static ct_status
carry_out(repair *r, const ct_repair_file *f, const ct_buf *content, ct_err *err)
{
    if (r->dry || f->kind == CT_REPAIR_WHOLE || f->kind == CT_REPAIR_MISSING) {
        return CT_OK;
    }
    ct_status st = keep(r, err);
    if (st == CT_OK && content != NULL) {
        st = ct_file_replace(f->path, content->data, (size_t)f->kept, true, err);
    } else if (st == CT_OK) {
        st = ct_file_remove(f->path, err);
    }
    return st;
}

/* Does what f says to the file at r->path and tells it. `content`: what the file is to hold;
 * NULL = it is set aside. */
static ct_status
settle(repair *r, ct_repair_file *f, const ct_buf *content, ct_err *err)
{
    f->path = (const char *)r->path.data;
    ct_status st = carry_out(r, f, content, err);
    bool kept = !r->dry && f->kind != CT_REPAIR_WHOLE && f->kind != CT_REPAIR_MISSING;
    f->backup = kept ? (const char *)r->backup.data : NULL;
    *r->changed += f->kind != CT_REPAIR_WHOLE;
    return st == CT_OK ? r->tell(r->ctx, f, err) : st;
}

/* ---- files ---- */

static ct_status
read_path(repair *r, ct_err *err)
{
    return ct_file_read_all((const char *)r->path.data, &r->bytes, err);
}

static ct_status
set_aside(repair *r, uint32_t number, const char *why, ct_err *err)
{
    ct_repair_file f = {.kind = CT_REPAIR_ASIDE, .why = why};
    ct_status st = journal_segment_path(&r->path, r->dir, number, err);
    if (st == CT_OK) {
        st = read_path(r, err);
    }
    if (st != CT_OK) {
        return st;
    }
    f.dropped = r->bytes.len;
    count(r->bytes.data, 0, r->bytes.len, &f.turns_dropped, &f.events_dropped);
    return settle(r, &f, NULL, err);
}

/* Whether a segment behind the one at index i tells of other turns than it holds. */
static ct_status
lost_turns(repair *r, const journal_files *files, size_t i,
           const ct_journal_summary *sum, bool *lost, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_buf bytes = CT_BUF_INIT;
    journal_turns said = {0, 0};
    bool told = false;
    ct_status st = CT_OK;
    *lost = r->short_at == i + 1; /* those behind it were set aside meanwhile */
    for (size_t k = i + 1; st == CT_OK && !*lost && !told && k < files->segment_count &&
                           files->segments[k] == files->segments[k - 1] + 1;
         k++) {
        st = journal_segment_path(&path, r->dir, files->segments[k], err);
        if (st == CT_OK) {
            st = ct_file_read_all((const char *)path.data, &bytes, err);
        }
        told = st == CT_OK && journal_tells(&bytes, &said);
    }
    if (told && (said.bytes != sum->turn_bytes || said.end != sum->turn_end)) {
        *lost = true;
        r->short_at = i + 1;
    }
    ct_buf_deinit(&path);
    ct_buf_deinit(&bytes);
    return st;
}

/* What is to be done with the segment at index i, into *f; *content is what it is to
 * hold. */
static ct_status
judge(repair *r, const journal_files *files, size_t i, ct_repair_file *f,
      const ct_buf **content, ct_err *why, ct_err *err)
{
    uint32_t number = files->segments[i];
    bool lost = false;
    ct_journal_summary sum;
    bool fixed = false;
    *content = NULL;
    ct_status st = journal_segment_path(&r->path, r->dir, number, err);
    if (st == CT_OK) {
        st = read_path(r, err);
    }
    if (st != CT_OK) {
        return st;
    }
    ct_status found = check(&r->bytes, (const char *)r->path.data, &sum, why);
    if (found != CT_OK && found != CT_ECORRUPT) {
        *err = *why;
        return found;
    }
    if (found == CT_ECORRUPT && sum.valid_bytes == 0) {
        st = fix_header(r, number, &fixed, &sum, err);
    }
    if (st == CT_OK && (found == CT_OK || fixed)) {
        st = lost_turns(r, files, i, &sum, &lost, err);
    }
    if (lost) {
        found = ct_fail(why, CT_ECORRUPT, (const char *)r->path.data,
                        "the next segment tells of more turns, or of others");
    }
    f->kind = found == CT_OK         ? CT_REPAIR_WHOLE
              : lost                 ? CT_REPAIR_CUT
              : fixed                ? CT_REPAIR_HEADER
              : sum.valid_bytes == 0 ? CT_REPAIR_ASIDE
                                     : CT_REPAIR_CUT;
    const ct_buf *from = fixed ? &r->fixed : &r->bytes;
    *content = f->kind == CT_REPAIR_ASIDE ? NULL : from;
    f->why = found == CT_OK ? "" : why->text;
    f->kept = f->kind == CT_REPAIR_ASIDE    ? 0
              : f->kind == CT_REPAIR_HEADER ? from->len
                                            : sum.valid_bytes;
    f->dropped = from->len - f->kept;
    count(from->data, 0, (size_t)f->kept, &f->turns_kept, &f->events_kept);
    count(from->data, (size_t)f->kept, from->len, &f->turns_dropped,
          &f->events_dropped);
    return st;
}

/* Sets the segments from index `from` on aside, beginning with the last one. */
static ct_status
aside_behind(repair *r, const journal_files *files, size_t from, const char *why,
             ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t i = files->segment_count; st == CT_OK && i > from; i--) {
        st = set_aside(r, files->segments[i - 1], why, err);
    }
    return st;
}

static ct_status
repair_segments(repair *r, const journal_files *files, uint32_t first, ct_err *err)
{
    uint32_t expected = first;
    for (size_t i = 0; i < files->segment_count; i++) {
        uint32_t number = files->segments[i];
        ct_repair_file f = {.kind = CT_REPAIR_MISSING};
        const ct_buf *content;
        ct_err why = CT_ERR_INIT;
        ct_status st;
        if (number < first) {
            continue;
        }
        if (number != expected) {
            f.why = "it is missing, and later ones need it";
            st = aside_behind(r, files, i, "a segment before it is missing", err);
            if (st == CT_OK) {
                st = journal_segment_path(&r->path, r->dir, expected, err);
            }
            return st == CT_OK ? settle(r, &f, NULL, err) : st;
        }
        st = judge(r, files, i, &f, &content, &why, err);
        if (st == CT_OK && (f.kind == CT_REPAIR_CUT || f.kind == CT_REPAIR_ASIDE)) {
            st = aside_behind(r, files, i + 1, "a segment before it is damaged", err);
            if (st == CT_OK) { /* which used the same buffers */
                st = judge(r, files, i, &f, &content, &why, err);
            }
            return st == CT_OK ? settle(r, &f, content, err) : st;
        }
        if (st == CT_OK) {
            st = settle(r, &f, content, err);
        }
        if (st != CT_OK) {
            return st;
        }
        expected++;
    }
    return CT_OK;
}

/* Snapshots that recovery had to pass over. */
static ct_status
repair_snapshots(repair *r, const journal_files *files, uint32_t first, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t i = files->snapshot_count;
         st == CT_OK && i > 0 && files->snapshots[i - 1] >= first; i--) {
        ct_repair_file f = {.kind = CT_REPAIR_SNAPSHOT};
        ct_value state = ct_nil();
        ct_names *names = NULL;
        ct_err why = CT_ERR_INIT;
        st = ct_names_new(&names, err);
        if (st == CT_OK) {
            ct_status found = journal_read_snapshot(r->dir, files->snapshots[i - 1],
                                                    names, &state, &why);
            f.kind = found == CT_OK ? CT_REPAIR_WHOLE : CT_REPAIR_SNAPSHOT;
            if (found != CT_OK && found != CT_ECORRUPT) {
                *err = why;
                st = found;
            }
        }
        ct_value_deinit(&state);
        ct_names_free(names);
        if (st == CT_OK) {
            st = journal_snapshot_path(&r->path, r->dir, files->snapshots[i - 1], err);
        }
        if (st == CT_OK) {
            st = read_path(r, err);
        }
        if (st == CT_OK) {
            bool whole = f.kind == CT_REPAIR_WHOLE;
            f.why =
                whole ? ""
                      : "it or a part of it is damaged; an older state and the journal "
                        "take over";
            f.kept = whole ? r->bytes.len : 0;
            f.dropped = r->bytes.len - f.kept;
            st = settle(r, &f, NULL, err);
        }
    }
    return st;
}

ct_status
ct_journal_repair(const char *dir, bool dry, ct_repair_tell tell, void *ctx,
                  size_t *changed, ct_err *err)
{
    repair r = {.dir = dir, .dry = dry, .tell = tell, .ctx = ctx, .changed = changed};
    journal_files files = {0};
    ct_names *names = NULL;
    ct_value state = ct_nil();
    uint32_t first = 0;
    ct_err own = CT_ERR_INIT;
    *changed = 0;
    ct_status st = journal_files_list(&files, dir, err);
    if (st == CT_OK && files.segment_count == 0 && files.snapshot_count == 0) {
        st = ct_fail(err, CT_ENOTFOUND, dir, "holds no journal");
    }
    if (st == CT_OK) {
        st = ct_names_new(&names, err);
    }
    if (st == CT_OK) {
        st = journal_find_start(&files, dir, names, &state, &first, err);
    }
    ct_value_deinit(&state);
    ct_names_free(names);
    if (st == CT_OK) {
        st = repair_segments(&r, &files, first, err != NULL ? err : &own);
    }
    if (st == CT_OK) {
        st = repair_snapshots(&r, &files, first, err != NULL ? err : &own);
    }
    if (st == CT_OK && !dry && *changed > 0) {
        st = ct_dir_sync(dir, err);
    }
    journal_files_deinit(&files);
    ct_buf_deinit(&r.path);
    ct_buf_deinit(&r.backup);
    ct_buf_deinit(&r.bytes);
    ct_buf_deinit(&r.fixed);
    return st;
}
