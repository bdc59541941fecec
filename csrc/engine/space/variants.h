/* variants.h: the configurations of a space, one after the other, in constant memory.
 *
 * One sample gives one variant per point of the grid; the first grid variable in order
 * of paths varies fastest. Numbers are drawn in walk order (depth first, dicts in
 * insertion order), anew for every grid point unless constant_grid. Domains and grids
 * inside a chosen option are expanded after all variables outside it, and so on
 * inwards.
 *
 * points come first, each a sample of the space overlaid with a partial config.
 *
 * Functions are values computed from the others. Either they are variables like any
 * other, resolved in up to 20 passes and handed the config as far as it is known; or,
 * with functions_last, they are called when everything else stands and the variant is
 * handed out, in the order in which they appear in the space; what they give is then no
 * variable: it appears neither in the evaluated parameters nor in the tag (unless it
 * was an option of a choice). A function that touches something unresolved is asked
 * again in the next pass; when a pass resolves nothing, the variables depend on each
 * other in a circle.
 *
 * ahead: all variants of a sample are drawn when the first is asked for, as a stream
 * shared with other users needs; memory is then bounded by the grid, not by
 * num_samples. */
#ifndef CT_SPACE_VARIANTS_H
#define CT_SPACE_VARIANTS_H

#include "space/space.h"

typedef struct ct_function_ops {
    /* What fn gives for the config so far (entries not resolved yet: ct_is_unresolved).
     * CT_ERECURSIVE if fn touched such an entry. *out: an unchecked node, one
     * reference. */
    ct_status (*call)(void *ctx, ct_ref *fn, const ct_value *config, ct_node **out,
                      ct_err *err);
    /* The state of the random stream as a value, so that a position can be saved; NULL
     * if it cannot. */
    ct_status (*rng_save)(void *ctx, ct_names *names, ct_value *out, ct_err *err);
    ct_status (*rng_restore)(void *ctx, ct_names *names, const ct_value *v,
                             ct_err *err);
} ct_function_ops;

typedef struct ct_variants_options {
    uint64_t num_samples;   /* UINT64_MAX = endless; points count among them */
    const ct_value *points; /* list of dicts, copied; NULL = none */
    bool constant_grid;
    bool functions_last;
    bool ahead;
    ct_rng *rng;
    const ct_function_ops *ops; /* may be NULL if the space has no function */
    void *ctx;                  /* for ops and warn */
    ct_warn_fn warn;            /* may be NULL */
} ct_variants_options;

/* A marker in a config: this entry is not resolved yet. */
bool ct_is_unresolved(const ct_value *v);

typedef struct ct_variants ct_variants;

/* Overlays every point once, so that a wrong one is refused before the first variant.
 * space and rng must outlive it. Errors: those of ct_space_overlay. */
ct_status ct_variants_new(ct_variants **out, const ct_space *space,
                          const ct_variants_options *options, ct_err *err);
void ct_variants_free(ct_variants *v);
/* Points and samples times grid points; UINT64_MAX if endless. Grids inside options do
 * not count, so this is an estimate where there are any. */
uint64_t ct_variants_total(const ct_variants *v);

/* Moves to the next variant; *more = false after the last. On an error the variant is
 * lost, and what follows is unspecified. Errors: CT_ERECURSIVE naming the variables;
 * those of the source of numbers and of functions. */
ct_status ct_variants_next(ct_variants *v, bool *more, ct_err *err);

/* The current variant. Borrowed until the next call of ct_variants_next. */
const ct_value *ct_variants_config(const ct_variants *v);
void ct_variants_take(ct_variants *v, ct_value *config);  /* gives the config away */
size_t ct_variants_count(const ct_variants *v);           /* variables resolved */
ct_name ct_variants_name(const ct_variants *v, size_t i); /* "a/b/0" */
size_t ct_variants_depth(const ct_variants *v, size_t i); /* steps of its path */
/* The step-th piece of its path: true and an index into a list, or false and a
 * ct_name. */
bool ct_variants_step(const ct_variants *v, size_t i, size_t step, uint32_t *at);
const ct_value *ct_variants_value(const ct_variants *v, size_t i); /* not after take */
/* Copies of the variables as a dict "a/b/0" -> value, in order of resolution. */
ct_status ct_variants_evaluated(const ct_variants *v, ct_value *out, ct_err *err);
/* Appends "key=value,key=value", sorted by path; nothing if no variable was
 * resolved. */
ct_status ct_variants_tag(ct_variants *v, ct_buf *out, ct_err *err);

/* The position as a value, and back in fresh variants of the same space and options.
 * Errors: CT_EUNSUPPORTED without rng_save; CT_ECORRUPT. */
ct_status ct_variants_save(const ct_variants *v, ct_names *names, ct_value *out,
                           ct_err *err);
ct_status ct_variants_restore(ct_variants *v, ct_names *names, const ct_value *saved,
                              ct_err *err);

#endif
