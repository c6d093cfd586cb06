/* A host that calls as OpenSSL's pkcs11-provider does: how it loads the module and asks for its interface, what it
 * reads of each object and in which order, that it copies keys into sessions as a cache, asks for the state of
 * each signature under way, initialises again after a fork, and unloads the module when the process ends.
 * Usage: provider MODULE PIN KIND, with KIND rsa or ec; with COPYABLE in the environment it makes a private key that
 * may be copied. Says "done COPIES", how often it copied it, or what went wrong. */
#define _GNU_SOURCE
#include "p11.h"
#include <sys/wait.h>
#include <unistd.h>

enum {
    PRIVATE = 2, LABEL = 3, OBJECT_CLASS_PROFILE = 9, SENSITIVE = 0x103,
    ENCRYPT_WITH = 0x104, DECRYPT_WITH = 0x105, WRAP_WITH = 0x106, UNWRAP_WITH = 0x107, SIGN_WITH = 0x108,
    VERIFY_WITH = 0x10a, DERIVE_WITH = 0x10c, MODULUS = 0x120, PUBLIC_EXPONENT = 0x122, PUBLIC_KEY_INFO = 0x129,
    VALUE_LEN = 0x161, EXTRACTABLE = 0x162, COPYABLE = 0x171, EC_POINT = 0x181, ALWAYS_AUTHENTICATE = 0x202,
    PROFILE_ID = 0x601, ALLOWED_MECHANISMS = 0x40000600,
    GENERIC_SECRET = 0x10, RSA_OAEP = 9, RSA_PSS_SHA256 = 0x43, SHA384_RSA_PKCS = 0x41,
    SHA256 = 0x250, MGF1_SHA256 = 2, ECDSA = 0x1041, ECDSA_SHA384 = 0x1045, ECDH1_DERIVE = 0x1050,
    TYPE_INVALID = 0x12, STATE_UNSAVEABLE = 0x180, SAVED_STATE_INVALID = 0x160, ALREADY_LOGGED_IN = 0x100,
    FINAL_TRY = 0x20000, LOCKED = 0x40000, TO_BE_CHANGED = 0x80000, LOGIN_REQUIRED = 4, PRESENT = 1,
};
#define NOTHING (~0UL)

struct version { byte_t major, minor; };
struct info { struct version cryptoki; char maker[32]; ulong_t flags; char description[32]; struct version own; };
struct slot_info { char description[64], maker[32]; ulong_t flags; struct version hardware, firmware; };
struct token_info { char label[32], maker[32], model[16], serial[16]; ulong_t flags, counts[10]; char more[20]; };
struct session_info { ulong_t slot, state, flags, error; };

/* Two attributes' worth of what the provider keeps of an object. */
struct object {
    ulong_t handle, class, type, cached;
    byte_t copyable, token, id[64], label[64], params[64], point[256], modulus[1024];
    ulong_t id_length, label_length, params_length, point_length, modulus_length;
};

static const char *pin, *kind;
static void *library;
static struct info info;
static struct token_info token;
static ulong_t login_session, pool[2], key_copies;
static struct object private, public;

static void must(int right, const char *what, ulong_t rv)
{
    if (!right) {
        dprintf(1, "%s in %d: %#lx\n", what, (int)getpid(), rv);
        _exit(1);
    }
}

#define OK(name, call) do { ulong_t rv_ = (call); must(rv_ == OK, name, rv_); } while (0)

static void get_interface(void)
{
    struct { const char *name; void **list; ulong_t flags; } *interface = 0;
    struct version unknown = {3, 1}, wanted = {3, 0};
    must(CALL4("C_GetInterface", "PKCS 11", &unknown, &interface, 0) == 7, "an interface that is not there", 0);
    OK("C_GetInterface", CALL4("C_GetInterface", "PKCS 11", &wanted, &interface, 0));
    OK("C_GetInterface", CALL4("C_GetInterface", 0, 0, &interface, 0));
    must(((struct version *)interface->list)->major == 3, "the interface's version", 0);
}

