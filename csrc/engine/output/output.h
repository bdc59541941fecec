/* output.h: the files that people open: params.json, result.json, progress.csv,
 * error.txt.
 *
 * An observer of notes. Holds files open for running trials only. Numbers are formatted
 * once for both files. Formats: docs/formats. */
#ifndef CT_OUTPUT_OUTPUT_H
#define CT_OUTPUT_OUTPUT_H

#include "flow/note.h"
#include "state/board.h"

typedef struct ct_output ct_output;

typedef struct ct_output_opts {
    bool json;   /* params.json, result.json */
    bool csv;    /* progress.csv */
    bool errors; /* error.txt and error.pkl */
} ct_output_opts;

ct_status ct_output_new(ct_output **out, const ct_output_opts *opts, ct_names *names,
                        ct_err *err);
void ct_output_free(ct_output *o); /* closes files */
/* Handles one note. Reads the trial (dir, config, error file) through the board. */
ct_status ct_output_note(ct_output *o, const ct_board *b, const ct_note *n,
                         ct_err *err);
/* The same for a note that a journal brings back: writes only what the files lack. */
ct_status ct_output_catch_up(ct_output *o, const ct_board *b, const ct_note *n,
                             ct_err *err);
/* Notes come back only of what followed this state: the files hold all before it. */
ct_status ct_output_catch_up_from(ct_output *o, const ct_board *b, ct_err *err);
/* All notes came back; the board says what the trials are now. The files hold just what was
 * told then: lines of results that a journal lost are cut off. */
ct_status ct_output_caught_up(ct_output *o, const ct_board *b, ct_err *err);
/* Appends the line of a record as result.json holds it, without the newline. config may
 * be NULL: {}. For tests and Python. */
ct_status ct_output_json_line(ct_output *o, ct_buf *out, const ct_record *r,
                              const ct_value *config, ct_err *err);

#endif
