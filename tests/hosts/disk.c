/* Preloaded: a disk that fails. Counts the calls by which a process uses what lies in one folder, has those fail that
 * it is told, and keeps what was written there and when it was made durable.
 *
 * FAULTS_FOLDER is the folder, FAULTS_CONTROL the file of the orders below, FAULTS_LOG (or none) the file of records. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Kinds of calls, as bits. */
enum { OPEN = 1, READ = 2, WRITE = 4, SYNC = 8, LOCK = 16, MAP = 32, NAME = 64, LOOK = 128, CLOSE = 256 };

/* What the test writes while the process waits for it, and reads afterwards. */
static struct control {
    uint32_t armed;       /* whether calls are counted, and fail */
    uint32_t kinds;       /* which are counted */
    uint32_t first, last; /* the numbers of those that fail, from 1 on */
    int32_t error;        /* how they fail; 0: half of what was asked for is done */
    uint32_t counted, failed;
    uint32_t of_kind[9];  /* how many there were of each kind, by its bit */
    char what[192];       /* the first that failed */
} *control;

static char folder[4096];
static size_t folder_length;
static int log_file = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The names, below the folder, of the files that are open. "/" is the folder itself. */
enum { FILES = 1024, LONGEST = 96 };
static char names[FILES][LONGEST];

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTS_CONTROL"), *log = getenv("FAULTS_LOG"), *where = getenv("FAULTS_FOLDER");
    if (!path || !where)
        return;
    int file = REAL(open)(path, O_RDWR | O_CLOEXEC);
    struct control *mapped =
        file < 0 ? MAP_FAILED : REAL(mmap)(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        abort();
    REAL(close)(file);
    folder_length = strlen(where);
    memcpy(folder, where, folder_length + 1);
    if (log && (log_file = REAL(open)(log, O_WRONLY | O_APPEND | O_CLOEXEC)) < 0)
        abort();
    control = mapped;
    /* What hangs ends. */
    alarm(60);
}

/* The name of `path` below the folder; NULL if it is not there. Paths are absolute here, or relative to `at`. */
static const char *inside(int at, const char *path)
{
    static __thread char joined[LONGEST + 256];
    if (!control || !path)
        return NULL;
    if (path[0] == '/') {
        if (strncmp(path, folder, folder_length) != 0)
            return NULL;
        const char *rest = path + folder_length;
        return *rest == 0 || !strcmp(rest, "/") ? "/" : *rest == '/' ? rest + 1 : NULL;
    }
    if (at < 0 || at >= FILES || !names[at][0])
        return NULL;
    snprintf(joined, sizeof joined, "%s/%s", strcmp(names[at], "/") ? names[at] : ".", path);
    return strncmp(joined, "./", 2) ? joined : joined + 2;
}

static const char *name_of(int file)
{
    return control && file >= 0 && file < FILES && names[file][0] ? names[file] : NULL;
}

/* Of a file that is named, or open. Out of line: libc says that a path is never NULL, and some ask with none. */
__attribute__((noipa)) static const char *inside_or_file(int at, const char *path)
{
    return path && *path ? inside(at, path) : name_of(at);
}

static void note_open(int file, const char *name)
{
    if (file >= 0 && file < FILES)
        snprintf(names[file], LONGEST, "%s", name ? name : "");
}

/* Whether this call is to fail. */
static int fails(uint32_t kind, const char *call, const char *name)
{
    if (!name || !__atomic_load_n(&control->armed, __ATOMIC_SEQ_CST) || !(control->kinds & kind))
        return 0;
    __atomic_add_fetch(&control->of_kind[__builtin_ctz(kind)], 1, __ATOMIC_SEQ_CST);
    uint32_t number = __atomic_add_fetch(&control->counted, 1, __ATOMIC_SEQ_CST);
    if (number < control->first || number > control->last)
        return 0;
    if (__atomic_fetch_add(&control->failed, 1, __ATOMIC_SEQ_CST) == 0)
        snprintf(control->what, sizeof control->what, "%s %s", call, name);
    errno = control->error;
    return 1;
}

