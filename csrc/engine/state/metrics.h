/* metrics.h: every number that trials reported, as columns by (trial, name).
 *
 * Row k of a trial is its k-th result; a metric missing from a result is NaN there. A
 * trial's columns lie in one block, column after column, so that a history is handed to
 * NumPy without copying: the block is shared and counted, never moved while someone
 * holds it, and copied on growth. */
#ifndef CT_STATE_METRICS_H
#define CT_STATE_METRICS_H

#include "base/ids.h"
#include "base/record.h"

typedef struct ct_metrics ct_metrics;

ct_status ct_metrics_new(ct_metrics **out, ct_err *err);
void ct_metrics_free(ct_metrics *m);
/* Appends one row. Allocates nothing when the trial has room and knows the names. */
ct_status ct_metrics_append(ct_metrics *m, ct_trial_id trial, const ct_metric *items,
                            size_t count, ct_err *err);
size_t ct_metrics_rows(const ct_metrics *m, ct_trial_id trial);
bool ct_metrics_last(const ct_metrics *m, ct_trial_id trial, ct_name name, double *out);

typedef struct ct_column_block ct_column_block; /* shared, counted */
typedef struct ct_column {
    const double *data; /* rows values */
    size_t rows;
    ct_column_block *block; /* retained for the caller; NULL when rows == 0 */
} ct_column;
/* false when the trial never reported that name. Release the block when done. */
bool ct_metrics_column(ct_metrics *m, ct_trial_id trial, ct_name name, ct_column *out);
void ct_column_block_release(ct_column_block *b);
/* The trial's metric names, in order of first appearance. */
size_t ct_metrics_names(const ct_metrics *m, ct_trial_id trial, const ct_name **out);

/* A row as it was appended, in the order of the names; returns how many it holds. `out` has
 * room for all names. */
size_t ct_metrics_row(const ct_metrics *m, ct_trial_id trial, size_t row,
                      ct_metric *out);

/* Statistics of one metric over a trial's results, computed from its column on demand;
 * O(rows). `avg` follows the reference: (v + (step-1)*avg)/step, step = the row's
 * training_iteration (name given by the caller; CT_NAME_NONE counts rows). Rows where
 * the metric is missing are skipped (a reported NaN counts). */
typedef struct ct_metric_stats {
    double max, min, avg, last, last5, last10;
    size_t count;
} ct_metric_stats;
bool ct_metrics_stats(const ct_metrics *m, ct_trial_id trial, ct_name name,
                      ct_name step, ct_metric_stats *out);
/* Gives back the room to grow of a trial that ended; never fails, changes no value. */
void ct_metrics_trim(ct_metrics *m, ct_trial_id trial);
size_t ct_metrics_bytes(const ct_metrics *m, size_t *history); /* all; history alone */

#endif
