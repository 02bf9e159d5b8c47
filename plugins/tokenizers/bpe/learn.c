/*
 * learn.c - learning merges from counted words.
 *
 * All words lie one after the other in an array of one cell per byte, an empty
 * cell between them. A token is written into the cells of its first and last
 * byte, the last marked as such:
 *
 *     t h e . l o w e r     the bytes
 *     t h e   l o w e r     at first
 *     t h-e   l o w e r     after h+e
 *     t-  e   l-o w e r     after t+he, l+o: the cell between is dead
 *
 * so that from any token its neighbours are found by lengths alone, and a merge
 * touches four cells whatever the length of its word: a megabyte of DNA without
 * a space costs no more than the same text in words.
 *
 * Each pair knows the places where it began when it was made. A pair can only
 * come to be in the step that makes one of its two tokens, so the list is
 * complete from the start, and its count only falls afterwards: a heap whose
 * entries are looked at again when they come up is enough. Places are visited
 * in order, and those where the pair is no longer are passed by.
 *
 * Time: each merge removes a cell, so all lists together are at most a few
 * times as long as the array. Memory: 4 bytes per cell, 4 per listed place.
 */
#include "learn.h"

#define LAST 0x80000000u /* the cell of a longer token's last byte */
#define DEAD UINT32_MAX  /* inside a token, or between words */

typedef struct pair {
    uint64_t key; /* left << 32 | right */
    int64_t count;
    uint32_t *place;
    uint32_t place_count;
} pair;

typedef struct entry {
    int64_t count;
    uint64_t key;
} entry;

/* Words of equal count lie together, so a place's count is found by search. */
typedef struct group {
    uint32_t end; /* first cell after it */
    int64_t count;
} group;

/* Memory for lists, freed all at once. */
typedef struct block {
    struct block *next;
    size_t used;
    uint32_t place[];
} block;

/* A pair that the merge at hand makes, or a place of one. */
typedef struct event {
    uint32_t pair, place;
} event;

typedef struct learning {
    tni_vocabulary *v;
    uint32_t *cell;
    size_t cell_count;
    group *group;
    size_t group_count, group_capacity;
    pair *pair;
    size_t pair_count, pair_capacity;
    uint32_t *slot; /* by key: index + 1, 0 where free */
    size_t slot_count;
    entry *heap;
    size_t heap_count, heap_capacity;
    block *blocks;
    event *event;
    size_t event_count, event_capacity;
    /* Of pairs with the token being made: index + 1 by the other token, valid
     * where the stamp is that token. */
    uint32_t *as_left, *as_right, *left_stamp, *right_stamp;
    tn_error *err;
} learning;

enum { BLOCK_PLACES = 1 << 20 };

static tn_status no_memory(const learning *l)
{
    return tni_no_memory("training", l->err);
}

static uint64_t key_of(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 32 | right;
}

/* ---- cells ---- */

static uint32_t length_of(const learning *l, uint32_t id)
{
    return l->v->token[id].count;
}

static int64_t count_at(const learning *l, uint32_t place)
{
    size_t low = 0, high = l->group_count - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (place < l->group[middle].end)
            high = middle;
        else
            low = middle + 1;
    }
    return l->group[low].count;
}

static void write_token(const learning *l, uint32_t place, uint32_t id)
{
    const uint32_t length = length_of(l, id);
    l->cell[place] = id;
    if (length > 1)
        l->cell[place + length - 1] = id | LAST;
}

/* The token that ends before `place`; 0 where a word begins here. */
static int token_before(const learning *l, uint32_t place, uint32_t *id,
                        uint32_t *at)
{
    const uint32_t cell = l->cell[place - 1];
    if (cell == DEAD)
        return 0;
    *id = cell & ~LAST;
    *at = place - length_of(l, *id);
    return 1;
}

/* ---- pairs ---- */

static size_t slot_of(const learning *l, uint64_t key)
{
    size_t i = tni_hash_word(key) & (l->slot_count - 1);
    while (l->slot[i] && l->pair[l->slot[i] - 1].key != key)
        i = (i + 1) & (l->slot_count - 1);
    return i;
}

static int add_slots(learning *l)
{
    const size_t slots = tni_table_slots(l->pair_count + 1);
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return 0;
    free(l->slot);
    l->slot = slot;
    l->slot_count = slots;
    for (size_t i = 0; i < l->pair_count; i++)
        l->slot[slot_of(l, l->pair[i].key)] = (uint32_t)i + 1;
    return 1;
}

