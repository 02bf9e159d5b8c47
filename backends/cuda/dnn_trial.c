/*
 * dnn_trial.c - cuDNN's attention beside ours, once: is it right, and is it
 * faster?
 *
 * Both compute the same, of numbers drawn at random, on memory of its own: a
 * plan of one attention (and one of its gradients) is compiled twice. cuDNN's
 * is taken if it agrees with ours row by row, gives the same bits when it runs
 * again, and takes less time.
 *
 * How close is close: results are BF16, of which a rounding is 2^-9 of a value
 * at most. On their way to a result are the roundings of p, of ds and of the
 * result itself, which both sides do, and one more where heads of keys are
 * shared: eight at most, none of them multiplied by another. So two rows differ
 * by at most 2^-6 of their length, or of the length that rows usually have
 * where one is short: the products that cancelled out in it were rounded like
 * all others. lse is F32 of exact products; what it is off by all of p is off
 * by, for which half a rounding is enough.
 *
 * Scores have a standard deviation of 3: a row listens to a few keys, so that
 * one key too many or too few is no small difference.
 */
#include "dnn.h"
#include "exec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRIALS = 3, LARGEST_PART = 16 };

static const double close_enough = 0x1p-6, close_lse = 0x1p-10;
static const double deviation = 3.0; /* of scores */

/* ---- a plan of its own ---- */

enum { FORWARD, BACKWARD };

/* Segment 0 is attention, segment 1 its gradients, if they are what is tried.
 */
typedef struct trial {
    tn_device *device;
    const char *problem;
    int backward;
    tn_operand in[2][6], out[2][3];
    tn_plan_node nodes[2];
    tn_plan_segment segments[2];
    tn_plan plan;
    tn_buffer *memory;
    tn_buffer *arenas[TN_ARENA_COUNT];
    int64_t bytes;
    int64_t outputs, output_bytes; /* where they lie: one after the other */
    char *expected, *got;
    CUevent events[2];
    tn_exec *exec; /* by our kernels */
} trial;

static int64_t reach(const tn_operand *o)
{
    int64_t last = 0;
    for (uint32_t i = 0; i < o->rank; i++)
        last += (o->shape[i] - 1) * o->stride[i];
    return (last + 1) * tn_dtype_bytes(o->dtype);
}

static void place(trial *t, tn_operand *o)
{
    o->arena = TN_ARENA_TRANSIENT;
    o->offset = t->bytes;
    t->bytes += gpu_ceil(reach(o), TN_ALIGNMENT) * TN_ALIGNMENT;
}

static void copy_operands(tn_operand *to, const tn_operand *from, int count)
{
    memcpy(to, from, (size_t)count * sizeof *to);
}

/* Of attention's node, or of its gradients': q, k, v and o, lse are there. */
static void take_operands(trial *t, const tn_plan_node *n)
{
    const int first = t->backward ? 1 : 0;
    copy_operands(t->in[FORWARD], &n->in[first], 3);
    copy_operands(t->out[FORWARD], t->backward ? &n->in[4] : n->out, 2);
    for (int i = 0; i < 3; i++)
        place(t, &t->in[FORWARD][i]);
    t->outputs = t->bytes;
    for (int i = 0; i < 2; i++)
        place(t, &t->out[FORWARD][i]);
    if (t->backward) {
        copy_operands(&t->in[BACKWARD][0], &n->in[0], 1);
        place(t, &t->in[BACKWARD][0]);
        copy_operands(&t->in[BACKWARD][1], t->in[FORWARD], 3);
        copy_operands(&t->in[BACKWARD][4], t->out[FORWARD], 2);
        copy_operands(t->out[BACKWARD], n->out, 3);
        t->outputs = t->bytes;
        for (int i = 0; i < 3; i++)
            place(t, &t->out[BACKWARD][i]);
    }
    t->output_bytes = t->bytes - t->outputs;
}

