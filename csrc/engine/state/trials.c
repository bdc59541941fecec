/* trials.c: the trial table.
 *
 * Trials lie in chunks that never move: a ct_trial pointer stays valid until the table
 * is freed. Each trial has a place, a number that only grows: a requeued trial gets a
 * new one.
 *
 * Order. For each status there is a set of places, kept as bits with summaries above
 * them (bit i of level k+1 is set when word i of level k is not 0). Adding and removing
 * a place and finding the next one look at one word per level: 64 million places are
 * five levels. So a trial keeps its order among its peers however often its status
 * changes.
 *
 * The sets have room for twice as many places as there are trials. When a requeue finds
 * the last place taken, at least half of the places are abandoned: all trials get new
 * places in the same order, which costs O(1) amortised and needs no memory, so that
 * requeueing and changes of status cannot fail. */
#include "state/trials.h"

#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

enum {
    CHUNK = 64, /* trials per chunk */
    LEVELS = 6, /* 64^6 places */
    PLACES_MIN = 128,
    LAST_ROUND = 32, /* a last result's buffer grows in steps of this */
};

typedef struct place_set {
    uint64_t *level[LEVELS];
} place_set;

typedef struct id_slot {
    uint32_t hash;
    ct_trial_id trial; /* CT_TRIAL_NONE = free */
} id_slot;

struct ct_trials {
    ct_trial **chunks;
    size_t chunk_count;
    size_t chunk_cap;
    size_t count;
    uint32_t *place_of; /* by trial */
    size_t place_of_cap;
    ct_trial_id *at_place; /* by place; CT_TRIAL_NONE = abandoned */
    size_t place_cap;      /* of the sets and of at_place */
    size_t place_next;
    place_set sets[CT_TRIAL_STATUS_COUNT];
    size_t with[CT_TRIAL_STATUS_COUNT];
    id_slot *slots; /* open addressing, at most half full */
    size_t slot_cap;
    ct_buf scratch; /* packs a result before it replaces the last one */
};

const char *
ct_trial_status_name(ct_trial_status s)
{
    static const char *const names[CT_TRIAL_STATUS_COUNT] = {
        "PENDING", "RUNNING", "PAUSED", "TERMINATED", "ERROR"};
    return (unsigned)s < CT_TRIAL_STATUS_COUNT ? names[s] : "UNKNOWN";
}

/* ---- sets of places ---- */

static size_t
words_at(size_t places, unsigned level)
{
    for (unsigned i = 0; i <= level; i++) {
        places = (places + 63) / 64;
    }
    return places;
}

static void
set_free(place_set *s)
{
    for (unsigned i = 0; i < LEVELS; i++) {
        ct_free(s->level[i]);
        s->level[i] = NULL;
    }
}

/* Grows every level; on failure some have more room than needed, which does no harm. */
static ct_status
set_reserve(place_set *s, size_t old, size_t places, ct_err *err)
{
    for (unsigned i = 0; i < LEVELS; i++) {
        size_t had = s->level[i] != NULL ? words_at(old, i) : 0;
        size_t want = words_at(places, i);
        if (want <= had) {
            continue;
        }
        uint64_t *p = ct_realloc(s->level[i], want * sizeof *p);
        if (p == NULL) {
            return ct_fail_mem(err);
        }
        memset(p + had, 0, (want - had) * sizeof *p);
        s->level[i] = p;
    }
    return CT_OK;
}

static void
set_add(place_set *s, size_t place)
{
    for (unsigned i = 0; i < LEVELS; i++) {
        uint64_t *word = &s->level[i][place / 64];
        uint64_t before = *word;
        *word |= UINT64_C(1) << (place % 64);
        if (before != 0) {
            return; /* the summaries above know already */
        }
        place /= 64;
    }
}

static void
set_remove(place_set *s, size_t place)
{
    for (unsigned i = 0; i < LEVELS; i++) {
        uint64_t *word = &s->level[i][place / 64];
        *word &= ~(UINT64_C(1) << (place % 64));
        if (*word != 0) {
            return;
        }
        place /= 64;
    }
}

static unsigned
lowest_bit(uint64_t word)
{
    return (unsigned)__builtin_ctzll(word);
}

/* The first place >= from, or SIZE_MAX: up until a word has a later bit, then down. */
static size_t
set_next(const place_set *s, size_t from, size_t places)
{
    size_t at = from;
    for (unsigned i = 0; i < LEVELS; i++) {
        size_t word = at / 64;
        if (word >= words_at(places, i)) {
            return SIZE_MAX;
        }
        uint64_t bits = s->level[i][word] & (UINT64_MAX << (at % 64));
        if (bits != 0) {
            at = word * 64 + lowest_bit(bits);
            while (i > 0) {
                i--;
                at = at * 64 + lowest_bit(s->level[i][at]);
            }
            return at;
        }
        at = word + 1;
    }
    return SIZE_MAX;
}

