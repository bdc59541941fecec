/* state.h: what the module owns: types, exceptions' sources and interned strings.
 *
 * One pyct_state per module object (multi-phase init). Everything here is visited, cleared
 * and freed by module.c. */
#ifndef CT_BINDING_STATE_H
#define CT_BINDING_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

/* A function in a slot table. ISO C has no conversion from function to void pointer; the
 * detour over an integer is what POSIX guarantees to work. */
#define PYCT_SLOT(function) ((void *)(uintptr_t)(function))
/* The same for a METH_FASTCALL function in a method table. */
#define PYCT_METHOD(function) ((PyCFunction)(void (*)(void))(function))

/* X(field, text): strings interned once. */
#define PYCT_STRING_LIST(X)                                                            \
    X(step, "step")                                                                    \
    X(train, "train")                                                                  \
    X(config, "config")                                                                \
    X(status, "status")                                                                \
    X(trial_id, "trial_id")                                                            \
    X(trial, "trial")                                                                  \
    X(trials, "trials")                                                                \
    X(iteration, "iteration")                                                          \
    X(result, "result")                                                                \
    X(checkpoint, "checkpoint")                                                        \
    X(error, "error")                                                                  \
    X(handle, "handle")                                                                \
    X(trainable, "trainable")                                                          \
    X(log_result, "log_result")                                                        \
    X(on_error, "on_error")                                                            \
    X(on_trial_add, "on_trial_add")                                                    \
    X(on_trial_error, "on_trial_error")                                                \
    X(on_trial_result, "on_trial_result")                                              \
    X(on_trial_complete, "on_trial_complete")                                          \
    X(on_trial_remove, "on_trial_remove")                                              \
    X(choose_trial_to_run, "choose_trial_to_run")                                      \
    X(suggest, "suggest")                                                              \
    X(set_max_concurrency, "set_max_concurrency")                                      \
    X(searcher, "searcher")                                                            \
    X(next_trial, "next_trial")                                                        \
    X(is_finished, "is_finished")                                                      \
    X(experiment_tag, "experiment_tag")                                                \
    X(evaluated_params, "evaluated_params")                                            \
    X(total_samples, "total_samples")                                                  \
    X(FINISHED, "FINISHED")                                                            \
    X(engine_form, "_engine_form")                                                     \
    X(basic_search, "_search")                                                         \
    X(stop_all, "stop_all")                                                            \
    X(get_trials, "get_trials")                                                        \
    X(get_live_trials, "get_live_trials")                                              \
    X(random, "random")                                                                \
    X(set_experiment_tag, "set_experiment_tag")                                        \
    X(set_config, "set_config")                                                        \
    X(pause_trial, "pause_trial")                                                      \
    X(schedule_trial_save, "_schedule_trial_save")                                     \
    X(run_metadata, "run_metadata")                                                    \
    X(checkpoint_manager, "checkpoint_manager")                                        \
    X(latest_checkpoint_result, "_latest_checkpoint_result")                           \
    X(describe_exploit, "_describe_exploit")                                           \
    X(is_saving, "is_saving")                                                          \
    X(should_checkpoint, "should_checkpoint")                                          \
    X(resolve, "resolve")                                                              \
    X(fill_config, "_fill_config")                                                     \
    X(note_turn, "_note_turn")                                                         \
    X(randrange, "randrange")                                                          \
    X(sample, "sample")                                                                \
    X(get_new_config, "_get_new_config")                                               \
    X(current_trainable, "ctune.current_trainable")                                    \
    X(metric, "metric")                                                                \
    X(mode, "mode")                                                                    \
    X(own_metric, "_metric")                                                           \
    X(anonymous_metric, "_metric")                                                     \
    X(supports_buffered_results, "supports_buffered_results")                          \
    X(own_supports_buffered_results, "_supports_buffered_results")                     \
    X(CONTINUE, "CONTINUE")                                                            \
    X(PAUSE, "PAUSE")                                                                  \
    X(STOP, "STOP")                                                                    \
    X(NOOP, "NOOP")                                                                    \
    X(PENDING, "PENDING")                                                              \
    X(RUNNING, "RUNNING")                                                              \
    X(PAUSED, "PAUSED")                                                                \
    X(TERMINATED, "TERMINATED")                                                        \
    X(ERROR, "ERROR")                                                                  \
    X(CPU, "CPU")                                                                      \
    X(GPU, "GPU")

