/*
 * datakey-pkcs11: what C callers of the module can know beyond PKCS#11.
 *
 * When a call fails for a reason that lies outside the call itself, CK_SESSION_INFO.ulDeviceError of the
 * session (C_GetSessionInfo) holds one of the numbers below; the log has the whole story. The numbers are
 * stable: none is ever given another meaning. New ones may be added, so treat an unknown number by its
 * group, number & DATAKEY_ERR_GROUP_MASK. 0 means that the return value says it all.
 *
 * The return value is CKR_DEVICE_ERROR unless the comment names another. "Call again" means that the same
 * call can succeed later without anybody doing anything.
 */
#ifndef DATAKEY_PKCS11_H
#define DATAKEY_PKCS11_H

/* The part of a number that says where the failure lies. */
#define DATAKEY_ERR_GROUP_MASK 0xF00UL

/* 0x1xx: KMS, its network and its credentials. */

/* KMS throttled the call and all its retries; ask for a higher request quota, or call again later.
 * (CKR_FUNCTION_FAILED) */
#define DATAKEY_ERR_KMS_THROTTLED 0x101UL

/* KMS did not answer before the deadline; check network and endpoint, or raise the timeouts. */
#define DATAKEY_ERR_KMS_TIMEOUT 0x102UL

/* KMS cannot be reached; check name resolution, route, proxy, TLS and endpoint_url. */
#define DATAKEY_ERR_KMS_UNREACHABLE 0x103UL

/* KMS denied access; the role needs the action on the KMS key, by key policy, IAM policy or grant. */
#define DATAKEY_ERR_KMS_ACCESS_DENIED 0x104UL

/* The KMS key does not exist in this account and Region; check kms_key_id and region. */
#define DATAKEY_ERR_KMS_KEY_NOT_FOUND 0x105UL

/* The KMS key is disabled; enable it to use the keys under it. */
#define DATAKEY_ERR_KMS_KEY_DISABLED 0x106UL

/* The KMS key's state forbids its use (pending deletion or import); cancel the deletion before the keys
 * under it are lost. */
#define DATAKEY_ERR_KMS_KEY_INVALID_STATE 0x107UL

/* The KMS key is temporarily unavailable; call again later. */
#define DATAKEY_ERR_KMS_KEY_UNAVAILABLE 0x108UL

/* The KMS key is not a symmetric encryption key; kms_key_id must name one. */
#define DATAKEY_ERR_KMS_INVALID_KEY_USAGE 0x109UL

/* KMS does not support the operation here (key spec not in this Region, or the KMS key is in a custom key
 * store). */
#define DATAKEY_ERR_KMS_UNSUPPORTED 0x10AUL

/* KMS refused a grant token; check grant_tokens. */
#define DATAKEY_ERR_KMS_INVALID_GRANT_TOKEN 0x10BUL

/* KMS failed internally; call again later. */
#define DATAKEY_ERR_KMS_INTERNAL 0x10CUL

/* KMS, or what answers in its place, sent an answer that makes no sense; check endpoint_url and proxy. */
#define DATAKEY_ERR_KMS_BAD_RESPONSE 0x10DUL

/* KMS rejected the request as invalid; check kms_key_id and encryption_context. */
#define DATAKEY_ERR_KMS_REJECTED 0x10EUL

/* KMS was not asked, because it did not answer the calls before; call again later (it is tried every few
 * seconds), and check network and endpoint. */
#define DATAKEY_ERR_KMS_NOT_TRIED 0x10FUL

/* No AWS credentials were found; set them in the environment, a profile, or a role of the host. */
#define DATAKEY_ERR_CREDENTIALS_MISSING 0x110UL

/* AWS rejected the credentials (expired, unknown, or the clock is wrong); renew them or set the clock. */
#define DATAKEY_ERR_CREDENTIALS_REJECTED 0x111UL

/* No AWS Region is set; set region in the configuration, or AWS_REGION. */
#define DATAKEY_ERR_REGION_MISSING 0x112UL

/* The KMS client cannot be set up; check the token's configuration. */
#define DATAKEY_ERR_KMS_SETUP 0x113UL

/* The Nitro Security Module gives no attestation document; run inside an enclave as a user who may open its
 * device, or take `attestation` out of the configuration. */
#define DATAKEY_ERR_ATTESTATION_UNAVAILABLE 0x114UL

/* The answer holds a key in plaintext that was to be encrypted for this enclave; what answers is not KMS, or
 * does not know of attestation: check endpoint_url and proxy. */
#define DATAKEY_ERR_ATTESTATION_BYPASSED 0x115UL

/* What was encrypted for this enclave does not open; it was altered, or is for another key than the attestation
 * document was asked for: check endpoint_url and the device. */
#define DATAKEY_ERR_ATTESTATION_ANSWER 0x116UL

