/*
 * template.c - a warm-up, then down with the square root of the step.
 *
 *     m(step) = (step + 1) / W         up to step W - 1, which has 1
 *     m(step) = sqrt(W / (step + 1))   from there on
 *
 * The multiplier is of every group's `lr`. It depends on its arguments alone:
 * a run that is resumed asks for the step at which it goes on.
 *
 * Source: Vaswani et al. 2017, "Attention Is All You Need", section 5.3.
 */
#include <math.h>

#include <tenon/schedule.h>

typedef struct {
    int64_t warmup_steps;
} template_options;

static const tn_option options[] = {
    TN_OPTION_INT(template_options, warmup_steps, 100, 1, 1e15,
                  "updates over which the multiplier rises to 1"),
};

static double multiplier(const void *given, int64_t step, int64_t max_steps)
{
    const template_options *o = given;
    const double now = (double)(step + 1), top = (double)o->warmup_steps;
    (void)max_steps; /* it comes down however long the run is */
    return now < top ? now / top : sqrt(top / now);
}

TN_SCHEDULE(template) = {
    .summary = "a warm-up, then down with the square root of the step",
    .options = TN_OPTIONS(template_options, options),
    .multiplier = multiplier,
};
