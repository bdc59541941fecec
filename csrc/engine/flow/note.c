/* note.c: the names of notes. */
#include "flow/note.h"

const char *
ct_note_name(ct_note_kind kind)
{
    static const char *const names[CT_NOTE_COUNT] = {
#define NOTE_NAME(kind) #kind,
        CT_NOTE_LIST(NOTE_NAME)
#undef NOTE_NAME
    };
    return (unsigned)kind < CT_NOTE_COUNT ? names[kind] : "UNKNOWN";
}