/* 0x2xx: the seal: something that decides what a key is or may do is not what it was. */

/* The sealed key does not open under this object's encryption context: the blob or an attribute bound to
 * it was altered. */
#define DATAKEY_ERR_SEAL_BROKEN 0x201UL

/* The sealed key was made under another KMS key than kms_key_id. */
#define DATAKEY_ERR_SEAL_WRONG_KEY 0x202UL

/* The unwrapped private key does not belong to the stored public key. */
#define DATAKEY_ERR_SEAL_KEY_MISMATCH 0x203UL

/* What KMS unwrapped is not a private key of the object's kind. */
#define DATAKEY_ERR_SEAL_KEY_MALFORMED 0x204UL

/* The sealed key was altered or moved: it does not open under the token key. */
#define DATAKEY_ERR_SEAL_TOKEN_KEY 0x205UL

/* A stored record is damaged. */
#define DATAKEY_ERR_RECORD_CORRUPT 0x206UL

/* A name or another part of a stored record was altered: its MAC is missing or not the token's. */
#define DATAKEY_ERR_SEAL_RECORD 0x207UL

/* 0x3xx: the store. */

/* The store cannot be opened or read; check path, permissions and file system. */
#define DATAKEY_ERR_STORE_UNAVAILABLE 0x301UL

/* The store stayed locked by another process; call again. (CKR_FUNCTION_FAILED) */
#define DATAKEY_ERR_STORE_BUSY 0x302UL

/* The store is full; free space on its file system. (CKR_DEVICE_MEMORY) */
#define DATAKEY_ERR_STORE_FULL 0x303UL

/* The store is read-only. (CKR_TOKEN_WRITE_PROTECTED) */
#define DATAKEY_ERR_STORE_READ_ONLY 0x304UL

/* The store is damaged; restore it from a backup. */
#define DATAKEY_ERR_STORE_CORRUPT 0x305UL

/* The store was written by a newer version of this module; upgrade the module. */
#define DATAKEY_ERR_STORE_NEWER 0x306UL

/* Another process changed the record at the same time; call again. (CKR_FUNCTION_FAILED) */
#define DATAKEY_ERR_STORE_CONFLICT 0x307UL

/* The store belongs to another user, or everybody can write to it; see chown and chmod. */
#define DATAKEY_ERR_STORE_UNSAFE 0x308UL

/* The store's server cannot be reached or did not answer in time; check that it runs, its name, the network, proxy
   and TLS. */
#define DATAKEY_ERR_STORE_UNREACHABLE 0x309UL

/* The store's server denied access; check user, password or credentials, and what they are allowed. */
#define DATAKEY_ERR_STORE_DENIED 0x30AUL

/* The store's server throttled the call and all its retries; raise its capacity, or call again later.
   (CKR_FUNCTION_FAILED) */
#define DATAKEY_ERR_STORE_THROTTLED 0x30BUL

/* The client of the store cannot be set up; check the store's settings and its root certificates. */
#define DATAKEY_ERR_STORE_SETUP 0x30CUL

/* Whether a change was made is not known, for its answer was lost or the disk failed; look before you make it again.
   Every other error of the store promises that nothing was changed. */
#define DATAKEY_ERR_STORE_IN_DOUBT 0x30DUL

/* 0x4xx: the configuration. */

/* The configuration is not valid. (CKR_FUNCTION_FAILED) */
#define DATAKEY_ERR_CONFIG_INVALID 0x401UL

/* The configuration file can be written by others; remove group and world write permission.
 * (CKR_FUNCTION_FAILED) */
#define DATAKEY_ERR_CONFIG_UNSAFE 0x402UL

/* The configuration file cannot be read. (CKR_FUNCTION_FAILED) */
#define DATAKEY_ERR_CONFIG_UNREADABLE 0x403UL

/* 0x5xx: this process. */

/* This process was forked while the store was in use; fork again or start anew. */
#define DATAKEY_ERR_FORKED_WHILE_BUSY 0x501UL

/* A signature just made does not verify: the machine is faulty. */
#define DATAKEY_ERR_FAULT_DETECTED 0x502UL

/* The crypto library refused an operation it should have done. */
#define DATAKEY_ERR_CRYPTO_LIBRARY 0x503UL

/* A defect of this module; please report it. (CKR_GENERAL_ERROR) */
#define DATAKEY_ERR_PANIC 0x5FFUL

