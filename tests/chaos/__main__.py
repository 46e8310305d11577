"""``python -m chaos``: so many faults on several machines at once, and a table of what came of them."""

import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from chaos.checks import Ended
from chaos.faults import FAULTS, Fault
from chaos.ground import enter_namespace
from chaos.machine import House, Machine
from chaos.pictures import zeros_and_ones
from chaos.plan import again, line, plan, table
from chaos.trial import Outcome, Trial, in_second
from labelloop.demo.examples import Examples
from support.waiting import wait_until

_LABEL_STUDIO = Path(__file__).parents[2] / ".venv-label-studio/bin/label-studio"
_LOGS = Path(tempfile.gettempdir()) / "labelloop-chaos"
_SOON_SECONDS = 3.0


class Pass:
    """All trials of one call: machines take them from one list, those first that suit the house they are in."""

    def __init__(
        self,
        label_studio: Path,
        folder: Path,
        examples: Examples,
        trials: Sequence[tuple[Fault, int]],
        machines: int,
        seconds: float,
    ) -> None:
        self._machines, self._until = machines, time.monotonic() + seconds
        self._inside = Counter[House | None]()
        self._label_studio, self._folder, self._examples = label_studio, folder, examples
        self._left, self._number = list(trials), len(trials)
        self._taking = threading.Lock()
        self._comparing = {
            (one.house.trains, second): threading.Lock() for one, _ in trials for second in (False, True)
        }
        self._expected: dict[tuple[str, bool], tuple[Ended, float]] = {}
        self.outcomes: list[Outcome] = []
        self.failures: list[str] = []

    def run(self) -> None:
        """Make all trials, as far as there is time."""
        threads = [
            threading.Thread(target=self._work, args=(at,), name=f"machine {at}") for at in range(self._machines)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, at: int) -> None:
        try:
            with Machine(self._label_studio, self._folder / f"machine-{at}") as machine:
                house: House | None = None
                while (taken := self._take(house)) is not None:
                    house = taken[0].house
                    self._try(machine, *taken)
                self._leave(machine)
        except Exception:  # noqa: BLE001 - border: a machine that cannot be run at all is a failure of the pass
            self._fail(f"machine {at}: {traceback.format_exc()}")

    def _take(self, house: House | None) -> tuple[Fault, int] | None:
        """Take the next trial of this house, or, where there is none, of another one."""
        with self._taking:
            self._inside[house] -= 1
            if not self._left or time.monotonic() > self._until:
                return None
            left = Counter(fault.house for fault, _ in self._left)
            if house not in left:
                house = self._choose(left)
            self._inside[house] += 1
            one = next(one for one in self._left if one[0].house is house)
            self._left.remove(one)
            return one

    def _choose(self, left: Counter[House]) -> House:
        """Choose the house with the most trials for half of the machines, and for the others one that none is in."""
        most = left.most_common(1)[0][0]
        others = [house for house in left if house is not most]
        if not others or 2 * self._inside[most] < self._machines:
            return most
        return min(others, key=lambda house: (self._inside[house], left[house]))

    def _try(self, machine: Machine, fault: Fault, seed: int) -> None:
        if machine.house is not fault.house or fault.house.fresh:
            self._leave(machine)
        begun = machine.log.stat().st_size if machine.log.exists() else 0
        try:
            machine.enter(fault.house)
            expected, lasts = self._undisturbed(machine, fault.house, second=in_second(fault, seed))
            # A fresh one has served for one trial when it was that for comparison.
            machine.enter(fault.house)
            outcome = Trial(machine, self._examples, expected, lasts).of(fault, seed)
        except Exception:  # noqa: BLE001 - border: whatever it is, the other trials are to be made
            outcome = Outcome(fault.name, seed, fault.house.name, False, 0, "", 0, 0, 0, (traceback.format_exc(),))
        if outcome.problems:
            self._keep_log(machine, outcome, begun)
            self._leave(machine)
        else:
            self._learn_duration(fault.house, outcome)
        with self._taking:
            self.outcomes.append(outcome)
            click.echo(f"[{len(self.outcomes)}/{self._number}] {line(outcome)}")
            for problem in outcome.problems:
                click.echo(f"    {problem}")
            if outcome.problems:
                click.echo(f"    again: {again(outcome)}")

    def _undisturbed(self, machine: Machine, house: House, *, second: bool) -> tuple[Ended, float]:
        """See once what an undisturbed trial comes to, and how long it takes."""
        with self._comparing[house.trains, second]:
            if (house.trains, second) not in self._expected:
                ended, seconds = Trial(machine, self._examples).undisturbed(second=second)
                assert not ended.problems, ended.problems
                self._expected[house.trains, second] = ended, seconds
                which = "second" if second else "first"
                click.echo(f"undisturbed, trained {house.trains}: {seconds:.1f} s for the {which} round")
            return self._expected[house.trains, second]

    def _learn_duration(self, house: House, outcome: Outcome) -> None:
        """Have the next faults come sooner where a trial was shorter than the undisturbed one, which began cold."""
        with self._comparing[house.trains, outcome.second]:
            ended, seconds = self._expected[house.trains, outcome.second]
            self._expected[house.trains, outcome.second] = ended, min(seconds, outcome.whole)

    def _leave(self, machine: Machine) -> None:
        """End LabelLoop, and see that none of its processes lives on."""
        machine.leave()
        try:
            wait_until(lambda: not machine.marked(), "all processes have ended", _SOON_SECONDS)
        except AssertionError:
            self._fail(f"processes outlived LabelLoop: {machine.marked()}")

    def _fail(self, why: str) -> None:
        with self._taking:
            self.failures.append(why)
            click.echo(why)

    def _keep_log(self, machine: Machine, outcome: Outcome, begun: int) -> None:
        _LOGS.mkdir(exist_ok=True)
        target = _LOGS / f"{outcome.fault}-{outcome.seed}.log"
        with machine.log.open("rb") as log:
            log.seek(begun)
            target.write_bytes(log.read())
        click.echo(f"    log: {target}")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--faults", default=100, show_default=True, type=click.IntRange(1), help="How many faults.")
