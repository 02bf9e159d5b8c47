/*
 * utf8.h - where text is UTF-8 (RFC 3629), and where it is not.
 */
#ifndef TENON_BPE_UTF8_H
#define TENON_BPE_UTF8_H

#include <tenon/base.h>

/* The first byte from `at` on that is not part of a whole character; `end`
 * where all are. */
const char *tni_utf8_invalid(const char *at, const char *end);

/* At an invalid byte: the end of the longest start of a character there, or of
 * one byte; what Unicode advises to show as one U+FFFD. */
const char *tni_utf8_skip_invalid(const char *at, const char *end);

/* The end of the run of characters that begins at `at`, or of bytes that are
 * none (*valid says which). at < end. */
const char *tni_utf8_run(const char *at, const char *end, int *valid);

#endif
