/* orders.h: what a scheduler wants done to *other* trials. It queues orders; the
 * controller carries them out when the question has been answered. */
#ifndef CT_POLICY_ORDERS_H
#define CT_POLICY_ORDERS_H

#include "base/ids.h"
#include "base/status.h"
#include "base/value.h"

typedef enum ct_order_kind {
    CT_ORDER_STOP,
    CT_ORDER_PAUSE,   /* `checkpoint` tells whether to save first */
    CT_ORDER_UNPAUSE, /* a paused trial becomes pending again */
    CT_ORDER_RESIZE,  /* `value` = dict of resources */
    CT_ORDER_COUNT
} ct_order_kind;

typedef struct ct_order {
    ct_order_kind kind;
    ct_trial_id trial;
    bool checkpoint;
    ct_value value;
} ct_order;

typedef struct ct_orders {
    ct_order *items;
    size_t count;
    size_t cap;
} ct_orders;

#define CT_ORDERS_INIT {NULL, 0, 0}

void ct_orders_deinit(ct_orders *o);
void ct_orders_clear(ct_orders *o);
/* Takes *value (may be NULL). */
ct_status ct_orders_add(ct_orders *o, ct_order_kind kind, ct_trial_id t,
                        bool checkpoint, ct_value *value, ct_err *err);

#endif
