/*
 * cudnn.c - libcudnn.so.9 for tests: a graph of operations, computed as it is
 * described, one operation after the other, on the emulated device.
 *
 * It knows no attention. Each operation runs over whole tensors with the sizes,
 * strides and dtypes it was given, so that a stride, an axis or an operation
 * that is wrong gives numbers that are wrong. The real library takes the same
 * graphs (test_dnn.c); what each operation means is its documentation's.
 *
 * Plans, from the engine's configuration to the text and back, are the graph as
 * a row of numbers. Its version is 0, by which the backend knows whose it is.
 *
 * CUDNN_FAULT in the environment is a library that is not to be taken: "mask",
 * rows see one key too many; "slow"; "unsteady", results differ in a bit from
 * run to run; "refuses", no plan is recommended; "fails", running one fails.
 */
#include "cudnn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BAD_PARAMETER = 2000, NOT_SUPPORTED = 3000, FAILED = 5000 };

static int is_fault(const char *what)
{
    const char *fault = getenv("CUDNN_FAULT");
    return fault && !strcmp(fault, what);
}

/* ---- descriptors ---- */

enum { MOST_ATTRIBUTES = 12, AXES = 4 };

typedef struct attribute {
    int name, type;
    int64_t count;
    void *values;
} attribute;

typedef struct descriptor {
    int kind, is_final;
    attribute attributes[MOST_ATTRIBUTES];
    int count;
    int64_t *program; /* of a graph, a configuration or a plan */
    int64_t numbers;  /* in the program */
} descriptor;

static size_t size_of(int type)
{
    switch (type) {
    case DNN_IS_BOOL:
    case DNN_IS_CHAR:
        return 1;
    case DNN_IS_TYPE:
    case DNN_IS_HEURISTICS_MODE:
    case DNN_IS_POINTWISE_MODE:
    case DNN_IS_REDUCTION_MODE:
        return sizeof(int);
    default:
        return sizeof(int64_t);
    }
}

static const attribute *find(const descriptor *d, gpu_dnn_attribute name)
{
    for (int i = 0; d && i < d->count; i++)
        if (d->attributes[i].name == (int)name)
            return &d->attributes[i];
    return NULL;
}

static int64_t int64_of(const descriptor *d, gpu_dnn_attribute name, int i)
{
    const attribute *a = find(d, name);
    return a && i < a->count ? ((const int64_t *)a->values)[i] : 0;
}

static int int_of(const descriptor *d, gpu_dnn_attribute name)
{
    const attribute *a = find(d, name);
    return a ? *(const int *)a->values : -1;
}

static descriptor *other_of(const descriptor *d, gpu_dnn_attribute name)
{
    const attribute *a = find(d, name);
    return a ? *(descriptor *const *)a->values : NULL;
}

int dnn_CreateDescriptor(int kind, void **made)
{
    descriptor *d = calloc(1, sizeof *d);
    if (!d)
        return FAILED;
    d->kind = kind;
    *made = d;
    return 0;
}

int dnn_DestroyDescriptor(void *gone)
{
    descriptor *d = gone;
    for (int i = 0; i < d->count; i++)
        free(d->attributes[i].values);
    free(d->program);
    free(d);
    return 0;
}

/* Others that are handed in have been finalized. */
static int are_final(int type, int64_t count, const void *values)
{
    for (int64_t i = 0; type == DNN_IS_DESCRIPTOR && i < count; i++)
        if (!((descriptor *const *)values)[i]->is_final)
            return 0;
    return 1;
}

int dnn_SetAttribute(void *to, int name, int type, int64_t count,
                     const void *values)
{
    descriptor *d = to;
    if (d->is_final || d->count == MOST_ATTRIBUTES || count < 0 ||
        find(d, (gpu_dnn_attribute)name) || !are_final(type, count, values))
        return BAD_PARAMETER;
    const size_t bytes = (size_t)count * size_of(type);
    void *copy = calloc(bytes + 1, 1);
    if (!copy)
        return FAILED;
    memcpy(copy, values, bytes);
    d->attributes[d->count++] = (attribute){name, type, count, copy};
    return 0;
}

/* ---- programs ---- */

/* A tensor is these numbers, an operation its kind, mode and axis and then the
 * tensors x, b, t and y, of which some are not there (kind 0). */
