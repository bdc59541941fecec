/* reader.c: reading segments, and recovery from a folder. See docs/formats, section 3,
 * for what is a torn tail and what is damage. Safe on any bytes. */
#include "journal/journal_int.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define OPENING_MAX ((size_t)8 << 20) /* a segment's first event lies within */

enum { TURN_PAYLOAD = 9, TURN_FRAME = 4 + 1 + TURN_PAYLOAD + 4 };

typedef struct reading {
    const uint8_t *data;
    size_t len;
    size_t at; /* start of the turn */
    const char *name;
    const ct_journal_visitor *v;
    ct_journal_summary *out;
    ct_decoder decoder;
    ct_record record;
} reading;

typedef struct frame {
    ct_frame_state state;
    uint8_t type;
    const uint8_t *payload;
    size_t len;
    size_t size;
} frame;

static frame
frame_at(const reading *r, size_t at)
{
    frame f = {CT_FRAME_SHORT, 0, NULL, 0, 0};
    if (at < r->len) {
        f.state = ct_frame_peek(r->data + at, r->len - at, &f.type, &f.payload, &f.len,
                                &f.size);
    }
    return f;
}

static ct_status
damaged(const reading *r, size_t at, const char *what, ct_err *err)
{
    return ct_fail(err, CT_ECORRUPT, r->name,
                   "is damaged at byte %zu (%s); `ctune repair` keeps the turns before",
                   at, what);
}

/* Whether a sound TURN frame stands at `from` or behind. */
static bool
turn_follows(const reading *r, size_t from)
{
    static const uint8_t head[5] = {1 + TURN_PAYLOAD, 0, 0, 0, CT_FRAME_TURN};
    for (size_t at = from; at < r->len && r->len - at >= TURN_FRAME; at++) {
        if (memcmp(r->data + at, head, sizeof head) == 0 &&
            frame_at(r, at).state == CT_FRAME_WHOLE) {
            return true;
        }
    }
    return false;
}

/* No sound frame at `at`: damage, or the end with or without a torn tail. */
static ct_status
end_or_damage(reading *r, size_t at, ct_err *err)
{
    if (turn_follows(r, at)) {
        return damaged(r, at, "a frame's checksum or length is wrong", err);
    }
    r->out->torn = r->at < r->len;
    return CT_OK;
}

/* ---- header ---- */

static ct_status
header_check(reading *r, const frame *f, ct_err *err)
{
    ct_reader in = ct_reader_of(f->payload, f->len);
    in.at = JOURNAL_MAGIC_LEN; /* the magic was compared */
    uint32_t version = ct_read_u32(&in);
    uint32_t codec = ct_read_u32(&in);
    uint32_t number = ct_read_u32(&in);
    if (in.bad) {
        return damaged(r, 0, "its header is too short", err);
    }
    if (version != JOURNAL_VERSION || codec != CT_CODEC_VERSION) {
        return ct_fail(err, CT_EUNSUPPORTED, r->name,
                       "has format %u.%u; this version reads %u.%u: use the version of "
                       "ctune that wrote it",
                       version, codec, JOURNAL_VERSION, CT_CODEC_VERSION);
    }
    r->out->last_segment = number;
    return CT_OK;
}

/* A file that never was a journal must not pass for one with a torn tail. Zeros are
 * what some file systems leave of a write that was lost. */
static bool
looks_foreign(const reading *r)
{
    size_t n = r->len < 5 + JOURNAL_MAGIC_LEN ? r->len : 5 + JOURNAL_MAGIC_LEN;
    bool zeros = true;
    for (size_t i = 0; i < n; i++) {
        zeros = zeros && r->data[i] == 0;
    }
    return !zeros && n > 5 && memcmp(r->data + 5, JOURNAL_MAGIC, n - 5) != 0;
}

/* *more = false when nothing follows. */
static ct_status
read_header(reading *r, bool *more, ct_err *err)
{
    frame f = frame_at(r, 0);
    *more = false;
    if (looks_foreign(r) ||
        (f.state == CT_FRAME_WHOLE &&
         (f.type != CT_FRAME_HEADER || f.len < JOURNAL_MAGIC_LEN))) {
        return ct_fail(err, CT_ECORRUPT, r->name, "is not a journal of ctune");
    }
    if (f.state != CT_FRAME_WHOLE) {
        return end_or_damage(r, 0, err);
    }
    ct_status st = header_check(r, &f, err);
    if (st == CT_OK) {
        *more = true;
        r->at = f.size;
        r->out->valid_bytes = f.size;
    }
    return st;
}