/* C_Initialize and what it looks at in every slot. */
static void begin(struct info *about)
{
    ulong_t slots[4], count = 0, session, profiles[5];
    struct slot_info slot;
    OK("C_Initialize", initialize(0));
    memset(about, 0, sizeof *about);
    OK("C_GetInfo", CALL1("C_GetInfo", about));
    OK("C_GetSlotList", CALL3("C_GetSlotList", 0, 0, &count));
    must(count == 1, "slots", count);
    OK("C_GetSlotList", CALL3("C_GetSlotList", 0, slots, &count));
    OK("C_GetSlotInfo", CALL2("C_GetSlotInfo", slots[0], &slot));
    must(slot.flags & PRESENT, "the token's presence", slot.flags);
    OK("C_GetTokenInfo", CALL2("C_GetTokenInfo", slots[0], &token));
    OK("C_OpenSession", open_session(0, &session));
    ulong_t class = OBJECT_CLASS_PROFILE;
    byte_t yes = 1;
    struct attribute template[] = {{TOKEN, &yes, 1}, {CLASS, &class, sizeof class}};
    OK("C_FindObjectsInit", CALL3("C_FindObjectsInit", session, template, 2));
    OK("C_FindObjects", CALL4("C_FindObjects", session, profiles, 5, &count));
    OK("C_FindObjectsFinal", CALL1("C_FindObjectsFinal", session));
    for (ulong_t i = 0; i < count; i++) {
        ulong_t profile = NOTHING;
        struct attribute wanted = {PROFILE_ID, &profile, sizeof profile};
        OK("a profile", CALL4("C_GetAttributeValue", session, profiles[i], &wanted, 1));
        must(profile != NOTHING, "a profile's number", profile);
    }
    OK("C_CloseSession", CALL1("C_CloseSession", session));
    OK("C_GetMechanismList", CALL3("C_GetMechanismList", slots[0], 0, &count));
    ulong_t *mechanisms = calloc(count, sizeof *mechanisms);
    OK("C_GetMechanismList", CALL3("C_GetMechanismList", slots[0], mechanisms, &count));
    free(mechanisms);
}

static void log_in(void)
{
    must(!(token.flags & (FINAL_TRY | LOCKED | TO_BE_CHANGED)), "flags that keep it from logging in", token.flags);
    OK("C_OpenSession", open_session(0, &login_session));
    if (token.flags & LOGIN_REQUIRED) {
        ulong_t rv = CALL4("C_Login", login_session, USER, pin, strlen(pin));
        must(rv == OK || rv == ALREADY_LOGGED_IN, "C_Login", rv);
    }
}

/* A session of the pool, which it asks about each time before it uses it again. */
static ulong_t session_for(ulong_t flags)
{
    ulong_t *session = &pool[flags != 0];
    struct session_info about = {0};
    if (*session && CALL2("C_GetSessionInfo", *session, &about) == OK && about.flags == (SERIAL_SESSION | flags))
        return *session;
    OK("C_OpenSession", open_session(flags, session));
    return *session;
}

/* Reads attributes in one call, and where one is missing each by itself. */
static void fetch(ulong_t session, ulong_t object, struct attribute *wanted, int count, int required)
{
    ulong_t rv = CALL4("C_GetAttributeValue", session, object, wanted, count);
    must(rv == OK || rv == TYPE_INVALID, "C_GetAttributeValue", rv);
    for (int i = 0; i < count; i++) {
        struct attribute one = {wanted[i].type, 0, 0};
        rv = CALL4("C_GetAttributeValue", session, object, &one, 1);
        must(rv == OK || (rv == TYPE_INVALID && one.length == NOTHING && i >= required), "one attribute", wanted[i].type);
        must(one.length == wanted[i].length, "a length that differs", wanted[i].type);
    }
}

static void keep(struct attribute *from, byte_t *to, ulong_t *length)
{
    *length = from->length == NOTHING ? 0 : from->length;
    memcpy(to, from->value, *length);
}

