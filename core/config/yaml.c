/*
 * yaml.c - from libyaml's events to the tree, refusing what configs do not
 * need.
 *
 * YAML is larger than a config language should be. Left out, each with a
 * sentence: anchors and aliases (extends does their work, and a file of aliases
 * to aliases can grow to any size), tags, several documents, keys that are not
 * words, and the same key twice, which other readers let pass in silence.
 * libyaml gives a stream of events, so the limits below are met before any
 * deep or long input has been stored.
 */
#include "config/tree.h"

#include <string.h>

#include <yaml.h>

enum {
    MAX_DEPTH = 64,
    MAX_NODES = 200 * 1000,
    MAX_KEYS = 10 * 1000, /* of one map: duplicates are searched linearly */
};

typedef struct reader {
    tni_arena *arena;
    const char *file;
    const char *text;
    size_t bytes;
    size_t nodes;
    tn_error *err;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
} reader;

static tni_source source_of(const reader *r, yaml_mark_t mark)
{
    return (tni_source){r->file, (uint32_t)mark.line + 1,
                        (uint32_t)mark.column + 1};
}

static tni_source here(const reader *r)
{
    return source_of(r, r->event.start_mark);
}

/* ------------------------------------------------------------------------ */
/* Events                                                                     */

static tn_status syntax_error(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_READER_ERROR)
        return tn_fail(r->err, TN_EINVALID,
                       "%s: not valid YAML: %s at byte %zu; a config is UTF-8 "
                       "text",
                       r->file, p->problem, p->problem_offset);
    const tni_source at = source_of(r, p->problem_mark);
    const size_t index = p->problem_mark.index;
    const int tab = index < r->bytes && r->text[index] == '\t';
    return tni_source_fail(&at, r->err, "not valid YAML: %s%s",
                           p->problem ? p->problem : "cannot read it",
                           tab ? "; indent with spaces, not tabs" : "");
}

static tn_status advance(reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return TN_OK;
    memset(&r->event, 0, sizeof r->event);
    return syntax_error(r);
}

static const char *spelled(const yaml_char_t *text)
{
    return (const char *)text;
}

/* The parts of an event that no config may have. */
static tn_status refuse_extras(reader *r, const yaml_char_t *anchor,
                               const yaml_char_t *tag)
{
    const tni_source at = here(r);
    if (anchor)
        return tni_source_fail(&at, r->err,
                               "anchors (&%s) are not supported; write the "
                               "value out, or share it through extends",
                               spelled(anchor));
    if (tag)
        return tni_source_fail(&at, r->err,
                               "tags (%s) are not supported; write the value "
                               "alone, in quotes where it is text",
                               spelled(tag));
    return TN_OK;
}

static tn_status refuse_alias(reader *r)
{
    const tni_source at = here(r);
    return tni_source_fail(&at, r->err,
                           "aliases (*%s) are not supported; write the value "
                           "out, or share it through extends",
                           spelled(r->event.data.alias.anchor));
}

/* ------------------------------------------------------------------------ */
/* Nodes                                                                      */

static tn_status read_node(reader *r, uint32_t depth, tni_yaml **node);

static tn_status new_node(reader *r, uint32_t kind, tni_yaml **node)
{
    const tni_source at = here(r);
    if (++r->nodes > MAX_NODES)
        return tni_source_fail(&at, r->err,
                               "more than %d values are too many for a config",
                               MAX_NODES);
    *node = tni_yaml_new(r->arena, kind);
    (*node)->source = at;
    return TN_OK;
}

/* The current scalar's text. A zero byte ("\0" in quotes) would cut it. */
static tn_status scalar_text(reader *r, const char **text)
{
    const tni_source at = here(r);
    const char *value = spelled(r->event.data.scalar.value);
    const size_t length = r->event.data.scalar.length;
    if (memchr(value, 0, length))
        return tni_source_fail(&at, r->err, "a text cannot hold a zero byte");
    *text = tni_arena_strdup(r->arena, value);
    return TN_OK;
}

int tni_yaml_reads_as_null(const char *text)
{
    static const char *const spellings[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++)
        if (!strcmp(text, spellings[i]))
            return 1;
    return 0;
}

static tn_status read_scalar(reader *r, tni_yaml **node)
{
    const char *text = NULL;
    TN_TRY(refuse_extras(r, r->event.data.scalar.anchor,
                         r->event.data.scalar.tag));
    TN_TRY(scalar_text(r, &text));
    TN_TRY(new_node(r, TNI_YAML_SCALAR, node));
    (*node)->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!(*node)->quoted && tni_yaml_reads_as_null(text))
        (*node)->kind = TNI_YAML_NULL;
    else
        (*node)->scalar = text;
    return TN_OK;
}

