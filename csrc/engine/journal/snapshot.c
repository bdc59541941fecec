/* snapshot.c: starting a segment from a written state, and the files of a folder.
 *
 * The new segment exists before the snapshot gets its name: had the snapshot come
 * first, a failure in between would let turns go on in a segment that recovery no
 * longer reads. */
#include "journal/journal_int.h"

#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the files of a folder ---- */

void
journal_files_deinit(journal_files *f)
{
    ct_free(f->snapshots);
    ct_free(f->parts);
    ct_free(f->segments);
    *f = (journal_files){0};
}

/* "stem-000012.suffix" -> 12. */
static bool
parse_name(const char *name, const char *stem, const char *suffix, uint32_t *out)
{
    size_t n = strlen(stem);
    uint64_t number = 0;
    if (strncmp(name, stem, n) != 0) {
        return false;
    }
    const char *p = name + n;
    for (n = 0; p[n] >= '0' && p[n] <= '9'; n++) {
        number = number * 10 + (uint64_t)(p[n] - '0');
        if (number >= UINT32_MAX) {
            return false;
        }
    }
    *out = (uint32_t)number;
    return n >= 6 && strcmp(p + n, suffix) == 0;
}

static ct_status
add_number(uint32_t **items, size_t *count, size_t *cap, uint32_t number, ct_err *err)
{
    ct_status st = ct_grow((void **)items, cap, *count + 1, sizeof **items, err);
    if (st == CT_OK) {
        (*items)[(*count)++] = number;
    }
    return st;
}

static ct_status
visit_name(void *ctx, const char *name, ct_err *err)
{
    journal_files *f = ctx;
    uint32_t n = 0;
    if (parse_name(name, "journal-", ".ctj", &n)) {
        return add_number(&f->segments, &f->segment_count, &f->segment_cap, n, err);
    }
    if (parse_name(name, "snapshot-", ".json", &n)) {
        return add_number(&f->snapshots, &f->snapshot_count, &f->snapshot_cap, n, err);
    }
    if (parse_name(name, "snapshot-", ".bin", &n) ||
        parse_name(name, "snapshot-", ".pkl", &n)) {
        return add_number(&f->parts, &f->parts_count, &f->parts_cap, n, err);
    }
    return CT_OK;
}

static int
compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

ct_status
journal_files_list(journal_files *out, const char *dir, ct_err *err)
{
    *out = (journal_files){0};
    ct_status st = ct_dir_list(dir, visit_name, out, err);
    if (st == CT_ENOTFOUND) {
        return CT_OK;
    }
    if (out->snapshot_count > 0) {
        qsort(out->snapshots, out->snapshot_count, sizeof(uint32_t), compare_numbers);
    }
    if (out->segment_count > 0) {
        qsort(out->segments, out->segment_count, sizeof(uint32_t), compare_numbers);
    }
    return st;
}

/* ---- snapshots ---- */

/* {"segment": 12, "crc32c": "0123abcd", "state": ...}: the checksum is that of the state's
 * text, the number that of the file: another one's state would be taken for this one's. */
#define SNAPSHOT_HEAD "{\"segment\": %10u, \"crc32c\": \"%08x\", \"state\": "
#define SNAPSHOT_TAIL "}\n"
enum { HEAD_LEN = 55, TAIL_LEN = sizeof SNAPSHOT_TAIL - 1 };

static void
print_head(char head[HEAD_LEN + 1], uint32_t number, const uint8_t *state, size_t len)
{
    (void)snprintf(head, HEAD_LEN + 1, SNAPSHOT_HEAD, (unsigned)number,
                   (unsigned)ct_crc32c(0, state, len));
}

ct_status
journal_wrap_snapshot(ct_buf *out, uint32_t number, const ct_value *state,
                      const ct_names *names, ct_err *err)
{
    char head[HEAD_LEN + 1] = "";
    ct_buf_clear(out);
    print_head(head, number, NULL, 0);
    ct_status st = ct_buf_put(out, head, HEAD_LEN, err);
    if (st == CT_OK) {
        st = ct_json_print(out, state, names, 0, err);
    }
    if (st == CT_OK) {
        print_head(head, number, out->data + HEAD_LEN, out->len - HEAD_LEN);
        memcpy(out->data, head, HEAD_LEN);
        st = ct_buf_puts(out, SNAPSHOT_TAIL, err);
    }
    return st;
}

ct_status
journal_unwrap_snapshot(ct_value *state, uint32_t number, const ct_buf *text,
                        ct_names *names, ct_err *err)
{
    char head[HEAD_LEN + 1] = "";
    size_t len = text->len > HEAD_LEN + TAIL_LEN ? text->len - HEAD_LEN - TAIL_LEN : 0;
    if (len > 0) {
        print_head(head, number, text->data + HEAD_LEN, len);
    }
    if (len == 0 || memcmp(text->data, head, HEAD_LEN) != 0 ||
        memcmp(text->data + HEAD_LEN + len, SNAPSHOT_TAIL, TAIL_LEN) != 0) {
        return ct_fail(err, CT_ECORRUPT, "",
                       "its checksum is wrong, or it is another one's state");
    }
    return ct_json_parse(state, (const char *)text->data + HEAD_LEN, len, names, err);
}

