/*
 * sha256.h - which bytes a plugin was: its SHA-256, for the run's manifest.
 *
 * FIPS 180-4, section 6.2. Kept small rather than fast: it reads a plugin of
 * 200 KB in about a millisecond, once.
 */
#ifndef TENON_SHA256_H
#define TENON_SHA256_H

#include <tenon/base.h>

enum { TNI_SHA256_HEX = 65 }; /* 64 digits and the ending zero */

typedef struct tni_sha256 {
    uint32_t state[8];
    uint64_t bytes;    /* so far */
    uint8_t block[64]; /* the part that is not yet whole */
} tni_sha256;

void tni_sha256_init(tni_sha256 *sha);
void tni_sha256_update(tni_sha256 *sha, const void *from, size_t bytes);
void tni_sha256_hex(tni_sha256 *sha, char hex[TNI_SHA256_HEX]);

/* Of the rest of an open file. */
tn_status tni_sha256_file(int fd, char hex[TNI_SHA256_HEX], tn_error *err);

#endif
