/*
 * cuda_device.h - whether there is a device: tests that need one pass without
 * it, and say why.
 */
#ifndef CUDA_DEVICE_H
#define CUDA_DEVICE_H

#include "tn_rig_private.h"

static inline int cuda_can_run(void)
{
    tn_device_info info = {.struct_size = (uint32_t)sizeof info};
    tn_rig *rig = tn_rig_find("cuda");
    tn_assert_ok(rig->backend->probe(rig->host, 0, &info, NULL));
    tn_rig_close(rig);
    if (!info.score)
        print_message("passed over: %s\n", info.note);
    return info.score > 0;
}

#endif
