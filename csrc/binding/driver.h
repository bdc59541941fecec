/* driver.h: what other files of this room need of a run. */
#ifndef CT_BINDING_DRIVER_H
#define CT_BINDING_DRIVER_H

#include "convert.h"

#include "policy/answers.h"
#include "policy/policy.h"

/* The run's name table; lives as long as the driver. Borrowed. */
pyct_names *pyct_driver_names(PyObject *driver);
/* Where draws of a shared stream are recorded; NULL when the run has no journal. */
ct_answers *pyct_driver_answers(PyObject *driver);
/* The Trial object of a trial, made at first need and kept. New reference or NULL. */
PyObject *pyct_driver_trial(PyObject *driver, ct_trial_id t);
/* All Trial objects in table order: the driver's own list, kept up to date; do not change
 * it. New reference or NULL. */
PyObject *pyct_driver_trials(PyObject *driver);
/* The number behind a Trial object of this run (or a text id). -1 with an exception. */
int pyct_driver_trial_number(PyObject *driver, PyObject *trial, ct_trial_id *out);
/* Tells the run of an object with a state that a snapshot needs and only Python can save;
 * `lent`: but for what the engine of a scheduler knows. -1 with an exception. */
int pyct_driver_keep_state(PyObject *driver, PyObject *policy, bool lent);
/* What Python schedulers get as controller. New reference or NULL. */
PyObject *pyct_driver_controller(PyObject *driver);
/* The run whose controller it is; false for any other object. All borrowed; *orders is NULL
 * when the scheduler is not being asked. */
bool pyct_controller_run(pyct_state *state, PyObject *controller, PyObject **driver,
                         const ct_board **board, ct_orders **orders);
/* Where stop_trial and pause_trial of the controller put their orders; NULL = refuse. */
void pyct_driver_collect(PyObject *driver, ct_orders *orders);
/* Orders other resources for a trial: dict name -> amount. -1 with an exception. */
int pyct_driver_resize(PyObject *driver, ct_trial_id t, PyObject *amounts);
/* The result as a dict (config included), nested or flat. New reference or NULL. */
PyObject *pyct_driver_result_dict(PyObject *driver, const ct_result *r, ct_trial_id t,
                                  int flat);

#endif
