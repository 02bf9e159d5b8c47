/*
 * fuzz_shards.c - a folder of token shards under attack: refused with a
 * sentence, or every document starts inside the tokens and all can be read.
 *
 * The first byte says which of the three files the others replace.
 */
#include "fuzz.h"

#include <sys/stat.h>
#include <unistd.h>

#include "shards.h"

static const char *const names[] = {"index.json", "shard-00000.bin",
                                    "shard-00000.starts"};

static const char index_text[] =
    "{\"format\": \"tenon-tokens\", \"version\": 1, \"complete\": true, "
    "\"dtype\": \"u16\", \"vocab_size\": 256, \"begin\": -1, \"identity\": "
    "\"00\", \"shards\": [{\"file\": \"shard-00000.bin\", \"tokens\": 8, "
    "\"documents\": 2}]}";
static const uint16_t ids[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint64_t starts[2] = {0, 5};

static void must(int true_)
{
    if (!true_)
        abort();
}

static void put(const char *name, const void *bytes, size_t count)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", tn_fuzz_folder(), name);
    FILE *to = fopen(path, "wb");
    must(to && fwrite(bytes, 1, count, to) == count);
    fclose(to);
}

static void check(const tni_shards *s)
{
    const tni_ids all = {.parts = s->parts,
                         .part_count = s->count,
                         .total = s->total,
                         .vocab_size = 1ll << 32};
    int32_t *row = malloc((size_t)s->total * sizeof *row);
    must(s->count && s->total && row);
    must(tni_ids_read(&all, 0, s->total, row, NULL) == TN_OK);
    for (int64_t i = 0; i < s->document_count; i++)
        must(s->starts[i] >= 0 && s->starts[i] < s->total &&
             (!i || s->starts[i] > s->starts[i - 1]));
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const char *path = tn_fuzz_folder();
    const tn_strings paths = {.at = &path, .count = 1};
    const tn_dataset_request request = {.struct_size = sizeof request};
    tni_shards s;
    tn_error err = {0};
    put(names[0], index_text, sizeof index_text - 1);
    put(names[1], ids, sizeof ids);
    put(names[2], starts, sizeof starts);
    if (count)
        put(names[bytes[0] % 3], bytes + 1, count - 1);
    const tn_status status =
        tni_shards_open(&s, &paths, TNI_DTYPE_AUTO, &request, &err);
    must(status == err.status && (status == TN_OK || err.message[0]));
    if (status == TN_OK) {
        check(&s);
        tni_shards_close(&s);
    }
    return 0;
}

#ifndef TENON_LIBFUZZER
int main(void)
{
    char seeds_[3][sizeof index_text + 1];
    const tn_fuzz_seed seeds[] = {{seeds_[0], sizeof index_text},
                                  {seeds_[1], sizeof ids + 1},
                                  {seeds_[2], sizeof starts + 1}};
    for (char i = 0; i < 3; i++)
        seeds_[(int)i][0] = i;
    memcpy(seeds_[0] + 1, index_text, sizeof index_text - 1);
    memcpy(seeds_[1] + 1, ids, sizeof ids);
    memcpy(seeds_[2] + 1, starts, sizeof starts);
    const int failed = tn_fuzz("shards", seeds, 3, 400);
    for (int i = 0; i < 3; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", tn_fuzz_folder(), names[i]);
        remove(path);
    }
    rmdir(tn_fuzz_folder());
    return failed;
}
#endif
