/* The controller on the simulated executor: answers come late, twice, or never; workers
 * die. After every turn the model checks that nothing is claimed twice, asked twice or
 * forgotten. */
#include "state_text.h"
#include "support.h"

#include "base/keys.h"
#include "base/pcg.h"
#include "control/control.h"
#include "exec/sim.h"
#include "sched/fifo.h"

#include <stdio.h>
#include <string.h>

#define TRIALS_MAX 64

/* A searcher that makes `limit` trials, one wait before every third. */
typedef struct counting {
    ct_searcher base;
    uint32_t made, limit, completed, errors;
    bool waited;
} counting;

static ct_status
counting_next(ct_searcher *s, const ct_board *b, ct_suggestion *out,
              ct_search_state *state, ct_err *err)
{
    counting *c = (counting *)s;
    char id[16];

    (void)b;
    if (c->made == c->limit) {
        *state = CT_SEARCH_FINISHED;
        return CT_OK;
    }
    if (c->made % 3 == 2 && !c->waited) {
        c->waited = true;
        *state = CT_SEARCH_WAIT;
        return CT_OK;
    }
    c->waited = false;
    snprintf(id, sizeof id, "t_%05u", c->made++);
    out->id = ct_strndup(id, strlen(id));
    out->tag = ct_strndup("", 0);
    if (out->id == NULL || out->tag == NULL) {
        return ct_fail_mem(err);
    }
    out->config = ct_dict();
    out->evaluated = ct_dict();
    *state = CT_SEARCH_TRIAL;
    return CT_OK;
}

static ct_status
counting_result(ct_searcher *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                ct_err *err)
{
    (void)s, (void)b, (void)t, (void)r, (void)err;
    return CT_OK;
}

static ct_status
counting_complete(ct_searcher *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                  bool error, ct_err *err)
{
    counting *c = (counting *)s;

    (void)b, (void)t, (void)r, (void)err;
    c->completed++;
    c->errors += error;
    return CT_OK;
}

/* The test keeps it when it changes the controller. */
static ct_status
counting_save(ct_searcher *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names, (void)err;
    *out = ct_i64(((counting *)s)->made);
    return CT_OK;
}

static ct_status
counting_restore(ct_searcher *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)names;
    return v->kind == CT_I64 && v->u.i == ((counting *)s)->made
               ? CT_OK
               : ct_fail(err, CT_ECORRUPT, "searcher", "is not what it was");
}

static const ct_searcher_ops counting_ops = {
    .name = "counting",
    .foreign = true, /* asked again after each result */
    .next = counting_next,
    .on_result = counting_result,
    .on_complete = counting_complete,
    .save = counting_save,
    .restore = counting_restore,
};

/* A scheduler with random verdicts and orders about random trials; FIFO otherwise. */
typedef struct wild {
    ct_scheduler base;
    ct_pcg *rng;
    double p_pause, p_stop, p_order;
    ct_verdict always; /* what it says if those are 0 */
    ct_orders *once;   /* given with the next result instead, or NULL */
    int exploited[2];  /* how many exploits were not done, and done */
} wild;

static ct_status
wild_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
         ct_err *err)
{
    (void)s, (void)b, (void)t, (void)orders, (void)err;
    return CT_OK;
}

/* A trial that runs is paused first; its resources may change while it waits. */
static ct_status
wild_resize(wild *w, const ct_board *b, ct_trial_id t, ct_orders *orders, ct_err *err)
{
    ct_value dict = ct_dict(), cpus = ct_f64((double)(1 + ct_pcg_next(w->rng) % 4));

    if (ct_trials_get(b->trials, t)->status == CT_TRIAL_RUNNING) {
        return ct_orders_add(orders, CT_ORDER_PAUSE, t, true, NULL, err);
    }
    ct_status st = ct_value_put(&dict, CT_KEY_CPU, &cpus, err);
    if (st == CT_OK) {
        st = ct_orders_add(orders, CT_ORDER_RESIZE, t, false, &dict, err);
    }
    ct_value_deinit(&dict);
    return st;
}

/* A new config, with or without the checkpoint of another trial. */
static ct_status
wild_config(wild *w, const ct_board *b, ct_order_kind kind, ct_trial_id t,
            ct_orders *orders, ct_err *err)
{
    ct_trial_id source =
        (ct_trial_id)(ct_pcg_next(w->rng) % ct_trials_count(b->trials));
    ct_value tuple = ct_tuple(), config = ct_dict(), second = ct_dict();
    ct_value n = ct_i64((int64_t)(ct_pcg_next(w->rng) % 100));
    ct_status st = ct_value_put(&config, CT_KEY_CPU, &n, err);

    if (st == CT_OK && kind == CT_ORDER_EXPLOIT) {
        st = ct_str(&second, "tag", 3, err);
    }
    if (st == CT_OK) {
        st = ct_value_push(&tuple, &config, err);
    }
    if (st == CT_OK) {
        st = ct_value_push(&tuple, &second, err);
    }
    ct_value_deinit(&config);
    ct_value_deinit(&second);
    if (st == CT_OK && kind == CT_ORDER_EXPLOIT) {
        return ct_orders_exploit(orders, t, source, ct_pcg_next(w->rng) % 4 != 0,
                                 &tuple, err);
    }
    if (st == CT_OK) {
        return ct_orders_add(orders, kind, t, false, &tuple, err);
    }
    ct_value_deinit(&tuple);
    return st;
}

