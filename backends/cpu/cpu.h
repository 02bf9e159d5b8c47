/*
 * cpu.h - what the files of this backend share.
 *
 * Compile time: each node of a plan becomes steps. A step is a function, its
 * argument and a number of tasks; tasks of a step may run at the same time on
 * any threads. Run time: all threads walk the list of steps inside one parallel
 * region and meet at the barriers that compile put between them (run.c).
 *
 * Same bits for any number of threads: the order of every sum follows from
 * shapes alone, and so does how a step is cut into tasks, but for products,
 * whose sums are the same in any slice (gemm.h). Threads only decide who runs a
 * task.
 *
 * Nothing is allocated in a run. What a task needs beyond its operands is asked
 * for while compiling: scratch of its thread, or shared memory of its node.
 */
#ifndef CPU_H
#define CPU_H

#include <tenon/backend.h>

/* ---- what kernels see while they run ---- */

typedef struct cpu_worker {
    float *scratch; /* this thread's, 64-byte aligned */
    char *shared;   /* the exec's, 64-byte aligned; see cpu_shared */
    tn_exec *exec;
} cpu_worker;

/* Floats in shared memory. */
static inline float *cpu_floats(const cpu_worker *w, int64_t offset)
{
    return (float *)(void *)(w->shared + offset);
}

typedef void (*cpu_task)(const void *argument, cpu_worker *w, int64_t task);

/* An index tensor held `value` where [lowest, limit) is allowed: the run goes
 * on without it and fails when it is over, naming node number `node`. */
void cpu_fault(cpu_worker *w, uint32_t node, int64_t value, int64_t lowest,
               int64_t limit);

/* ---- what kernels call while they are compiled ---- */

typedef struct cpu_compiler cpu_compiler;

/* Zeroed memory that lives as long as the exec, at most 64 KiB. Never NULL:
 * running out of memory is remembered and fails the compilation at its end. */
void *cpu_argument(cpu_compiler *c, size_t bytes);
#define CPU_ARGUMENT(c, type) ((type *)cpu_argument((c), sizeof(type)))

/* Append a step of the node being compiled. It may run together with the
 * node's earlier steps unless cpu_barrier stands between them. */
void cpu_step(cpu_compiler *c, cpu_task task, const void *argument,
              int64_t tasks);
/* The same where tasks are equal and lie behind each other in memory: each
 * thread runs neighbours, so that what it streams is long. */
void cpu_step_along(cpu_compiler *c, cpu_task task, const void *argument,
                    int64_t tasks);
void cpu_barrier(cpu_compiler *c);

/* At least so many bytes of scratch for each thread. */
void cpu_scratch(cpu_compiler *c, int64_t bytes);

/* Offset in shared memory of `bytes` that are the node's own while it runs. */
int64_t cpu_shared(cpu_compiler *c, int64_t bytes);

/* Address of an operand; NULL for an absent one. */
void *cpu_at(const cpu_compiler *c, const tn_operand *operand);

/* Remember a product; what was remembered before it, NULL at first. */
void *cpu_follow(cpu_compiler *c, void *product);

/* How many threads will run it: for products, whose bits do not depend on how
 * they are cut (gemm.h), and for who runs what. */
uint32_t cpu_threads(const cpu_compiler *c);

/* As what products multiply (gemm_blocks.h), and what the device chose for
 * operands in bf16. */
typedef enum cpu_products {
    CPU_FLOATS,
    CPU_PAIRS,
    CPU_INTEGERS,
    CPU_MADD, /* integers as well, by AVX2 alone */
} cpu_products;
cpu_products cpu_bf16_products(const cpu_compiler *c);

/* Whether machine code may be written, and: a copy of it that can be called
 * once the plan is compiled and lives as long as the exec; NULL: no memory. */
int cpu_generates(const cpu_compiler *c);
void *cpu_generated(cpu_compiler *c, const void *bytes, size_t count);

/* The number of the node being compiled, for cpu_fault. */
uint32_t cpu_node(const cpu_compiler *c);

/* TN_EUNSUPPORTED with the node's name and place before the sentence. */
TN_PRINTF(3, 4)
tn_status cpu_refuse(const tn_plan_node *node, tn_error *err,
                     const char *format, ...);

