/* As much of PKCS#11 as the C hosts of the tests need. They find every function by its symbol, as a host
 * does that was written for version 2.40, and before they start threads: a child that is forked while
 * another thread is in dlsym might wait for its lock for ever, which would not be the module's doing. */
#ifndef TESTS_P11_H
#define TESTS_P11_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long ulong_t;
typedef unsigned char byte_t;

struct attribute { ulong_t type; void *value; ulong_t length; };
struct mechanism { ulong_t mechanism; void *parameter; ulong_t length; };
struct initialize_args { void *create, *destroy, *lock, *unlock; ulong_t flags; void *reserved; };

enum {
    OK = 0, BUFFER_TOO_SMALL = 0x150, NOT_INITIALIZED = 0x190,
    CANT_CREATE_OS_THREADS = 1, OS_LOCKING_OK = 2, RW_SESSION = 2, SERIAL_SESSION = 4,
    USER_SO = 0, USER = 1,
    CLASS = 0, TOKEN = 1, VALUE = 0x11, KEY_TYPE = 0x100, ID = 0x102, MODULUS_BITS = 0x121, EC_PARAMS = 0x180,
    PARAMETER_SET = 0x61d,
    PUBLIC_KEY = 2, PRIVATE_KEY = 3, SECRET_KEY = 4, AES = 0x1f,
    RSA_KEY_PAIR_GEN = 0, RSA_PKCS = 1, SHA256_RSA_PKCS = 0x40, EC_KEY_PAIR_GEN = 0x1040, ECDSA_SHA256 = 0x1044,
    EDWARDS_KEY_PAIR_GEN = 0x1055, EDDSA = 0x1057, ML_DSA_KEY_PAIR_GEN = 0x1c, ML_DSA = 0x1d,
};

typedef ulong_t (*function_t)(ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t, ulong_t);

static const char *const names[] = {
    "C_CloseSession", "C_CopyObject", "C_CreateObject", "C_Decrypt", "C_DecryptInit", "C_DeriveKey", "C_DestroyObject", "C_Encrypt",
    "C_EncryptInit", "C_Finalize", "C_FindObjects", "C_FindObjectsFinal", "C_FindObjectsInit", "C_GenerateKeyPair",
    "C_GenerateRandom", "C_GetAttributeValue", "C_GetFunctionList", "C_GetInfo", "C_GetInterface",
    "C_GetInterfaceList", "C_GetMechanismList", "C_GetOperationState", "C_GetSessionInfo", "C_GetSlotInfo",
    "C_GetSlotList", "C_GetTokenInfo", "C_InitPIN", "C_InitToken", "C_Initialize", "C_Login", "C_Logout",
    "C_OpenSession", "C_SetAttributeValue", "C_SetPIN", "C_Sign", "C_SignFinal", "C_SignInit", "C_SignUpdate", "C_Verify", "C_VerifyInit",
    "C_WaitForSlotEvent",
};
enum { NAMES = sizeof names / sizeof *names, COPIES = 2 };

/* Of each copy of the module, and which of them this thread calls. */
static function_t functions[COPIES][NAMES];
static __thread int copy __attribute__((unused));

static function_t function(const char *name)
{
    for (size_t i = 0; i < NAMES; i++)
        if (strcmp(names[i], name) == 0)
            return functions[copy][i];
    fprintf(stderr, "%s is not in the list\n", name);
    abort();
}

/* Calls a function. One that takes fewer arguments does not look at the others, in the C ABIs of Linux. */
static ulong_t call(const char *name, ulong_t a, ulong_t b, ulong_t c, ulong_t d, ulong_t e, ulong_t f, ulong_t g,
                    ulong_t h)
{
    return function(name)(a, b, c, d, e, f, g, h);
}

#define P(pointer) ((ulong_t)(pointer))
#define CALL1(name, a) call(name, (ulong_t)(a), 0, 0, 0, 0, 0, 0, 0)
#define CALL2(name, a, b) call(name, (ulong_t)(a), (ulong_t)(b), 0, 0, 0, 0, 0, 0)
#define CALL3(name, a, b, c) call(name, (ulong_t)(a), (ulong_t)(b), (ulong_t)(c), 0, 0, 0, 0, 0)
#define CALL4(name, a, b, c, d) call(name, (ulong_t)(a), (ulong_t)(b), (ulong_t)(c), (ulong_t)(d), 0, 0, 0, 0)
#define CALL5(name, a, b, c, d, e) \
    call(name, (ulong_t)(a), (ulong_t)(b), (ulong_t)(c), (ulong_t)(d), (ulong_t)(e), 0, 0, 0)

static inline void *load_with(const char *path, int flags)
{
    void *library = dlopen(path, flags);
    for (size_t i = 0; library && i < NAMES; i++)
        if (!(*(void **)&functions[copy][i] = dlsym(library, names[i])))
            break;
    if (!library || !functions[copy][NAMES - 1]) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    return library;
}

/* With DEEPBIND in the environment the library looks for symbols in its own libraries first, as
 * pkcs11-provider loads it: it then does not see what is preloaded, such as another malloc. */
static inline void *load(const char *path)
{
    return load_with(path, RTLD_NOW | RTLD_LOCAL | (getenv("DEEPBIND") ? RTLD_DEEPBIND : 0));
}

static inline ulong_t initialize(ulong_t more_flags)
{
    struct initialize_args arguments = {0};
    arguments.flags = OS_LOCKING_OK | more_flags;
    return CALL1("C_Initialize", &arguments);
}

static inline ulong_t open_session(ulong_t flags, ulong_t *session)
{
    return CALL5("C_OpenSession", 0, SERIAL_SESSION | flags, 0, 0, session);
}

/* Up to `most` handles of the objects that match; how many in `count`. */
static inline ulong_t find(ulong_t session, struct attribute *template, ulong_t attributes, ulong_t *found, ulong_t most,
                    ulong_t *count)
{
    ulong_t rv = CALL3("C_FindObjectsInit", session, template, attributes);
    *count = 0;
    while (rv == OK && *count < most) {
        ulong_t page = 0;
        rv = CALL4("C_FindObjects", session, found + *count, most - *count, &page);
        *count += page;
        if (page == 0)
            break;
    }
    if (rv == OK)
        rv = CALL1("C_FindObjectsFinal", session);
    return rv;
}

/* The object of a class with an id; a handle of 0 if there is none. */
static inline ulong_t find_one(ulong_t session, ulong_t class, const void *id, ulong_t id_length, ulong_t *object)
{
    struct attribute template[] = {{CLASS, &class, sizeof class}, {ID, (void *)id, id_length}};
    ulong_t count = 0;
    *object = 0;
    return find(session, template, 2, object, 1, &count);
}

static inline ulong_t sign(ulong_t session, ulong_t key, ulong_t type, const void *data, ulong_t length, byte_t *signature,
                    ulong_t *signature_length)
{
    struct mechanism mechanism = {type, 0, 0};
    ulong_t rv = CALL3("C_SignInit", session, &mechanism, key);
    return rv ? rv : CALL5("C_Sign", session, data, length, signature, signature_length);
}

#endif
