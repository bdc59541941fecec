/* autofill.h: the automatic keys of a result (training_iteration, time_total_s, …).
 *
 * Where a trainable runs, its worker keeps a ct_progress and completes each record that
 * the user's step() returned. What the user reports under an automatic key counts as
 * docs/differences and the documentation of Ray Tune say: training_iteration, timestamp,
 * time_this_iter_s and the totals of timesteps and episodes are the user's if given. */
#ifndef CT_FLOW_AUTOFILL_H
#define CT_FLOW_AUTOFILL_H

#include "base/keys.h"
#include "base/record.h"

/* A sum that stays an integer while only integers are added. */
typedef struct ct_count {
    bool known; /* false = never reported */
    bool real;
    int64_t i;
    double f;
} ct_count;

typedef struct ct_progress {
    int64_t iteration;
    int64_t iterations_since_restore;
    double time_total;
    double time_since_restore;
    ct_count timesteps;
    ct_count timesteps_since_restore;
    ct_count episodes;
} ct_progress;

/* Who reports. Texts are borrowed. */
typedef struct ct_reporter {
    const char *trial_id;
    const char *hostname;
    const char *node_ip;
    int64_t pid;
    int64_t date_second; /* the second that `date` spells; cache */
    char date[24];       /* "2026-11-23_21-02-12", local time */
} ct_reporter;

/* Completes the user's record r of one step that took `elapsed` seconds and ended at `now`
 * (seconds since the epoch), and counts it in p. The names of r begin with keys.h. */
ct_status ct_autofill(ct_record *r, ct_progress *p, ct_reporter *who, double elapsed,
                      double now, ct_err *err);
void ct_progress_restored(ct_progress *p); /* *_since_restore start again at 0 */

#endif
