/* One chip group in time: engines, semaphores, ports, DMA engines and DRAM as plain arrays (twin of neuronsim/units).
 *
 * All times are integer ticks. Everything is allocated by the caller before the loop. An op id numbers words over all
 * streams (stream = core * ENGINES + engine); a transfer id numbers dma_trigger words in op-id order.
 */
#ifndef NEURONSIM_MACHINE_H
#define NEURONSIM_MACHINE_H

#include "word.h"

enum { ENGINES = 5, DMA_ENGINES = 16, PORTS = 8, SEMAPHORE_NONE = 0 };
enum { KIND_NORMAL = 0, KIND_LOAD = 1, KIND_MATMUL = 2, KIND_TRIGGER = 3 };
enum { CAUSE_NONE = 0, CAUSE_SEMAPHORE = 1, CAUSE_PORT = 2, CAUSE_RAW = 3, CAUSE_PE_SLOT = 4, CAUSE_DMA = 5 };
enum { ROLE_SRC1_WRITTEN = 1, ROLE_DST_READ = 2 };

/* Order of events inside one tick: posts, finished DMA shares, new transfers, port requests. */
enum { PHASE_POST = 0, PHASE_DMA_POST = 1, PHASE_SHARE = 2, PHASE_ENQUEUE = 3, PHASE_PORT = 4 };

typedef struct {
    int64_t tick;
    uint64_t key; /* phase:4 core:12 engine:8 index:40 */
} event_t;

typedef struct { /* bytes of one operand: every partition of [first, last) holds [low, high) */
    int64_t low, high;
    int32_t first, last;
    int32_t space; /* SPACE_NONE: no operand */
} box_t;

typedef struct { /* one in-order instruction stream */
    const word_t *words; /* words[op - begin] */
    int64_t begin, end, pc;
    int64_t ready;       /* earliest start the sequencer allows */
    int64_t tick;        /* candidate start of words[pc] */
    int64_t unit_free[2]; /* PE sub-units: load, matmul */
    int64_t load_end, load_op;
    int64_t retired;
    int64_t latency;
    int64_t covered; /* busy time is counted up to here */
    int64_t post_op, enqueue_op; /* oldest undelivered post / untransferred trigger, -1: none */
    int64_t transfer;    /* next transfer id to enqueue */
    int32_t wait;        /* waits of words[pc] already met; -1: word not opened yet */
    uint8_t port_mask[3]; /* by operand space */
    uint8_t tensor;
} stream_t;

typedef struct {
    int64_t *head;  /* [queues] position in the queue's order */
    int64_t *share; /* [queues] next descriptor of the transfer at the head */
    uint64_t nonempty;
    int64_t started;
    int32_t queue; /* being served, or served last */
    int32_t busy;
} dma_t;

typedef struct {
    int64_t tick, transfer, count;
} dma_post_t;

typedef struct {
    /* the program and the machine */
    int32_t cores, semaphores, queues;
    int64_t post_latency, dma_latency;
    const int64_t *cost;           /* [n] */
    const uint8_t *kinds, *roles;  /* [256] by opcode */
    const int64_t *sizes;          /* [256] bytes by dtype code */
    const int64_t **service, **dram; /* [cores] -> [m, DMA_ENGINES] */
    const int32_t *chip;           /* [cores] */
    /* state */
    stream_t *streams;             /* [cores * ENGINES] */
    int64_t *values;               /* [cores * semaphores] */
    uint8_t *waiting;              /* [cores * semaphores] bit per engine */
    int64_t *port_free, *port_op;  /* [cores * PORTS] */
    dma_t *dma;                    /* [cores * DMA_ENGINES] */
    int64_t *order;                /* transfer ids per queue, in enqueue order */
    int64_t *queue_begin, *queue_tail; /* [cores * queues] */
    int64_t *dram_free;            /* [chips] */
    box_t *writes;                 /* [n, 2] */
    int32_t *left;                 /* [transfers] engines not yet done */
    event_t *heap;
    int64_t heap_size;
    dma_post_t *posts;
    int64_t posts_head, posts_tail;
    /* results per word */
    int64_t *start, *finish, *retire, *wait_start;
    uint8_t *cause;
    int32_t *cause_id, *cause_op;
    /* results per transfer */
    const int64_t *trigger;        /* [transfers] op id */
    const int32_t *stream_of;      /* [transfers] */
    int64_t *enqueued, *first, *last;
    /* busy ticks */
    int64_t *engine_busy;          /* [cores * ENGINES] */
    int64_t *dma_busy;             /* [cores * DMA_ENGINES] */
} machine_t;

void event_push(machine_t *m, int64_t tick, int phase, int64_t core, int64_t engine, int64_t index);
event_t event_pop(machine_t *m);

void dma_enqueue(machine_t *m, int64_t tick, int64_t core, int64_t transfer);
void dma_share_done(machine_t *m, int64_t tick, int64_t core, int engine);

/* Run all streams. Returns 0 when every stream reached its end, 1 when some are blocked for ever. */
int machine_run(machine_t *m);

#endif