/* ---- text ids ---- */

static uint32_t
id_hash(const char *text)
{
    return (uint32_t)ct_hash_bytes(text, strlen(text));
}

static void
slots_put(id_slot *slots, size_t cap, id_slot item)
{
    size_t i = item.hash & (cap - 1);
    while (slots[i].trial != CT_TRIAL_NONE) {
        i = (i + 1) & (cap - 1);
    }
    slots[i] = item;
}

static ct_status
slots_reserve(ct_trials *t, size_t count, ct_err *err)
{
    if (count * 2 <= t->slot_cap) {
        return CT_OK;
    }
    size_t cap = t->slot_cap > 0 ? t->slot_cap * 2 : 64;
    id_slot *slots = ct_alloc(cap * sizeof *slots);
    if (slots == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t i = 0; i < cap; i++) {
        slots[i] = (id_slot){0, CT_TRIAL_NONE};
    }
    for (size_t i = 0; i < t->slot_cap; i++) {
        if (t->slots[i].trial != CT_TRIAL_NONE) {
            slots_put(slots, cap, t->slots[i]);
        }
    }
    ct_free(t->slots);
    t->slots = slots;
    t->slot_cap = cap;
    return CT_OK;
}

ct_trial_id
ct_trials_find(const ct_trials *t, const char *text_id)
{
    if (t->slot_cap == 0) {
        return CT_TRIAL_NONE;
    }
    uint32_t hash = id_hash(text_id);
    size_t i = hash & (t->slot_cap - 1);
    while (t->slots[i].trial != CT_TRIAL_NONE) {
        if (t->slots[i].hash == hash &&
            strcmp(ct_trials_get(t, t->slots[i].trial)->id, text_id) == 0) {
            return t->slots[i].trial;
        }
        i = (i + 1) & (t->slot_cap - 1);
    }
    return CT_TRIAL_NONE;
}

/* ---- the table ---- */

ct_status
ct_trials_new(ct_trials **out, ct_err *err)
{
    ct_trials *t = ct_calloc(1, sizeof *t);
    if (t == NULL) {
        return ct_fail_mem(err);
    }
    *out = t;
    return CT_OK;
}

void
ct_checkpoint_deinit(ct_checkpoint *c)
{
    ct_free(c->path);
    ct_free(c->metrics);
    *c = (ct_checkpoint){0};
}

static void
trial_deinit(ct_trial *trial)
{
    ct_free(trial->id);
    ct_free(trial->tag);
    ct_free(trial->name);
    ct_free(trial->dir);
    ct_free(trial->error_file);
    ct_value_deinit(&trial->config);
    ct_value_deinit(&trial->evaluated);
    ct_free(trial->last);
    for (uint32_t i = 0; i < trial->checkpoint_count; i++) {
        ct_checkpoint_deinit(&trial->checkpoints[i]);
    }
    ct_free(trial->checkpoints);
}

void
ct_trials_free(ct_trials *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        trial_deinit(ct_trials_mut(t, (ct_trial_id)i));
    }
    for (size_t i = 0; i < t->chunk_count; i++) {
        ct_free(t->chunks[i]);
    }
    ct_free(t->chunks);
    ct_free(t->place_of);
    ct_free(t->at_place);
    for (unsigned s = 0; s < CT_TRIAL_STATUS_COUNT; s++) {
        set_free(&t->sets[s]);
    }
    ct_free(t->slots);
    ct_buf_deinit(&t->scratch);
    ct_free(t);
}

size_t
ct_trials_count(const ct_trials *t)
{
    return t->count;
}

const ct_trial *
ct_trials_get(const ct_trials *t, ct_trial_id id)
{
    assert(id < t->count);
    return &t->chunks[id / CHUNK][id % CHUNK];
}

ct_trial *
ct_trials_mut(ct_trials *t, ct_trial_id id)
{
    assert(id < t->count);
    return &t->chunks[id / CHUNK][id % CHUNK];
}

