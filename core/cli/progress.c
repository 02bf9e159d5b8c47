/*
 * progress.c - the live line and the log above it.
 *
 *     ███████████░░░░░░░░░  1140/2000  loss 1.6523  grad 0.71  lr 6.4e-04
 *     31.2k tok/s  0:18 left
 */
#include "cli/progress.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/bar.h"
#include "cli/interrupt.h"
#include "cli/term.h"

void tni_progress_view_init(tni_progress_view *view, const tni_cli *cli,
                            int headless)
{
    *view = (tni_progress_view){
        .host = cli->host,
        .headless = headless || !isatty(STDOUT_FILENO),
        .began = tni_seconds(),
    };
}

/* A run that nobody can watch any more is kept, not lost: it is asked to stop,
 * as by a signal. */
static void flush(tni_progress_view *v)
{
    const int failed = fflush(stdout) != 0 || ferror(stdout);
    const int reason = errno;
    if (!failed || v->lost)
        return;
    v->lost = 1;
    v->host->log(v->host, TN_LOG_ERROR,
                 "cannot write to stdout: %s; the run stops here and is saved",
                 strerror(reason));
    tni_interrupt_ask();
}

void tni_progress_clear(tni_progress_view *v)
{
    if (v->live) {
        fputs("\r\033[K", stdout);
        flush(v);
    }
    v->live = 0;
}

/* ---- events ---- */

static void on_start(void *to, const tni_train_start *s)
{
    tni_progress_view *v = to;
    char params[16], memory[16], flops[16], among[48] = "", text[512];
    v->started = 1;
    v->first_step = s->step;
    v->max_steps = s->max_steps;
    v->began = tni_seconds();
    if (s->processes > 1)
        snprintf(among, sizeof among, " in each of %u processes", s->processes);
    snprintf(text, sizeof text,
             "%s parameters on %s (%s)%s, %sB of memory, %lld tokens a step, "
             "%sFLOP a token; run folder %s%s%s",
             tni_scaled((double)s->parameters, params, sizeof params),
             s->backend, s->device, among,
             tni_scaled((double)s->memory_bytes, memory, sizeof memory),
             (long long)s->tokens_per_step,
             tni_scaled(s->flops_per_token, flops, sizeof flops), s->dir,
             s->resumed_from ? "; continues " : "",
             s->resumed_from ? s->resumed_from : "");
    if (v->headless)
        v->host->log(v->host, TN_LOG_INFO, "%s", text);
    else
        printf("%s\n", text);
    flush(v);
}

static void draw_bar(char *to, double share, int cells)
{
    const int full = (int)(share * cells + 0.5);
    for (int i = 0; i < cells; i++) {
        memcpy(to, i < full ? "\u2588" : "\u2591", 3);
        to += 3;
    }
    *to = '\0';
}

static double seconds_left(const tni_progress_view *v, int64_t step)
{
    const double done = (double)(step - v->first_step);
    return (tni_seconds() - v->began) / done * (double)(v->max_steps - step);
}

static void on_step(void *to, const tni_metrics *m)
{
    tni_progress_view *v = to;
    char bar[3 * 20 + 1], speed[16], left[24], text[256];
    const double t = tni_seconds();
    if (v->headless || (t - v->shown < 0.1 && m->step < v->max_steps))
        return;
    v->shown = t;
    draw_bar(bar, (double)m->step / (double)v->max_steps, 20);
    snprintf(text, sizeof text,
             " %lld/%lld  loss %.4f  grad %.2f  lr %.1e  %s tok/s  %s left",
             (long long)m->step, (long long)v->max_steps, m->loss, m->grad_norm,
             m->learning_rate,
             tni_scaled(m->tokens_per_second, speed, sizeof speed),
             tni_duration(seconds_left(v, m->step), left, sizeof left));
    /* a line that wraps cannot be taken back */
    const int room = (int)tni_term_width(stdout) - 21;
    printf("\r\033[K%s%.*s", bar, room > 0 ? room : 0, text);
    flush(v);
    v->live = 1;
}

static void print_report(const tni_metrics *m)
{
    char speed[16];
    printf("step %6lld  loss %.4f  grad %6.3f  lr %.2e  %s tok/s",
           (long long)m->step, m->loss, m->grad_norm, m->learning_rate,
           tni_scaled(m->tokens_per_second, speed, sizeof speed));
    if (m->auxiliary != 0.0)
        printf("  auxiliary %.4f", m->auxiliary);
    if (m->has_val)
        printf("  %sval %.4f%s", tni_style_on(stdout, TNI_BOLD), m->val_loss,
               tni_style_on(stdout, TNI_PLAIN));
    if (m->has_val && m->val_bits_per_byte > 0)
        printf(" (%.3f bits per byte)", m->val_bits_per_byte);
    putchar('\n');
}

static void on_report(void *to, const tni_metrics *m)
{
    tni_progress_view *v = to;
    if (v->headless) {
        char line[1024];
        tni_metrics_json(m, line, sizeof line);
        printf("%s\n", line);
    } else {
        tni_progress_clear(v);
        print_report(m);
    }
    flush(v);
}

static void on_saved(void *to, const char *path, int64_t step)
{
    tni_progress_view *v = to;
    (void)step;
    if (v->headless)
        return;
    tni_progress_clear(v);
    printf("%ssaved %s%s\n", tni_style_on(stdout, TNI_DIM), path,
           tni_style_on(stdout, TNI_PLAIN));
    flush(v);
}

tni_train_observer tni_progress_observer(tni_progress_view *view)
{
    return (tni_train_observer){.to = view,
                                .start = on_start,
                                .step = on_step,
                                .report = on_report,
                                .saved = on_saved};
}
