"""The smallest Windows or UEFI program that signing tools take: headers and one section of code that returns at once."""

import struct

WINDOWS, UEFI = 3, 10  # subsystems: a program for the console, an application
ALIGNMENT = 512
BASE = 4096  # where the section lies in memory


def portable_executable(subsystem):
    """The bytes of a PE32+ file for x86-64."""
    code = b"\x31\xc0\xc3".ljust(ALIGNMENT, b"\x00")  # xor eax, eax; ret
    dos = b"MZ".ljust(60, b"\x00") + struct.pack("<I", 64)
    optional = struct.pack("<HBBIIIII", 0x20B, 1, 0, len(code), 0, 0, BASE, BASE)
    optional += struct.pack("<QIIHHHHHHI", 0x140000000, BASE, ALIGNMENT, 6, 0, 0, 0, 6, 0, 0)
    optional += struct.pack("<IIIHH", 2 * BASE, ALIGNMENT, 0, subsystem, 0)
    optional += struct.pack("<QQQQII", 1 << 20, 1 << 12, 1 << 20, 1 << 12, 0, 16) + bytes(16 * 8)
    header = b"PE\x00\x00" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x22) + optional
    section = struct.pack("<8sIIIIIIHHI", b".text", len(code), BASE, len(code), ALIGNMENT, 0, 0, 0, 0, 0x60000020)
    return (dos + header + section).ljust(ALIGNMENT, b"\x00") + code