static ct_status
wild_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
            ct_verdict *out, ct_orders *orders, ct_err *err)
{
    wild *w = (wild *)s;
    double u = w->rng->rng.next_double(&w->rng->rng);

    (void)r;
    if (w->once != NULL) {
        *out = CT_CONTINUE;
        *orders = *w->once;
        *w->once = (ct_orders)CT_ORDERS_INIT;
        w->once = NULL;
        return CT_OK;
    }
    *out = u < w->p_pause ? CT_PAUSE : u < w->p_pause + w->p_stop ? CT_STOP : w->always;
    if (w->rng->rng.next_double(&w->rng->rng) < w->p_order) {
        ct_trial_id other =
            (ct_trial_id)(ct_pcg_next(w->rng) % ct_trials_count(b->trials));
        ct_order_kind kind = (ct_order_kind)(ct_pcg_next(w->rng) % CT_ORDER_COUNT);
        if (ct_pcg_next(w->rng) % 2 == 0) { /* offers are of use when there are many */
            return ct_orders_add(orders, CT_ORDER_OFFER, t, true, NULL, err);
        }
        if (kind == CT_ORDER_RESIZE) {
            return wild_resize(w, b, other, orders, err);
        }
        if (kind == CT_ORDER_EXPLOIT || kind == CT_ORDER_CONFIG) {
            return wild_config(w, b, kind, other, orders, err);
        }
        return ct_orders_add(orders, kind, other, ct_pcg_next(w->rng) % 2 == 0, NULL,
                             err);
    }
    return CT_OK;
}

static ct_status
wild_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
              ct_orders *orders, ct_err *err)
{
    (void)s, (void)b, (void)t, (void)r, (void)orders, (void)err;
    return CT_OK;
}

static ct_status
wild_end(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
         ct_err *err)
{
    (void)s, (void)b, (void)t, (void)orders, (void)err;
    return CT_OK;
}

static ct_status
wild_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
            ct_err *err)
{
    (void)s, (void)orders, (void)err;
    *out = ct_fifo_choose(b);
    return CT_OK;
}

static ct_status
wild_exploited(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_trial_id source,
               bool done, const ct_value *note, ct_err *err)
{
    const ct_trial *trial = ct_trials_get(b->trials, t);

    (void)source, (void)note, (void)err;
    ((wild *)s)->exploited[done]++;
    assert_true(!done || (trial->status == CT_TRIAL_PAUSED && trial->revision > 0 &&
                          strcmp(trial->tag, "tag") == 0));
    return CT_OK;
}

static ct_status
wild_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)s, (void)names;
    return ct_str(out, "wild", 4, err);
}

static ct_status
wild_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)s, (void)names;
    return v->kind == CT_STR && strcmp(v->u.s, "wild") == 0
               ? CT_OK
               : ct_fail(err, CT_ECORRUPT, "scheduler", "is not what it was");
}

static const ct_scheduler_ops wild_ops = {
    .name = "wild",
    .on_add = wild_add,
    .on_result = wild_result,
    .on_complete = wild_complete,
    .on_error = wild_end,
    .on_remove = wild_end,
    .choose = wild_choose,
    .on_exploited = wild_exploited,
    .save = wild_save,
    .restore = wild_restore,
};

/* One experiment in virtual time, and what the test knows of it. */
typedef struct world {
    ct_pcg rng;
    ct_names *names;
    ct_virtual_clock clock;
    counting search;
    wild sched;
    ct_exec *exec;
    ct_control *control;
    ct_record record;
    int steps_per_trial;
    int steps[TRIALS_MAX];
    double p_fail, p_export, p_lost, p_twice, p_late;
    bool resized;           /* trials may want more than one CPU */
    bool open[TRIALS_MAX];  /* a command is with the executor */
    bool alive[TRIALS_MAX]; /* the executor has a worker */
    bool exports;
    bool exported[TRIALS_MAX]; /* that worker has */
    int ended[TRIALS_MAX];     /* COMPLETE and ERROR notes */
    int results[TRIALS_MAX];
    int checkpoints[TRIALS_MAX];
    int experiment_ends;
    int export_failures;
    char path[256];
    ct_event_kind breaks; /* how restoring fails: RESTORE_FAILED, LOST; COUNT = never */
    uint32_t unreadable;  /* checkpoints from this number on are damaged */
    int fails_after;      /* the step after which the trial fails, once */
    char tried[64];       /* the numbers of checkpoints given to START; - = none */
    ct_control_opts opts; /* of the controller, but what only its making needs */
    ct_experiment experiment;
    int moves; /* after so many turns another controller takes over; 0 = never */
    int turns;
    bool logs;
    ct_buf log; /* what the controller said */
} world;

static double
chance(world *w)
{
    return w->rng.rng.next_double(&w->rng.rng);
}

static ct_status
plan_step(world *w, const ct_command *c, ct_sim_answer *out, ct_err *err)
{
    int n = ++w->steps[c->trial];
    ct_name loss;

    if (w->fails_after > 0 && n > w->fails_after) {
        w->fails_after = 0;
        out->event.kind = CT_EVENT_FAILED;
        return CT_OK;
    }
    ct_status st = ct_names_intern(w->names, "loss", 4, &loss, err);

    out->event.kind = CT_EVENT_RESULT;
    ct_record_clear(&w->record);
    if (st == CT_OK) {
        st = ct_record_f64(&w->record, loss, 1.0 / n, err);
    }
    if (st == CT_OK) {
        st = ct_record_bool(&w->record, CT_KEY_DONE, n >= w->steps_per_trial, err);
    }
    if (st == CT_OK) {
        st = ct_record_i64(&w->record, CT_KEY_TRAINING_ITERATION, n, err);
    }
    out->event.record = &w->record;
    return st;
}

static uint8_t
status_of(const world *w, ct_trial_id t)
{
    return ct_trials_get(ct_control_board(w->control)->trials, t)->status;
}

