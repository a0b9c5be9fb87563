"""Runs commands of ocistore side by side, keeps their times, and lets them be killed or slowed down.

What is a moment for a system call is too short for others to come in between often. So strace slows
some commands down at their renames, locks and the like, and kills some at exactly such a call.
"""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import tempfile
import threading
import time
from typing import NamedTuple

# Nothing here takes that long: whoever does waits for what never comes.
HANG_SECONDS = 180
HUNG = -999

# What the steps of a protocol are made of.
CALLS = (
    "rename,renameat,renameat2",
    "unlink,unlinkat,rmdir",
    "flock",
    "link,linkat",
    "fsync,fdatasync,syncfs",
    "pwrite64",
    "mkdir,mkdirat,openat",
)


class Outcome(NamedTuple):
    """A command that has ended."""

    kind: str
    arguments: tuple
    status: int
    stdout: bytes
    stderr: bytes
    began: float
    ended: float
    signal: int | None  # which one was sent to it
    disturbed: bool  # whether strace was there

    def text(self):
        said = (self.stderr + b"\n" + self.stdout[:2000]).decode("utf-8", "replace").strip()
        times = f"from {self.began:.3f} to {self.ended:.3f}"
        disturbed = ", disturbed" if self.disturbed else ""
        return f"ocistore {' '.join(self.arguments)}: {times}{disturbed}: exit {self.status}: {said}"

    def digest(self):
        """Returns the one line that --quiet leaves."""
        return self.stdout.decode().strip()

    def was_stopped(self):
        """Tells whether a signal ended it, so that nobody knows how far it came."""
        return self.signal is not None and self.status != 0

    def fault(self, allowed):
        """Returns what is wrong with its status and stderr, or None."""
        lines = self.stderr.decode("utf-8", "replace").splitlines()
        # strace may have something to say, too.
        lines = [line for line in lines if not line.startswith(("ocistore: note: ", "strace: "))]
        # At its very beginning a command does not catch signals yet.
        if self.signal and self.status == -self.signal:
            return None
        if self.signal and self.status == 128 + self.signal:
            return None if len(lines) <= 1 else f"{len(lines)} lines on stderr"
        if self.status not in allowed:
            return f"expected exit {allowed}"
        # A refusal is one line, but that `exists` refuses without a word.
        expected = 1 if self.status and self.kind != "exists" else 0
        if len(lines) != expected:
            return f"{len(lines)} lines on stderr"
        return None


class Running(NamedTuple):
    kind: str
    handle: int  # a pidfd: whatever it is told reaches this process or none
    may_signal: bool
    signals: list


class Disturbance(NamedTuple):
    """What strace does to a command, as words to put before it."""

    words: list
    kills: bool


class Commands:
    """Runs ocistore on one store."""

    def __init__(self, binary, store, log, share):
        self.binary, self.store = binary, store
        self.log = open(log, "w", encoding="utf-8")
        self.share, self.random = share, random.Random(0)
        self.lock = threading.Lock()
        self.running, self.ended = [], []
        self.signals = {}

    def disturbance(self):
        """Returns what to do to the next command, for a share of them; to be called under the lock."""
        rng = self.random
        if rng.random() >= self.share:
            return Disturbance([], False)
        calls, kills = rng.choice(CALLS), rng.random() < 0.5
        if kills:
            effect = f"signal=SIGKILL:when={int(rng.expovariate(0.2)) + 1}"
        else:
            moment = rng.choice(("delay_enter", "delay_exit"))
            first, step = rng.randint(1, 6), rng.randint(1, 6)
            effect = f"{moment}={rng.randint(2000, 40000)}:when={first}+{step}"
        strace = ["strace", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null"]
        return Disturbance([*strace, "-e", f"trace={calls}", "-e", f"inject={calls}:{effect}"], kills)

    @contextlib.contextmanager
    def undisturbed(self):
        """Leaves commands alone; for use while nobody else runs any."""
        share, self.share = self.share, 0
        try:
            yield
        finally:
            self.share = share

    def run(self, kind, *arguments):
        """Runs a command to its end; `kind` is what its time is counted as."""
        with self.lock:
            disturbance = self.disturbance()
        command = [*disturbance.words, self.binary, "--store", self.store, *arguments]
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            began = time.monotonic()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
            # A signal would end strace, and nobody knows when what it traces ends.
            running = Running(kind, os.pidfd_open(process.pid), not disturbance.words, [])
            with self.lock:
                self.running.append(running)
            status = self.wait(process, running.handle)
            ended = time.monotonic()
            with self.lock:
                self.running.remove(running)
                os.close(running.handle)
            stdout.seek(0)
            stderr.seek(0)
            said = stdout.read(), stderr.read()
        # Of several it is the one that it died of, if it did.
        fits = [sent for sent in running.signals if status in (-sent, 128 + sent)]
        sent = next(iter(fits + running.signals), None)
        if disturbance.kills and status == -signal.SIGKILL:
            sent = signal.SIGKILL
        times = began, ended, sent, bool(disturbance.words)
        outcome = Outcome(kind, arguments, status, *said, *times)
        self.note(outcome)
        return outcome

    def note(self, outcome):
        record = [round(outcome.began, 4), round(outcome.ended, 4), outcome.status]
        with self.lock:
            if outcome.disturbed and outcome.signal:
                self.signals[outcome.kind] = self.signals.get(outcome.kind, 0) + 1
            print(json.dumps([*record, outcome.disturbed, *outcome.arguments]), file=self.log)
            # What was said is not needed any more by those who count.
            self.ended.append(outcome._replace(stdout=b"", stderr=b"", arguments=()))

    @staticmethod
    def wait(process, handle):
        """Returns the status of a process, or HUNG if it had to be killed."""
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        if waiting.poll(HANG_SECONDS * 1000):
            return process.wait()
        process.kill()
        process.wait()
        return HUNG

    def signal_one(self, rng, number):
        """Sends a signal to a command under way, if there is one; returns whether there was."""
        with self.lock:
            signaled = [running for running in self.running if running.may_signal]
            if not signaled:
                return False
            chosen = rng.choice(signaled)
            chosen.signals.append(number)
            self.signals[chosen.kind] = self.signals.get(chosen.kind, 0) + 1
            try:
                signal.pidfd_send_signal(chosen.handle, number)
            except ProcessLookupError:
                pass  # It has just ended.
            return True

    def overlapping(self, kinds, outcome):
        """Tells whether a command of these kinds may have been under way at the same time as another."""
        with self.lock:
            if any(running.kind in kinds for running in self.running):
                return True
            return any(
                other.kind in kinds
                and other.began < outcome.ended
                and other.ended > outcome.began
                and other.began != outcome.began
                for other in self.ended[-2000:]
            )
