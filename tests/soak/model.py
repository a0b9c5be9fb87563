"""What must be in a store while many commands change its names at once.

A name's value is a pair (digest, kept), or None where there is no such name; `kept` says that its layer
blobs must be there. While commands overlap a name may have one of several values: those that it may
have had before, and those of the commands under way. Once a command has returned 0 only its own value
is left, and those of the commands that overlapped it.
"""

import threading


class Watch:
    """Collects the values that a name may have had during a command."""

    def __init__(self, name, values):
        self.name, self.seen = name, set(values)

    def may_be_absent(self):
        return None in self.seen

    def must_be_absent(self):
        return self.seen == {None}

    def digests(self):
        return {value[0] for value in self.seen if value}

    def is_kept(self, digest):
        """Tells whether the layer blobs of this value had to be there all the time."""
        return all(kept for value in self.seen if value for found, kept in [value] if found == digest)


class Write:
    """A command under way that gives a name a value, or one of several."""

    def __init__(self, name, values):
        self.name, self.values, self.overlapped = name, frozenset(values), set()


class Names:
    """All names, what each may be, and what is under way."""

    def __init__(self):
        self.lock = threading.Lock()
        self.possible, self.writes, self.watches = {}, {}, {}

    def all(self):
        with self.lock:
            return sorted(self.possible)

    def add(self, name):
        with self.lock:
            self.possible[name] = {None}
            self.writes[name], self.watches[name] = [], []

    def watch(self, name):
        """Begins to watch a name; to be called before the command begins."""
        with self.lock:
            return self._watch(name)

    def watch_all(self):
        with self.lock:
            return [self._watch(name) for name in self.possible]

    def _watch(self, name):
        under_way = set().union(*(write.values for write in self.writes[name]))
        watch = Watch(name, self.possible[name] | under_way)
        self.watches[name].append(watch)
        return watch

    def forget(self, *watches):
        """Ends watching; to be called after the command has ended."""
        with self.lock:
            for watch in watches:
                self.watches[watch.name].remove(watch)

    def begin(self, name, values):
        """Begins a write; returns it with a watch on what others do to the name."""
        with self.lock:
            watch, write = self._watch(name), Write(name, values)
            for other in self.watches[name]:
                if other is not watch:
                    other.seen |= write.values
            for other in self.writes[name]:
                other.overlapped |= write.values
                write.overlapped |= other.values
            self.writes[name].append(write)
            return write, watch

    def done(self, write, value):
        """The command returned 0 and gave the name this value."""
        self._end(write, lambda _: {value} | write.overlapped)

    def maybe(self, write):
        """The command was killed: its value may hold."""
        self._end(write, lambda before: before | write.values)

    def unchanged(self, write):
        """The command refused, and changed nothing."""
        self._end(write, lambda before: before)

    def _end(self, write, after):
        with self.lock:
            self.writes[write.name].remove(write)
            self.possible[write.name] = set(after(self.possible[write.name]))

    def values(self, name):
        with self.lock:
            return set(self.possible[name])

    def settle(self, found):
        """Takes over what the store says while nothing is under way; returns what is wrong, or None.

        `found` is the digest of each name.
        """
        with self.lock:
            for name in sorted(self.possible.keys() | found.keys()):
                values = self.possible.get(name)
                digest = found.get(name)
                if values is None:
                    return f"the name {name} came from nowhere"
                left = {value for value in values if (value and value[0]) == digest}
                if not left:
                    return f"{name} is {digest}, expected {texts(values)}"
                if digest:
                    left = {(digest, all(kept for _, kept in left))}
                self.possible[name] = left
        return None


def texts(values):
    return " or ".join(sorted(value[0] if value else "absent" for value in values))
