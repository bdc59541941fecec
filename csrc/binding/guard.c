/* guard.c: see guard.h. A ticket lock that its owner may take again. */
#include "guard.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct pyct_guard {
    _Atomic(uint32_t) count;
    pthread_mutex_t mutex; /* for those who wait */
    pthread_cond_t served;
    _Atomic(uint64_t) next; /* ticket that is given out next */
    _Atomic(uint64_t) serving;
    _Atomic(unsigned long) owner; /* thread, 0 = nobody */
    unsigned depth;               /* the owner's */
    unsigned runs;                /* under way without the GIL */
    pid_t pid;                    /* of the process that runs */
};

/* The calls fail only for locks that were never made, or are not ours. */
static void
must(int failed)
{
    if (failed != 0) {
        abort();
    }
}

static int
init_locks(pyct_guard *g)
{
    if (pthread_mutex_init(&g->mutex, NULL) != 0) {
        return -1;
    }
    if (pthread_cond_init(&g->served, NULL) != 0) {
        must(pthread_mutex_destroy(&g->mutex));
        return -1;
    }
    return 0;
}

pyct_guard *
pyct_guard_new(void)
{
    pyct_guard *g = ct_calloc(1, sizeof *g);
    if (g == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (init_locks(g) < 0) {
        ct_free(g);
        PyErr_SetString(PyExc_OSError, "cannot make a lock");
        return NULL;
    }
    atomic_init(&g->count, 1);
    return g;
}

pyct_guard *
pyct_guard_retain(pyct_guard *g)
{
    atomic_fetch_add(&g->count, 1);
    return g;
}

void
pyct_guard_release(pyct_guard *g)
{
    if (g != NULL && atomic_fetch_sub(&g->count, 1) == 1) {
        (void)pthread_cond_destroy(&g->served);
        (void)pthread_mutex_destroy(&g->mutex);
        ct_free(g);
    }
}

void
pyct_guard_run(pyct_state *state)
{
    state->guard->runs++;
    state->guard->pid = getpid();
}

void
pyct_guard_ran(pyct_state *state)
{
    state->guard->runs--;
}

static bool
mine(pyct_guard *g)
{
    return atomic_load_explicit(&g->owner, memory_order_relaxed) ==
           PyThread_get_thread_ident();
}

static void
become_owner(pyct_guard *g, unsigned depth)
{
    atomic_store_explicit(&g->owner, PyThread_get_thread_ident(), memory_order_relaxed);
    g->depth = depth;
}

static void
wait_in_line(pyct_guard *g, unsigned depth)
{
    uint64_t ticket = atomic_fetch_add(&g->next, 1);
    if (atomic_load(&g->serving) != ticket) {
        must(pthread_mutex_lock(&g->mutex));
        while (atomic_load(&g->serving) != ticket) {
            must(pthread_cond_wait(&g->served, &g->mutex));
        }
        must(pthread_mutex_unlock(&g->mutex));
    }
    become_owner(g, depth);
}

/* Takes it if nobody has it or waits for it. */
static bool
take_at_once(pyct_guard *g, unsigned depth)
{
    uint64_t ticket = atomic_load(&g->serving);
    if (!atomic_compare_exchange_strong(&g->next, &ticket, ticket + 1)) {
        return false;
    }
    become_owner(g, depth);
    return true;
}

/* Who took a ticket before this moment is seen here; who takes one later sees that it is
 * served. */
static void
let_go(pyct_guard *g)
{
    atomic_store_explicit(&g->owner, 0, memory_order_relaxed);
    g->depth = 0;
    uint64_t now = atomic_fetch_add(&g->serving, 1) + 1;
    if (atomic_load(&g->next) != now) {
        must(pthread_mutex_lock(&g->mutex));
        must(pthread_cond_broadcast(&g->served));
        must(pthread_mutex_unlock(&g->mutex));
    }
}

/* In a child that was forked in the middle of a turn, the thread that worked is gone, and
 * nobody will ever let go. */
static bool
forget_parent(pyct_guard *g)
{
    if (g->pid == getpid()) {
        return false;
    }
    g->runs = 0;
    atomic_store(&g->next, 0);
    atomic_store(&g->serving, 0);
    g->depth = 0;
    atomic_store_explicit(&g->owner, 0, memory_order_relaxed);
    must(init_locks(g));
    return true;
}

void
pyct_guard_take(pyct_state *state)
{
    wait_in_line(state->guard, 1);
}

void
pyct_guard_drop(pyct_state *state)
{
    let_go(state->guard);
}

static void
take_with_gil(pyct_guard *g, unsigned depth)
{
    if (!take_at_once(g, depth)) {
        Py_BEGIN_ALLOW_THREADS
        wait_in_line(g, depth);
        Py_END_ALLOW_THREADS
    }
}

bool
pyct_guard_begin(pyct_state *state)
{
    pyct_guard *g = state->guard;

    if (g->runs == 0) {
        return false;
    }
    if (mine(g)) {
        g->depth++;
        return true;
    }
    if (take_at_once(g, 1)) {
        return true;
    }
    if (forget_parent(g)) {
        return false;
    }
    take_with_gil(g, 1);
    return true;
}

void
pyct_guard_end(pyct_state *state, bool begun)
{
    if (begun && --state->guard->depth == 0) {
        let_go(state->guard);
    }
}

pyct_entry
pyct_guard_enter(pyct_guard *g)
{
    pyct_entry entry = {.depth = 0};

    if (mine(g)) {
        entry.depth = g->depth;
        let_go(g);
    }
    entry.gil = PyGILState_Ensure();
    return entry;
}

void
pyct_guard_leave(pyct_guard *g, pyct_entry entry)
{
    PyGILState_Release(entry.gil);
    if (entry.depth == 0) {
        return;
    }
    if (PyGILState_Check()) {
        take_with_gil(g, entry.depth);
    } else {
        wait_in_line(g, entry.depth);
    }
}

pyct_entry
pyct_enter(pyct_state *state)
{
    return pyct_guard_enter(state->guard);
}

void
pyct_leave(pyct_state *state, pyct_entry entry)
{
    pyct_guard_leave(state->guard, entry);
}
