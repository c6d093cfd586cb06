/* A host that has company for the module: libraries of the same kind that are its own, or the module a second
 * time, under another name. The token asks for no PIN. What is found wrong is said, and "done".
 * Usage: company MODULE libraries DATABASE, or company MODULE copies SECOND-MODULE */
#define _GNU_SOURCE
#include "p11.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PUBLIC_KEY_INFO = 0x129, ROUNDS = 60, LIVES = 25 };

/* Ends the process where something is not as it must be. */
static void must(int right, const char *what, ulong_t rv)
{
    if (!right) {
        dprintf(1, "%s of copy %d in %d: %#lx\n", what, copy, (int)getpid(), rv);
        _exit(1);
    }
}

#define OK(name, call) do { ulong_t rv_ = (call); must(rv_ == OK, name, rv_); } while (0)

static ulong_t begin(void)
{
    ulong_t session;
    OK("C_Initialize", initialize(0));
    OK("C_OpenSession", open_session(RW_SESSION, &session));
    return session;
}

static void generate(ulong_t session, const char *id)
{
    static const byte_t p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    struct mechanism mechanism = {EC_KEY_PAIR_GEN, 0, 0};
    byte_t yes = 1;
    struct attribute public[] = {
        {TOKEN, &yes, 1}, {ID, (void *)id, strlen(id)}, {EC_PARAMS, (void *)p256, sizeof p256}};
    struct attribute private[] = {{TOKEN, &yes, 1}, {ID, (void *)id, strlen(id)}};
    ulong_t pair[2];
    OK("C_GenerateKeyPair",
       call("C_GenerateKeyPair", session, P(&mechanism), P(public), 3, P(private), 2, P(&pair[0]), P(&pair[1])));
}

static ulong_t found(ulong_t session, ulong_t class, const char *id)
{
    ulong_t object;
    OK("C_FindObjects", find_one(session, class, id, strlen(id), &object));
    must(object != 0, id, class);
    return object;
}

static void sign_with(ulong_t session, const char *id, byte_t signature[64])
{
    ulong_t length = 64;
    OK("C_Sign", sign(session, found(session, PRIVATE_KEY, id), ECDSA_SHA256, "data", 4, signature, &length));
    must(length == 64, "a signature's length", length);
}

static void verify(ulong_t session, const char *id, const byte_t *signature)
{
    struct mechanism mechanism = {ECDSA_SHA256, 0, 0};
    OK("C_VerifyInit", CALL3("C_VerifyInit", session, &mechanism, found(session, PUBLIC_KEY, id)));
    OK("C_Verify", CALL5("C_Verify", session, "data", 4, signature, 64));
}

static void destroy(ulong_t session, const char *id)
{
    OK("C_DestroyObject", CALL2("C_DestroyObject", session, found(session, PRIVATE_KEY, id)));
    OK("C_DestroyObject", CALL2("C_DestroyObject", session, found(session, PUBLIC_KEY, id)));
}

/* The host's own OpenSSL and SQLite, whose symbols everybody sees. */
static void *openssl, *sqlite;

#define FROM(library, result, name, ...) ((result(*)(__VA_ARGS__))dlsym(library, #name))

/* An ECDSA signature as OpenSSL takes it. */
static size_t to_der(const byte_t *raw, byte_t *der)
{
    size_t length = 2;
    for (int half = 0; half < 2; half++) {
        const byte_t *number = raw + 32 * half;
        size_t skip = 0;
        while (skip < 31 && number[skip] == 0)
            skip++;
        size_t pad = number[skip] >> 7;
        der[length++] = 2;
        der[length++] = 32 - skip + pad;
        if (pad)
            der[length++] = 0;
        memcpy(der + length, number + skip, 32 - skip);
        length += 32 - skip;
    }
    der[0] = 0x30;
    der[1] = length - 2;
    return length;
}

/* OpenSSL takes the token's public key and verifies what the token signed. */
static void verify_by_openssl(ulong_t session, const char *id, const byte_t *signature)
{
    byte_t info[256], der[80];
    const unsigned char *at = info;
    struct attribute wanted = {PUBLIC_KEY_INFO, info, sizeof info};
    OK("C_GetAttributeValue", CALL4("C_GetAttributeValue", session, found(session, PRIVATE_KEY, id), &wanted, 1));
    void *key = FROM(openssl, void *, d2i_PUBKEY, void *, const unsigned char **, long)(0, &at, wanted.length);
    void *context = FROM(openssl, void *, EVP_MD_CTX_new, void)();
    const void *sha256 = FROM(openssl, const void *, EVP_sha256, void)();
    must(key && context && sha256, "OpenSSL's objects", 0);
    must(FROM(openssl, int, EVP_DigestVerifyInit, void *, void *, const void *, void *, void *)(context, 0, sha256, 0,
                                                                                                 key) == 1,
         "EVP_DigestVerifyInit", 0);
    must(FROM(openssl, int, EVP_DigestVerify, void *, const void *, size_t, const void *, size_t)(
             context, der, to_der(signature, der), "data", 4) == 1,
         "EVP_DigestVerify", 0);
    FROM(openssl, void, EVP_MD_CTX_free, void *)(context);
    FROM(openssl, void, EVP_PKEY_free, void *)(key);
}

