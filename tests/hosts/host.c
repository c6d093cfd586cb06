/* A host that does what it is told: one command a line, one answer a line, "RV DATA". What it was told is
 * wiped at once, so that a PIN in its memory is the module's doing. Usage: host MODULE */
#define _GNU_SOURCE
#include "p11.h"
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static ulong_t session;

struct kind { const char *name; ulong_t generation, attribute; byte_t value[12]; ulong_t length, signs; };
static const struct kind kinds[] = {
    {"rsa2048", RSA_KEY_PAIR_GEN, MODULUS_BITS, {0, 8}, 8, SHA256_RSA_PKCS},
    {"rsa4096", RSA_KEY_PAIR_GEN, MODULUS_BITS, {0, 16}, 8, SHA256_RSA_PKCS},
    {"p256", EC_KEY_PAIR_GEN, EC_PARAMS, {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, 10, ECDSA_SHA256},
    {"p384", EC_KEY_PAIR_GEN, EC_PARAMS, {6, 5, 0x2b, 0x81, 4, 0, 34}, 7, ECDSA_SHA256},
    {"p521", EC_KEY_PAIR_GEN, EC_PARAMS, {6, 5, 0x2b, 0x81, 4, 0, 35}, 7, ECDSA_SHA256},
    {"secp256k1", EC_KEY_PAIR_GEN, EC_PARAMS, {6, 5, 0x2b, 0x81, 4, 0, 10}, 7, ECDSA_SHA256},
    {"mldsa65", ML_DSA_KEY_PAIR_GEN, PARAMETER_SET, {2}, 8, ML_DSA},
    {"ed25519", EDWARDS_KEY_PAIR_GEN, EC_PARAMS, {6, 3, 0x2b, 0x65, 0x70}, 5, EDDSA},
};

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    fprintf(stderr, "no kind %s\n", name);
    exit(2);
}

static ulong_t generate(const char *name, const char *id)
{
    const struct kind *kind = kind_of(name);
    struct mechanism mechanism = {kind->generation, 0, 0};
    byte_t yes = 1;
    struct attribute public[] = {
        {TOKEN, &yes, 1}, {ID, (void *)id, strlen(id)}, {kind->attribute, (void *)kind->value, kind->length}};
    struct attribute private[] = {{TOKEN, &yes, 1}, {ID, (void *)id, strlen(id)}};
    ulong_t pair[2];
    return call("C_GenerateKeyPair", session, P(&mechanism), P(public), 3, P(private), 2, P(&pair[0]), P(&pair[1]));
}

/* Signs and verifies, with the two halves of a pair. */
static ulong_t use(const char *name, const char *id)
{
    ulong_t type = kind_of(name)->signs, key, public, rv;
    byte_t signature[4096];
    ulong_t length = sizeof signature;
    struct mechanism mechanism = {type, 0, 0};
    if ((rv = find_one(session, PRIVATE_KEY, id, strlen(id), &key)) ||
        (rv = find_one(session, PUBLIC_KEY, id, strlen(id), &public)))
        return rv;
    if ((rv = sign(session, key, type, "data", 4, signature, &length)) ||
        (rv = CALL3("C_VerifyInit", session, &mechanism, public)))
        return rv;
    return CALL5("C_Verify", session, "data", 4, signature, length);
}

/* Encrypts and decrypts with an RSA pair. */
static ulong_t decrypt(const char *id)
{
    ulong_t key, public, rv, length = 1024, back = 1024;
    byte_t encrypted[1024], data[1024];
    struct mechanism mechanism = {RSA_PKCS, 0, 0};
    if ((rv = find_one(session, PRIVATE_KEY, id, strlen(id), &key)) ||
        (rv = find_one(session, PUBLIC_KEY, id, strlen(id), &public)) ||
        (rv = CALL3("C_EncryptInit", session, &mechanism, public)) ||
        (rv = CALL5("C_Encrypt", session, "data", 4, encrypted, &length)) ||
        (rv = CALL3("C_DecryptInit", session, &mechanism, key)) ||
        (rv = CALL5("C_Decrypt", session, encrypted, length, data, &back)))
        return rv;
    return back == 4 && memcmp(data, "data", 4) == 0 ? OK : 1;
}

