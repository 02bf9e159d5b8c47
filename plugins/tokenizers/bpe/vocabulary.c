/*
 * vocabulary.c - tokens by id, by bytes and by pair.
 *
 * Both tables are open addressing with linear probing, half empty, never
 * changed after loading: any number of threads may read them.
 */
#include "vocabulary.h"

void tni_vocabulary_init(tni_vocabulary *v, const char *path)
{
    *v = (tni_vocabulary){.path = path, .whole_first = 1};
}

void tni_vocabulary_fini(tni_vocabulary *v)
{
    for (size_t i = 0; i < v->special_count; i++)
        free(v->special[i].text);
    free(v->special);
    free(v->token);
    free(v->bytes);
    free(v->slot);
    free(v->pair);
    free(v->maybe);
    free(v->byte_pair);
    free(v->made);
    *v = (tni_vocabulary){0};
}

static tn_status check_id(const tni_vocabulary *v, int64_t id, tn_error *err)
{
    if (id >= 0 && id < TNI_MAX_TOKENS)
        return TN_OK;
    return tn_fail(err, TN_EFORMAT,
                   "%s: token id %lld is outside 0 to %d; is the file damaged?",
                   v->path, (long long)id, TNI_MAX_TOKENS - 1);
}

/* Ids up to and including `id`, holes where nothing was added. */
static int reach(tni_vocabulary *v, size_t id)
{
    if (id < v->size)
        return 1;
    if (!tni_grow(&v->token, &v->token_capacity, id + 1, sizeof *v->token))
        return 0;
    memset(v->token + v->size, 0, (id + 1 - v->size) * sizeof *v->token);
    v->size = id + 1;
    return 1;
}

tn_status tni_vocabulary_add(tni_vocabulary *v, int64_t id, const char *bytes,
                             size_t count, tn_error *err)
{
    TN_TRY(check_id(v, id, err));
    if (count == 0 || count > TNI_MAX_TOKEN_BYTES)
        return tn_fail(err, TN_EFORMAT,
                       "%s: token %lld has %zu bytes; 1 to %d are possible",
                       v->path, (long long)id, count, TNI_MAX_TOKEN_BYTES);
    if ((size_t)id < v->size && v->token[id].count)
        return tn_fail(err, TN_EFORMAT, "%s: two tokens have the id %lld",
                       v->path, (long long)id);
    if (v->byte_count + count > UINT32_MAX)
        return tn_fail(err, TN_EFORMAT,
                       "%s: its tokens are longer than 4 GB together", v->path);
    if (!reach(v, (size_t)id) ||
        !tni_grow(&v->bytes, &v->byte_capacity, v->byte_count + count, 1))
        return tni_no_memory(v->path, err);
    memcpy(v->bytes + v->byte_count, bytes, count);
    v->token[id] = (tni_bytes){(uint32_t)v->byte_count, (uint32_t)count};
    v->byte_count += count;
    return TN_OK;
}

static tn_status check_special(const tni_vocabulary *v, int64_t id,
                               const char *text, size_t count, tn_error *err)
{
    TN_TRY(check_id(v, id, err));
    if (count == 0 || count > INT32_MAX)
        return tn_fail(err, TN_EFORMAT, "%s: special token %lld is %s", v->path,
                       (long long)id, count ? "too long" : "empty");
    for (size_t i = 0; i < v->special_count; i++) {
        const tni_special *s = &v->special[i];
        if (s->id == id || (s->count == count && !memcmp(s->text, text, count)))
            return tn_fail(err, TN_EFORMAT,
                           "%s: special tokens %.*s (id %d) and %.*s (id %lld) "
                           "share %s",
                           v->path, (int)s->count, s->text, s->id, (int)count,
                           text, (long long)id,
                           s->id == id ? "an id" : "a text");
    }
    return TN_OK;
}

/* Once all tokens are known: none has a special token's id. */
static tn_status check_special_ids(const tni_vocabulary *v, tn_error *err)
{
    for (size_t i = 0; i < v->special_count; i++)
        if (v->token[v->special[i].id].count)
            return tn_fail(err, TN_EFORMAT,
                           "%s: special token %s has the id %d of an ordinary "
                           "token",
                           v->path, v->special[i].text, v->special[i].id);
    return TN_OK;
}

