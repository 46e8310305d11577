"""An encoder with one linear layer behind it: over a text's mean, or over each of its sub-tokens."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from labelloop.errors import TrainingError
from labelloop.kinds.texts.recipes.encoder import Encoder, load
from labelloop.kinds.texts.windows import Ids, batches, padded
from labelloop.train.logistic import Linear

Array = npt.NDArray[np.float32]

_DROPOUT = 0.1
_AT_ONCE = 4096


class EncoderNetwork(nn.Module):
    """Gives logits: (texts, classes) with ``pooled``, else (texts, sub-tokens, tags).

    Pooled means the mean over a text's sub-tokens, as encoders of sentences are trained with (Reimers and Gurevych,
    2019, "Sentence-BERT", section 3); it asks for no special sub-token.
    """

    def __init__(self, body: nn.Module, width: int, outputs: int, *, pooled: bool) -> None:
        super().__init__()
        self.body, self.pooled = body, pooled
        self.dropout = nn.Dropout(_DROPOUT)
        self.last = nn.Linear(width, outputs)
        if getattr(body, "pooler", None) is not None:
            body.pooler = None  # type: ignore[assignment] # weights that nothing reads

    def features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Give what the last layer sees."""
        states: torch.Tensor = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        if not self.pooled:
            return states
        share = mask.unsqueeze(-1).to(states.dtype)
        return (states * share).sum(1) / share.sum(1)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Give logits for ids and mask, both (texts, sub-tokens)."""
        logits: torch.Tensor = self.last(self.dropout(self.features(ids, mask)))
        return logits

    @property
    def table(self) -> nn.Embedding:
        """The table of sub-tokens."""
        table: nn.Embedding = self.body.get_input_embeddings()  # type: ignore[operator]
        return table

    def rest(self) -> None:
        """Take the table out of the training: most of the weights, and the texts show few of its rows."""
        self.table.requires_grad_(False)

    def put(self, linear: Linear) -> None:
        """Begin with this last layer."""
        with torch.no_grad():
            self.last.weight.copy_(torch.from_numpy(linear.weight))
            self.last.bias.copy_(torch.from_numpy(linear.bias))

    def divide(self, value: float) -> None:
        """Divide all logits by ``value``, a temperature, in the last layer."""
        with torch.no_grad():
            self.last.weight.div_(value)
            self.last.bias.div_(value)


def network_of(encoder: Encoder, outputs: int, *, pooled: bool) -> EncoderNetwork:
    """Make the network with the encoder's weights (CPU, eval mode); raises TrainingError."""
    network = EncoderNetwork(load(encoder), encoder.width, outputs, pooled=pooled).eval()
    known, ids_of = network.table.num_embeddings, encoder.cutter.tokenizer.get_vocab_size()
    if ids_of > known:
        raise TrainingError(
            f"encoder {encoder.name!r} knows {known} sub-tokens and its tokenizer {ids_of}: that is another encoder's; "
            "set LABELLOOP_ENCODER"
        )
    ids, mask = padded([encoder.cutter.beginning("a")], encoder.cutter.spec.pad)
    try:
        with torch.inference_mode():
            network(torch.from_numpy(ids), torch.from_numpy(mask))
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrainingError(
            f"encoder {encoder.name!r} makes no numbers of a text ({first}): it is no encoder of texts; "
            "set LABELLOOP_ENCODER"
        ) from error
    return network


def outputs_of(network: EncoderNetwork, rows: Sequence[Ids], pad: int, *, features: bool = False) -> list[Array]:
    """Give logits of windows, or what the last layer sees, on the network's device: one array for each, in order."""
    device = next(network.parameters()).device
    given: list[Array] = [np.empty(0, dtype=np.float32)] * len(rows)
    with torch.inference_mode():
        for at in batches(rows, _AT_ONCE):
            ids, mask = (torch.from_numpy(one).to(device) for one in padded([rows[one] for one in at], pad))
            output = (network.features if features else network)(ids, mask).float().cpu().numpy()
            for one, own in zip(at.tolist(), output, strict=True):
                given[one] = own if network.pooled else own[: len(rows[one])]
    return given
