/*
 * card.c - the devices of this machine: what each is, and which one a config
 * means.
 */
#include "gpu.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static tn_status attribute(const gpu_driver *driver, CUdevice device, int which,
                           int *value, tn_error *err)
{
    return gpu_check(driver, driver->DeviceGetAttribute(value, which, device),
                     "looking at the devices", err);
}

static tn_status describe(const gpu_driver *driver, int number, gpu_card *card,
                          tn_error *err)
{
    const struct {
        int which, *value;
    } facts[] = {
        {CU_DEVICE_COMPUTE_MAJOR, &card->major},
        {CU_DEVICE_COMPUTE_MINOR, &card->minor},
        {CU_DEVICE_SHARED_MEMORY_OPTIN, &card->shared_bytes},
    };
    const char *doing = "looking at the devices";
    size_t bytes = 0;
    TN_TRY(gpu_check(driver, driver->DeviceGet(&card->handle, number), doing,
                     err));
    TN_TRY(gpu_check(
        driver,
        driver->DeviceGetName(card->name, (int)sizeof card->name, card->handle),
        doing, err));
    TN_TRY(gpu_check(driver, driver->DeviceTotalMem(&bytes, card->handle),
                     doing, err));
    card->memory_bytes = (int64_t)bytes;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        TN_TRY(attribute(driver, card->handle, facts[i].which, facts[i].value,
                         err));
    return TN_OK;
}

tn_status gpu_cards(const gpu_driver *driver, gpu_card *cards, uint32_t *count,
                    tn_error *err)
{
    int found = 0;
    TN_TRY(gpu_check(driver, driver->Init(0), "starting the driver", err));
    TN_TRY(gpu_check(driver, driver->DeviceGetCount(&found),
                     "looking for devices", err));
    found = found > GPU_MAX_CARDS ? GPU_MAX_CARDS : found;
    for (int i = 0; i < found; i++)
        TN_TRY(describe(driver, i, &cards[i], err));
    *count = (uint32_t)found;
    return TN_OK;
}

/* ---- choosing ---- */

static int contains(const char *name, const char *part)
{
    const size_t length = strlen(part);
    for (; *name; name++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)name[i]) ==
                                 tolower((unsigned char)part[i]))
            i++;
        if (i == length)
            return 1;
    }
    return 0;
}

/* count where there is none. 4090 is part of a name where there are fewer
 * devices. */
static uint32_t find(const gpu_card *cards, uint32_t count, const char *wanted,
                     uint32_t local_rank)
{
    char *end;
    if (!strcmp(wanted, "auto"))
        return local_rank % count;
    const unsigned long number = strtoul(wanted, &end, 10);
    if (isdigit((unsigned char)wanted[0]) && !*end && number < count)
        return (uint32_t)number;
    for (uint32_t i = 0; i < count; i++)
        if (wanted[0] && contains(cards[i].name, wanted))
            return i;
    return count;
}

static void list_names(const gpu_card *cards, uint32_t count, char *text,
                       size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < count && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%u: %s", i ? ", " : "",
                               i, cards[i].name);
}

tn_status gpu_card_choose(const gpu_driver *driver, const char *wanted,
                          uint32_t local_rank, gpu_card *card, tn_error *err)
{
    gpu_card cards[GPU_MAX_CARDS];
    uint32_t count = 0;
    char names[512];
    TN_TRY(gpu_cards(driver, cards, &count, err));
    if (!count)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend cuda: the NVIDIA driver finds no device");
    const uint32_t at = find(cards, count, wanted, local_rank);
    list_names(cards, count, names, sizeof names);
    if (at == count)
        return tn_fail(err, TN_EINVALID,
                       "backend cuda: device: %s is none of the devices here, "
                       "which are %s; give auto, a number or a part of a name",
                       wanted, names);
    if (!gpu_is_emulator(&cards[at]) && cards[at].major < GPU_LEAST_MAJOR)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend cuda: %s has compute capability %d.%d; 8.0 or "
                       "higher is needed (A100 and newer)",
                       cards[at].name, cards[at].major, cards[at].minor);
    *card = cards[at];
    return TN_OK;
}