static void make_plan(trial *t, const tn_plan_node *n)
{
    const tn_plan_node node = {.struct_size = sizeof node,
                               .name = n->name,
                               .attr = n->attr,
                               .file = n->file,
                               .line = n->line};
    take_operands(t, n);
    for (uint32_t i = 0; i < 2; i++) {
        t->nodes[i] = node;
        t->nodes[i].op = i == BACKWARD ? TN_OP_ATTENTION_BWD : TN_OP_ATTENTION;
        t->nodes[i].in = t->in[i];
        t->nodes[i].in_count = i == BACKWARD ? 6 : 3;
        t->nodes[i].out = t->out[i];
        t->nodes[i].out_count = i == BACKWARD ? 3 : 2;
        t->nodes[i].group = i;
        t->segments[i] = (tn_plan_segment){i, 1};
    }
    t->plan = (tn_plan){.struct_size = sizeof t->plan,
                        .node_count = t->backward ? 2 : 1,
                        .node_stride = sizeof t->nodes[0],
                        .segment_count = t->backward ? 2 : 1,
                        .name = "trial",
                        .nodes = t->nodes,
                        .segments = t->segments};
}

/* ---- its numbers ---- */

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* BF16 between -most and most, evenly. */
static void draw(uint16_t *x, int64_t count, double most, uint64_t *state)
{
    const float step = (float)(most * 0x1p-31);
    for (int64_t i = 0; i < count; i++) {
        const float value = step * (float)(int32_t)next_random(state);
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        x[i] = (uint16_t)((bits + 0x8000u) >> 16);
    }
}

/* Everywhere that strides reach, and between. */
static tn_status fill(const trial *t, const tn_operand *o, double most,
                      uint64_t *state, tn_error *err)
{
    const int64_t bytes = reach(o);
    uint16_t *x = malloc((size_t)bytes);
    if (!x)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    draw(x, bytes / 2, most, state);
    const tn_status status =
        gpu_upload(t->device, t->memory, o->offset, x, bytes, err);
    free(x);
    return status;
}

/* q and k so that scores have the deviation: evenly drawn numbers have a third
 * of `most` squared for a variance. */
static tn_status fill_inputs(const trial *t, const gpu_attention_args *a,
                             tn_error *err)
{
    uint64_t state = 1;
    const tn_operand *in = t->in[FORWARD];
    const double most =
        sqrt(3.0 * deviation / (fabs((double)a->scale) * sqrt(a->key_size)));
    TN_TRY(fill(t, &in[0], most, &state, err));
    TN_TRY(fill(t, &in[1], most, &state, err));
    TN_TRY(fill(t, &in[2], 1.0, &state, err));
    return t->backward ? fill(t, &t->in[BACKWARD][0], 1.0, &state, err) : TN_OK;
}

/* ---- comparing ---- */

