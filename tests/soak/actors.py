"""The loops that use a store all at once, and what each expects of the commands it runs."""

import os
import random
import shutil
import signal
import threading

import checking

SHARED = [f"shared/name{n}:t" for n in range(4)]
COLLECTIONS = ("gc", "gc --no-wait", "gc --dry-run")


class Gate:
    """Lets actors run one operation after another, or nobody any."""

    def __init__(self):
        self.condition = threading.Condition()
        self.inside, self.closed, self.ended = 0, False, False

    def enter(self):
        with self.condition:
            self.condition.wait_for(lambda: not self.closed or self.ended)
            if self.ended:
                return False
            self.inside += 1
            return True

    def leave(self):
        with self.condition:
            self.inside -= 1
            self.condition.notify_all()

    def close(self):
        """Returns when nobody is inside any more."""
        with self.condition:
            self.closed = True
            self.condition.wait_for(lambda: self.inside == 0)

    def open(self):
        with self.condition:
            self.closed = False
            self.condition.notify_all()

    def end(self):
        with self.condition:
            self.ended = True
            self.condition.notify_all()


class World:
    """What all actors share."""

    def __init__(self, commands, names, pool, violations, gate):
        self.commands, self.names, self.pool = commands, names, pool
        self.violations, self.gate = violations, gate
        self.digests = sorted(pool.images)
        self.trees = [digest for digest in self.digests if pool.images[digest].tree]
        self.has_quick_fsck = False

    def run(self, kind, allowed, *arguments):
        """Runs a command; what it must not do is a violation."""
        outcome = self.commands.run(kind, *arguments)
        wrong = outcome.fault(allowed)
        if wrong:
            self.violations.add(outcome, wrong)
        return outcome


class Actor(threading.Thread):
    """Does one operation after another until the gate says that it is over."""

    def __init__(self, world, name, seed):
        super().__init__(name=name, daemon=True)
        self.world, self.random = world, random.Random(f"{seed} {name}")

    def run(self):
        while self.world.gate.enter():
            try:
                self.step()
            except Exception as error:  # Whatever it is, it must not end one actor silently.
                self.world.violations.add(None, f"{self.name}: {type(error).__name__}: {error}")
            finally:
                self.world.gate.leave()

    def choose(self, *weighted):
        functions, weights = zip(*weighted)
        return self.random.choices(functions, weights)[0]


