"""Prints comparisons and figures: for a terminal, and as Markdown."""

import statistics

from results import ENOUGH, MIB

SMALL = 0.1
TIMES = ["ours, s", "theirs, s", "ratio", "from–to", "cpu"]
COMPARISON = ["work", "against", *TIMES, "at most", "reached"]


def seconds(value):
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def comparison(found):
    """Returns the cells of one comparison."""
    reached = {None: "", True: "yes", False: "**no**"}
    cells = dict.fromkeys(COMPARISON, "")
    cells |= {"work": found["work"], "against": found["against"], "at most": bound(found)}
    if "absent" in found:
        return list((cells | {"ratio": found["absent"].partition(":")[0]}).values())
    cells["reached"] = reached[found["reached"]]
    if found["unit"] != "s":
        cells["ours, s"] = f"{found['ours']:.0f} {found['unit']}"
        cells["from–to"] = spread(found, "{:.0f}")
        return list(cells.values())
    digits = "{:.3f}" if found["ratio"] < SMALL else "{:.2f}"
    cells |= {"ours, s": seconds(found["ours"]), "theirs, s": seconds(found["theirs"])}
    cells |= {"ratio": digits.format(found["ratio"]), "from–to": spread(found, digits)}
    cells["cpu"] = digits.format(found["processor_ratio"])
    return list(cells.values())


def bound(found):
    if found["at_most"] is None:
        return ""
    return (
        f"{found['at_most']:.2f}"
        if found["unit"] == "s"
        else f"{found['at_most']:.0f} {found['unit']}"
    )


def spread(found, digits):
    return f"{digits.format(found['least'])}–{digits.format(found['most'])}"


FIGURES = ["trial", "command", "wall, s", "user, s", "system, s", "peak, MiB"]


def figures(found, least_peak):
    """Returns the cells of one command's medians."""
    median = {
        key: statistics.median(found[key]) for key in ("wall", "user", "system", "peak_bytes")
    }
    times = [seconds(median[key]) for key in ("wall", "user", "system")]
    return [found["trial"], found["command"], *times, peak(median["peak_bytes"], least_peak)]


def peak(value, least):
    """Returns memory in MiB; what is no more than any command is measured with is only known to be less."""
    return f"{'≤ ' if value <= least else ''}{value / MIB:.0f}"


def time_and_peak(found, least_peak):
    return [seconds(found["wall"]), peak(found["peak_bytes"], least_peak)]


def table(head, rows, markdown, left=2):
    """Returns a table as text."""
    if markdown:
        ruler = ["---" if column < left else "---:" for column in range(len(head))]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ruler, *rows])
    plain = [[cell.replace("**", "") for cell in cells] for cells in [head, *rows]]
    widths = [max(len(cells[column]) for cells in plain) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column < left else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(cells, widths, strict=True))).rstrip()
        for cells in plain
    )  # fmt: skip


def machine(found):
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory_gib']} GiB, Linux {found['kernel']}, "
        f"{found['file_system']}; load {found['load_before']} before and {found['load_after']} after"
    )


def report(document, markdown):
    """Yields the lines of a report."""
    yield machine(document["machine"]) + "."
    programs = ", ".join(
        f"{name} ({version or 'not there'})" for name, version in document["programs"].items()
    )
    yield f"{document['rounds']} rounds. {programs}."
    if document["rounds"] < ENOUGH:
        yield f"Fewer than {ENOUGH} rounds: nothing here counts as reached or not."
    yield ""
    yield table(COMPARISON, [comparison(found) for found in document["comparisons"]], markdown)
    yield ""
    reasons = (found["absent"] for found in document["comparisons"] if "absent" in found)
    yield from (f"- {reason}" for reason in dict.fromkeys(reasons))
    yield ""
    yield table(
        FIGURES,
        [figures(found, document["least_peak"]) for found in document["commands"]],
        markdown,
    )