/* X(field): heap types, made by the file of the same name. */
#define PYCT_TYPE_LIST(X)                                                              \
    X(trainable_type)                                                                  \
    X(command_type)                                                                    \
    X(event_type)                                                                      \
    X(connection_type)                                                                 \
    X(helper_type)                                                                     \
    X(lock_type)                                                                       \
    X(segment_type)                                                                    \
    X(segment_view_type)                                                               \
    X(scheduler_type)                                                                  \
    X(fifo_type)                                                                       \
    X(native_type)                                                                     \
    X(asha_type)                                                                       \
    X(hyperband_type)                                                                  \
    X(bohb_type)                                                                       \
    X(median_type)                                                                     \
    X(pbt_type)                                                                        \
    X(replay_type)                                                                     \
    X(searcher_type)                                                                   \
    X(limiter_type)                                                                    \
    X(stopper_type)                                                                    \
    X(stop_never_type)                                                                 \
    X(stop_iterations_type)                                                            \
    X(stop_timeout_type)                                                               \
    X(stop_function_type)                                                              \
    X(stop_trial_plateau_type)                                                         \
    X(stop_experiment_plateau_type)                                                    \
    X(stop_any_type)                                                                   \
    X(domain_type)                                                                     \
    X(variants_type)                                                                   \
    X(basic_type)                                                                      \
    X(simulation_type)                                                                 \
    X(driver_type)                                                                     \
    X(controller_type)                                                                 \
    X(trial_view_type)

/* X(field): other objects, NULL until first needed. */
#define PYCT_OBJECT_LIST(X)                                                            \
    X(tune_error)      /* ctune.error.TuneError */                                     \
    X(numpy_rand)      /* numpy.random.mtrand._rand */                                 \
    X(get_logger)      /* logging.getLogger */                                         \
    X(complete_names)  /* ("result", "error"): keywords of on_trial_complete */        \
    X(searcher_class)  /* ctune.search._searcher.Searcher */                           \
    X(generator_class) /* ctune.search.search_generator.SearchGenerator */             \
    X(basic_class)     /* ctune.search.basic_variant.BasicVariantGenerator */          \
    X(path_text)       /* helpers of ctune.search's modules, down to tag_label */      \
    X(log_bounds)                                                                      \
    X(eval_domain)                                                                     \
    X(spec_view)                                                                       \
    X(unresolved)                                                                      \
    X(recursive_error)                                                                 \
    X(call_function)                                                                   \
    X(space_warning)                                                                   \
    X(tag_label)                                                                       \
    X(json_text)       /* ctune._encode.json_text */                                   \
    X(dumps)           /* ctune._encode.dumps */                                       \
    X(dumps_config)    /* ctune._encode.dumps_config */                                \
    X(loads)           /* ctune._encode.loads */                                       \
    X(unflatten)       /* ctune.utils.util.unflatten_dict */                           \
    X(policy_states)   /* ctune._policies.PolicyStates */                              \
    X(amounts)         /* ctune._plan.request_amounts */                               \
    X(random)          /* the module */                                                \
    X(deepcopy)        /* copy.deepcopy */                                             \
    X(training_result) /* ctune._checkpoint.TrainingResult */

typedef struct pyct_guard pyct_guard; /* see guard.h */

typedef struct pyct_state {
    pyct_guard *guard;
    struct {
#define PYCT_STRING_FIELD(field, text) PyObject *field;
        PYCT_STRING_LIST(PYCT_STRING_FIELD)
#undef PYCT_STRING_FIELD
    } str;
#define PYCT_TYPE_FIELD(field) PyTypeObject *field;
    PYCT_TYPE_LIST(PYCT_TYPE_FIELD)
#undef PYCT_TYPE_FIELD
#define PYCT_OBJECT_FIELD(field) PyObject *field;
    PYCT_OBJECT_LIST(PYCT_OBJECT_FIELD)
#undef PYCT_OBJECT_FIELD
    struct pyct_names *names; /* of train() outside a run; NULL until needed */
    char hostname[256];       /* "" until needed */
    char node_ip[64];
} pyct_state;

extern PyModuleDef pyct_module;

/* The state behind a type of this module, also for Python subclasses. Never NULL. */
pyct_state *pyct_state_of(PyObject *self);
pyct_state *pyct_state_of_module(PyObject *module);

/* Adds a heap type made from spec to the module and stores it in *slot. 0 or -1. */
int pyct_add_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec,
                  PyTypeObject *base);

/* Borrowed attribute of a module of ours, imported at first use and kept in *slot. */
PyObject *pyct_lazy(PyObject **slot, const char *module, const char *attribute);

#endif
