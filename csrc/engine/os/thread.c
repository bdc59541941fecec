/* thread.c: see thread.h. POSIX threads. */
#include "os/thread.h"

#include <signal.h>
#include <stdlib.h>

/* These calls fail only when an object is used that was never made, or not by its owner. */
static void
must(int failed)
{
    if (failed != 0) {
        abort();
    }
}

ct_status
ct_mutex_init(ct_mutex *m, ct_err *err)
{
    int failed = pthread_mutex_init(&m->os, NULL);
    return failed == 0 ? CT_OK : ct_fail_os(err, failed, "mutex", "cannot make a lock");
}

void
ct_mutex_deinit(ct_mutex *m)
{
    must(pthread_mutex_destroy(&m->os));
}

void
ct_mutex_lock(ct_mutex *m)
{
    must(pthread_mutex_lock(&m->os));
}

void
ct_mutex_unlock(ct_mutex *m)
{
    must(pthread_mutex_unlock(&m->os));
}

ct_status
ct_thread_start(ct_thread *t, void *(*body)(void *), void *arg, ct_err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &old));
    int failed = pthread_create(&t->os, NULL, body, arg);
    must(pthread_sigmask(SIG_SETMASK, &old, NULL));
    return failed == 0 ? CT_OK
                       : ct_fail_os(err, failed, "thread",
                                    "cannot start a thread; raise `ulimit -u`");
}

void
ct_thread_join(ct_thread *t)
{
    must(pthread_join(t->os, NULL));
}
