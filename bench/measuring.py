"""Runs a command, and tells what it took: seconds, processor seconds and memory."""

import os
import subprocess
import tempfile
import time
from typing import NamedTuple


class Usage(NamedTuple):
    """What one run of a command took.

    `peak` is the largest resident memory of any one of its processes, in bytes. The kernel counts a
    process from before it begins the program, so it is never below that of the script that starts it.
    """

    wall: float
    user: float
    system: float
    peak: int


class Failed(Exception):
    """A command that ended otherwise than it should."""


def usage(command, allowed=(0,)):
    """Runs a command and returns its Usage; its children count where it has waited for them."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as process:
            _, status, used = os.wait4(process.pid, 0)
            wall = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in allowed:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()[-3:]
            told = " ".join(" ".join(command).split())
            raise Failed(f"{told}: exit {process.returncode}: {' '.join(lines)}")
    return Usage(wall, used.ru_utime, used.ru_stime, used.ru_maxrss * 1024)


def floor():
    """Returns the memory that no command is measured below."""
    return usage(["true"]).peak


def prepare(command):
    """Runs a command that has to succeed and is not measured."""
    usage(command)


def write_back():
    """Has everything written that waits for it, so that nobody's wait is measured as another's."""
    os.sync()


def read_all(paths):
    """Reads files once, so that whoever reads them next finds them in memory."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
