"""TensorBoard's events of a run: curves, metrics, confusion matrix, hyperparameters, examples."""

from PIL import Image

from labelloop.kinds.image_classification.material import Analysis
from labelloop.run.context import read_json
from labelloop.run.preprocess import training_of


def write_tensorboard(analysis: Analysis) -> None:
    """Write the event files of a run; raises StoreError when a stage before has not been made."""
    from labelloop.train.examples import example_grid
    from labelloop.train.tensorboard import write_events

    context = analysis.context
    folder = context.folder
    curves = read_json(folder.trained, "train")["curves"]
    metrics = read_json(folder.metrics, "evaluate")
    shown: dict[str, Image.Image] = {}
    if analysis.learned:
        shown["learned from"] = example_grid(analysis.learned, analysis.pixels, context.manifest.classes)
    grid = folder.evaluation / "augmentations.png"
    if grid.is_file():
        with Image.open(grid) as drawn:
            shown["augmentations"] = drawn.convert("RGB")
    write_events(folder.events, curves, metrics, training_of(context), shown)