static ulong_t destroy(ulong_t class, const char *id)
{
    ulong_t object, rv = find_one(session, class, id, strlen(id), &object);
    return rv ? rv : CALL2("C_DestroyObject", session, object);
}

/* Creates an AES key from its value. */
static ulong_t create(const char *id)
{
    ulong_t class = SECRET_KEY, type = AES, key;
    byte_t yes = 1, value[16] = {1};
    struct attribute template[] = {{CLASS, &class, sizeof class}, {KEY_TYPE, &type, sizeof type}, {TOKEN, &yes, 1},
                                   {ID, (void *)id, strlen(id)}, {VALUE, value, sizeof value}};
    return CALL4("C_CreateObject", session, template, 5, &key);
}

/* Changes the id of an object. */
static ulong_t set_id(ulong_t class, const char *id, const char *new)
{
    ulong_t object, rv = find_one(session, class, id, strlen(id), &object);
    struct attribute template = {ID, (void *)new, strlen(new)};
    return rv ? rv : CALL4("C_SetAttributeValue", session, object, &template, 1);
}

/* Every object as CLASS:ID, then the result. An object that another process destroyed meanwhile is left out. */
static ulong_t list(void)
{
    static ulong_t found[8192];
    ulong_t count, rv = find(session, 0, 0, found, 8192, &count);
    for (ulong_t i = 0; rv == OK && i < count; i++) {
        ulong_t class = 0;
        char id[64];
        struct attribute wanted[] = {{CLASS, &class, sizeof class}, {ID, id, sizeof id}};
        ulong_t got = CALL4("C_GetAttributeValue", session, found[i], wanted, 2);
        if (got == 0x82)
            continue;
        if (got)
            return got;
        printf("%lu:%.*s ", class, (int)wanted[1].length, id);
    }
    return rv;
}

static ulong_t random_numbers(void)
{
    byte_t bytes[32];
    ulong_t rv = CALL3("C_GenerateRandom", session, bytes, sizeof bytes);
    for (size_t i = 0; rv == OK && i < sizeof bytes; i++)
        printf("%02x", bytes[i]);
    return rv;
}

/* A child that does nothing; its process id. */
static ulong_t fork_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    printf("%d", (int)child);
    return child > 0 ? OK : 1;
}

/* The slots with a token in them. */
static ulong_t slots(void)
{
    ulong_t count = 0, rv = CALL3("C_GetSlotList", 1, 0, &count);
    printf("%lu", count);
    return rv;
}

/* The label of the token in the first slot. */
static ulong_t label(void)
{
    /* It begins a CK_TOKEN_INFO, which has some 200 bytes. */
    char info[512] = {0};
    ulong_t rv = CALL2("C_GetTokenInfo", 0, info);
    printf("%.32s", info);
    return rv;
}

/* Why the session's last failure was not the host's fault. */
static ulong_t device_error(void)
{
    struct { ulong_t slot, state, flags, error; } info = {0};
    ulong_t rv = CALL2("C_GetSessionInfo", session, &info);
    printf("%#lx", info.error);
    return rv;
}

/* Whole lives, one after the other. */
static ulong_t lives(const char *count, const char *pin)
{
    ulong_t rv = OK;
    for (int i = atoi(count); rv == OK && i > 0; i--)
        if ((rv = initialize(0)) == OK && (rv = open_session(RW_SESSION, &session)) == OK &&
            (rv = *pin ? CALL4("C_Login", session, USER, pin, strlen(pin)) : OK) == OK &&
            (rv = use("p256", "1")) == OK)
            rv = CALL1("C_Finalize", 0);
    return rv;
}

/* What a host does to itself; an errno. */
static ulong_t enter(const char *root)
{
    return chroot(root) || chdir("/") ? errno : 0;
}

static ulong_t become(const char *name)
{
    int user = atoi(name);
    return setgroups(0, 0) || setresgid(user, user, user) || setresuid(user, user, user) ? errno : 0;
}

/* Has the stack grow as far as it may be needed: growing takes address space, and where there is none left no
 * library can go on. */
static void grow_stack(void)
{
    volatile char deep[1 << 20];
    for (size_t i = 0; i < sizeof deep; i += 4096)
        deep[sizeof deep - 1 - i] = 0;
}

