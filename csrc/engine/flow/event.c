/* event.c: the names of events. */
#include "flow/event.h"

const char *
ct_event_name(ct_event_kind kind)
{
    static const char *const names[CT_EVENT_COUNT] = {
#define EVENT_NAME(kind) #kind,
        CT_EVENT_LIST(EVENT_NAME)
#undef EVENT_NAME
    };
    return (unsigned)kind < CT_EVENT_COUNT ? names[kind] : "UNKNOWN";
}
