/* file.c: files and folders through POSIX calls.
 *
 * Appends are one write(2) each: with O_APPEND a line is never mixed with another
 * writer's. A file that is replaced is written under another name in its folder and
 * renamed, so that whoever opens it sees the old or the new content; with sync, content
 * first, then name. */
#include "os/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MODE = 0644, DIR_MODE = 0777, TREE_FDS = 16, READ_MIN = 4096 };

static int
open_retry(const char *path, int flags)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* What users can do about a refusal. */
static const char *
remedy(int os_errno)
{
    switch (os_errno) {
    case ENOSPC:
    case EDQUOT:
        return "; make room, or choose another storage_path";
    case EACCES:
    case EPERM:
    case EROFS:
        return "; allow writing there, or choose another storage_path";
    case ENAMETOOLONG:
        return "; choose a shorter name";
    case EMFILE:
    case ENFILE:
        return "; raise `ulimit -n`";
    default:
        return "";
    }
}

/* A refusal: "<path> <what>: <the system's reason>; <remedy>". */
static ct_status
file_fail(ct_err *err, int os_errno, const char *path, const char *what)
{
    ct_status st = ct_fail_os(err, os_errno, path, "%s", what);
    if (err != NULL) {
        size_t len = strlen(err->text);
        (void)snprintf(err->text + len, sizeof err->text - len, "%s", remedy(os_errno));
    }
    return st;
}

static ct_status
file_open(ct_file *f, const char *path, int flags, ct_err *err)
{
    char *copy = ct_strndup(path, strlen(path));
    if (copy == NULL) {
        return ct_fail_mem(err);
    }
    int fd = open_retry(path, flags);
    if (fd < 0) {
        int os_errno = errno;
        ct_free(copy);
        if (os_errno == EEXIST && (flags & O_EXCL) != 0) {
            return ct_fail(err, CT_ESTATE, path, "exists already");
        }
        return file_fail(err, os_errno, path, "cannot be opened for writing");
    }
    *f = (ct_file){fd, copy};
    return CT_OK;
}

ct_status
ct_file_open_append(ct_file *f, const char *path, ct_err *err)
{
    return file_open(f, path, O_WRONLY | O_APPEND | O_CREAT, err);
}

ct_status
ct_file_open_new(ct_file *f, const char *path, ct_err *err)
{
    return file_open(f, path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL, err);
}

void
ct_file_close(ct_file *f)
{
    if (f->fd >= 0) {
        (void)close(f->fd);
    }
    ct_free(f->path);
    *f = (ct_file)CT_FILE_INIT;
}

/* Writes all of it; *done counts what is written also on failure. Returns errno or
 * 0. */
static int
write_all(int fd, const uint8_t *data, size_t len, size_t *done)
{
    *done = 0;
    while (*done < len) {
        ssize_t n = write(fd, data + *done, len - *done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno;
        }
        if (n == 0) {
            return ENOSPC; /* nothing more fits */
        }
        *done += (size_t)n;
    }
    return 0;
}

ct_status
ct_file_append(ct_file *f, const void *data, size_t len, ct_err *err)
{
    size_t done = 0;
    int os_errno = write_all(f->fd, data, len, &done);
    struct stat info;
    if (os_errno == 0) {
        return CT_OK;
    }
    if (done > 0 && fstat(f->fd, &info) == 0 && (size_t)info.st_size >= done) {
        if (ftruncate(f->fd, info.st_size - (off_t)done) != 0) {
            return file_fail(err, os_errno, f->path,
                             "cannot be written to, and its last line is cut");
        }
    }
    return file_fail(err, os_errno, f->path, "cannot be written to");
}

static int
sync_fd(int fd)
{
#if defined(__APPLE__)
    return fcntl(fd, F_FULLFSYNC); /* fsync there leaves data in the drive's cache */
#else
    return fdatasync(fd);
#endif
}

ct_status
ct_file_sync(ct_file *f, ct_err *err)
{
    if (sync_fd(f->fd) != 0) {
        return file_fail(err, errno, f->path, "cannot be synced");
    }
    return CT_OK;
}

ct_status
ct_file_size(const ct_file *f, uint64_t *size, ct_err *err)
{
    struct stat info;
    if (fstat(f->fd, &info) != 0) {
        return file_fail(err, errno, f->path, "does not tell its size");
    }
    *size = (uint64_t)info.st_size;
    return CT_OK;
}

static ct_status
fail_open_read(const char *path, int os_errno, ct_err *err)
{
    if (os_errno == ENOENT || os_errno == ENOTDIR) {
        return ct_fail(err, CT_ENOTFOUND, path, "does not exist");
    }
    return file_fail(err, os_errno, path, "cannot be opened");
}

