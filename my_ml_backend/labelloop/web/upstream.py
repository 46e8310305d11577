"""Label Studio's base class, imported without torch.

``label_studio_ml.model`` (1.0.9 and 2.x) imports ``torch.multiprocessing`` where torch is installed, which costs 3 s
and 0.5 GB, and then sets the start method of the whole process to ``spawn``. Neither is of use in a web process, so
torch is hidden from that one import; without it the module falls back to the standard library and sets nothing.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Make imports of one package raise ImportError inside the block, whether or not it was imported before."""
    before = {name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == package}
    for name in before:
        del sys.modules[name]
    sys.modules[package] = None  # type: ignore[assignment]  # how the import system spells: there is none
    try:
        yield
    finally:
        del sys.modules[package]
        sys.modules.update(before)


with hidden("torch"), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' invalid escapes, told anew whenever they are compiled
    from label_studio_ml.model import LabelStudioMLBase

__all__ = ["LabelStudioMLBase", "hidden"]