/* Room for one more trial, and for its place and as many abandoned ones. */
static ct_status
reserve_places(ct_trials *t, ct_err *err)
{
    ct_status st = ct_grow((void **)&t->place_of, &t->place_of_cap, t->count + 1,
                           sizeof *t->place_of, err);
    if (st != CT_OK || (t->count + 1) * 2 <= t->place_cap) {
        return st;
    }
    size_t cap = t->place_cap + t->place_cap / 2;
    cap = cap < PLACES_MIN ? PLACES_MIN : (cap + 63) / 64 * 64;
    ct_trial_id *at = ct_realloc(t->at_place, cap * sizeof *at);
    if (at == NULL) {
        return ct_fail_mem(err);
    }
    t->at_place = at;
    for (unsigned s = 0; s < CT_TRIAL_STATUS_COUNT; s++) {
        st = set_reserve(&t->sets[s], t->place_cap, cap, err);
        if (st != CT_OK) {
            return st;
        }
    }
    t->place_cap = cap;
    return CT_OK;
}

static ct_status
reserve_trial(ct_trials *t, ct_err *err)
{
    if (t->count >= CT_TRIAL_NONE / 4) {
        return ct_fail(err, CT_EINVAL, "num_samples",
                       "an experiment holds at most %u trials; split it",
                       CT_TRIAL_NONE / 4);
    }
    ct_status st = reserve_places(t, err);
    if (st == CT_OK) {
        st = slots_reserve(t, t->count + 1, err);
    }
    if (st != CT_OK || t->count < t->chunk_count * CHUNK) {
        return st;
    }
    st = ct_grow((void **)&t->chunks, &t->chunk_cap, t->chunk_count + 1,
                 sizeof *t->chunks, err);
    if (st != CT_OK) {
        return st;
    }
    ct_trial *chunk = ct_calloc(CHUNK, sizeof *chunk);
    if (chunk == NULL) {
        return ct_fail_mem(err);
    }
    t->chunks[t->chunk_count++] = chunk;
    return CT_OK;
}

/* Same order, no gaps. Keeps t's arrays. */
static void
renumber_places(ct_trials *t)
{
    for (unsigned s = 0; s < CT_TRIAL_STATUS_COUNT; s++) {
        for (unsigned i = 0; i < LEVELS; i++) {
            memset(t->sets[s].level[i], 0,
                   words_at(t->place_cap, i) * sizeof *t->sets[s].level[i]);
        }
    }
    size_t next = 0;
    for (size_t i = 0; i < t->place_next; i++) {
        ct_trial_id id = t->at_place[i];
        if (id != CT_TRIAL_NONE) {
            t->at_place[next] = id;
            t->place_of[id] = (uint32_t)next;
            set_add(&t->sets[ct_trials_get(t, id)->status], next);
            next++;
        }
    }
    t->place_next = next;
}

/* Gives the trial the last place; its old one must be gone. */
static void
take_place(ct_trials *t, ct_trial_id id)
{
    if (t->place_next == t->place_cap) {
        renumber_places(t);
    }
    size_t place = t->place_next++;
    t->at_place[place] = id;
    t->place_of[id] = (uint32_t)place;
    set_add(&t->sets[ct_trials_get(t, id)->status], place);
}

ct_status
ct_trials_add(ct_trials *t, const char *id, const char *tag, ct_value *config,
              ct_value *evaluated, ct_trial_id *out, ct_err *err)
{
    char *id_copy = NULL;
    char *tag_copy = NULL;
    ct_status st = CT_OK;
    if (ct_trials_find(t, id) != CT_TRIAL_NONE) {
        return ct_fail(err, CT_EINVAL, "trial_id",
                       "\"%s\" is taken; trial ids must be unique in an experiment",
                       id);
    }
    st = reserve_trial(t, err);
    if (st != CT_OK) {
        goto done;
    }
    st = ct_trial_set_text(&id_copy, id, err);
    if (st == CT_OK) {
        st = ct_trial_set_text(&tag_copy, tag, err);
    }
    if (st != CT_OK) {
        goto done;
    }
    ct_trial_id number = (ct_trial_id)t->count++;
    ct_trial *trial = ct_trials_mut(t, number);
    *trial = (ct_trial){.id = id_copy,
                        .tag = tag_copy,
                        .from = {CT_TRIAL_NONE, 0},
                        .offered = {CT_TRIAL_NONE, 0}};
    id_copy = NULL;
    tag_copy = NULL;
    trial->config = config != NULL ? *config : ct_dict();
    trial->evaluated = evaluated != NULL ? *evaluated : ct_dict();
    if (config != NULL) {
        *config = ct_nil();
    }
    if (evaluated != NULL) {
        *evaluated = ct_nil();
    }
    take_place(t, number);
    t->with[CT_TRIAL_PENDING]++;
    slots_put(t->slots, t->slot_cap, (id_slot){id_hash(id), number});
    *out = number;
done:
    ct_free(id_copy);
    ct_free(tag_copy);
    return st;
}

