/*
 * sha256.c - FIPS 180-4 in its own letters: a..h, W, K, sigma.
 */
#include "base/sha256.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static uint32_t word_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

static void schedule(uint32_t W[64], const uint8_t block[64])
{
    for (int t = 0; t < 16; t++)
        W[t] = word_at(block + 4 * t);
    for (int t = 16; t < 64; t++) {
        const uint32_t x = W[t - 15], y = W[t - 2];
        W[t] = W[t - 16] + W[t - 7] + (turn(x, 7) ^ turn(x, 18) ^ x >> 3) +
               (turn(y, 17) ^ turn(y, 19) ^ y >> 10);
    }
}

static void compress(uint32_t state[8], const uint8_t block[64])
{
    uint32_t W[64];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    schedule(W, block);
    for (int t = 0; t < 64; t++) {
        const uint32_t choose = (e & f) ^ (~e & g);
        const uint32_t majority = (a & b) ^ (a & c) ^ (b & c);
        const uint32_t t1 =
            h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + choose + K[t] + W[t];
        const uint32_t t2 = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + majority;
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    const uint32_t letters[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++)
        state[i] += letters[i];
}

void tni_sha256_init(tni_sha256 *sha)
{
    *sha =
        (tni_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void tni_sha256_update(tni_sha256 *sha, const void *from, size_t bytes)
{
    const uint8_t *p = from;
    while (bytes) {
        const size_t used = sha->bytes % 64;
        const size_t n = bytes < 64 - used ? bytes : 64 - used;
        memcpy(sha->block + used, p, n);
        sha->bytes += n;
        p += n;
        bytes -= n;
        if (used + n == 64)
            compress(sha->state, sha->block);
    }
}

void tni_sha256_hex(tni_sha256 *sha, char hex[TNI_SHA256_HEX])
{
    static const uint8_t padding[64] = {0x80};
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(sha->bytes * 8 >> (56 - 8 * i));
    tni_sha256_update(sha, padding, 1 + (119 - sha->bytes % 64) % 64);
    tni_sha256_update(sha, length, sizeof length);
    for (size_t i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08x", sha->state[i]);
}

tn_status tni_sha256_file(int fd, char hex[TNI_SHA256_HEX], tn_error *err)
{
    uint8_t part[16384];
    tni_sha256 sha;
    tni_sha256_init(&sha);
    for (;;) {
        const ssize_t n = read(fd, part, sizeof part);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tn_fail(err, TN_EIO, "reading it failed: %s",
                           strerror(errno));
        if (n == 0)
            break;
        tni_sha256_update(&sha, part, (size_t)n);
    }
    tni_sha256_hex(&sha, hex);
    return TN_OK;
}
