/* proc.c: see proc.h. prctl(2) and /proc are Linux; elsewhere the end of file on the
 * control socket alone tells a helper that its driver is gone. */
#include "os/proc.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SO_NOSIGPIPE is set on the socket instead */
#endif

extern char **environ;

/* ---- sockets ---- */

ct_status
ct_socket_pair(int fds[2], ct_err *err)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0) {
        return ct_fail_os(err, errno, "socketpair",
                          "cannot connect a worker; raise `ulimit -n`");
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
#ifdef SO_NOSIGPIPE
        int on = 1;
        (void)setsockopt(fds[i], SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    }
    return CT_OK;
}

ct_status
ct_fd_duplicate(int fd, int *out, ct_err *err)
{
    *out = fcntl(fd, F_DUPFD_CLOEXEC, CT_PROC_CONTROL_FD + 1);
    return *out >= 0 ? CT_OK
                     : ct_fail_os(err, errno, "dup",
                                  "cannot hand over a descriptor; raise `ulimit -n`");
}

ct_status
ct_fd_nonblock(int fd, ct_err *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return ct_fail_os(err, errno, "fcntl", "cannot change descriptor %d", fd);
    }
    return CT_OK;
}

void
ct_fd_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static ct_io
io_result(ssize_t n, size_t *done)
{
    *done = n > 0 ? (size_t)n : 0;
    if (n > 0) {
        return CT_IO_SOME;
    }
    /* Descriptors in flight are limited (ETOOMANYREFS): they become fewer. */
    bool again = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK ||
                           errno == ENOBUFS || errno == ETOOMANYREFS);
    return again ? CT_IO_AGAIN : CT_IO_GONE;
}

typedef union fd_space { /* aligned for a control message with one descriptor */
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
} fd_space;

ct_io
ct_fd_send(int fd, const void *data, size_t len, int pass, size_t *done)
{
    struct iovec part = {(void *)(uintptr_t)data, len};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    fd_space space;
    if (pass >= 0) {
        memset(&space, 0, sizeof space);
        msg.msg_control = space.bytes;
        msg.msg_controllen = sizeof space.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof pass);
        memcpy(CMSG_DATA(c), &pass, sizeof pass);
    }
    ssize_t n;
    do {
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return io_result(n, done);
}

ct_io
ct_fd_receive(int fd, void *data, size_t cap, size_t *done, int *passed)
{
    struct iovec part = {data, cap};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    fd_space space;
    if (passed != NULL) {
        *passed = -1;
        msg.msg_control = space.bytes;
        msg.msg_controllen = sizeof space.bytes;
    }
    ssize_t n;
    do {
        n = recvmsg(fd, &msg, 0);
    } while (n < 0 && errno == EINTR);
    struct cmsghdr *c = n > 0 && passed != NULL ? CMSG_FIRSTHDR(&msg) : NULL;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        memcpy(passed, CMSG_DATA(c), sizeof *passed);
        (void)fcntl(*passed, F_SETFD, FD_CLOEXEC);
    }
    return io_result(n, done);
}

void
ct_fd_await(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    (void)poll(&p, 1, -1); /* after a signal or an error the read that follows tells */
}

/* ---- starting ---- */

static bool
env_same_name(const char *a, const char *b)
{
    const char *end = strchr(a, '=');
    size_t len = end != NULL ? (size_t)(end - a) + 1 : strlen(a) + 1;
    return strncmp(a, b, len) == 0;
}

static size_t
env_count(const char *const *env)
{
    size_t n = 0;
    while (env != NULL && env[n] != NULL) {
        n++;
    }
    return n;
}

/* Pointers into environ and env; only the array is the caller's. */
static const char **
env_merge(const char *const *env)
{
    const char *const *ours = (const char *const *)environ;
    size_t n_env = env_count(env);
    const char **all = ct_calloc(env_count(ours) + n_env + 1, sizeof *all);
    size_t n = 0;
    for (size_t i = 0; all != NULL && ours != NULL && ours[i] != NULL; i++) {
        bool replaced = false;
        for (size_t k = 0; k < n_env; k++) {
            replaced = replaced || env_same_name(env[k], ours[i]);
        }
        if (!replaced) {
            all[n++] = ours[i];
        }
    }
    for (size_t k = 0; all != NULL && k < n_env; k++) {
        all[n++] = env[k];
    }
    return all;
}