static void run_sql(void *database, const char *text)
{
    int rv = FROM(sqlite, int, sqlite3_exec, void *, const char *, void *, void *, void *)(database, text, 0, 0, 0);
    must(rv == 0, text, rv);
}

static void libraries(const char *module, const char *file)
{
    byte_t number[16], signature[64];
    void *database;
    openssl = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL);
    sqlite = dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_GLOBAL);
    must(openssl && sqlite, "the libraries of the host", 0);
    load(module);
    must(FROM(sqlite, int, sqlite3_open, const char *, void **)(file, &database) == 0, "sqlite3_open", 0);
    run_sql(database, "PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER)");
    for (int i = 0; i < 3; i++) {
        ulong_t session = begin();
        for (int j = 0; j < ROUNDS / 3; j++) {
            run_sql(database, "BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
            generate(session, "key");
            sign_with(session, "key", signature);
            run_sql(database, "COMMIT");
            verify(session, "key", signature);
            verify_by_openssl(session, "key", signature);
            must(FROM(openssl, int, RAND_bytes, void *, int)(number, sizeof number) == 1, "RAND_bytes", 0);
            destroy(session, "key");
        }
        OK("C_Finalize", CALL1("C_Finalize", 0));
        /* The host's own go on without the module. */
        run_sql(database, "INSERT INTO t VALUES (2)");
        must(FROM(openssl, int, RAND_bytes, void *, int)(number, sizeof number) == 1, "RAND_bytes", 0);
    }
    must(FROM(sqlite, int, sqlite3_close, void *)(database) == 0, "sqlite3_close", 0);
}

/* One copy's thread: it lives again and again, and leaves a key each time. */
static void *live(void *which)
{
    byte_t signature[64];
    char id[32];
    copy = which != 0;
    for (int i = 0; i < LIVES; i++) {
        ulong_t session = begin();
        for (int j = 0; j < 4; j++) {
            sprintf(id, "copy %d life %d key %d", copy, i, j);
            generate(session, id);
            sign_with(session, id, signature);
            verify(session, id, signature);
            if (j > 0)
                destroy(session, id);
        }
        OK("C_Finalize", CALL1("C_Finalize", 0));
    }
    return 0;
}

/* What each copy made is there for both. */
static void check_all(ulong_t session[2])
{
    char id[32];
    for (int i = 0; i < 2 * LIVES; i++) {
        sprintf(id, "copy %d life %d key 0", i % 2, i / 2);
        for (copy = 0; copy < 2; copy++)
            found(session[copy], PRIVATE_KEY, id);
    }
}

static void copies(const char *first, const char *second)
{
    byte_t signature[64];
    ulong_t session[2];
    pthread_t threads[2];
    void *library[2];
    for (copy = 0; copy < 2; copy++) {
        library[copy] = load(copy ? second : first);
        session[copy] = begin();
    }
    must(library[0] != library[1], "two copies that are one", 0);
    /* In turns: what one makes, the other uses. */
    for (int i = 0; i < ROUNDS; i++) {
        copy = i % 2;
        generate(session[copy], "key");
        copy = !copy;
        sign_with(session[copy], "key", signature);
        copy = !copy;
        verify(session[copy], "key", signature);
        copy = i % 4 / 2;
        destroy(session[copy], "key");
    }
    for (copy = 0; copy < 2; copy++)
        OK("C_Finalize", CALL1("C_Finalize", 0));
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], 0, live, i ? library : 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], 0);
    for (copy = 0; copy < 2; copy++)
        session[copy] = begin();
    check_all(session);
    for (int i = 0; i < 8; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            for (copy = 0; copy < 2; copy++) {
                must(CALL1("C_Finalize", 0) == NOT_INITIALIZED, "C_Finalize in a child", 0);
                session[copy] = begin();
                sign_with(session[copy], "copy 0 life 0 key 0", signature);
            }
            check_all(session);
            _exit(0);
        }
        copy = i % 2;
        sign_with(session[copy], "copy 1 life 0 key 0", signature);
        verify(session[copy], "copy 1 life 0 key 0", signature);
        must(waitpid(child, &status, 0) == child && status == 0, "a child", status);
    }
    for (copy = 0; copy < 2; copy++) {
        OK("C_Finalize", CALL1("C_Finalize", 0));
        dlclose(library[copy]);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    alarm(100);
    if (strcmp(argv[2], "copies") == 0)
        copies(argv[1], argv[3]);
    else
        libraries(argv[1], argv[3]);
    dprintf(1, "done\n");
    return 0;
}
