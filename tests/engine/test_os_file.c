/* Files: appends are whole or nothing, replacing is atomic. */
#include "folder.h"
#include "support.h"

#include "os/file.h"
#include "os/realclock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
assert_content(const char *path, const char *expected)
{
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_file_read_all(path, &b, &err), err);
    assert_int_equal(b.len, strlen(expected));
    assert_memory_equal(b.data, expected, b.len);
    ct_buf_deinit(&b);
}

static void
test_appends_add_to_what_is_there(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    for (int i = 0; i < 2; i++) {
        ct_file f = CT_FILE_INIT;
        uint64_t size = 0;
        assert_ok(ct_file_open_append(&f, in_folder("a"), &err), err);
        assert_ok(ct_file_append(&f, "line\n", 5, &err), err);
        assert_ok(ct_file_sync(&f, &err), err);
        assert_ok(ct_file_size(&f, &size, &err), err);
        assert_int_equal(size, 5 * (i + 1));
        ct_file_close(&f);
        ct_file_close(&f);
    }
    assert_content(in_folder("a"), "line\nline\n");
}

static void
test_a_new_file_must_not_exist(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_file f = CT_FILE_INIT;
    assert_ok(ct_file_open_new(&f, in_folder("n"), &err), err);
    ct_file_close(&f);
    assert_int_equal(ct_file_open_new(&f, in_folder("n"), &err), CT_ESTATE);
    assert_int_equal(f.fd, -1);
}

/* The limit on file sizes stands for a full disk: a write is cut short, the next
 * fails. */
static void
test_a_write_that_does_not_fit_leaves_no_part_of_itself(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        ct_err err = CT_ERR_INIT;
        ct_file f = CT_FILE_INIT;
        struct rlimit limit = {12, 12};
        int ok = ct_file_open_append(&f, in_folder("full"), &err) == CT_OK;
        (void)signal(SIGXFSZ, SIG_IGN);
        ok = ok && setrlimit(RLIMIT_FSIZE, &limit) == 0;
        ok = ok && ct_file_append(&f, "12345678\n", 9, &err) == CT_OK;
        ok = ok && ct_file_append(&f, "abcdefgh\n", 9, &err) == CT_EIO;
        ok = ok && err.os_errno != 0 && strstr(err.param, "full") != NULL;
        ok = ok && ct_file_append(&f, "ab\n", 3, &err) == CT_OK;
        _exit(ok ? 0 : 1);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_content(in_folder("full"), "12345678\nab\n");
}

static void
test_replacing_leaves_no_other_file_behind(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_file_replace(in_folder("r"), "old", 3, false, &err), err);
    assert_ok(ct_file_replace(in_folder("r"), "newer", 5, true, &err), err);
    assert_content(in_folder("r"), "newer");
    assert_false(ct_file_exists(in_folder(".tmp-r")));
    assert_ok(ct_file_truncate(in_folder("r"), 3, &err), err);
    assert_content(in_folder("r"), "new");
    assert_int_equal(ct_file_replace(in_folder("no/r"), "x", 1, false, &err), CT_EIO);
}

static void
test_a_failed_replacement_keeps_the_old_file(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_dir_make(in_folder("d/inside"), NULL, &err), err);
    assert_int_equal(ct_file_replace(in_folder("d"), "x", 1, false, &err), CT_EIO);
    assert_true(ct_file_exists(in_folder("d/inside")));
    assert_false(ct_file_exists(in_folder(".tmp-d")));
}

static void
test_missing_files_are_told_apart_from_unreadable_ones(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_int_equal(ct_file_read_all(in_folder("none"), &b, &err), CT_ENOTFOUND);
    assert_int_equal(ct_file_read_all(folder, &b, &err), CT_EIO);
    assert_ok(ct_file_remove(in_folder("none"), &err), err);
    assert_ok(ct_dir_remove_tree(in_folder("none"), &err), err);
    ct_buf_deinit(&b);
}

static void
test_folders_are_made_with_their_parents_and_told_when_new(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    bool made = false;
    assert_ok(ct_dir_make(in_folder("x/y/z"), &made, &err), err);
    assert_true(made);
    assert_ok(ct_dir_make(in_folder("x/y/z"), &made, &err), err);
    assert_false(made);
    assert_ok(ct_dir_make(in_folder("x/y/"), &made, &err), err);
    assert_false(made);
    assert_ok(ct_file_replace(in_folder("file"), "", 0, false, &err), err);
    assert_int_equal(ct_dir_make(in_folder("file/x"), &made, &err), CT_EIO);
    assert_ok(ct_dir_check_writable(in_folder("p/q"), &err), err);
    assert_int_equal(ct_dir_check_writable(in_folder("file/x"), &err), CT_EIO);
}