/* A new pair without places; its index, or -1 when memory ran out. */
static int64_t add_pair(learning *l, uint64_t key)
{
    if (2 * l->pair_count >= l->slot_count && !add_slots(l))
        return -1;
    if (l->pair_count == UINT32_MAX - 1 ||
        !tni_grow(&l->pair, &l->pair_capacity, l->pair_count + 1,
                  sizeof *l->pair))
        return -1;
    const size_t slot = slot_of(l, key);
    l->pair[l->pair_count] = (pair){.key = key};
    l->slot[slot] = (uint32_t)++l->pair_count;
    return (int64_t)l->pair_count - 1;
}

static uint32_t *take_places(learning *l, size_t count)
{
    if (!l->blocks || l->blocks->used + count > BLOCK_PLACES) {
        const size_t room = count > BLOCK_PLACES ? count : BLOCK_PLACES;
        block *b = malloc(sizeof *b + room * sizeof *b->place);
        if (!b)
            return NULL;
        *b = (block){.next = l->blocks};
        l->blocks = b;
    }
    uint32_t *places = l->blocks->place + l->blocks->used;
    l->blocks->used += count;
    return places;
}

/* ---- the heap ---- */

static int goes_before(const entry *a, const entry *b)
{
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static int push(learning *l, entry new)
{
    if (!tni_grow(&l->heap, &l->heap_capacity, l->heap_count + 1,
                  sizeof *l->heap))
        return 0;
    size_t at = l->heap_count++;
    for (; at && goes_before(&new, &l->heap[(at - 1) / 2]); at = (at - 1) / 2)
        l->heap[at] = l->heap[(at - 1) / 2];
    l->heap[at] = new;
    return 1;
}

static entry pop(learning *l)
{
    const entry top = l->heap[0], moving = l->heap[--l->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < l->heap_count; at = child) {
        if (child + 1 < l->heap_count &&
            goes_before(&l->heap[child + 1], &l->heap[child]))
            child++;
        if (!goes_before(&l->heap[child], &moving))
            break;
        l->heap[at] = l->heap[child];
    }
    l->heap[at] = moving;
    return top;
}

/* Room for the lists of the pairs from `first` on, of place_count each, which
 * starts again at 0. */
static tn_status make_lists(learning *l, size_t first)
{
    size_t total = 0;
    for (size_t i = first; i < l->pair_count; i++)
        total += l->pair[i].place_count;
    uint32_t *places = take_places(l, total);
    if (!places)
        return no_memory(l);
    for (size_t i = first; i < l->pair_count; i++) {
        l->pair[i].place = places;
        places += l->pair[i].place_count;
        l->pair[i].place_count = 0;
    }
    return TN_OK;
}

static void add_place(learning *l, size_t index, uint32_t place)
{
    pair *p = &l->pair[index];
    p->place[p->place_count++] = place;
}

static tn_status push_pairs(learning *l, size_t first)
{
    for (size_t i = first; i < l->pair_count; i++)
        if (!push(l, (entry){l->pair[i].count, l->pair[i].key}))
            return no_memory(l);
    return TN_OK;
}

/* ---- the start: words into cells, neighbouring bytes into pairs ---- */

static int more_frequent(const void *a, const void *b)
{
    const tni_word *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Words of two bytes and more, by falling count. */
static tni_word *sort_words(const tni_words *words, size_t *count,
                            size_t *bytes)
{
    tni_word *sorted = malloc((words->count + 1) * sizeof *sorted);
    *count = *bytes = 0;
    for (size_t i = 0; sorted && i < words->count; i++)
        if (words->word[i].size > 1) {
            sorted[(*count)++] = words->word[i];
            *bytes += words->word[i].size + 1;
        }
    if (sorted)
        qsort(sorted, *count, sizeof *sorted, more_frequent);
    return sorted;
}

static int end_group(learning *l, int64_t count)
{
    if (l->group_count && l->group[l->group_count - 1].count == count)
        l->group_count--;
    if (!tni_grow(&l->group, &l->group_capacity, l->group_count + 1,
                  sizeof *l->group))
        return 0;
    l->group[l->group_count++] = (group){(uint32_t)l->cell_count, count};
    return 1;
}

static tn_status fill_cells(learning *l, const tni_words *words,
                            const tni_word *sorted, size_t count)
{
    l->cell[l->cell_count++] = DEAD;
    for (size_t i = 0; i < count; i++) {
        const tni_word *w = &sorted[i];
        for (uint32_t j = 0; j < w->size; j++)
            l->cell[l->cell_count++] =
                (uint32_t)l->v->byte_id[(unsigned char)words->bytes[w->at + j]];
        l->cell[l->cell_count++] = DEAD;
        if (!end_group(l, w->count))
            return no_memory(l);
    }
    return TN_OK;
}

static tn_status write_cells(learning *l, const tni_words *words)
{
    size_t count, bytes;
    tni_word *sorted = sort_words(words, &count, &bytes);
    if (!sorted)
        return no_memory(l);
    tn_status status = TN_OK;
    if (bytes >= LAST)
        status = tn_fail(l->err, TN_EUNSUPPORTED,
                         "training: the different words of the text have %zu "
                         "bytes together; %u are possible. Give it less text",
                         bytes, LAST - 1);
    else if (!(l->cell = malloc((bytes + 1) * sizeof *l->cell)))
        status = no_memory(l);
    if (status == TN_OK)
        status = fill_cells(l, words, sorted, count);
    free(sorted);
    return status;
}

/* Whether a pair begins in this cell, and which. */
static int pair_at(const learning *l, uint32_t place, uint64_t *key)
{
    const uint32_t left = l->cell[place], right = l->cell[place + 1];
    *key = key_of(left, right);
    return left != DEAD && right != DEAD;
}

static tn_status count_pairs(learning *l)
{
    uint64_t key;
    if (!add_slots(l))
        return no_memory(l);
    for (uint32_t place = 1; place + 1 < l->cell_count; place++) {
        if (!pair_at(l, place, &key))
            continue;
        const uint32_t known = l->slot[slot_of(l, key)];
        const int64_t index = known ? (int64_t)known - 1 : add_pair(l, key);
        if (index < 0)
            return no_memory(l);
        l->pair[index].count += count_at(l, place);
        l->pair[index].place_count++;
    }
    return TN_OK;
}

static tn_status pair_bytes(learning *l)
{
    uint64_t key;
    TN_TRY(count_pairs(l));
    TN_TRY(make_lists(l, 0));
    for (uint32_t place = 1; place + 1 < l->cell_count; place++)
        if (pair_at(l, place, &key))
            add_place(l, l->slot[slot_of(l, key)] - 1, place);
    return push_pairs(l, 0);
}

/* ---- a merge ---- */

/* The merge at hand. */
typedef struct step {
    uint32_t left, right, made;
} step;

/* The pair of `other` and the token being made, which may be new. */
static int64_t new_pair(learning *l, const step *s, uint32_t other,
                        int other_is_left)
{
    uint32_t *stamp = other_is_left ? l->left_stamp : l->right_stamp;
    uint32_t *index = other_is_left ? l->as_left : l->as_right;
    if (stamp[other] != s->made) {
        const int64_t added = add_pair(
            l, other_is_left ? key_of(other, s->made) : key_of(s->made, other));
        if (added < 0)
            return -1;
        stamp[other] = s->made;
        index[other] = (uint32_t)added;
    }
    return index[other];
}

static int gain(learning *l, int64_t index, uint32_t place, int64_t count)
{
    if (index < 0 || !tni_grow(&l->event, &l->event_capacity,
                               l->event_count + 1, sizeof *l->event))
        return 0;
    l->event[l->event_count++] = (event){(uint32_t)index, place};
    l->pair[index].place_count++;
    l->pair[index].count += count;
    return 1;
}

static void lose(learning *l, uint32_t left, uint32_t right, int64_t count)
{
    l->pair[l->slot[slot_of(l, key_of(left, right))] - 1].count -= count;
}

static int merge_at(learning *l, const step *s, uint32_t place)
{
    const uint32_t m = length_of(l, s->left), n = length_of(l, s->right);
    const int64_t count = count_at(l, place);
    uint32_t other, at;
    l->cell[place + m - 1] = DEAD;
    l->cell[place + m] = DEAD;
    if (token_before(l, place, &other, &at)) {
        lose(l, other, s->left, count);
        if (!gain(l, new_pair(l, s, other, 1), at, count))
            return 0;
    }
    other = l->cell[place + m + n];
    if (other != DEAD) {
        lose(l, s->right, other, count);
        if (!gain(l, new_pair(l, s, other, 0), place, count))
            return 0;
    }
    write_token(l, place, s->made);
    return 1;
}

static tn_status merge_everywhere(learning *l, const step *s, const pair *p)
{
    const size_t first = l->pair_count;
    const uint32_t length = length_of(l, s->left);
    /* Not through p: pairs move when new ones are added. */
    const uint32_t *place = p->place;
    const uint32_t count = p->place_count;
    for (uint32_t i = 0; i < count; i++)
        if (l->cell[place[i]] == s->left &&
            l->cell[place[i] + length] == s->right)
            if (!merge_at(l, s, place[i]))
                return no_memory(l);
    TN_TRY(make_lists(l, first));
    for (size_t i = 0; i < l->event_count; i++)
        add_place(l, l->event[i].pair, l->event[i].place);
    l->event_count = 0;
    return push_pairs(l, first);
}

/* The pair whose turn it is, NULL where none is left. Entries whose count has
 * fallen since go back with the count they have now. */
static tn_status next_pair(learning *l, const pair **next)
{
    *next = NULL;
    while (l->heap_count) {
        const entry top = pop(l);
        const pair *p = &l->pair[l->slot[slot_of(l, top.key)] - 1];
        const size_t length = (size_t)length_of(l, (uint32_t)(p->key >> 32)) +
                              length_of(l, (uint32_t)p->key);
        if (p->count <= 0 || length > TNI_MAX_TOKEN_BYTES)
            continue;
        if (p->count == top.count) {
            *next = p;
            return TN_OK;
        }
        if (!push(l, (entry){p->count, p->key}))
            return no_memory(l);
    }
    return TN_OK;
}

static tn_status add_token(learning *l, const step *s)
{
    char bytes[TNI_MAX_TOKEN_BYTES];
    const tni_bytes a = l->v->token[s->left], b = l->v->token[s->right];
    memcpy(bytes, l->v->bytes + a.at, a.count);
    memcpy(bytes + a.count, l->v->bytes + b.at, b.count);
    return tni_vocabulary_add(l->v, s->made, bytes, (size_t)a.count + b.count,
                              l->err);
}

static tn_status learn(learning *l, size_t size,
                       const tn_tokenizer_training *how, tni_merge_rule *rule)
{
    for (size_t id = l->v->size; id < size; id++) {
        const pair *p;
        TN_TRY(next_pair(l, &p));
        if (!p)
            return TN_OK;
        const step s = {(uint32_t)(p->key >> 32), (uint32_t)p->key,
                        (uint32_t)id};
        TN_TRY(add_token(l, &s));
        TN_TRY(merge_everywhere(l, &s, p));
        rule[id - 256] = (tni_merge_rule){(int32_t)s.left, (int32_t)s.right};
        if (how->progress &&
            how->progress(how->from, "merging pairs",
                          (double)(id - 255) / (double)(size - 256)))
            return tn_fail(l->err, TN_EINTERRUPTED, "training was interrupted");
    }
    return TN_OK;
}

/* ---- */

static void release(learning *l)
{
    while (l->blocks) {
        block *next = l->blocks->next;
        free(l->blocks);
        l->blocks = next;
    }
    free(l->cell);
    free(l->group);
    free(l->pair);
    free(l->slot);
    free(l->heap);
    free(l->event);
    free(l->as_left);
    free(l->as_right);
    free(l->left_stamp);
    free(l->right_stamp);
}

static tn_status prepare(learning *l, tni_words *words, size_t size)
{
    l->as_left = calloc(size, sizeof *l->as_left);
    l->as_right = calloc(size, sizeof *l->as_right);
    l->left_stamp = calloc(size, sizeof *l->left_stamp);
    l->right_stamp = calloc(size, sizeof *l->right_stamp);
    if (!l->as_left || !l->as_right || !l->left_stamp || !l->right_stamp)
        return no_memory(l);
    TN_TRY(write_cells(l, words));
    tni_words_fini(words);
    return pair_bytes(l);
}

tn_status tni_learn(tni_vocabulary *v, tni_words *words, size_t size,
                    const tn_tokenizer_training *how, tni_merge_rule *rule,
                    tn_error *err)
{
    learning l = {.v = v, .err = err};
    tn_status status = prepare(&l, words, size);
    if (status == TN_OK)
        status = learn(&l, size, how, rule);
    release(&l);
    return status;
}
