/* ids.h: the small integers that name things across rooms. */
#ifndef CT_BASE_IDS_H
#define CT_BASE_IDS_H

#include <stdint.h>

typedef uint32_t ct_trial_id; /* dense from 0 within an experiment; never reused */
#define CT_TRIAL_NONE UINT32_MAX

#endif