typedef struct tensor {
    int64_t is_there, id, type, is_virtual, is_value;
    int64_t size[AXES], stride[AXES];
} tensor;

typedef struct operation {
    int64_t kind, mode, axis;
    tensor x, b, t, y;
} operation;

enum { NUMBERS = sizeof(operation) / sizeof(int64_t) };

static tensor tensor_of(const descriptor *d)
{
    tensor t = {.is_there = d != NULL,
                .id = int64_of(d, DNN_TENSOR_ID, 0),
                .type = int_of(d, DNN_TENSOR_TYPE),
                .is_virtual = find(d, DNN_TENSOR_IS_VIRTUAL) != NULL,
                .is_value = find(d, DNN_TENSOR_IS_VALUE) != NULL};
    for (int i = 0; i < AXES; i++) {
        t.size[i] = int64_of(d, DNN_TENSOR_SIZES, i);
        t.stride[i] = int64_of(d, DNN_TENSOR_STRIDES, i);
    }
    return t;
}

static operation operation_of(const descriptor *d)
{
    const descriptor *pointwise = other_of(d, DNN_POINTWISE_OF);
    const descriptor *reduction = other_of(d, DNN_REDUCTION_OF);
    operation o = {.kind = d->kind};
    switch (d->kind) {
    case DNN_OPERATION_POINTWISE:
        o.mode = int_of(pointwise, DNN_POINTWISE_MODE);
        o.axis = int64_of(pointwise, DNN_POINTWISE_AXIS, 0);
        o.x = tensor_of(other_of(d, DNN_POINTWISE_X));
        o.b = tensor_of(other_of(d, DNN_POINTWISE_B));
        o.t = tensor_of(other_of(d, DNN_POINTWISE_T));
        o.y = tensor_of(other_of(d, DNN_POINTWISE_Y));
        break;
    case DNN_OPERATION_MATMUL:
        o.x = tensor_of(other_of(d, DNN_MATMUL_A));
        o.b = tensor_of(other_of(d, DNN_MATMUL_B));
        o.y = tensor_of(other_of(d, DNN_MATMUL_C));
        break;
    case DNN_OPERATION_REDUCTION:
        o.mode = int_of(reduction, DNN_REDUCTION_MODE);
        o.x = tensor_of(other_of(d, DNN_REDUCTION_X));
        o.y = tensor_of(other_of(d, DNN_REDUCTION_Y));
        break;
    default:
        o.x = tensor_of(other_of(d, DNN_RESHAPE_X));
        o.y = tensor_of(other_of(d, DNN_RESHAPE_Y));
    }
    return o;
}

static int take_graph(descriptor *d)
{
    const attribute *all = find(d, DNN_GRAPH_OPERATIONS);
    d->numbers = all ? all->count * NUMBERS : 0;
    d->program = calloc((size_t)d->numbers + 1, sizeof *d->program);
    for (int64_t i = 0; d->program && i < d->numbers / NUMBERS; i++) {
        const operation o = operation_of(((descriptor *const *)all->values)[i]);
        memcpy(d->program + i * NUMBERS, &o, sizeof o);
    }
    return d->program && d->numbers ? 0 : BAD_PARAMETER;
}

static int take_program(descriptor *d, const descriptor *from)
{
    if (!from || !from->program)
        return BAD_PARAMETER;
    d->numbers = from->numbers;
    d->program = calloc((size_t)d->numbers, sizeof *d->program);
    if (!d->program)
        return FAILED;
    memcpy(d->program, from->program, (size_t)d->numbers * sizeof *d->program);
    return 0;
}

/* "a plan of 1386: 13 1 ..." */
static const char title[] = "a plan of ";

static int take_text(descriptor *d, const char *text)
{
    char *at;
    if (strncmp(text, title, strlen(title)) != 0)
        return BAD_PARAMETER;
    d->numbers = strtoll(text + strlen(title), &at, 10);
    if (d->numbers < NUMBERS || d->numbers > 1 << 20 || d->numbers % NUMBERS ||
        *at++ != ':')
        return BAD_PARAMETER;
    d->program = calloc((size_t)d->numbers, sizeof *d->program);
    for (int64_t i = 0; d->program && i < d->numbers; i++)
        d->program[i] = strtoll(at, &at, 10);
    return d->program ? 0 : FAILED;
}