/*
 * Vendor attributes of private and secret keys. To read them the user is logged in; no call of KMS is made.
 *
 * C_CreateObject with CKA_DATAKEY_CIPHERTEXT_BLOB takes over a key that another client of KMS sealed under the
 * same KMS key (the private half of a data key pair, a data key): with CKA_CLASS, CKA_KEY_TYPE, the encryption
 * context that opens the blob, and names and usages as for any new key. With CKA_PUBLIC_KEY_INFO (for a secret
 * key CKA_VALUE_LEN) it is one ReEncrypt; without, KMS is also asked to Decrypt, to learn what key it is. A key
 * that this module sealed is refused. A key that came sealed is CKA_SENSITIVE and not CKA_EXTRACTABLE, and a
 * template that says otherwise is CKR_TEMPLATE_INCONSISTENT: the module opens no blob for others to read.
 */

/* Byte array: what KMS answered as CiphertextBlob. */
#define CKA_DATAKEY_CIPHERTEXT_BLOB 0x80444B01UL

/* RFC2279 string: the encryption context that opens the blob, a JSON object whose values are strings. Absent,
 * empty and {} are the same. */
#define CKA_DATAKEY_ENCRYPTION_CONTEXT 0x80444B02UL

/* RFC2279 string, read only: the ARN of the KMS key that sealed the key. */
#define CKA_DATAKEY_KMS_KEY_ARN 0x80444B03UL

/* RFC2279 string, read only: the kind of key, by KMS's name where KMS makes such keys: RSA_2048, AES_256. */
#define CKA_DATAKEY_SPEC 0x80444B04UL

/*
 * The vendor interface, for what PKCS#11 has no function for. C_GetInterface gives it by its name:
 *
 *     CK_INTERFACE *found;
 *     C_GetInterface((CK_UTF8CHAR *)DATAKEY_INTERFACE, NULL, &found, 0);
 *     const DATAKEY_FUNCTION_LIST *datakey = found->pFunctionList;
 *
 * Its functions answer the return values of PKCS#11 and need C_Initialize; they may be called from any thread. This header
 * needs no pkcs11.h: unsigned long stands for CK_RV, CK_ULONG, CK_SLOT_ID and CK_SESSION_HANDLE, unsigned char for
 * CK_UTF8CHAR and CK_BYTE.
 */
#define DATAKEY_INTERFACE "Vendor datakey-pkcs11"

/* What a token has done since C_Initialize, in this process. */
typedef struct DATAKEY_STATISTICS {
    unsigned long ulCacheHits;      /* uses of private and secret keys that took no call of KMS */
    unsigned long ulUnwraps;        /* keys that were unwrapped for a use */
    unsigned long ulUnwrapFailures; /* uses of keys that failed because a key could not be unwrapped */
    unsigned long ulStaleUses;      /* uses of keys beyond max_age, while KMS did not answer */
    unsigned long ulEvictions;      /* unwrapped keys that were dropped to make room for others */
    unsigned long ulKmsCalls;       /* calls of KMS, each with all its attempts */
    unsigned long ulKmsFailures;    /* calls of KMS that failed after all their attempts */
    unsigned long ulKmsNotTried;    /* calls of KMS that failed at once, because those before were not answered */
    unsigned long ulKmsRequests;    /* attempts to ask KMS */
    unsigned long ulKmsThrottles;   /* attempts that KMS throttled */
    unsigned long ulKmsDenials;     /* attempts that KMS denied access */
    unsigned long ulKmsUnanswered;  /* attempts that nobody answered */
    unsigned long ulKmsSubstitutes; /* keys that an additional KMS key opened in place of the one before it */
    unsigned long ulCachedKeys;     /* unwrapped keys in memory now */
    unsigned long ulLatency50;      /* microseconds within which KMS answered half of all attempts, */
    unsigned long ulLatency90;      /* 90 per cent of them, */
    unsigned long ulLatency99;      /* and 99 per cent */
} DATAKEY_STATISTICS;

typedef struct DATAKEY_FUNCTION_LIST {
    /* Of this list: 1.0. A list with the same major version and a higher minor one has more functions at its end. */
    unsigned char major;
    unsigned char minor;

    /* What the last call of this session failed with that set ulDeviceError, as the log has it: UTF-8 without an end mark,
     * of length 0 where there was none. With the session 0, the last call of all in this process, C_OpenSession and
     * C_InitToken included. pText and pulTextLen as in all functions of PKCS#11: NULL asks for the length. */
    unsigned long (*DATAKEY_GetErrorText)(unsigned long hSession, unsigned char *pText, unsigned long *pulTextLen);

    /* ulSize is sizeof(DATAKEY_STATISTICS), so that caller and module may be of different versions. */
    unsigned long (*DATAKEY_GetStatistics)(unsigned long slotID, DATAKEY_STATISTICS *pStatistics, unsigned long ulSize);

    /* Wipes the unwrapped keys of a token from memory; the next use of each is a call of KMS again. */
    unsigned long (*DATAKEY_FlushKeys)(unsigned long slotID);
} DATAKEY_FUNCTION_LIST;

#endif /* DATAKEY_PKCS11_H */
