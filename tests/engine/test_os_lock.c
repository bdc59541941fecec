/* Locks: one holder, named to the others, forgotten by its death. */
#include "support.h"

#include "os/lock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static char path[96];

static int
make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/ctune-test-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/lock", folder);
    return 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    return ct_dir_remove_tree(folder, NULL) == CT_OK ? 0 : -1;
}

static size_t
size_of_lock(void)
{
    ct_buf b = CT_BUF_INIT;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_file_read_all(path, &b, &err), err);
    size_t n = b.len;
    ct_buf_deinit(&b);
    return n;
}

static void
test_a_second_lock_of_the_same_process_is_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_file first = CT_FILE_INIT;
    ct_file second = CT_FILE_INIT;
    char pid[48];
    assert_ok(ct_lock_take(&first, path, &err), err);
    assert_int_equal(ct_lock_take(&second, path, &err), CT_ESTATE);
    (void)snprintf(pid, sizeof pid, "process %ld on ", (long)getpid());
    assert_non_null(strstr(err.text, pid));
    assert_non_null(strstr(err.text, " since 2"));
    /* The refused one has closed the file: that must not have freed it. */
    assert_int_equal(ct_lock_take(&second, path, &err), CT_ESTATE);
    ct_lock_release(&first);
    assert_int_equal(size_of_lock(), 0);
    assert_ok(ct_lock_take(&second, path, &err), err);
    ct_lock_release(&second);
    ct_lock_release(&second); /* nothing to do */
}

/* A child that holds the lock until it is killed; it has told so when this returns. What it
 * forks keeps the descriptor for so long. */
static pid_t
holder(unsigned forked_us)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        ct_file f = CT_FILE_INIT;
        bool got = ct_lock_take(&f, path, NULL) == CT_OK;
        if (forked_us > 0 && fork() == 0) {
            usleep(forked_us);
            _exit(0);
        }
        if (write(ready[1], got ? "y" : "n", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    close(ready[0]);
    return pid;
}

static void
test_what_a_killed_holder_left_is_taken_over(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_file f = CT_FILE_INIT;
    char name[48];
    pid_t pid = holder(0);
    (void)snprintf(name, sizeof name, "process %ld on ", (long)pid);
    assert_int_equal(ct_lock_take(&f, path, &err), CT_ESTATE);
    assert_non_null(strstr(err.text, name));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(size_of_lock() > 0); /* it had no time to clean up */
    assert_ok(ct_lock_take(&f, path, &err), err);
    ct_lock_release(&f);
}

static void
test_what_a_killed_holder_forked_has_time_to_close_its_descriptor(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_file f = CT_FILE_INIT;
    pid_t pid = holder(100 * 1000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_ok(ct_lock_take(&f, path, &err), err);
    ct_lock_release(&f);
}

static void
test_text_that_is_none_is_not_shown(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_file f = CT_FILE_INIT;
    ct_file second = CT_FILE_INIT;
    ct_file text = CT_FILE_INIT;
    assert_ok(ct_lock_take(&f, path, &err), err);
    assert_ok(ct_file_truncate(path, 0, &err), err);
    assert_int_equal(ct_lock_take(&second, path, &err), CT_ESTATE);
    assert_non_null(strstr(err.text, "locked by another process"));
    assert_ok(ct_file_open_append(&text, path, &err), err);
    assert_ok(ct_file_append(&text, "who\x1b[2J\xff", 8, &err), err);
    assert_int_equal(ct_lock_take(&second, path, &err), CT_ESTATE);
    assert_non_null(strstr(err.text, "locked by who,"));
    ct_file_close(&text);
    ct_lock_release(&f);
}

static void
test_a_missing_folder_is_an_error(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_file f = CT_FILE_INIT;
    assert_int_equal(ct_lock_take(&f, "/nowhere/lock", &err), CT_EIO);
    assert_int_equal(f.fd, -1);
}

static ct_status
take_and_release(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_file f = CT_FILE_INIT;
    ct_status st = ct_lock_take(&f, path, err);
    ct_lock_release(&f);
    return st;
}

static void
test_every_failed_allocation_is_reported_without_leak(void **state)
{
    (void)state;
    sweep_allocations(take_and_release, NULL);
}

#define IN_FOLDER(test)                                                                \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_a_second_lock_of_the_same_process_is_refused),
        IN_FOLDER(test_what_a_killed_holder_left_is_taken_over),
        IN_FOLDER(test_what_a_killed_holder_forked_has_time_to_close_its_descriptor),
        IN_FOLDER(test_text_that_is_none_is_not_shown),
        IN_FOLDER(test_a_missing_folder_is_an_error),
        IN_FOLDER(test_every_failed_allocation_is_reported_without_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