/* The trial's only checkpoints are those after its steps: number n after step n + 1. */
static void
restore(world *w, const ct_command *c, ct_sim_answer *out)
{
    unsigned number = 0;
    size_t len = strlen(w->tried);

    if (c->checkpoint == NULL) {
        (void)snprintf(w->tried + len, sizeof w->tried - len, "-");
        w->steps[c->trial] = 0;
        return;
    }
    assert_int_equal(sscanf(strrchr(c->checkpoint, '/'), "/checkpoint_%06u", &number),
                     1);
    (void)snprintf(w->tried + len, sizeof w->tried - len, "%u", number);
    w->steps[c->trial] = (int)number + 1;
    if (number >= w->unreadable && w->breaks == CT_EVENT_LOST) {
        out->lost = true;
    } else if (number >= w->unreadable) {
        out->event.kind = w->breaks;
        out->event.text = "damaged";
        out->event.text_len = 7;
    }
}

static ct_status
plan(void *ctx, const ct_command *c, double now, ct_sim_answer *out, ct_err *err)
{
    world *w = ctx;

    (void)now;
    assert_false(w->open[c->trial] && c->kind != CT_COMMAND_KILL);
    w->open[c->trial] = true;
    *out = (ct_sim_answer){.duration = 0.5 + chance(w)};
    switch (c->kind) {
    case CT_COMMAND_START:
        assert_false(w->alive[c->trial]);
        w->alive[c->trial] = true;
        w->exported[c->trial] = false;
        out->event.kind = CT_EVENT_STARTED;
        if (w->breaks != CT_EVENT_COUNT) {
            restore(w, c, out);
        }
        break;
    case CT_COMMAND_RESET:
        assert_true(w->alive[c->from] && w->exported[c->from] == w->exports);
        w->alive[c->from] = false;
        w->alive[c->trial] = true;
        w->exported[c->trial] = false;
        out->event.kind = CT_EVENT_RESET;
        break;
    case CT_COMMAND_SAVE:
        out->event.kind = CT_EVENT_SAVED;
        snprintf(w->path, sizeof w->path, "%s/checkpoint_%06u", c->trial_dir,
                 (unsigned)c->index);
        out->event.path = w->path;
        out->event.path_len = strlen(w->path);
        break;
    case CT_COMMAND_EXPORT:
        assert_true(w->exports && !w->exported[c->trial]);
        assert_int_equal(status_of(w, c->trial), CT_TRIAL_TERMINATED);
        w->exported[c->trial] = true;
        out->event.kind = CT_EVENT_EXPORTED;
        break;
    case CT_COMMAND_STOP:
        assert_true(!w->exports || w->exported[c->trial] ||
                    status_of(w, c->trial) != CT_TRIAL_TERMINATED);
        /* fall through */
    case CT_COMMAND_KILL:
        assert_true(w->alive[c->trial]);
        out->event.kind = CT_EVENT_STOPPED;
        return CT_OK;
    default:
        if (plan_step(w, c, out, err) != CT_OK) {
            return CT_ENOMEM;
        }
        break;
    }
    double u = chance(w);
    if (u < w->p_fail || (c->kind == CT_COMMAND_EXPORT && u < w->p_export)) {
        out->event.kind = CT_EVENT_FAILED;
        out->event.record = NULL;
        out->event.text = "ValueError: by chance";
        out->event.text_len = strlen(out->event.text);
    } else if (u < w->p_fail + w->p_lost) {
        out->lost = true;
    }
    out->twice = chance(w) < w->p_twice;
    out->late_after_kill = chance(w) < w->p_late;
    return CT_OK;
}

/* Every checkpoint that somebody needs is there, and counts them. */
static void
check_pins(world *w)
{
    const ct_trials *trials = ct_control_board(w->control)->trials;
    uint32_t pins = 0, needs = 0;

    for (ct_trial_id t = 0; t < ct_trials_count(trials); t++) {
        const ct_trial *trial = ct_trials_get(trials, t);
        const ct_checkpoint_ref refs[] = {trial->from, trial->offered};
        for (int i = 0; i < 2; i++) {
            if (refs[i].trial != CT_TRIAL_NONE) {
                needs++;
                assert_non_null(ct_trials_checkpoint(trials, refs[i]));
            }
        }
        for (uint32_t i = 0; i < trial->checkpoint_count; i++) {
            pins += trial->checkpoints[i].pins;
        }
    }
    assert_int_equal(pins, needs);
}

static void
check_invariants(world *w)
{
    const ct_board *b = ct_control_board(w->control);
    size_t n = ct_trials_count(b->trials);
    size_t sum = 0;
    int alive = 0;

    for (int s = 0; s < CT_TRIAL_STATUS_COUNT; s++) {
        sum += ct_trials_with(b->trials, (ct_trial_status)s);
    }
    assert_int_equal(sum, n);
    for (size_t t = 0; t < n; t++) {
        uint8_t status = ct_trials_get(b->trials, (ct_trial_id)t)->status;
        bool finished = status == CT_TRIAL_TERMINATED || status == CT_TRIAL_ERROR;
        alive += w->alive[t];
        assert_int_equal(w->ended[t], finished ? 1 : 0);
        if (status == CT_TRIAL_RUNNING) {
            assert_true(w->alive[t]);
        }
        assert_int_equal(ct_metrics_rows(b->metrics, (ct_trial_id)t), w->results[t]);
        assert_int_equal(ct_trials_get(b->trials, (ct_trial_id)t)->checkpoint_count,
                         w->checkpoints[t]);
    }
    check_pins(w);
    double used = ct_resources_used(b->resources, CT_KEY_CPU);
    assert_true(used <= ct_resources_total(b->resources, CT_KEY_CPU));
    assert_true(alive > 0 || used == 0.0);
    assert_true(w->resized || used <= (double)alive); /* idle workers claim nothing */
}

