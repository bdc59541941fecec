/* output_int.h: what the writers of this room share.
 *
 * A result is printed as JSON first. The texts of its numbers are then copied from
 * there into its CSV row: where the value of each field stands in the line is kept in
 * spans. */
#ifndef CT_OUTPUT_OUTPUT_INT_H
#define CT_OUTPUT_OUTPUT_INT_H

#include "base/map.h"
#include "base/record.h"
#include "base/value.h"
#include "flow/note.h"
#include "output/output.h"

/* ---- jsonl.c ---- */

typedef struct jsonl_span {
    size_t at;
    size_t len;
} jsonl_span;

typedef struct jsonl {
    const ct_names *names;
    ct_buf keys;     /* texts such as "\"loss\": " */
    jsonl_span *key; /* by name; len 0 = not made yet */
    size_t key_cap;
    jsonl_span *spans; /* by field of the last record: its value in the line */
    size_t span_cap;
} jsonl;

void jsonl_init(jsonl *j, const ct_names *names);
void jsonl_deinit(jsonl *j);
/* Appends the object, without newline. Spans count from the start of out. */
ct_status jsonl_print(jsonl *j, ct_buf *out, const ct_record *r, const ct_buf *config,
                      ct_err *err);

/* ---- pytext.c: values as Python's str() shows them ---- */

/* The list or dict that opens at field i. */
ct_status pytext_container(ct_buf *out, const ct_record *r, size_t i, ct_names *names,
                           ct_err *err);
/* An object given by its JSON text; text that is not JSON is shown as it is. */
ct_status pytext_object(ct_buf *out, const char *json, size_t len, ct_names *names,
                        ct_err *err);

/* ---- csv.c ---- */

typedef struct csv_step {
    ct_name key;
    uint8_t shape;
} csv_step;

/* The columns of one progress.csv, and where a record of the last shape has them. */
typedef struct csv_table {
    ct_name *columns;
    size_t column_cap;
    size_t column_count;
    uint32_t *field_of; /* by column: index of the field + 1, 0 = missing */
    size_t field_cap;
    ct_map column_of; /* name -> column */
    csv_step *steps;  /* by field of the shape */
    size_t step_cap;
    size_t step_count;
    bool known; /* the columns are fixed */
} csv_table;

void csv_table_deinit(csv_table *t);
void csv_table_clear(csv_table *t); /* forgets the columns, keeps the memory */

typedef struct csv {
    ct_names *names;
    ct_name config;
    ct_metric *flat; /* scratch: flattened name, and index of the field as value */
    size_t flat_cap;
    ct_buf text; /* scratch: one value */
} csv;

ct_status csv_init(csv *c, ct_names *names, ct_err *err);
void csv_deinit(csv *c);
/* Takes the columns from the header with which the file's text begins. */
ct_status csv_table_load(csv *c, csv_table *t, const char *text, size_t len,
                         ct_err *err);
/* Appends a row for the record that `line` and j->spans show, before it the header if
 * these are the table's first columns and header is set. */
ct_status csv_print(csv *c, csv_table *t, ct_buf *out, const ct_record *r,
                    const jsonl *j, const ct_buf *line, bool header, ct_err *err);

/* ---- catch_up.c ---- */

/* What a trial's files hold, of what was told so far. */
typedef struct file_counts {
    uint32_t lines, rows, failures; /* on disk */
    uint32_t results, failed;       /* told again */
    bool known;
} file_counts;
/* Counts them, and cuts off a last line that is not whole. */
ct_status file_counts_read(file_counts *f, const char *dir, ct_buf *path, ct_err *err);
/* Cuts off what was not told again. */
ct_status file_counts_cut(const file_counts *f, const ct_output_opts *opts,
                          const char *dir, ct_buf *path, ct_err *err);

/* ---- params.c ---- */

/* "dir/name", NUL-terminated; replaces *out. */
ct_status output_path(ct_buf *out, const char *dir, const char *name, ct_err *err);
ct_status params_write(const char *dir, const ct_value *config, const ct_names *names,
                       ct_err *err);
/* Appends to error.txt and replaces error.pkl. */
ct_status failure_write(const char *dir, const ct_note *n, ct_err *err);

#endif
