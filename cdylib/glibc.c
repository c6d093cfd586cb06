/* What makes a module that was linked on a new system load on an old one, down to glibc 2.28.
 *
 * The linker binds each function of libc to its newest version. That of pthread_create is 2.34, although nothing
 * of it changed but the library that it is in, and that of fstat is 2.33, before which it was no function at all.
 * glibc keeps the old ones for good. Each function here, hidden in the module, takes the place of libc's in all of
 * its code, and passes the call on to the oldest version; the module then names the libraries as well in which old
 * systems have them (build.rs). tests/exports.rs says when another one has to be added. */
#include <sys/syscall.h>

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#define SET_NAME "GLIBC_2.12"
#define STAT_VERSION 1
#elif defined(__aarch64__)
#define OLDEST "GLIBC_2.17"
#define SET_NAME "GLIBC_2.17"
#define STAT_VERSION 0
#else
#error "the oldest versions of this architecture's glibc are not known here"
#endif

#define HIDDEN __attribute__((visibility("hidden")))
#define OLD(name, version) __asm__(".symver old_" #name ", " #name "@" version)

/* Integers and pointers come and go in registers of their own, whichever they are. */
#define FORWARD(name, version) \
    OLD(name, version); \
    extern long old_##name(long, long, long, long); \
    HIDDEN long name(long a, long b, long c, long d) { return old_##name(a, b, c, d); }

FORWARD(dlclose, OLDEST)
FORWARD(dlerror, OLDEST)
FORWARD(dlopen, OLDEST)
FORWARD(dlsym, OLDEST)
FORWARD(pthread_attr_getguardsize, OLDEST)
FORWARD(pthread_attr_getstack, OLDEST)
FORWARD(pthread_attr_setstacksize, OLDEST)
FORWARD(pthread_create, OLDEST)
FORWARD(pthread_detach, OLDEST)
FORWARD(pthread_getattr_np, OLDEST)
FORWARD(pthread_getspecific, OLDEST)
FORWARD(pthread_join, OLDEST)
FORWARD(pthread_key_create, OLDEST)
FORWARD(pthread_key_delete, OLDEST)
FORWARD(pthread_mutexattr_destroy, OLDEST)
FORWARD(pthread_mutexattr_init, OLDEST)
FORWARD(pthread_mutexattr_settype, OLDEST)
FORWARD(pthread_mutex_trylock, OLDEST)
FORWARD(pthread_once, OLDEST)
FORWARD(pthread_rwlock_destroy, OLDEST)
FORWARD(pthread_rwlock_init, OLDEST)
FORWARD(pthread_rwlock_rdlock, OLDEST)
FORWARD(pthread_rwlock_tryrdlock, OLDEST)
FORWARD(pthread_rwlock_trywrlock, OLDEST)
FORWARD(pthread_rwlock_unlock, OLDEST)
FORWARD(pthread_rwlock_wrlock, OLDEST)
FORWARD(pthread_setname_np, SET_NAME)
FORWARD(pthread_setspecific, OLDEST)
FORWARD(pthread_sigmask, OLDEST)

/* They became exact to the last bit in 2.29, which nobody here needs: SQLite has them for its SQL. */
OLD(log, OLDEST);
extern double old_log(double);
HIDDEN double log(double x) { return old_log(x); }
OLD(pow, OLDEST);
extern double old_pow(double, double);
HIDDEN double pow(double x, double y) { return old_pow(x, y); }
OLD(exp, OLDEST);
extern double old_exp(double);
HIDDEN double exp(double x) { return old_exp(x); }

/* What <sys/stat.h> made of them before 2.33. */
#define STAT(name, old, type) \
    OLD(old, OLDEST); \
    extern int old_##old(int, type, void *); \
    HIDDEN int name(type which, void *out) { return old_##old(STAT_VERSION, which, out); }

STAT(stat, __xstat, const char *)
STAT(stat64, __xstat64, const char *)
STAT(lstat, __lxstat, const char *)
STAT(lstat64, __lxstat64, const char *)
STAT(fstat, __fxstat, int)
STAT(fstat64, __fxstat64, int)

OLD(__xmknod, OLDEST);
extern int old___xmknod(int, const char *, unsigned, unsigned long *);
HIDDEN int mknod(const char *path, unsigned mode, unsigned long device)
{
    return old___xmknod(0, path, mode, &device);
}

/* New in 2.30. */
extern long syscall(long, ...);
HIDDEN int gettid(void) { return syscall(SYS_gettid); }

#if defined(__x86_64__)
/* Not a matter of age: glibc ends the process when it has no memory to note a destructor in. Without it, the value
 * of a thread stays when the thread ends; the host goes on, and the call with an error. Only here: on aarch64 the
 * linker takes the reference to glibc's version, which is its newest, for the function itself, which then calls
 * itself for ever. */
OLD(__cxa_thread_atexit_impl, "GLIBC_2.18");
extern int old___cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *malloc(unsigned long);
extern void free(void *);
HIDDEN int __cxa_thread_atexit_impl(void (*destructor)(void *), void *value, void *library)
{
    /* More than it takes itself, and more than is put aside for small blocks alone. */
    void *room = malloc(4096);
    free(room);
    return room ? old___cxa_thread_atexit_impl(destructor, value, library) : -1;
}
#endif
