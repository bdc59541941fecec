/* shm.h: memory that several processes map, by a descriptor and without a name: nothing
 * of it is left anywhere once the last of them has ended, however it ended. */
#ifndef CT_OS_SHM_H
#define CT_OS_SHM_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* Makes an empty one; close-on-exec. */
ct_status ct_shm_new(int *fd, ct_err *err);
/* Writes all at that offset and grows it as needed. */
ct_status ct_shm_write(int fd, uint64_t at, const void *data, size_t len, ct_err *err);
/* The same for part of a block that malloc returned, whose pages become those of the
 * memory: address and content stay, but there is no second copy. What is written there
 * later is seen by this process alone. `at` and the address must agree modulo the page
 * size. Falls back to ct_shm_write where malloc did not give the block pages of its own.
 * Nobody else may write to the data meanwhile. */
ct_status ct_shm_share(int fd, uint64_t at, void *data, size_t len, const void *block,
                       ct_err *err);
/* Maps all of it: shared until it is written to, then the writer's own. */
ct_status ct_shm_map(int fd, void **data, size_t *len, ct_err *err);
void ct_shm_unmap(void *data, size_t len);
size_t ct_shm_page(void);

#endif
