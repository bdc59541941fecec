/* thread.h: mutexes and threads, as thin as they come. Errors of the system other than a
 * lack of resources are mistakes of ours and end the process. */
#ifndef CT_OS_THREAD_H
#define CT_OS_THREAD_H

#include "base/status.h"

#include <pthread.h>

typedef struct ct_mutex {
    pthread_mutex_t os;
} ct_mutex;

ct_status ct_mutex_init(ct_mutex *m, ct_err *err);
void ct_mutex_deinit(ct_mutex *m);
void ct_mutex_lock(ct_mutex *m);
void ct_mutex_unlock(ct_mutex *m);

typedef struct ct_thread {
    pthread_t os;
} ct_thread;

/* Runs body(arg) in a new thread, with all signals blocked: they belong to the threads
 * that the program had before. */
ct_status ct_thread_start(ct_thread *t, void *(*body)(void *), void *arg, ct_err *err);
void ct_thread_join(ct_thread *t);

#endif
