/* journal_int.h: what writer, reader and snapshots share. The format: docs/formats. */
#ifndef CT_JOURNAL_JOURNAL_INT_H
#define CT_JOURNAL_JOURNAL_INT_H

#include "journal/journal.h"
#include "os/file.h"

#define JOURNAL_MAGIC "ctunejnl"
#define JOURNAL_VERSION 2u

enum { JOURNAL_MAGIC_LEN = 8 };

/* The turns of a segment, by which the next one tells what it goes on from. bytes 0: there
 * are none, or nothing is told. */
typedef struct journal_turns {
    uint64_t bytes; /* of the whole turns, without the header */
    uint32_t end;   /* their last four: the checksum of the last TURN frame */
} journal_turns;

struct ct_journal {
    ct_file file; /* the segment being written; closed until its first turn */
    char *dir;
    uint32_t number;  /* of the segment */
    uint32_t highest; /* number that was ever tried */
    ct_sync_policy sync;
    double last_sync;
    uint64_t syncs;
    uint64_t synced;      /* bytes of the segment that are on the disk */
    uint64_t valid;       /* bytes of header and whole turns in the segment */
    journal_turns before; /* of the segment that this one goes on from */
    journal_turns turns;  /* of this one */
    uint64_t total;       /* bytes written in all */
    uint64_t snapshot;    /* bytes of the last one */
    bool cut;             /* a write failed: cut the segment back to `valid` first */
    ct_encoder encoder;
    ct_buf turn;    /* frames of the turn */
    bool open;      /* the turn holds something */
    bool unsettled; /* it ended early */
};

/* "dir/journal-000001.ctj" and the like (of a part of a snapshot: "snapshot-000001.bin"),
 * NUL-terminated; replaces *out. */
ct_status journal_segment_path(ct_buf *out, const char *dir, uint32_t number,
                               ct_err *err);
ct_status journal_snapshot_path(ct_buf *out, const char *dir, uint32_t number,
                                ct_err *err);
ct_status journal_part_path(ct_buf *out, const char *dir, uint32_t number,
                            const char *suffix, ct_err *err);

/* Makes a segment that holds its header alone; *size = its bytes. */
ct_status journal_segment_make(ct_file *out, const char *dir, uint32_t number,
                               journal_turns before, uint64_t *size, ct_err *err);
/* Makes the segment of the next turn, if there is none yet. */
ct_status journal_begin(ct_journal *j, ct_err *err);

/* The numbers of a folder's snapshots and segments, ascending, and of parts of snapshots. */
typedef struct journal_files {
    uint32_t *snapshots;
    size_t snapshot_count;
    size_t snapshot_cap;
    uint32_t *parts;
    size_t parts_count;
    size_t parts_cap;
    uint32_t *segments;
    size_t segment_count;
    size_t segment_cap;
} journal_files;
/* Deinit it in every case. A missing folder has no files. */
ct_status journal_files_list(journal_files *out, const char *dir, ct_err *err);
void journal_files_deinit(journal_files *f);

/* Finds the state that recovery starts from, nil if that is the beginning; *first =
 * number of the segment that follows it. */
ct_status journal_find_start(const journal_files *f, const char *dir, ct_names *names,
                             ct_value *state, uint32_t *first, ct_err *err);
/* The text of a snapshot's file, with a checksum; replaces *out. And back: CT_ECORRUPT. */
ct_status journal_wrap_snapshot(ct_buf *out, uint32_t number, const ct_value *state,
                                const ct_names *names, ct_err *err);
ct_status journal_unwrap_snapshot(ct_value *state, uint32_t number, const ct_buf *text,
                                  ct_names *names, ct_err *err);
/* Puts the parts of a state, which its text only describes, from their files in place.
 * CT_ECORRUPT when one is not the one described. */
ct_status journal_read_parts(ct_value *state, const char *dir, uint32_t number,
                             const ct_names *names, ct_err *err);
/* With its parts. CT_ECORRUPT when it cannot be read. */
ct_status journal_read_snapshot(const char *dir, uint32_t number, ct_names *names,
                                ct_value *state, ct_err *err);
/* Replaces *out by the bytes of a segment's header. */
ct_status journal_header(ct_buf *out, uint32_t number, journal_turns before,
                         ct_err *err);
/* What a segment tells of the last one before it that holds turns. False: nothing, or it
 * holds no turn itself. */
bool journal_tells(const ct_buf *segment, journal_turns *said);

/* Reads a segment's bytes. `name` is for error texts. Adds to *out's counts. */
ct_status journal_read_bytes(const uint8_t *data, size_t len, const char *name,
                             ct_names *names, const ct_journal_visitor *v,
                             ct_journal_summary *out, ct_err *err);

#endif
