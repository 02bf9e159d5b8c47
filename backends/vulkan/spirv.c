/*
 * spirv.c - the writer: sections that grow, types and constants that are made
 * once.
 */
#include "spirv.h"

#include <stdlib.h>

enum { MAGIC = 0x07230203, VERSION_1_5 = 0x00010500, HEADER_WORDS = 5 };

spv_id spv_new(spv_module *m)
{
    return ++m->last_id;
}

static uint32_t *grow(spv_module *m, uint32_t section, uint32_t words)
{
    spv_section *s = &m->section[section];
    if (s->count + words > s->capacity) {
        const uint32_t capacity = 2 * (s->count + words) + 128;
        uint32_t *more = realloc(s->words, capacity * sizeof *more);
        if (!more) {
            m->failed = 1;
            return NULL;
        }
        s->words = more;
        s->capacity = capacity;
    }
    uint32_t *at = s->words + s->count;
    s->count += words;
    return at;
}

/* Of 0 words, `from` may be NULL. */
static void copy_words(uint32_t *to, const uint32_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = from[i];
}

void spv_write(spv_module *m, uint32_t section, uint32_t opcode, uint32_t count,
               const uint32_t *operands)
{
    uint32_t *at = grow(m, section, count + 1);
    if (!at)
        return;
    at[0] = (count + 1) << 16 | opcode;
    copy_words(at + 1, operands, count);
}

spv_id spv_compute(spv_module *m, uint32_t opcode, spv_id type, uint32_t count,
                   const uint32_t *operands)
{
    const spv_id id = spv_new(m);
    uint32_t *at = grow(m, SPV_IN_CODE, count + 3);
    if (!at)
        return id;
    at[0] = (count + 3) << 16 | opcode;
    at[1] = type;
    at[2] = id;
    copy_words(at + 3, operands, count);
    return id;
}

static int same_words(const uint32_t *a, const uint32_t *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (a[i] != b[i])
            return 0;
    return 1;
}

/* The result of a global instruction with this first word, these words before
 * the result and these behind; 0 where there is none yet. */
static spv_id find(const spv_module *m, uint32_t first, spv_id type,
                   uint32_t count, const uint32_t *behind)
{
    const spv_section *s = &m->section[SPV_IN_GLOBALS];
    const uint32_t before = type ? 1 : 0;
    for (uint32_t i = 0; i < s->count; i += s->words[i] >> 16) {
        const uint32_t *w = s->words + i;
        if (w[0] == first && (!before || w[1] == type) &&
            same_words(w + 2 + before, behind, count))
            return w[1 + before];
    }
    return 0;
}

static spv_id once(spv_module *m, uint32_t opcode, spv_id type, uint32_t count,
                   const uint32_t *behind)
{
    const uint32_t before = type ? 1 : 0, words = 2 + before + count;
    const uint32_t first = words << 16 | opcode;
    spv_id id = find(m, first, type, count, behind);
    if (id)
        return id;
    id = spv_new(m);
    uint32_t *at = grow(m, SPV_IN_GLOBALS, words);
    if (!at)
        return id;
    at[0] = first;
    if (before)
        at[1] = type;
    at[1 + before] = id;
    copy_words(at + 2 + before, behind, count);
    return id;
}

spv_id spv_type(spv_module *m, uint32_t opcode, uint32_t count,
                const uint32_t *operands)
{
    return once(m, opcode, 0, count, operands);
}

spv_id spv_constant(spv_module *m, spv_id type, uint32_t count,
                    const uint32_t *words)
{
    return once(m, SPV_CONSTANT, type, count, words);
}

uint32_t *spv_finish(spv_module *m, uint32_t *word_count)
{
    uint32_t count = HEADER_WORDS;
    for (uint32_t i = 0; i < SPV_SECTIONS; i++)
        count += m->section[i].count;
    uint32_t *words = m->failed ? NULL : malloc(count * sizeof *words);
    if (!words)
        return NULL;
    const uint32_t header[HEADER_WORDS] = {MAGIC, VERSION_1_5, 0,
                                           m->last_id + 1, 0};
    copy_words(words, header, HEADER_WORDS);
    uint32_t *at = words + HEADER_WORDS;
    for (uint32_t i = 0; i < SPV_SECTIONS; i++) {
        const spv_section *s = &m->section[i];
        copy_words(at, s->words, s->count);
        at += s->count;
    }
    *word_count = count;
    return words;
}

void spv_free(spv_module *m)
{
    for (uint32_t i = 0; i < SPV_SECTIONS; i++)
        free(m->section[i].words);
}
