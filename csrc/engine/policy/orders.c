/* orders.c: the queue of orders that a scheduler fills and the controller empties.
 *
 * A queue lives through many questions: clearing keeps its memory, so that a scheduler
 * which gives orders all the time allocates nothing once warm. */
#include "policy/orders.h"

#include "base/mem.h"

void
ct_orders_clear(ct_orders *o)
{
    for (size_t i = 0; i < o->count; i++) {
        ct_value_deinit(&o->items[i].value);
    }
    o->count = 0;
}

void
ct_orders_deinit(ct_orders *o)
{
    ct_orders_clear(o);
    ct_free(o->items);
    *o = (ct_orders)CT_ORDERS_INIT;
}

static ct_status
put_order(ct_orders *o, ct_order order, ct_value *value, ct_err *err)
{
    ct_status st =
        ct_grow((void **)&o->items, &o->cap, o->count + 1, sizeof *o->items, err);
    if (st != CT_OK) {
        if (value != NULL) {
            ct_value_deinit(value);
        }
        return st;
    }
    ct_order *item = &o->items[o->count++];
    *item = order;
    if (value != NULL) {
        item->value = *value;
        *value = ct_nil();
    }
    return CT_OK;
}

ct_status
ct_orders_add(ct_orders *o, ct_order_kind kind, ct_trial_id t, bool checkpoint,
              ct_value *value, ct_err *err)
{
    ct_order order = {kind, t, CT_TRIAL_NONE, checkpoint, ct_nil()};
    return put_order(o, order, value, err);
}

ct_status
ct_orders_exploit(ct_orders *o, ct_trial_id t, ct_trial_id source, bool checkpoint,
                  ct_value *value, ct_err *err)
{
    ct_order order = {CT_ORDER_EXPLOIT, t, source, checkpoint, ct_nil()};
    return put_order(o, order, value, err);
}