/* ---- status ---- */

/* A trial that ended keeps no room to grow. Shrinking may fail: then nothing is
 * lost. */
static void
trial_trim(ct_trial *trial)
{
    if (trial->last != NULL && trial->last_len < trial->last_cap) {
        uint8_t *p = ct_realloc(trial->last, trial->last_len);
        if (p != NULL) {
            trial->last = p;
            trial->last_cap = trial->last_len;
        }
    }
}

void
ct_trials_set_status(ct_trials *t, ct_trial_id id, ct_trial_status s)
{
    ct_trial *trial = ct_trials_mut(t, id);
    assert((unsigned)s < CT_TRIAL_STATUS_COUNT);
    if (trial->status != (uint8_t)s) {
        set_remove(&t->sets[trial->status], t->place_of[id]);
        t->with[trial->status]--;
        trial->status = (uint8_t)s;
        set_add(&t->sets[s], t->place_of[id]);
        t->with[s]++;
    }
    if (s == CT_TRIAL_TERMINATED || s == CT_TRIAL_ERROR) {
        trial_trim(trial);
    }
}

size_t
ct_trials_with(const ct_trials *t, ct_trial_status s)
{
    return t->with[s];
}

static ct_trial_id
first_from(const ct_trials *t, ct_trial_status s, size_t place)
{
    if (t->with[s] == 0) {
        return CT_TRIAL_NONE;
    }
    size_t at = set_next(&t->sets[s], place, t->place_cap);
    return at != SIZE_MAX ? t->at_place[at] : CT_TRIAL_NONE;
}

ct_trial_id
ct_trials_first(const ct_trials *t, ct_trial_status s)
{
    return first_from(t, s, 0);
}

ct_trial_id
ct_trials_next(const ct_trials *t, ct_trial_id id)
{
    ct_trial_status s = (ct_trial_status)ct_trials_get(t, id)->status;
    return first_from(t, s, (size_t)t->place_of[id] + 1);
}

void
ct_trials_requeue(ct_trials *t, ct_trial_id id)
{
    size_t place = t->place_of[id];
    set_remove(&t->sets[ct_trials_get(t, id)->status], place);
    t->at_place[place] = CT_TRIAL_NONE;
    take_place(t, id);
}

uint32_t
ct_trials_place(const ct_trials *t, ct_trial_id id)
{
    return t->place_of[id];
}

/* ---- what belongs to one trial ---- */

ct_status
ct_trials_set_last(ct_trials *t, ct_trial_id id, const ct_record *r, ct_err *err)
{
    ct_trial *trial = ct_trials_mut(t, id);
    ct_buf_clear(&t->scratch);
    ct_status st = ct_record_pack(r, &t->scratch, err);
    if (st != CT_OK) {
        return st;
    }
    size_t len = t->scratch.len;
    if (len > UINT32_MAX - LAST_ROUND) {
        return ct_fail(err, CT_EINVAL, "result", "a result of %zu bytes is too large",
                       len);
    }
    if (len > trial->last_cap) {
        size_t cap = (len + LAST_ROUND - 1) / LAST_ROUND * LAST_ROUND;
        uint8_t *p = ct_realloc(trial->last, cap);
        if (p == NULL) {
            return ct_fail_mem(err);
        }
        trial->last = p;
        trial->last_cap = (uint32_t)cap;
    }
    memcpy(trial->last, t->scratch.data, len);
    trial->last_len = (uint32_t)len;
    return CT_OK;
}

ct_status
ct_trials_last(const ct_trials *t, ct_trial_id id, ct_record *out, ct_err *err)
{
    const ct_trial *trial = ct_trials_get(t, id);
    if (trial->last == NULL) {
        ct_record_clear(out);
        return CT_OK;
    }
    ct_reader in = ct_reader_of(trial->last, trial->last_len);
    return ct_record_unpack(out, &in, NULL, 0, err);
}

ct_status
ct_trials_add_checkpoint(ct_trials *t, ct_trial_id id, ct_checkpoint *c, ct_err *err)
{
    ct_trial *trial = ct_trials_mut(t, id);
    size_t size = ((size_t)trial->checkpoint_count + 1) * sizeof *trial->checkpoints;
    ct_checkpoint *p =
        ct_realloc(trial->checkpoints, size); /* few are kept: exact size */
    if (p == NULL) {
        return ct_fail_mem(err);
    }
    trial->checkpoints = p;
    p[trial->checkpoint_count++] = *c;
    *c = (ct_checkpoint){0};
    return CT_OK;
}

