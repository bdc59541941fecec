/* engine.c: what the C engine does alone, without Python. Prints one JSON line.
 *
 * run.py compiles it with the engine's sources and -O2. Each figure is the best of five. */
#include "base/pcg.h"
#include "sched/asha.h"
#include "search/limiter.h"
#include "space/variants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double
seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void
must(ct_status st, const ct_err *err)
{
    if (st != CT_OK) {
        fprintf(stderr, "%s %s\n", err->param, err->text);
        exit(1);
    }
}

/* Seconds per call of a limiter with ten live trials. */
static double
bench_limiter(void)
{
    enum { COUNT = 2000000 };
    ct_err err = CT_ERR_INIT;
    ct_limiter *l = NULL;
    char ids[11][9];
    bool known;
    size_t ready;
    must(ct_limiter_new(&l, 11, false, &err), &err);
    for (int i = 0; i < 11; i++) {
        snprintf(ids[i], sizeof ids[i], "%08x", (unsigned)i * 2654435761u);
    }
    for (int i = 0; i < 10; i++) {
        must(ct_limiter_enter(l, ids[i], &err), &err);
    }
    double start = seconds();
    for (int i = 0; i < COUNT; i++) {
        must(ct_limiter_enter(l, ids[(i + 10) % 11], &err), &err);
        must(ct_limiter_complete(l, ids[i % 11], &known, &ready, &err), &err);
    }
    double spent = seconds() - start;
    ct_limiter_free(l);
    return spent / (2.0 * COUNT);
}

static ct_status
put(ct_names *names, ct_node *root, const char *key, ct_node **child, ct_err *err)
{
    ct_name n;
    ct_status st = ct_names_intern(names, key, strlen(key), &n, err);
    return st == CT_OK ? ct_node_put(root, n, child, err) : st;
}

/* Seconds per configuration of five mixed dimensions. */
static double
bench_configs(void)
{
    enum { COUNT = 500000 };
    static const char *const words[] = {"relu", "tanh", "gelu"};
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_node *root = NULL;
    ct_node *child = NULL;
    ct_space *space = NULL;
    ct_variants *variants = NULL;
    ct_pcg rng;
    bool more = true;
    const ct_domain domains[] = {
        {.kind = CT_DOMAIN_FLOAT, .log = true, .lower = 1e-5, .upper = 1e-1},
        {.kind = CT_DOMAIN_FLOAT, .lower = 0.0, .upper = 0.5},
        {.kind = CT_DOMAIN_INT, .low = 1, .high = 10},
        {.kind = CT_DOMAIN_INT, .low = 16, .high = 256, .q = 16},
    };
    static const char *const keys[] = {"lr", "dropout", "layers", "batch"};
    ct_pcg_init(&rng, 1, 1);
    must(ct_names_new(&names, &err), &err);
    must(ct_node_branch(&root, CT_NODE_DICT, &err), &err);
    for (int i = 0; i < 4; i++) {
        must(ct_node_domain(&child, &domains[i], &err), &err);
        must(put(names, root, keys[i], &child, &err), &err);
    }
    ct_node *choice = NULL;
    must(ct_node_branch(&choice, CT_NODE_CHOICE, &err), &err);
    for (int i = 0; i < 3; i++) {
        ct_value v;
        must(ct_str(&v, words[i], strlen(words[i]), &err), &err);
        must(ct_node_value(&child, &v, &err), &err);
        must(ct_node_push(choice, &child, &err), &err);
    }
    must(put(names, root, "activation", &choice, &err), &err);
    must(ct_space_new(&space, names, &root, &err), &err);
    ct_variants_options options = {.num_samples = COUNT, .rng = &rng.rng};
    must(ct_variants_new(&variants, space, &options, &err), &err);
    size_t made = 0;
    double start = seconds();
    for (;;) {
        must(ct_variants_next(variants, &more, &err), &err);
        if (!more) {
            break;
        }
        ct_value config = ct_nil();
        ct_variants_take(variants, &config);
        ct_value_deinit(&config);
        made++;
    }
    double spent = seconds() - start;
    ct_variants_free(variants);
    ct_space_free(space);
    ct_names_free(names);
    return spent / (double)made;
}

/* Seconds per decision of ASHA with that many trials. */
static double
bench_asha(uint32_t trials)
{
    enum { COUNT = 3000000 };
    ct_err err = CT_ERR_INIT;
    ct_asha *asha = NULL;
    ct_pcg rng;
    ct_pcg_init(&rng, 1, 1);
    const ct_asha_opts options = {.time_attr = 0,
                                  .metric = 1,
                                  .max_t = 1000.0,
                                  .grace_period = 1.0,
                                  .reduction_factor = 4.0,
                                  .brackets = 1,
                                  .stop_last_trials = true,
                                  .rng = &rng.rng};
    must(ct_asha_new(&asha, &options, &err), &err);
    for (uint32_t t = 0; t < trials; t++) {
        must(ct_asha_add(asha, t, &err), &err);
    }
    uint64_t made = 0;
    double start = seconds();
    for (double at = 1.0; made < COUNT && at < 1000.0; at += 1.0) {
        for (uint32_t t = 0; t < trials; t++, made++) {
            ct_verdict verdict;
            must(ct_asha_result(asha, t, at, rng.rng.next_double(&rng.rng), &verdict,
                                &err),
                 &err);
        }
    }
    double spent = seconds() - start;
    ct_scheduler *policy = ct_asha_scheduler(asha);
    policy->ops->free(policy);
    return spent / (double)made;
}

static double
best_of_five(double (*measure)(void))
{
    double best = measure();
    for (int i = 1; i < 5; i++) {
        double again = measure();
        best = again < best ? again : best;
    }
    return best;
}

static double
asha_100(void)
{
    return bench_asha(100);
}

static double
asha_100000(void)
{
    return bench_asha(100000);
}

int
main(void)
{
    printf("{\"limiter\": %.3e, \"configs\": %.3e, \"asha-100\": %.3e, "
           "\"asha-100000\": %.3e}\n",
           best_of_five(bench_limiter), best_of_five(bench_configs),
           best_of_five(asha_100), best_of_five(asha_100000));
    return 0;
}
