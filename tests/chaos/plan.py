"""Which faults come, in which order, and what came of them as a table."""

import statistics
from collections.abc import Iterator, Sequence
from itertools import count, islice

from chaos.faults import FAULTS, Fault
from chaos.trial import Outcome


def plan(faults: Sequence[Fault], number: int, seed: int) -> list[tuple[Fault, int]]:
    """Choose so many faults, each kind as often as it says, with a seed for each: the first one's is ``seed``."""

    def places() -> Iterator[tuple[float, str, Fault]]:
        for fault in faults:
            for at in range(number):
                yield (at + 0.5) / fault.often, fault.name, fault

    chosen = islice(sorted(places(), key=lambda one: one[:2]), number)
    return [(fault, at) for (_, _, fault), at in zip(chosen, count(seed), strict=False)]


def again(outcome: Outcome) -> str:
    """Say how one trial is repeated alone."""
    return f'make chaos ARGS="--faults 1 --only {outcome.fault} --seed {outcome.seed}"'


def line(outcome: Outcome) -> str:
    """Tell of one trial."""
    came = "FAILED" if outcome.problems else f"{outcome.seconds:5.1f} s"
    did = f" ({outcome.did})" if outcome.did else ""
    where = "second" if outcome.second else "first"
    return f"{outcome.fault}{did}: {came}, {outcome.moment:.1f} s into the {where} round, seed {outcome.seed}"


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Write one row a fault, as Markdown: how often it came, how often all was well in the end, after how long."""
    yield "| fault | what it is | times | recovered | median s | worst s |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for fault in FAULTS:
        found = [one for one in outcomes if one.fault == fault.name]
        if found:
            yield _row(f"`{fault.name}`", fault.about, found)
    yield _row("all", "", outcomes)


def _row(name: str, about: str, outcomes: Sequence[Outcome]) -> str:
    seconds = sorted(one.seconds for one in outcomes if not one.problems)
    median, worst = (f"{statistics.median(seconds):.1f}", f"{seconds[-1]:.1f}") if seconds else ("", "")
    return f"| {name} | {about} | {len(outcomes)} | {len(seconds)} | {median} | {worst} |"
