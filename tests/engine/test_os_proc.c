/* Processes: passing descriptors, what a spawned program gets, how ends are described. */
#include "support.h"

#include "os/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void
socket_pair(int fds[2])
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_socket_pair(fds, &err), err);
}

static void
a_descriptor_travels_with_its_byte(void **state)
{
    (void)state;
    int fds[2], pipe_fds[2];
    socket_pair(fds);
    assert_int_equal(pipe(pipe_fds), 0);
    size_t done;
    assert_int_equal(ct_fd_send(fds[0], "ab", 2, pipe_fds[1], &done), CT_IO_SOME);
    assert_int_equal(done, 2);
    char got[8];
    int passed = -1;
    assert_int_equal(ct_fd_receive(fds[1], got, sizeof got, &done, &passed),
                     CT_IO_SOME);
    assert_int_equal(done, 2);
    assert_true(passed >= 0);
    assert_int_equal(write(passed, "!", 1), 1);
    assert_int_equal(read(pipe_fds[0], got, 1), 1);
    assert_int_equal(got[0], '!');
    assert_int_equal(ct_fd_send(fds[0], "c", 1, -1, &done), CT_IO_SOME);
    assert_int_equal(ct_fd_receive(fds[1], got, 1, &done, &passed), CT_IO_SOME);
    assert_int_equal(passed, -1);
    close(passed);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    ct_fd_close(&fds[0]);
    ct_fd_close(&fds[0]); /* twice is fine */
    assert_int_equal(ct_fd_receive(fds[1], got, 1, &done, NULL), CT_IO_GONE);
    assert_int_equal(ct_fd_send(fds[1], "x", 1, -1, &done),
                     CT_IO_GONE); /* no SIGPIPE */
    ct_fd_close(&fds[1]);
}

static void
a_full_or_empty_socket_says_again(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int fds[2];
    socket_pair(fds);
    assert_ok(ct_fd_nonblock(fds[0], &err), err);
    char block[4096] = {0};
    size_t done;
    assert_int_equal(ct_fd_receive(fds[0], block, 1, &done, NULL), CT_IO_AGAIN);
    ct_io io = CT_IO_SOME;
    for (int i = 0; i < 100000 && io == CT_IO_SOME; i++) {
        io = ct_fd_send(fds[0], block, sizeof block, -1, &done);
    }
    assert_int_equal(io, CT_IO_AGAIN);
    ct_fd_close(&fds[0]);
    ct_fd_close(&fds[1]);
}

static int
wait_for(pid_t pid)
{
    int status = 0;
    while (!ct_proc_reap(pid, &status)) {
        usleep(1000);
    }
    return status;
}

static void
a_spawned_program_has_its_control_socket_its_variables_and_no_input(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int fds[2];
    socket_pair(fds);
    setenv("CT_TEST_KEPT", "kept", 1);
    setenv("CT_TEST_CHANGED", "old", 1);
    const char *argv[] = {"/bin/sh", "-c",
                          "read x; echo \"$CT_TEST_KEPT $CT_TEST_CHANGED $CT_TEST_NEW "
                          "$$ [$x]\" >&3; read y <&3; exit 7",
                          NULL};
    const char *env[] = {"CT_TEST_CHANGED=new", "CT_TEST_NEW=1", NULL};
    pid_t pid = 0;
    assert_ok(ct_proc_spawn(&pid, argv, env, fds[1], &err), err);
    ct_fd_close(&fds[1]);
    char got[256] = {0};
    size_t at = 0, done;
    while (strchr(got, '\n') == NULL &&
           ct_fd_receive(fds[0], got + at, sizeof got - 1 - at, &done, NULL) ==
               CT_IO_SOME) {
        at += done;
    }
    char want[256];
    snprintf(want, sizeof want, "kept new 1 %d []\n", (int)pid);
    assert_string_equal(got, want);
    assert_int_equal(getsid(pid), pid);
    assert_int_equal(ct_fd_send(fds[0], "go\n", 3, -1, &done), CT_IO_SOME);
    assert_int_equal(ct_proc_code(wait_for(pid)), -7);
    ct_fd_close(&fds[0]);
}

static void
a_program_that_does_not_exist_is_an_error_that_names_it(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int fds[2];
    socket_pair(fds);
    const char *argv[] = {"/nowhere/python", NULL};
    pid_t pid = 0;
    assert_int_equal(ct_proc_spawn(&pid, argv, NULL, fds[1], &err), CT_EIO);
    assert_string_equal(err.param, "/nowhere/python");
    assert_int_equal(err.os_errno, ENOENT);
    ct_fd_close(&fds[0]);
    ct_fd_close(&fds[1]);
}

static void
ends_are_described_by_signal_or_exit_code(void **state)
{
    (void)state;
    char text[64];
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        _exit(0);
    }
    int32_t code = ct_proc_code(wait_for(pid));
    ct_proc_describe(code, text, sizeof text);
    assert_string_equal(text, "was killed by signal 11 (SIGSEGV)");
    ct_proc_describe(-3, text, sizeof text);
    assert_string_equal(text, "exited with code 3");
    ct_proc_describe(63, text, sizeof text);
    assert_non_null(strstr(text, "signal 63"));
}

static void
killing_a_group_reaches_grandchildren(void **state)
{
    (void)state;
    int fds[2];
    socket_pair(fds);
    pid_t pid = fork();
    if (pid == 0) {
        (void)ct_proc_worker_setup(getppid());
        if (fork() != 0) {
            pause();
        }
        (void)!write(fds[1], "x", 1); /* the grandchild lives */
        pause();
    }
    ct_proc_lead_group(pid);
    ct_fd_close(&fds[1]);
    char c;
    size_t done;
    assert_int_equal(ct_fd_receive(fds[0], &c, 1, &done, NULL), CT_IO_SOME);
    ct_proc_kill_group(pid);
    assert_int_equal(ct_proc_code(wait_for(pid)), SIGKILL);
    /* Ends only when the grandchild is gone too. */
    assert_int_equal(ct_fd_receive(fds[0], &c, 1, &done, NULL), CT_IO_GONE);
    ct_fd_close(&fds[0]);
}

static bool
is_known(void *ctx, pid_t pid)
{
    return *(pid_t *)ctx == pid;
}

static void
strays_are_the_children_that_nobody_claims(void **state)
{
    (void)state;
    pid_t known = fork();
    if (known == 0) {
        pause();
        _exit(0);
    }
    pid_t stray = fork();
    if (stray == 0) {
        pause();
        _exit(0);
    }
    ct_proc_kill_strays(is_known, &known);
    assert_int_equal(ct_proc_code(wait_for(stray)), SIGKILL);
    int status;
    assert_false(ct_proc_reap(known, &status));
    assert_true(ct_proc_has_children());
    ct_proc_kill(known);
    assert_int_equal(ct_proc_code(wait_for(known)), SIGKILL);
    assert_false(ct_proc_has_children());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_travels_with_its_byte),
        cmocka_unit_test(a_full_or_empty_socket_says_again),
        cmocka_unit_test(
            a_spawned_program_has_its_control_socket_its_variables_and_no_input),
        cmocka_unit_test(a_program_that_does_not_exist_is_an_error_that_names_it),
        cmocka_unit_test(ends_are_described_by_signal_or_exit_code),
        cmocka_unit_test(killing_a_group_reaches_grandchildren),
        cmocka_unit_test(strays_are_the_children_that_nobody_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
