"""Classes of texts. What training needs is imported by the stages that need it, and by no server."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.bundle_info import HEAD, BundleInfo
from labelloop.errors import BundleError, TrainingError, Unreadable
from labelloop.kinds.base import LAST_LAYER, FeatureTaker, Kind, Learned, Supported
from labelloop.kinds.classification import Classification
from labelloop.kinds.text_classification.bundle import BACKBONE_FILES, FEATURES, WEIGHTS, TextInfo
from labelloop.kinds.text_classification.reading import decode
from labelloop.kinds.texts import ComparedTexts, encoder_settings
from labelloop.kinds.texts.encoder_bundle import FILES
from labelloop.types import TEXTS, Item, Json

if TYPE_CHECKING:
    from labelloop.kinds.hyperparameters import OwnParameters
    from labelloop.run.context import Context
    from labelloop.run.refits import Refit
    from labelloop.serve.engines.base import Engine
    from labelloop.settings import Settings


class TextClassification(ComparedTexts, Classification):
    """What one text is about: one class, or any number of them."""

    name = TEXTS
    item = "text"
    label_configs: Supported = (("Choices", ("Text", "HyperText")),)
    recipes: Mapping[str, int] = {"head": 1, "finetune": 1}
    quick: tuple[str, ...] = ("head", LAST_LAYER)
    refits = ("head",)
    begins_with: tuple[str, ...] = ("encoder",)
    settings: tuple[str, ...] = (*encoder_settings.SETTINGS, "balance")
    weights: tuple[str, ...] = WEIGHTS

    def check(self, content: bytes) -> None:
        """Raise Unreadable for what is no text, or an empty one."""
        decode(content)

    def competing(self, settings: "Settings") -> tuple[str, ...]:
        """Take the recipes that the settings name, a finetune where they name an encoder."""
        return encoder_settings.competing(self.recipes, settings)

    def hyperparameters(self, settings: "Settings") -> "OwnParameters":
        """Take the recipes, what they learn by, and the seed."""
        from labelloop.kinds.hyperparameters import OwnParameters

        return OwnParameters.of(KIND, settings)

    def check_settings(self, settings: "Settings", *, thorough: bool) -> None:
        """Raise TrainingError where what the head needs is not installed, or a folder holds no encoder."""
        if missing := [name for name in ("scipy", "threadpoolctl") if find_spec(name) is None]:
            raise TrainingError(f"{missing[0]} is not installed: texts are learned with requirements-train.txt")
        if thorough:
            encoder_settings.check(self.recipes, settings)

    def prepare(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:
        """Read every text once, and say which are none."""
        unread: dict[str, str] = {}
        for done, item in enumerate(items, 1):
            try:
                decode(next(context.contents([item])))
            except Unreadable as error:
                unread[item.content] = str(error)
            if done % 1000 == 0:
                context.progress("texts", done, total)
        return unread

    def train(self, context: "Context") -> Json:
        """Let the recipes compete on the validation side."""
        from labelloop.kinds.text_classification.recipes.trainer import train
        from labelloop.kinds.text_classification.training import material_of
        from labelloop.run.suspects import with_suspects

        material, unread = material_of(context)
        trained = train(material, context.settings.recipes, unread, context.folder.path)
        return with_suspects(trained, context.manifest)

    def refit(self, context: "Context", items: Sequence[Item], others: Sequence[Item]) -> "Refit":
        """Take what a head learned from, to be trained anew without some of it."""
        from labelloop.kinds.text_classification.training import refit

        return refit(context, items, others)

    def featured(self, settings: "Settings", network: str = "") -> str:
        """Name those of the champion's encoder; a head sees n-grams, which nobody keeps."""
        if not network or settings.trainer != "local" or find_spec("onnx") is None:
            return ""
        return f"{FEATURES} on {network}"

    def taker(self, settings: "Settings", network: Path | None = None) -> "FeatureTaker":
        """Open the champion's encoder without its last layer."""
        if network is None:
            return super().taker(settings)
        from labelloop.kinds.text_classification.encoder_backbone import EncoderBackbone

        return EncoderBackbone.of(network.parent, settings.directory / "cache" / "train")

    def network_files(self, info: BundleInfo) -> tuple[str, ...]:
        """Name the ONNX file first, with what cuts texts for it, and the head that says how many features it takes."""
        return (*BACKBONE_FILES, HEAD) if isinstance(info, TextInfo) and info.features else FILES

    def analyse(self, context: "Context") -> None:
        """Show mistakes, robustness, explanations and probable label errors; write TensorBoard's events."""
        from labelloop.kinds.text_classification.analysis import analyse

        analyse(context)

    def label_errors(self, context: "Context", learned: Learned | None) -> Json:  # noqa: ARG002 - all is learned anew
        """Ask heads that have not seen them; see Kind."""
        from labelloop.kinds.text_classification.analysis import find_label_errors

        return find_label_errors(context)

    def describe(self, raw: Json) -> TextInfo:
        """Read ``model.json``."""
        return TextInfo.read(raw)

    def problems(self, info: BundleInfo) -> Iterator[str]:
        """Refuse impossible thresholds, and a bundle that lacks what is served."""
        if isinstance(info, TextInfo):
            yield from info.problems()

    def served(self, engine: str) -> tuple[str, ...]:  # noqa: ARG002 - every engine serves texts by the same files
        """Name the files of either recipe."""
        return WEIGHTS

    def open(self, directory: Path, info: BundleInfo, engine: str) -> "Engine":  # noqa: ARG002
        """Load a bundle."""
        from labelloop.kinds.text_classification.engine import TextEngine

        if not isinstance(info, TextInfo):
            raise BundleError(f"bundle {directory}: its model classifies no texts, it is for {info.kind}")
        return TextEngine(directory, info)


KIND: Kind = TextClassification()
