/*
 * ssd.h - what the two files about the state space scan share.
 */
#ifndef TENON_GRAPH_OPS_SSD_H
#define TENON_GRAPH_OPS_SSD_H

#include <tenon/op.h>

/* Steps of a chunk for a sequence of T. */
int64_t tni_ssd_chunk(const tn_ssd_attr *attr, int64_t T);

#endif