static void
hear(world *w)
{
    ct_note n;

    while (ct_control_next_note(w->control, &n)) {
        if (w->logs) {
            assert_int_equal(ct_buf_printf(&w->log, NULL, "note %d %u %a %s\n", n.kind,
                                           (unsigned)n.trial, n.time,
                                           n.path == NULL ? "" : n.path),
                             CT_OK);
        }
        switch (n.kind) {
        case CT_NOTE_TRIAL_COMPLETE:
            w->ended[n.trial]++;
            break;
        case CT_NOTE_TRIAL_ERROR: /* after COMPLETE if its export failed */
            w->ended[n.trial] += !w->exported[n.trial];
            w->export_failures += w->exported[n.trial];
            break;
        case CT_NOTE_RESULT:
            assert_non_null(n.record);
            w->results[n.trial]++;
            break;
        case CT_NOTE_CHECKPOINT:
            w->checkpoints[n.trial]++;
            break;
        case CT_NOTE_CHECKPOINT_DROP:
            assert_non_null(n.path);
            w->checkpoints[n.trial]--;
            break;
        case CT_NOTE_EXPERIMENT_END:
            w->experiment_ends++;
            break;
        default:
            break;
        }
    }
}

/* A controller as the world has one, in `dir`. */
static ct_status
make_control(world *w, ct_names *names, const char *dir, ct_control **out, ct_err *err)
{
    ct_value cpus = ct_dict(), one = ct_dict();
    ct_value n = ct_f64(4.0), m = ct_f64(1.0);
    ct_control_opts o = w->opts;
    ct_experiment e = w->experiment;
    ct_status st = ct_value_put(&cpus, CT_KEY_CPU, &n, err);

    if (st == CT_OK) {
        st = ct_value_put(&one, CT_KEY_CPU, &m, err);
    }
    o.names = names;
    o.resources = &cpus;
    e.dir = dir;
    e.request = &one;
    o.experiments = &e;
    if (st == CT_OK) {
        st = ct_control_new(out, &o, err);
    }
    ct_value_deinit(&cpus);
    ct_value_deinit(&one);
    return st;
}

/* The state of one controller to another one, whose names have other numbers. */
static ct_status
hand_over(ct_control *from, ct_control *to, ct_err *err)
{
    ct_value saved = ct_nil(), read = ct_dict();
    ct_names *theirs = ct_control_names(from);
    ct_status st = ct_control_save(from, &saved, err);

    for (uint32_t i = 0; st == CT_OK && i < saved.len; i++) {
        ct_entry *e = &saved.u.entries[i];
        ct_name key;
        st = ct_names_intern(ct_control_names(to), ct_names_text(theirs, e->key),
                             ct_names_len(theirs, e->key), &key, err);
        if (st == CT_OK) {
            st = ct_value_put(&read, key, &e->value, err);
        }
    }
    if (st == CT_OK) {
        st = ct_control_load(to, &read, (ct_ref_reader){NULL, NULL}, err);
    }
    ct_value_deinit(&saved);
    ct_value_deinit(&read);
    return st;
}

/* Another controller takes over, by way of a third one in another place that has other
 * numbers for names. */
static ct_status
move(world *w, ct_err *err)
{
    ct_control *middle = NULL, *last = NULL;
    ct_names *names = NULL;
    ct_name other;
    ct_status st = ct_names_new(&names, err);

    if (st == CT_OK) {
        st = ct_keys_intern(names, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(names, "something else", 14, &other, err);
    }
    if (st == CT_OK) {
        st = make_control(w, names, "/somewhere", &middle, err);
    }
    if (st == CT_OK) {
        st = make_control(w, w->names, "/nowhere/exp", &last, err);
    }
    if (st == CT_OK) {
        st = hand_over(w->control, middle, err);
    }
    if (st == CT_OK) {
        st = hand_over(middle, last, err);
    }
    ct_control_free(middle);
    ct_names_free(names);
    if (st != CT_OK) {
        ct_control_free(last);
        return st;
    }
    ct_control_free(w->control);
    w->control = last;
    return CT_OK;
}

static ct_status
turn(world *w, ct_err *err)
{
    ct_status st = w->exec->ops->wait(w->exec, 1.0, err);

    ct_control_begin(w->control);
    while (st == CT_OK) {
        ct_event ev;
        bool got;
        st = w->exec->ops->poll(w->exec, &ev, &got, err);
        if (st != CT_OK || !got) {
            break;
        }
        w->open[ev.trial] = false;
        if (ev.kind == CT_EVENT_STOPPED || ev.kind == CT_EVENT_LOST) {
            w->alive[ev.trial] = false;
        }
        st = ct_control_feed(w->control, &ev, err);
    }
    if (st == CT_OK) {
        ct_event tick = {
            .kind = CT_EVENT_TICK, .trial = CT_TRIAL_NONE, .time = w->clock.time + 1.0};
        st = ct_control_feed(w->control, &tick, err);
    }
    if (st == CT_OK) {
        st = ct_control_settle(w->control, w->clock.time + 1.0, err);
    }
    ct_command c;
    while (st == CT_OK && ct_control_next_command(w->control, &c)) {
        if (w->logs) {
            assert_int_equal(
                ct_buf_printf(
                    &w->log, NULL, "command %d %u %u %llu %u %s %s %llu\n", c.kind,
                    (unsigned)c.trial, (unsigned)c.from, (unsigned long long)c.serial,
                    (unsigned)c.index, c.checkpoint == NULL ? "" : c.checkpoint,
                    c.trial_dir == NULL ? "" : c.trial_dir, (unsigned long long)c.upto),
                CT_OK);
        }
        st = w->exec->ops->submit(w->exec, &c, err);
    }
    if (st == CT_OK) {
        hear(w);
    }
    w->turns++;
    return st == CT_OK && w->moves > 0 && w->turns % w->moves == 0 ? move(w, err) : st;
}

static ct_status
world_init(world *w, uint64_t seed, uint32_t trials, ct_control_opts o, ct_err *err)
{
    ct_sim_ops sim = {plan, w};

    memset(w, 0, sizeof *w);
    ct_pcg_init(&w->rng, seed, 1);
    ct_virtual_clock_init(&w->clock, 1000.0);
    w->search = (counting){.base = {&counting_ops}, .limit = trials};
    w->sched = (wild){.base = {&wild_ops}, .rng = &w->rng};
    w->steps_per_trial = 5;
    w->breaks = CT_EVENT_COUNT;
    ct_status st = ct_names_new(&w->names, err);
    if (st == CT_OK) {
        st = ct_keys_intern(w->names, err);
    }
    w->experiment = (ct_experiment){
        .name = "exp",
        .trainable = "model",
        .max_failures = o.experiments == NULL ? 0 : o.experiments->max_failures,
        .exports = o.experiments != NULL && o.experiments->exports};
    w->exports = w->experiment.exports;
    o.scheduler = &w->sched.base;
    o.searcher = &w->search.base;
    o.n_experiments = 1;
    o.max_pending = 8;
    o.max_dirname = 130;
    o.checkpoint.score = CT_NAME_NONE;
    w->opts = o;
    if (st == CT_OK) {
        st = make_control(w, w->names, "/nowhere/exp", &w->control, err);
    }
    if (st == CT_OK) {
        st = ct_sim_new(&w->exec, &sim, &w->clock, err);
    }
    return st;
}

static void
world_deinit(world *w)
{
    if (w->exec != NULL) {
        w->exec->ops->free(w->exec);
    }
    ct_control_free(w->control);
    ct_names_free(w->names);
    ct_record_deinit(&w->record);
    ct_buf_deinit(&w->log);
}

/* Runs to the end; the number of turns is bounded, so a hang is a failure. */
static void
run_to_end(world *w)
{
    ct_err err = CT_ERR_INIT;
    int turns = 0;

    while (!ct_control_done(w->control)) {
        assert_ok(turn(w, &err), err);
        check_invariants(w);
        assert_true(++turns < 20000);
    }
    assert_int_equal(w->experiment_ends, 1);
    assert_int_equal(ct_control_open(w->control), 0);
    assert_true(
        ct_resources_used(ct_control_board(w->control)->resources, CT_KEY_CPU) == 0.0);
    for (int t = 0; t < TRIALS_MAX; t++) {
        assert_false(w->alive[t]); /* every worker was ended */
    }
    assert_int_equal(w->search.completed, w->search.made);
}

static void
test_every_trial_runs_to_its_end(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {0};
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 1, 20, o, &err), err);
    run_to_end(&w);
    for (int t = 0; t < 20; t++) {
        assert_int_equal(w.results[t], 5);
    }
    world_deinit(&w);
}

