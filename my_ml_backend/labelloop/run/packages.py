"""What a run's result depends on besides data and settings: packages, Python, the code's commit, the machine."""

import platform
import resource
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from labelloop.files import cores

_PACKAGES = (
    "labelloop",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "albumentations",
    "numpy",
    "pillow",
    "scikit-learn",
    "onnx",
    "onnxruntime",
)
_GIT_SECONDS = 5


def packages() -> dict[str, str]:
    """Give the versions of what has a part in the result; what is not installed is left out."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Give the commit that this code was checked out at, with ``+changes`` where files differ; empty outside of git."""
    git, here = shutil.which("git"), Path(__file__).parent
    if git is None:
        return ""
    head = _git(git, here, "rev-parse", "HEAD")
    changed = head and _git(git, here, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{head}+changes" if changed else head


def machine() -> dict[str, str | int]:
    """Describe Python and machine in a few words."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
    }


def peak_memory() -> int:
    """Give the most memory that this process, or one of its ended children, has held: bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _git(git: str, folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
