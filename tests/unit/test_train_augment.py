"""Augmentation keeps labels true."""

import pytest

pytestmark = pytest.mark.train


def test_every_picture_changes_a_little_and_by_the_generator_alone() -> None:
    import torch

    from labelloop.train.augment import augment

    images = torch.linspace(-1, 1, 32).expand(8, 3, 32, 32).contiguous()
    one, two = (augment(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == images.shape
    assert torch.equal(one, two)
    assert not torch.equal(one[0], one[1])
    assert 0 < (one - images).abs().mean() < 0.5


def test_nothing_is_flipped_or_moved_out_of_sight() -> None:
    import torch

    from labelloop.train.augment import augment

    images = torch.full((200, 3, 32, 32), -1.0)
    images[:, :, 8:14, 8:14] = 1.0  # a square in the upper left
    changed = augment(images, torch.Generator().manual_seed(0)).mean(dim=1)
    quarters = torch.stack([changed[:, rows, columns].sum(dim=(1, 2)) for rows in HALVES for columns in HALVES], dim=1)
    assert (quarters.argmax(dim=1) == 0).all()


HALVES = (slice(0, 16), slice(16, 32))
