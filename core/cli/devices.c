/*
 * devices.c - `tenon devices`: what each backend finds on this machine.
 */
#include "cli/command.h"
#include "cli/json.h"
#include "cli/term.h"
#include "run/device.h"

static const char *memory_text(tni_arena *arena, int64_t bytes)
{
    if (bytes <= 0)
        return "";
    return tni_arena_printf(arena, "%.1f GiB", (double)bytes / 0x1p30);
}

static const char *threads_text(tni_arena *arena, uint32_t threads)
{
    return threads ? tni_arena_printf(arena, "%u", threads) : "";
}

/* Index of the one that `backend: auto` takes; count where there is none. */
static uint32_t best_of(const tni_found_device *devices, uint32_t count)
{
    uint32_t best = count;
    for (uint32_t i = 0; i < count; i++)
        if (devices[i].info.score &&
            (best == count || devices[i].info.score > devices[best].info.score))
            best = i;
    return best;
}

static int print_json(const tni_found_device *devices, uint32_t count)
{
    const uint32_t best = best_of(devices, count);
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        const tn_device_info *info = &devices[i].info;
        json_t *object = json_object();
        tni_json_text(object, "backend", devices[i].backend);
        json_object_set_new(object, "number", json_integer(devices[i].number));
        tni_json_text(object, "name", info->name);
        json_object_set_new(object, "score", json_integer(info->score));
        json_object_set_new(object, "automatic", json_boolean(i == best));
        json_object_set_new(object, "threads", json_integer(info->threads));
        json_object_set_new(object, "memory_bytes",
                            json_integer(info->memory_bytes));
        tni_json_text(object, "note", info->note);
        json_array_append_new(list, object);
    }
    return tni_json_print(list);
}

static int print_text(tni_cli *cli, const tni_found_device *devices,
                      uint32_t count)
{
    const uint32_t best = best_of(devices, count);
    tni_table table = {.arena = cli->arena, .columns = 7, .headed = 1};
    tni_table_add(&table, "BACKEND");
    tni_table_add(&table, "NUMBER");
    tni_table_add(&table, "DEVICE");
    tni_table_add(&table, "THREADS");
    tni_table_add(&table, "MEMORY");
    tni_table_add(&table, "SCORE");
    tni_table_add(&table, "NOTE");
    for (uint32_t i = 0; i < count; i++) {
        const tn_device_info *info = &devices[i].info;
        tni_table_add(&table, devices[i].backend);
        tni_table_addf(&table, "%u", devices[i].number);
        tni_table_add(&table, info->name);
        tni_table_add(&table, threads_text(cli->arena, info->threads));
        tni_table_add(&table, memory_text(cli->arena, info->memory_bytes));
        tni_table_addf(&table, "%u", info->score);
        tni_table_add(&table, info->note);
    }
    tni_table_print(&table, stdout);
    if (best < count)
        printf("\n`backend: auto` takes %s: it has the highest score.\n",
               devices[best].backend);
    else
        printf("\nNo backend can run here.\n");
    return TNI_EXIT_OK;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    int32_t json = 0;
    int rest;
    const tni_flag flags[] = {
        {.name = "json",
         .kind = TNI_FLAG_SWITCH,
         .to = &json,
         .help = "print JSON"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_devices, flags, 1, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest)
        return tni_cli_misuse(&tni_command_devices, "takes no arguments");
    const tni_reader reader = {
        .arena = cli->arena, .registry = cli->registry, .host = cli->host};
    const tni_found_device *devices;
    const uint32_t count = tni_device_list(&reader, &devices);
    return json ? print_json(devices, count) : print_text(cli, devices, count);
}

const tni_command tni_command_devices = {
    .name = "devices",
    .summary = "probe every backend for what it can run on here",
    .usage = "[--json]\n\n"
             "  A backend with score 0 cannot run here; the note says why. "
             "`backend: auto`\n  takes the highest score. A backend of several "
             "devices has an option `device`,\n  which takes the number or a "
             "part of the name.",
    .run = run,
};
