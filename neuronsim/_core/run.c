/* Executes actions: in order on one thread, or by the dependency graph on several. */
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

static int64_t transfer_bytes(const executor_t *e, const word_t *w) {
    int64_t n = 0;
    for (int64_t i = 0; i < w->count; i++) n += ns_descriptor_sample_bytes(e->descriptors + w->arg + i);
    return n;
}

static int take_sample(executor_t *e, const action_t *a, const word_t *w) {
    int transfer = w->opcode == OP_DMA_TRIGGER;
    uint8_t *out = malloc((size_t)(transfer ? transfer_bytes(e, w) : ns_sample_bytes(w)) + 64);
    if (!out) return -1;
    e->samples[a->sample] = out;
    if (!transfer) {
        ns_sample_word(&e->memory, w, out);
        return 0;
    }
    for (int64_t i = 0; i < w->count; i++) {
        const descriptor_t *d = e->descriptors + w->arg + i;
        ns_sample_descriptor(&e->memory, d, out);
        out += ns_descriptor_sample_bytes(d);
    }
    return 0;
}

static void transfer(const executor_t *e, const action_t *a, const word_t *w, const uint8_t *sample, void *scratch) {
    int64_t i0 = a->b ? a->a : 0, i1 = a->b ? a->b : w->count;
    for (int64_t i = i0; i < i1; i++) {
        const descriptor_t *d = e->descriptors + w->arg + i;
        e->kernels->dma(d, &e->memory, sample, scratch);
        if (sample) sample += ns_descriptor_sample_bytes(d);
    }
}

static void multiply(const executor_t *e, const action_t *a, const word_t *w, const args_t *args, void *scratch) {
    const stationary_t *s = (const stationary_t *)(e->slots + (int64_t)a->slot * STATIONARY_BYTES);
    int columns = (int)args->src0.count;
    e->kernels->matmul(w, args, s, a->b ? a->a : 0, a->b ? a->b : columns, scratch);
}

int ns_execute(executor_t *e, const action_t *a, void *scratch) {
    const word_t *w = ns_word(e, a->op);
    if (a->kind == ACT_SAMPLE) return take_sample(e, a, w);
    const uint8_t *sample = a->sample >= 0 ? e->samples[a->sample] : 0;
    int status = 0;
    if (w->opcode == OP_DMA_TRIGGER) transfer(e, a, w, sample, scratch);
    else if (!ns_has_kernel(w, ns_engine(e, a->op))) status = e->numpy_op(e->context, a->op, sample);
    else {
        args_t args;
        ns_resolve(&e->memory, w, sample, &args);
        if (w->opcode == OP_LOAD_STATIONARY)
            e->kernels->load_stationary(&args.src0, (stationary_t *)(e->slots + (int64_t)a->slot * STATIONARY_BYTES));
        else if (w->opcode == OP_MATMUL) multiply(e, a, w, &args, scratch);
        else {
            if (a->b) ns_take_partitions(&args, a->a, a->b);
            e->kernels->engine(w, &args, scratch);
        }
    }
    if (sample) {
        free(e->samples[a->sample]);
        e->samples[a->sample] = 0;
    }
    return status;
}

int ns_run_serial(executor_t *e, void *scratch) {
    fenv_t saved;
    int status = 0;
    fegetenv(&saved);
    fesetenv(FE_DFL_ENV);
    for (int64_t i = 0; i < e->action_count && !status; i++) {
        const action_t *a = &e->actions[i];
        int watch = e->find_nonfinite && e->nonfinite < 0 && a->kind == ACT_EXECUTE && ns_finite_sources(e, a);
        status = ns_execute(e, a, scratch);
        if (watch && !ns_finite_results(e, a)) e->nonfinite = a->op;
    }
    fesetenv(&saved);
    return status;
}

