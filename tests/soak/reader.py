"""Reads what names lead to, and compares all of it with the images."""

import os
import shutil

import checking
from actors import Actor


class Reader(Actor):
    """Reads what names lead to, and compares all of it with the images."""

    def __init__(self, world, number, seed, scratch):
        super().__init__(world, f"reader{number}", seed)
        self.scratch = os.path.join(scratch, self.name)
        self.count, self.held = 0, []

    def step(self):
        self.choose(
            (self.checkout, 40),
            (self.export, 22),
            (self.inspect, 10),
            (self.images, 10),
            (self.exists, 8),
            (self.measure, 4),
            (self.verify, 3),
        )()
        while len(self.held) > 3 or (self.held and self.random.random() < 0.3):
            self.let_go()

    def some_name(self):
        return self.random.choice(self.world.names.all())

    def place(self):
        """Returns a path where nothing is yet, in a folder of its own."""
        self.count += 1
        folder = os.path.join(self.scratch, str(self.count))
        os.makedirs(folder)
        return os.path.join(folder, "out")

    def read(self, kind, name, *arguments):
        """Runs a command on what a name leads to; returns its outcome with what the name may be."""
        watch = self.world.names.watch(name)
        outcome = self.world.run(kind, (0, 2), *arguments)
        self.world.names.forget(watch)
        if outcome.was_stopped():
            return outcome, watch
        artifacts = [d for d in watch.digests() if self.world.pool.images[d].tree is None]
        may_refuse = watch.may_be_absent() or (kind.startswith("checkout") and artifacts)
        if outcome.status == 2 and not may_refuse:
            self.world.violations.add(outcome, f"{name} was there all the time")
        if outcome.status == 0 and watch.must_be_absent():
            self.world.violations.add(outcome, f"{name} was not there at any time")
        return outcome, watch

    def checkout(self):
        name, target = self.some_name(), self.place()
        how = self.random.choice(("hardlink", "hardlink", "copy"))
        arguments = ["checkout", "-q", "--link", how, name, target]
        outcome, watch = self.read(f"checkout {how}", name, *arguments)
        candidates = watch.digests()
        if outcome.status == 0:
            if outcome.digest() not in self.checkout_digests(candidates):
                self.world.violations.add(outcome, f"got {outcome.digest()}, expected {candidates}")
                return
            candidates = {outcome.digest()}
        elif not os.path.exists(target):
            shutil.rmtree(os.path.dirname(target))
            return
        elif not outcome.was_stopped():
            self.world.violations.add(outcome, "a command that failed left its target")
            return
        self.compare(outcome, candidates, target)

    def checkout_digests(self, candidates):
        """Returns which images a checkout may say that it laid out."""
        below = (image for digest in candidates for image in self.world.pool.images[digest].below())
        return {image.digest for image in below}

    def compare(self, outcome, candidates, target):
        """Compares a tree that is there; what a killed command left is whole, or is not there."""
        images = [self.world.pool.images[digest] for digest in candidates]
        images = [image for image in images if image.tree]
        wrongs = [checking.tree(image, target) for image in images]
        if None not in wrongs:
            self.world.violations.add(outcome, f"{target}: {wrongs}")
            return
        self.held.append((outcome, images[wrongs.index(None)], target))

    def let_go(self):
        """Looks at a checkout again that was there for a while, and removes it."""
        outcome, image, target = self.held.pop(self.random.randrange(len(self.held)))
        wrong = checking.tree(image, target) if image.tree else None
        if wrong:
            self.world.violations.add(outcome, f"later, {target}: {wrong}")
            return
        shutil.rmtree(os.path.dirname(target))

    def let_all_go(self):
        while self.held:
            self.let_go()

    def export(self):
        name, target = self.some_name(), self.place()
        outcome, watch = self.read("export", name, "export", "-q", name, f"oci:{target}:1")
        if outcome.status == 0:
            wrongs = [
                checking.export(
                    self.world.pool,
                    self.world.pool.images[digest],
                    target,
                    "1",
                    kept=watch.is_kept(digest),
                )
                for digest in sorted(watch.digests())
            ]
            if None not in wrongs:
                self.world.violations.add(outcome, f"{target}: {wrongs}")
                return
        shutil.rmtree(os.path.dirname(target))

    def inspect(self):
        name = self.some_name()
        outcome, watch = self.read("inspect", name, "inspect", "--raw", name)
        if outcome.status == 0:
            expected = [self.world.pool.blob(digest) for digest in watch.digests()]
            if outcome.stdout not in expected:
                self.world.violations.add(outcome, "other bytes")

    def images(self):
        watches = self.world.names.watch_all()
        outcome = self.world.run("images", (0,), "images", "--digests")
        self.world.names.forget(*watches)
        if outcome.status != 0:
            return
        lines = [line.split() for line in outcome.stdout.decode().splitlines()[1:]]
        found = {line[0]: line[1] for line in lines}
        for watch in watches:
            digest = found.get(watch.name)
            if digest not in {value and value[0] for value in watch.seen}:
                self.world.violations.add(outcome, f"{watch.name} is {digest}, expected {watch.seen}")
        for number, versions in enumerate(self.world.pool.groups):
            pair = found.get(f"group{number}:a"), found.get(f"group{number}:b")
            if pair not in [(None, None), *(version[1:] for version in versions)]:
                self.world.violations.add(outcome, f"half of a source is named: {pair}")

    def exists(self):
        name = self.some_name()
        watch = self.world.names.watch(name)
        outcome = self.world.run("exists", (0, 1), "exists", name)
        self.world.names.forget(watch)
        if outcome.was_stopped():
            return
        if outcome.status == 1 and not watch.may_be_absent():
            self.world.violations.add(outcome, f"{name} was there all the time")
        if outcome.status == 0 and watch.must_be_absent():
            self.world.violations.add(outcome, f"{name} was not there at any time")

    def measure(self):
        self.world.run("df", (0,), "df", "-q")

    def verify(self):
        quick = self.world.has_quick_fsck and self.random.random() < 0.7
        options = ["--quick"] if quick else []
        self.world.run(" ".join(["fsck", *options]), (0,), "fsck", "--json", *options)
