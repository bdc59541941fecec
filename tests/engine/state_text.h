/* state_text.h: what a controller knows, as text, whatever numbers its names have. */
#ifndef CT_TESTS_STATE_TEXT_H
#define CT_TESTS_STATE_TEXT_H

#include "support.h"

#include "base/json.h"
#include "control/control.h"

static inline void
put_ref_text(ct_buf *out, const char *what, ct_checkpoint_ref ref)
{
    assert_int_equal(ct_buf_printf(out, NULL, " %s=%d/%u", what, (int)ref.trial,
                                   ref.trial == CT_TRIAL_NONE ? 0 : ref.index),
                     CT_OK);
}

static inline void
put_json_text(ct_buf *out, const char *what, const ct_value *v, const ct_names *names)
{
    assert_int_equal(ct_buf_printf(out, NULL, " %s=", what), CT_OK);
    assert_int_equal(ct_json_print(out, v, names, CT_JSON_SORTED, NULL), CT_OK);
}

static inline void
put_metrics_text(ct_buf *out, const ct_board *b, ct_trial_id t)
{
    const ct_name *names;
    size_t n = ct_metrics_names(b->metrics, t, &names);
    for (size_t i = 0; i < n; i++) {
        ct_metric_stats s;
        assert_true(ct_metrics_stats(b->metrics, t, names[i], &s));
        assert_int_equal(ct_buf_printf(out, NULL, " %s:%zu,%a,%a,%a",
                                       ct_names_text(b->names, names[i]), s.count,
                                       s.last, s.avg, s.max),
                         CT_OK);
    }
}

static inline void
put_trial_text(ct_buf *out, const ct_board *b, ct_trial_id t)
{
    const ct_trial *trial = ct_trials_get(b->trials, t);
    assert_int_equal(
        ct_buf_printf(out, NULL,
                      "%s tag=%s name=%s dir=%s %s end=%d results=%u failures=%u "
                      "told=%u made=%u revision=%u start=%a last=%a error=%s "
                      "replaced=%d offering=%d",
                      trial->id, trial->tag, trial->name, trial->dir,
                      ct_trial_status_name((ct_trial_status)trial->status), trial->end,
                      trial->results, trial->failures, trial->told,
                      trial->checkpoints_made, trial->revision, trial->start_time,
                      trial->last_result_time, trial->error_file, trial->replaced,
                      trial->offering),
        CT_OK);
    put_json_text(out, "config", &trial->config, b->names);
    put_json_text(out, "evaluated", &trial->evaluated, b->names);
    put_json_text(out, "request",
                  ct_resources_request_value(b->resources, trial->request), b->names);
    put_ref_text(out, "from", trial->from);
    put_ref_text(out, "offered", trial->offered);
    for (uint32_t i = 0; i < trial->checkpoint_count; i++) {
        const ct_checkpoint *k = &trial->checkpoints[i];
        assert_int_equal(ct_buf_printf(out, NULL, " [%s %u %a pins=%u bad=%d %u]",
                                       k->path, k->index, k->time, k->pins, k->bad,
                                       k->metrics_len),
                         CT_OK);
    }
    put_metrics_text(out, b, t);
    assert_int_equal(ct_buf_puts(out, "\n", NULL), CT_OK);
}

/* Trials by status and in the table's order. */
static inline void
put_state_text(ct_buf *out, const ct_control *c)
{
    const ct_board *b = ct_control_board(c);
    for (int s = 0; s < CT_TRIAL_STATUS_COUNT; s++) {
        for (ct_trial_id t = ct_trials_first(b->trials, (ct_trial_status)s);
             t != CT_TRIAL_NONE; t = ct_trials_next(b->trials, t)) {
            put_trial_text(out, b, t);
        }
    }
    assert_int_equal(ct_buf_printf(out, NULL, "open=%zu done=%d now=%a",
                                   ct_control_open(c), ct_control_done(c), b->now),
                     CT_OK);
}

#endif