tn_status tni_vocabulary_add_special(tni_vocabulary *v, int64_t id,
                                     const char *text, size_t count, int always,
                                     tn_error *err)
{
    TN_TRY(check_special(v, id, text, count, err));
    char *copy = malloc(count + 1);
    if (!copy || !reach(v, (size_t)id) ||
        !tni_grow(&v->special, &v->special_capacity, v->special_count + 1,
                  sizeof *v->special)) {
        free(copy);
        return tni_no_memory(v->path, err);
    }
    memcpy(copy, text, count);
    copy[count] = '\0';
    size_t at = v->special_count++;
    for (; at > 0 && v->special[at - 1].count < count; at--)
        v->special[at] = v->special[at - 1];
    v->special[at] =
        (tni_special){copy, (uint32_t)count, (int32_t)id, always != 0};
    return v->slot ? check_special_ids(v, err) : TN_OK;
}

/* ---- by bytes ---- */

/* Where the bytes are, or the free slot where they would go. */
static size_t probe(const tni_vocabulary *v, const char *bytes, size_t count,
                    uint32_t *tag)
{
    const uint64_t hash = tni_hash_bytes(bytes, count);
    *tag = (uint32_t)(hash >> 12);
    size_t i = hash & v->slot_mask;
    for (; v->slot[i].id != TNI_NO_TOKEN; i = (i + 1) & v->slot_mask) {
        const tni_bytes *t = &v->token[v->slot[i].id];
        if (v->slot[i].tag == *tag && t->count == count &&
            !memcmp(v->bytes + t->at, bytes, count))
            break;
    }
    return i;
}

int32_t tni_vocabulary_find(const tni_vocabulary *v, const char *bytes,
                            size_t count)
{
    uint32_t tag;
    return v->slot[probe(v, bytes, count, &tag)].id;
}

/* "!" for what can be printed, 0x80 for what cannot. */
static const char *show(const char *bytes, size_t count, char to[80])
{
    size_t used = 0;
    int plain = 1;
    for (size_t i = 0; i < count; i++)
        plain &= bytes[i] > ' ' && bytes[i] <= '~';
    if (plain && count < 64) {
        snprintf(to, 80, "\"%.*s\"", (int)count, bytes);
        return to;
    }
    for (size_t i = 0; i < count && used < 70; i++)
        used += (size_t)snprintf(to + used, 80 - used, i ? " %02x" : "0x%02x",
                                 (unsigned)(unsigned char)bytes[i]);
    return to;
}

static tn_status index_token(tni_vocabulary *v, int32_t id, tn_error *err)
{
    uint32_t tag, count;
    char text[80];
    const char *bytes = tni_vocabulary_bytes(v, id, &count);
    const size_t i = probe(v, bytes, count, &tag);
    if (v->slot[i].id != TNI_NO_TOKEN)
        return tn_fail(err, TN_EFORMAT,
                       "%s: tokens %d and %d are the same bytes, %s", v->path,
                       v->slot[i].id, id, show(bytes, count, text));
    v->slot[i] = (tni_slot){tag, id};
    return TN_OK;
}

static tn_status index_single_bytes(tni_vocabulary *v, tn_error *err)
{
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        char text[80];
        v->byte_id[i] = tni_vocabulary_find(v, &byte, 1);
        if (v->byte_id[i] == TNI_NO_TOKEN)
            return tn_fail(err, TN_EFORMAT,
                           "%s: the byte %s is no token; a byte-level "
                           "vocabulary has all 256. Is the file complete?",
                           v->path, show(&byte, 1, text));
    }
    return TN_OK;
}

tn_status tni_vocabulary_index(tni_vocabulary *v, tn_error *err)
{
    TN_TRY(check_special_ids(v, err));
    const size_t slots = tni_table_slots(v->size);
    v->slot = tni_table_alloc(slots * sizeof *v->slot);
    if (!v->slot)
        return tni_no_memory(v->path, err);
    v->slot_mask = slots - 1;
    memset(v->slot, 0xff, slots * sizeof *v->slot); /* TNI_NO_TOKEN */
    for (size_t id = 0; id < v->size; id++)
        if (v->token[id].count)
            TN_TRY(index_token(v, (int32_t)id, err));
    return index_single_bytes(v, err);
}

/* ---- by pair ---- */

/* Room for so many pairs. */
static tn_status make_pairs(tni_vocabulary *v, size_t count, tn_error *err)
{
    const size_t slots = tni_table_slots(count);
    v->pair = tni_table_alloc(slots * sizeof *v->pair);
    v->maybe = tni_table_alloc(4 * slots / 64 * sizeof *v->maybe);
    v->byte_pair = malloc(256 * 256 * sizeof *v->byte_pair);
    if (!v->pair || !v->maybe || !v->byte_pair)
        return tni_no_memory(v->path, err);
    memset(v->pair, 0xff, slots * sizeof *v->pair); /* TNI_NO_PAIR */
    memset(v->byte_pair, 0xff, 256 * 256 * sizeof *v->byte_pair);
    v->pair_mask = slots - 1;
    return TN_OK;
}

