/*
 * flat_config.h - oxidizr's flat config files, read as configs of ours.
 */
#ifndef TENON_CLI_FLAT_CONFIG_H
#define TENON_CLI_FLAT_CONFIG_H

#include <tenon/host.h>

#include "config/config.h"

/* Whether the tree is of that dialect: `model:` has num_layers and no list of
 * layers. */
int tni_flat_config_is(const tni_yaml *root);

/*
 * The same run in our words, as a new tree whose values remember where they
 * stood. Keys that mean nothing here are warned about, each with its place.
 */
tn_status tni_flat_config_translate(tni_arena *arena, const tn_host *host,
                                    const tni_yaml *flat, tni_yaml **root,
                                    tn_error *err);

/* flat_keys.c: the warnings alone. */
void tni_flat_config_warn(const tn_host *host, const tni_yaml *flat);

#endif
