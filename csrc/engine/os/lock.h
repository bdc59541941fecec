/* lock.h: one writer at a time, told apart by a locked file. */
#ifndef CT_OS_LOCK_H
#define CT_OS_LOCK_H

#include "os/file.h"

/* Takes an exclusive lock on path (made if missing) without waiting for a living holder, and
 * writes who holds it into the file. The kernel lets go of it when the descriptor is closed, however its
 * process ends; so what a dead holder left is taken over. Two locks of one process exclude
 * each other, too. A child that is forked and goes on without exec must close the
 * descriptor (ct_file_close) or it keeps the lock.
 * Errors: CT_ESTATE, naming the holder; CT_EUNSUPPORTED where the file system knows no
 * locks; CT_EIO. */
ct_status ct_lock_take(ct_file *lock, const char *path, ct_err *err);
/* Empties the file and lets go. Fine when closed. */
void ct_lock_release(ct_file *lock);

#endif
