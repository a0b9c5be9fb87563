"""Runs commands of ocistore side by side, keeps their times, and lets them be killed."""

import os
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

    def text(self):
        said = self.stderr.decode("utf-8", "replace").strip()
        return f"ocistore {' '.join(self.arguments)}: exit {self.status}: {said}"

    def digest(self):
        """Returns the one line that --quiet leaves."""
        return self.stdout.decode().strip()

    def was_stopped(self):
        """Tells whether a signal ended it, so that nobody knows how far it came."""
        return self.signal is not None and self.status != 0

    def fault(self, allowed):
        """Returns what is wrong with its status and stderr, or None."""
        lines = self.stderr.decode("utf-8", "replace").splitlines()
        notes = [line for line in lines if line.startswith("ocistore: note: ")]
        if self.signal == signal.SIGKILL and self.status == -signal.SIGKILL:
            return None
        if self.signal and self.status == 128 + self.signal:
            return None if len(lines) <= 1 else f"{len(lines)} lines on stderr"
        if self.status not in allowed:
            return f"expected exit {allowed}"
        # A refusal is one line; `exists` refuses without a word.
        most = 1 if self.status else 0
        if len(lines) - len(notes) > most or b"panicked" in self.stderr:
            return f"{len(lines)} lines on stderr"
        return None


class Running(NamedTuple):
    kind: str
    handle: int  # a pidfd: whatever it is told reaches this process or none
    signals: list


class Commands:
    """Runs ocistore on one store."""

    def __init__(self, binary, store):
        self.binary, self.store = binary, store
        self.lock = threading.Lock()
        self.running, self.ended = [], []
        self.signals = {}

    def run(self, kind, *arguments):
        """Runs a command to its end; `kind` is what its time is counted as."""
        command = [self.binary, "--store", self.store, *arguments]
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            began = time.monotonic()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
            running = Running(kind, os.pidfd_open(process.pid), [])
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
        sent = running.signals[-1] if running.signals else None
        outcome = Outcome(kind, arguments, status, *said, began, ended, sent)
        with self.lock:
            # What was said is not needed any more by those who count.
            self.ended.append(outcome._replace(stdout=b"", stderr=b"", arguments=()))
        return outcome

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
            if not self.running:
                return False
            chosen = rng.choice(self.running)
            chosen.signals.append(number)
            self.signals[chosen.kind] = self.signals.get(chosen.kind, 0) + 1
            try:
                signal.pidfd_send_signal(chosen.handle, number)
            except ProcessLookupError:
                pass  # It has just ended.
            return True

    def overlapping(self, kinds, outcome):
        """Tells whether a command of these kinds was under way at the same time as another."""
        with self.lock:
            if any(running.kind in kinds for running in self.running):
                return True
            return any(
                other.kind in kinds
                and other.began < outcome.ended
                and other.ended > outcome.began
                and other.began != outcome.began
                for other in reversed(self.ended[-2000:])
            )