static void
test_random_verdicts_orders_and_faults_keep_the_invariants(void **ctx)
{
    int exploited[2] = {0, 0}, exports_failed = 0;

    (void)ctx;
    for (uint64_t seed = 0; seed < 150; seed++) {
        ct_err err = CT_ERR_INIT;
        ct_control_opts o = {.experiments =
                                 &(ct_experiment){.max_failures = (int64_t)(seed % 4),
                                                  .exports = seed % 7 < 3},
                             .reuse_workers = seed % 2 == 1,
                             .checkpoint = {.frequency = (uint32_t)(seed % 3),
                                            .at_end = seed % 5 == 0,
                                            .num_to_keep = (uint32_t)(seed % 4)}};
        world w;
        assert_ok(world_init(&w, seed, 40, o, &err), err);
        w.sched.p_pause = 0.1;
        w.sched.p_stop = 0.05;
        w.sched.p_order = seed % 3 == 0 ? 0.5 : 0.0;
        w.resized = seed % 3 == 0;
        w.p_fail = 0.05;
        w.p_lost = 0.05;
        w.p_twice = 0.1;
        w.p_late = 0.5;
        run_to_end(&w);
        exploited[0] += w.sched.exploited[0];
        exploited[1] += w.sched.exploited[1];
        exports_failed += w.export_failures;
        world_deinit(&w);
    }
    assert_true(exploited[0] > 50 && exploited[1] > 5);
    assert_true(exports_failed > 20);
}

/* Wild runs again, in which after every turn (with most seeds: after some) a controller goes
 * on from what the one before has saved: it must say the same and end in the same state. */
static void
test_a_loaded_state_is_the_saved_one(void **ctx)
{
    (void)ctx;
    for (uint64_t seed = 0; seed < 40; seed++) {
        ct_buf text[2] = {CT_BUF_INIT, CT_BUF_INIT};
        ct_buf said[2];
        for (int moves = 0; moves < 2; moves++) {
            ct_err err = CT_ERR_INIT;
            ct_control_opts o = {
                .experiments = &(ct_experiment){.max_failures = (int64_t)(seed % 4),
                                                .exports = seed % 7 < 3},
                .reuse_workers = seed % 2 == 1,
                .checkpoint = {.frequency = (uint32_t)(seed % 3),
                               .at_end = seed % 5 == 0,
                               .num_to_keep = (uint32_t)(seed % 4)}};
            world w;
            assert_ok(world_init(&w, seed, 25, o, &err), err);
            w.sched.p_pause = 0.1;
            w.sched.p_stop = 0.05;
            w.sched.p_order = 0.3;
            w.p_fail = 0.05;
            w.p_lost = 0.05;
            w.p_twice = 0.1;
            w.p_late = 0.5;
            w.resized = true;
            w.logs = true;
            w.moves = moves == 0 ? 0 : seed % 8 == 0 ? 1 : (int)(seed % 8) + 3;
            run_to_end(&w);
            put_state_text(&text[moves], w.control);
            said[moves] = w.log;
            w.log = (ct_buf)CT_BUF_INIT;
            world_deinit(&w);
        }
        assert_int_equal(said[0].len, said[1].len);
        assert_memory_equal(said[0].data, said[1].data, said[0].len);
        assert_int_equal(text[0].len, text[1].len);
        assert_memory_equal(text[0].data, text[1].data, text[0].len);
        for (int i = 0; i < 2; i++) {
            ct_buf_deinit(&text[i]);
            ct_buf_deinit(&said[i]);
        }
    }
}