static int64_t write_text(const descriptor *d, char *text, int64_t most)
{
    int64_t at =
        snprintf(text, (size_t)most, "%s%lld:", title, (long long)d->numbers);
    for (int64_t i = 0; i < d->numbers; i++)
        at += snprintf(text ? text + at : NULL, (size_t)(text ? most - at : 0),
                       " %lld", (long long)d->program[i]);
    return at + 1;
}

int dnn_Finalize(void *of)
{
    descriptor *d = of;
    const attribute *text = find(d, DNN_PLAN_TEXT);
    if (d->is_final)
        return BAD_PARAMETER;
    d->is_final = 1;
    if (d->kind == DNN_GRAPH)
        return take_graph(d);
    if (d->kind == DNN_PLAN && text)
        return take_text(d, text->values);
    if (d->kind == DNN_PLAN)
        return take_program(d, other_of(d, DNN_PLAN_ENGINE_CONFIG));
    return 0;
}

/* One configuration: there is one way of computing. */
static int recommend(const descriptor *h, int64_t most, int64_t *count,
                     descriptor *const *configs)
{
    *count = !is_fault("refuses");
    if (!*count)
        return 0;
    if (most < 1 || !h->is_final)
        return BAD_PARAMETER;
    configs[0]->is_final = 1;
    return take_program(configs[0], other_of(h, DNN_HEURISTICS_GRAPH));
}

int dnn_GetAttribute(void *of, int name, int type, int64_t most, int64_t *count,
                     void *values)
{
    const descriptor *d = of;
    (void)type;
    if (!d->is_final)
        return BAD_PARAMETER;
    if (name == DNN_HEURISTICS_RESULTS)
        return recommend(d, most, count, values);
    *count = 1;
    if (name == DNN_PLAN_WORKSPACE)
        memcpy(values, &(int64_t){MOST_ATTRIBUTES * 1024}, sizeof(int64_t));
    else if (name == DNN_PLAN_TEXT)
        *count = write_text(d, values, most);
    else
        return NOT_SUPPORTED;
    return 0;
}

/* ---- numbers ---- */

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double get(int64_t type, const char *at, int64_t i)
{
    uint32_t bits = 0;
    if (type == DNN_BOOL)
        return at[i];
    if (type == DNN_I32)
        return ((const int32_t *)(const void *)at)[i];
    if (type == DNN_BF16) {
        memcpy((char *)&bits + 2, at + 2 * i, 2);
        return (double)float_of(bits);
    }
    memcpy(&bits, at + 4 * i, sizeof bits);
    return (double)float_of(bits);
}

static void put(int64_t type, char *at, int64_t i, double value)
{
    const float x = (float)value;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (type == DNN_BOOL)
        at[i] = value != 0.0;
    else if (type == DNN_I32)
        ((int32_t *)(void *)at)[i] = (int32_t)value;
    else if (type == DNN_F32)
        memcpy(at + 4 * i, &bits, sizeof bits);
    else { /* to the nearest, and to even in the middle */
        bits += 0x7fff + (bits >> 16 & 1);
        memcpy(at + 2 * i, (char *)&bits + 2, 2);
    }
}

static size_t bytes_of(int64_t type)
{
    return type == DNN_BOOL ? 1 : type == DNN_BF16 ? 2 : 4;
}

/* ---- a run ---- */

enum { MOST_TENSORS = 128 };

typedef struct run {
    int64_t *program;
    int64_t numbers;
    char *data[MOST_TENSORS]; /* by id */
    char value[DNN_IDS][8];   /* of numbers, as they were at the start */
    struct run *next;
} run;

typedef struct handle {
    CUstream stream;
    run *runs; /* all there were: a graph may hold any */
} handle;

static unsigned long runs;

/* Elements from the first to behind the last. */
static size_t reach(const tensor *t)
{
    int64_t last = 0;
    for (int i = 0; i < AXES; i++)
        last += (t->size[i] - 1) * t->stride[i];
    return (size_t)last + 1;
}

/* Where element i[] of t lies, where axes that are shorter than whole[] repeat,
 * each of their elements for as many in a row. */