void
ct_trials_drop_checkpoint(ct_trials *t, ct_trial_id id, uint32_t at)
{
    ct_trial *trial = ct_trials_mut(t, id);
    assert(at < trial->checkpoint_count);
    ct_checkpoint_deinit(&trial->checkpoints[at]);
    memmove(trial->checkpoints + at, trial->checkpoints + at + 1,
            (trial->checkpoint_count - at - 1) * sizeof *trial->checkpoints);
    trial->checkpoint_count--;
    if (trial->checkpoint_count == 0) {
        ct_free(trial->checkpoints);
        trial->checkpoints = NULL;
    }
}

ct_checkpoint_ref
ct_trials_latest(const ct_trials *t, ct_trial_id id)
{
    const ct_trial *trial = ct_trials_get(t, id);
    if (trial->from.trial != CT_TRIAL_NONE) {
        return trial->from;
    }
    for (uint32_t i = trial->checkpoint_count; i-- > 0;) {
        if (!trial->checkpoints[i].bad) {
            return (ct_checkpoint_ref){id, trial->checkpoints[i].index};
        }
    }
    return (ct_checkpoint_ref){CT_TRIAL_NONE, 0};
}

static ct_checkpoint *
find_checkpoint(const ct_trials *t, ct_checkpoint_ref ref)
{
    if (ref.trial >= ct_trials_count(t)) {
        return NULL;
    }
    const ct_trial *trial = ct_trials_get(t, ref.trial);
    for (uint32_t i = trial->checkpoint_count; i-- > 0;) {
        if (trial->checkpoints[i].index == ref.index) {
            return &trial->checkpoints[i];
        }
    }
    return NULL;
}

const ct_checkpoint *
ct_trials_checkpoint(const ct_trials *t, ct_checkpoint_ref ref)
{
    return find_checkpoint(t, ref);
}

void
ct_trials_pin(ct_trials *t, ct_checkpoint_ref ref, bool pin)
{
    ct_checkpoint *k = find_checkpoint(t, ref);
    if (k != NULL && pin) {
        k->pins++;
    } else if (k != NULL) {
        assert(k->pins > 0);
        k->pins--;
    }
}

void
ct_trials_set_config(ct_trials *t, ct_trial_id id, ct_value *config,
                     ct_value *evaluated)
{
    ct_trial *trial = ct_trials_mut(t, id);
    if (evaluated != NULL) {
        ct_value_deinit(&trial->evaluated);
        trial->evaluated = *evaluated;
        *evaluated = ct_nil();
    } else if (trial->evaluated.kind == CT_NIL) { /* was all of the config */
        trial->evaluated = trial->config;
        trial->config = ct_nil();
    }
    ct_value_deinit(&trial->config);
    trial->config = *config;
    *config = ct_nil();
    trial->revision++;
}

ct_status
ct_trial_set_text(char **field, const char *text, ct_err *err)
{
    char *copy = NULL;
    if (text != NULL) {
        copy = ct_strndup(text, strlen(text));
        if (copy == NULL) {
            return ct_fail_mem(err);
        }
    }
    ct_free(*field);
    *field = copy;
    return CT_OK;
}

/* ---- memory ---- */

static size_t
text_bytes(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static size_t
trial_bytes(const ct_trial *trial)
{
    size_t n = text_bytes(trial->id) + text_bytes(trial->tag) +
               text_bytes(trial->name) + text_bytes(trial->dir) +
               text_bytes(trial->error_file) + ct_value_bytes(&trial->config) +
               ct_value_bytes(&trial->evaluated) + trial->last_cap +
               trial->checkpoint_count * sizeof *trial->checkpoints;
    for (uint32_t i = 0; i < trial->checkpoint_count; i++) {
        n += text_bytes(trial->checkpoints[i].path) + trial->checkpoints[i].metrics_len;
    }
    return n;
}

size_t
ct_trials_bytes(const ct_trials *t)
{
    size_t n = sizeof *t + t->chunk_cap * sizeof *t->chunks +
               t->chunk_count * CHUNK * sizeof(ct_trial) +
               t->place_of_cap * sizeof *t->place_of +
               t->place_cap * sizeof *t->at_place + t->slot_cap * sizeof *t->slots +
               t->scratch.cap;
    for (unsigned i = 0; i < LEVELS && t->place_cap > 0; i++) {
        n += CT_TRIAL_STATUS_COUNT * words_at(t->place_cap, i) * sizeof(uint64_t);
    }
    for (size_t i = 0; i < t->count; i++) {
        n += trial_bytes(ct_trials_get(t, (ct_trial_id)i));
    }
    return n;
}