/* Whatever one flipped bit or a missing end makes of a state: no crash. */
static void
test_a_damaged_state_is_refused_or_loaded_but_never_more(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_value saved = ct_nil();
    ct_name key;
    size_t refused = 0;
    world w;

    (void)ctx;
    assert_ok(
        world_init(&w, 3, 4, (ct_control_opts){.checkpoint = {.frequency = 1}}, &err),
        err);
    for (int i = 0; i < 6; i++) {
        assert_ok(turn(&w, &err), err);
    }
    assert_ok(ct_control_save(w.control, &saved, &err), err);
    assert_ok(ct_names_intern(w.names, "state", 5, &key, &err), err);
    ct_value *state = ct_value_get_mut(&saved, key);
    size_t len = state->len;
    for (size_t i = 0; i < 2 * len; i++) {
        ct_control *c = NULL;
        char was = state->u.s[i % len];
        if (i < len) {
            state->u.s[i] = (char)(was ^ 1 << i % 8);
        } else {
            state->len = (uint32_t)(i - len);
        }
        assert_ok(make_control(&w, w.names, "/nowhere/exp", &c, &err), err);
        ct_status st = ct_control_load(c, &saved, (ct_ref_reader){NULL, NULL}, &err);
        refused += st != CT_OK;
        ct_control_free(c);
        state->u.s[i % len] = was;
        state->len = (uint32_t)len;
    }
    assert_true(refused > len);
    ct_value_deinit(&saved);
    world_deinit(&w);
}

static void
test_a_resize_beyond_the_machine_is_an_error_that_names_the_trial(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {0};
    ct_orders orders = CT_ORDERS_INIT;
    ct_value dict = ct_dict(), cpus = ct_f64(5.0);
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 9, 8, o, &err), err);
    assert_ok(turn(&w, &err), err); /* four run, four wait */
    assert_ok(ct_value_put(&dict, CT_KEY_CPU, &cpus, &err), err);
    assert_ok(ct_orders_add(&orders, CT_ORDER_RESIZE, 7, false, &dict, &err), err);
    w.sched.once = &orders;
    ct_status st = CT_OK;
    for (int i = 0; st == CT_OK && i < 10; i++) {
        st = turn(&w, &err);
    }
    assert_int_equal(st, CT_EINVAL);
    assert_string_equal(err.param,
                        ct_trials_get(ct_control_board(w.control)->trials, 7)->id);
    assert_non_null(strstr(err.text, "5 CPU"));
    ct_orders_deinit(&orders);
    world_deinit(&w);
}

static void
test_a_failed_trial_is_tried_again_max_failures_times(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {.experiments = &(ct_experiment){.max_failures = 2}};
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 3, 4, o, &err), err);
    w.p_fail = 1.0;
    run_to_end(&w);
    const ct_trials *trials = ct_control_board(w.control)->trials;
    for (ct_trial_id t = 0; t < 4; t++) {
        assert_int_equal(ct_trials_get(trials, t)->failures, 3);
        assert_int_equal(ct_trials_get(trials, t)->status, CT_TRIAL_ERROR);
    }
    assert_int_equal(w.search.errors, 4);
    world_deinit(&w);
}

/* One trial that fails after its third step, when its checkpoints from `unreadable` on
 * turn out to be damaged. Returns which ones were tried. */
static const char *
tried(ct_event_kind breaks, uint32_t unreadable, uint32_t retries, int64_t max_failures,
      uint32_t failures)
{
    static char out[64];
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {.experiments = &(ct_experiment){.max_failures = max_failures},
                         .restore_retries = retries,
                         .checkpoint = {.frequency = 1}};
    world w;

    assert_ok(world_init(&w, 3, 1, o, &err), err);
    w.breaks = breaks;
    w.unreadable = unreadable;
    w.fails_after = 3;
    run_to_end(&w);
    const ct_trial *t = ct_trials_get(ct_control_board(w.control)->trials, 0);
    assert_int_equal(t->failures, failures);
    assert_int_equal(t->status, max_failures < 0 || (int64_t)failures <= max_failures
                                    ? CT_TRIAL_TERMINATED
                                    : CT_TRIAL_ERROR);
    (void)snprintf(out, sizeof out, "%s", w.tried);
    world_deinit(&w);
    return out;
}

static void
test_a_trial_goes_on_from_the_latest_checkpoint_that_can_be_restored(void **ctx)
{
    (void)ctx;
    assert_string_equal(tried(CT_EVENT_RESTORE_FAILED, 9, 0, -1, 1), "-2");
    assert_string_equal(tried(CT_EVENT_RESTORE_FAILED, 2, 0, -1, 2), "-21");
    assert_string_equal(tried(CT_EVENT_RESTORE_FAILED, 1, 0, -1, 3), "-210");
    assert_string_equal(tried(CT_EVENT_RESTORE_FAILED, 0, 0, -1, 4), "-210-");
    assert_string_equal(tried(CT_EVENT_RESTORE_FAILED, 0, 0, 4, 4), "-210-");
    assert_string_equal(tried(CT_EVENT_RESTORE_FAILED, 0, 0, 2, 3), "-21");
    /* Retries of one and the same checkpoint count for nothing. */
    assert_string_equal(tried(CT_EVENT_RESTORE_FAILED, 2, 2, -1, 2), "-2221");
    assert_string_equal(tried(CT_EVENT_RESTORE_FAILED, 1, 1, 3, 3), "-22110");
}

