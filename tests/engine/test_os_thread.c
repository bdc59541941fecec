/* Mutexes and threads. */
#include "support.h"

#include "os/thread.h"

#include <signal.h>

typedef struct tally {
    ct_mutex lock;
    int count;
    int blocked; /* whether SIGINT was blocked in the thread */
} tally;

static void *
add_many(void *arg)
{
    tally *t = arg;
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    for (int i = 0; i < 10000; i++) {
        ct_mutex_lock(&t->lock);
        t->count++;
        t->blocked = sigismember(&mask, SIGINT);
        ct_mutex_unlock(&t->lock);
    }
    return NULL;
}

static void
a_lock_keeps_threads_apart_and_signals_stay_outside(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    tally t = {.count = 0};
    ct_thread threads[4];
    assert_ok(ct_mutex_init(&t.lock, &err), err);
    for (int i = 0; i < 4; i++) {
        assert_ok(ct_thread_start(&threads[i], add_many, &t, &err), err);
    }
    for (int i = 0; i < 4; i++) {
        ct_thread_join(&threads[i]);
    }
    ct_mutex_deinit(&t.lock);
    assert_int_equal(t.count, 40000);
    assert_int_equal(t.blocked, 1);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGINT), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_keeps_threads_apart_and_signals_stay_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
