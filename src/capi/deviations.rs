//! Where a function does something that the specification leaves open, or does less than it allows.

/// Function and remark, for the documents.
pub const DEVIATIONS: &[(&str, &str)] = &[
    (
        "C_Initialize",
        "`pReserved` must be NULL; the application's own mutexes are not used (`CKR_CANT_LOCK` without `CKF_OS_LOCKING_OK`).",
    ),
    ("C_InitToken", "Gives the token a new serial number: what was sealed for the old token is for no other."),
    (
        "C_OpenSession",
        "A session may be read-write on a token that cannot be written: its changes fail, not its opening.",
    ),
    (
        "C_WrapKey",
        "A sensitive key is `CKR_KEY_NOT_WRAPPABLE` by a secret key that may decrypt as well (`CKA_DECRYPT`, which is true by default), and by mechanisms that encrypt data, too: either would give it away. RSA without AES wraps no private key; nothing wraps a key for one-time passwords, whose counter would stay behind.",
    ),
    (
        "C_UnwrapKey",
        "What a secret key without `CKA_DECRYPT` unwraps is sensitive: `CKA_SENSITIVE` false is `CKR_TEMPLATE_INCONSISTENT`. A key with `CKA_ALWAYS_AUTHENTICATE` signs and decrypts, but neither unwraps nor derives (`CKR_USER_NOT_LOGGED_IN`): `CKU_CONTEXT_SPECIFIC` has no such operation to log in to. `CKM_RSA_PKCS` never says that the padding is wrong: what is not padded right becomes a key that nobody knows, always the same, of a length that the template allows.",
    ),
    ("C_DecapsulateKey", "`CKM_RSA_PKCS` as with `C_UnwrapKey`."),
    ("C_SeedRandom", "Always `CKR_RANDOM_SEED_NOT_SUPPORTED`: the generator seeds itself."),
    (
        "C_GenerateKeyPair",
        "One KMS `GenerateDataKeyPair`. Usages that no template names are true where the type of key allows them: `CKA_DERIVE` too, whose default in the specification is false, because Java names none. A key of a session that is not `CKA_PRIVATE` needs no login, unless `generate = \"without-plaintext\"`. RSA keys have 2048, 3072 or 4096 bits and the exponent 65537: KMS makes no others. ML-DSA, SLH-DSA, X25519, X448, Ed448 and DH key pairs, which KMS does not make, are made here: one on the token costs one KMS `Encrypt`, one of a session none; with `generate = \"without-plaintext\"` they are `CKR_MECHANISM_INVALID`.",
    ),
    (
        "C_SignInit",
        "ML-DSA and SLH-DSA signatures are hedged, unless `CKH_DETERMINISTIC_REQUIRED` asks for others. `CKM_HASH_ML_DSA` and `CKM_HASH_SLH_DSA` take every digest mechanism of the module but SHA-1. Ed448 without a parameter has no context. Signing needs up to 120 KiB of the thread's stack with ML-DSA (180 KiB if not hedged), up to 240 KiB with SLH-DSA. What the specification signs in one part alone may come in several.",
    ),
    (
        "C_Sign",
        "`CKM_HOTP` takes no data and gives a `CK_OTP_SIGNATURE_INFO` with `CK_OTP_VALUE` and `CK_OTP_COUNTER`. The key's own counter is moved in the store before the password leaves: of all threads, processes and hosts one gets it, a killed process loses it, and a store that is read-only gives none. A session need not be read-write for it. With a `CK_OTP_COUNTER` the password is of that counter, as often as it is asked for, and the key's own stays; `CKA_OTP_COUNTER_REQUIREMENT` = `CK_OTP_PARAM_IGNORED` in a key's template forbids that. The hash is SHA-1, as RFC 4226 has it, whatever the length of the key (kryoptic takes SHA-256 and SHA-512 for keys of 32 and 64 bytes). After the last counter, 2^64-2, the answer is `CKR_KEY_EXHAUSTED`.",
    ),
    (
        "C_Verify",
        "`CKM_HOTP` with a `CK_OTP_COUNTER` checks the password of that counter and remembers nothing. Without one it is the key's own counter and the four after it that count, where `CKA_OTP_COUNTER_REQUIREMENT` lets it: a good password moves the counter behind itself in the store before the answer, and is good once. Wrong ones move nothing, and are not counted: how many may be tried is for the application to limit (RFC 4226, section 7.3).",
    ),
    (
        "C_GenerateKey",
        "One KMS `GenerateDataKey`, for keys of sessions as well, which need no login as with `C_GenerateKeyPair`; at most 1024 bytes. AES keys have a `CKA_CHECK_VALUE`, unless KMS makes them without plaintext or the template gives an empty one. Other secret keys, however they come to be, have it only if it is asked for: it would help to guess a short secret. ChaCha20 and HOTP keys need no `CKA_VALUE_LEN`; HOTP keys then have 20 bytes. `CKM_PKCS5_PBKD2` computes here (on the token, one KMS `Encrypt`) and takes `CK_PKCS5_PBKD2_PARAMS2` or the older `CK_PKCS5_PBKD2_PARAMS`; iterations times blocks of output beyond 2^24, and password or salt over 65535 bytes, are `CKR_MECHANISM_PARAM_INVALID`.",
    ),
    (
        "C_CreateObject",
        "A private or secret key on the token costs one KMS `Encrypt`, or `GenerateDataKey` for an envelope if it is longer than 4096 bytes. An attribute of another class is `CKR_TEMPLATE_INCONSISTENT`.",
    ),
    (
        "C_CopyObject",
        "A copy of a sealed key costs one KMS `ReEncrypt`. Private keys on the token are not copyable unless their template said so; keys for one-time passwords never are (`CKA_COPYABLE` = `CK_TRUE` is `CKR_ATTRIBUTE_VALUE_INVALID`), because a copy would give the same passwords once more.",
    ),
    (
        "C_SetAttributeValue",
        "What a session without a login sees of a key, or of what is trusted, it cannot change (`CKR_USER_NOT_LOGGED_IN`): the MAC of the record takes the token key. An attribute that the seal binds costs one KMS `ReEncrypt`. An attribute of another class is `CKR_ATTRIBUTE_TYPE_INVALID`.",
    ),
    (
        "C_GetAttributeValue",
        "The secret parts of a key that is extractable and not sensitive cost one KMS `Decrypt` while the key is cold; their lengths cost none. A key without `CKA_ALLOWED_MECHANISMS` answers with all mechanisms of its type.",
    ),
    (
        "C_FindObjectsInit",
        "Profile and mechanism objects are found only if the template names their class. No search matches the value of a key.",
    ),
    (
        "C_DigestKey",
        "Only for a key that is extractable and not sensitive, `CKR_KEY_INDIGESTIBLE` otherwise: the digest of a long HMAC key is as good as the key.",
    ),
    (
        "C_DeriveKey",
        "A generic secret of the session that ECDH makes is readable if the template names none of `CKA_SENSITIVE`, `CKA_EXTRACTABLE` and `CKA_WRAP_WITH_TRUSTED`: Java names none and reads it. Any other key of ECDH is then sensitive and not extractable. So it is with DH, whose groups are those of RFC 7919 and RFC 3526. Keys of the mechanisms of TLS and IKE are as protected as the base key, unless their template says otherwise; of a template that TLS makes all keys of a connection of, the secrets for MACs take what does not say their type or use. `CKM_TLS_KDF` takes no `CKM_TLS_PRF`, which stands on MD5.",
    ),
    ("C_GetOperationState", "SHA-1 and SHA-2 digests can be saved; anything else is `CKR_STATE_UNSAVEABLE`."),
    ("C_GetSessionValidationFlags", "Always 0: nothing here is validated."),
    (
        "C_EncryptInit",
        "`CKM_CHACHA20` takes a counter of 32 bits beside each nonce, one of 64 beside nonces of 64 and 192 bits. `CKM_CHACHA20_POLY1305` takes nonces of 96 and 192 bits, in messages as well; its `ulNonceLen` may be in bits, as specified, or in bytes, as in use.",
    ),
    (
        "C_MessageEncryptInit",
        "`CKM_AES_GCM`, `CKM_AES_CCM` and `CKM_CHACHA20_POLY1305`. `CKG_GENERATE_COUNTER` and `CKG_GENERATE_COUNTER_XOR` are for keys of a session that KMS did not make, whose copies count together; a sealed key answers `CKR_MECHANISM_PARAM_INVALID`.",
    ),
    ("C_GetFunctionStatus", "Always `CKR_FUNCTION_NOT_PARALLEL`, as the specification demands."),
    ("C_CancelFunction", "Always `CKR_FUNCTION_NOT_PARALLEL`, as the specification demands."),
    ("C_WaitForSlotEvent", "Tokens neither come nor go: it waits until `C_Finalize`, or answers `CKR_NO_EVENT`."),
    ("C_LoginUser", "The name is not looked at: a token has one user."),
];