/* ---- turns ---- */

/* Looks for the TURN frame that closes the turn at r->at. *end = offset behind it, or 0;
 * *answers = offset of its last event if that is an ANSWER, else *end. */
static ct_status
find_turn_end(reading *r, size_t *end, size_t *answers, ct_err *err)
{
    size_t at = r->at;
    size_t last = SIZE_MAX;
    *end = 0;
    for (;;) {
        frame f = frame_at(r, at);
        if (f.state != CT_FRAME_WHOLE) {
            return end_or_damage(r, at, err);
        }
        if (f.type != CT_FRAME_NAME && f.type != CT_FRAME_EVENT &&
            f.type != CT_FRAME_TURN) {
            return damaged(r, at, "a frame has no known type", err);
        }
        if (f.type == CT_FRAME_EVENT) {
            last = f.len > 0 && f.payload[0] == CT_EVENT_ANSWER ? at : SIZE_MAX;
        }
        at += f.size;
        if (f.type == CT_FRAME_TURN) {
            *end = at;
            *answers = last == SIZE_MAX ? at : last;
            return CT_OK;
        }
    }
}

static ct_status
deliver_frame(reading *r, const frame *f, ct_err *err)
{
    ct_event ev;
    ct_status st = CT_OK;
    if (f->type == CT_FRAME_NAME) {
        return ct_decode_name(&r->decoder, f->payload, f->len, err);
    }
    if (f->type == CT_FRAME_EVENT) {
        st = ct_decode_event(&r->decoder, f->payload, f->len, &ev, &r->record, err);
        if (st == CT_OK) {
            r->out->events++;
            st = r->v->on_event(r->v->ctx, &ev, err);
        }
        return st;
    }
    ct_reader in = ct_reader_of(f->payload, f->len);
    double time = ct_read_f64(&in);
    bool settled = ct_read_u8(&in) != 0;
    if (in.bad || in.at != in.len) {
        return ct_fail(err, CT_ECORRUPT, "", "the end of a turn is not %d bytes long",
                       TURN_PAYLOAD);
    }
    r->out->turns++;
    return r->v->on_turn != NULL ? r->v->on_turn(r->v->ctx, time, settled, err) : CT_OK;
}

static ct_status
deliver_at(reading *r, size_t at, size_t *size, ct_err *err)
{
    frame f = frame_at(r, at);
    ct_err own = CT_ERR_INIT;
    ct_status st = deliver_frame(r, &f, &own);

    *size = f.size;
    if (st == CT_ECORRUPT && own.param[0] == '\0') { /* add where */
        return damaged(r, at, own.text, err);
    }
    if (st != CT_OK && err != NULL) {
        *err = own;
    }
    return st;
}

static ct_status
read_turns(reading *r, ct_err *err)
{
    for (;;) {
        size_t end = 0;
        size_t answers = 0;
        size_t size;
        ct_status st = find_turn_end(r, &end, &answers, err);
        if (st != CT_OK || end == 0) {
            return st;
        }
        if (answers < end) {
            st = deliver_at(r, answers, &size, err);
        }
        for (size_t at = r->at; st == CT_OK && at < end; at += size) {
            if (at == answers) {
                size = frame_at(r, at).size;
            } else {
                st = deliver_at(r, at, &size, err);
            }
        }
        if (st != CT_OK) {
            return st;
        }
        r->at = end;
        r->out->valid_bytes = end;
    }
}

