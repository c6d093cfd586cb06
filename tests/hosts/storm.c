/* A host in a storm of signals: handlers without SA_RESTART, timers, children that end, and signals aimed at each
 * of its threads, while these do all that waits for something: KMS over the network, names that are looked up,
 * the store. The token asks for no PIN and has a P-256 key "1". Says "CALLS SIGNALS", or what went wrong.
 * Usage: storm MODULE SECONDS */
#define _GNU_SOURCE
#include "p11.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, ENOUGH = 3000 };

static atomic_int stop;
static atomic_ulong calls, signals;
static pthread_t workers[WORKERS];

static void handler(int signal)
{
    (void)signal;
    /* errno stays as it is, as signal-safety(7) asks. A handler that changes it changes what a system call of the
     * interrupted thread just said, and no library can tell that from the truth. */
    signals++;
}

static void must(const char *what, ulong_t rv)
{
    if (rv) {
        dprintf(1, "%s: %#lx\n", what, rv);
        _exit(1);
    }
    calls++;
}

static ulong_t a_session(ulong_t *key)
{
    ulong_t session;
    must("C_OpenSession", open_session(RW_SESSION, &session));
    must("C_FindObjects", find_one(session, PRIVATE_KEY, "1", 1, key));
    must("the key", *key == 0);
    return session;
}

/* Each signature is a call of KMS: no key is kept. */
static void *signs(void *unused)
{
    ulong_t key, session = a_session(&key);
    while (!stop) {
        byte_t signature[64];
        ulong_t length = sizeof signature;
        must("C_Sign", sign(session, key, ECDSA_SHA256, "data", 4, signature, &length));
    }
    return unused;
}

/* Writes to the store, and calls KMS too. */
static void *makes(void *unused)
{
    static const byte_t p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct mechanism mechanism = {EC_KEY_PAIR_GEN, 0, 0};
    byte_t yes = 1;
    struct attribute public[] = {{TOKEN, &yes, 1}, {EC_PARAMS, (void *)p256, sizeof p256}};
    struct attribute private[] = {{TOKEN, &yes, 1}};
    ulong_t key, session = a_session(&key), pair[2];
    while (!stop) {
        must("C_GenerateKeyPair", call("C_GenerateKeyPair", session, P(&mechanism), P(public), 2, P(private), 1,
                                       P(&pair[0]), P(&pair[1])));
        must("C_DestroyObject", CALL2("C_DestroyObject", session, pair[0]));
        must("C_DestroyObject", CALL2("C_DestroyObject", session, pair[1]));
    }
    return unused;
}

static void *reads(void *unused)
{
    ulong_t key, session = a_session(&key);
    while (!stop) {
        byte_t number[32];
        must("C_FindObjects", find_one(session, PUBLIC_KEY, "1", 1, &key));
        must("C_GenerateRandom", CALL3("C_GenerateRandom", session, number, sizeof number));
        must("C_CloseSession", CALL1("C_CloseSession", session));
        session = a_session(&key);
    }
    return unused;
}

static void have_a_child(void)
{
    pid_t child = vfork();
    if (child == 0)
        _exit(0);
    while (waitpid(child, 0, 0) < 0 && errno == EINTR)
        ;
}

static void *storms(void *unused)
{
    const int which[] = {SIGUSR1, SIGALRM, SIGCHLD, SIGURG};
    for (unsigned i = 0; !stop; i++) {
        pthread_kill(workers[i % WORKERS], which[i / WORKERS % 4]);
        if (i % 64 == 0)
            have_a_child();
        usleep(50);
    }
    return unused;
}

int main(int argc, char **argv)
{
    void *(*const work[WORKERS])(void *) = {signs, signs, makes, reads};
    struct sigaction action = {.sa_handler = handler};
    struct itimerval often = {{0, 700}, {0, 700}};
    pthread_t storm;
    if (argc != 3)
        return 2;
    time_t end = time(0) + atoi(argv[2]);
    load(argv[1]);
    sigaction(SIGUSR1, &action, 0);
    sigaction(SIGALRM, &action, 0);
    sigaction(SIGCHLD, &action, 0);
    sigaction(SIGURG, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
    must("C_Initialize", initialize(0));
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], 0, work[i], 0);
    pthread_create(&storm, 0, storms, 0);
    /* On a busy machine fewer signals come in a second. */
    while (time(0) < end || (signals < ENOUGH && time(0) < end + 60))
        usleep(100000);
    stop = 1;
    pthread_join(storm, 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], 0);
    must("C_Finalize", CALL1("C_Finalize", 0));
    dprintf(1, "%lu %lu\n", (ulong_t)calls, (ulong_t)signals);
    return 0;
}
