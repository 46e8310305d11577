"""Round and square things scattered over small pictures, with their boxes: quickly made, and learned in seconds."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from labelloop.types import Box, Region

CLASSES = ("round", "square")
WIDTH, HEIGHT = 96, 64

_COLOURS = {"round": (70, 220, 70), "square": (220, 70, 70)}


def picture(folder: Path, number: int) -> tuple[Path, tuple[Region, ...]]:
    """Write picture ``number``, and give its file and what is true of it: one thing to three, none over another."""
    chance = np.random.default_rng(number)
    image = Image.new("RGB", (WIDTH, HEIGHT), tuple(chance.integers(20, 60, 3).tolist()))
    pen, regions, taken = ImageDraw.Draw(image), [], np.zeros((HEIGHT, WIDTH), dtype=bool)
    for _ in range(int(chance.integers(1, 4))):
        width, height = chance.integers(14, 27, 2).tolist()
        x, y = int(chance.integers(0, WIDTH - width)), int(chance.integers(0, HEIGHT - height))
        label = CLASSES[int(chance.integers(2))]
        if taken[y : y + height, x : x + width].any():
            continue
        taken[y : y + height, x : x + width] = True
        draw = pen.ellipse if label == "round" else pen.rectangle
        draw((x, y, x + width - 1, y + height - 1), fill=_COLOURS[label])
        regions.append(Region(label, Box(x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT)))
    path = folder / f"{number}.png"
    image.save(path)
    return path, tuple(regions)


def weights(folder: Path) -> Path:
    """Write first weights of timm's smallest network, as if they had been learned; give their file."""
    import torch
    from safetensors.torch import save_file

    from labelloop.train.backbone import build
    from labelloop.types import TrainSettings

    path = folder / "first.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(build(TrainSettings(backbone="test_resnet", weights="none"), 2).state_dict(), path)
    return path


def sha256(path: Path) -> str:
    """Hash a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def corners(regions: tuple[Region, ...]) -> npt.NDArray[np.float64]:
    """Give left, top, right, bottom of boxes, in shares of the picture's sides."""
    shapes = [one.shape for one in regions if isinstance(one.shape, Box)]
    rows = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in shapes]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)
