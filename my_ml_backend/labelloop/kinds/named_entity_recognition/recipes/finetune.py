"""The recipe ``finetune``: an encoder of transformers that tags sub-tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from labelloop.errors import TrainingError
from labelloop.kinds.named_entity_recognition.encoder_spans import EncoderSpans
from labelloop.kinds.named_entity_recognition.recipes.base import Candidate, Labeled, Material, Regions
from labelloop.kinds.named_entity_recognition.recipes.contest import f1
from labelloop.kinds.named_entity_recognition.recipes.head import calibrate
from labelloop.kinds.named_entity_recognition.tokens import ends
from labelloop.kinds.texts.bio import tag_count, tags_of
from labelloop.kinds.texts.recipes.encoder import find
from labelloop.kinds.texts.recipes.encoder_export import parity, write_encoder
from labelloop.kinds.texts.recipes.encoder_finetune import How, TagsFinetune, against, shortened
from labelloop.kinds.texts.windows import Floats, Tokens
from labelloop.train.recipes.finetune_plan import on_gpu


class EncoderModel:
    """An encoder that has learned spans; ``texts`` are some by which its files are looked at."""

    def __init__(
        self, learned: TagsFinetune, labels: tuple[str, ...], slope: float, shift: float, texts: Sequence[str]
    ) -> None:
        self._learned, self._labels, self._texts = learned, labels, texts
        self._slope, self._shift = slope, shift

    def find(self, texts: Sequence[str]) -> list[Regions]:
        """Find the spans of each text; see Model."""
        tokens = [self._learned.encoder.cutter.tokens(text) for text in texts]
        spans = EncoderSpans(self._labels, self._slope, self._shift)
        return _found(spans, texts, tokens, self._learned.probabilities(tokens))

    def write(self, folder: Path) -> tuple[str, ...]:
        """Write network, tokenizer and how both are used; raises TrainingError where they say other than here."""
        network, cutter = self._learned.network, self._learned.encoder.cutter
        details = {"labels": self._labels, "calibration": (self._slope, self._shift)}
        names = write_encoder(network, cutter, folder, details)
        parity(network, cutter, folder, self._texts)
        return names


def left_out(material: Material) -> str:
    """Say why it does not compete; "" where it does. Raises TrainingError where the encoder cannot be had."""
    if not _labels(material.train):
        if material.parameters.recipes == ("finetune",) and not material.challenger:
            raise TrainingError("no training text has a span that a finetune could learn; label some")
        return "finetune is left out: no training text has a span"
    count = len(material.validation)
    return against(material.parameters, count, lambda: _planned(material).plan, challenger=material.challenger)


def fit(material: Material) -> Candidate:
    """Learn from the training side; scores are calibrated by the validation texts alone."""
    learned, labels = _planned(material), _labels(material.train)
    texts, cut = [one.text for one in material.validation], learned.encoder.cutter
    tokens, plain = [cut.tokens(text) for text in texts], EncoderSpans(labels)
    tags = [
        tags_of(cut.tokens(one.text), ((*ends(region), labels.index(region.label)) for region in one.regions))
        for one in material.train
    ]

    def reached(probabilities: Sequence[Floats]) -> Mapping[str, float]:
        return {"validation_f1": f1(material.validation, _found(plain, texts, tokens, probabilities))}

    probabilities, curve = learned.fit(tags, reached)
    said = list(zip(material.validation, _found(plain, texts, tokens, probabilities), strict=True))
    slope, shift, calibration = calibrate(said)
    found = _found(EncoderSpans(labels, slope, shift), texts, tokens, probabilities)
    model = EncoderModel(learned, labels, slope, shift, [one.text for one in material.train])
    return Candidate(
        recipe="finetune",
        model=model,
        found=tuple(found),
        calibration=calibration,
        notes=shortened(learned.plan),
        curve=tuple(map(dict, curve)),
        device="cuda" if on_gpu() else "cpu",
    )


def _planned(material: Material) -> TagsFinetune:
    encoder = find(str(material.parameters.values["encoder"]))
    train, validation = (
        [encoder.cutter.tokens(one.text) for one in side] for side in (material.train, material.validation)
    )
    how = How.of(material.parameters, material.progress, material.checkpoints)
    return TagsFinetune(encoder, train, validation, tag_count(len(_labels(material.train))), how)


def _labels(texts: Sequence[Labeled]) -> tuple[str, ...]:
    return tuple(sorted({region.label for one in texts for region in one.regions}))


def _found(
    spans: EncoderSpans, texts: Sequence[str], tokens: Sequence[Tokens], probabilities: Sequence[Floats]
) -> list[Regions]:
    return [spans.read(*one) for one in zip(texts, tokens, probabilities, strict=True)]
