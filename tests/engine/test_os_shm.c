/* Shared memory: what is written is mapped elsewhere, a block that is shared stays what it
 * was for its owner and has no second copy. */
#include "support.h"

#include "os/proc.h"
#include "os/shm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGE = 40 << 20 }; /* malloc gives blocks of this size pages of their own */

static int
new_memory(void)
{
    ct_err err = CT_ERR_INIT;
    int fd = -1;
    assert_ok(ct_shm_new(&fd, &err), err);
    return fd;
}

static void
test_what_is_written_is_mapped(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int fd = new_memory();
    void *a = NULL;
    void *b = NULL;
    size_t len = 1;
    assert_ok(ct_shm_map(fd, &a, &len, &err), err);
    assert_null(a); /* nothing in it yet */
    assert_int_equal(len, 0);
    assert_ok(ct_shm_write(fd, 5, "tail", 4, &err), err);
    assert_ok(ct_shm_write(fd, 0, "head ", 5, &err), err);
    assert_ok(ct_shm_map(fd, &a, &len, &err), err);
    assert_int_equal(len, 9);
    assert_memory_equal(a, "head tail", 9);
    assert_ok(ct_shm_map(fd, &b, &len, &err), err);
    memcpy(b, "mine", 4);
    assert_memory_equal(a, "head tail", 9); /* who writes writes for itself */
    ct_fd_close(&fd);
    assert_memory_equal(a, "head tail", 9); /* a mapping outlives the descriptor */
    ct_shm_unmap(a, len);
    ct_shm_unmap(b, len);
    ct_shm_unmap(NULL, 0);
}

static void
test_a_descriptor_that_is_none_is_an_error(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    void *at = NULL;
    size_t len = 0;
    assert_int_equal(ct_shm_map(-1, &at, &len, &err), CT_EIO);
    assert_int_equal(ct_shm_write(-1, 0, "x", 1, &err), CT_EIO);
    assert_string_equal(err.param, "shared memory");
}

static uint8_t
pattern(size_t i)
{
    return (uint8_t)(i * 2654435761u >> 13);
}

/* Shares `len` bytes from `skip` on, compares both sides, and uses the block further. */
static void
share_and_compare(size_t size, size_t skip, size_t len)
{
    ct_err err = CT_ERR_INIT;
    int fd = new_memory();
    uint8_t *block = malloc(size);
    assert_non_null(block);
    for (size_t i = 0; i < size; i++) {
        block[i] = pattern(i);
    }
    uint8_t *data = block + skip;
    uint64_t at = 3 * ct_shm_page() + (uintptr_t)data % ct_shm_page();
    assert_ok(ct_shm_share(fd, at, data, len, block, &err), err);
    void *mapped = NULL;
    size_t total = 0;
    assert_ok(ct_shm_map(fd, &mapped, &total, &err), err);
    assert_int_equal(total, at + len);
    assert_memory_equal((uint8_t *)mapped + at, data, len);
    for (size_t i = 0; i < size; i++) {
        if (block[i] != pattern(i)) {
            fail_msg("byte %zu of the block has changed", i);
        }
    }
    memset(block, 7, size); /* the owner's own affair */
    assert_int_equal(((uint8_t *)mapped)[at], pattern(skip));
    block = realloc(block, size + LARGE);
    assert_non_null(block);
    assert_int_equal(block[0], 7);
    assert_int_equal(block[size - 1], 7);
    free(block);
    assert_int_equal(((uint8_t *)mapped)[at + len - 1], pattern(skip + len - 1));
    ct_shm_unmap(mapped, total);
    ct_fd_close(&fd);
}

static void
test_a_shared_block_keeps_its_content_and_stays_its_owners(void **state)
{
    (void)state;
    share_and_compare(LARGE, 0, LARGE);
    share_and_compare(LARGE, 0, 100);
    share_and_compare(LARGE, 12345, LARGE - 54321); /* begins and ends inside pages */
    share_and_compare(LARGE, LARGE - 4100, 4100);
    share_and_compare(LARGE + 12345, 0, LARGE + 12345);
    share_and_compare(1 << 20, 0, 1 << 20); /* of blocks that have pages in common */
    share_and_compare(5000, 16, 4900);
}

#if defined(__linux__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
static size_t
resident_kib(const char *field)
{
    char line[128];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            kib = strtoul(line + strlen(field), NULL, 10);
        }
    }
    (void)fclose(f);
    return kib;
}

static void
test_a_shared_block_has_no_second_copy(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int fd = new_memory();
    uint8_t *block = malloc(LARGE);
    assert_non_null(block);
    memset(block, 1, LARGE);
    size_t before = resident_kib("RssAnon:");
    assert_ok(
        ct_shm_share(fd, (uintptr_t)block % ct_shm_page(), block, LARGE, block, &err),
        err);
    size_t after = resident_kib("RssAnon:");
    assert_true(before > after + (LARGE >> 10) * 9 / 10);
    free(block);
    ct_fd_close(&fd);
}
#endif

static void
test_memory_that_malloc_did_not_give_is_copied(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    int fd = new_memory();
    size_t len = 8 * ct_shm_page();
    uint8_t *own =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(own, MAP_FAILED);
    memset(own, 9, len);
    assert_int_equal(mprotect(own, len, PROT_READ), 0);
    assert_ok(ct_shm_share(fd, 0, own, len, own, &err), err);
    assert_ok(ct_shm_share(fd, len, own, len, NULL, &err), err);
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_size, 2 * len);
    (void)munmap(own, len);
    ct_fd_close(&fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_mapped),
        cmocka_unit_test(test_a_descriptor_that_is_none_is_an_error),
        cmocka_unit_test(test_a_shared_block_keeps_its_content_and_stays_its_owners),
        cmocka_unit_test(test_memory_that_malloc_did_not_give_is_copied),
#if defined(__linux__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(test_a_shared_block_has_no_second_copy),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