/*
 * Kernel tables: one per instruction set, indexed by op. `in` and `out` say
 * which dtypes the op takes, a letter per operand: f F32, b F32 or BF16, i I32,
 * x any of them; w as b, or weights in blocks; a any; a '*' repeats the letter
 * before it for all that follow.
 */
typedef struct cpu_kernel {
    tn_status (*compile)(cpu_compiler *c, const tn_plan_node *node,
                         tn_error *err);
    const char *in, *out;
} cpu_kernel;

extern const cpu_kernel cpu_kernels_avx2[TN_OP_COUNT];
extern const cpu_kernel cpu_kernels_avx512[TN_OP_COUNT];

/* TN_OK where the kernel takes the node's dtypes. */
tn_status cpu_check_dtypes(const cpu_kernel *kernel, const tn_plan_node *node,
                           tn_error *err);

/* ---- the device ---- */

/* What the processor and the system let us use (probe.c). */
typedef struct cpu_features {
    uint32_t avx2;   /* AVX2 and FMA */
    uint32_t avx512; /* F, BW, DQ and VL */
    uint32_t avx512_bf16;
    uint32_t fast_bf16; /* and faster than f32 */
    uint32_t avx512_vnni, avx_vnni;
    char brand[64];
    char missing[64]; /* "AVX2 and FMA"; empty where avx2 */
} cpu_features;

void cpu_detect(cpu_features *features);

struct tn_buffer {
    char *at; /* TN_ALIGNMENT-aligned; NULL where bytes is 0 */
    int64_t bytes;
    int64_t mapped_bytes; /* of the mapping that starts at `mapping` */
    void *mapping;        /* NULL: from the heap */
};

struct tn_device {
    const tn_host *host;
    tn_pool *pool;
    uint32_t threads;
    uint32_t profiling;
    uint32_t decompose; /* claim no composite */
    uint32_t generate;  /* machine code for element-wise programs */
    cpu_products bf16;  /* how operands in bf16 are multiplied */
    cpu_features features;
    const cpu_kernel *kernels;
    tn_buffer work; /* threads' scratch, then the shared: of one exec's run */
};

/* memory.c: `bytes` of zeros; 0: there is no more. Giving an empty buffer's
 * memory back, {0}, is nothing. */
int cpu_take_memory(tn_buffer *b, int64_t bytes);
void cpu_give_memory(tn_buffer *b);

/* available.c: bytes that this process may still take, by the system's files
 * below `root`, which is "" but in tests. */
int64_t cpu_available_memory(const char *root);

/* compile.c and run.c */
tn_status cpu_compile(tn_device *device, const tn_plan *plan,
                      tn_buffer *const arenas[TN_ARENA_COUNT], tn_exec **exec,
                      tn_error *err);
void cpu_exec_free(tn_device *device, tn_exec *exec);
/* Of device->work that runs of the plan need. */
tn_status cpu_workspace(tn_device *device, const tn_plan *plan, int64_t *bytes,
                        tn_error *err);
tn_status cpu_run(tn_device *device, tn_exec *exec, uint32_t segment,
                  tn_error *err);
void cpu_profile_read(tn_device *device, const tn_exec *exec, double *seconds,
                      uint32_t count);

/* ---- small shared arithmetic ---- */

static inline int64_t cpu_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t cpu_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static inline int64_t cpu_parts(int64_t whole, int64_t part)
{
    return (whole + part - 1) / part;
}

/* How many of `all` units a task takes: at most `most`, and where that makes
 * more than one task, so few that there are 4, 8, 12 ... alike: threads take
 * them in turn, and one that is left over, or smaller, lets others wait. */
static inline int64_t cpu_share(int64_t all, int64_t most)
{
    const int64_t tasks = cpu_parts(all, cpu_max(1, most));
    return tasks <= 1 ? cpu_max(1, most)
                      : cpu_parts(all, cpu_parts(tasks, 4) * 4);
}

/* Bytes of an element. */
static inline int64_t cpu_bytes(tn_dtype dtype)
{
    return dtype == TN_BF16 ? 2 : 4;
}

/* Product of shape[from .. to). */
static inline int64_t cpu_product(const tn_operand *x, uint32_t from,
                                  uint32_t to)
{
    int64_t n = 1;
    for (uint32_t i = from; i < to; i++)
        n *= x->shape[i];
    return n;
}

static inline int64_t cpu_elements(const tn_operand *x)
{
    return cpu_product(x, 0, x->rank);
}

#endif
