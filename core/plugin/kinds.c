/*
 * kinds.c - what the loader knows of each kind: how long its vtable is, and
 * which of its functions a plugin cannot do without.
 */
#include "plugin/module.h"

#include <string.h>

#include <tenon/arch.h>
#include <tenon/backend.h>
#include <tenon/communicator.h>
#include <tenon/dataset.h>
#include <tenon/optimizer.h>
#include <tenon/schedule.h>

#include "plugin/registry.h"

#define NEEDS(type, member)                                                    \
    {                                                                          \
#member, (uint32_t)offsetof(type, member)                              \
    }
#define END                                                                    \
    {                                                                          \
        NULL, 0                                                                \
    }

static const tni_member backend_needs[] = {NEEDS(tn_backend, probe),
                                           NEEDS(tn_backend, open),
                                           NEEDS(tn_backend, close),
                                           NEEDS(tn_backend, caps),
                                           NEEDS(tn_backend, supports),
                                           NEEDS(tn_backend, alloc),
                                           NEEDS(tn_backend, free),
                                           NEEDS(tn_backend, map),
                                           NEEDS(tn_backend, upload),
                                           NEEDS(tn_backend, download),
                                           NEEDS(tn_backend, compile),
                                           NEEDS(tn_backend, exec_free),
                                           NEEDS(tn_backend, run),
                                           NEEDS(tn_backend, wait),
                                           END};

static const tni_member arch_needs[] = {NEEDS(tn_arch, forward), END};

static const tni_member optimizer_needs[] = {NEEDS(tn_optimizer, step), END};

static const tni_member dataset_needs[] = {NEEDS(tn_dataset, open),
                                           NEEDS(tn_dataset, close),
                                           NEEDS(tn_dataset, info),
                                           NEEDS(tn_dataset, next),
                                           NEEDS(tn_dataset, save),
                                           NEEDS(tn_dataset, restore),
                                           END};

static const tni_member tokenizer_needs[] = {NEEDS(tn_tokenizer, open),
                                             NEEDS(tn_tokenizer, close),
                                             NEEDS(tn_tokenizer, vocab_size),
                                             NEEDS(tn_tokenizer, encode),
                                             NEEDS(tn_tokenizer, bytes_of),
                                             NEEDS(tn_tokenizer, special),
                                             END};

static const tni_member schedule_needs[] = {NEEDS(tn_schedule, multiplier),
                                            END};

static const tni_member communicator_needs[] = {
    NEEDS(tn_communicator, probe),      NEEDS(tn_communicator, open),
    NEEDS(tn_communicator, close),      NEEDS(tn_communicator, info),
    NEEDS(tn_communicator, all_reduce), END};

/* The last member of ABI 1.0 (of a communicator, 1.4) ends where `first` does;
 * it never changes. */
#define KIND(KIND_, word, type, last, needs)                                   \
    [TN_KIND_##KIND_] = {                                                      \
        word, (uint32_t)sizeof(type),                                          \
        (uint32_t)(offsetof(type, last) + sizeof(((type *)0)->last)), needs}

static const tni_kind_facts kinds[] = {
    KIND(BACKEND, "backend", tn_backend, extension, backend_needs),
    KIND(ARCH, "arch", tn_arch, reserved, arch_needs),
    KIND(OPTIMIZER, "optimizer", tn_optimizer, step, optimizer_needs),
    KIND(DATASET, "dataset", tn_dataset, restore, dataset_needs),
    KIND(TOKENIZER, "tokenizer", tn_tokenizer, special, tokenizer_needs),
    KIND(SCHEDULE, "schedule", tn_schedule, multiplier, schedule_needs),
    KIND(COMMUNICATOR, "communicator", tn_communicator, all_reduce,
         communicator_needs),
};

enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

const tni_kind_facts *tni_kind(tn_kind kind)
{
    return kind && kind < KIND_COUNT ? &kinds[kind] : NULL;
}

const char *tni_kind_name(tn_kind kind)
{
    const tni_kind_facts *facts = tni_kind(kind);
    return facts ? facts->name : "unknown";
}

tn_kind tni_kind_of(const char *name)
{
    for (tn_kind kind = 1; kind < KIND_COUNT; kind++)
        if (!strcmp(kinds[kind].name, name))
            return kind;
    return 0;
}
