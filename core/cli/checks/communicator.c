/*
 * communicator.c - what can be asked of a communicator by one process alone.
 * What it is for takes several: tests/plugins/communicators.
 */
#include <string.h>

#include <tenon/communicator.h>

#include "cli/checks/checks.h"

static tn_status check_probe(const tni_subject *s, tn_error *err)
{
    const tn_communicator *c = s->component->vtable;
    char note[512] = "";
    tn_error why = {0};
    const tn_status status = c->probe(s->host, note, sizeof note, &why);
    const char *said = status == TN_OK ? note : why.message;
    if (status != TN_OK && status != TN_EUNSUPPORTED)
        return tn_fail(err, TN_EINVALID,
                       "probe returns status %d; where the engine is missing "
                       "it is TN_EUNSUPPORTED",
                       status);
    if (!*said || strchr(said, '\n'))
        return tn_fail(err, TN_EINVALID,
                       "probe says \"%s\"; one line is needed, of what there "
                       "is or of what to install",
                       said);
    return TN_OK;
}

static tn_status check_info(const tn_communicator_info *i, tn_error *err)
{
    if (!i->size || i->rank >= i->size || !i->local_size ||
        i->local_rank >= i->local_size || i->local_size > i->size)
        return tn_fail(err, TN_EINVALID,
                       "info says rank %u of %u and, on this machine, %u of "
                       "%u",
                       i->rank, i->size, i->local_rank, i->local_size);
    if (!i->memory || !*i->memory)
        return tn_fail(err, TN_EINVALID,
                       "info does not say whose memory it sums in");
    return TN_OK;
}

static tn_status check_sums(const tn_communicator *c, void *self, tn_error *err)
{
    float narrow[3] = {1.5f, -2.0f, 1e-30f};
    double wide[2] = {0.1, -1e300};
    const float narrow_was[3] = {1.5f, -2.0f, 1e-30f};
    const double wide_was[2] = {0.1, -1e300};
    TN_TRY(c->all_reduce(self, narrow, 3, TN_F32, NULL, err));
    TN_TRY(c->all_reduce(self, wide, 2, TN_F64, NULL, err));
    TN_TRY(c->all_reduce(self, wide, 0, TN_F64, NULL, err));
    if (memcmp(narrow, narrow_was, sizeof narrow) ||
        memcmp(wide, wide_was, sizeof wide))
        return tn_fail(err, TN_EINVALID,
                       "a sum over one process is not what the process has");
    return TN_OK;
}

static tn_status check_alone(const tni_subject *s, tn_error *err)
{
    const tn_communicator *c = s->component->vtable;
    tn_communicator_info info = {.struct_size = sizeof info};
    const void *options;
    void *self;
    tn_error why = {0};
    TN_TRY(tni_subject_options(s, &options, err));
    if (c->open(s->host, options, &self, &why) != TN_OK)
        return tn_fail(err, TNI_CHECK_SKIPPED, "%s", why.message);
    c->info(self, &info);
    tn_status status = check_info(&info, err);
    if (status == TN_OK && info.size == 1 && !strcmp(info.memory, "host"))
        status = check_sums(c, self, err);
    c->close(self, 0);
    return status;
}

static const tni_check checks[] = {
    {"says what there is of its engine here", check_probe, NULL},
    {"alone, is one of one and sums to what is there", check_alone, NULL},
};

const tni_check_list tni_checks_communicator = TNI_CHECK_LIST(checks);
