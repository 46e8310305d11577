"""The training parameters, one row each: settings, a run's parameters, TrainSettings and the search derive from them.

A new parameter is a row here, and the code that uses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from labelloop import setting_values as values


@dataclass(frozen=True, slots=True)
class Searched:
    """How a search chooses a parameter: by the list that ``--option`` of ``labelloop search`` takes, else as usual.

    Without ``usual`` values it is the settings' own one. Of a range the list holds the lowest and the highest, searched
    by their logarithm. Where it says nothing but to one ``recipe``, only trials of that one choose it. ``expected``
    says what a list of numbers looks like.
    """

    option: str
    help: str
    usual: tuple[str | float, ...] = ()
    is_range: bool = False
    recipe: str = ""
    expected: str = ""


def _parameter(
    name: str, variable: str, default: Any, help: str, searched: Searched | None = None, **limits: Any
) -> Any:
    """Describe one parameter: its name in a run, the variable that sets it, and its limits as those of a setting."""
    row = {"parameter": name, "searched": searched}
    return field(default=default, metadata={**values.described(variable, help, **limits), **row})


@dataclass(frozen=True, kw_only=True)
class PictureParameters:
    """What decides, beside the labels, what a training on pictures makes: named as the fields of the settings."""

    backbone: str = _parameter(
        "model",
        "LABELLOOP_BACKBONE",
        "resnet18",
        "Name of the timm network, with its arguments if need be: mobilenetv2_100?pad_type=same.",
        Searched("models", "Networks of timm to choose from; default: the one of the settings."),
        check=values.name,
    )
    weights: str = _parameter(
        "weights",
        "LABELLOOP_WEIGHTS",
        "pretrained",
        "First weights: pretrained (from the hub), a safetensors file, or none (heads learn from fixed features).",
        check=values.weights_source,
    )
    recipes: tuple[str, ...] = _parameter(
        "recipe",
        "LABELLOOP_RECIPES",
        ("head", "finetune"),
        "Recipes to train: head, finetune or both; they compete, or a finetune challenges heads (docs/training.md).",
        choices=("head", "finetune"),
    )
    image_size: int = _parameter(
        "image_size",
        "LABELLOOP_IMAGE_SIZE",
        0,
        "Side of the input in pixels, for boxes the longer one; 0: the network's own, for boxes as small ones need it.",
        Searched(
            "sizes",
            "Picture sizes in pixels; default: the one of the settings.",
            expected="whole numbers of pixels: 128,160",
        ),
        minimum=0,
        maximum=4096,
    )
    epochs: int = _parameter(
        "epochs",
        "LABELLOOP_EPOCHS",
        20,
        "Passes over the items in a finetune from random weights (at least 20 steps each); from learned ones half.",
        minimum=1,
        maximum=100_000,
    )
    batch_size: int = _parameter(
        "batch_size",
        "LABELLOOP_BATCH_SIZE",
        32,
        "Pictures or texts in one training step; for boxes an eighth of it.",
        minimum=1,
        maximum=65_536,
    )
    optimizer: str = _parameter(
        "optimizer",
        "LABELLOOP_OPTIMIZER",
        "adamw",
        "Optimizer of a finetune: any name of timm's factory.",
        Searched(
            "optimizers",
            "Optimizers of timm; default: adamw,nadamw,lamb,sgd.",
            ("adamw", "nadamw", "lamb", "sgd"),
            recipe="finetune",
        ),
        check=values.name,
    )
    augmentations: str = _parameter(
        "augmentations",
        "LABELLOOP_AUGMENTATIONS",
        "auto",
        "How a finetune varies pictures: none, light, crop, realistic, YAML; auto: crop for photographs, else light.",
        Searched(
            "augmentations",
            "Policies or YAML files; default: none,auto,realistic.",
            ("none", "auto", "realistic"),
            recipe="finetune",
        ),
        check=values.file_or(("auto", "none", "light", "crop", "realistic"), ".yaml", ".yml"),
    )
    learning_rate: float = _parameter(
        "learning_rate",
        "LABELLOOP_LEARNING_RATE",
        0.002,
        "Peak learning rate of a finetune from random weights; from learned ones 0.15 of it, boxes half, texts 0.075.",
        Searched(
            "learning_rates",
            "The lowest and the highest learning rate; default: 2e-4,2e-2.",
            (2e-4, 2e-2),
            is_range=True,
            recipe="finetune",
            expected="the lowest and the highest: 2e-4,2e-2",
        ),
        minimum=0,
        maximum=100,
    )
    mixup: float = _parameter(
        "mixup",
        "LABELLOOP_MIXUP",
        0.0,
        "Alpha of the Beta distribution by which a finetune blends pictures; 0: none, usual: 0.2.",
        minimum=0,
        maximum=100,
    )
    balance: str = _parameter(
        "balance",
        "LABELLOOP_BALANCE",
        "auto",
        "What is done about classes of few pictures: auto, none, loss (weighs them), sampler (shows them more often).",
        choices=("auto", "none", "loss", "sampler"),
    )
    int8: str = _parameter(
        "int8",
        "LABELLOOP_INT8",
        "auto",
        "Whether pictures are answered in 8 bits where that costs at most half a point of accuracy (auto), or off.",
        choices=("auto", "off"),
    )
    seed: int = _parameter("seed", "LABELLOOP_SEED", 0, "Seed of a run's random choices.", minimum=0, maximum=2**32 - 1)


@dataclass(frozen=True, kw_only=True)
class TrainingParameters(PictureParameters):
    """What decides what a training of any kind makes; a kind says which of them are its own (kinds/base.py)."""

    encoder: str = _parameter(
        "encoder",
        "LABELLOOP_ENCODER",
        "",
        "Encoder that a finetune of texts begins with: a name of the hub, or a folder; empty: no finetune of texts.",
        Searched(
            "encoders",
            "Encoders of texts to choose from; default: the one of the settings.",
            recipe="finetune",
        ),
        check=values.encoder,
    )

    def file_of(self, name: str) -> str:
        """Give the path of the file or folder that a parameter names; empty where it names nothing of this machine."""
        value = str(getattr(self, name))
        match name:
            case "weights":
                is_path = value not in ("pretrained", "none")
            case "augmentations":
                is_path = value.endswith((".yaml", ".yml"))
            case "encoder":
                # What begins as a path is meant as one, be it there or not.
                is_path = value.startswith(("/", "./", "../", "~")) or (value != "" and Path(value).is_dir())
            case _:
                is_path = False
        return value if is_path else ""


PARAMETERS: Mapping[str, str] = {row.metadata["parameter"]: row.name for row in fields(TrainingParameters)}
"""Each parameter's name in a run and the field of the settings that it sets."""

SEARCHED: Mapping[str, Searched] = {
    row.metadata["parameter"]: how for row in fields(TrainingParameters) if (how := row.metadata["searched"])
}
"""The parameters that a search chooses, and may give a project; the recipe not: with more labels another one wins."""

READING = ("picture_field", "separator", "classes")
"""How data are read beside their format: parameters of a run that has them, so that older runs stay as they are."""

LOCATIONS = (
    "train_location", "validation_location", "test_location", "format", "label_attribute", "project_key", *READING,
)  # fmt: skip
"""Where the data are and how they are read: parameters of the fetch stage alone."""
