/* journal.h: the append-only truth of an experiment, and its snapshots.
 *
 * Files in the experiment directory (docs/formats has the bytes):
 *   journal-%06u.ctj   segments of frames (flow/codec): HEADER, then NAME and EVENT frames,
 *                      each turn closed by a TURN frame. A turn without its TURN frame did
 *                      not happen: a torn tail is dropped. The next segment tells where
 *                      the turns ended.
 *   snapshot-%06u.json state before segment of the same number; written aside, renamed.
 *   snapshot-%06u.bin, .pkl  its strings "state" and "objects", which are not for people.
 * One write per turn. Sync policy: never, at most every second, or each turn. */
#ifndef CT_JOURNAL_JOURNAL_H
#define CT_JOURNAL_JOURNAL_H

#include "base/clock.h"
#include "flow/codec.h"

typedef enum ct_sync_policy {
    CT_SYNC_NONE,
    CT_SYNC_INTERVAL,
    CT_SYNC_ALWAYS
} ct_sync_policy;

typedef struct ct_journal ct_journal;
struct ct_journal_summary;

/* Segment `number` in dir is to be written; it must not exist (CT_ESTATE). It is made with
 * the first turn. */
ct_status ct_journal_open(ct_journal **out, const char *dir, uint32_t number,
                          const ct_names *names, ct_sync_policy sync, ct_err *err);
/* Before the first turn: the segment goes on from what was read, if that is the one before
 * it. Its header says so, and what was read is made durable first. */
void ct_journal_follow(ct_journal *j, const struct ct_journal_summary *read);
/* Adds an event to the turn; nothing is written yet. */
ct_status ct_journal_add(ct_journal *j, const ct_event *ev, ct_err *err);
/* Takes back what was added to the turn behind `mark`, a length that
 * ct_journal_pending gave during this turn: it did not happen. */
void ct_journal_rollback(ct_journal *j, size_t mark);
/* The turn ended early, by an error: no orders, suggestions and starts belong to it. */
void ct_journal_unsettled(ct_journal *j);
/* Lets the turn count even without events: its time alone has changed something. */
void ct_journal_touch(ct_journal *j);
/* Closes the turn without writing it: a later commit writes all closed turns at
 * once. */
ct_status ct_journal_end_turn(ct_journal *j, double now, ct_err *err);
/* Closes the turn and writes: one write, and a sync if one is due. Nothing to do
 * without events, unless it was touched. On failure the segment holds whole turns only and commit can be
 * called again. */
ct_status ct_journal_commit(ct_journal *j, double now, ct_err *err);
/* Writes snapshot-<next>.json, starts segment <next>, keeps the one before, removes
 * older. */
ct_status ct_journal_snapshot(ct_journal *j, const ct_value *state, ct_err *err);
/* Makes what was committed durable, unless the policy is NONE: before something is removed
 * that only later turns make unnecessary. */
ct_status ct_journal_sync(ct_journal *j, ct_err *err);
bool ct_journal_is_durable(const ct_journal *j); /* the policy is not NONE */
uint64_t ct_journal_bytes(const ct_journal *j);  /* written so far */
/* Of the segment; of the last snapshot, 0 if there is none. */
uint64_t ct_journal_segment_bytes(const ct_journal *j);
uint64_t ct_journal_snapshot_bytes(const ct_journal *j);
uint64_t ct_journal_syncs(const ct_journal *j); /* of turns, so far */
size_t ct_journal_pending(const ct_journal *j); /* bytes that wait for a commit */
ct_status ct_journal_close(ct_journal *j,
                           ct_err *err); /* sync, close, free; always frees */

/* Reading back. `on_event` gets each event of each whole turn, in order, but the ANSWER
 * that the turn ends with first: its answers are needed by the others. `on_turn` (may be
 * NULL) gets its end; `settled` is false of one that ended early. `on_segment` (may be
 * NULL) comes before the first turn of each: names and objects are defined anew. Anything
 * but CT_OK from them ends the reading with that status. */
typedef struct ct_journal_visitor {
    ct_status (*on_event)(void *ctx, const ct_event *ev, ct_err *err);
    ct_status (*on_turn)(void *ctx, double time, bool settled, ct_err *err);
    ct_status (*on_segment)(void *ctx, uint32_t number, ct_err *err);
    void *ctx;
} ct_journal_visitor;
typedef struct ct_journal_summary {
    uint64_t events;
    uint64_t turns;
    uint64_t valid_bytes; /* up to the end of the last whole turn of the last segment */
    uint64_t turn_bytes;  /* of the turns of the last segment that holds any */
    uint32_t turn_end;    /* the checksum of their last frame */
    bool torn;            /* a tail behind it was ignored */
    uint32_t last_segment;
} ct_journal_summary;
/* Reads one segment file. A torn tail is the end; damage before the last turn is
 * CT_ECORRUPT and names the offset. */
ct_status ct_journal_read_file(const char *path, ct_names *names,
                               const ct_journal_visitor *v, ct_journal_summary *out,
                               ct_err *err);
/* The settings of the last run that began or went on in dir: the text of its RUN event.
 * CT_ENOTFOUND when none did. */
ct_status ct_journal_settings(const char *dir, ct_buf *out, ct_err *err);
/* Reads the last run that began in dir (a segment that opens with its RUN event): from the
 * newest readable snapshot since then, if there is one, and all segments from it on.
 * *state is nil when there is no snapshot. */
ct_status ct_journal_recover(const char *dir, ct_names *names, ct_value *state,
                             const ct_journal_visitor *v, ct_journal_summary *out,
                             ct_err *err);

/* Repair: keeps what recovery can use of damaged files, and says what it dropped. A
 * damaged segment is cut to the whole turns before the damage; later segments, which
 * nothing connects with those, and snapshots that cannot be read are set aside. A segment of
 * which only the header is damaged gets a new one. What was is kept beside each file. */
typedef enum ct_repair_kind {
    CT_REPAIR_WHOLE,    /* nothing to do; `dropped` is its torn tail, ignored anyway */
    CT_REPAIR_HEADER,   /* it got a new header */
    CT_REPAIR_CUT,      /* cut to `kept` bytes */
    CT_REPAIR_ASIDE,    /* renamed to `backup` */
    CT_REPAIR_SNAPSHOT, /* the same, of a snapshot */
    CT_REPAIR_MISSING   /* this segment is not there */
} ct_repair_kind;
typedef struct ct_repair_file {
    ct_repair_kind kind;
    const char *path;
    const char *backup;     /* what it was; NULL = nothing changed, or a dry run */
    const char *why;        /* one sentence, or "" */
    uint64_t kept, dropped; /* bytes */
    uint64_t turns_kept, events_kept;       /* in those */
    uint64_t turns_dropped, events_dropped; /* as far as they can be recognized */
} ct_repair_file;
typedef ct_status (*ct_repair_tell)(void *ctx, const ct_repair_file *f, ct_err *err);
/* The caller holds the directory's lock. `dry`: changes nothing, only tells. Each file that
 * recovery would read is told once it is dealt with; *changed = how many are no WHOLE
 * ones. Errors: CT_ENOTFOUND without a journal; CT_ECORRUPT when nothing is left to start
 * from; CT_EUNSUPPORTED; CT_EIO: what was told is done, the rest is as it was. */
ct_status ct_journal_repair(const char *dir, bool dry, ct_repair_tell tell, void *ctx,
                            size_t *changed, ct_err *err);

#endif
