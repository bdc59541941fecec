/* keys.h: names that the engine itself speaks of. A table that begins with ct_keys_intern
 * gives them the numbers below, so that hot code compares constants. */
#ifndef CT_BASE_KEYS_H
#define CT_BASE_KEYS_H

#include "base/name.h"

/* X(constant, text): the automatic keys of a result, in the documented words. */
#define CT_KEY_LIST(X)                                                                 \
    X(DONE, "done")                                                                    \
    X(TRAINING_ITERATION, "training_iteration")                                        \
    X(TRIAL_ID, "trial_id")                                                            \
    X(DATE, "date")                                                                    \
    X(TIMESTAMP, "timestamp")                                                          \
    X(TIME_THIS_ITER_S, "time_this_iter_s")                                            \
    X(TIME_TOTAL_S, "time_total_s")                                                    \
    X(PID, "pid")                                                                      \
    X(HOSTNAME, "hostname")                                                            \
    X(NODE_IP, "node_ip")                                                              \
    X(CONFIG, "config")                                                                \
    X(TIME_SINCE_RESTORE, "time_since_restore")                                        \
    X(ITERATIONS_SINCE_RESTORE, "iterations_since_restore")                            \
    X(TIMESTEPS_TOTAL, "timesteps_total")                                              \
    X(TIMESTEPS_THIS_ITER, "timesteps_this_iter")                                      \
    X(TIMESTEPS_SINCE_RESTORE, "timesteps_since_restore")                              \
    X(EPISODES_TOTAL, "episodes_total")                                                \
    X(EPISODES_THIS_ITER, "episodes_this_iter")                                        \
    X(CHECKPOINT_DIR_NAME, "checkpoint_dir_name")                                      \
    X(SHOULD_CHECKPOINT, "should_checkpoint")                                          \
    X(DUPLICATE, "__duplicate__")                                                      \
    X(EXPERIMENT_TAG, "experiment_tag")                                                \
    X(ANONYMOUS_METRIC, "_metric")                                                     \
    X(CPU, "CPU")                                                                      \
    X(GPU, "GPU")

typedef enum ct_key {
#define CT_KEY_ENUM(constant, text) CT_KEY_##constant,
    CT_KEY_LIST(CT_KEY_ENUM)
#undef CT_KEY_ENUM
        CT_KEY_COUNT /* at most 64: autofill keeps a set of them in one word */
} ct_key;

/* Interns all keys. The table must be new and empty. */
ct_status ct_keys_intern(ct_names *names, ct_err *err);

#endif