ct_status
journal_read_bytes(const uint8_t *data, size_t len, const char *name, ct_names *names,
                   const ct_journal_visitor *v, ct_journal_summary *out, ct_err *err)
{
    reading r = {.data = data,
                 .len = len,
                 .name = name,
                 .v = v,
                 .out = out,
                 .record = CT_RECORD_INIT};
    bool more = false;
    ct_decoder_init(&r.decoder, names, (ct_ref_reader){NULL, NULL});
    out->valid_bytes = 0;
    out->torn = false;
    ct_status st = read_header(&r, &more, err);
    size_t header = (size_t)out->valid_bytes;
    if (st == CT_OK && more) {
        st = read_turns(&r, err);
    }
    if (out->valid_bytes > header) {
        ct_reader end = ct_reader_of(data, (size_t)out->valid_bytes);
        end.at = end.len - 4;
        out->turn_bytes = out->valid_bytes - header;
        out->turn_end = ct_read_u32(&end);
    }
    ct_record_deinit(&r.record);
    ct_decoder_deinit(&r.decoder);
    return st;
}

static ct_status
read_file(const char *path, ct_names *names, const ct_journal_visitor *v,
          ct_journal_summary *out, ct_err *err)
{
    ct_buf bytes = CT_BUF_INIT;
    ct_status st = ct_file_read_all(path, &bytes, err);
    if (st == CT_OK) {
        st = journal_read_bytes(bytes.data, bytes.len, path, names, v, out, err);
    }
    ct_buf_deinit(&bytes);
    return st;
}

ct_status
ct_journal_read_file(const char *path, ct_names *names, const ct_journal_visitor *v,
                     ct_journal_summary *out, ct_err *err)
{
    *out = (ct_journal_summary){0};
    return read_file(path, names, v, out, err);
}

/* ---- segments that go on from others ---- */

bool
journal_tells(const ct_buf *segment, journal_turns *said)
{
    reading r = {.data = segment->data, .len = segment->len};
    frame f = frame_at(&r, 0);
    ct_reader in = ct_reader_of(f.payload, f.len);
    size_t len;

    *said = (journal_turns){0, 0};
    if (f.state != CT_FRAME_WHOLE || f.type != CT_FRAME_HEADER ||
        f.len < JOURNAL_MAGIC_LEN) {
        return false;
    }
    in.at = JOURNAL_MAGIC_LEN;
    (void)ct_read_u32(&in);
    (void)ct_read_u32(&in);
    (void)ct_read_u32(&in);
    (void)ct_read_bytes(&in, &len); /* the version of the writer, and a 0 */
    (void)ct_read_u8(&in);
    uint64_t bytes = ct_read_u64(&in); /* not in a segment of an older version */
    uint32_t end = ct_read_u32(&in);
    for (size_t at = f.size; !in.bad && bytes > 0; at += f.size) {
        f = frame_at(&r, at);
        if (f.state != CT_FRAME_WHOLE) {
            return false;
        }
        if (f.type == CT_FRAME_TURN) {
            *said = (journal_turns){bytes, end};
            return true;
        }
    }
    return false;
}

/* ---- recovery ---- */

#define UNREADABLE (-1)
#define NO_TURNS (-2)

/* The RUN event that opens a segment: *code as of the event, or UNREADABLE, as when there
 * is another one, or NO_TURNS. Its text replaces *out, unless that is NULL. */
static ct_status
opening(const char *path, ct_buf *out, int *code, ct_err *err)
{
    ct_buf bytes = CT_BUF_INIT;
    ct_record record = CT_RECORD_INIT;
    ct_status st = ct_file_read_head(path, OPENING_MAX, &bytes, err);
    reading r = {.data = bytes.data, .len = bytes.len};
    ct_decoder_init(&r.decoder, NULL, (ct_ref_reader){NULL, NULL});
    *code = UNREADABLE;
    for (size_t at = 0; st == CT_OK;) {
        frame f = frame_at(&r, at);
        ct_event ev;
        if (at == bytes.len || f.state == CT_FRAME_SHORT) { /* a torn tail at most */
            *code = NO_TURNS;
        }
        if (f.state != CT_FRAME_WHOLE || f.type == CT_FRAME_TURN) {
            break;
        }
        if (f.type == CT_FRAME_EVENT) {
            if (f.len > 0 && f.payload[0] == CT_EVENT_RUN &&
                ct_decode_event(&r.decoder, f.payload, f.len, &ev, &record, NULL) ==
                    CT_OK &&
                ev.text != NULL) {
                *code = ev.code;
            }
            if (*code >= 0 && out != NULL) {
                ct_buf_clear(out);
                st = ct_buf_put(out, ev.text, ev.text_len, err);
            }
            break;
        }
        at += f.size;
    }
    ct_decoder_deinit(&r.decoder);
    ct_record_deinit(&record);
    ct_buf_deinit(&bytes);
    return st;
}

