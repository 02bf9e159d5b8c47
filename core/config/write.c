/*
 * write.c - a tree as YAML that parses to the same tree.
 *
 * Blocks for maps, one line for lists of plain values. Whether a text needs
 * quotes to stay what it is is left to libyaml's emitter, but for the words
 * that would come back as null.
 */
#include "config/tree.h"

#include <string.h>

#include <yaml.h>

typedef struct writer {
    yaml_emitter_t emitter;
    int failed; /* sticky */
} writer;

static void emit(writer *w, yaml_event_t *event, int made)
{
    if (!made)
        w->failed = 1;
    else if (w->failed)
        yaml_event_delete(event);
    else if (!yaml_emitter_emit(&w->emitter, event))
        w->failed = 1;
}

static void emit_text(writer *w, const char *text, int quoted)
{
    yaml_event_t event;
    const int quotes = quoted || tni_yaml_reads_as_null(text);
    const int made = yaml_scalar_event_initialize(
        &event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1,
        quotes ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE);
    emit(w, &event, made);
}

static void emit_null(writer *w)
{
    yaml_event_t event;
    const int made = yaml_scalar_event_initialize(
        &event, NULL, NULL, (const yaml_char_t *)"null", 4, 1, 0,
        YAML_PLAIN_SCALAR_STYLE);
    emit(w, &event, made);
}

static void emit_node(writer *w, const tni_yaml *node);

static int all_scalars(const tni_yaml *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->entries[i].value->kind != TNI_YAML_SCALAR)
            return 0;
    return 1;
}

static void emit_list(writer *w, const tni_yaml *list)
{
    yaml_event_t event;
    const yaml_sequence_style_t style = all_scalars(list)
                                            ? YAML_FLOW_SEQUENCE_STYLE
                                            : YAML_BLOCK_SEQUENCE_STYLE;
    emit(w, &event,
         yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, style));
    for (size_t i = 0; i < list->count; i++)
        emit_node(w, list->entries[i].value);
    emit(w, &event, yaml_sequence_end_event_initialize(&event));
}

static void emit_map(writer *w, const tni_yaml *map)
{
    yaml_event_t event;
    const yaml_mapping_style_t style =
        map->count ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
    emit(w, &event,
         yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, style));
    for (size_t i = 0; i < map->count; i++) {
        emit_text(w, map->entries[i].key, 0);
        emit_node(w, map->entries[i].value);
    }
    emit(w, &event, yaml_mapping_end_event_initialize(&event));
}

static void emit_node(writer *w, const tni_yaml *node)
{
    switch (node->kind) {
    case TNI_YAML_MAP:
        emit_map(w, node);
        return;
    case TNI_YAML_LIST:
        emit_list(w, node);
        return;
    case TNI_YAML_SCALAR:
        emit_text(w, node->scalar, (int)node->quoted);
        return;
    default:
        emit_null(w);
        return;
    }
}

static void emit_document(writer *w, const tni_yaml *root)
{
    yaml_event_t event;
    emit(w, &event,
         yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(w, &event,
         yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    emit_node(w, root);
    emit(w, &event, yaml_document_end_event_initialize(&event, 1));
    emit(w, &event, yaml_stream_end_event_initialize(&event));
}

tn_status tni_yaml_write(const tni_yaml *root, FILE *to)
{
    writer w = {.failed = 0};
    if (!yaml_emitter_initialize(&w.emitter))
        return TN_ENOMEM;
    yaml_emitter_set_output_file(&w.emitter, to);
    yaml_emitter_set_width(&w.emitter, -1);
    yaml_emitter_set_unicode(&w.emitter, 1);
    emit_document(&w, root);
    yaml_emitter_delete(&w.emitter);
    return w.failed || ferror(to) ? TN_EIO : TN_OK;
}
