/*
 * meet.c - one process has 128 bytes that the others need before NCCL can talk.
 * They go through files in a folder that all of them see.
 *
 * The folder may hold what a run that was killed has left, so nobody believes a
 * file because it is there. Every rank but 0 makes up a number and writes it
 * into its file; rank 0 writes its bytes beside all numbers it has found, anew
 * whenever one of them changes; a rank that finds its own number there has the
 * bytes that are meant for it, and removes its file. When all files are gone,
 * all have them.
 *
 *     rank-1   8 bytes                      comes, is read, goes
 *     id       128 bytes, 8 for each rank   is read, goes last
 *
 * A file appears by a rename, whole.
 */
#include "nccl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, NAP_MS = 20 };

typedef struct {
    char folder[PATH_BYTES - 64];
    const nccl_launch *launch;
    time_t deadline;
    int64_t seconds;
    int is_ours; /* made for this run */
} place;

/* ---- files ---- */

static void path_of(const place *p, const char *name, uint32_t rank,
                    char to[PATH_BYTES])
{
    snprintf(to, PATH_BYTES, rank ? "%s/%s-%u" : "%s/%s", p->folder, name,
             rank);
}

static tn_status write_file(const char *path, const void *bytes, size_t count,
                            tn_error *err)
{
    char made[PATH_BYTES + 8];
    snprintf(made, sizeof made, "%s.new", path);
    unlink(made);
    const int fd =
        open(made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    const int whole = fd >= 0 && write(fd, bytes, count) == (ssize_t)count;
    if (fd >= 0)
        close(fd);
    if (whole && rename(made, path) == 0)
        return TN_OK;
    return tn_fail(err, TN_EIO, "communicator nccl: meet: cannot write %s: %s",
                   path, strerror(errno));
}

/* 1 if it is there with so many bytes. */
static int read_file(const char *path, void *bytes, size_t count)
{
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    const int whole = fd >= 0 && read(fd, bytes, count) == (ssize_t)count;
    if (fd >= 0)
        close(fd);
    return whole;
}

/* ---- the folder ---- */

static tn_status make_own(const char *path, tn_error *err)
{
    struct stat is;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return tn_fail(err, TN_EIO,
                       "communicator nccl: meet: cannot make %s: %s", path,
                       strerror(errno));
    if (lstat(path, &is) == 0 && S_ISDIR(is.st_mode) &&
        is.st_uid == geteuid() && !(is.st_mode & 022))
        return TN_OK;
    return tn_fail(err, TN_EREFUSED,
                   "communicator nccl: meet: %s is not a folder that this "
                   "user alone can write to; give another",
                   path);
}

static tn_status find_folder(place *p, const char *wanted, tn_error *err)
{
    p->is_ours = strcmp(wanted, "auto") == 0;
    if (p->is_ours)
        snprintf(p->folder, sizeof p->folder, "/tmp/tenon-nccl-%u-%s",
                 (unsigned)geteuid(), p->launch->job);
    else
        snprintf(p->folder, sizeof p->folder, "%s", wanted);
    return make_own(p->folder, err);
}

static int is_late(const place *p)
{
    nanosleep(&(struct timespec){0, NAP_MS * 1000000L}, NULL);
    return time(NULL) > p->deadline;
}

static tn_status fail_late(const place *p, uint32_t rank, tn_error *err)
{
    return tn_fail(err, TN_EIO,
                   "communicator nccl: rank %u of %u has not come to %s "
                   "within %lld seconds; on several machines give a folder "
                   "that all of them see: communicator: {plugin: nccl, meet: "
                   "FOLDER}",
                   rank, p->launch->size, p->folder, (long long)p->seconds);
}

/* ---- the two sides ---- */

static tn_status receive(const place *p, nccl_id *id, unsigned char *all,
                         tn_error *err)
{
    const uint32_t rank = p->launch->rank;
    const size_t bytes = sizeof *id + 8 * (size_t)p->launch->size;
    char mine[PATH_BYTES], theirs[PATH_BYTES];
    unsigned char number[8];
    if (getrandom(number, sizeof number, 0) != (ssize_t)sizeof number)
        return tn_fail(err, TN_EIO, "communicator nccl: no random number");
    path_of(p, "rank", rank, mine);
    path_of(p, "id", 0, theirs);
    TN_TRY(write_file(mine, number, sizeof number, err));
    while (!read_file(theirs, all, bytes) ||
           memcmp(all + sizeof *id + 8 * (size_t)rank, number, sizeof number))
        if (is_late(p))
            return fail_late(p, 0, err);
    memcpy(id, all, sizeof *id);
    unlink(mine);
    return TN_OK;
}

/* Numbers of the ranks that are waiting; *changed where one is new. The first
 * rank that has not got the bytes, or size. */
static uint32_t look(const place *p, unsigned char *numbers, unsigned char *met,
                     int *changed)
{
    uint32_t missing = p->launch->size;
    for (uint32_t rank = p->launch->size - 1; rank > 0; rank--) {
        char path[PATH_BYTES];
        unsigned char number[8];
        path_of(p, "rank", rank, path);
        const int waits = read_file(path, number, sizeof number);
        if (waits && (!met[rank] || memcmp(numbers + 8 * rank, number, 8))) {
            memcpy(numbers + 8 * rank, number, 8);
            met[rank] = 1;
            *changed = 1;
        }
        if (waits || !met[rank])
            missing = rank;
    }
    return missing;
}

static tn_status send(const place *p, const nccl_id *id, unsigned char *all,
                      tn_error *err)
{
    const size_t bytes = sizeof *id + 8 * (size_t)p->launch->size;
    unsigned char *met = calloc(p->launch->size, 1);
    char path[PATH_BYTES];
    tn_status status = TN_OK;
    uint32_t missing;
    int changed = 0;
    if (!met)
        return tn_fail(err, TN_ENOMEM, "communicator nccl: no memory");
    path_of(p, "id", 0, path);
    memcpy(all, id, sizeof *id);
    while (status == TN_OK && (missing = look(p, all + sizeof *id, met,
                                              &changed)) < p->launch->size) {
        if (changed)
            status = write_file(path, all, bytes, err);
        changed = 0;
        if (status == TN_OK && is_late(p))
            status = fail_late(p, missing, err);
    }
    unlink(path);
    if (p->is_ours)
        rmdir(p->folder);
    free(met);
    return status;
}

tn_status nccl_meet(const nccl_launch *launch, const char *folder,
                    int64_t seconds, nccl_id *id, tn_error *err)
{
    place p = {.launch = launch,
               .seconds = seconds,
               .deadline = time(NULL) + (time_t)seconds};
    TN_TRY(find_folder(&p, folder, err));
    unsigned char *all = calloc(1, sizeof *id + 8 * (size_t)launch->size);
    if (!all)
        return tn_fail(err, TN_ENOMEM, "communicator nccl: no memory");
    const tn_status status =
        launch->rank ? receive(&p, id, all, err) : send(&p, id, all, err);
    free(all);
    return status;
}
