/* command.c: the names of commands. */
#include "flow/command.h"

const char *
ct_command_name(ct_command_kind kind)
{
    static const char *const names[CT_COMMAND_COUNT] = {
#define COMMAND_NAME(kind) #kind,
        CT_COMMAND_LIST(COMMAND_NAME)
#undef COMMAND_NAME
    };
    return (unsigned)kind < CT_COMMAND_COUNT ? names[kind] : "UNKNOWN";
}
