"""moto, with the two operations that it lacks: GenerateDataKeyPair and ...WithoutPlaintext.

Only what moto cannot do is added, and in moto's own terms: the private key is sealed by moto's Encrypt and
opened by moto's Decrypt. What moto checks, and what it fails to check, stays as it is, so that it remains a
second opinion. Arguments are those of moto_server.
"""

import base64
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, rsa
from moto.kms.exceptions import ValidationException
from moto.kms.responses import KmsResponse
from moto.server import main

MAKERS = {
    "RSA_2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA_3072": lambda: rsa.generate_private_key(65537, 3072),
    "RSA_4096": lambda: rsa.generate_private_key(65537, 4096),
    "ECC_NIST_P256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ECC_NIST_P384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ECC_NIST_P521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ECC_SECG_P256K1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ECC_NIST_EDWARDS25519": ed25519.Ed25519PrivateKey.generate,
    "ML_KEM_768": mlkem.MLKEM768PrivateKey.generate,
    "ML_KEM_1024": mlkem.MLKEM1024PrivateKey.generate,
}


def encoded(data):
    return base64.b64encode(data).decode()


def generate_data_key_pair(self):
    key_id, spec = self._get_param("KeyId"), self._get_param("KeyPairSpec")
    self._validate_key_id(key_id)
    if spec not in MAKERS:
        raise ValidationException(f"no key pairs of {spec}")
    pair = MAKERS[spec]()
    public = pair.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = pair.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    blob, arn = self.kms_backend.encrypt(key_id, private, self._get_param("EncryptionContext", {}))
    answer = {"KeyId": arn, "KeyPairSpec": spec, "PublicKey": encoded(public)}
    answer.update(PrivateKeyPlaintext=encoded(private), PrivateKeyCiphertextBlob=encoded(blob))
    return json.dumps(answer)


def generate_data_key_pair_without_plaintext(self):
    answer = json.loads(self.generate_data_key_pair())
    del answer["PrivateKeyPlaintext"]
    return json.dumps(answer)


KmsResponse.generate_data_key_pair = generate_data_key_pair
KmsResponse.generate_data_key_pair_without_plaintext = generate_data_key_pair_without_plaintext

if __name__ == "__main__":
    main()