static ct_status
count_name(void *ctx, const char *name, ct_err *err)
{
    (void)err;
    (void)name;
    (*(int *)ctx)++;
    return CT_OK;
}

static ct_status
refuse_name(void *ctx, const char *name, ct_err *err)
{
    (void)ctx;
    return ct_fail(err, CT_ESTATE, name, "enough");
}

static void
test_listing_names_each_entry_once(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int count = 0;
    assert_ok(ct_file_replace(in_folder("1"), "", 0, false, &err), err);
    assert_ok(ct_file_replace(in_folder("2"), "", 0, false, &err), err);
    assert_ok(ct_dir_list(folder, count_name, &count, &err), err);
    assert_int_equal(count, 2);
    assert_int_equal(ct_dir_list(folder, refuse_name, NULL, &err), CT_ESTATE);
    assert_int_equal(ct_dir_list(in_folder("none"), count_name, &count, &err),
                     CT_ENOTFOUND);
}

static void
test_removing_a_tree_does_not_follow_links(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    char target[160];
    assert_ok(ct_dir_make(in_folder("kept"), NULL, &err), err);
    (void)snprintf(target, sizeof target, "%s/kept", folder);
    assert_ok(ct_dir_make(in_folder("gone/deep"), NULL, &err), err);
    assert_int_equal(symlink(target, in_folder("gone/deep/link")), 0);
    assert_ok(ct_dir_remove_tree(in_folder("gone"), &err), err);
    assert_false(ct_file_exists(in_folder("gone")));
    assert_true(ct_file_exists(target));
}

static void
test_what_is_discarded_is_gone_under_both_names(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    for (int i = 0; i < 2; i++) { /* 1: the rest of an earlier one is in the way */
        assert_ok(ct_dir_make(in_folder("c/deep"), NULL, &err), err);
        if (i == 1) {
            assert_ok(ct_dir_make(in_folder(".c.part/left"), NULL, &err), err);
        }
        assert_ok(ct_dir_discard(in_folder("c"), &err), err);
        assert_false(ct_file_exists(in_folder("c")));
        assert_false(ct_file_exists(in_folder(".c.part")));
    }
    assert_ok(ct_dir_discard(in_folder("c"), &err), err); /* missing is fine */
}

static ct_status
replace_and_read(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_buf b = CT_BUF_INIT;
    ct_file f = CT_FILE_INIT;
    ct_status st = ct_file_replace(in_folder("s"), "data", 4, true, err);
    if (st == CT_OK) {
        st = ct_file_read_all(in_folder("s"), &b, err);
    }
    if (st == CT_OK) {
        st = ct_file_open_append(&f, in_folder("s"), err);
    }
    if (st == CT_OK) {
        st = ct_dir_check_writable(in_folder("w"), err);
    }
    ct_file_close(&f);
    ct_buf_deinit(&b);
    return st;
}

static void
test_every_failed_allocation_is_reported_without_leak(void **state)
{
    (void)state;
    sweep_allocations(replace_and_read, NULL);
}

static void
test_the_machines_clock_goes_forward(void **state)
{
    (void)state;
    ct_clock c;
    ct_real_clock_init(&c);
    double first = c.mono(&c);
    assert_true(c.mono(&c) >= first);
    assert_true(c.now(&c) > 1.6e9); /* after 2020 */
}

#define IN_FOLDER(test)                                                                \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_appends_add_to_what_is_there),
        IN_FOLDER(test_a_new_file_must_not_exist),
        IN_FOLDER(test_a_write_that_does_not_fit_leaves_no_part_of_itself),
        IN_FOLDER(test_replacing_leaves_no_other_file_behind),
        IN_FOLDER(test_a_failed_replacement_keeps_the_old_file),
        IN_FOLDER(test_missing_files_are_told_apart_from_unreadable_ones),
        IN_FOLDER(test_folders_are_made_with_their_parents_and_told_when_new),
        IN_FOLDER(test_listing_names_each_entry_once),
        IN_FOLDER(test_removing_a_tree_does_not_follow_links),
        IN_FOLDER(test_what_is_discarded_is_gone_under_both_names),
        IN_FOLDER(test_every_failed_allocation_is_reported_without_leak),
        cmocka_unit_test(test_the_machines_clock_goes_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
