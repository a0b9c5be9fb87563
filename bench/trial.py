"""What all trials have in common: rounds, turns, and who is left out and why."""

import contextlib
import os
import shutil
from typing import NamedTuple

import measuring
from results import Measures


class Turn(NamedTuple):
    """One contestant: what it does in a round, the figures that gives, its program if not ours."""

    act: object
    gives: tuple
    program: str | None = None


class Trial:
    """Some commands that are measured in turn, each in a fresh folder each round.

    A subclass says who takes part (`turns`) and what is compared (`rows`).
    """

    name = ""
    # Whether it makes so many files that it has to wait until those freed before are forgotten.
    makes_files = True
    # More rounds than that would tell nothing more.
    most_rounds = None

    def __init__(self, scene):
        self.scene, self.measures, self.number = scene, Measures(), 0
        # Whether a command of ours failed.
        self.failed = False

    def title(self):
        return self.name

    def turns(self):
        raise NotImplementedError

    def rows(self):
        raise NotImplementedError

    def place(self):
        """Returns what is there while the trial runs, as a context."""
        return contextlib.nullcontext()

    def round_folder(self):
        return self.scene.folder()

    def round(self, folder, turns):
        """Has everybody take a turn; a round later begins with the next one."""
        first = self.number % len(turns)
        for turn in turns[first:] + turns[:first]:
            try:
                turn.act(folder)
            except measuring.Failed as error:
                self.failed |= turn.program is None
                for key in turn.gives:
                    self.measures.absent[key] = f"failed: {error}"

    def run(self, rounds, tell):
        turns = [turn for turn in self.turns() if self.can_take(turn)]
        if not turns:
            return
        with self.place():
            rounds = min(rounds, self.most_rounds or rounds)
            for self.number in range(rounds):
                self.scene.make_room()
                if self.makes_files:
                    self.scene.settle()
                tell(f"{self.title()}: round {self.number + 1} of {rounds}")
                folder = self.round_folder()
                self.round(folder, turns)
                self.scene.note_size(folder)

    def can_take(self, turn):
        """Returns whether a contestant is there; else notes why its figures are not."""
        if turn.program is None or shutil.which(turn.program):
            return True
        for key in turn.gives:
            self.measures.absent[key] = f"not there: {turn.program}"
        return False

    def measure(self, key, command, allowed=(0,)):
        """Runs a command and takes down what it took, after all that was to be written before it is."""
        measuring.write_back()
        self.measure_on(key, command, allowed)

    def measure_on(self, key, command, allowed=(0,)):
        """The same at once, where what the command before left to be written is part of the matter."""
        self.measures.add(key, self.number, measuring.usage(command, allowed))

    def measure_sync(self, key):
        self.measure_on(key, ["sync"])


class ImageTrial(Trial):
    """A trial of one image."""

    def __init__(self, scene, image):
        super().__init__(scene)
        self.image = image

    def title(self):
        return f"{self.name} {self.image.name}"

    def take_in_and_out(self, folder):
        """Imports the image into a new store, and checks it out twice."""
        store = os.path.join(folder, "store")
        self.measure("import", self.scene.command(store, "import", self.image.source))
        for number, key in enumerate(["first checkout", "checkout again"]):
            tree = os.path.join(folder, f"tree{number}")
            self.measure(key, self.scene.command(store, "checkout", self.image.name, tree))


def root_only(*flags):
    """Returns flags that a tool needs where it is not called by root."""
    return [] if os.geteuid() == 0 else list(flags)