static int64_t place_of(const tensor *t, const int64_t i[AXES],
                        const int64_t whole[AXES])
{
    int64_t at = 0;
    for (int k = 0; k < AXES; k++)
        at += i[k] / (whole[k] / t->size[k]) * t->stride[k];
    return at;
}

static double element(const run *r, const tensor *t, const int64_t i[AXES],
                      const int64_t whole[AXES])
{
    return get(t->type, r->data[t->id], place_of(t, i, whole));
}

static void store(const run *r, const tensor *t, const int64_t i[AXES],
                  double value)
{
    int64_t at = 0;
    for (int k = 0; k < AXES; k++)
        at += i[k] * t->stride[k];
    put(t->type, r->data[t->id], at, value);
}

static int next_index(int64_t i[AXES], const int64_t size[AXES])
{
    for (int k = AXES - 1; k >= 0; k--) {
        if (++i[k] < size[k])
            return 1;
        i[k] = 0;
    }
    return 0;
}

static double compute(int64_t mode, double x, double b, double t)
{
    switch (mode) {
    case DNN_ADD:
        return x + b;
    case DNN_MUL:
        return x * b;
    case DNN_DIV:
        return x / b;
    case DNN_SUB:
        return x - b;
    case DNN_EXP:
        return exp(x);
    case DNN_LOG:
        return log(x);
    case DNN_GREATER:
        return x > b;
    case DNN_NOT_LESS:
        return x + is_fault("mask") >= b;
    case DNN_SELECT:
        return t != 0.0 ? x : b;
    default:
        return (double)NAN;
    }
}

static void do_pointwise(const run *r, const operation *o)
{
    int64_t i[AXES] = {0};
    do {
        const double x = element(r, &o->x, i, o->y.size);
        const double b = o->b.is_there ? element(r, &o->b, i, o->y.size) : 0.0;
        const double t = o->t.is_there ? element(r, &o->t, i, o->y.size) : 0.0;
        store(r, &o->y, i,
              o->mode == DNN_INDEX ? (double)i[o->axis]
                                   : compute(o->mode, x, b, t));
    } while (next_index(i, o->y.size));
}

static void do_product(const run *r, const operation *o)
{
    const tensor *a = &o->x, *b = &o->b;
    const int64_t inner = a->size[3], *y = o->y.size;
    const int64_t a_whole[AXES] = {y[0], y[1], y[2], inner};
    const int64_t b_whole[AXES] = {y[0], y[1], inner, y[3]};
    int64_t i[AXES] = {0};
    do {
        const int64_t row =
            place_of(a, (int64_t[]){i[0], i[1], i[2], 0}, a_whole);
        const int64_t column =
            place_of(b, (int64_t[]){i[0], i[1], 0, i[3]}, b_whole);
        double sum = 0.0;
        for (int64_t k = 0; k < inner; k++)
            sum += get(a->type, r->data[a->id], row + k * a->stride[3]) *
                   get(b->type, r->data[b->id], column + k * b->stride[2]);
        store(r, &o->y, i, sum);
    } while (next_index(i, y));
}

static void do_reduction(const run *r, const operation *o)
{
    int64_t i[AXES] = {0}, within[AXES] = {0}, part[AXES], at[AXES];
    for (int k = 0; k < AXES; k++)
        part[k] = o->x.size[k] / o->y.size[k];
    do {
        double all = o->mode == DNN_MAX ? -HUGE_VAL : 0.0;
        do {
            for (int k = 0; k < AXES; k++)
                at[k] = i[k] * part[k] + within[k];
            const double x = element(r, &o->x, at, o->x.size);
            all = o->mode == DNN_MAX ? fmax(all, x) : all + x;
        } while (next_index(within, part));
        store(r, &o->y, i, all);
    } while (next_index(i, o->y.size));
}

/* The same elements in memory, seen with other axes. */
static void do_reshape(const run *r, const operation *o)
{
    for (size_t i = 0; i < reach(&o->y); i++)
        put(o->y.type, r->data[o->y.id], (int64_t)i,
            get(o->x.type, r->data[o->x.id], (int64_t)i));
}

/* Results that depend on how often there were any. */
static void disturb(const run *r, const tensor *y)
{
    if (is_fault("unsteady") && !y->is_virtual && y->type == DNN_BF16)
        r->data[y->id][0] ^= (char)(runs & 1);
}