tn_status tni_vocabulary_expect_merges(tni_vocabulary *v, size_t count,
                                       tn_error *err)
{
    if (count > TNI_MAX_MERGES)
        return tn_fail(err, TN_EFORMAT, "%s: %zu merges; %d are possible",
                       v->path, count, TNI_MAX_MERGES);
    v->rank_count = count;
    v->made = malloc((count + 1) * sizeof *v->made);
    return v->made ? make_pairs(v, count, err) : tni_no_memory(v->path, err);
}

/* 0 where it is known. */
static int put_pair(tni_vocabulary *v, int32_t left, int32_t right,
                    uint32_t rank)
{
    const uint64_t key = tni_pair_key(left, right);
    const uint64_t hash = tni_hash_word(key);
    const tni_bytes a = v->token[left], b = v->token[right];
    size_t i = hash & v->pair_mask;
    const size_t bit = tni_pair_bit(v, hash);
    for (; v->pair[i] != TNI_NO_PAIR; i = (i + 1) & v->pair_mask)
        if (v->pair[i] >> TNI_RANK_BITS == key)
            return 0;
    v->pair[i] = key << TNI_RANK_BITS | rank;
    v->maybe[bit / 64] |= UINT64_C(1) << bit % 64;
    if (a.count == 1 && b.count == 1)
        v->byte_pair[(unsigned char)v->bytes[a.at] << 8 |
                     (unsigned char)v->bytes[b.at]] = rank;
    return 1;
}

tn_status tni_vocabulary_add_merge(tni_vocabulary *v, int32_t left,
                                   int32_t right, uint32_t rank, tn_error *err)
{
    uint32_t m, n;
    char both[2 * TNI_MAX_TOKEN_BYTES], text[80];
    const char *a = tni_vocabulary_bytes(v, left, &m);
    const char *b = tni_vocabulary_bytes(v, right, &n);
    memcpy(both, a, m);
    memcpy(both + m, b, n);
    v->made[rank] = tni_vocabulary_find(v, both, m + (size_t)n);
    if (v->made[rank] == TNI_NO_TOKEN)
        return tn_fail(err, TN_EFORMAT,
                       "%s: merge %u makes %s, which is no token", v->path,
                       rank, show(both, m + (size_t)n, text));
    if (!put_pair(v, left, right, rank))
        return tn_fail(err, TN_EFORMAT, "%s: merge %u is listed twice", v->path,
                       rank);
    return TN_OK;
}

typedef struct cut {
    int32_t left, right, whole;
} cut;

typedef struct cut_list {
    cut *at;
    size_t count, capacity;
} cut_list;

/* Every way to cut a token into two tokens. 0 when memory ran out. */
static int cut_token(const tni_vocabulary *v, int32_t id, cut_list *list)
{
    uint32_t count;
    const char *bytes = tni_vocabulary_bytes(v, id, &count);
    for (uint32_t i = 1; i < count; i++) {
        const int32_t left = tni_vocabulary_find(v, bytes, i);
        if (left == TNI_NO_TOKEN)
            continue;
        const int32_t right = tni_vocabulary_find(v, bytes + i, count - i);
        if (right == TNI_NO_TOKEN)
            continue;
        if (!tni_grow(&list->at, &list->capacity, list->count + 1,
                      sizeof *list->at))
            return 0;
        list->at[list->count++] = (cut){left, right, id};
    }
    return 1;
}

static tn_status keep_pairs(tni_vocabulary *v, const cut_list *list,
                            tn_error *err)
{
    v->rank_count = v->size;
    TN_TRY(make_pairs(v, list->count, err));
    for (size_t i = 0; i < list->count; i++)
        put_pair(v, list->at[i].left, list->at[i].right,
                 (uint32_t)list->at[i].whole);
    return TN_OK;
}

tn_status tni_vocabulary_merge_by_bytes(tni_vocabulary *v, tn_error *err)
{
    cut_list list = {0};
    int whole = 1;
    for (size_t id = 0; whole && id < v->size; id++)
        whole = cut_token(v, (int32_t)id, &list);
    const tn_status status =
        whole ? keep_pairs(v, &list, err) : tni_no_memory(v->path, err);
    free(list.at);
    return status;
}
