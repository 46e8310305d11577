"""Test-time flips: a network's mean over picture and mirror image, in torch and in ONNX."""

from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from labelloop.train.export import IMAGES

_BOTH = "images.both"
_OF_BOTH = "output.of_both"


class Flipped(nn.Module):
    """Gives the mean of what ``network`` says of the pictures (n, 3, height, width) and of their mirror images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Run the network on both, as one batch of twice the size."""
        both: torch.Tensor = self.network(torch.cat((images, images.flip(-1))))
        straight, mirrored = both.chunk(2)
        return (straight + mirrored) / 2


def write_flipped_onnx(source: Path, path: Path, output: str) -> None:
    """Write the network of ``source`` (images to ``output``, free batch size) so that it averages over flips.

    Done on the graph itself: torch would export the join and the parting for one batch size only, and takes ten times
    as long.
    """
    model = onnx.load(str(source))
    graph = model.graph
    for node in graph.node:
        node.input[:] = [_BOTH if name == IMAGES else name for name in node.input]
        node.output[:] = [_OF_BOTH if name == output else name for name in node.output]
    before, after = list(_joining()), list(_averaging(output))
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        helper.make_tensor(name, TensorProto.INT64, [len(values)], values) for name, values in _CONSTANTS.items()
    )
    del graph.value_info[:]  # sizes of the single batch, which no longer hold
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


_CONSTANTS = {"flips.last": [-1], "flips.first": [-(2**63) + 1], "flips.width": [3]}


def _joining() -> list[onnx.NodeProto]:
    """Append the mirror images to the batch."""
    reverse = ["flips.last", "flips.first", "flips.width", "flips.last"]
    return [
        helper.make_node("Slice", [IMAGES, *reverse], ["flips.mirrored"]),
        helper.make_node("Concat", [IMAGES, "flips.mirrored"], [_BOTH], axis=0),
    ]


def _averaging(output: str) -> list[onnx.NodeProto]:
    """Take the batch apart again: (2 n, numbers) to their mean (n, numbers)."""
    return [
        helper.make_node("Split", [_OF_BOTH], ["flips.straight", "flips.turned"], axis=0, num_outputs=2),
        helper.make_node("Mean", ["flips.straight", "flips.turned"], [output]),
    ]
