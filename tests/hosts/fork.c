/* A host that forks while its threads are busy in the module. Usage: fork MODULE HOW FORKS PIN
 * HOW is what other threads do: sign, login (and out, again and again), restart (C_Initialize to C_Finalize), or
 * draw (random numbers, without a rest, in threads that stay and in threads that end at once);
 * or "spawn": they sign, and each child is not forked but spawned, as a program that lists its descriptors.
 * With "-elsewhere" after it, the forks are not the main thread's but those of a thread that calls nothing else.
 * Says what it finds on standard output, each line in one piece: "r HEX" of each signature, "n HEX" of each
 * random number, "child PID" for each descendant that ended well, "bad …" for what must not be, "done COUNT". */
#define _GNU_SOURCE
#include "p11.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, AT_ONCE = 4, FUNCTIONS = 68 + 24 + 12 };

static const char *pin;
static atomic_int stop;
static atomic_ulong rounds;

static void say(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (write(1, line, length) != length)
        abort();
}

/* Whether a call went wrong. */
static int bad(const char *what, ulong_t rv)
{
    if (rv)
        say("bad %s in %d: %#lx\n", what, (int)getpid(), rv);
    return rv != OK;
}

static void say_bytes(char kind, const byte_t *bytes)
{
    char hex[65];
    for (int i = 0; i < 32; i++)
        sprintf(hex + 2 * i, "%02x", bytes[i]);
    say("%c %s\n", kind, hex);
}

/* Signs, and draws a random number. */
static int use(ulong_t session, ulong_t key)
{
    byte_t signature[64], number[32];
    ulong_t length = sizeof signature;
    if (bad("C_Sign", sign(session, key, ECDSA_SHA256, "data", 4, signature, &length)) ||
        bad("C_GenerateRandom", CALL3("C_GenerateRandom", session, number, sizeof number)))
        return 1;
    say_bytes('r', signature);
    say_bytes('n', number);
    return 0;
}

static int log_in(ulong_t session)
{
    ulong_t rv = *pin ? CALL4("C_Login", session, USER, pin, strlen(pin)) : OK;
    return bad("C_Login", rv);
}

static int find_key(ulong_t session, ulong_t *key)
{
    if (bad("C_FindObjects", find_one(session, PRIVATE_KEY, "key", 3, key)))
        return 1;
    return bad("finding the key", *key == 0);
}

static int begin(ulong_t *session, ulong_t *key)
{
    return bad("C_Initialize", initialize(0)) || bad("C_OpenSession", open_session(RW_SESSION, session)) ||
           log_in(*session) || find_key(*session, key);
}

