/* driver_int.h: the driver's struct, for driver.c, trial.c and controller.c. */
#ifndef CT_BINDING_DRIVER_INT_H
#define CT_BINDING_DRIVER_INT_H

#include "driver.h"

#include "drive/drive.h"
#include "drive/watchdog.h"
#include "policy/recorded.h"

#include <stdatomic.h>

/* Where an inline trial runs. */
typedef struct pyct_seat {
    PyObject *host;      /* TrialHost */
    PyObject *trainable; /* its trainable: stepped without a detour over the host */
} pyct_seat;

typedef struct pyct_driver {
    PyObject_HEAD
    pyct_state *state;
    pyct_names *names;
    ct_clock clock;
    ct_virtual_clock virtual; /* of a simulation */
    bool simulated;

    /* What the caller gave; strong. */
    PyObject *scheduler;
    PyObject *searcher;
    PyObject *stopper;
    PyObject *executor;
    PyObject *trial_factory;
    PyObject *host_factory;
    PyObject *request_hook;
    PyObject *name_hook;
    PyObject *dirname_hook;
    PyObject *heartbeat;
    PyObject *stands_still;         /* told why nothing runs */
    PyObject *no_snapshot;          /* told why one failed */
    PyObject *hooks[CT_NOTE_COUNT]; /* tuple of callables, or NULL */
    PyObject *step_begin;           /* likewise */
    PyObject *step_end;
    PyObject *checkpoint_factory;
    PyObject *stateful; /* list: see pyct_driver_keep_state */
    PyObject *states;   /* PolicyStates of these; NULL = there are none */

    /* What the run makes. */
    PyObject *views;      /* list: TrialView or None, by trial */
    PyObject *trials;     /* list: Trial or None, by trial */
    PyObject *shown;      /* list of Trial for callbacks, which may reorder it */
    size_t made;          /* so many trials are shown */
    PyObject *controller; /* or NULL */
    PyObject *event;      /* the last inline Event: what ct_event borrows from */
    PyObject *exception;  /* of the last failed inline trial, or NULL */
    PyObject *failure;    /* text and pickled exception of the last one, or NULL */
    ct_orders *orders;    /* see pyct_driver_collect */
    pyct_seat *seats;
    size_t n_seats;
    ct_record record;   /* of the inline step */
    PyObject *settings; /* str, JSON: what the run is told it is; or NULL */
    bool went_on;       /* from a journal: the first turn may replace trials */
    bool write_params;
    bool running;
    bool holds_gil; /* during turns: some policy or step hook is Python */
    double heartbeat_s;
    double next_beat;
    double first_beat, beats_took; /* seconds */
    ct_watchdog watchdog;
    ct_buf why; /* nothing runs */
    uint64_t iteration;
    _Atomic(uint64_t)
        turn; /* under way, from 1; 0: the executor waits, or a trial works */

    ct_answers answers; /* of foreign policies and hooks, on their way to the journal */
    ct_recorded_hooks recorded_hooks;
    bool records;
    ct_scheduler *policy_scheduler; /* owned: adapters */
    ct_searcher *policy_searcher;
    ct_stopper *policy_stopper;
    ct_exec *exec;
    ct_journal *journal;
    ct_output *output;
    ct_control *control;
    ct_drive *drive;
} pyct_driver;

const ct_board *pyct_driver_board(pyct_driver *self);

#endif
