/* watchdog.c: see watchdog.h. */
#include "drive/watchdog.h"

ct_status
ct_watchdog_look(ct_watchdog *w, const ct_control *c, double mono, ct_buf *out,
                 ct_err *err)
{
    ct_buf_clear(out);
    if (!w->began || ct_control_acted(c)) {
        w->began = true;
        w->since = mono;
        return CT_OK;
    }
    if (w->limit <= 0.0 || mono - w->since < w->limit) {
        return CT_OK;
    }
    w->since = mono;
    return ct_control_explain(c, out, err);
}
