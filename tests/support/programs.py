"""Programs of containers, run by this Python in the place of an image's."""

import os
import re
import sys
from collections.abc import Sequence

_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "LD_LIBRARY_PATH")


def children_environment() -> dict[str, str]:
    """Give what a container's program needs of this process to be this Python, and nothing else of it."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}


def this_python(words: Sequence[str]) -> list[str]:
    """Give a container's command with this Python in the place of the image's."""
    return [sys.executable, *words[1:]] if re.fullmatch(r"python[\d.]*", words[0]) else list(words)