/* ---- what stands apart ---- */

/* Strings of a state that are not for people are files of their own. */
static const struct {
    const char *key;
    const char *suffix;
} PARTS[] = {{"state", "bin"}, {"objects", "pkl"}};
enum { PARTS_COUNT = sizeof PARTS / sizeof PARTS[0], PART_TEXT = 64 };

/* What stands in the snapshot in place of a part. */
static void
print_part(char text[PART_TEXT], const void *data, size_t len)
{
    (void)snprintf(text, PART_TEXT, "%zu bytes, crc32c %08x", len,
                   (unsigned)ct_crc32c(0, data, len));
}

/* The string in a state; NULL when it has none. */
static const ct_value *
part_of(const ct_value *state, size_t i, const ct_names *names, ct_name *key)
{
    *key = ct_names_find(names, PARTS[i].key, strlen(PARTS[i].key));
    const ct_value *v = state->kind == CT_DICT && *key != CT_NAME_NONE
                            ? ct_value_get(state, *key)
                            : NULL;
    return v != NULL && v->kind == CT_STR ? v : NULL;
}

/* Puts a part's description in its place among the entries, which are `state`'s. */
static ct_status
describe_part(ct_entry *entries, const ct_value *state, size_t i, const ct_names *names,
              ct_value *text, ct_err *err)
{
    char printed[PART_TEXT];
    ct_name key;
    const ct_value *v = part_of(state, i, names, &key);
    if (v == NULL) {
        return CT_OK;
    }
    print_part(printed, v->u.s, v->len);
    ct_status st = ct_str(text, printed, strlen(printed), err);
    for (uint32_t at = 0; st == CT_OK && at < state->len; at++) {
        if (entries[at].key == key) {
            entries[at].value = *text;
        }
    }
    return st;
}

/* The state's text with descriptions in place of its parts; what is long is not copied. */
static ct_status
wrap_state(ct_buf *out, uint32_t number, const ct_value *state, const ct_names *names,
           ct_err *err)
{
    ct_value texts[PARTS_COUNT];
    ct_value view = *state;
    ct_entry *entries = NULL;
    ct_status st = CT_OK;
    for (size_t i = 0; i < PARTS_COUNT; i++) {
        texts[i] = ct_nil();
    }
    if (state->kind == CT_DICT && state->len > 0) {
        entries = ct_alloc(state->len * sizeof *entries);
        st = entries == NULL ? ct_fail_mem(err) : CT_OK;
    }
    if (entries != NULL) {
        memcpy(entries, state->u.entries, state->len * sizeof *entries);
        view.u.entries = entries;
    }
    for (size_t i = 0; st == CT_OK && entries != NULL && i < PARTS_COUNT; i++) {
        st = describe_part(entries, state, i, names, &texts[i], err);
    }
    if (st == CT_OK) {
        st = journal_wrap_snapshot(out, number, &view, names, err);
    }
    for (size_t i = 0; i < PARTS_COUNT; i++) {
        ct_value_deinit(&texts[i]);
    }
    ct_free(entries);
    return st;
}

static ct_status
read_part(ct_value *state, size_t i, const char *path, const ct_names *names,
          ct_err *err)
{
    char text[PART_TEXT];
    ct_name key;
    ct_buf bytes = CT_BUF_INIT;
    ct_value v = ct_nil();
    const ct_value *told = part_of(state, i, names, &key);
    if (told == NULL) {
        return CT_OK;
    }
    ct_status st = ct_file_read_all(path, &bytes, err);
    if (st == CT_OK) {
        print_part(text, bytes.data, bytes.len);
        if (strcmp(text, told->u.s) != 0) {
            st = ct_fail(err, CT_ECORRUPT, "",
                         "its .%s is not what it was: %s in place of %.40s",
                         PARTS[i].suffix, text, told->u.s);
        }
    }
    if (st == CT_OK) {
        st = ct_str(&v, (const char *)bytes.data, bytes.len, err);
    }
    if (st == CT_OK) {
        st = ct_value_put(state, key, &v, err);
    }
    ct_buf_deinit(&bytes);
    return st;
}

ct_status
journal_read_parts(ct_value *state, const char *dir, uint32_t number,
                   const ct_names *names, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < PARTS_COUNT; i++) {
        st = journal_part_path(&path, dir, number, PARTS[i].suffix, err);
        if (st == CT_OK) {
            st = read_part(state, i, (const char *)path.data, names, err);
        }
    }
    ct_buf_deinit(&path);
    return st;
}

/* Writes the parts, before their snapshot; *size = their bytes. `path` is used. */
static ct_status
write_parts(const ct_journal *j, const ct_value *state, uint32_t number, ct_buf *path,
            uint64_t *size, ct_err *err)
{
    ct_status st = CT_OK;
    *size = 0;
    for (size_t i = 0; st == CT_OK && i < PARTS_COUNT; i++) {
        ct_name key;
        const ct_value *v = part_of(state, i, j->encoder.names, &key);
        if (v == NULL) {
            continue;
        }
        *size += v->len;
        st = journal_part_path(path, j->dir, number, PARTS[i].suffix, err);
        if (st == CT_OK) {
            st = ct_file_replace((const char *)path->data, v->u.s, v->len,
                                 j->sync != CT_SYNC_NONE, err);
        }
    }
    return st;
}

