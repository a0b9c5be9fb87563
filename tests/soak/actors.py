"""What those have in common who use a store all at once, and those of them who collect garbage and kill."""

import random
import signal
import threading

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