/* *begin = number of the segment with which the last run began, 0 if none tells. *lost: the
 * first segment goes on with a run that began in one before it. */
static ct_status
find_run(const journal_files *f, const char *dir, uint32_t *begin, bool *lost,
         ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_status st = CT_OK;
    bool found = false;
    int earliest = UNREADABLE;
    *begin = 0;
    for (size_t i = f->segment_count; st == CT_OK && !found && i > 0; i--) {
        int code = UNREADABLE;
        st = journal_segment_path(&path, dir, f->segments[i - 1], err);
        if (st == CT_OK) {
            st = opening((const char *)path.data, NULL, &code, err);
        }
        earliest = code == NO_TURNS ? earliest : code;
        found = st == CT_OK && code == 0;
        *begin = found ? f->segments[i - 1] : 0;
    }
    *lost = earliest > 0;
    ct_buf_deinit(&path);
    return st;
}

static ct_status
fail_without_beginning(const journal_files *f, const char *dir, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_status st = journal_segment_path(&path, dir, f->segments[0], err);
    if (st == CT_OK) {
        st = ct_fail(err, CT_ECORRUPT, (const char *)path.data,
                     "goes on with a run whose beginning is missing: neither the "
                     "segments before it nor a snapshot are there. Put them back");
    }
    ct_buf_deinit(&path);
    return st;
}

ct_status
journal_read_snapshot(const char *dir, uint32_t number, ct_names *names,
                      ct_value *state, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_buf text = CT_BUF_INIT;
    ct_status st = journal_snapshot_path(&path, dir, number, err);
    if (st == CT_OK) {
        st = ct_file_read_all((const char *)path.data, &text, err);
    }
    if (st == CT_OK) {
        ct_err own = CT_ERR_INIT;
        st = journal_unwrap_snapshot(state, number, &text, names, &own);
        if (st == CT_OK) {
            st = journal_read_parts(state, dir, number, names, &own);
        }
        if (st == CT_ENOMEM) {
            st = ct_fail_mem(err);
        } else if (st != CT_OK) {
            st = ct_fail(
                err, CT_ECORRUPT, (const char *)path.data,
                "the snapshot cannot be read (%s), and no earlier state is left",
                own.text);
        }
        if (st != CT_OK) {
            ct_value_deinit(state);
        }
    }
    ct_buf_deinit(&path);
    ct_buf_deinit(&text);
    return st;
}

ct_status
journal_find_start(const journal_files *f, const char *dir, ct_names *names,
                   ct_value *state, uint32_t *first, ct_err *err)
{
    uint32_t begin;
    bool lost;
    ct_err newest = CT_ERR_INIT;
    size_t older = 0; /* snapshots of earlier runs */
    ct_status st = find_run(f, dir, &begin, &lost, err);
    if (st != CT_OK) {
        return st;
    }
    while (older < f->snapshot_count && f->snapshots[older] <= begin) {
        older++;
    }
    for (size_t i = f->snapshot_count; i > older; i--) {
        ct_err own = CT_ERR_INIT;
        *first = f->snapshots[i - 1];
        st = journal_read_snapshot(dir, *first, names, state, &own);
        if (i == f->snapshot_count || st == CT_ENOMEM) {
            newest = own;
        }
        if (st == CT_OK || st == CT_ENOMEM) {
            break;
        }
    }
    uint32_t start = begin > 0 ? begin : f->segment_count > 0 ? f->segments[0] : 1;
    if (f->snapshot_count == older) {
        *first = start;
        return lost ? fail_without_beginning(f, dir, err) : CT_OK;
    }
    if (st != CT_OK && st != CT_ENOMEM && !lost && f->segment_count > 0 &&
        start < f->snapshots[older]) {
        st = CT_OK; /* the journal is still there from its beginning */
        *first = start;
    }
    if (st != CT_OK && err != NULL) {
        *err = newest;
    }
    return st;
}

typedef struct chain {
    const char *dir;
    uint32_t owner; /* number of the last segment that holds turns */
    bool begun;
    ct_buf path;
} chain;

