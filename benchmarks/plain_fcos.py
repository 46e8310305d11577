"""A plain FCOS to compare with: torchvision's, on the same network and weights, as one would write it in an hour."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.ops import FeaturePyramidNetwork

from labelloop.kinds.object_detection.recipes.detecting import Candidates
from labelloop.kinds.object_detection.recipes.examples import Example

WIDTH, HEIGHT = 400, 300
_CHANNELS, _BATCH = 96, 4
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Body(nn.Module):
    out_channels = _CHANNELS

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.body = timm.create_model(
            "mobilenetv2_100", pretrained=True, num_classes=0, pretrained_cfg_overlay={"file": weights}, pad_type="same"
        )
        known: Any = self.body.feature_info
        self._places = [at for at, one in enumerate(known) if one["reduction"] in (4, 8, 16)]
        widths = [known[at]["num_chs"] for at in self._places]
        self.pyramid = FeaturePyramidNetwork(widths, _CHANNELS)

    def forward(self, images: torch.Tensor) -> Any:
        body: Any = self.body
        maps = body.forward_intermediates(images, indices=self._places, intermediates_only=True)
        return self.pyramid({str(at): one for at, one in enumerate(maps)})


def detector(weights: str, labels: int) -> FCOS:
    """Make it; its heads have two convolutions each."""
    anchors = AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3)
    model = FCOS(
        _Body(weights), labels, min_size=HEIGHT, max_size=WIDTH, image_mean=_MEAN, image_std=_STD,
        anchor_generator=anchors,
    )  # fmt: skip
    for head in (model.head.classification_head, model.head.regression_head):
        head.conv = nn.Sequential(*list(head.conv)[:6])
    return model


def _picture(example: Example) -> torch.Tensor:
    with Image.open(example.sample.path) as image:
        pixels = np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def fit(model: FCOS, examples: Sequence[Example], epochs: int, seed: int) -> None:
    """Train it: AdamW, one cycle, flips and brightness, batch norms as they are, batches of four."""
    torch.set_num_threads(1)
    chance, sides = np.random.default_rng(seed), torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    pictures = [_picture(one) for one in examples]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    steps = epochs * math.ceil(len(examples) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    for _ in range(epochs):
        model.train()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        order = chance.permutation(len(examples))
        for start in range(0, len(order), _BATCH):
            images, targets = [], []
            for row in order[start : start + _BATCH]:
                image, boxes = pictures[row], torch.from_numpy(examples[row].corners) * sides
                if chance.random() < 0.5:
                    image, boxes = (
                        image.flip(2),
                        torch.stack([WIDTH - boxes[:, 2], boxes[:, 1], WIDTH - boxes[:, 0], boxes[:, 3]], 1),
                    )
                if chance.random() < 0.5:
                    image, boxes = (
                        image.flip(1),
                        torch.stack([boxes[:, 0], HEIGHT - boxes[:, 3], boxes[:, 2], HEIGHT - boxes[:, 1]], 1),
                    )
                images.append((image * float(chance.uniform(0.8, 1.2))).clamp(0, 1))
                targets.append({"boxes": boxes, "labels": torch.from_numpy(examples[row].labels)})
            losses = sum(model(images, targets).values())
            optimizer.zero_grad()
            losses.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()


def found_by_plain(model: FCOS, examples: Sequence[Example]) -> list[Candidates]:
    """Let it find boxes."""
    model.eval()
    model.score_thresh, model.detections_per_img = 0.02, 300
    sides, found = np.tile((WIDTH, HEIGHT), 2), []
    for one in examples:
        with torch.inference_mode():
            (seen,) = model([_picture(one)])
        scores = seen["scores"].numpy().clip(1e-6, 1 - 1e-6)
        corners = (seen["boxes"].numpy() / sides).astype(np.float32)
        found.append(Candidates(corners, seen["labels"].numpy(), np.log(scores / (1 - scores))))
    return found