static void from_handle(ulong_t session, ulong_t handle, struct object *object)
{
    static byte_t buffer[8][1024];
    ulong_t set = NOTHING;
    memset(object, 0, sizeof *object);
    object->handle = handle;
    object->type = NOTHING;
    struct attribute base[] = {
        {CLASS, &object->class, sizeof object->class}, {KEY_TYPE, &object->type, sizeof object->type},
        {COPYABLE, &object->copyable, 1}, {TOKEN, &object->token, 1}, {PARAMETER_SET, &set, sizeof set}};
    fetch(session, handle, base, 5, 4);
    if (object->class == SECRET_KEY)
        return;
    int rsa = object->type == 0;
    struct attribute more[] = {
        {rsa ? MODULUS : EC_PARAMS, buffer[0], 1024}, {ID, buffer[1], 1024}, {LABEL, buffer[2], 1024},
        {PUBLIC_KEY_INFO, buffer[3], 1024},
        {rsa ? PUBLIC_EXPONENT : EC_POINT, buffer[4], 1024}, {ALWAYS_AUTHENTICATE, buffer[5], 1024}};
    fetch(session, handle, more, object->class == PRIVATE_KEY ? 6 : 5, rsa || object->class == PUBLIC_KEY ? 5 : 4);
    keep(&more[0], rsa ? object->modulus : object->params, rsa ? &object->modulus_length : &object->params_length);
    keep(&more[1], object->id, &object->id_length);
    keep(&more[2], object->label, &object->label_length);
    if (!rsa)
        keep(&more[4], object->point, &object->point_length);
    must(more[3].length != NOTHING && more[3].length > 32, "CKA_PUBLIC_KEY_INFO", more[3].length);
    struct attribute allowed = {ALLOWED_MECHANISMS, buffer[6], 1024};
    ulong_t rv = CALL4("C_GetAttributeValue", session, handle, &allowed, 1);
    must(rv == OK || rv == TYPE_INVALID, "CKA_ALLOWED_MECHANISMS", rv);
}

/* The one object of a class with this id and, if there is one, label. */
static void find_object(ulong_t session, ulong_t class, struct object *named, struct object *object)
{
    ulong_t found[64], count;
    struct attribute template[] = {{CLASS, &class, sizeof class}, {ID, named->id, named->id_length},
                                   {LABEL, named->label, named->label_length}};
    OK("C_FindObjects", find(session, template, named->label_length ? 3 : 2, found, 64, &count));
    must(count == 1, "objects found", count);
    from_handle(session, found[0], object);
}

static ulong_t handle_of(struct object *object)
{
    return object->cached ? object->cached : object->handle;
}

static void forget(struct object *object)
{
    if (object->cached)
        OK("C_DestroyObject", CALL2("C_DestroyObject", login_session, object->cached));
    object->cached = 0;
}

/* Its cache: a copy in the session that is logged in, without the names of the key. What cannot be copied is not
 * tried again. */
static void cache(struct object *object)
{
    byte_t no = 0;
    struct attribute template[] = {{TOKEN, &no, 1}, {ID, "", 0}, {LABEL, "a copy", 6}};
    if (!object->token || !object->copyable)
        return;
    forget(object);
    OK("C_CopyObject", CALL5("C_CopyObject", login_session, object->handle, template, 3, &object->cached));
    key_copies += object->class == PRIVATE_KEY;
}

