/* A host that treats its library badly, within its rights: it closes it under its own threads, ends in the
 * middle, has no descriptors. The token asks for no PIN and has a P-256 key "1". What a call answered is said as
 * "NAME RV"; a host that hangs is ended by its alarm. Usage: odd MODULE MODE [ARGUMENT] */
#define _GNU_SOURCE
#include "p11.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *module, *argument;
static ulong_t session, key;

static void say(const char *name, ulong_t rv)
{
    dprintf(1, "%s %lx\n", name, rv);
}

static void must(const char *name, ulong_t rv)
{
    if (rv) {
        say(name, rv);
        _exit(1);
    }
}

/* Every thread that anything in this process makes goes through here: what a program defines comes before
 * what libc does. */
static int threads_made;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *given)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    __atomic_fetch_add(&threads_made, 1, __ATOMIC_SEQ_CST);
    return real(thread, attributes, start, given);
}

static ulong_t more_flags;

/* Everything up to a key that can be used. */
static ulong_t begin(void)
{
    ulong_t rv;
    if ((rv = initialize(more_flags)) || (rv = open_session(0, &session)) || (rv = find_one(session, PRIVATE_KEY, "1", 1, &key)))
        return rv;
    return key ? OK : 1;
}

static ulong_t sign_with(ulong_t in)
{
    byte_t signature[64];
    ulong_t length = sizeof signature;
    return sign(in, key, ECDSA_SHA256, "data", 4, signature, &length);
}

/* Loads and closes the library, each time under a thread that has signed and is still alive. */
static pthread_barrier_t signed_once, closed;

static void *outlive(void *unused)
{
    must("sign", sign_with(session));
    pthread_barrier_wait(&signed_once);
    pthread_barrier_wait(&closed);
    return unused;
}

static void reload(void)
{
    int rounds = atoi(argument);
    pthread_barrier_init(&signed_once, 0, 2);
    pthread_barrier_init(&closed, 0, 2);
    for (int i = 0; i < rounds; i++) {
        pthread_t thread;
        load(module);
        must("begin", begin());
        pthread_create(&thread, 0, outlive, 0);
        pthread_barrier_wait(&signed_once);
        must("C_Finalize", CALL1("C_Finalize", 0));
        void *library = dlopen(module, RTLD_NOW | RTLD_NOLOAD);
        dlclose(library);
        dlclose(library);
        pthread_barrier_wait(&closed);
        pthread_join(thread, 0);
    }
    say("reload", OK);
}

/* What a handler or a destructor does when the process ends: it uses the key, and then finalises. */
static void at_end(void)
{
    say("sign", sign_with(session));
    say("C_Finalize", CALL1("C_Finalize", 0));
    say("sign", sign_with(session));
}

static void end_by_handler(void)
{
    load(module);
    must("begin", begin());
    must("sign", sign_with(session));
    atexit(at_end);
    exit(0);
}

/* The argument is a library whose destructor calls what its `at_end` points to. */
static void load_shim(void)
{
    void *shim = dlopen(argument, RTLD_NOW);
    if (!shim)
        exit(2);
    *(void (**)(void))dlsym(shim, "at_end") = at_end;
}

static void end_by_later_library(void)
{
    load(module);
    must("begin", begin());
    must("sign", sign_with(session));
    load_shim();
    exit(0);
}

static void end_by_earlier_library(void)
{
    load_shim();
    load(module);
    must("begin", begin());
    must("sign", sign_with(session));
    exit(0);
}

/* Ends while threads sign, which go on while the libraries are taken down. */
static void *sign_for_ever(void *opened)
{
    ulong_t rv = open_session(0, opened);
    while (rv == OK || rv == NOT_INITIALIZED)
        rv = sign_with(*(ulong_t *)opened);
    say("sign", rv);
    return 0;
}

static void end_among_threads(void)
{
    static ulong_t sessions[4];
    load(module);
    must("begin", begin());
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        pthread_create(&thread, 0, sign_for_ever, &sessions[i]);
    }
    usleep(atoi(argument));
    exit(0);
}