/* ---- threads: a heap of ready actions, earliest first ---- */
typedef struct {
    executor_t *e;
    int32_t *pending;
    const int64_t *first;
    const int32_t *next;
    int32_t *heap;
    int64_t ready, left;
    int status, sleeping;
    _Atomic int64_t hint; /* ready, or negative when all is done: read without the lock while spinning */
    pthread_mutex_t lock;
    pthread_cond_t wake;
} pool_t;

static void push(pool_t *p, int32_t action) {
    int64_t i = p->ready++;
    for (; i && p->heap[(i - 1) / 2] > action; i = (i - 1) / 2) p->heap[i] = p->heap[(i - 1) / 2];
    p->heap[i] = action;
}

static int32_t pop(pool_t *p) {
    int32_t top = p->heap[0], last = p->heap[--p->ready];
    int64_t i = 0;
    for (int64_t c; (c = 2 * i + 1) < p->ready; i = c) {
        if (c + 1 < p->ready && p->heap[c + 1] < p->heap[c]) c++;
        if (p->heap[c] >= last) break;
        p->heap[i] = p->heap[c];
    }
    p->heap[i] = last;
    return top;
}

static void publish(pool_t *p) {
    atomic_store_explicit(&p->hint, p->left && !p->status ? p->ready : -1, memory_order_release);
}

/* With the lock held: wait until an action is ready (1) or nothing is left (0). */
static int await_ready(pool_t *p) {
    while (!p->ready && p->left && !p->status) {
        pthread_mutex_unlock(&p->lock);
        for (int spin = 0; spin < 200 && !atomic_load_explicit(&p->hint, memory_order_acquire); spin++) sched_yield();
        pthread_mutex_lock(&p->lock);
        if (p->ready || !p->left || p->status) break;
        p->sleeping++;
        pthread_cond_wait(&p->wake, &p->lock);
        p->sleeping--;
    }
    return p->ready && !p->status;
}

static void complete(pool_t *p, int32_t action, int status) {
    p->left--;
    if (status) p->status = status;
    for (int64_t i = p->first[action]; i < p->first[action + 1]; i++)
        if (!--p->pending[p->next[i]]) push(p, p->next[i]);
    publish(p);
    if (p->sleeping && (p->ready > 1 || !p->left || p->status)) pthread_cond_broadcast(&p->wake);
}

static void *worker(void *argument) {
    pool_t *p = argument;
    void *scratch = aligned_alloc(64, (SCRATCH_BYTES + 63) / 64 * 64);
    fenv_t saved;
    fegetenv(&saved);
    fesetenv(FE_DFL_ENV);
    pthread_mutex_lock(&p->lock);
    if (!scratch) p->status = -1;
    while (await_ready(p)) {
        int32_t action = pop(p);
        publish(p);
        pthread_mutex_unlock(&p->lock);
        int status = ns_execute(p->e, &p->e->actions[action], scratch);
        pthread_mutex_lock(&p->lock);
        complete(p, action, status);
    }
    publish(p);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    fesetenv(&saved);
    free(scratch);
    return 0;
}

int ns_run_threads(executor_t *e, int threads, int32_t *pending, const int64_t *first, const int32_t *next) {
    pool_t p = {.e = e, .pending = pending, .first = first, .next = next, .left = e->action_count};
    pthread_t handles[64];
    int started = 0;
    p.heap = malloc((size_t)(e->action_count + 1) * sizeof *p.heap);
    if (!p.heap) return -1;
    for (int64_t i = 0; i < e->action_count; i++)
        if (!pending[i]) push(&p, (int32_t)i);
    publish(&p);
    pthread_mutex_init(&p.lock, 0);
    pthread_cond_init(&p.wake, 0);
    while (started < threads - 1 && started < 64 && !pthread_create(&handles[started], 0, worker, &p)) started++;
    worker(&p);
    for (int i = 0; i < started; i++) pthread_join(handles[i], 0);
    pthread_mutex_destroy(&p.lock);
    pthread_cond_destroy(&p.wake);
    free(p.heap);
    return p.status;
}
