/* metrics.h: the numbers that trials reported, as columns by (trial, name).
 *
 * A row is a result; a metric missing from it is NaN there. A trial's columns lie in one
 * block, column after column, so that a history is handed to NumPy without copying: the
 * block is shared and counted, never moved while someone holds it, and copied on growth.
 *
 * What a trial keeps is bounded: old rows are folded, which leaves of each metric its
 * statistics and its newest ten values. A live trial keeps its newest rows, at least 1,024;
 * one that ends is folded whole, if that is smaller. The files of a trial have all. */
#ifndef CT_STATE_METRICS_H
#define CT_STATE_METRICS_H

#include "base/ids.h"
#include "base/record.h"

typedef struct ct_metrics ct_metrics;

/* `step` names the metric that weighs a running average: training_iteration. */
ct_status ct_metrics_new(ct_metrics **out, ct_name step, ct_err *err);
void ct_metrics_free(ct_metrics *m);
/* Appends one row. Allocates nothing when the trial has room and knows the names. */
ct_status ct_metrics_append(ct_metrics *m, ct_trial_id trial, const ct_metric *items,
                            size_t count, ct_err *err);
/* How many rows were appended, and how many of those were folded. */
size_t ct_metrics_rows(const ct_metrics *m, ct_trial_id trial);
size_t ct_metrics_folded(const ct_metrics *m, ct_trial_id trial);
bool ct_metrics_last(const ct_metrics *m, ct_trial_id trial, ct_name name, double *out);

typedef struct ct_column_block ct_column_block; /* shared, counted */
typedef struct ct_column {
    const double *data; /* rows values */
    size_t rows;
    ct_column_block *block; /* retained for the caller; NULL when rows == 0 */
} ct_column;
/* The kept rows, or when there are none the newest values, oldest first. false when the
 * trial never reported that name. Release the block when done. */
bool ct_metrics_column(ct_metrics *m, ct_trial_id trial, ct_name name, ct_column *out);
void ct_column_block_release(ct_column_block *b);
/* The trial's metric names, in order of first appearance. */
size_t ct_metrics_names(const ct_metrics *m, ct_trial_id trial, const ct_name **out);

/* A row as it was appended, in the order of the names; returns how many it holds. `out` has
 * room for all names. Of folded rows only the number is known, the extremes, which the
 * first two tell, and the newest values, which the last ten tell; all else is NaN. */
size_t ct_metrics_row(const ct_metrics *m, ct_trial_id trial, size_t row,
                      ct_metric *out);

/* Statistics of one metric over all results of a trial. `avg` follows the reference:
 * (v + (step-1)*avg)/step, where step is the row's, or the number of the row when it has
 * none. Rows where the metric is missing are skipped (a reported NaN counts). */
typedef struct ct_metric_stats {
    double max, min, avg, last, last5, last10;
    size_t count;
} ct_metric_stats;
bool ct_metrics_stats(const ct_metrics *m, ct_trial_id trial, ct_name name,
                      ct_metric_stats *out);

/* What is left of a metric's folded rows. */
enum { CT_METRIC_NEWEST = 10 };
typedef struct ct_metric_fold {
    double count; /* rows that had it */
    double max, min, avg;
    double newest[CT_METRIC_NEWEST]; /* oldest first; as many as `count`, at most all */
} ct_metric_fold;
/* The newest values of a metric, oldest first, of all rows; returns how many. */
size_t ct_metrics_newest(const ct_metrics *m, ct_trial_id trial, ct_name name,
                         double out[CT_METRIC_NEWEST]);
/* Of the trial's i-th name. The trial has folded rows. */
const ct_metric_fold *ct_metrics_fold(const ct_metrics *m, ct_trial_id trial, size_t i);
/* Gives a trial without rows those that another store had folded. */
ct_status ct_metrics_put_folds(ct_metrics *m, ct_trial_id trial, size_t rows,
                               const ct_name *names, const ct_metric_fold *folds,
                               size_t count, ct_err *err);

/* Folds the rows of a trial that ended, or gives back their room to grow; never fails, and
 * changes no statistics. */
void ct_metrics_trim(ct_metrics *m, ct_trial_id trial);
size_t ct_metrics_bytes(const ct_metrics *m, size_t *history); /* all; history alone */

#endif
