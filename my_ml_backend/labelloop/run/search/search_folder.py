"""The folder of one search, inside its run's folder: which file is what, and its plan.

A search that goes on is the same search: it was asked for the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labelloop.errors import SettingsError, StoreError
from labelloop.run.context import write_json
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import with_parameters
from labelloop.run.search.space import Space
from labelloop.settings import Settings


@dataclass(frozen=True, slots=True)
class SearchFolder:
    """Names the files of one search."""

    run: RunFolder

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.run.path / "search"

    @property
    def plan(self) -> Path:
        """What is searched."""
        return self.path / "plan.json"

    @property
    def journal(self) -> Path:
        """Optuna's journal: every trial, as it went."""
        return self.path / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the process that leads the search."""
        return self.path / ".lock"

    @property
    def asking(self) -> Path:
        """Held by the process that is choosing its next trial."""
        return self.path / ".asking"

    @property
    def result(self) -> Path:
        """Trials, best values, importances, times."""
        return self.path / "search.json"

    @property
    def report(self) -> Path:
        """The same to look at: one HTML file."""
        return self.path / "search.html"

    def log(self, worker: int) -> Path:
        """What one of the processes has said."""
        return self.path / f"worker-{worker}.log"

    def trial(self, number: int) -> Path:
        """Where a trial, and whichever takes it up, works; gone when it ends."""
        return self.path / "trials" / str(number)


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """``plan.json``: the space, the manifest's hash, and the parameters of a trial as far as it chooses no others.

    Parameters are named and spelled as on the command line.
    """

    space: Space
    parameters: Mapping[str, str]
    manifest: str

    def parameters_with(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Give all parameters of a trial. A finetune from learned weights begins where a head ends: it trains both."""
        own = {**self.parameters, **chosen}
        if own.get("recipe") == "finetune" and own.get("weights") != "none":
            return {**self.parameters, **{name: value for name, value in chosen.items() if name != "recipe"}}
        return own

    def settings(self, settings: Settings, chosen: Mapping[str, str]) -> Settings:
        """Give these settings with a trial's parameters."""
        return with_parameters(settings, self.parameters_with(chosen))

    @classmethod
    def read(cls, folder: SearchFolder) -> Self | None:
        """Read a folder's plan; None where there is none yet. Raises StoreError when it is damaged."""
        try:
            raw = json.loads(folder.plan.read_text())
            return cls(space=Space.from_json(raw.pop("space")), **raw)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{folder.plan} is damaged ({error}): remove {folder.path} and search anew") from error

    def settle(self, folder: SearchFolder) -> Self:
        """Write the plan; raises SettingsError when the folder has another one."""
        held = self.read(folder)
        if held is None:
            plan = {"space": self.space.to_json(), "parameters": dict(self.parameters), "manifest": self.manifest}
            write_json(folder.plan, plan)
        elif held != self:
            raise SettingsError(
                f"{folder.path} holds another search ({_difference(held, self)}): "
                "ask for the same to go on with it, or take another run folder"
            )
        return self


def _difference(held: SearchPlan, asked: SearchPlan) -> str:
    wanted = asked.space.to_json()
    for name, value in held.space.to_json().items():
        if (now := wanted.get(name, ())) != value:
            return f"its {name} are {_listed(value)}, and now {_listed(now)} are asked for"
    for name in held.parameters:
        if held.parameters[name] != asked.parameters.get(name):
            return f"its {name} is {held.parameters[name]!r}, and now {asked.parameters.get(name)!r} is asked for"
    return "of other labels"


def _listed(values: tuple[object, ...]) -> str:
    return ",".join(str(value) for value in values)