static int
spawn_actions(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int control)
{
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    int failed = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (failed == 0) {
        failed = posix_spawn_file_actions_adddup2(actions, control, CT_PROC_CONTROL_FD);
    }
    if (failed == 0) {
        failed = posix_spawnattr_setsigmask(attr, &none);
    }
    if (failed == 0) {
        failed = posix_spawnattr_setsigdefault(attr, &defaults);
    }
    if (failed == 0) {
        failed = posix_spawnattr_setflags(
            attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    return failed;
}

ct_status
ct_proc_spawn(pid_t *pid, const char *const *argv, const char *const *env, int control,
              ct_err *err)
{
    /* Not number 3 itself: dup2 onto itself would leave it close-on-exec. */
    int passed = -1;
    ct_status st = ct_fd_duplicate(control, &passed, err);
    if (st != CT_OK) {
        return st;
    }
    const char **all = env_merge(env);
    if (all == NULL) {
        ct_fd_close(&passed);
        return ct_fail_mem(err);
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attr);
    int failed = spawn_actions(&actions, &attr, passed);
    if (failed ==
        0) { /* neither array is written to: the prototype is older than const */
        failed =
            posix_spawnp(pid, argv[0], &actions, &attr, (char *const *)(uintptr_t)argv,
                         (char *const *)(uintptr_t)all);
    }
    if (failed != 0) {
        st =
            ct_fail_os(err, failed, argv[0], "cannot be started as the helper process");
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    ct_free(all);
    ct_fd_close(&passed);
    return st;
}

/* ---- ending ---- */

pid_t
ct_proc_self(void)
{
    return getpid();
}

pid_t
ct_proc_parent(void)
{
    return getppid();
}

bool
ct_proc_reap(pid_t pid, int *status)
{
    pid_t got;
    do {
        got = waitpid(pid, status, WNOHANG);
    } while (got < 0 && errno == EINTR);
    if (got < 0) { /* someone else has taken it: the end is certain, how is not */
        *status = 0;
    }
    return got != 0;
}

pid_t
ct_proc_reap_any(int *status)
{
    pid_t got;
    do {
        got = waitpid(-1, status, WNOHANG);
    } while (got < 0 && errno == EINTR);
    return got > 0 ? got : 0;
}

void
ct_proc_kill(pid_t pid)
{
    if (pid > 1) {
        (void)kill(pid, SIGKILL);
    }
}

void
ct_proc_kill_group(pid_t pid)
{
    if (pid > 1) {
        (void)kill(-pid, SIGKILL);
    }
}

void
ct_proc_lead_group(pid_t pid)
{
    (void)setpgid(pid, pid);
}

bool
ct_proc_has_children(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void
ct_proc_kill_strays(bool (*known)(void *ctx, pid_t pid), void *ctx)
{
#ifdef __linux__
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return; /* a kernel without it: process groups have to do */
    }
    long pid;
    while (fscanf(f, "%ld", &pid) == 1) {
        if (!known(ctx, (pid_t)pid)) {
            ct_proc_kill((pid_t)pid);
        }
    }
    (void)fclose(f);
#else
    (void)known;
    (void)ctx;
#endif
}

int32_t
ct_proc_code(int status)
{
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static const char *
signal_name(int32_t sig)
{
    static const struct {
        int sig;
        const char *name;
    } names[] = {
        {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"},
        {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},
        {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"},
        {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
        {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
        {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].sig == sig) {
            return names[i].name;
        }
    }
    return "a signal without a common name";
}

void
ct_proc_describe(int32_t code, char *out, size_t cap)
{
    if (code > 0) {
        (void)snprintf(out, cap, "was killed by signal %d (%s)", code,
                       signal_name(code));
    } else {
        (void)snprintf(out, cap, "exited with code %d", -code);
    }
}

/* ---- the helper's and the workers' own lives ---- */

static void
on_signal(int sig) /* only there to interrupt pselect */
{
    (void)sig;
}

static void
signal_set(int sig, void (*handler)(int))
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = handler;
    sigemptyset(&sa.sa_mask);
    (void)sigaction(sig, &sa, NULL);
}

static void
die_with_parent(int sig)
{
#ifdef __linux__
    (void)prctl(PR_SET_PDEATHSIG, sig);
#else
    (void)sig;
#endif
}

static void
adopt_orphans(void)
{
#ifdef __linux__
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
#endif
}

/* Closes up to 64 of them; collected first, because closing changes what is listed. */
static bool
close_some_inherited(int keep)
{
    DIR *d = opendir("/dev/fd");
    if (d == NULL) {
        return false; /* descriptors of careful programs are close-on-exec anyway */
    }
    int fds[64];
    size_t n = 0;
    struct dirent *entry;
    while (n < sizeof fds / sizeof fds[0] && (entry = readdir(d)) != NULL) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (fd > CT_PROC_CONTROL_FD && fd != keep && fd != dirfd(d)) {
            fds[n++] = fd;
        }
    }
    (void)closedir(d);
    bool more = n > 0;
    while (n > 0) {
        (void)close(fds[--n]);
    }
    return more;
}

/* SIGCHLD and SIGHUP reach the helper only inside pselect, so that none is missed between
 * looking and waiting. */
static void
block_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGHUP);
    (void)sigprocmask(how, &set, NULL);
}

void
ct_proc_helper_setup(int keep)
{
    die_with_parent(SIGKILL);
    while (close_some_inherited(keep)) {
    }
    (void)fcntl(CT_PROC_CONTROL_FD, F_SETFD, FD_CLOEXEC);
    signal_set(SIGINT, SIG_IGN);
    adopt_orphans();
}

void
ct_proc_helper_ready(void)
{
    block_signals(SIG_BLOCK);
    signal_set(SIGCHLD, on_signal);
    signal_set(SIGHUP, on_signal);
    die_with_parent(SIGHUP);
}

bool
ct_proc_helper_wait(int fd)
{
    sigset_t open;
    (void)sigprocmask(SIG_BLOCK, NULL, &open);
    (void)sigdelset(&open, SIGCHLD);
    (void)sigdelset(&open, SIGHUP);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return pselect(fd + 1, &set, NULL, NULL, NULL, &open) > 0;
}

bool
ct_proc_worker_setup(pid_t helper)
{
    (void)setpgid(0, 0);
    signal_set(SIGCHLD, SIG_DFL);
    signal_set(SIGHUP, SIG_DFL);
    block_signals(SIG_UNBLOCK);
    die_with_parent(SIGKILL);
    adopt_orphans();
    return getppid() == helper;
}