static void
test_a_checkpoint_after_which_the_worker_dies_twice_is_given_up(void **ctx)
{
    (void)ctx;
    assert_string_equal(tried(CT_EVENT_LOST, 2, 0, -1, 3), "-221");
    assert_string_equal(tried(CT_EVENT_LOST, 0, 5, -1, 7), "-221100-");
    assert_string_equal(tried(CT_EVENT_LOST, 0, 0, 2, 3), "-22");
}

static void
test_a_trial_whose_export_fails_is_an_error_and_not_tried_again(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {.experiments =
                             &(ct_experiment){.max_failures = 2, .exports = true}};
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 5, 4, o, &err), err);
    w.p_export = 1.0;
    run_to_end(&w);
    const ct_trials *trials = ct_control_board(w.control)->trials;
    for (ct_trial_id t = 0; t < 4; t++) {
        assert_int_equal(ct_trials_get(trials, t)->status, CT_TRIAL_ERROR);
        assert_int_equal(ct_trials_get(trials, t)->failures, 1);
        assert_int_equal(w.results[t], 5);
    }
    assert_int_equal(w.export_failures, 4);
    assert_int_equal(w.search.errors, 0); /* it has its results */
    world_deinit(&w);
}

static void
test_fail_fast_ends_the_others_as_terminated(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {.fail_fast = CT_FAIL_FAST};
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 4, 40, o, &err), err);
    w.p_fail = 0.05;
    run_to_end(&w);
    const ct_trials *trials = ct_control_board(w.control)->trials;
    assert_true(ct_control_failed_fast(w.control));
    assert_int_equal(ct_trials_with(trials, CT_TRIAL_ERROR) +
                         ct_trials_with(trials, CT_TRIAL_TERMINATED),
                     ct_trials_count(trials));
    assert_true(ct_trials_count(trials) < 40);
    world_deinit(&w);
}

static void
test_num_to_keep_keeps_the_latest_ones(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {.checkpoint = {.frequency = 1, .num_to_keep = 2}};
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 5, 3, o, &err), err);
    run_to_end(&w);
    const ct_trial *trial = ct_trials_get(ct_control_board(w.control)->trials, 1);
    assert_int_equal(trial->checkpoint_count, 2);
    assert_string_equal(strrchr(trial->checkpoints[0].path, '/'), "/checkpoint_000003");
    assert_string_equal(strrchr(trial->checkpoints[1].path, '/'), "/checkpoint_000004");
    world_deinit(&w);
}

static void
test_the_best_checkpoints_are_kept_and_always_the_latest(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {.checkpoint = {.frequency = 1, .num_to_keep = 1}};
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 5, 1, o, &err), err);
    /* loss falls with each step, and more is better: the first one is the best. */
    ct_control_free(w.control);
    ct_value cpus = ct_dict(), n = ct_f64(1.0);
    ct_name loss;
    assert_ok(ct_value_put(&cpus, CT_KEY_CPU, &n, &err), err);
    assert_ok(ct_names_intern(w.names, "loss", 4, &loss, &err), err);
    o = (ct_control_opts){
        .names = w.names,
        .scheduler = &w.sched.base,
        .searcher = &w.search.base,
        .resources = &cpus,
        .experiments =
            &(ct_experiment){"exp", "/nowhere/exp", "model", &cpus, 0, false},
        .n_experiments = 1,
        .max_pending = 1,
        .max_dirname = 130,
        .checkpoint = {.frequency = 1, .num_to_keep = 1, .score = loss}};
    assert_ok(ct_control_new(&w.control, &o, &err), err);
    run_to_end(&w);
    const ct_trial *trial = ct_trials_get(ct_control_board(w.control)->trials, 0);
    assert_int_equal(trial->checkpoint_count, 2);
    assert_string_equal(strrchr(trial->checkpoints[0].path, '/'), "/checkpoint_000000");
    assert_string_equal(strrchr(trial->checkpoints[1].path, '/'), "/checkpoint_000004");
    ct_value_deinit(&cpus);
    world_deinit(&w);
}

static void
test_after_an_interrupt_no_command_follows_but_answers_are_kept(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {0};
    ct_event ev = {.kind = CT_EVENT_INTERRUPT, .trial = CT_TRIAL_NONE, .code = 1};
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 6, 20, o, &err), err);
    for (int i = 0; i < 8; i++) {
        assert_ok(turn(&w, &err), err);
    }
    ct_control_begin(w.control);
    assert_ok(ct_control_feed(w.control, &ev, &err), err);
    size_t before = ct_control_open(w.control);
    assert_true(before > 0);
    for (int i = 0; i < 20 && ct_control_open(w.control) > 0; i++) {
        assert_ok(turn(&w, &err), err);
        check_invariants(&w);
    }
    assert_int_equal(ct_control_open(w.control), 0);
    assert_true(ct_trials_with(ct_control_board(w.control)->trials, CT_TRIAL_RUNNING) >
                0);
    world_deinit(&w);
}

/* What is said of eight trials after a while, of which four run at once. */
static void
expect_explained(ct_verdict always, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {0};
    ct_buf why = CT_BUF_INIT;
    world w;

    assert_ok(world_init(&w, 6, 8, o, &err), err);
    w.sched.always = always;
    for (int i = 0; i < 40; i++) {
        assert_ok(turn(&w, &err), err);
        if (i == 0) {
            assert_ok(ct_control_explain(w.control, &why, &err), err);
            assert_int_equal(why.len, 0); /* workers start */
        }
    }
    assert_ok(ct_control_explain(w.control, &why, &err), err);
    assert_string_equal(why.len == 0 ? "" : (const char *)why.data, text);
    ct_buf_deinit(&why);
    world_deinit(&w);
}

