/* duck.h: what schedulers do to trials outside a run, where any object may be a trial or a
 * controller. -1 or NULL with an exception. */
#ifndef CT_BINDING_DUCK_H
#define CT_BINDING_DUCK_H

#include "state.h"

/* Drops what a method returned: 0, or -1 when that was NULL. */
int pyct_call_done(PyObject *returned);
/* controller._schedule_trial_save(trial, result=result): a checkpoint, a future of one, or
 * None. New reference. */
PyObject *pyct_duck_save(pyct_state *state, PyObject *controller, PyObject *trial,
                         PyObject *result);
/* controller.pause_trial(trial, should_checkpoint=False) */
int pyct_duck_pause(pyct_state *state, PyObject *controller, PyObject *trial);
/* The trial's next start is from the checkpoint, which belongs to the result `metrics`. */
int pyct_duck_set_checkpoint(pyct_state *state, PyObject *trial, PyObject *checkpoint,
                             PyObject *metrics);
/* `latest` as the trial's latest checkpoint and result. */
int pyct_duck_set_latest(pyct_state *state, PyObject *trial, PyObject *latest);

#endif
