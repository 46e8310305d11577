"""The two libraries that change pictures, each imported on first use: OpenCV (0.2 s) and albumentations (2 s)."""

import os
from types import ModuleType
from typing import Any


def opencv() -> ModuleType:
    """Import OpenCV and keep it to the calling thread in this process: pictures are small, and workers share the cores.

    Nothing else in LabelLoop uses OpenCV, so that its setting for the whole process surprises nobody.
    """
    import cv2

    cv2.setNumThreads(0)
    return cv2


def albumentations() -> Any:
    """Import albumentations without its question to the package index whether there is a newer one."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    opencv()
    import albumentations as library

    return library