static void
test_a_run_that_stands_still_says_who_waits_for_what(void **ctx)
{
    (void)ctx;
    expect_explained(CT_CONTINUE, ""); /* it has ended */
    expect_explained(
        CT_NOOP, "model_t_00000, model_t_00001, model_t_00002 and 1 more keep their "
                 "workers and wait for the scheduler, which answered NOOP; "
                 "model_t_00004 waits for 1 CPU, of which 0 of 4 are free, and 3 more "
                 "trials are pending");
}

static void
test_a_missing_required_metric_names_the_keys_that_are_there(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {0};
    ct_status st = CT_OK;
    ct_name wanted;
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 7, 2, o, &err), err);
    assert_ok(ct_names_intern(w.names, "accuracy", 8, &wanted, &err), err);
    ct_control_free(w.control);
    ct_value cpus = ct_dict(), n = ct_f64(1.0);
    assert_ok(ct_value_put(&cpus, CT_KEY_CPU, &n, &err), err);
    o = (ct_control_opts){.names = w.names,
                          .scheduler = &w.sched.base,
                          .searcher = &w.search.base,
                          .resources = &cpus,
                          .experiments =
                              &(ct_experiment){"exp", NULL, "model", &cpus, 0, false},
                          .n_experiments = 1,
                          .max_pending = 1,
                          .max_dirname = 130,
                          .required = &wanted,
                          .n_required = 1,
                          .checkpoint = {.score = CT_NAME_NONE}};
    assert_ok(ct_control_new(&w.control, &o, &err), err);
    for (int i = 0; i < 10 && st == CT_OK; i++) {
        st = turn(&w, &err);
    }
    assert_int_equal(st, CT_ETUNE);
    assert_non_null(strstr(err.text, "'accuracy'"));
    assert_non_null(strstr(err.text, "loss, done, training_iteration"));
    ct_value_deinit(&cpus);
    world_deinit(&w);
}

static void
test_impossible_resources_are_named_before_a_trial_starts(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    ct_control_opts o = {0};
    world w;

    (void)ctx;
    assert_ok(world_init(&w, 8, 2, o, &err), err);
    ct_control_free(w.control);
    ct_value have = ct_dict(), want = ct_dict(), one = ct_f64(1.0), nine = ct_f64(9.0);
    assert_ok(ct_value_put(&have, CT_KEY_CPU, &one, &err), err);
    assert_ok(ct_value_put(&want, CT_KEY_CPU, &nine, &err), err);
    o = (ct_control_opts){.names = w.names,
                          .scheduler = &w.sched.base,
                          .searcher = &w.search.base,
                          .resources = &have,
                          .experiments =
                              &(ct_experiment){"exp", NULL, "model", &want, 0, false},
                          .n_experiments = 1,
                          .max_pending = 1,
                          .max_dirname = 130,
                          .checkpoint = {.score = CT_NAME_NONE}};
    assert_ok(ct_control_new(&w.control, &o, &err), err);
    assert_int_equal(turn(&w, &err), CT_EINVAL);
    assert_string_equal(err.param, "resources_per_trial");
    assert_non_null(strstr(err.text, "9 CPU"));
    ct_value_deinit(&have);
    ct_value_deinit(&want);
    world_deinit(&w);
}

/* A whole small run in which the n-th allocation fails. */
static ct_status
small_run(void *ctx, ct_err *err)
{
    ct_control_opts o = {.checkpoint = {.frequency = 2, .num_to_keep = 1}};
    world w;
    ct_status st = world_init(&w, 9, 3, o, err);

    (void)ctx;
    for (int i = 0; st == CT_OK && i < 200 && !ct_control_done(w.control); i++) {
        st = turn(&w, err);
    }
    if (st == CT_OK) {
        st = move(&w, err);
    }
    world_deinit(&w);
    return st;
}

static void
test_any_allocation_may_fail_without_a_leak(void **ctx)
{
    (void)ctx;
    for (uint64_t n = 1;; n++) {
        ct_err err = CT_ERR_INIT;
        int64_t live = ct_mem_live();
        ct_mem_fail_at(n);
        ct_status st = small_run(NULL, &err);
        bool hit = ct_mem_failed();
        ct_mem_fail_at(0);
        assert_int_equal(ct_mem_live(), live);
        /* Shrinking the last result of an ended trial may fail: nothing is lost. */
        assert_true(st == CT_OK || (hit && st == CT_ENOMEM));
        if (!hit) {
            break;
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_trial_runs_to_its_end),
        cmocka_unit_test(test_random_verdicts_orders_and_faults_keep_the_invariants),
        cmocka_unit_test(test_a_loaded_state_is_the_saved_one),
        cmocka_unit_test(test_a_damaged_state_is_refused_or_loaded_but_never_more),
        cmocka_unit_test(
            test_a_resize_beyond_the_machine_is_an_error_that_names_the_trial),
        cmocka_unit_test(test_a_failed_trial_is_tried_again_max_failures_times),
        cmocka_unit_test(
            test_a_trial_whose_export_fails_is_an_error_and_not_tried_again),
        cmocka_unit_test(
            test_a_trial_goes_on_from_the_latest_checkpoint_that_can_be_restored),
        cmocka_unit_test(
            test_a_checkpoint_after_which_the_worker_dies_twice_is_given_up),
        cmocka_unit_test(test_fail_fast_ends_the_others_as_terminated),
        cmocka_unit_test(test_num_to_keep_keeps_the_latest_ones),
        cmocka_unit_test(test_the_best_checkpoints_are_kept_and_always_the_latest),
        cmocka_unit_test(
            test_after_an_interrupt_no_command_follows_but_answers_are_kept),
        cmocka_unit_test(test_a_run_that_stands_still_says_who_waits_for_what),
        cmocka_unit_test(test_a_missing_required_metric_names_the_keys_that_are_there),
        cmocka_unit_test(test_impossible_resources_are_named_before_a_trial_starts),
        cmocka_unit_test(test_any_allocation_may_fail_without_a_leak),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