class Writer(Actor):
    """Changes names of its own, so that it knows what they are, and some that all writers share."""

    def __init__(self, world, number, seed, groups):
        super().__init__(world, f"writer{number}", seed)
        self.own = [f"writer{number}/name{n}:t" for n in range(5)]
        self.groups = groups
        grouped = [f"{group}:{tag}" for group in groups for tag in "ab"]
        for name in self.own + grouped:
            world.names.add(name)

    def step(self):
        self.choose(
            (self.import_own, 30),
            (self.import_shared, 8),
            (self.retag_own, 8),
            (self.share, 6),
            (self.take_shared, 6),
            (self.untag_own, 14),
            (self.untag_shared, 5),
            (self.bring_back, 8),
            (self.tag_child, 8),
            (self.change_group, 7 if self.groups else 0),
        )()

    def own_name(self):
        return self.random.choice(self.own)

    def import_own(self):
        self.bring(self.own_name(), self.random.choice(self.world.digests))

    def import_shared(self):
        self.bring(self.random.choice(SHARED), self.random.choice(self.world.digests))

    def bring(self, name, digest):
        """Imports an image and gives it a name."""
        keep = self.random.random() < 0.75
        kind = "import" if keep else "import --blobs drop"
        write, watch = self.world.names.begin(name, [(digest, keep)])
        source = f"oci:{self.world.pool.images[digest].source}:1"
        options = [] if keep else ["--blobs", "drop"]
        outcome = self.world.run(kind, (0,), "import", "-q", *options, source, "--name", name)
        self.finish(outcome, write, watch, (digest, keep))

    def finish(self, outcome, write, watch, value):
        names = self.world.names
        if outcome.was_stopped():
            names.maybe(write)
        elif outcome.status == 0:
            names.done(write, value)
            if value and outcome.digest() != value[0]:
                self.world.violations.add(outcome, f"expected {value[0]}, got {outcome.digest()}")
        else:
            names.unchanged(write)
        names.forget(watch)

    def retag_own(self):
        self.tag(*self.random.sample(self.own, 2))

    def share(self):
        self.tag(self.own_name(), self.random.choice(SHARED))

    def take_shared(self):
        self.tag(self.random.choice(SHARED), self.own_name())

    def tag(self, source, target):
        """Gives what one name points to another name."""
        names = self.world.names
        from_watch = names.watch(source)
        if source in SHARED:
            # Whoever shares the name may give it any of these meanwhile.
            values = [(digest, False) for digest in self.world.digests]
        else:
            values = [value for value in from_watch.seen if value]
        write, to_watch = names.begin(target, values)
        outcome = self.world.run("tag", (0, 2), "tag", "-q", source, target)
        found = outcome.digest()
        value = (found, from_watch.is_kept(found)) if outcome.status == 0 else None
        self.finish(outcome, write, to_watch, value)
        names.forget(from_watch)
        if outcome.was_stopped():
            return
        if outcome.status == 2 and not from_watch.may_be_absent():
            self.world.violations.add(outcome, f"{source} was there all the time")
        if outcome.status == 0 and found not in from_watch.digests():
            self.world.violations.add(outcome, f"got {found}, expected {from_watch.digests()}")

    def untag_own(self):
        self.untag(*self.random.sample(self.own, self.random.choice((1, 1, 1, 2))))

    def untag_shared(self):
        self.untag(self.random.choice(SHARED))

    def untag(self, *targets):
        """Takes names away: all of them, or none if one is not there."""
        begun = [self.world.names.begin(name, [None]) for name in targets]
        outcome = self.world.run("untag", (0, 2), "untag", "-q", *targets)
        for write, watch in begun:
            self.finish(outcome, write, watch, None)
        if outcome.was_stopped():
            return
        watches = [watch for _, watch in begun]
        if outcome.status == 2 and not any(watch.may_be_absent() for watch in watches):
            self.world.violations.add(outcome, "the names were there all the time")
        if outcome.status == 0 and any(watch.must_be_absent() for watch in watches):
            self.world.violations.add(outcome, "one of the names was not there at any time")

    def bring_back(self):
        """Takes a name away and imports the same image again at once."""
        name = self.own_name()
        images = [value[0] for value in self.world.names.values(name) if value]
        self.untag(name)
        if images:
            self.bring(self.random.choice((name, self.own_name())), self.random.choice(images))

    def tag_child(self):
        """Names, by its digest, an image below an index that a name of its own leads to."""
        parents = [
            (name, value)
            for name in self.own
            for values in [self.world.names.values(name)]
            if len(values) == 1
            for value in values
            if value and self.world.pool.images[value[0]].children
        ]
        if not parents:
            indexes = [d for d in self.world.digests if self.world.pool.images[d].children]
            self.bring(self.own_name(), self.random.choice(indexes))
            return
        parent, (digest, kept) = self.random.choice(parents)
        child = self.random.choice(list(self.world.pool.images[digest].below())[1:]).digest
        target = self.random.choice([name for name in self.own if name != parent])
        write, watch = self.world.names.begin(target, [(child, kept)])
        outcome = self.world.run("tag", (0,), "tag", "-q", child, target)
        self.finish(outcome, write, watch, (child, kept))

    def change_group(self):
        """Imports a source of two names, or takes both away: readers see all of it or nothing."""
        group = self.random.choice(list(self.groups))
        targets = [f"{group}:a", f"{group}:b"]
        if self.random.random() < 0.3:
            self.untag(*targets)
            return
        source, *digests = self.random.choice(self.groups[group])
        begun = [self.world.names.begin(n, [(d, True)]) for n, d in zip(targets, digests)]
        outcome = self.world.run("import", (0,), "import", "-q", f"oci:{source}")
        if outcome.status == 0 and outcome.digest().split() != digests:
            self.world.violations.add(outcome, f"expected {digests}, got {outcome.digest()}")
        for (write, watch), digest in zip(begun, digests):
            self.finish(outcome._replace(stdout=digest.encode()), write, watch, (digest, True))


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
        wrongs = [checking.tree(image, target) for image in images if image.tree]
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
        self.world.run(" ".join(["fsck", *options]), (0,), "fsck", "-q", *options)


class Collector(Actor):
    """Collects garbage over and over."""

    def __init__(self, world, number, seed):
        super().__init__(world, f"collector{number}", seed)

    def step(self):
        kind = self.random.choices(COLLECTIONS, (6, 3, 2))[0]
        allowed = (0, 75) if "--no-wait" in kind else (0,)
        outcome = self.world.run(kind, allowed, *kind.split(), "-q")
        if outcome.status == 75 and not self.world.commands.overlapping(COLLECTIONS, outcome):
            self.world.violations.add(outcome, "no other collection was under way")
        self.world.gate.condition.acquire()
        try:
            self.world.gate.condition.wait_for(lambda: self.world.gate.closed, self.random.random())
        finally:
            self.world.gate.condition.release()


class Chaos(Actor):
    """Kills commands under way, at random moments."""

    def __init__(self, world, seed, pause):
        super().__init__(world, "chaos", seed)
        self.pause = pause

    def step(self):
        with self.world.gate.condition:
            self.world.gate.condition.wait_for(
                lambda: self.world.gate.closed, self.random.expovariate(1 / self.pause)
            )
            if self.world.gate.closed:
                return
        number = self.random.choices((signal.SIGKILL, signal.SIGTERM), (5, 1))[0]
        self.world.commands.signal_one(self.random, number)
