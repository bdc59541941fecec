/* shm.c: see shm.h.
 *
 * A large array that the driver holds would exist twice, once in the driver and once in
 * the memory that workers map. ct_shm_share avoids that: step by step it writes a part
 * and puts a private mapping of the same part in the place of the old pages. That needs
 * pages which malloc will only ever give back as a whole, by munmap: with glibc those of
 * blocks that it mapped for themselves. They are told by what glibc alone makes of them:
 * the block begins two words into a page, and the rest of its pages is all usable. */
#include "os/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { SHARE_STEP = 4 << 20 };

#ifdef __linux__
static int
shm_open_nameless(void)
{
    return memfd_create("ctune", MFD_CLOEXEC);
}
#else
static int
shm_open_nameless(void)
{
    for (unsigned i = 0; i < 1000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "/ctune-%ld-%u", (long)getpid(), i);
        int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0) {
            (void)shm_unlink(name);
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
            return fd;
        }
        if (errno != EEXIST) {
            return -1;
        }
    }
    return -1;
}
#endif

ct_status
ct_shm_new(int *fd, ct_err *err)
{
    *fd = shm_open_nameless();
    return *fd >= 0 ? CT_OK : ct_fail_os(err, errno, "shared memory", "cannot be made");
}

ct_status
ct_shm_write(int fd, uint64_t at, const void *data, size_t len, ct_err *err)
{
    const uint8_t *from = data;
    while (len > 0) {
        ssize_t n = pwrite(fd, from, len, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return ct_fail_os(err, n < 0 ? errno : ENOSPC, "shared memory",
                              "has no room for %zu more bytes", len);
        }
        from += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return CT_OK;
}

size_t
ct_shm_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static bool
has_own_pages(const void *block, const uint8_t *data, size_t len)
{
#if defined(__GLIBC__) && defined(__linux__) && UINTPTR_MAX == UINT64_MAX
    const size_t header = 2 * sizeof(size_t);
    size_t page = ct_shm_page();
    if (block == NULL || (uintptr_t)block % page != header) {
        return false;
    }
    size_t usable = malloc_usable_size((void *)(uintptr_t)block);
    const uint8_t *first = block;
    return (usable + header) % page == 0 && data >= first && len <= usable &&
           (size_t)(data - first) <= usable - len;
#else
    (void)block;
    (void)data;
    (void)len;
    return false;
#endif
}

/* Puts the memory's pages in the place of the whole pages in [data, data + len). */
static bool
replace_pages(int fd, uint64_t at, uint8_t *data, size_t len)
{
    size_t page = ct_shm_page();
    size_t skip = (page - (uintptr_t)data % page) % page;
    if (skip >= len) {
        return true;
    }
    size_t whole = (len - skip) / page * page;
    return whole == 0 ||
           mmap(data + skip, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd,
                (off_t)(at + skip)) != MAP_FAILED;
}

ct_status
ct_shm_share(int fd, uint64_t at, void *data, size_t len, const void *block,
             ct_err *err)
{
    uint8_t *from = data;
    size_t page = ct_shm_page();
    bool share = (uintptr_t)data % page == at % page && has_own_pages(block, data, len);
    size_t done = 0;   /* written */
    size_t shared = 0; /* and replaced, up to here */
    while (done < len) {
        size_t step = len - done < SHARE_STEP ? len - done : SHARE_STEP;
        ct_status st = ct_shm_write(fd, at + done, from + done, step, err);
        if (st != CT_OK) {
            return st;
        }
        done += step;
        /* Steps end on a page, so that no page is replaced before all of it is written. */
        size_t until = done < len ? done - (uintptr_t)(from + done) % page : len;
        if (share && until > shared) {
            share = replace_pages(fd, at + shared, from + shared, until - shared);
            shared = until;
        }
    }
    return CT_OK;
}

ct_status
ct_shm_map(int fd, void **data, size_t *len, ct_err *err)
{
    struct stat info;
    *data = NULL;
    *len = 0;
    if (fstat(fd, &info) < 0) {
        return ct_fail_os(err, errno, "shared memory", "cannot be used");
    }
    if (info.st_size > 0) {
        void *at = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE,
                        fd, 0);
        if (at == MAP_FAILED) {
            return ct_fail_os(err, errno, "shared memory", "cannot be mapped");
        }
        *data = at;
        *len = (size_t)info.st_size;
    }
    return CT_OK;
}

void
ct_shm_unmap(void *data, size_t len)
{
    if (data != NULL) {
        (void)munmap(data, len);
    }
}