/* Reads until the end, which may lie beyond the size the file had at first, or until
 * there is as much as the limit. */
static ct_status
read_until_end(int fd, const char *path, size_t limit, ct_buf *out, ct_err *err)
{
    for (;;) {
        if (out->len >= limit) {
            out->len = limit;
            return CT_OK;
        }
        ct_status st = ct_buf_reserve(out, READ_MIN, err);
        if (st != CT_OK) {
            return st;
        }
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return file_fail(err, errno, path, "cannot be read");
        }
        if (n == 0) {
            return CT_OK;
        }
        out->len += (size_t)n;
    }
}

ct_status
ct_file_read_all(const char *path, ct_buf *out, ct_err *err)
{
    return ct_file_read_head(path, SIZE_MAX, out, err);
}

ct_status
ct_file_read_head(const char *path, size_t limit, ct_buf *out, ct_err *err)
{
    struct stat info;
    ct_status st = CT_OK;
    ct_buf_clear(out);
    int fd = open_retry(path, O_RDONLY);
    if (fd < 0) {
        return fail_open_read(path, errno, err);
    }
    if (fstat(fd, &info) == 0 && info.st_size > 0) {
        size_t size = (size_t)info.st_size;
        st = ct_buf_reserve(out, (size < limit ? size : limit) + READ_MIN, err);
    }
    if (st == CT_OK) {
        st = read_until_end(fd, path, limit, out, err);
    }
    (void)close(fd);
    return st;
}

/* ---- replacing ---- */

static size_t
dir_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

static ct_status
write_aside(const char *aside, const void *data, size_t len, bool sync, ct_err *err)
{
    size_t done = 0;
    int fd = open_retry(aside, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return file_fail(err, errno, aside, "cannot be opened for writing");
    }
    int os_errno = write_all(fd, data, len, &done);
    if (os_errno == 0 && sync && sync_fd(fd) != 0) {
        os_errno = errno;
    }
    if (close(fd) != 0 && os_errno == 0) {
        os_errno = errno;
    }
    return os_errno == 0 ? CT_OK
                         : file_fail(err, os_errno, aside, "cannot be written to");
}

ct_status
ct_file_replace(const char *path, const void *data, size_t len, bool sync, ct_err *err)
{
    ct_buf aside = CT_BUF_INIT;
    size_t folder = dir_len(path);
    ct_status st =
        ct_buf_printf(&aside, err, "%.*s.tmp-%s", (int)folder, path, path + folder);
    if (st == CT_OK) {
        st = ct_buf_terminate(&aside, err);
    }
    if (st != CT_OK) {
        goto done;
    }
    const char *name = (const char *)aside.data;
    st = write_aside(name, data, len, sync, err);
    if (st == CT_OK && rename(name, path) != 0) {
        st = file_fail(err, errno, path, "cannot be replaced");
    }
    if (st != CT_OK) {
        (void)unlink(name);
        goto done;
    }
    if (sync) {
        aside.len = folder; /* the same text serves as the folder's name */
        aside.data[folder] = '\0';
        st = ct_dir_sync(folder > 0 ? (const char *)aside.data : ".", err);
    }
done:
    ct_buf_deinit(&aside);
    return st;
}

ct_status
ct_file_truncate(const char *path, uint64_t size, ct_err *err)
{
    if (truncate(path, (off_t)size) != 0) {
        return file_fail(err, errno, path, "cannot be cut");
    }
    return CT_OK;
}

static ct_status
copy_new(const char *from, const char *to, ct_err *err)
{
    ct_buf bytes = CT_BUF_INIT;
    ct_file file = CT_FILE_INIT;
    ct_status st = ct_file_read_all(from, &bytes, err);
    if (st == CT_OK) {
        st = ct_file_open_new(&file, to, err);
    }
    if (st == CT_OK) {
        st = ct_file_append(&file, bytes.data, bytes.len, err);
        if (st == CT_OK) {
            st = ct_file_sync(&file, err);
        }
        if (st != CT_OK) {
            (void)unlink(to);
        }
    }
    ct_file_close(&file);
    ct_buf_deinit(&bytes);
    return st;
}

ct_status
ct_file_link(const char *from, const char *to, ct_err *err)
{
    if (link(from, to) == 0) {
        return CT_OK;
    }
    switch (errno) {
    case EEXIST:
        return ct_fail(err, CT_ESTATE, to, "exists already");
    case ENOENT:
        return fail_open_read(from, errno, err);
    case EPERM: /* no hard links there, or none of such files */
    case EXDEV:
    case EMLINK:
    case ENOSYS:
    case EOPNOTSUPP:
        return copy_new(from, to, err);
    default:
        return file_fail(err, errno, to, "cannot be made");
    }
}

