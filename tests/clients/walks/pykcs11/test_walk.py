"""PyKCS11 with the key sizes that AWS KMS makes, and what its own tests run on SoftHSM only."""

import hashlib
import os
import unittest

import PyKCS11
from asn1crypto.keys import ECDomainParameters, NamedCurve
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from PyKCS11 import CKA_CLASS, CKA_ID, CKA_LABEL, CKA_TOKEN, CKA_VALUE

TEXT = b"Hello world!"
SHA256 = PyKCS11.CKM_SHA256


class Walk(unittest.TestCase):
    def setUp(self):
        self.lib = PyKCS11.PyKCS11Lib()
        self.lib.load(os.environ["PYKCS11LIB"])
        self.slot = self.lib.getSlotList(tokenPresent=True)[0]
        self.session = self.lib.openSession(self.slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
        self.session.login("1234")

    def tearDown(self):
        self.session.logout()
        self.lib.closeAllSessions(self.slot)

    def pair(self, public, private, mechanism, key_id):
        names = [(CKA_TOKEN, True), (CKA_ID, (key_id,)), (CKA_LABEL, "walk")]
        return self.session.generateKeyPair(public + names, private + names, mecha=mechanism)

    def test_rsa(self):
        usage = [(PyKCS11.CKA_ENCRYPT, True), (PyKCS11.CKA_VERIFY, True), (PyKCS11.CKA_MODULUS_BITS, 2048)]
        private = [(PyKCS11.CKA_DECRYPT, True), (PyKCS11.CKA_SIGN, True)]
        public_key, private_key = self.pair(usage, private, PyKCS11.MechanismRSAGENERATEKEYPAIR, 1)
        modulus, exponent = self.session.getAttributeValue(public_key, [PyKCS11.CKA_MODULUS, PyKCS11.CKA_PUBLIC_EXPONENT])
        known = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()

        mechanism = PyKCS11.Mechanism(PyKCS11.CKM_SHA256_RSA_PKCS, None)
        signature = self.session.sign(private_key, TEXT, mechanism)
        known.verify(bytes(signature), TEXT, padding.PKCS1v15(), hashes.SHA256())
        self.assertTrue(self.session.verify(public_key, TEXT, signature, mechanism))
        signature[0] ^= 1
        self.assertFalse(self.session.verify(public_key, TEXT, signature, mechanism))

        mechanism = PyKCS11.RSA_PSS_Mechanism(PyKCS11.CKM_SHA256_RSA_PKCS_PSS, SHA256, PyKCS11.CKG_MGF1_SHA256, 32)
        signature = self.session.sign(private_key, TEXT, mechanism)
        known.verify(bytes(signature), TEXT, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        self.assertTrue(self.session.verify(public_key, TEXT, signature, mechanism))

        for mechanism, filling in (
            (PyKCS11.RSAOAEPMechanism(SHA256, PyKCS11.CKG_MGF1_SHA256), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)),
            (PyKCS11.MechanismRSAPKCS1, padding.PKCS1v15()),
        ):
            sealed = self.session.encrypt(public_key, TEXT, mechanism)
            self.assertEqual(bytes(self.session.decrypt(private_key, sealed, mechanism)), TEXT)
            self.assertEqual(bytes(self.session.decrypt(private_key, known.encrypt(TEXT, filling), mechanism)), TEXT)

        raw = PyKCS11.Mechanism(PyKCS11.CKM_RSA_X_509, None)
        sealed = self.session.encrypt(public_key, TEXT.rjust(256, b"\0"), raw)
        self.assertEqual(bytes(self.session.decrypt(private_key, sealed, raw)), TEXT.rjust(256, b"\0"))

    def test_ecdsa(self):
        for key_id, (name, curve) in enumerate((("secp256r1", ec.SECP256R1()), ("secp384r1", ec.SECP384R1()), ("secp521r1", ec.SECP521R1())), 2):
            parameters = ECDomainParameters(name="named", value=NamedCurve(name)).dump()
            public = [(PyKCS11.CKA_VERIFY, True), (PyKCS11.CKA_EC_PARAMS, parameters)]
            mechanism = PyKCS11.Mechanism(PyKCS11.CKM_EC_KEY_PAIR_GEN, None)
            public_key, private_key = self.pair(public, [(PyKCS11.CKA_SIGN, True)], mechanism, key_id)
            (wrapped,) = self.session.getAttributeValue(public_key, [PyKCS11.CKA_EC_POINT])
            point = bytes(wrapped)[3 if wrapped[1] & 0x80 else 2:]
            known = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
            digest = hashlib.sha256(TEXT).digest()
            plain = PyKCS11.Mechanism(PyKCS11.CKM_ECDSA, None)
            signature = bytes(self.session.sign(private_key, digest, plain))
            self.assertTrue(self.session.verify(public_key, digest, signature, plain))
            half = len(signature) // 2
            r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
            known.verify(encode_dss_signature(r, s), TEXT, ec.ECDSA(hashes.SHA256()))

    def secret(self, kind, label, **more):
        template = [
            (CKA_CLASS, PyKCS11.CKO_SECRET_KEY), (PyKCS11.CKA_KEY_TYPE, kind), (CKA_TOKEN, False), (CKA_LABEL, label),
            (PyKCS11.CKA_ENCRYPT, True), (PyKCS11.CKA_DECRYPT, True), (PyKCS11.CKA_SIGN, True), (PyKCS11.CKA_VERIFY, True),
        ]
        return template + [(getattr(PyKCS11, name), value) for name, value in more.items()]

    def test_aes(self):
        key = self.session.generateKey(self.secret(PyKCS11.CKK_AES, "aes", CKA_VALUE_LEN=32))
        block = TEXT.ljust(32, b".")
        iv = bytes(self.session.generateRandom(16))
        for mechanism, text in (
            (PyKCS11.Mechanism(PyKCS11.CKM_AES_ECB, None), block),
            (PyKCS11.Mechanism(PyKCS11.CKM_AES_CBC, iv), block),
            (PyKCS11.Mechanism(PyKCS11.CKM_AES_CBC_PAD, iv), TEXT),
            (PyKCS11.AES_CTR_Mechanism(128, iv), TEXT),
            (PyKCS11.AES_GCM_Mechanism(iv[:12], b"aad", 128), TEXT),
        ):
            sealed = self.session.encrypt(key, text, mechanism)
            self.assertNotEqual(bytes(sealed)[:len(text)], text)
            self.assertEqual(bytes(self.session.decrypt(key, sealed, mechanism)), text)
        with self.assertRaises(PyKCS11.PyKCS11Error) as caught:
            self.session.decrypt(key, bytes(sealed)[:-1] + bytes([sealed[-1] ^ 1]), mechanism)
        self.assertEqual(caught.exception.value, PyKCS11.CKR_ENCRYPTED_DATA_INVALID)

    def test_hmac_known_answer(self):
        # RFC 4231, test case 2.
        key = self.session.createObject(self.secret(PyKCS11.CKK_GENERIC_SECRET, "hmac", CKA_VALUE=b"Jefe"))
        mechanism = PyKCS11.Mechanism(PyKCS11.CKM_SHA256_HMAC, None)
        tag = self.session.sign(key, b"what do ya want for nothing?", mechanism)
        self.assertEqual(bytes(tag).hex(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        self.assertTrue(self.session.verify(key, b"what do ya want for nothing?", tag, mechanism))

    def test_objects(self):
        names = [(CKA_CLASS, PyKCS11.CKO_DATA), (CKA_TOKEN, True), (CKA_LABEL, "data")]
        data = self.session.createObject(names + [(CKA_VALUE, b"content")])
        (found,) = self.session.findObjects(names)
        self.assertEqual(self.session.getAttributeValue(found, [CKA_LABEL])[0], "data")
        self.session.setAttributeValue(data, [(CKA_LABEL, "renamed"), (CKA_VALUE, b"other")])
        self.assertEqual(self.session.findObjects(names), [])
        (found,) = self.session.findObjects([(CKA_LABEL, "renamed")])
        self.assertEqual(bytes(self.session.getAttributeValue(found, [CKA_VALUE])[0]), b"other")
        self.session.destroyObject(found)
        self.assertEqual(self.session.findObjects([(CKA_LABEL, "renamed")]), [])
