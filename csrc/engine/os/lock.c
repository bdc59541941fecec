/* lock.c: flock(2). Unlike the locks of fcntl(2) it belongs to the open file: it excludes
 * two runs of one process, and closing another descriptor of the file does not end it.
 * Network file systems carry it to the server where that is set up (NFS on Linux does).
 *
 * The file stays: to remove it would let a third one lock a new file of that name while
 * the second still waits to look at the old one. */
#include "os/lock.h"

#include "base/mem.h"
#include "os/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_MODE = 0644, HOLDER_MAX = 256 };
enum { TRIES = 50, TRY_NS = 20 * 1000 * 1000 }; /* while the holder is dead: a second */

/* What the holder wrote: one line, of printable characters. */
static void
read_holder(int fd, char *out, size_t cap)
{
    ssize_t n = pread(fd, out, cap - 1, 0);
    size_t len = 0;
    while (n > 0 && len < (size_t)n && out[len] >= ' ' && out[len] != 0x7f) {
        len++;
    }
    out[len] = '\0';
}

/* A process of this machine that has ended: what it forked has the descriptor until it comes
 * to close it. */
static bool
holder_is_dead(int fd)
{
    char holder[HOLDER_MAX];
    char host[128];
    char on[sizeof host];
    long long pid;
    read_holder(fd, holder, sizeof holder);
    ct_host_name(host, sizeof host);
    return sscanf(holder, "process %lld on %127s since", &pid, on) == 2 &&
           strcmp(on, host) == 0 && pid > 0 && pid <= INT_MAX &&
           kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static int
lock_file(int fd)
{
    for (int left = TRIES; flock(fd, LOCK_EX | LOCK_NB) != 0; left--) {
        int found = errno;
        if (found != EWOULDBLOCK || left == 0 || !holder_is_dead(fd)) {
            return found;
        }
        (void)nanosleep(&(struct timespec){0, TRY_NS}, NULL);
    }
    return 0;
}

static void
write_holder(int fd)
{
    char host[128];
    char since[32] = "";
    char line[HOLDER_MAX];
    time_t now = (time_t)ct_host_now();
    struct tm local;
    ct_host_name(host, sizeof host);
    if (localtime_r(&now, &local) != NULL) {
        (void)strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", &local);
    }
    int len = snprintf(line, sizeof line, "process %lld on %s since %s\n",
                       (long long)ct_host_pid(), host, since);
    /* The lock holds without its text, on a full disk for example. */
    if (ftruncate(fd, 0) == 0 && len > 0) {
        ssize_t written = pwrite(fd, line, (size_t)len, 0);
        (void)written;
    }
}

static ct_status
refused(int fd, int os_errno, const char *path, ct_err *err)
{
    char holder[HOLDER_MAX];
    if (os_errno == EWOULDBLOCK) {
        read_holder(fd, holder, sizeof holder);
        return ct_fail(err, CT_ESTATE, path,
                       "is locked by %s, which writes to this experiment: wait for its "
                       "end, or choose another name",
                       holder[0] != '\0' ? holder : "another process");
    }
    if (os_errno == ENOLCK || os_errno == EOPNOTSUPP || os_errno == ENOSYS) {
        return ct_fail(err, CT_EUNSUPPORTED, path,
                       "cannot be locked: its file system knows no locks");
    }
    return ct_fail_os(err, os_errno, path, "cannot be locked");
}

ct_status
ct_lock_take(ct_file *lock, const char *path, ct_err *err)
{
    int fd;
    do {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return ct_fail_os(
            err, errno, path,
            "cannot be opened for writing; allow writing there, or choose "
            "another storage_path");
    }
    char *copy = ct_strndup(path, strlen(path));
    ct_status st = copy != NULL ? CT_OK : ct_fail_mem(err);
    int found = st == CT_OK ? lock_file(fd) : 0;
    if (found != 0) {
        st = refused(fd, found, path, err);
    }
    if (st != CT_OK) {
        ct_free(copy);
        (void)close(fd);
        return st;
    }
    write_holder(fd);
    *lock = (ct_file){fd, copy};
    return CT_OK;
}

void
ct_lock_release(ct_file *lock)
{
    if (lock->fd >= 0) {
        int ignored = ftruncate(lock->fd, 0);
        (void)ignored;
    }
    ct_file_close(lock);
}