ct_status
ct_file_remove(const char *path, ct_err *err)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return file_fail(err, errno, path, "cannot be removed");
    }
    return CT_OK;
}

bool
ct_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* ---- folders ---- */

static bool
is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* One folder whose parent exists. */
static ct_status
make_one(const char *path, bool *made, ct_err *err)
{
    *made = mkdir(path, DIR_MODE) == 0;
    int os_errno = errno;
    if (!*made && !is_dir(path)) {
        return file_fail(err, os_errno, path, "cannot be made as a folder");
    }
    return CT_OK;
}

ct_status
ct_dir_make(const char *path, bool *made, ct_err *err)
{
    bool fresh = mkdir(path, DIR_MODE) == 0;
    ct_status st = CT_OK;
    if (!fresh && !is_dir(path)) { /* part by part */
        char *copy = ct_strndup(path, strlen(path));
        if (copy == NULL) {
            return ct_fail_mem(err);
        }
        for (char *p = copy + 1; copy[0] != '\0' && st == CT_OK && *p != '\0'; p++) {
            if (*p == '/') {
                *p = '\0';
                st = make_one(copy, &fresh, err);
                *p = '/';
            }
        }
        if (st == CT_OK) {
            st = make_one(copy, &fresh, err);
        }
        ct_free(copy);
    }
    if (made != NULL) {
        *made = fresh;
    }
    return st;
}

static int
remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

ct_status
ct_dir_remove_tree(const char *path, ct_err *err)
{
    if (nftw(path, remove_entry, TREE_FDS, FTW_DEPTH | FTW_PHYS) != 0 &&
        errno != ENOENT) {
        return file_fail(err, errno, path, "cannot be removed");
    }
    return CT_OK;
}

ct_status
ct_dir_discard(const char *path, ct_err *err)
{
    ct_buf aside = CT_BUF_INIT;
    size_t folder = dir_len(path);
    ct_status st =
        ct_buf_printf(&aside, err, "%.*s.%s.part", (int)folder, path, path + folder);
    if (st == CT_OK) {
        st = ct_buf_terminate(&aside, err);
    }
    if (st == CT_OK) {
        const char *name = (const char *)aside.data;
        st = ct_dir_remove_tree(name, err);
        bool moved = st == CT_OK && rename(path, name) == 0;
        if (st == CT_OK) {
            st = ct_dir_remove_tree(moved ? name : path, err);
        }
    }
    ct_buf_deinit(&aside);
    return st;
}

ct_status
ct_dir_check_writable(const char *path, ct_err *err)
{
    ct_buf probe = CT_BUF_INIT;
    ct_status st = ct_dir_make(path, NULL, err);
    if (st == CT_OK) {
        st = ct_buf_printf(&probe, err, "%s/.tmp-writable-%ld", path, (long)getpid());
    }
    if (st == CT_OK) {
        st = ct_buf_terminate(&probe, err);
    }
    if (st == CT_OK) {
        const char *name = (const char *)probe.data;
        int fd = open_retry(name, O_WRONLY | O_CREAT);
        if (fd < 0) {
            st = file_fail(err, errno, path, "cannot hold new files");
        } else {
            (void)close(fd);
            (void)unlink(name);
        }
    }
    ct_buf_deinit(&probe);
    return st;
}

ct_status
ct_dir_list(const char *path, ct_dir_visit visit, void *ctx, ct_err *err)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return fail_open_read(path, errno, err);
    }
    ct_status st = CT_OK;
    while (st == CT_OK) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e == NULL) {
            if (errno != 0) {
                st = file_fail(err, errno, path, "cannot be listed");
            }
            break;
        }
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            st = visit(ctx, e->d_name, err);
        }
    }
    (void)closedir(dir);
    return st;
}

ct_status
ct_dir_sync(const char *path, ct_err *err)
{
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return fail_open_read(path, errno, err);
    }
    int failed = fsync(fd) != 0 ? errno : 0;
    (void)close(fd);
    if (failed != 0 && failed != EINVAL) { /* EINVAL: folders cannot be synced there */
        return file_fail(err, failed, path, "cannot be synced");
    }
    return CT_OK;
}

ct_status
ct_dir_sync_all(const char *path, ct_err *err)
{
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return fail_open_read(path, errno, err);
    }
#ifdef __linux__
    int failed = syncfs(fd) != 0 ? errno : 0;
#else
    int failed = 0;
    sync();
#endif
    (void)close(fd);
    return failed == 0 ? CT_OK : file_fail(err, failed, path, "cannot be synced");
}
