/* catch_up.c: what the files of a trial hold, when a run goes on after a cut.
 *
 * A result is told after the journal has it, so the files may lack the last ones, or end
 * with a part of a line if the machine died. A machine that died may also have kept lines
 * in the files and lost the turns that they tell of: these results come again, so such
 * lines are cut off. */
#include "output/output_int.h"

#include "os/file.h"

#include <string.h>

/* Counts the lines of a text file, at most `most`; *whole = bytes up to the end of the last
 * one. In a CSV file a line end within quotes is part of a field. Zeros are what some file
 * systems leave of a write that was lost: nothing behind them counts. */
static uint32_t
count_lines(const ct_buf *text, bool quotes, uint32_t most, size_t *whole)
{
    uint32_t lines = 0;
    bool quoted = false;

    *whole = 0;
    for (size_t i = 0; i < text->len && lines < most && text->data[i] != 0; i++) {
        quoted = quoted != (quotes && text->data[i] == '"');
        if (text->data[i] == '\n' && !quoted) {
            lines++;
            *whole = i + 1;
        }
    }
    return lines;
}

/* Whether the head of a failure stands at `at`, the start of a line; see failure_write. */
static bool
is_head(const ct_buf *text, size_t at, uint64_t *number)
{
    static const char begin[] = "Failure # ", end[] = " (occurred at ";
    const char *p = (const char *)text->data + at;
    size_t len = text->len - at;
    size_t n = sizeof begin - 1;

    *number = 0;
    if (len < n || memcmp(p, begin, n) != 0) {
        return false;
    }
    for (; n < len && p[n] >= '0' && p[n] <= '9'; n++) {
        *number = *number * 10 + (uint64_t)(p[n] - '0');
    }
    return len - n >= sizeof end - 1 && memcmp(p + n, end, sizeof end - 1) == 0;
}

/* Counts the failures that error.txt tells of, likewise; one whose text does not end with a
 * line is not whole. Their numbers grow by one or not at all: the text of a failure may hold
 * heads of others, as of a run within the trial. */
static uint32_t
count_failures(const ct_buf *text, uint32_t most, size_t *whole)
{
    uint32_t failures = 0;
    uint64_t number, last = 0;
    size_t start = 0; /* of the last one */

    *whole = text->len;
    for (size_t i = 0; i < text->len; i++) {
        if ((i > 0 && text->data[i - 1] != '\n') || !is_head(text, i, &number) ||
            (failures > 0 && number != last && number != last + 1)) {
            continue;
        }
        if (failures == most) {
            *whole = i;
            return failures;
        }
        start = i;
        last = number;
        failures++;
    }
    if (failures > 0 && text->data[text->len - 1] != '\n') {
        *whole = start;
        failures--;
    }
    return failures;
}

enum { RESULT_JSON, PROGRESS_CSV, ERROR_TXT };

/* Reads one of a trial's files: *count = what it tells of, at most `most`; *whole = bytes of
 * those; *size = bytes that it has. A missing file has none. */
static ct_status
read_file(int kind, const char *dir, uint32_t most, ct_buf *path, uint32_t *count,
          size_t *whole, size_t *size, ct_err *err)
{
    static const char *const names[] = {"result.json", "progress.csv", "error.txt"};
    ct_buf text = CT_BUF_INIT;
    ct_err own = CT_ERR_INIT;

    *count = 0;
    *whole = *size = 0;
    ct_status st = output_path(path, dir, names[kind], err);
    if (st != CT_OK) {
        return st;
    }
    st = ct_file_read_all((const char *)path->data, &text, &own);
    if (st == CT_OK) {
        *size = text.len;
        *count = kind == ERROR_TXT
                     ? count_failures(&text, most, whole)
                     : count_lines(&text, kind == PROGRESS_CSV, most, whole);
    } else if (st != CT_ENOTFOUND && err != NULL) {
        *err = own;
    }
    ct_buf_deinit(&text);
    return st == CT_ENOTFOUND ? CT_OK : st;
}

/* Counts what a file tells of and cuts off what is behind the first `most` of it. */
static ct_status
cut_file(int kind, const char *dir, uint32_t most, ct_buf *path, uint32_t *count,
         ct_err *err)
{
    size_t whole, size;
    ct_status st = read_file(kind, dir, most, path, count, &whole, &size, err);

    return st == CT_OK && whole < size
               ? ct_file_truncate((const char *)path->data, whole, err)
               : st;
}

ct_status
file_counts_read(file_counts *f, const char *dir, ct_buf *path, ct_err *err)
{
    ct_status st = cut_file(RESULT_JSON, dir, UINT32_MAX, path, &f->lines, err);

    if (st == CT_OK) {
        st = cut_file(PROGRESS_CSV, dir, UINT32_MAX, path, &f->rows, err);
    }
    f->rows -= f->rows > 0; /* the header */
    if (st == CT_OK) {
        st = cut_file(ERROR_TXT, dir, UINT32_MAX, path, &f->failures, err);
    }
    f->known = st == CT_OK;
    return st;
}

ct_status
file_counts_cut(const file_counts *f, const ct_output_opts *opts, const char *dir,
                ct_buf *path, ct_err *err)
{
    uint32_t n;
    ct_status st = CT_OK;

    if (opts->json && f->lines > f->results) {
        st = cut_file(RESULT_JSON, dir, f->results, path, &n, err);
    }
    if (st == CT_OK && opts->csv && f->rows > f->results) { /* no result, no header */
        n = f->results + (f->results > 0);
        st = cut_file(PROGRESS_CSV, dir, n, path, &n, err);
    }
    if (st == CT_OK && opts->errors && f->failures > f->failed) {
        st = cut_file(ERROR_TXT, dir, f->failed, path, &n, err);
        if (st ==
            CT_OK) { /* what a lost failure left; no earlier one is there any more */
            st = output_path(path, dir, "error.pkl", err);
        }
        if (st == CT_OK) {
            st = ct_file_remove((const char *)path->data, err);
        }
    }
    return st;
}
