/* proc.h: child processes, the sockets that tie them to us, and how they ended.
 *
 * Process groups are the unit of killing: each worker leads one. What leaves its group
 * (a daemon) is found again as a child of the nearest living subreaper, on Linux. */
#ifndef CT_OS_PROC_H
#define CT_OS_PROC_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A connected pair of stream sockets, close-on-exec. */
ct_status ct_socket_pair(int fds[2], ct_err *err);
ct_status ct_fd_nonblock(int fd, ct_err *err);
void ct_fd_close(int *fd); /* sets -1; closed already is fine */
ct_status ct_fd_duplicate(int fd, int *out, ct_err *err); /* close-on-exec */

typedef enum ct_io {
    CT_IO_SOME,  /* *done bytes went through */
    CT_IO_AGAIN, /* nothing now; non-blocking descriptors only */
    CT_IO_GONE   /* the other side is closed */
} ct_io;

/* One send or receive; retries interruptions. `pass` is a descriptor to hand over with the
 * first byte, or -1. *passed (may be NULL) is one handed over to us, or -1. */
ct_io ct_fd_send(int fd, const void *data, size_t len, int pass, size_t *done);
ct_io ct_fd_receive(int fd, void *data, size_t cap, size_t *done, int *passed);

/* Waits until fd can be read. Cheaper than to wait in a read where the other side reads
 * what we wrote meanwhile: Linux wakes a blocked reader for that, for nothing. */
void ct_fd_await(int fd);

#define CT_PROC_CONTROL_FD 3

/* Starts argv[0] (looked up in PATH) in a session of its own, with standard input from
 * /dev/null, `control` as descriptor CT_PROC_CONTROL_FD, and the environment with `env`
 * ("NAME=value", NULL-terminated, may be NULL) on top of ours. */
ct_status ct_proc_spawn(pid_t *pid, const char *const *argv, const char *const *env,
                        int control, ct_err *err);
pid_t ct_proc_self(void);
pid_t ct_proc_parent(void); /* 1, or that of a subreaper, once the parent has died */
/* Whether the child has ended; *status as waitpid gives it. Never waits. */
bool ct_proc_reap(pid_t pid, int *status);
/* The next child of any kind that has ended, or 0. */
pid_t ct_proc_reap_any(int *status);
void ct_proc_kill(pid_t pid);       /* SIGKILL */
void ct_proc_kill_group(pid_t pid); /* SIGKILL to all of the group that pid leads */
void ct_proc_lead_group(pid_t pid); /* makes the child the leader of its own group */
bool ct_proc_has_children(void);    /* running or not yet reaped */
/* SIGKILL to every child of ours that `known` does not claim. Linux only. */
void ct_proc_kill_strays(bool (*known)(void *ctx, pid_t pid), void *ctx);

/* Signal number, or -(exit code). */
int32_t ct_proc_code(int status);
/* "was killed by signal 9 (SIGKILL)", "exited with code 3". */
void ct_proc_describe(int32_t code, char *out, size_t cap);

/* For a process just started by ct_proc_spawn: closes what else it has inherited, but for
 * `keep` (-1: nothing), ignores SIGINT, dies with its parent, adopts orphans. */
void ct_proc_helper_setup(int keep);
/* From now on the death of the parent, and of children, only ends ct_proc_helper_wait. */
void ct_proc_helper_ready(void);
/* Waits until fd (< 1024) is readable: true; or a child ended or the parent died. */
bool ct_proc_helper_wait(int fd);
/* For a process just forked by the helper with that id: leads a group, dies with the
 * helper, adopts orphans. False: the helper is gone already. */
bool ct_proc_worker_setup(pid_t helper);

#endif
