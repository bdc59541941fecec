/* folder.h: a folder of its own for each test that writes files. */
#ifndef CT_TEST_FOLDER_H
#define CT_TEST_FOLDER_H

#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>

static char folder[64];

static inline int
make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/ctune-test-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static inline int
remove_folder(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    return ct_dir_remove_tree(folder, &err) == CT_OK && !ct_file_exists(folder) ? 0
                                                                                : -1;
}

/* Valid until the next call. */
static inline const char *
in_folder(const char *name)
{
    static char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

#endif
