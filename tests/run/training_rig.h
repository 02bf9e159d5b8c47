/*
 * training_rig.h - a training run of the rig's model, for tests that take its
 * steps one by one.
 */
#ifndef TN_TRAINING_RIG_H
#define TN_TRAINING_RIG_H

#include "run_rig.h"

#include "run/training.h"
#include "run/weights.h"

/* With drawn weights. */
static inline tni_training *start(run_rig *rig, const char *const *set)
{
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_training_create(run_rig_recipe(rig, set), &t, &err),
                     err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tn_assert_ok_err(tni_weights_draw(t->session, &err), err);
    return t;
}

#endif