/* Every function that needs C_Initialize says so, whatever its arguments. */
static int check_not_initialised(void)
{
    struct { const char *name; void **list; ulong_t flags; } *interface;
    const char *others[] = {"C_Initialize", "C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface"};
    int checked = 0;
    if (bad("C_GetInterface", CALL4("C_GetInterface", 0, 0, &interface, 0)))
        return 1;
    for (int i = 1; i <= FUNCTIONS; i++) {
        ulong_t (*called)(ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t,
                          ulong_t, ulong_t);
        *(void **)&called = interface->list[i];
        int other = 0;
        for (size_t j = 0; j < sizeof others / sizeof *others; j++)
            other |= called == (void *)function(others[j]);
        if (other)
            continue;
        ulong_t rv = called(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        if (rv != NOT_INITIALIZED) {
            say("bad function %d in a child: %#lx\n", i, rv);
            return 1;
        }
        checked++;
    }
    return bad("functions that need no C_Initialize", FUNCTIONS - checked != 4);
}

/* Descriptors by number, as /proc shows them. */
struct descriptors { char target[256][96]; };

static void look(struct descriptors *all)
{
    memset(all, 0, sizeof *all);
    for (int fd = 0; fd < 256; fd++) {
        char path[64];
        sprintf(path, "/proc/self/fd/%d", fd);
        if (readlink(path, all->target[fd], sizeof all->target[fd] - 1) < 0)
            all->target[fd][0] = 0;
    }
}

/* How many descriptors of a kind there are now that were not there before. */
static int new_ones(const struct descriptors *before, const char *kind)
{
    static struct descriptors now;
    int count = 0;
    look(&now);
    for (int fd = 0; fd < 256; fd++)
        count += strstr(now.target[fd], kind) && strcmp(now.target[fd], before->target[fd]) != 0;
    return count;
}

static int new_database(const struct descriptors *before)
{
    /* The same file, so the number tells: what is inherited is still open under the old one. */
    static struct descriptors now;
    int count = 0;
    look(&now);
    for (int fd = 0; fd < 256; fd++)
        count += strstr(now.target[fd], "/token.db") && !before->target[fd][0];
    return count;
}

static int descend(int number, int depth);

/* What a child does: all that a host does after a fork, with descriptors of its own. */
static int child(int number, int depth)
{
    static struct descriptors before;
    char name[32];
    ulong_t session, key;
    alarm(60);
    if (check_not_initialised())
        return 1;
    if (number % 2 == 0 && bad("C_Finalize", CALL1("C_Finalize", 0) != NOT_INITIALIZED))
        return 1;
    /* Its requests are told from the parent's by who signed them. */
    sprintf(name, "CHILD%d", (int)getpid());
    setenv("AWS_ACCESS_KEY_ID", name, 1);
    look(&before);
    if (begin(&session, &key))
        return 1;
    for (int i = 0; i < 3; i++)
        if (use(session, key))
            return 1;
    if (bad("its own database", new_database(&before) == 0))
        return 1;
    /* KMS has seen that it had a connection of its own; the one that brought a key does not stay. */
    if (getenv("FORK_NETWORK") && bad("a connection that stays", new_ones(&before, "socket:") != 0))
        return 1;
    if (number % 8 < 2 && depth == 0) {
        if (descend(number, depth + 1) || use(session, key))
            return 1;
    }
    if (number % 4 == 3 && bad("C_Finalize", CALL1("C_Finalize", 0)))
        return 1;
    say("child %d\n", (int)getpid());
    return 0;
}

static int ended_well(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return bad("waitpid", errno);
    return bad("a child's end", status);
}

/* What the child of a host that draws does: it draws, and ends as programs do, with all destructors. */
static int drawing_child(void)
{
    byte_t number[32];
    ulong_t session;
    alarm(20);
    if (bad("C_Initialize", initialize(0)) || bad("C_OpenSession", open_session(0, &session)) ||
        bad("C_GenerateRandom", CALL3("C_GenerateRandom", session, number, sizeof number)))
        return 1;
    say_bytes('n', number);
    say("child %d\n", (int)getpid());
    exit(0);
}

static int descend(int number, int depth)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(number, depth));
    return ended_well(pid);
}

/* The program that a host spawns: it must have inherited no descriptor of the module's. */
static int spawned(void)
{
    struct descriptors all;
    look(&all);
    for (int fd = 3; fd < 256; fd++)
        if (strstr(all.target[fd], "socket:") || strstr(all.target[fd], "token.db") || strstr(all.target[fd], "anon_inode"))
            return bad(all.target[fd], fd);
    say("child %d\n", (int)getpid());
    return 0;
}

