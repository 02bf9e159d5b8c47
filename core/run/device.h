/*
 * device.h - the backend of this run: chosen, opened, asked what it can do.
 */
#ifndef TENON_DEVICE_H
#define TENON_DEVICE_H

#include <tenon/backend.h>

#include "graph/passes.h"
#include "run/component.h"

typedef struct tni_device {
    const tn_backend *backend;
    tn_device *device;
    const char *name;    /* as YAML spells it */
    tn_device_info info; /* of the device that was opened */
    tn_backend_caps caps;
    tni_target target; /* the same for the passes of the graph */
} tni_device;

/*
 * Open the backend that `use` names; without a name, probe every backend of
 * the search path and take the highest score. TN_EUNSUPPORTED where none can
 * run here, with each one's reason. `*device` stays where it is until closed.
 */
tn_status tni_device_open(const tni_reader *reader, const tni_use *use,
                          tni_device *device, tn_error *err);
void tni_device_close(tni_device *device);

/*
 * Every device of every backend that can be found, for `tenon devices` and for
 * the choice above. A backend that cannot be opened is a row with score 0.
 */
typedef struct tni_found_device {
    const char *backend;
    uint32_t number; /* of the backend's own, from 0: what `device:` takes */
    tn_device_info info;
} tni_found_device;

uint32_t tni_device_list(const tni_reader *reader,
                         const tni_found_device **devices);

#endif
