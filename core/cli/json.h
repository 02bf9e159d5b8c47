/*
 * json.h - the few turns in which commands write JSON.
 */
#ifndef TENON_CLI_JSON_H
#define TENON_CLI_JSON_H

#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "cli/command.h"

/* A string, null where there is none. Bytes that are not UTF-8 (a path may
 * hold any) become null too: JSON has no way to say them. */
static inline void tni_json_text(json_t *object, const char *key,
                                 const char *text)
{
    json_t *value = text ? json_string(text) : NULL;
    json_object_set_new(object, key, value ? value : json_null());
}

/* A number, null where it is not finite. */
static inline void tni_json_number(json_t *object, const char *key,
                                   double value)
{
    json_object_set_new(object, key,
                        isfinite(value) ? json_real(value) : json_null());
}

/* Print and release; the exit status. */
static inline int tni_json_print(json_t *root)
{
    const int failed = json_dumpf(root, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
    json_decref(root);
    return failed ? TNI_EXIT_FAILED : TNI_EXIT_OK;
}

#endif