/* Of address space: so many KiB more than there is. */
static ulong_t limit(const char *what, const char *value)
{
    int resource = strcmp(what, "memlock") == 0 ? RLIMIT_MEMLOCK : RLIMIT_AS;
    struct rlimit new;
    ulong_t pages = 0;
    getrlimit(resource, &new);
    new.rlim_cur = strtoul(value, 0, 10);
    if (resource == RLIMIT_AS) {
        grow_stack();
        FILE *file = fopen("/proc/self/statm", "r");
        if (!file || fscanf(file, "%lu", &pages) != 1)
            return 1;
        fclose(file);
        new.rlim_cur = strcmp(value, "none") ? new.rlim_cur * 1024 + pages * getpagesize() : new.rlim_max;
    }
    return setrlimit(resource, &new) ? errno : 0;
}

static ulong_t pin(const char *function, ulong_t first, const char *pin)
{
    return CALL4(function, session, first, pin, strlen(pin));
}

static ulong_t obey(char **word)
{
    const char *what = word[0], *one = word[1] ? word[1] : "", *two = word[2] ? word[2] : "";
    const char *three = word[3] ? word[3] : "";
    if (!strcmp(what, "initialise"))
        return initialize(strcmp(one, "no-threads") ? 0 : CANT_CREATE_OS_THREADS);
    if (!strcmp(what, "finalise"))
        return CALL1("C_Finalize", 0);
    if (!strcmp(what, "init-token"))
        return CALL4("C_InitToken", 0, one, strlen(one), "test                            ");
    if (!strcmp(what, "open"))
        return open_session(strcmp(one, "reading") ? RW_SESSION : 0, &session);
    if (!strcmp(what, "close"))
        return CALL1("C_CloseSession", session);
    if (!strcmp(what, "login"))
        return pin("C_Login", USER, one);
    if (!strcmp(what, "login-so"))
        return pin("C_Login", USER_SO, one);
    if (!strcmp(what, "logout"))
        return CALL1("C_Logout", session);
    if (!strcmp(what, "init-pin"))
        return CALL3("C_InitPIN", session, one, strlen(one));
    if (!strcmp(what, "set-pin"))
        return CALL5("C_SetPIN", session, one, strlen(one), two, strlen(two));
    if (!strcmp(what, "generate"))
        return generate(one, two);
    if (!strcmp(what, "use"))
        return use(one, two);
    if (!strcmp(what, "decrypt"))
        return decrypt(one);
    if (!strcmp(what, "destroy"))
        return destroy(strtoul(one, 0, 10), two);
    if (!strcmp(what, "create"))
        return create(one);
    if (!strcmp(what, "set-id"))
        return set_id(strtoul(one, 0, 10), two, three);
    if (!strcmp(what, "list"))
        return list();
    if (!strcmp(what, "random"))
        return random_numbers();
    if (!strcmp(what, "fork"))
        return fork_child();
    if (!strcmp(what, "slots"))
        return slots();
    if (!strcmp(what, "label"))
        return label();
    if (!strcmp(what, "device-error"))
        return device_error();
    if (!strcmp(what, "lives"))
        return lives(one, two);
    if (!strcmp(what, "chroot"))
        return enter(one);
    if (!strcmp(what, "become"))
        return become(one);
    if (!strcmp(what, "limit"))
        return limit(one, two);
    fprintf(stderr, "no command %s\n", what);
    exit(2);
}

int main(int argc, char **argv)
{
    static char line[512], answer[1 << 16];
    setvbuf(stdout, answer, _IOFBF, sizeof answer);
    if (argc != 2)
        return 2;
    load(argv[1]);
    for (;;) {
        size_t length = 0;
        while (length < sizeof line - 1 && read(0, line + length, 1) == 1 && line[length] != '\n')
            length++;
        if (length == 0)
            return 0;
        line[length] = 0;
        char *word[4] = {0};
        size_t words = 0;
        for (char *rest = line; words < 4 && (word[words] = strsep(&rest, " ")); words++)
            ;
        ulong_t rv = obey(word);
        explicit_bzero(line, sizeof line);
        printf(" %lx\n", rv);
        fflush(stdout);
    }
}