static double element(const tn_operand *o, const char *at, int64_t i)
{
    uint32_t bits = 0;
    float value;
    if (o->dtype == TN_BF16) {
        uint16_t half;
        memcpy(&half, at + 2 * i, sizeof half);
        bits = (uint32_t)half << 16;
    } else
        memcpy(&bits, at + 4 * i, sizeof bits);
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static double square_length(const tn_operand *o, const char *x, int64_t first,
                            int64_t count)
{
    double sum = 0.0;
    for (int64_t i = first; i < first + count; i++)
        sum += element(o, x, i) * element(o, x, i);
    return sum;
}

/* Rows of BF16. Written so that NaN is no agreement. */
static int rows_agree(const tn_operand *o, const char *x, const char *y)
{
    const int64_t columns = o->shape[o->rank - 1];
    const int64_t rows = gpu_elements(o) / columns;
    const double usual = square_length(o, x, 0, rows * columns) / (double)rows;
    for (int64_t r = 0; r < rows; r++) {
        const double own = square_length(o, x, r * columns, columns);
        double apart = 0.0;
        for (int64_t i = r * columns; i < (r + 1) * columns; i++) {
            const double by = element(o, x, i) - element(o, y, i);
            apart += by * by;
        }
        if (!(apart <=
              close_enough * close_enough * (own > usual ? own : usual)))
            return 0;
    }
    return 1;
}

static int lse_agrees(const tn_operand *o, const char *x, const char *y)
{
    for (int64_t i = 0; i < gpu_elements(o); i++)
        if (!(fabs(element(o, x, i) - element(o, y, i)) <= close_lse))
            return 0;
    return 1;
}

static int agree(const trial *t)
{
    const uint32_t node = t->backward ? BACKWARD : FORWARD;
    for (uint32_t i = 0; i < t->nodes[node].out_count; i++) {
        const tn_operand *o = &t->out[node][i];
        const int64_t at = o->offset - t->outputs;
        if (!(o->dtype == TN_BF16 ? rows_agree : lse_agrees)(
                o, t->expected + at, t->got + at))
            return 0;
    }
    return 1;
}

/* ---- running ---- */

/* What does not get written stays NaN. */
static tn_status compute(const trial *t, tn_exec *exec, char *outputs,
                         tn_error *err)
{
    tn_device *d = t->device;
    const uint64_t at = t->memory->address + (uint64_t)t->outputs;
    TN_TRY(gpu_check(
        &d->driver,
        d->driver.MemsetD8Async(at, 0xff, (uint64_t)t->output_bytes, d->stream),
        "clearing memory", err));
    TN_TRY(gpu_run(d, exec, t->backward ? 1 : 0, err));
    return gpu_download(d, outputs, t->memory, t->outputs, t->output_bytes,
                        err);
}

static tn_status time_run(const trial *t, tn_exec *exec, double *best,
                          tn_error *err)
{
    tn_device *d = t->device;
    const gpu_driver *driver = &d->driver;
    const char *doing = "timing attention";
    float milliseconds = 0.0f;
    TN_TRY(gpu_check(driver, driver->EventRecord(t->events[0], d->stream),
                     doing, err));
    TN_TRY(gpu_run(d, exec, t->backward ? 1 : 0, err));
    TN_TRY(gpu_check(driver, driver->EventRecord(t->events[1], d->stream),
                     doing, err));
    TN_TRY(
        gpu_check(driver, driver->EventSynchronize(t->events[1]), doing, err));
    TN_TRY(gpu_check(
        driver,
        driver->EventElapsedTime(&milliseconds, t->events[0], t->events[1]),
        doing, err));
    if (*best < 0.0 || (double)milliseconds < *best)
        *best = (double)milliseconds;
    return TN_OK;
}

/* Their time as a part of ours, runs in turn; at least 1 where they are not
 * right. */
static tn_status race(trial *t, tn_exec *theirs, double *part, tn_error *err)
{
    const tn_device *d = t->device;
    double best[2] = {-1.0, -1.0};
    *part = HUGE_VAL;
    TN_TRY(compute(t, theirs, t->got, err));
    if (!agree(t)) {
        d->host->log(d->host, TN_LOG_WARNING,
                     "backend cuda: cuDNN computes something else than our own "
                     "kernels, which are used instead: %s",
                     t->problem);
        return TN_OK;
    }
    char *again = malloc((size_t)t->output_bytes);
    if (!again)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    const tn_status status = compute(t, theirs, again, err);
    const int is_same = !memcmp(again, t->got, (size_t)t->output_bytes);
    free(again);
    if (status != TN_OK || !is_same)
        return status;
    for (int i = 0; i < TRIALS; i++) {
        TN_TRY(time_run(t, t->exec, &best[0], err));
        TN_TRY(time_run(t, theirs, &best[1], err));
    }
    *part = best[1] / best[0];
    return TN_OK;
}

static tn_status compile(trial *t, const gpu_dnn_plan *tried, tn_exec **exec,
                         tn_error *err)
{
    gpu_dnn *dnn = t->device->dnn;
    dnn->is_trial = 1;
    dnn->is_backward = (uint32_t)t->backward;
    dnn->tried = tried;
    const tn_status status =
        gpu_compile(t->device, &t->plan, t->arenas, exec, err);
    dnn->is_trial = 0;
    dnn->tried = NULL;
    return status;
}

/* A plan that does not run is not taken; that is no failure, unless the device
 * does not work any more. Nor is one that wants a large part of the memory,
 * which a longer sequence or more of them are better for. */
static tn_status try_plan(trial *t, const gpu_dnn_text *text, double *part,
                          tn_error *err)
{
    tn_device *d = t->device;
    tn_exec *exec = NULL;
    tn_error why = {0};
    gpu_dnn_plan *plan =
        gpu_dnn_load_plan(d->dnn, text->bytes, (size_t)text->count);
    *part = HUGE_VAL;
    if (!plan || plan->workspace > d->card.memory_bytes / LARGEST_PART) {
        gpu_dnn_unload_plan(d->dnn, plan);
        return TN_OK;
    }
    tn_status status = compile(t, plan, &exec, &why);
    if (status == TN_OK)
        status = race(t, exec, part, &why);
    gpu_exec_free(d, exec);
    gpu_dnn_unload_plan(d->dnn, plan);
    if (status == TN_OK)
        return TN_OK;
    if (status == TN_ENOMEM)
        return tn_fail(err, status, "%s", why.message);
    *part = HUGE_VAL;
    d->host->log(d->host, TN_LOG_WARNING, "%s", why.message);
    return gpu_finish(d, err);
}

/* ---- the trial ---- */

/* Memory, numbers, and what our kernels make of them. */
static tn_status prepare(trial *t, const gpu_attention_args *a, tn_error *err)
{
    tn_device *d = t->device;
    TN_TRY(gpu_buffer_create(d, t->bytes, &t->memory, err));
    t->arenas[TN_ARENA_TRANSIENT] = t->memory;
    t->expected = malloc((size_t)t->output_bytes);
    t->got = malloc((size_t)t->output_bytes);
    if (!t->expected || !t->got)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    for (int i = 0; i < 2; i++)
        TN_TRY(gpu_check(&d->driver,
                         d->driver.EventCreate(&t->events[i], CU_EVENT_DEFAULT),
                         "timing attention", err));
    TN_TRY(fill_inputs(t, a, err));
    TN_TRY(compile(t, NULL, &t->exec, err));
    if (t->backward)
        TN_TRY(gpu_run(d, t->exec, 0, err));
    return compute(t, t->exec, t->expected, err);
}

static void clean_up(trial *t)
{
    tn_device *d = t->device;
    gpu_exec_free(d, t->exec);
    for (int i = 0; i < 2; i++)
        if (t->events[i])
            d->driver.EventDestroy(t->events[i]);
    gpu_buffer_free(d, t->memory);
    free(t->expected);
    free(t->got);
}

static tn_status try_all(trial *t, const gpu_attention_args *a,
                         const gpu_dnn_text *texts, int count, int *winner,
                         tn_error *err)
{
    double best = 1.0;
    TN_TRY(prepare(t, a, err));
    for (int i = 0; i < count; i++) {
        double part;
        TN_TRY(try_plan(t, &texts[i], &part, err));
        if (part < best) {
            best = part;
            *winner = i;
        }
    }
    const tn_host *host = t->device->host;
    if (*winner >= 0)
        host->log(host, TN_LOG_INFO,
                  "backend cuda: cuDNN, in %.2f of our kernels' time: %s", best,
                  t->problem);
    else
        host->log(host, TN_LOG_INFO,
                  "backend cuda: our own kernels, not cuDNN: %s", t->problem);
    return TN_OK;
}

tn_status gpu_dnn_try(tn_device *d, const tn_plan_node *n,
                      const gpu_attention_args *a, int backward,
                      const char *problem, const gpu_dnn_text *texts, int count,
                      int *winner, tn_error *err)
{
    trial t = {.device = d, .problem = problem, .backward = backward};
    *winner = -1;
    make_plan(&t, n);
    const tn_status status = try_all(&t, a, texts, count, winner, err);
    clean_up(&t);
    return status;
}
