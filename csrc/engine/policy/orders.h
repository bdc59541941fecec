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
    /* Keep a checkpoint of its present state for others to exploit, saved first where the
     * trial runs; it replaces an earlier one. `checkpoint` false: no longer. */
    CT_ORDER_OFFER,
    /* Go on from what `source` offers, once that is saved. `value` = tuple (config,
     * experiment tag, anything that on_exploited gets back). `checkpoint`: not without
     * one; the trial then goes on as it was. */
    CT_ORDER_EXPLOIT,
    /* Another config for a trial that has not started; `value` = tuple (config,
     * evaluated params). */
    CT_ORDER_CONFIG,
    CT_ORDER_COUNT
} ct_order_kind;

typedef struct ct_order {
    ct_order_kind kind;
    ct_trial_id trial;
    ct_trial_id source; /* of EXPLOIT; else CT_TRIAL_NONE */
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
/* EXPLOIT; takes *value. */
ct_status ct_orders_exploit(ct_orders *o, ct_trial_id t, ct_trial_id source,
                            bool checkpoint, ct_value *value, ct_err *err);

#endif
