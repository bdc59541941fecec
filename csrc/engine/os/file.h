/* file.h: durable append, atomic replace, directories. */
#ifndef CT_OS_FILE_H
#define CT_OS_FILE_H

#include "base/bytes.h"
#include "base/status.h"

#include <stdbool.h>

typedef struct ct_file {
    int fd; /* -1 = closed */
    char *path;
} ct_file;

#define CT_FILE_INIT {-1, NULL}

/* Opens for appending and creates when missing (mode 0644, close-on-exec). */
ct_status ct_file_open_append(ct_file *f, const char *path, ct_err *err);
/* The same, but the file must not exist yet (CT_ESTATE). */
ct_status ct_file_open_new(ct_file *f, const char *path, ct_err *err);
/* Writes everything or fails naming the file; retries short and interrupted writes. On
 * failure the file is cut back to the length it had, so that no partial line stays. */
ct_status ct_file_append(ct_file *f, const void *data, size_t len, ct_err *err);
ct_status ct_file_sync(ct_file *f, ct_err *err); /* fdatasync */
ct_status ct_file_size(const ct_file *f, uint64_t *size, ct_err *err);
void ct_file_close(ct_file *f); /* fine when closed */

/* Replaces *out. A missing file is CT_ENOTFOUND. */
ct_status ct_file_read_all(const char *path, ct_buf *out, ct_err *err);
/* The same for at most the first `limit` bytes. */
ct_status ct_file_read_head(const char *path, size_t limit, ct_buf *out, ct_err *err);
/* Writes aside (".tmp-<name>" in the same folder), optionally syncs, renames. Readers
 * see the old or the new file, never a part. */
ct_status ct_file_replace(const char *path, const void *data, size_t len, bool sync,
                          ct_err *err);
ct_status ct_file_truncate(const char *path, uint64_t size, ct_err *err);
/* Gives the content of `from` a second name, which must not exist (CT_ESTATE): a hard link
 * where there are such, else a copy. */
ct_status ct_file_link(const char *from, const char *to, ct_err *err);
ct_status ct_file_remove(const char *path, ct_err *err); /* missing is fine */
bool ct_file_exists(const char *path);
/* Like mkdir -p; existing is fine. *made tells whether the last part is new (may be
 * NULL). */
ct_status ct_dir_make(const char *path, bool *made, ct_err *err);
ct_status ct_dir_remove_tree(const char *path, ct_err *err); /* missing is fine */
/* The same under another name, ".<name>.part" in the same folder: it is seen whole or not
 * at all, also when this process dies meanwhile. */
ct_status ct_dir_discard(const char *path, ct_err *err);
/* Checks that files can be made below path (makes it if missing). */
ct_status ct_dir_check_writable(const char *path, ct_err *err);
/* Calls visit for each name in the folder, in no order, "." and ".." left out. Anything
 * but CT_OK ends the walk with that status. A missing folder is CT_ENOTFOUND. */
typedef ct_status (*ct_dir_visit)(void *ctx, const char *name, ct_err *err);
ct_status ct_dir_list(const char *path, ct_dir_visit visit, void *ctx, ct_err *err);
/* Makes everything durable that was written to the file system of a folder. */
ct_status ct_dir_sync_all(const char *path, ct_err *err);
/* Makes the names in a folder durable, after files in it were made or renamed. */
ct_status ct_dir_sync(const char *path, ct_err *err);

#endif
