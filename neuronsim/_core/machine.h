/* Placed stages in time: engines, semaphores, ports, DMA engines and shared bandwidth as plain arrays (twin of
 * neuronsim/units).
 *
 * All times are integer ticks. Everything is allocated by the caller before the loop. A slot is one placed stage with
 * engines, semaphores, ports and DMA queues of its own; it is run any number of times. An op id numbers words over all
 * streams (stream = slot * ENGINES + engine); a transfer id numbers dma_trigger words in op-id order.
 */
#ifndef NEURONSIM_MACHINE_H
#define NEURONSIM_MACHINE_H

#include "word.h"

enum { ENGINES = 5, DMA_ENGINES = 16, PORTS = 8, USES = 4, SEMAPHORE_NONE = 0 };
enum { KIND_NORMAL = 0, KIND_LOAD = 1, KIND_MATMUL = 2, KIND_TRIGGER = 3 };
enum { CAUSE_NONE = 0, CAUSE_SEMAPHORE = 1, CAUSE_PORT = 2, CAUSE_RAW = 3, CAUSE_PE_SLOT = 4, CAUSE_DMA = 5 };
enum { ROLE_SRC1_WRITTEN = 1, ROLE_DST_READ = 2 };
enum { IDLE = 0, RUNNING = 1, ENDING = 2 }; /* ENDING: nothing can change any more, the end is in the future */
enum { NOTHING = -1, BLOCKED = -2 };

/* Order of events inside one tick: posts, finished DMA shares, new transfers, port requests, ends of runs. */
enum { PHASE_POST = 0, PHASE_DMA_POST = 1, PHASE_SHARE = 2, PHASE_ENQUEUE = 3, PHASE_PORT = 4, PHASE_DONE = 5 };

typedef struct {
    int64_t tick;
    uint64_t key; /* phase:4 slot:12 engine:8 index:40 */
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
    int64_t first_transfer, transfer; /* id of the stream's first transfer and of the next to enqueue */
    int32_t wait;        /* waits of words[pc] already met; -1: word not opened yet */
    uint8_t port_mask[3]; /* by operand space */
    uint8_t tensor;
} stream_t;

typedef struct {
    int64_t *head;  /* [queues] position in the queue's order */
    int64_t *share; /* [queues] next descriptor of the transfer at the head */
    int64_t *waited; /* [queues, 2] ticks its shares took beyond their service: for DRAM, for links */
    uint64_t nonempty;
    int64_t started, done; /* of the share being served */
    int32_t queue; /* being served, or served last */
    int32_t busy;
} dma_t;

typedef struct {
    int64_t tick, transfer, count;
} dma_post_t;

typedef struct { /* shared bandwidth that descriptors take: every one of `resources` for `ticks` */
    const int64_t *ticks; /* [m, DMA_ENGINES] */
    const int64_t *resources; /* [count] */
    int64_t count;
} use_t;

typedef struct { /* one placed stage */
    int32_t status, use_count;
    int64_t streams_left, transfers_left; /* not at their end, not done in this run */
    int64_t end; /* latest retirement and end of a transfer so far, at least the start */
    int64_t first_transfer, transfers;
    const int64_t *service; /* [m, DMA_ENGINES] */
    use_t uses[USES];
    dma_post_t *posts; /* of DMA engines, not seen yet, in order */
    int64_t posts_head, posts_tail;
} slot_t;

typedef struct {
    /* the programs and the machine */
    int64_t slot_count, semaphores, queues, resources, chips; /* resources below chips are DRAM, the others links */
    int64_t post_latency, dma_latency;
    const int64_t *cost;           /* [n] */
    const uint8_t *kinds, *roles;  /* [256] by opcode */
    const int64_t *sizes;          /* [256] bytes by dtype code */
    /* state */
    int64_t now, running;          /* tick reached; slots that are not idle */
    slot_t *slots;
    stream_t *streams;             /* [slots * ENGINES] */
    int64_t *values;               /* [slots * semaphores] */
    uint8_t *waiting;              /* [slots * semaphores] bit per engine */
    int64_t *port_free, *port_op;  /* [slots * PORTS] */
    dma_t *dma;                    /* [slots * DMA_ENGINES] */
    int64_t *order;                /* transfer ids per queue, in enqueue order */
    int64_t *queue_begin, *queue_tail; /* [slots * queues] */
    int64_t *resource_free;        /* [resources] bandwidth is taken up to here */
    int32_t *left;                 /* [transfers] engines not yet done */
    event_t *heap;
    int64_t heap_size;
    /* results per word */
    int64_t *start, *finish, *retire, *wait_start;
    uint8_t *cause;
    int32_t *cause_id, *cause_op;
    /* results per transfer */
    const int64_t *trigger;        /* [transfers] op id */
    const int32_t *stream_of;      /* [transfers] */
    int64_t *enqueued, *first, *last;
    int64_t *waited;               /* [transfers, 2] most of any DMA engine */
    /* busy ticks */
    int64_t *engine_busy;          /* [slots * ENGINES] */
    int64_t *dma_busy;             /* [slots * DMA_ENGINES] */
} machine_t;

static inline int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void event_push(machine_t *m, int64_t tick, int phase, int64_t slot, int64_t engine, int64_t index);
event_t event_pop(machine_t *m);
/* Forget all events of a slot. */
void event_drop(machine_t *m, int64_t slot);

void dma_start(machine_t *m, int64_t slot);
void dma_enqueue(machine_t *m, int64_t tick, int64_t slot, int64_t transfer);
void dma_share_done(machine_t *m, int64_t tick, int64_t slot, int engine);

/* A stream has reached its end or a transfer is done: with the last of them the slot's end is known. */
void machine_settle(machine_t *m, int64_t slot);

/* Begin a run of an idle slot at `tick` >= now. */
void machine_start(machine_t *m, int64_t slot, int64_t tick);

/* Go on to the next end of a run up to tick `until` and return its slot. NOTHING: `until` is reached without one.
 * BLOCKED: nothing can happen any more but a slot has not ended. */
int64_t machine_advance(machine_t *m, int64_t until);

/* All idle at tick 0. */
void machine_reset(machine_t *m);

/* Write what decides the future, times relative to now, to at most `capacity` numbers; return how many there are. */
int64_t machine_state(const machine_t *m, int64_t *out, int64_t capacity);

#endif
