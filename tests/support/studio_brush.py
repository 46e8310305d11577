"""Label Studio's own reading of brush masks, without the package around it, whose imports take seconds."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import label_studio_sdk


@cache
def _brush() -> ModuleType:
    path = Path(label_studio_sdk.__file__).parent / "converter" / "brush.py"
    spec = importlib.util.spec_from_file_location("label_studio_brush", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decode_rle(rle: Sequence[int]) -> Any:
    """Decode as Label Studio's converter does: a flat array of four channels per pixel."""
    return _brush().decode_rle(rle)
