/* map.h: hash maps with open addressing (robin hood), keys uint64 -> uint32, and a
 * mixing function. Strings go through name.h. */
#ifndef CT_BASE_MAP_H
#define CT_BASE_MAP_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ct_map_slot ct_map_slot;
typedef struct ct_map {
    ct_map_slot *slots;
    size_t cap; /* power of two, or 0 */
    size_t count;
} ct_map;

#define CT_MAP_INIT {NULL, 0, 0}

void ct_map_deinit(ct_map *m);
ct_status ct_map_put(ct_map *m, uint64_t key, uint32_t value, ct_err *err);
bool ct_map_get(const ct_map *m, uint64_t key, uint32_t *value);
bool ct_map_remove(ct_map *m, uint64_t key);
uint64_t ct_hash_u64(uint64_t x);
uint64_t ct_hash_bytes(const void *data, size_t len);

#endif
