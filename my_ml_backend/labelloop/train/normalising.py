"""What ``labelloop.pictures.normalise`` does, on the device: pixels travel as bytes and become numbers there."""

import torch


def normalised(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Turn uint8 (n, height, width, 3) into the network's float32 (n, 3, height, width); mean, std: (3, 1, 1)."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
