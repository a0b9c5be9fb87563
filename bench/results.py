"""What was measured, and the comparisons that are made of it: medians, ratios by round, reached or not."""

import statistics
from typing import NamedTuple

MIB = 1 << 20
# With fewer rounds one disturbed command decides.
ENOUGH = 5
# The kernel counts processor time no finer.
LEAST = 0.001


class Row(NamedTuple):
    """One comparison: the sum of what some commands took against the sum of what others did.

    `at_most` is the ratio to reach, or None where nothing is promised.
    """

    work: str
    ours: tuple
    against: str
    theirs: tuple
    at_most: float | None = None


class Peak(NamedTuple):
    """A bound on the memory of one command, in bytes."""

    work: str
    ours: str
    at_most: int


class Measures:
    """What each command of one trial took, by round; and why one has no figures."""

    def __init__(self):
        self.taken, self.absent = {}, {}

    def add(self, key, number, used):
        self.taken.setdefault(key, {})[number] = used

    def rounds(self, keys):
        """Returns the rounds in which all of some commands were measured."""
        found = [set(self.taken.get(key, {})) for key in keys]
        return sorted(set.intersection(*found))

    def seconds(self, keys, number):
        return sum(self.taken[key][number].wall for key in keys)

    def processor(self, keys, number):
        return sum(self.taken[key][number].user + self.taken[key][number].system for key in keys)

    def reason(self, keys):
        """Returns why some commands have no figures."""
        return (
            "; ".join(dict.fromkeys(self.absent[key] for key in keys if key in self.absent))
            or "not measured"
        )


def compare(row, measures):
    """Returns a row's figures as a JSON object."""
    if isinstance(row, Peak):
        return compare_peak(row, measures)
    found = {"work": row.work, "against": row.against, "at_most": rounded(row.at_most), "unit": "s"}
    rounds = measures.rounds(row.ours + row.theirs)
    if not rounds:
        return found | {"absent": measures.reason(row.ours + row.theirs)}
    ours = [measures.seconds(row.ours, number) for number in rounds]
    theirs = [measures.seconds(row.theirs, number) for number in rounds]
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    processor = [processor_ratio(row, measures, number) for number in rounds]
    return found | {
        "ours": rounded(statistics.median(ours)),
        "theirs": rounded(statistics.median(theirs)),
        "ratio": rounded(ratio),
        "least": rounded(min(ratios)),
        "most": rounded(max(ratios)),
        "processor_ratio": rounded(statistics.median(processor)),
        "rounds": len(rounds),
        "reached": verdict(ratio, row.at_most, len(rounds)),
    }


def processor_ratio(row, measures, number):
    """Returns the ratio of the processor seconds, which others on the machine change less."""
    ours, theirs = (measures.processor(keys, number) for keys in (row.ours, row.theirs))
    return ours / max(theirs, LEAST)


def compare_peak(row, measures):
    found = {"work": row.work, "against": "–", "at_most": row.at_most / MIB, "unit": "MiB"}
    peaks = [used.peak / MIB for used in measures.taken.get(row.ours, {}).values()]
    if not peaks:
        return found | {"absent": measures.reason([row.ours])}
    return found | {
        "ours": rounded(statistics.median(peaks)),
        "least": rounded(min(peaks)),
        "most": rounded(max(peaks)),
        "rounds": len(peaks),
        # The bound is on every run of it.
        "reached": max(peaks) * MIB <= row.at_most,
    }


def verdict(value, at_most, rounds):
    """Returns whether a promise is kept, or None where there is none or it cannot be told."""
    return None if at_most is None or rounds < ENOUGH else value <= at_most


def rounded(value):
    return None if value is None else round(value, 4)


def command_figures(trial, measures):
    """Yields what each command of a trial took, as JSON objects."""
    for key, taken in measures.taken.items():
        columns = list(zip(*taken.values(), strict=True))
        yield {
            "trial": trial,
            "command": key,
            "wall": [rounded(value) for value in columns[0]],
            "user": [rounded(value) for value in columns[1]],
            "system": [rounded(value) for value in columns[2]],
            "peak_bytes": list(columns[3]),
        }
