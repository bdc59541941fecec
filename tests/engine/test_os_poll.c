/* The poller: readiness, wake-up, removal while results are fetched, signals. */
#include "support.h"

#include "os/poll.h"

#include <signal.h>
#include <unistd.h>

static ct_poller *
new_poller(void)
{
    ct_err err = CT_ERR_INIT;
    ct_poller *p = NULL;
    assert_ok(ct_poller_new(&p, &err), err);
    return p;
}

static void
a_descriptor_with_bytes_is_reported_until_it_is_read(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_poller *p = new_poller();
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_ok(ct_poller_add(p, fds[0], 7, &err), err);
    ct_ready r;
    assert_ok(ct_poller_wait(p, 0, &err), err);
    assert_false(ct_poller_next(p, &r));
    assert_int_equal(write(fds[1], "x", 1), 1);
    for (int i = 0; i < 2; i++) {
        assert_ok(ct_poller_wait(p, -1, &err), err);
        assert_true(ct_poller_next(p, &r));
        assert_int_equal(r.tag, 7);
        assert_true(r.readable);
        assert_false(r.writable);
        assert_false(ct_poller_next(p, &r));
    }
    char c;
    assert_int_equal(read(fds[0], &c, 1), 1);
    assert_ok(ct_poller_wait(p, 0, &err), err);
    assert_false(ct_poller_next(p, &r));
    close(fds[1]); /* end of file is something to read */
    assert_ok(ct_poller_wait(p, -1, &err), err);
    assert_true(ct_poller_next(p, &r));
    assert_true(r.readable);
    ct_poller_free(p);
    close(fds[0]);
}

static void
writability_is_reported_only_when_wanted(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_poller *p = new_poller();
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_ok(ct_poller_add(p, fds[1], 3, &err), err);
    ct_ready r;
    assert_ok(ct_poller_wait(p, 0, &err), err);
    assert_false(ct_poller_next(p, &r));
    ct_poller_want_write(p, fds[1], true);
    assert_ok(ct_poller_wait(p, -1, &err), err);
    assert_true(ct_poller_next(p, &r));
    assert_true(r.writable);
    ct_poller_want_write(p, fds[1], false);
    assert_ok(ct_poller_wait(p, 0, &err), err);
    assert_false(ct_poller_next(p, &r));
    ct_poller_free(p);
    close(fds[0]);
    close(fds[1]);
}

static void
a_removed_descriptor_is_not_reported_and_hides_no_other(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_poller *p = new_poller();
    int fds[3][2];
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(pipe(fds[i]), 0);
        assert_int_equal(write(fds[i][1], "x", 1), 1);
        assert_ok(ct_poller_add(p, fds[i][0], i, &err), err);
    }
    assert_ok(ct_poller_wait(p, -1, &err), err);
    ct_ready r;
    assert_true(ct_poller_next(p, &r));
    assert_int_equal(r.tag, 0);
    ct_poller_remove(p, fds[0][0]);
    ct_poller_remove(p, fds[1][0]);
    ct_poller_remove(p, fds[1][0]); /* twice is fine */
    while (ct_poller_next(p, &r)) {
        assert_int_equal(r.tag, 2);
    }
    assert_ok(ct_poller_wait(p, -1, &err), err);
    assert_true(ct_poller_next(p, &r));
    assert_int_equal(r.tag, 2);
    assert_false(ct_poller_next(p, &r));
    ct_poller_free(p);
    for (int i = 0; i < 3; i++) {
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

static void
wake_ends_one_wait_however_often_it_was_called(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_poller *p = new_poller();
    for (int i = 0; i < 100000; i++) { /* more than the pipe holds */
        ct_poller_wake(p);
    }
    assert_ok(ct_poller_wait(p, -1, &err), err);
    ct_ready r;
    assert_false(ct_poller_next(p, &r));
    ct_poller_wake(p);
    assert_ok(ct_poller_wait(p, -1, &err), err);
    ct_poller_free(p);
}

static void
on_alarm(int sig)
{
    (void)sig;
}

static void
a_signal_ends_the_wait_without_an_error(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_poller *p = new_poller();
    struct sigaction sa = {.sa_handler = on_alarm}, old;
    sigaction(SIGALRM, &sa, &old);
    ualarm(20000, 20000); /* again and again: one could come before the wait */
    assert_ok(ct_poller_wait(p, -1, &err), err);
    ualarm(0, 0);
    sigaction(SIGALRM, &old, NULL);
    ct_poller_free(p);
}

static ct_status
poller_attempt(void *ctx, ct_err *err)
{
    const int *fds = ctx;
    ct_poller *p = NULL;
    ct_status st = ct_poller_new(&p, err);
    if (st == CT_OK) {
        st = ct_poller_add(p, fds[0], 1, err);
    }
    ct_poller_free(p);
    return st;
}

static void
every_failed_allocation_is_a_clean_error(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    sweep_allocations(poller_attempt, fds);
    close(fds[0]);
    close(fds[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_with_bytes_is_reported_until_it_is_read),
        cmocka_unit_test(writability_is_reported_only_when_wanted),
        cmocka_unit_test(a_removed_descriptor_is_not_reported_and_hides_no_other),
        cmocka_unit_test(wake_ends_one_wait_however_often_it_was_called),
        cmocka_unit_test(a_signal_ends_the_wait_without_an_error),
        cmocka_unit_test(every_failed_allocation_is_a_clean_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
