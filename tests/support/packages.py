"""Python as it is where only the packages of a requirements file are installed."""

import re
from importlib.metadata import packages_distributions
from pathlib import Path

_SCRIPT = """
import sys

MISSING = {missing!r}

class _Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, _Missing)
"""


def locked(requirements: Path) -> set[str]:
    """Name the packages of a compiled file."""
    return set(re.findall(r"^([a-z0-9.-]+)==", requirements.read_text(), re.MULTILINE))


def only(requirements: Path) -> str:
    """Write what a script begins with to find no package but those of a compiled file, whatever else is installed."""
    allowed = {*locked(requirements), "labelloop"}
    owners = {name: {_plain(one) for one in found} for name, found in packages_distributions().items()}
    missing = sorted(name for name, found in owners.items() if not found & allowed)
    return _SCRIPT.format(missing=frozenset(missing))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
