/*
 * steps.c - how many steps `train.epochs` allows.
 */
#include "run/evaluate.h"

/* ceil(count / size) */
static int64_t parts(int64_t count, int64_t size)
{
    return (count + size - 1) / size;
}

/* Steps of one epoch; 0 where the data never ends. */
static int64_t steps_per_epoch(const tni_recipe *r, const tn_dataset_info *info)
{
    const int64_t rows = r->train.batch_size * r->train.grad_accum;
    const int64_t by_rows = parts(info->rows_per_epoch, rows);
    const int64_t by_tokens = parts(info->tokens, rows * r->train.seq_len);
    if (!info->rows_per_epoch)
        return 0;
    return by_rows > by_tokens ? by_rows : by_tokens;
}

/* Products and sums that are too large are as good as the largest. */
static int64_t times(int64_t a, int64_t b)
{
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* The run ends at what was asked for, or here, whichever comes first. */
static void bound(tni_recipe *r, int64_t steps)
{
    const int64_t asked = r->asked_steps;
    r->train.max_steps = asked && asked < steps ? asked : steps;
}

static tn_status look_at_data(const tni_recipe *r, tn_dataset_info *info,
                              tn_error *err)
{
    tn_tokenizer_handle tokenizer = {0};
    tni_data data = {0};
    TN_TRY(tni_tokenizer_open(r->reader.host, &r->tokenizer, &tokenizer, err));
    const tn_dataset_request request = tni_data_request(r, &tokenizer);
    const tn_status status =
        tni_data_open(r->reader.host, &r->train_data, &request, 0, &data, err);
    *info = data.info;
    tni_data_close(&data);
    tni_tokenizer_close(&tokenizer);
    return status;
}

tn_status tni_recipe_count_steps(tni_recipe *r, tn_error *err)
{
    tn_dataset_info info = {0};
    tni_train_options *o = &r->train;
    if (!o->epochs)
        return TN_OK;
    TN_TRY(look_at_data(r, &info, err));
    const int64_t each = steps_per_epoch(r, &info);
    if (!each)
        return tni_yaml_fail(
            tni_yaml_get(tni_yaml_get(r->root, "train"), "epochs"), err,
            "train.epochs: %s never ends, so it has no epochs; give "
            "train.max_steps instead",
            r->train_data.name);
    r->asked_steps = o->max_steps;
    bound(r, times(each, o->epochs));
    return TN_OK;
}

void tni_recipe_count_rest(tni_recipe *r, const tn_dataset_info *info,
                           int64_t step, int64_t rows)
{
    const int64_t all = times(steps_per_epoch(r, info), r->train.epochs);
    const int64_t done = rows / (r->train.batch_size * r->train.grad_accum);
    if (all)
        bound(r, all > done ? plus(step, all - done) : step);
}