/* `path` has room. */
static void
remove_parts(const ct_journal *j, uint32_t number, ct_buf *path)
{
    for (size_t i = 0; i < PARTS_COUNT; i++) {
        if (journal_part_path(path, j->dir, number, PARTS[i].suffix, NULL) == CT_OK) {
            (void)ct_file_remove((const char *)path->data, NULL);
        }
    }
}

/* Removes what the snapshot `keep` makes unnecessary. Segments go in descending order:
 * if that stops half way, the gap shows that what is left is not the whole beginning.
 * `path` has room. What cannot be removed stays; the next snapshot tries again. */
static void
remove_older(const ct_journal *j, const journal_files *f, uint32_t keep, ct_buf *path)
{
    for (size_t i = 0; i < f->parts_count; i++) {
        if (f->parts[i] < keep) {
            remove_parts(j, f->parts[i], path);
        }
    }
    for (size_t i = 0; i < f->snapshot_count; i++) {
        if (f->snapshots[i] < keep &&
            journal_snapshot_path(path, j->dir, f->snapshots[i], NULL) == CT_OK) {
            (void)ct_file_remove((const char *)path->data, NULL);
        }
    }
    for (size_t i = f->segment_count; i > 0; i--) {
        if (f->segments[i - 1] >= keep) {
            continue;
        }
        if (journal_segment_path(path, j->dir, f->segments[i - 1], NULL) != CT_OK ||
            ct_file_remove((const char *)path->data, NULL) != CT_OK) {
            return;
        }
    }
}

/* Gives the new segment's number back, so that a full disk does not collect headers. The
 * snapshot may have got its name, though not for good: turns go on in the old segment, so
 * it must go first. `path` has room. */
static void
abandon_segment(ct_journal *j, ct_file *file, uint32_t number, ct_buf *path)
{
    if (file->fd >= 0) {
        if (journal_snapshot_path(path, j->dir, number, NULL) == CT_OK) {
            (void)ct_file_remove((const char *)path->data, NULL);
        }
        if (ct_file_remove(file->path, NULL) != CT_OK) {
            j->highest = number;
        }
        ct_file_close(file);
    }
    remove_parts(j, number, path);
}

static void
switch_segment(ct_journal *j, ct_file *file, uint32_t number, uint64_t size)
{
    ct_file_close(&j->file);
    j->file = *file;
    *file = (ct_file)CT_FILE_INIT;
    j->number = number;
    j->highest = number;
    j->valid = size;
    j->before = j->turns;
    j->turns = (journal_turns){0, 0};
    j->synced = 0;
    j->total += size;
    j->cut = false;
    ct_encoder_restart(&j->encoder);
}

ct_status
ct_journal_snapshot(ct_journal *j, const ct_value *state, ct_err *err)
{
    ct_buf text = CT_BUF_INIT;
    ct_buf path = CT_BUF_INIT;
    journal_files files = {0};
    ct_file file = CT_FILE_INIT;
    uint64_t size = 0;
    uint64_t parts = 0;
    uint32_t number = j->highest + 1;
    bool durable = j->sync != CT_SYNC_NONE;
    if (j->open || j->turn.len > 0) {
        return ct_fail(err, CT_ESTATE, j->dir,
                       "a turn is not written: commit it before the snapshot");
    }
    ct_status st = wrap_state(&text, number, state, j->encoder.names, err);
    if (st == CT_OK) {
        st = journal_begin(j, err);
    }
    if (st == CT_OK) {
        st = journal_files_list(&files, j->dir, err);
    }
    if (st == CT_OK) {
        st = journal_snapshot_path(&path, j->dir, number, err);
    }
    if (st != CT_OK) {
        goto done;
    }
    if (j->cut) {
        st = ct_file_truncate(j->file.path, j->valid, err);
        j->cut = st != CT_OK;
    }
    if (st == CT_OK && durable) {
        st = ct_file_sync(&j->file, err);
    }
    if (st == CT_OK) {
        st = write_parts(j, state, number, &path, &parts, err);
    }
    if (st == CT_OK) {
        st = journal_segment_make(&file, j->dir, number, j->turns, &size, err);
    }
    if (st == CT_OK) {
        st = journal_snapshot_path(&path, j->dir, number, err);
    }
    if (st == CT_OK) {
        st =
            ct_file_replace((const char *)path.data, text.data, text.len, durable, err);
    }
    if (st != CT_OK) {
        abandon_segment(j, &file, number, &path);
        goto done;
    }
    switch_segment(j, &file, number, size);
    j->snapshot = text.len + parts;
    if (files.snapshot_count > 0) {
        remove_older(j, &files, files.snapshots[files.snapshot_count - 1], &path);
    }
done:
    journal_files_deinit(&files);
    ct_buf_deinit(&text);
    ct_buf_deinit(&path);
    return st;
}
