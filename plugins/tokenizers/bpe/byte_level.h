/*
 * byte_level.h - the alphabet in which GPT-2's files write bytes.
 *
 * Each byte is a character: itself where Latin-1 has something to see there
 * (33 to 126, 161 to 172, 174 to 255), and U+0100 onward for the others, in
 * their order. A space is U+0120. The order of these characters is also the
 * order of the first 256 ids of GPT-2 and of what Hugging Face trains.
 */
#ifndef TENON_BPE_BYTE_LEVEL_H
#define TENON_BPE_BYTE_LEVEL_H

#include <tenon/base.h>

static inline int tni_byte_is_seen(unsigned byte)
{
    return (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
}

typedef struct tni_byte_level {
    uint16_t character[256];
    int16_t byte[512];  /* of a character, -1 where it is none */
    uint8_t order[256]; /* bytes by their character */
} tni_byte_level;

static inline void tni_byte_level_init(tni_byte_level *t)
{
    unsigned hidden = 256, place = 0;
    for (unsigned c = 0; c < 512; c++)
        t->byte[c] = -1;
    for (unsigned b = 0; b < 256; b++) {
        const unsigned c = tni_byte_is_seen(b) ? b : hidden++;
        t->character[b] = (uint16_t)c;
        t->byte[c] = (int16_t)b;
    }
    for (unsigned c = 0; c < 512; c++)
        if (t->byte[c] >= 0)
            t->order[place++] = (uint8_t)t->byte[c];
}

#endif
