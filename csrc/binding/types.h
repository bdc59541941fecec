/* types.h: one function per file of this room that adds its types to the module. */
#ifndef CT_BINDING_TYPES_H
#define CT_BINDING_TYPES_H

#include "state.h"

int pyct_trainable_add(PyObject *module, pyct_state *state);
int pyct_messages_add(PyObject *module, pyct_state *state);
int pyct_checksum_add(PyObject *module, pyct_state *state);
int pyct_json_add(PyObject *module, pyct_state *state);
int pyct_connection_add(PyObject *module, pyct_state *state);
int pyct_helper_add(PyObject *module, pyct_state *state);
int pyct_lock_add(PyObject *module, pyct_state *state);
int pyct_segment_add(PyObject *module, pyct_state *state);
int pyct_repair_add(PyObject *module, pyct_state *state);
int pyct_scheduler_add(PyObject *module, pyct_state *state);
int pyct_native_add(PyObject *module, pyct_state *state);
int pyct_asha_add(PyObject *module, pyct_state *state);
int pyct_hyperband_add(PyObject *module, pyct_state *state);
int pyct_median_add(PyObject *module, pyct_state *state);
int pyct_pbt_add(PyObject *module, pyct_state *state);
int pyct_replay_add(PyObject *module, pyct_state *state);
int pyct_distribute_add(PyObject *module, pyct_state *state);
int pyct_stopper_add(PyObject *module, pyct_state *state);
int pyct_plateau_add(PyObject *module, pyct_state *state);
int pyct_searcher_add(PyObject *module, pyct_state *state);
int pyct_limiter_add(PyObject *module, pyct_state *state);
int pyct_space_add(PyObject *module, pyct_state *state);
int pyct_trial_add(PyObject *module, pyct_state *state);
int pyct_simulation_add(PyObject *module, pyct_state *state);
int pyct_controller_add(PyObject *module, pyct_state *state);
int pyct_driver_add(PyObject *module, pyct_state *state);

/* In the order in which module.c calls them. */
// clang-format off
#define PYCT_ADDERS \
    pyct_trainable_add, \
    pyct_messages_add, \
    pyct_checksum_add, \
    pyct_json_add, \
    pyct_connection_add, \
    pyct_helper_add, \
    pyct_lock_add, \
    pyct_segment_add, \
    pyct_repair_add, \
    pyct_scheduler_add, \
    pyct_native_add, \
    pyct_asha_add, \
    pyct_hyperband_add, \
    pyct_median_add, \
    pyct_pbt_add, \
    pyct_replay_add, \
    pyct_distribute_add, \
    pyct_stopper_add, \
    pyct_plateau_add, \
    pyct_searcher_add, \
    pyct_limiter_add, \
    pyct_space_add, \
    pyct_trial_add, \
    pyct_simulation_add, \
    pyct_controller_add, \
    pyct_driver_add
// clang-format on

#endif
