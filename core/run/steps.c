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
    const int64_t all =
        each > INT64_MAX / o->epochs ? INT64_MAX : each * o->epochs;
    if (!o->max_steps || o->max_steps > all)
        o->max_steps = all;
    return TN_OK;
}
