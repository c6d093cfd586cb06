"""python-pkcs11 with the key sizes that AWS KMS makes, and with a group for Diffie-Hellman that the module takes."""

import os
import unittest

import pkcs11
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dh, padding, rsa
from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.rsa import decode_rsa_private_key, decode_rsa_public_key, encode_rsa_public_key

TEXT = b"Hello world!"


class Walk(unittest.TestCase):
    def setUp(self):
        token = pkcs11.lib(os.environ["PKCS11_MODULE"]).get_token(token_label=os.environ["PKCS11_TOKEN_LABEL"])
        self.session = token.open(rw=True, user_pin=os.environ["PKCS11_TOKEN_PIN"])

    def tearDown(self):
        self.session.close()

    def exercise(self, public, private, known):
        signature = private.sign(TEXT, mechanism=Mechanism.SHA256_RSA_PKCS)
        known.verify(signature, TEXT, padding.PKCS1v15(), hashes.SHA256())
        self.assertTrue(public.verify(TEXT, signature, mechanism=Mechanism.SHA256_RSA_PKCS))
        self.assertFalse(public.verify(TEXT + b".", signature, mechanism=Mechanism.SHA256_RSA_PKCS))
        parts = private.sign((TEXT[:5], b"", TEXT[5:]), mechanism=Mechanism.SHA256_RSA_PKCS)
        self.assertEqual(parts, signature)

        parameter = (Mechanism.SHA256, MGF.SHA256, 32)
        signature = private.sign(TEXT, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=parameter)
        known.verify(signature, TEXT, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())

        # No parameter: the package's default, OAEP with SHA-1.
        sealed = public.encrypt(TEXT)
        self.assertEqual(private.decrypt(sealed), TEXT)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        self.assertEqual(private.decrypt(known.encrypt(TEXT, oaep)), TEXT)

    def test_rsa_generated(self):
        public, private = self.session.generate_keypair(KeyType.RSA, 2048, store=True, id=b"\1", label="walk")
        self.assertEqual((public.key_length, private.key_length), (2048, 2048))
        self.exercise(public, private, serialization.load_der_public_key(spki(public)))
        found = self.session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="walk")
        self.assertEqual((found[Attribute.ID], found[Attribute.SENSITIVE]), (b"\1", True))
        with self.assertRaises(pkcs11.exceptions.AttributeSensitive):
            found[Attribute.PRIVATE_EXPONENT]

    def test_rsa_imported(self):
        key = rsa.generate_private_key(65537, 2048)
        form = (serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        private = self.session.create_object(decode_rsa_private_key(key.private_bytes(*form)))
        pkcs1 = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
        public = self.session.create_object(decode_rsa_public_key(pkcs1))
        self.assertEqual(encode_rsa_public_key(public), pkcs1)
        self.exercise(public, private, key.public_key())

    def test_rsa_reauthentication(self):
        template = {Attribute.ALWAYS_AUTHENTICATE: True}
        public, private = self.session.generate_keypair(KeyType.RSA, 2048, private_template=template)
        pin = os.environ["PKCS11_TOKEN_PIN"]
        signature = private.sign(TEXT, mechanism=Mechanism.SHA256_RSA_PKCS, pin=pin)
        self.assertTrue(public.verify(TEXT, signature, mechanism=Mechanism.SHA256_RSA_PKCS))
        with self.assertRaises(pkcs11.exceptions.UserNotLoggedIn):
            private.sign(TEXT, mechanism=Mechanism.SHA256_RSA_PKCS)

    def test_dh_in_a_group_of_rfc_7919(self):
        prime = ffdhe2048()
        domain = {Attribute.PRIME: prime.to_bytes(256, "big"), Attribute.BASE: b"\2"}
        public, private = self.session.create_domain_parameters(KeyType.DH, domain, local=True).generate_keypair()
        group = dh.DHParameterNumbers(prime, 2)
        peer = group.parameters().generate_private_key()
        number = peer.public_key().public_numbers().y
        known = dh.DHPublicNumbers(int.from_bytes(public[Attribute.VALUE], "big"), group).public_key()
        open_key = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
        shared = private.derive_key(
            KeyType.GENERIC_SECRET, 2048, mechanism_param=number.to_bytes(256, "big"), template=open_key
        )
        self.assertEqual(shared[Attribute.VALUE], peer.exchange(known))


def ffdhe2048():
    """The prime of appendix A.1, by its formula."""
    e, term, n = 0, 1 << 2100, 1
    while term:
        e, term, n = e + term, term // n, n + 1
    return 2**2048 - 2**1984 + ((e >> (2100 - 1918)) + 560316) * 2**64 - 1


def spki(public):
    """The SubjectPublicKeyInfo of a public key, made from its modulus and exponent."""
    numbers = (int.from_bytes(public[name], "big") for name in (Attribute.PUBLIC_EXPONENT, Attribute.MODULUS))
    key = rsa.RSAPublicNumbers(*numbers).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
