/*
 * fuzz_safetensors.c - the header of a weights file under attack.
 *
 * What the reader accepts must hold what it promises: every tensor inside the
 * file, none over another, sizes that multiply out.
 */
#include "fuzz.h"

#include "run/safetensors.h"

static void must(int true_)
{
    if (!true_)
        abort();
}

static void check_tensor(const tni_stored *t, int64_t end)
{
    int64_t elements = 1;
    must(t->name && t->dtype && t->rank <= TN_MAX_RANK);
    for (uint32_t i = 0; i < t->rank; i++)
        elements *= t->shape[i];
    must(elements == t->elements && t->bytes >= 0);
    must(t->offset >= 8 && t->offset + t->bytes <= end);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    tni_safetensors *file = NULL;
    tn_error err = {0};
    uint32_t tensors;
    const tn_status status =
        tni_safetensors_check("fuzz", bytes, count, &file, &err);
    if (status != TN_OK) {
        must(err.status == status && err.message[0]);
        return 0;
    }
    const tni_stored *t = tni_safetensors_list(file, &tensors);
    int64_t covered = 0;
    for (uint32_t i = 0; i < tensors; i++) {
        check_tensor(&t[i], (int64_t)count);
        covered += t[i].bytes;
        must(tni_safetensors_find(file, t[i].name) != NULL);
    }
    must(covered <= (int64_t)count);
    tni_safetensors_close(file);
    return 0;
}

#ifndef TENON_LIBFUZZER
/* A header, its length before it and zeros after it. */
static tn_fuzz_seed seed(uint8_t *to, const char *header, size_t data)
{
    const size_t n = strlen(header);
    memset(to, 0, 8 + n + data);
    to[0] = (uint8_t)n;
    to[1] = (uint8_t)(n >> 8);
    memcpy(to + 8, header, n);
    return (tn_fuzz_seed){to, 8 + n + data};
}

int main(void)
{
    static uint8_t memory[3][512];
    const tn_fuzz_seed seeds[] = {
        seed(memory[0],
             "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"
             "\"data_offsets\":[0,24]},\"__metadata__\":{\"format\""
             ":\"pt\"}}",
             24),
        seed(memory[1],
             "{\"b\":{\"dtype\":\"BF16\",\"shape\":[4],"
             "\"data_offsets\":[8,16]},\"a\":{\"dtype\":\"F64\","
             "\"shape\":[],\"data_offsets\":[0,8]}}",
             16),
        seed(memory[2], "{}", 0),
    };
    return tn_fuzz("safetensors", seeds, 3, 200000);
}
#endif
