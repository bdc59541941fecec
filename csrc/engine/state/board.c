/* board.c: looking a number up in a result. Results have few entries: a scan is
 * enough. */
#include "state/board.h"

bool
ct_result_get(const ct_result *r, ct_name name, double *out)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->items[i].name == name) {
            *out = r->items[i].value;
            return true;
        }
    }
    return false;
}
