/*
 * nvrtc.c - libnvrtc.so.13 for tests: CUDA C++ text to "machine code", which is
 * a shared object made by the host's compiler (compile.sh). Its bytes are what
 * module.c loads.
 *
 * A compiler run takes a tenth of a second and the suites want hundreds, most
 * of them again and again: results are kept in the folder SIMT_CACHE of the
 * environment, under a hash of the text and of what compiles it.
 */
#define _GNU_SOURCE
#include "loader.h"

#include <dlfcn.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define XX(name, symbol, arguments)                                            \
    TN_EXPORT nvrtcResult nv_##name arguments __asm__(symbol);
GPU_NVRTC_MAP(XX)
#undef XX

extern char **environ;

enum { OUT_OF_MEMORY = 1, INVALID_INPUT = 3, COMPILATION = 6 };

struct _nvrtcProgram {
    char *text, *log;
    char *code;
    size_t code_bytes;
};

nvrtcResult nv_Version(int *major, int *minor)
{
    *major = 13;
    *minor = 0;
    return 0;
}

nvrtcResult nv_CreateProgram(nvrtcProgram *program, const char *text,
                             const char *name, int header_count,
                             const char *const *headers,
                             const char *const *header_names)
{
    (void)name;
    (void)headers;
    (void)header_names;
    if (header_count)
        return INVALID_INPUT;
    nvrtcProgram p = calloc(1, sizeof *p);
    if (!p || !(p->text = strdup(text))) {
        free(p);
        return OUT_OF_MEMORY;
    }
    *program = p;
    return 0;
}

nvrtcResult nv_DestroyProgram(nvrtcProgram *program)
{
    nvrtcProgram p = *program;
    free(p->text);
    free(p->log);
    free(p->code);
    free(p);
    *program = NULL;
    return 0;
}

/* ---- files ---- */

static char *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *data = NULL;
    long size;
    if (!file)
        return NULL;
    if (!fseek(file, 0, SEEK_END) && (size = ftell(file)) >= 0 &&
        (data = calloc((size_t)size + 1, 1))) {
        rewind(file);
        *bytes = fread(data, 1, (size_t)size, file);
    }
    fclose(file);
    return data;
}

static int write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return 0;
    const int ok = fputs(text, file) >= 0;
    return !fclose(file) && ok;
}

static void script_path(char *path, size_t size)
{
    static const int here;
    Dl_info self = {0};
    dladdr(&here, &self);
    const char *slash = self.dli_fname ? strrchr(self.dli_fname, '/') : NULL;
    snprintf(path, size, "%.*s/compile.sh",
             slash ? (int)(slash - self.dli_fname) : 0,
             slash ? self.dli_fname : "");
}

/* ---- compiling ---- */

/* 0 on success; what the compiler says is left in the file `log`. */
static int run_compiler(const char *text, const char *library, const char *log)
{
    char script[4096];
    char *const arguments[] = {script, (char *)(uintptr_t)text,
                               (char *)(uintptr_t)library, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = -1;
    script_path(script, sizeof script);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log, 01101, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    if (!posix_spawn(&child, script, &actions, NULL, arguments, environ))
        waitpid(child, &status, 0);
    posix_spawn_file_actions_destroy(&actions);
    return status;
}

/* Compile in a folder of its own; the library ends up at `path`. */
static void compile_to(nvrtcProgram p, const char *path)
{
    char folder[] = "/tmp/simt-XXXXXX";
    char text[64], library[64], log[64];
    size_t bytes = 0;
    if (!mkdtemp(folder))
        return;
    snprintf(text, sizeof text, "%s/kernel.cu", folder);
    snprintf(library, sizeof library, "%s/kernel.so", folder);
    snprintf(log, sizeof log, "%s/log", folder);
    if (write_file(text, p->text) && !run_compiler(text, library, log)) {
        p->code = read_file(library, &p->code_bytes);
        if (path[0] && rename(library, path)) {
            /* another file system: copy beside, then rename */
            char beside[4200];
            snprintf(beside, sizeof beside, "%s.%s", path, folder + 10);
            FILE *file = fopen(beside, "wb");
            if (file) {
                fwrite(p->code, 1, p->code_bytes, file);
                fclose(file);
                rename(beside, path);
            }
        }
    } else
        p->log = read_file(log, &bytes);
    unlink(text);
    unlink(library);
    unlink(log);
    rmdir(folder);
}

static uint64_t hash_of(const char *text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (const char *at = text; *at; at++)
        h = (h ^ (unsigned char)*at) * 1099511628211u;
    return h;
}

/* In SIMT_CACHE, by the text and by SIMT_BUILD, which CMake makes of all that
 * compiles it; "" where there is no such folder. */
static void cache_path(const char *text, char *path, size_t size)
{
    const char *folder = getenv("SIMT_CACHE");
    path[0] = '\0';
    if (folder)
        snprintf(path, size, "%s/%016llx-%.16s.so", folder,
                 (unsigned long long)hash_of(text), SIMT_BUILD);
}

nvrtcResult nv_CompileProgram(nvrtcProgram program, int option_count,
                              const char *const *options)
{
    char path[4096];
    cache_path(program->text, path, sizeof path);
    for (int i = 0; i < option_count; i++)
        if (strncmp(options[i], "--gpu-architecture=", 19) &&
            strcmp(options[i], "--fmad=false") &&
            strcmp(options[i], "--std=c++17")) {
            program->log = strdup(options[i]);
            return INVALID_INPUT;
        }
    if (path[0])
        program->code = read_file(path, &program->code_bytes);
    if (!program->code)
        compile_to(program, path);
    return program->code ? 0 : COMPILATION;
}

/* ---- results ---- */

nvrtcResult nv_GetCUBINSize(nvrtcProgram program, size_t *bytes)
{
    *bytes = program->code_bytes;
    return 0;
}

nvrtcResult nv_GetCUBIN(nvrtcProgram program, char *cubin)
{
    memcpy(cubin, program->code, program->code_bytes);
    return 0;
}

nvrtcResult nv_GetProgramLogSize(nvrtcProgram program, size_t *bytes)
{
    *bytes = program->log ? strlen(program->log) + 1 : 1;
    return 0;
}

nvrtcResult nv_GetProgramLog(nvrtcProgram program, char *log)
{
    strcpy(log, program->log ? program->log : "");
    return 0;
}
