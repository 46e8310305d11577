"""A kind of two speeds: numbers, by a recipe that is quick and by one that takes its time, epoch by epoch.

What it does beside that, files in ``MODEL_DIR`` say: it waits in its second epoch while ``hold`` is there, fails while
``broken`` is, and its quick models are worse while ``worse`` is. ``epochs`` names each epoch that it has made.
"""

import hashlib
import json
import time
from collections.abc import Mapping

from labelloop.bundle_info import BundleInfo
from labelloop.data.split import splits
from labelloop.errors import TrainingDied
from labelloop.run.context import Context
from labelloop.settings import Settings
from labelloop.types import Json
from support.numbers_kind import MODEL, Means, Numbers, means

NAME = "two-speeds"
EPOCHS = 3


class TwoSpeeds(Numbers):
    """Classes of numbers, by ``head`` at once and by ``finetune`` later."""

    name = NAME
    recipes: Mapping[str, int] = {"head": 1, "finetune": 1}
    quick = refits = ("head",)
    settings: tuple[str, ...] = ("recipes",)

    def competing(self, settings: Settings) -> tuple[str, ...]:
        return tuple(name for name in self.recipes if name in settings.recipes) or tuple(self.recipes)

    def hyperparameters(self, settings: Settings) -> Means:
        return Means(settings.seed, self.competing(settings))

    def train(self, context: Context) -> Json:
        manifest, folder, place = context.manifest, context.folder.bundle, context.settings.directory
        sides = splits(manifest, context.named_sides)
        recipe = self.competing(context.settings)[-1]
        found = means(manifest.classes, sides["train"])
        if recipe == "finetune":
            self._epochs(context)
        elif (place / "worse").exists():
            found = dict(zip(found, reversed(found.values()), strict=True))
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(found).encode()
        (folder / MODEL).write_bytes(content)
        files = {MODEL: hashlib.sha256(content).hexdigest()}
        info = BundleInfo(manifest.classes, manifest.choice, recipe, files, kind=NAME)
        (folder / "model.json").write_text(info.to_json())
        why = "" if len(list(sides["validation"])) >= 4 else "finetune cannot win yet"
        return {
            "recipe": recipe,
            "validation": {},
            "seconds": {},
            "left_out": {},
            "notes": [],
            "calibration": {},
            "device": "cpu",
            "challengers": dict.fromkeys(context.challengers, why),
        }

    def _epochs(self, context: Context) -> None:
        place, checkpoint = context.settings.directory, context.folder.checkpoints / "finetune.ckpt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        done = int(checkpoint.read_text()) if checkpoint.is_file() else 0
        for epoch in range(done + 1, EPOCHS + 1):
            while epoch == 2 and (place / "hold").exists():
                context.progress("epochs", epoch, EPOCHS)
                time.sleep(0.01)
            if (place / "broken").exists():
                raise TrainingDied("there is something the matter")
            with (place / "epochs").open("a") as file:
                file.write(f"{epoch}\n")
            checkpoint.write_text(str(epoch))
            context.progress("epochs", epoch, EPOCHS)


KIND = TwoSpeeds()