static void do_operation(const run *r, const operation *o)
{
    switch (o->kind) {
    case DNN_OPERATION_POINTWISE:
        do_pointwise(r, o);
        break;
    case DNN_OPERATION_MATMUL:
        do_product(r, o);
        break;
    case DNN_OPERATION_REDUCTION:
        do_reduction(r, o);
        break;
    default:
        do_reshape(r, o);
    }
    disturb(r, &o->y);
}

/* What events measure is the processor's time (stream.c). */
static void waste_time(void)
{
    const clock_t end = clock() + 4 * CLOCKS_PER_SEC / 10;
    while (clock() < end)
        ;
}

static void do_run(void *of)
{
    run *r = of;
    runs++;
    if (is_fault("slow"))
        waste_time();
    for (int64_t i = 0; i < r->numbers; i += NUMBERS) {
        operation o;
        memcpy(&o, r->program + i, sizeof o);
        if (o.y.is_virtual)
            r->data[o.y.id] = calloc(reach(&o.y), bytes_of(o.y.type));
        do_operation(r, &o);
    }
    for (int64_t i = 0; i < r->numbers; i += NUMBERS) {
        operation o;
        memcpy(&o, r->program + i, sizeof o);
        if (o.y.is_virtual)
            free(r->data[o.y.id]);
    }
}

unsigned long simt_cudnn_runs(void)
{
    return runs;
}

/* ---- starting ---- */

/* Addresses as the pack says; numbers are read now. */
static int bind(run *r, const descriptor *pack)
{
    const attribute *ids = find(pack, DNN_PACK_IDS);
    const attribute *pointers = find(pack, DNN_PACK_POINTERS);
    if (!ids || !pointers || ids->count != pointers->count)
        return BAD_PARAMETER;
    for (int64_t i = 0; i < ids->count; i++) {
        const int64_t id = ((const int64_t *)ids->values)[i];
        char *at = ((char *const *)pointers->values)[i];
        if (id < 0 || id >= DNN_IDS || r->data[id])
            return BAD_PARAMETER;
        r->data[id] = at;
        if (id >= DNN_SCALE)
            r->data[id] = memcpy(r->value[id], at, sizeof(float));
        else if ((uintptr_t)at % 16)
            return BAD_PARAMETER;
    }
    return 0;
}

/* Every tensor that is read or written has an address, or will have. */
static int is_bound(const run *r)
{
    for (int64_t i = 0; i < r->numbers; i += NUMBERS) {
        operation o;
        memcpy(&o, r->program + i, sizeof o);
        const tensor *const all[] = {&o.x, &o.b, &o.t, &o.y};
        for (int k = 0; k < 4; k++)
            if (all[k]->is_there &&
                (all[k]->id >= MOST_TENSORS ||
                 (!all[k]->is_virtual && !r->data[all[k]->id])))
                return 0;
    }
    return 1;
}

int dnn_Execute(void *with, void *of, void *pack)
{
    handle *h = with;
    const descriptor *plan = of;
    run *r = calloc(1, sizeof *r);
    if (!r || is_fault("fails")) {
        free(r);
        return FAILED;
    }
    r->next = h->runs;
    h->runs = r;
    r->numbers = plan->numbers;
    r->program = calloc((size_t)r->numbers + 1, sizeof *r->program);
    if (!r->program || !plan->program)
        return FAILED;
    memcpy(r->program, plan->program, (size_t)r->numbers * sizeof *r->program);
    if (bind(r, pack) || !is_bound(r))
        return BAD_PARAMETER;
    return cuLaunchHostFunc(h->stream, do_run, r) ? FAILED : 0;
}

/* ---- the library ---- */

size_t dnn_GetVersion(void)
{
    return 0;
}

int dnn_Create(void **made)
{
    *made = calloc(1, sizeof(handle));
    return *made ? 0 : FAILED;
}

int dnn_Destroy(void *gone)
{
    handle *h = gone;
    while (h->runs) {
        run *r = h->runs;
        h->runs = r->next;
        free(r->program);
        free(r);
    }
    free(h);
    return 0;
}

int dnn_SetStream(void *of, CUstream stream)
{
    handle *h = of;
    h->stream = stream;
    return 0;
}

void dnn_GetLastErrorString(char *text, size_t most)
{
    snprintf(text, most, "as asked for");
}