static void generate(void)
{
    static const byte_t curve[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, exponent[] = {1, 0, 1};
    int rsa = strcmp(kind, "rsa") == 0;
    byte_t yes = 1;
    ulong_t bits = 2048, pair[2];
    struct mechanism mechanism = {rsa ? RSA_KEY_PAIR_GEN : EC_KEY_PAIR_GEN, 0, 0};
    struct attribute first[] = {
        {ID, (void *)kind, strlen(kind)}, {LABEL, "a key", 5}, {TOKEN, &yes, 1}, {VERIFY_WITH, &yes, 1},
        {WRAP_WITH, &yes, 1}, {rsa ? ENCRYPT_WITH : DERIVE_WITH, &yes, 1},
        {rsa ? MODULUS_BITS : EC_PARAMS, rsa ? (void *)&bits : (void *)curve, rsa ? sizeof bits : sizeof curve},
        {PUBLIC_EXPONENT, (void *)exponent, 3}};
    struct attribute second[] = {
        {ID, (void *)kind, strlen(kind)}, {LABEL, "a key", 5}, {TOKEN, &yes, 1}, {PRIVATE, &yes, 1},
        {SENSITIVE, &yes, 1}, {SIGN_WITH, &yes, 1}, {UNWRAP_WITH, &yes, 1},
        {rsa ? DECRYPT_WITH : DERIVE_WITH, &yes, 1}, {COPYABLE, &yes, 1}};
    ulong_t session = session_for(RW_SESSION);
    OK("C_GenerateKeyPair", call("C_GenerateKeyPair", session, P(&mechanism), P(first), rsa ? 8 : 7, P(second),
                                 getenv("COPYABLE") ? 9 : 8, P(&pair[0]), P(&pair[1])));
    from_handle(session, pair[0], &public);
    from_handle(session, pair[1], &private);
}

/* A digest and signature in parts, whose state it asks for in the middle, and the whole verified at once. */
static void sign_in_parts(ulong_t type, void *parameter, ulong_t parameter_length)
{
    struct mechanism mechanism = {type, parameter, parameter_length};
    byte_t signature[1024];
    ulong_t length = sizeof signature, state = 0, session = session_for(0);
    OK("C_SignInit", CALL3("C_SignInit", session, &mechanism, handle_of(&private)));
    OK("C_SignUpdate", CALL3("C_SignUpdate", session, "the f", 5));
    ulong_t rv = CALL3("C_GetOperationState", session, 0, &state);
    must(rv == STATE_UNSAVEABLE || rv == OK, "C_GetOperationState", rv);
    OK("C_SignUpdate", CALL3("C_SignUpdate", session, "irst", 4));
    OK("C_SignFinal", CALL3("C_SignFinal", session, signature, &length));
    OK("C_VerifyInit", CALL3("C_VerifyInit", session, &mechanism, handle_of(&public)));
    OK("C_Verify", CALL5("C_Verify", session, "the first", 9, signature, length));
}

static void sign_at_once(ulong_t type)
{
    struct mechanism mechanism = {type, 0, 0};
    byte_t digest[32] = "a digest of thirty-two bytes...", signature[1024];
    ulong_t length = sizeof signature, session = session_for(0);
    OK("C_Sign", sign(session, handle_of(&private), type, digest, sizeof digest, signature, &length));
    OK("C_VerifyInit", CALL3("C_VerifyInit", session, &mechanism, handle_of(&public)));
    OK("C_Verify", CALL5("C_Verify", session, digest, sizeof digest, signature, length));
}

static void decrypt(ulong_t type)
{
    struct { ulong_t hash, mgf, source; void *data; ulong_t length; } oaep = {SHA256, MGF1_SHA256, 1, 0, 0};
    struct mechanism mechanism = {type, type == RSA_OAEP ? &oaep : 0, type == RSA_OAEP ? sizeof oaep : 0};
    byte_t encrypted[1024], data[1024];
    ulong_t length = sizeof encrypted, back = sizeof data, session = session_for(0);
    OK("C_EncryptInit", CALL3("C_EncryptInit", session, &mechanism, handle_of(&public)));
    OK("C_Encrypt", CALL5("C_Encrypt", session, "secret", 6, encrypted, &length));
    OK("C_DecryptInit", CALL3("C_DecryptInit", session, &mechanism, handle_of(&private)));
    OK("C_Decrypt", CALL5("C_Decrypt", session, encrypted, length, data, &back));
    must(back == 6 && memcmp(data, "secret", 6) == 0, "what was decrypted", back);
}

/* With its own public key, as with a peer's; the point without the OCTET STRING around it. */
static void derive(void)
{
    struct { ulong_t kdf, shared_length; void *shared; ulong_t length; void *point; } parameter = {
        1, 0, 0, public.point_length - 2, public.point + 2};
    struct mechanism mechanism = {ECDH1_DERIVE, &parameter, sizeof parameter};
    ulong_t class = SECRET_KEY, type = GENERIC_SECRET, length = 32, derived, session = session_for(0);
    byte_t yes = 1, no = 0, secret[32], zero[32] = {0};
    struct object object;
    struct attribute template[] = {
        {CLASS, &class, sizeof class}, {KEY_TYPE, &type, sizeof type}, {SENSITIVE, &no, 1}, {EXTRACTABLE, &yes, 1},
        {VALUE_LEN, &length, sizeof length}, {TOKEN, &no, 1}};
    OK("C_DeriveKey", call("C_DeriveKey", session, P(&mechanism), handle_of(&private), P(template), 6, P(&derived), 0, 0));
    from_handle(session, derived, &object);
    must(object.class == SECRET_KEY && object.type == GENERIC_SECRET && !object.token, "the derived key", 0);
    struct attribute about[] = {{SENSITIVE, &yes, 1}, {EXTRACTABLE, &no, 1}, {VALUE_LEN, &length, sizeof length}};
    fetch(session, derived, about, 3, 3);
    struct attribute value = {VALUE, secret, sizeof secret};
    OK("CKA_VALUE", CALL4("C_GetAttributeValue", session, derived, &value, 1));
    must(value.length == 32 && memcmp(secret, zero, 32) != 0, "the secret", value.length);
    OK("C_DestroyObject", CALL2("C_DestroyObject", session, derived));
}

static void use(void)
{
    struct { ulong_t hash, mgf, salt; } pss = {SHA256, MGF1_SHA256, 32};
    byte_t random[16];
    OK("C_GenerateRandom", CALL3("C_GenerateRandom", session_for(0), random, sizeof random));
    cache(&private);
    cache(&public);
    if (private.type == 0) {
        sign_in_parts(SHA256_RSA_PKCS, 0, 0);
        sign_in_parts(SHA384_RSA_PKCS, 0, 0);
        sign_in_parts(RSA_PSS_SHA256, &pss, sizeof pss);
        sign_at_once(RSA_PKCS);
        decrypt(RSA_PKCS);
        decrypt(RSA_OAEP);
    } else {
        sign_in_parts(ECDSA_SHA256, 0, 0);
        sign_in_parts(ECDSA_SHA384, 0, 0);
        sign_at_once(ECDSA);
        derive();
    }
    forget(&public);
}

/* All that it says of itself; what lies between the members of the structure is nobody's. */
static int is_same(const struct info *a, const struct info *b)
{
    return memcmp(&a->cryptoki, &b->cryptoki, sizeof a->cryptoki) == 0 && memcmp(a->maker, b->maker, 32) == 0 &&
           a->flags == b->flags && memcmp(a->description, b->description, 32) == 0 &&
           memcmp(&a->own, &b->own, sizeof a->own) == 0;
}

/* After a fork: C_Finalize, whose answer it does not look at, and everything anew; the module must be the one it
 * was, byte by byte, and each key is looked for by what it was called. */
static void begin_again(void)
{
    struct info now;
    struct token_info before = token;
    struct object was = private;
    CALL1("C_Finalize", 0);
    memset(pool, 0, sizeof pool);
    begin(&now);
    must(is_same(&now, &info), "C_GetInfo after a fork", 0);
    must(memcmp(before.serial, token.serial, 16) == 0 && memcmp(before.label, token.label, 32) == 0, "the token", 0);
    log_in();
    find_object(session_for(0), PRIVATE_KEY, &was, &private);
    find_object(session_for(0), PUBLIC_KEY, &was, &public);
    must(private.type == was.type && private.modulus_length == was.modulus_length &&
             memcmp(private.modulus, was.modulus, sizeof was.modulus) == 0, "the key", 0);
}

/* OpenSSL's own cleaning up, when the process ends: long after the threads' own variables. */
static void clean_up(void)
{
    forget(&private);
    OK("C_CloseSession", CALL1("C_CloseSession", login_session));
    OK("C_Finalize", CALL1("C_Finalize", 0));
    must(dlclose(library) == 0, "dlclose", 0);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    pin = argv[2];
    kind = argv[3];
    alarm(100);
    atexit(clean_up);
    library = load_with(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    get_interface();
    begin(&info);
    log_in();
    generate();
    use();
    for (int i = 0; i < 4; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            begin_again();
            use();
            /* Half of them clean up, half just end. */
            if (i % 2)
                _exit(0);
            exit(0);
        }
        use();
        must(waitpid(child, &status, 0) == child && status == 0, "a child's end", status);
    }
    dprintf(1, "done %lu\n", key_copies);
    return 0;
}
