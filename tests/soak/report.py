"""Counts violations and summarizes how long commands took."""

import bisect
import threading
import time


class Violations:
    """What must not have happened; the first one ends the run."""

    def __init__(self, most):
        self.lock, self.most, self.count = threading.Lock(), most, 0
        self.reached = threading.Event()

    def add(self, outcome, wrong):
        with self.lock:
            self.count += 1
            print(f"VIOLATION at {time.monotonic():.3f}: {wrong}", flush=True)
            if outcome:
                print(f"     {outcome.text()}", flush=True)
            if self.count >= self.most:
                self.reached.set()


def percentile(values, share):
    """Returns the value that this share of some sorted values is not above."""
    return values[min(len(values) - 1, int(len(values) * share))]


def milliseconds(values):
    """Returns number, median, 99th percentile and maximum of some seconds, as columns."""
    if not values:
        return f"{0:>7} {'-':>9} {'-':>9} {'-':>9}"
    values = sorted(values)
    figures = percentile(values, 0.5), percentile(values, 0.99), values[-1]
    return f"{len(values):>7} " + " ".join(f"{1000 * figure:>9.1f}" for figure in figures)


class Spans:
    """Moments at which something went on, to ask whether a time overlaps with one."""

    def __init__(self, spans):
        self.begins, self.ends = [], []
        for began, ended in sorted(spans):
            if self.ends and began <= self.ends[-1]:
                self.ends[-1] = max(self.ends[-1], ended)
            else:
                self.begins.append(began)
                self.ends.append(ended)

    def overlap(self, began, ended):
        place = bisect.bisect_left(self.ends, began)
        return place < len(self.begins) and self.begins[place] < ended


def waits(outcomes):
    """Returns a table of how long each kind of command took, with and without a gc beside it.

    Those that were disturbed are not counted, though others may have waited for them.
    """
    collecting = Spans([(o.began, o.ended) for o in outcomes if o.kind == "gc"])
    columns = f"{'count':>7} {'median':>9} {'p99':>9} {'max':>9}"
    lines = [f"{'milliseconds':<20} | {columns} | {columns}"]
    lines.append(f"{'':<20} | {'without gc':^37} | {'beside gc':^37}")
    for kind in sorted({outcome.kind for outcome in outcomes}):
        without, beside = [], []
        for outcome in outcomes:
            if outcome.kind != kind or outcome.signal or outcome.disturbed:
                continue
            overlaps = collecting.overlap(outcome.began, outcome.ended)
            (beside if overlaps else without).append(outcome.ended - outcome.began)
        lines.append(f"{kind:<20} | {milliseconds(without)} | {milliseconds(beside)}")
    return "\n".join(lines)
