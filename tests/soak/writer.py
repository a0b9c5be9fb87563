"""Changes names: imports, tags, untags, and what each of these must do while others do so too."""

from actors import SHARED, Actor


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
            (self.tag_digest, 5),
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

    def tag_digest(self):
        """Names, by its digest, what others may be taking away, or what may not be there at all."""
        images = self.world.pool.images
        digest, target = self.random.choice(self.world.digests), self.own_name()
        holders = [
            name
            for name in self.own
            for values in [self.world.names.values(name)]
            if all(value and images[digest] in images[value[0]].below() for value in values)
        ]
        write, watch = self.world.names.begin(target, [(digest, False)])
        outcome = self.world.run("tag", (0, 2), "tag", "-q", digest, target)
        self.finish(outcome, write, watch, (digest, False))
        if outcome.status == 2 and holders:
            self.world.violations.add(outcome, f"{holders} led to it all the time")

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