static pid_t spawn(int number)
{
    char *arguments[] = {"fork", "spawned", 0};
    pid_t pid;
    extern char **environ;
    if (number % 2)
        return posix_spawn(&pid, "/proc/self/exe", 0, 0, arguments, environ) ? -1 : pid;
    pid = vfork();
    if (pid == 0) {
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
    return pid;
}

static void *signs(void *unused)
{
    ulong_t session, key;
    if (bad("C_OpenSession", open_session(0, &session)) || find_key(session, &key))
        exit(1);
    while (!stop) {
        if (use(session, key))
            exit(1);
        rounds++;
        usleep(500);
    }
    return unused;
}

static void *logs_in(void *unused)
{
    ulong_t session;
    if (bad("C_OpenSession", open_session(0, &session)))
        exit(1);
    while (!stop) {
        if (log_in(session) || bad("C_Logout", CALL1("C_Logout", session)))
            exit(1);
        rounds++;
    }
    return unused;
}

static void *restarts(void *unused)
{
    ulong_t session, key;
    while (!stop) {
        if (begin(&session, &key) || use(session, key) || bad("C_Finalize", CALL1("C_Finalize", 0)))
            exit(1);
        rounds++;
    }
    return unused;
}

static void *draws_once(void *session)
{
    byte_t number[32];
    if (bad("C_GenerateRandom", CALL3("C_GenerateRandom", *(ulong_t *)session, number, sizeof number)))
        exit(1);
    rounds++;
    return session;
}

static void *draws(void *in_threads)
{
    ulong_t session;
    if (bad("C_OpenSession", open_session(0, &session)))
        exit(1);
    while (!stop) {
        pthread_t thread;
        if (!in_threads)
            draws_once(&session);
        else if (bad("pthread_create", pthread_create(&thread, 0, draws_once, &session)) ||
                 bad("pthread_join", pthread_join(thread, 0)))
            exit(1);
    }
    return in_threads;
}

struct forks { int count, spawns, draws; };

/* Forks at all moments of what the threads do, a few children at a time; NULL if all went well. */
static void *fork_all(void *given)
{
    struct forks *forks = given;
    pid_t children[AT_ONCE] = {0};
    for (int i = 0; i < forks->count; i++) {
        pid_t *place = &children[i % AT_ONCE];
        if (*place && ended_well(*place))
            return given;
        usleep(i * 7919 % (forks->draws ? 500 : 5000));
        *place = forks->spawns ? spawn(i) : fork();
        if (*place == 0)
            _exit(forks->draws ? drawing_child() : child(i, 0));
        if (bad("fork", *place < 0))
            return given;
    }
    for (int i = 0; i < AT_ONCE; i++)
        if (children[i] && ended_well(children[i]))
            return given;
    return 0;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    ulong_t session, key;
    if (argc == 2 && strcmp(argv[1], "spawned") == 0)
        return spawned();
    if (argc != 5)
        return 2;
    const char *how = argv[2];
    struct forks forks = {atoi(argv[3]), strncmp(how, "spawn", 5) == 0, strcmp(how, "draw") == 0};
    void *(*work)(void *) = strcmp(how, "login") == 0     ? logs_in
                            : strcmp(how, "restart") == 0 ? restarts
                            : strcmp(how, "draw") == 0    ? draws
                                                          : signs;
    void *went_wrong;
    int busy = work == signs || work == draws ? THREADS : 1;
    pin = argv[4];
    load(argv[1]);
    if (work != restarts) {
        if (begin(&session, &key) || use(session, key))
            return 1;
        if (work == logs_in && bad("C_Logout", CALL1("C_Logout", session)))
            return 1;
    }
    for (int i = 0; i < busy; i++)
        if (bad("pthread_create", pthread_create(&threads[i], 0, work, i % 2 ? threads : 0)))
            return 1;
    if (strstr(how, "-elsewhere")) {
        pthread_t elsewhere;
        if (bad("pthread_create", pthread_create(&elsewhere, 0, fork_all, &forks)) ||
            pthread_join(elsewhere, &went_wrong))
            return 1;
    } else {
        went_wrong = fork_all(&forks);
    }
    if (went_wrong)
        return 1;
    ulong_t before = rounds;
    /* The parent goes on as if nothing had been. */
    for (int i = 0; i < 100 && rounds < before + 10; i++)
        usleep(100000);
    if (bad("the parent's threads are stuck", rounds < before + 10))
        return 1;
    stop = 1;
    for (int i = 0; i < busy; i++)
        pthread_join(threads[i], 0);
    if (work != restarts) {
        if ((work == logs_in && log_in(session)) || find_key(session, &key) || use(session, key) ||
            bad("C_Finalize", CALL1("C_Finalize", 0)))
            return 1;
    }
    say("done %lu\n", (ulong_t)rounds);
    return 0;
}