/* Segment `number` tells of other turns than were read before it. */
static ct_status
cut_short(chain *c, const ct_journal_summary *before, journal_turns said, ct_err *err)
{
    ct_status st = journal_segment_path(&c->path, c->dir, c->owner, err);
    return st == CT_OK
               ? ct_fail(err, CT_ECORRUPT, (const char *)c->path.data,
                         "is damaged at byte %" PRIu64 ": it had %" PRIu64
                         " bytes of turns when the next segment was begun, and has "
                         "%" PRIu64 " or others; `ctune repair` keeps the turns before",
                         before->valid_bytes, said.bytes, before->turn_bytes)
               : st;
}

static ct_status
read_segment(chain *c, uint32_t number, ct_names *names, const ct_journal_visitor *v,
             ct_journal_summary *out, ct_err *err)
{
    ct_buf bytes = CT_BUF_INIT;
    journal_turns said;
    uint64_t turns = out->turns;
    ct_status st = ct_file_read_all((const char *)c->path.data, &bytes, err);
    if (st == CT_OK && c->begun && journal_tells(&bytes, &said) &&
        (said.bytes != out->turn_bytes || said.end != out->turn_end)) {
        st = cut_short(c, out, said, err);
    }
    if (st == CT_OK && v->on_segment != NULL) {
        st = v->on_segment(v->ctx, number, err);
    }
    if (st == CT_OK) {
        st = journal_read_bytes(bytes.data, bytes.len, (const char *)c->path.data,
                                names, v, out, err);
    }
    c->owner = c->begun && out->turns == turns ? c->owner : number;
    c->begun = true;
    ct_buf_deinit(&bytes);
    return st;
}

static ct_status
read_segments(const journal_files *f, const char *dir, uint32_t first, ct_names *names,
              const ct_journal_visitor *v, ct_journal_summary *out, ct_err *err)
{
    chain c = {.dir = dir, .path = CT_BUF_INIT};
    ct_status st = CT_OK;
    uint32_t expected = first;
    for (size_t i = 0; st == CT_OK && i < f->segment_count; i++) {
        if (f->segments[i] < first) {
            continue;
        }
        st = journal_segment_path(&c.path, dir, expected, err);
        if (st == CT_OK && f->segments[i] != expected) {
            st = ct_fail(err, CT_ECORRUPT, (const char *)c.path.data,
                         "is missing, and later ones need it; `ctune repair` keeps "
                         "what comes before");
        }
        if (st == CT_OK) {
            st = read_segment(&c, expected, names, v, out, err);
        }
        expected++;
    }
    out->last_segment = expected > 0 ? expected - 1 : 0;
    ct_buf_deinit(&c.path);
    return st;
}

ct_status
ct_journal_recover(const char *dir, ct_names *names, ct_value *state,
                   const ct_journal_visitor *v, ct_journal_summary *out, ct_err *err)
{
    journal_files files = {0};
    uint32_t first = 1;
    ct_value found = ct_nil();
    *out = (ct_journal_summary){0};
    ct_status st = journal_files_list(&files, dir, err);
    if (st == CT_OK) {
        st = journal_find_start(&files, dir, names, &found, &first, err);
    }
    if (st == CT_OK) {
        *state = found; /* before the events: their visitor starts from it */
        found = ct_nil();
        st = read_segments(&files, dir, first, names, v, out, err);
        if (st != CT_OK) {
            ct_value_deinit(state);
        }
    }
    ct_value_deinit(&found);
    journal_files_deinit(&files);
    return st;
}

ct_status
ct_journal_settings(const char *dir, ct_buf *out, ct_err *err)
{
    journal_files files = {0};
    ct_buf path = CT_BUF_INIT;
    int code = -1;
    ct_status st = journal_files_list(&files, dir, err);
    for (size_t i = files.segment_count; st == CT_OK && code < 0 && i > 0; i--) {
        st = journal_segment_path(&path, dir, files.segments[i - 1], err);
        if (st == CT_OK) {
            st = opening((const char *)path.data, out, &code, err);
        }
    }
    ct_buf_deinit(&path);
    journal_files_deinit(&files);
    return st == CT_OK && code < 0
               ? ct_fail(err, CT_ENOTFOUND, dir, "holds no journal of a run")
               : st;
}
