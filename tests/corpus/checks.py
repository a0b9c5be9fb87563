"""Counts checks, and prints a line for each."""

import subprocess
import tarfile

# A missing file, a document of another shape, a tar or a command that failed.
CANNOT_COPE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    tarfile.TarError,
    subprocess.SubprocessError,
)


class Checks:
    """Counts and prints what passed and what failed."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def tell(self, title, problem):
        """Counts one check: it failed if there is a problem."""
        if problem:
            self.failed += 1
            print(f"FAIL {title}\n     {problem}", flush=True)
        else:
            self.passed += 1
            print(f"ok   {title}", flush=True)

    def note(self, text):
        print(f"     {text}", flush=True)

    def stage(self, act, *arguments):
        """Runs one stage. What it cannot cope with is one failed check, and the next one runs."""
        try:
            act(*arguments)
        except CANNOT_COPE as error:
            self.tell(act.__name__.replace("_", " "), f"{type(error).__name__}: {error}")

    def summary(self):
        return f"{self.passed} passed, {self.failed} failed"
