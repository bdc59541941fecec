/* ranking.h: ids ranked by a score, O(log n) expected per call.
 *
 * Schedulers ask who is among the best and who is next; sorting all trials for it would
 * make each answer O(n log n). Equal scores are ranked by id. NaN has no rank and must not
 * be set. Ids should be dense: memory follows the largest one. */
#ifndef CT_BASE_RANKING_H
#define CT_BASE_RANKING_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ct_ranking ct_ranking;

ct_status ct_ranking_new(ct_ranking **out, ct_err *err);
void ct_ranking_free(ct_ranking *r);
/* Makes room for ids below `ids`; ct_ranking_set of those cannot fail then. */
ct_status ct_ranking_reserve(ct_ranking *r, size_t ids, ct_err *err);
/* Ranks the id, or moves it. Its room was reserved. */
void ct_ranking_set(ct_ranking *r, uint32_t id, double score);
void ct_ranking_drop(ct_ranking *r, uint32_t id); /* one that is not ranked is fine */
bool ct_ranking_has(const ct_ranking *r, uint32_t id);
size_t ct_ranking_count(const ct_ranking *r);
/* Rank 0 = smallest score; rank < count. */
uint32_t ct_ranking_at(const ct_ranking *r, size_t rank);
/* How many are ranked below a ranked id. */
size_t ct_ranking_rank(const ct_ranking *r, uint32_t id);
double ct_ranking_score(const ct_ranking *r, uint32_t id); /* of a ranked id */

#endif
