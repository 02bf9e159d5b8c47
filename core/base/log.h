/*
 * log.h - one line at a time to stderr, for people.
 *
 * Results never go here: stdout belongs to the commands of core/cli. Lines
 * below the threshold (TN_LOG_INFO at first) are dropped. Each line is written
 * by one call, so lines of several threads do not mix.
 */
#ifndef TENON_LOG_H
#define TENON_LOG_H

#include <tenon/host.h>

void tni_log_set_level(int32_t least); /* TN_LOG_DEBUG ... TN_LOG_ERROR */

TN_PRINTF(2, 3)
void tni_log(int32_t level, const char *format, ...);

/* What tn_host.log points to. */
TN_PRINTF(3, 4)
void tni_host_log(const tn_host *host, int32_t level, const char *format, ...);

#endif
