/* trial.h: TrialView: one trial of a run, read-only. */
#ifndef CT_BINDING_TRIAL_H
#define CT_BINDING_TRIAL_H

#include "state.h"

#include "base/ids.h"

/* driver: a _ctune.Driver, kept alive by the view. New reference or NULL. */
PyObject *pyct_trial_view_new(pyct_state *state, PyObject *driver, ct_trial_id t);
ct_trial_id pyct_trial_view_number(PyObject *view);
/* The trial's config dict: made once, the same object each time. Borrowed or NULL. */
PyObject *pyct_trial_view_config(PyObject *view);

#endif
