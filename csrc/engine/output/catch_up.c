/* catch_up.c: what the files of a trial hold, when a run goes on after a cut.
 *
 * A result is told after the journal has it, so the files may lack the last ones, or end
 * with a part of a line if the machine died. */
#include "output/output_int.h"

#include "os/file.h"

#include <string.h>

/* Lines of a text file; *whole = bytes up to the end of the last one. In a CSV file a line
 * end within quotes is part of a field. */
static uint32_t
count_lines(const ct_buf *text, bool quotes, size_t *whole)
{
    uint32_t lines = 0;
    bool quoted = false;

    *whole = 0;
    for (size_t i = 0; i < text->len; i++) {
        quoted = quoted != (quotes && text->data[i] == '"');
        if (text->data[i] == '\n' && !quoted) {
            lines++;
            *whole = i + 1;
        }
    }
    return lines;
}

static ct_status
read_lines(const char *dir, const char *name, bool quotes, ct_buf *path, ct_buf *text,
           uint32_t *lines, ct_err *err)
{
    ct_err own = CT_ERR_INIT;
    size_t whole;
    ct_status st = output_path(path, dir, name, err);

    *lines = 0;
    if (st != CT_OK) {
        return st;
    }
    st = ct_file_read_all((const char *)path->data, text, &own);
    if (st == CT_ENOTFOUND) {
        return CT_OK;
    }
    if (st != CT_OK) {
        if (err != NULL) {
            *err = own;
        }
        return st;
    }
    *lines = count_lines(text, quotes, &whole);
    return whole < text->len ? ct_file_truncate((const char *)path->data, whole, err)
                             : CT_OK;
}

/* Failures that error.txt tells of. */
static ct_status
read_failures(const char *dir, ct_buf *path, ct_buf *text, uint32_t *count, ct_err *err)
{
    static const char head[] = "Failure # ";
    size_t n = sizeof head - 1;
    ct_err own = CT_ERR_INIT;
    ct_status st = output_path(path, dir, "error.txt", err);

    *count = 0;
    if (st != CT_OK ||
        ct_file_read_all((const char *)path->data, text, &own) != CT_OK) {
        return st;
    }
    for (size_t i = 0; i + n <= text->len; i++) {
        bool starts = i == 0 || text->data[i - 1] == '\n';
        *count += starts && memcmp(text->data + i, head, n) == 0;
    }
    return CT_OK;
}

ct_status
file_counts_read(file_counts *f, const char *dir, ct_buf *path, ct_err *err)
{
    ct_buf text = CT_BUF_INIT;
    ct_status st = read_lines(dir, "result.json", false, path, &text, &f->lines, err);

    if (st == CT_OK) {
        st = read_lines(dir, "progress.csv", true, path, &text, &f->rows, err);
    }
    f->rows -= f->rows > 0; /* the header */
    if (st == CT_OK) {
        st = read_failures(dir, path, &text, &f->failures, err);
    }
    f->known = st == CT_OK;
    ct_buf_deinit(&text);
    return st;
}