static tn_status read_list(reader *r, uint32_t depth, tni_yaml **node)
{
    TN_TRY(refuse_extras(r, r->event.data.sequence_start.anchor,
                         r->event.data.sequence_start.tag));
    TN_TRY(new_node(r, TNI_YAML_LIST, node));
    for (;;) {
        TN_TRY(advance(r));
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return TN_OK;
        tni_yaml_entry entry = {0};
        TN_TRY(read_node(r, depth + 1, &entry.value));
        tni_yaml_add(r->arena, *node, entry);
    }
}

static tn_status check_key(reader *r, const tni_yaml *map, const char *key)
{
    const tni_source at = here(r);
    if (!key[0])
        return tni_source_fail(&at, r->err, "a key is missing before the ':'");
    if (map->count == MAX_KEYS)
        return tni_source_fail(
            &at, r->err, "more than %d keys are too many for a map", MAX_KEYS);
    for (size_t i = 0; i < map->count; i++)
        if (!strcmp(map->entries[i].key, key))
            return tni_source_fail(
                &at, r->err,
                "the key %s is written twice, first in line %u; keep one", key,
                map->entries[i].key_source.line);
    return TN_OK;
}

static tn_status read_key(reader *r, const tni_yaml *map, const char **key)
{
    const tni_source at = here(r);
    if (r->event.type == YAML_ALIAS_EVENT)
        return refuse_alias(r);
    if (r->event.type != YAML_SCALAR_EVENT)
        return tni_source_fail(&at, r->err,
                               "a key must be a word, not a list or a map");
    TN_TRY(refuse_extras(r, r->event.data.scalar.anchor,
                         r->event.data.scalar.tag));
    TN_TRY(scalar_text(r, key));
    return check_key(r, map, *key);
}

static tn_status read_map(reader *r, uint32_t depth, tni_yaml **node)
{
    TN_TRY(refuse_extras(r, r->event.data.mapping_start.anchor,
                         r->event.data.mapping_start.tag));
    TN_TRY(new_node(r, TNI_YAML_MAP, node));
    for (;;) {
        TN_TRY(advance(r));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return TN_OK;
        tni_yaml_entry entry = {.key_source = here(r)};
        TN_TRY(read_key(r, *node, &entry.key));
        TN_TRY(advance(r));
        TN_TRY(read_node(r, depth + 1, &entry.value));
        tni_yaml_add(r->arena, *node, entry);
    }
}

/* The node that starts at the current event, up to its last event. */
static tn_status read_node(reader *r, uint32_t depth, tni_yaml **node)
{
    const tni_source at = here(r);
    if (depth > MAX_DEPTH)
        return tni_source_fail(&at, r->err,
                               "nested deeper than %d levels, the most a "
                               "config may be",
                               MAX_DEPTH);
    if (r->event.type == YAML_SCALAR_EVENT)
        return read_scalar(r, node);
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return read_list(r, depth, node);
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return read_map(r, depth, node);
    return refuse_alias(r);
}

/* ------------------------------------------------------------------------ */
/* Document                                                                   */

static tn_status read_document(reader *r, tni_yaml **root)
{
    TN_TRY(advance(r)); /* stream start */
    TN_TRY(advance(r));
    if (r->event.type == YAML_STREAM_END_EVENT)
        return new_node(r, TNI_YAML_NULL, root);
    TN_TRY(advance(r));
    TN_TRY(read_node(r, 0, root));
    TN_TRY(advance(r)); /* document end */
    TN_TRY(advance(r));
    const tni_source at = here(r);
    if (r->event.type != YAML_STREAM_END_EVENT)
        return tni_source_fail(&at, r->err,
                               "a second document starts here; a config is "
                               "one");
    return TN_OK;
}

tn_status tni_config_parse(tni_arena *arena, const char *name, const char *text,
                           size_t bytes, tni_yaml **root, tn_error *err)
{
    /* libyaml would take it for text, having been told that it is UTF-8 */
    if (bytes >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
        text += 3, bytes -= 3;
    reader r = {.arena = arena,
                .file = tni_arena_strdup(arena, name),
                .text = text,
                .bytes = bytes,
                .err = err};
    if (!yaml_parser_initialize(&r.parser))
        return tn_fail(err, TN_ENOMEM, "%s: out of memory", name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
    tni_yaml *tree = NULL;
    const tn_status status = read_document(&r, &tree);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    if (status == TN_OK)
        *root = tree;
    return status;
}