/* A record: what was done, to which file, where, with which bytes. */
static void record(char what, const char *name, uint64_t offset, const void *bytes, size_t length)
{
    struct { char what; uint8_t name; uint16_t zero; uint32_t length; uint64_t offset; } head = {
        what, (uint8_t)strlen(name), 0, (uint32_t)length, offset};
    if (log_file < 0)
        return;
    __typeof__(&write) put = REAL(write);
    pthread_mutex_lock(&lock);
    if (put(log_file, &head, sizeof head) != sizeof head || put(log_file, name, head.name) != head.name ||
        put(log_file, bytes, length) != (ssize_t)length)
        abort();
    pthread_mutex_unlock(&lock);
}

/* Opening. */

static int opened(int result, int flags, int was_there, const char *name)
{
    if (result >= 0) {
        note_open(result, name);
        if (name && (flags & O_CREAT) && !was_there)
            record('c', name, 0, "", 0);
        else if (name && (flags & O_TRUNC))
            record('t', name, 0, "", 0);
    }
    return result;
}

static int exists(int at, const char *path)
{
    return REAL(faccessat)(at, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode = va_arg(more, mode_t);                                                                                   \
        va_end(more);                                                                                                  \
    }

#define OPENS(function)                                                                                                \
    int function(const char *path, int flags, ...)                                                                     \
    {                                                                                                                  \
        MODE(flags)                                                                                                    \
        const char *name = inside(-1, path);                                                                           \
        if (fails(OPEN, "open", name) && control->error)                                                               \
            return -1;                                                                                                 \
        int there = name && exists(AT_FDCWD, path);                                                                    \
        return opened(REAL(function)(path, flags, mode), flags, there, name);                                          \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(function)                                                                                             \
    int function(int at, const char *path, int flags, ...)                                                             \
    {                                                                                                                  \
        MODE(flags)                                                                                                    \
        const char *name = inside(at, path);                                                                           \
        if (fails(OPEN, "openat", name) && control->error)                                                             \
            return -1;                                                                                                 \
        int there = name && exists(at, path);                                                                          \
        return opened(REAL(function)(at, path, flags, mode), flags, there, name);                                      \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int file)
{
    const char *name = name_of(file);
    int failed = fails(CLOSE, "close", name) && control->error;
    if (name)
        names[file][0] = 0;
    int result = REAL(close)(file), error = failed ? control->error : errno;
    errno = error;
    return failed ? -1 : result;
}

/* Reading and writing. */

static size_t half(size_t length)
{
    return length > 1 ? length / 2 : length;
}

#define READS(function, parameters, arguments)                                                                         \
    ssize_t function parameters                                                                                        \
    {                                                                                                                  \
        if (fails(READ, #function, name_of(file))) {                                                                   \
            if (control->error)                                                                                        \
                return -1;                                                                                             \
            length = half(length);                                                                                     \
        }                                                                                                              \
        return REAL(function) arguments;                                                                               \
    }
READS(read, (int file, void *bytes, size_t length), (file, bytes, length))
READS(pread, (int file, void *bytes, size_t length, off_t offset), (file, bytes, length, offset))
READS(pread64, (int file, void *bytes, size_t length, off64_t offset), (file, bytes, length, offset))

#define WRITES(function, parameters, arguments, offset_of)                                                             \
    ssize_t function parameters                                                                                        \
    {                                                                                                                  \
        const char *name = name_of(file);                                                                              \
        if (fails(WRITE, #function, name)) {                                                                           \
            if (control->error)                                                                                        \
                return -1;                                                                                             \
            length = half(length);                                                                                     \
        }                                                                                                              \
        off64_t at = name ? offset_of : 0;                                                                             \
        ssize_t result = REAL(function) arguments;                                                                     \
        if (name && result > 0)                                                                                        \
            record('w', name, at, bytes, result);                                                                      \
        return result;                                                                                                 \
    }
WRITES(write, (int file, const void *bytes, size_t length), (file, bytes, length), lseek64(file, 0, SEEK_CUR))
WRITES(pwrite, (int file, const void *bytes, size_t length, off_t offset), (file, bytes, length, offset), offset)
WRITES(pwrite64, (int file, const void *bytes, size_t length, off64_t offset), (file, bytes, length, offset), offset)

#define TRUNCATES(function, type)                                                                                      \
    int function(int file, type length)                                                                                \
    {                                                                                                                  \
        const char *name = name_of(file);                                                                              \
        if (fails(WRITE, #function, name) && control->error)                                                           \
            return -1;                                                                                                 \
        int result = REAL(function)(file, length);                                                                     \
        if (name && result == 0)                                                                                       \
            record('t', name, length, "", 0);                                                                          \
        return result;                                                                                                 \
    }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

static void grown(const char *name, int file)
{
    struct stat about;
    if (name && REAL(fstat)(file, &about) == 0)
        record('t', name, about.st_size, "", 0);
}

#define ALLOCATES(function, type)                                                                                      \
    int function(int file, type offset, type length)                                                                   \
    {                                                                                                                  \
        if (fails(WRITE, #function, name_of(file)) && control->error)                                                  \
            return control->error;                                                                                     \
        int result = REAL(function)(file, offset, length);                                                             \
        grown(result == 0 ? name_of(file) : NULL, file);                                                               \
        return result;                                                                                                 \
    }
ALLOCATES(posix_fallocate, off_t)
ALLOCATES(posix_fallocate64, off64_t)

#define SYNCS(function)                                                                                                \
    int function(int file)                                                                                             \
    {                                                                                                                  \
        const char *name = name_of(file);                                                                              \
        if (fails(SYNC, #function, name) && control->error)                                                            \
            return -1;                                                                                                 \
        int result = REAL(function)(file);                                                                             \
        if (name && result == 0)                                                                                       \
            record('s', name, 0, "", 0);                                                                               \
        return result;                                                                                                 \
    }
SYNCS(fsync)
SYNCS(fdatasync)

/* Locks; other commands pass. */

#define CONTROLS(function)                                                                                             \
    int function(int file, int command, ...)                                                                           \
    {                                                                                                                  \
        va_list more;                                                                                                  \
        va_start(more, command);                                                                                       \
        void *argument = va_arg(more, void *);                                                                         \
        va_end(more);                                                                                                  \
        int locks = command == F_OFD_SETLK || command == F_SETLK;                                                      \
        int looks = command == F_OFD_GETLK || command == F_GETLK;                                                      \
        if ((locks || looks) && fails(locks ? LOCK : LOOK, locks ? "lock" : "look at lock of", name_of(file)) &&       \
            control->error)                                                                                            \
            return -1;                                                                                                 \
        int result = REAL(function)(file, command, argument);                                                          \
        if (result >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC))                                         \
            note_open(result, name_of(file));                                                                          \
        return result;                                                                                                 \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)

#define MAPS(function, type)                                                                                           \
    void *function(void *at, size_t length, int protection, int flags, int file, type offset)                          \
    {                                                                                                                  \
        if (!(flags & MAP_ANONYMOUS) && fails(MAP, "mmap", name_of(file)) && control->error)                           \
            return MAP_FAILED;                                                                                         \
        return REAL(function)(at, length, protection, flags, file, offset);                                            \
    }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)

/* Names. */

#define NAMES(function, parameters, arguments, at, path, what)                                                         \
    int function parameters                                                                                            \
    {                                                                                                                  \
        const char *name = inside(at, path);                                                                           \
        if (fails(NAME, #function, name) && control->error)                                                            \
            return -1;                                                                                                 \
        int result = REAL(function) arguments;                                                                         \
        if (name && result == 0 && what)                                                                               \
            record(what, name, 0, "", 0);                                                                              \
        return result;                                                                                                 \
    }
NAMES(unlink, (const char *path), (path), -1, path, 'u')
NAMES(unlinkat, (int at, const char *path, int flags), (at, path, flags), at, path, 'u')
NAMES(rmdir, (const char *path), (path), -1, path, 'u')
NAMES(mkdir, (const char *path, mode_t mode), (path, mode), -1, path, 'm')
NAMES(mknod, (const char *path, mode_t mode, dev_t device), (path, mode, device), -1, path, 'c')
int __xmknod(int, const char *, mode_t, dev_t *);
NAMES(__xmknod, (int version, const char *path, mode_t mode, dev_t *device), (version, path, mode, device), -1, path, 'c')
NAMES(chmod, (const char *path, mode_t mode), (path, mode), -1, path, 0)
NAMES(chown, (const char *path, uid_t user, gid_t group), (path, user, group), -1, path, 0)
NAMES(lchown, (const char *path, uid_t user, gid_t group), (path, user, group), -1, path, 0)

int rename(const char *from, const char *to)
{
    char name[LONGEST];
    const char *source = inside(-1, from);
    if (fails(NAME, "rename", source) && control->error)
        return -1;
    snprintf(name, sizeof name, "%s", source ? source : "");
    int result = REAL(rename)(from, to);
    const char *target = inside(-1, to);
    if (source && target && result == 0)
        record('r', name, 0, target, strlen(target));
    return result;
}

int fchmod(int file, mode_t mode)
{
    return fails(NAME, "fchmod", name_of(file)) && control->error ? -1 : REAL(fchmod)(file, mode);
}

int fchown(int file, uid_t user, gid_t group)
{
    return fails(NAME, "fchown", name_of(file)) && control->error ? -1 : REAL(fchown)(file, user, group);
}

/* Looking. */

#define LOOKS(type, function, parameters, arguments, name, failure)                                                    \
    type function parameters                                                                                           \
    {                                                                                                                  \
        if (fails(LOOK, #function, name) && control->error)                                                            \
            return failure;                                                                                            \
        return REAL(function) arguments;                                                                               \
    }
LOOKS(int, stat, (const char *path, struct stat *out), (path, out), inside(-1, path), -1)
LOOKS(int, stat64, (const char *path, struct stat64 *out), (path, out), inside(-1, path), -1)
LOOKS(int, lstat, (const char *path, struct stat *out), (path, out), inside(-1, path), -1)
LOOKS(int, lstat64, (const char *path, struct stat64 *out), (path, out), inside(-1, path), -1)
LOOKS(int, fstat, (int file, struct stat *out), (file, out), name_of(file), -1)
LOOKS(int, fstat64, (int file, struct stat64 *out), (file, out), name_of(file), -1)
LOOKS(int, statx, (int at, const char *path, int flags, unsigned mask, struct statx *out), (at, path, flags, mask, out),
      inside_or_file(at, path), -1)
/* As libc had these before it had the ones above, which is how the module asks. */
int __xstat(int, const char *, struct stat *), __xstat64(int, const char *, struct stat64 *);
int __lxstat(int, const char *, struct stat *), __lxstat64(int, const char *, struct stat64 *);
int __fxstat(int, int, struct stat *), __fxstat64(int, int, struct stat64 *);
LOOKS(int, __xstat, (int version, const char *path, struct stat *out), (version, path, out), inside(-1, path), -1)
LOOKS(int, __xstat64, (int version, const char *path, struct stat64 *out), (version, path, out), inside(-1, path), -1)
LOOKS(int, __lxstat, (int version, const char *path, struct stat *out), (version, path, out), inside(-1, path), -1)
LOOKS(int, __lxstat64, (int version, const char *path, struct stat64 *out), (version, path, out), inside(-1, path), -1)
LOOKS(int, __fxstat, (int version, int file, struct stat *out), (version, file, out), name_of(file), -1)
LOOKS(int, __fxstat64, (int version, int file, struct stat64 *out), (version, file, out), name_of(file), -1)
LOOKS(int, access, (const char *path, int mode), (path, mode), inside(-1, path), -1)
LOOKS(int, statvfs, (const char *path, struct statvfs *out), (path, out), inside(-1, path), -1)
LOOKS(int, statvfs64, (const char *path, struct statvfs64 *out), (path, out), inside(-1, path), -1)
LOOKS(ssize_t, readlink, (const char *path, char *out, size_t length), (path, out, length), inside(-1, path), -1)
LOOKS(char *, realpath, (const char *path, char *out), (path, out), inside(-1, path), NULL)