@click.option("--seed", default=1, show_default=True, help="The first fault's; each further one has the next.")
@click.option(
    "--only", multiple=True, type=click.Choice([one.name for one in FAULTS]), help="Only this kind, or these."
)
@click.option("--machines", default=3, show_default=True, type=click.IntRange(1, 8), help="How many at once.")
@click.option("--minutes", default=22.0, show_default=True, help="After so many no further fault is begun.")
@click.option("--label-studio", default=_LABEL_STUDIO, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(faults: int, seed: int, only: tuple[str, ...], machines: int, minutes: float, label_studio: Path) -> None:
    """Break a running loop at random points, and see that it comes to the same end as an undisturbed one."""
    begun = time.monotonic()
    # Those that are named come in turn, and all as often as they say.
    kinds = [replace(one, often=1) for one in FAULTS if one.name in only] if only else list(FAULTS)
    for one in kinds:
        if why := one.cannot():
            click.echo(f"not tried: {one.name}, for {why}")
    chosen = plan([one for one in kinds if not one.cannot()], faults, seed)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        examples = zeros_and_ones(Path(name) / "pictures")
        done = Pass(label_studio, Path(name), examples, chosen, min(machines, len(chosen)), 60.0 * minutes)
        done.run()
    for row in ("", *table(done.outcomes)):
        click.echo(row)
    failed = [one for one in done.outcomes if one.problems]
    click.echo(f"what was killed was gone after {max((one.gone for one in done.outcomes), default=0.0):.1f} s at most")
    if len(done.outcomes) < len(chosen):
        left = len(chosen) - len(done.outcomes)
        click.echo(f"{left} faults were not begun within {minutes:g} minutes; more come with --minutes")
    click.echo(f"{len(done.outcomes)} faults in {time.monotonic() - begun:.0f} s, {len(failed)} failed")
    for outcome in failed:
        click.echo(f"  {line(outcome)}; again: {again(outcome)}")
    if failed or done.failures or not done.outcomes:
        sys.exit(1)


if __name__ == "__main__":
    enter_namespace()
    main()
