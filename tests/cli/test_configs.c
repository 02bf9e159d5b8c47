/*
 * test_configs.c - every config that is shipped can be planned, and says at its
 * top what it shows, what it costs and what to expect.
 */
#include "program.h"

#include <glob.h>

#include <jansson.h>

static void shipped(const char *pattern, glob_t *files)
{
    char path[512];
    const char *source = getenv("TENON_SOURCE");
    assert_non_null(source);
    snprintf(path, sizeof path, "%s/configs/%s", source, pattern);
    assert_int_equal(glob(path, 0, NULL, files), 0);
    assert_true(files->gl_pathc > 0);
}

/* 1 says that this machine has too little memory for it. */
static void every_config_can_be_planned(void **state)
{
    program *p = *state;
    glob_t files;
    shipped("*.yaml", &files);
    assert_true(files.gl_pathc >= 10);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        const int status = RUN(p, "plan", path, "--json");
        json_error_t why;
        json_t *plan = json_loads(p->out, 0, &why);
        if (!plan || (status && !strstr(p->err, "this run needs")))
            fail_msg("%s: status %d: %s%s", path, status, p->out, p->err);
        assert_true(json_integer_value(json_object_get(plan, "parameters")) >
                    1000);
        json_decref(plan);
    }
    globfree(&files);
}

/* The comment at the top of a file. */
static void read_header(const char *path, char *to, size_t size)
{
    char line[512];
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    to[0] = '\0';
    while (fgets(line, sizeof line, from) && line[0] == '#')
        strncat(to, line, size - strlen(to) - 1);
    fclose(from);
}

static void every_config_says_what_it_is_for(void **state)
{
    glob_t files;
    char header[8192];
    (void)state;
    shipped("*.yaml", &files);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        read_header(files.gl_pathv[i], header, sizeof header);
        if (!strstr(header, "# Cost: ") || !strstr(header, "xpect"))
            fail_msg("%s: its header lacks cost or what to expect",
                     files.gl_pathv[i]);
    }
    globfree(&files);
}

/* ---- sizes, counted by hand ---- */

/* W_in, convolution, A_log, D and dt_bias, gated norm, W_out, norm. */
static int64_t mamba2(int64_t C, int64_t H, int64_t P, int64_t N)
{
    const int64_t I = H * P, x = I + 2 * N;
    return C * (I + x + H) + 4 * x + x + 3 * H + I + I * C + C;
}

/* Both latents R with their norms, P rotary and D other elements a head. */
static int64_t mla(int64_t C, int64_t R, int64_t H, int64_t P)
{
    const int64_t D = C / H;
    return C * R + R + R * H * (D + P) + C * (R + P) + R + R * H * 2 * D +
           H * D * C + C;
}

/* E experts and a shared one, the router, the norm before them. */
static int64_t experts(int64_t C, int64_t E, int64_t I)
{
    return (E + 1) * 3 * C * I + E * C + C;
}

static void has_parameters(program *p, const char *name, int64_t want)
{
    char path[512];
    snprintf(path, sizeof path, "%s/configs/%s.yaml", getenv("TENON_SOURCE"),
             name);
    RUN(p, "plan", path, "--json");
    json_t *plan = json_loads(p->out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(plan, "parameters")),
                     want);
    json_decref(plan);
}

static void models_are_as_large_as_their_names_say(void **state)
{
    program *p = *state;
    has_parameters(p, "nano-start",
                   2 * 100315 * 128 + 3 * mamba2(128, 16, 16, 32) +
                       mla(128, 64, 4, 8) + experts(128, 2, 512) + 128);
    has_parameters(p, "nano",
                   2 * 128354 * 384 + 6 * mamba2(384, 48, 16, 64) +
                       2 * (mla(384, 192, 6, 16) + experts(384, 4, 1536)) +
                       384);
    has_parameters(p, "nano_mamba2_pure",
                   2 * 128354 * 384 + 8 * mamba2(384, 48, 16, 64) + 384);
    /* 12 C^2 and four norms a layer */
    has_parameters(p, "nanochat_d12",
                   2 * 32768 * 768 + 12 * (12 * 768 * 768 + 2 * 768 + 2 * 128) +
                       768);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(every_config_can_be_planned),
        WITH_PROGRAM(every_config_says_what_it_is_for),
        WITH_PROGRAM(models_are_as_large_as_their_names_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