/* Without standard descriptors: nothing that the module opens may be mistaken for one of them. */
static void closed_descriptors(void)
{
    int out = dup(1);
    dup2(out, 100);
    close(out);
    for (int i = 0; i < 3; i++)
        close(i);
    load(module);
    ulong_t rv = begin();
    for (int i = 0; rv == OK && i < 20; i++) {
        rv = sign_with(session);
        /* An error, which is logged. */
        sign_with(session + 1000);
    }
    CALL1("C_Finalize", 0);
    dup2(100, 1);
    say("closed", rv);
}

/* With every number of descriptors up to enough: it fails or works, and works again when there are more. */
static void few_descriptors(void)
{
    struct rlimit limit, few;
    ulong_t rv, failed = 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    load(module);
    for (few = limit, few.rlim_cur = 3; few.rlim_cur < 40; few.rlim_cur++) {
        setrlimit(RLIMIT_NOFILE, &few);
        if ((rv = begin()) == OK)
            rv = sign_with(session);
        failed += rv != OK;
        rv = CALL1("C_Finalize", 0);
        if (rv != OK && rv != NOT_INITIALIZED)
            say("C_Finalize", rv);
        setrlimit(RLIMIT_NOFILE, &limit);
        must("begin", begin());
        must("sign", sign_with(session));
        must("C_Finalize", CALL1("C_Finalize", 0));
    }
    say("failed", failed);
}

/* SIGPIPE has its default effect, and so many microseconds pass between two calls; the signal mask and the handler are the host's before and after. */
static void signals(void)
{
    /* libc fills in no more of them than the kernel has. */
    sigset_t before = {0}, after = {0}, pending = {0};
    struct sigaction action;
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    sigprocmask(SIG_SETMASK, &before, 0);
    load(module);
    must("begin", begin());
    for (int i = 0; i < 20; i++) {
        say("sign", sign_with(session));
        usleep(atoi(argument));
    }
    must("C_Finalize", CALL1("C_Finalize", 0));
    sigprocmask(SIG_SETMASK, 0, &after);
    sigpending(&pending);
    sigaction(SIGPIPE, 0, &action);
    say("signals", memcmp(&before, &after, sizeof before) || sigismember(&pending, SIGPIPE) ||
                       action.sa_handler != SIG_DFL);
}

/* How many threads a life makes; with an argument, in a host that forbids them. */
static void threads(void)
{
    struct mechanism mechanism = {EC_KEY_PAIR_GEN, 0, 0};
    struct attribute public[] = {{EC_PARAMS, "\6\10\52\206\110\316\75\3\1\7", 10}};
    ulong_t pair[2];
    more_flags = *argument ? CANT_CREATE_OS_THREADS : 0;
    load(module);
    for (int i = 0; i < 20; i++) {
        must("begin", begin());
        must("sign", sign_with(session));
        must("C_GenerateKeyPair", call("C_GenerateKeyPair", session, P(&mechanism), P(public), 1, 0, 0, P(&pair[0]),
                                       P(&pair[1])));
        usleep(i * 1000);
        must("sign", sign_with(session));
        must("C_Finalize", CALL1("C_Finalize", 0));
    }
    say("threads", threads_made);
}

static const struct { const char *name; void (*run)(void); } modes[] = {
    {"reload", reload},
    {"end-by-handler", end_by_handler},
    {"end-by-later-library", end_by_later_library},
    {"end-by-earlier-library", end_by_earlier_library},
    {"end-among-threads", end_among_threads},
    {"closed-descriptors", closed_descriptors},
    {"few-descriptors", few_descriptors},
    {"signals", signals},
    {"threads", threads},
};

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    module = argv[1];
    argument = argc > 3 ? argv[3] : "";
    alarm(200);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, argv[2]) == 0) {
            modes[i].run();
            return 0;
        }
    return 2;
}
