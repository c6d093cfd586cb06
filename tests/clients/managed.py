"""Two users of p11-kit in one process: `python3 managed.py TOKEN PIN KEY_LABEL`. Prints a line for each thing that held, or fails.

Both get the module as p11-kit manages it: each believes it is alone, and p11-kit sees to it that neither finalises it, nor closes
sessions, under the other's feet.
"""

import ctypes
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_ubyte, c_ulong, c_void_p

OK, SESSION_HANDLE_INVALID, USER_ALREADY_LOGGED_IN = 0, 0xB3, 0x100
CKF_SERIAL_SESSION, CKU_USER, CKO_PRIVATE_KEY, CKM_ECDSA = 4, 1, 3, 0x1041
CKA_CLASS, CKA_LABEL = 0, 3
# Where functions are in CK_FUNCTION_LIST.
PLACES = {name: place for place, name in enumerate(
    "Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList GetMechanismInfo InitToken "
    "InitPIN SetPIN OpenSession CloseSession CloseAllSessions GetSessionInfo GetOperationState SetOperationState Login Logout "
    "CreateObject CopyObject DestroyObject GetObjectSize GetAttributeValue SetAttributeValue FindObjectsInit FindObjects "
    "FindObjectsFinal EncryptInit Encrypt EncryptUpdate EncryptFinal DecryptInit Decrypt DecryptUpdate DecryptFinal DigestInit "
    "Digest DigestUpdate DigestKey DigestFinal SignInit Sign".split())}

kit = ctypes.CDLL("libp11-kit.so.0")
kit.p11_kit_modules_load_and_initialize.restype = POINTER(c_void_p)
kit.p11_kit_modules_finalize_and_release.argtypes = [POINTER(c_void_p)]
kit.p11_kit_module_get_name.argtypes, kit.p11_kit_module_get_name.restype = [c_void_p], c_void_p


class Attribute(ctypes.Structure):
    _fields_ = [("type", c_ulong), ("value", c_char_p), ("length", c_ulong)]


class Mechanism(ctypes.Structure):
    _fields_ = [("type", c_ulong), ("parameter", c_void_p), ("length", c_ulong)]


class User:
    """One caller of p11_kit_modules_load_and_initialize."""

    def __init__(self):
        self.modules = kit.p11_kit_modules_load_and_initialize(0)
        for module in self.modules:
            if module is None:
                sys.exit("p11-kit does not know the module")
            if ctypes.string_at(kit.p11_kit_module_get_name(module)) == b"datakey-pkcs11":
                break
        # The version comes first, in the room of a pointer.
        self.functions = ctypes.cast(module, POINTER(c_void_p))

    def call(self, name, *arguments):
        function = ctypes.CFUNCTYPE(c_ulong, *(type(each) if isinstance(each, c_ulong) else c_void_p for each in arguments))
        pointers = [each if isinstance(each, c_ulong) or each is None else ctypes.cast(each, c_void_p) for each in arguments]
        return function(self.functions[1 + PLACES[name]])(*pointers)

    def session(self, label):
        slots, count, info = (c_ulong * 8)(), c_ulong(8), (c_ubyte * 512)()
        expect("C_GetSlotList", self.call("GetSlotList", (c_ubyte * 1)(1), slots, ctypes.pointer(count)))
        for slot in slots[:count.value]:
            expect("C_GetTokenInfo", self.call("GetTokenInfo", c_ulong(slot), info))
            if bytes(info[:32]).rstrip() == label:
                session = c_ulong()
                flags = c_ulong(CKF_SERIAL_SESSION)
                expect("C_OpenSession", self.call("OpenSession", c_ulong(slot), flags, None, None, ctypes.pointer(session)))
                return session
        sys.exit(f"no token {label}")

    def sign(self, session, label):
        template = (Attribute * 2)()
        kind = c_ulong(CKO_PRIVATE_KEY)
        template[0] = Attribute(CKA_CLASS, ctypes.cast(byref(kind), c_char_p), 8)
        template[1] = Attribute(CKA_LABEL, label, len(label))
        expect("C_FindObjectsInit", self.call("FindObjectsInit", session, template, c_ulong(2)))
        key, count = c_ulong(), c_ulong()
        expect("C_FindObjects", self.call("FindObjects", session, ctypes.pointer(key), c_ulong(1), ctypes.pointer(count)))
        expect("C_FindObjectsFinal", self.call("FindObjectsFinal", session))
        expect("keys", count.value, 1)
        mechanism, signature, length = Mechanism(CKM_ECDSA, None, 0), (c_ubyte * 256)(), c_ulong(256)
        expect("C_SignInit", self.call("SignInit", session, ctypes.pointer(mechanism), key))
        digest = (c_ubyte * 32)(*range(32))
        expect("C_Sign", self.call("Sign", session, digest, c_ulong(32), signature, ctypes.pointer(length)))
        expect("length of the signature", length.value, 64)


def expect(what, got, *wanted):
    if got not in (wanted or (OK,)):
        sys.exit(f"{what}: {got:#x}")


def main():
    token, pin, label = (word.encode() for word in sys.argv[1:])
    first, second = User(), User()
    ours, theirs = first.session(token), second.session(token)
    expect("C_Login", first.call("Login", ours, c_ulong(CKU_USER), pin, c_ulong(len(pin))))
    expect("C_Login of the second", second.call("Login", theirs, c_ulong(CKU_USER), pin, c_ulong(len(pin))), USER_ALREADY_LOGGED_IN)
    first.sign(ours, label)
    second.sign(theirs, label)
    print("both sign", flush=True)
    kit.p11_kit_modules_finalize_and_release(first.modules)
    second.sign(theirs, label)
    print("the second signs after the first has finalised", flush=True)
    child = os.fork()
    if child == 0:
        third = User()
        session = third.session(token)
        expect("C_Login in a child", third.call("Login", session, c_ulong(CKU_USER), pin, c_ulong(len(pin))))
        third.sign(session, label)
        kit.p11_kit_modules_finalize_and_release(third.modules)
        os._exit(0)
    expect("the child", os.waitpid(child, 0)[1], 0)
    second.sign(theirs, label)
    print("a child initialises and signs, and the parent goes on", flush=True)
    kit.p11_kit_modules_finalize_and_release(second.modules)
    again = User()
    again.session(token)
    kit.p11_kit_modules_finalize_and_release(again.modules)
    print("initialised again after the last has finalised", flush=True)


if __name__ == "__main__":
    main()
