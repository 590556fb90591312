"""Runs a command where personality(2) only answers, as in a container with Docker's default profile.

`python no_personality.py PROGRAM ARGUMENT…`. A seccomp filter, inherited by every process below; x86-64 Linux only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
PERSONALITY = 135  # arch/x86/entry/syscalls/syscall_64.tbl
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


class Instruction(ctypes.Structure):
    """struct sock_filter."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction)))


def refuse_personality() -> None:
    """Every personality(x) fails with EPERM from here on, but for the query x = 0xffffffff. Raises OSError."""
    rules = (
        Instruction(LOAD, 0, 0, NUMBER),
        Instruction(EQUALS, 0, 3, PERSONALITY),
        Instruction(LOAD, 0, 0, FIRST_ARGUMENT),
        Instruction(EQUALS, 1, 0, 0xFFFFFFFF),
        Instruction(RETURN, 0, 0, REFUSE),
        Instruction(RETURN, 0, 0, ALLOW),
    )
    program = Program(len(rules), (Instruction * len(rules))(*rules))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    refuse_personality()
    os.execv(sys.argv[1], sys.argv[1:])
