"""A bundle made of a model that a team has already: an ONNX file, a timm checkpoint, or a bundle's own files.

Nothing is unpickled, and nothing that is code is taken over. Every file is run before it is taken: what cannot be
served is refused here.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from labelloop import pictures
from labelloop.bundle_info import BACKBONES, HEAD, NetworkInfo, PictureSpec
from labelloop.errors import TrainingError
from labelloop.files import sha256
from labelloop.models.bundle import check_bundle
from labelloop.train.backbone import build, classifier, picture_spec
from labelloop.train.bundle import write_bundle
from labelloop.train.dataset import Dataset, Sample
from labelloop.train.export import session
from labelloop.train.metrics import probabilities
from labelloop.train.onnx_graph import (
    EXPORT_FREE,
    LEAST,
    append_logits,
    check_input,
    check_output,
    first_line,
    free_batch,
    read_graph,
)
from labelloop.train.parity import MOST_LOGIT, ONNX, WEIGHTS
from labelloop.train.pixels import PixelCache
from labelloop.train.recipes.base import Candidate, Material
from labelloop.train.weights import difference, read_state
from labelloop.types import ADOPTED, Choice, Progress, TrainSettings

Outputs = Literal["auto", "logits", "probabilities"]

_ADOPTED = (ONNX, WEIGHTS, HEAD, *(name for name in BACKBONES if name != "backbone.ts.pt"))
_IMAGENET = PictureSpec(height=0, width=0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
_SUM = 1e-3
_TRIED = 8
"""Pictures that a model is tried with."""

Array = npt.NDArray[np.float32]
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of a model beside its file; what is left empty is the model's own, else what is usual.

    ``backbone`` is the timm name of a checkpoint, ``image_size`` in pixels. ``outputs`` says what an ONNX file gives.
    """

    classes: tuple[str, ...]
    choice: Choice
    backbone: str = ""
    image_size: int = 0
    mean: Triple | None = None
    std: Triple | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    outputs: Outputs = "auto"

    def spec(self, usual: PictureSpec) -> PictureSpec:
        """Give the pictures that the model takes."""
        return replace(
            usual,
            mean=self.mean or usual.mean,
            std=self.std or usual.std,
            interpolation=self.interpolation or usual.interpolation,
        )


class Adopted(NamedTuple):
    """A bundle that was made: its description, what names its run (16 hex digits), where it is from, what was found."""

    info: NetworkInfo
    key: str
    origin: str
    notes: tuple[str, ...]


def adopt(model: Path, asked: ModelFacts, folder: Path, work: Path, progress: Progress) -> Adopted:
    """Write the bundle of a model into ``folder``; ``work`` is an empty folder for what is needed on the way.

    ``model`` is an ONNX file, a safetensors file of a timm network, or a folder that ``labelloop export`` wrote. Raises
    TrainingError or BundleError for what cannot be served.
    """
    source = model_file(model)
    digest = sha256(source)
    origin = f"{model.name} (sha256 {digest})"
    progress(f"reads {model.name}", 0, 0)
    notes: tuple[str, ...] = ()
    outputs = "logits"
    if model.is_dir():
        info = _of_bundle(model, asked, folder)
    elif source.suffix == ".onnx":
        info, notes, outputs = _of_onnx(source, asked, folder, work)
    else:
        info = _of_checkpoint(source, asked, folder, work, progress)
    facts: tuple[object, ...] = (digest, info.classes, info.choice, info.backbone, outputs, asdict(info.picture))
    if info.features:
        facts += (info.features,)
    return Adopted(info, hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16], origin, notes)


def model_file(model: Path) -> Path:
    """Name the file that holds a model, the one that is a bundle's own; raises TrainingError for what is none."""
    if model.is_dir():
        if not (model / "model.json").is_file():
            raise TrainingError(
                f"{model} is a folder without model.json: name an ONNX file, a safetensors file, or a folder that "
                "`labelloop export` wrote"
            )
        return next((file for file in (model / HEAD, model / ONNX) if file.is_file()), model / ONNX)
    if model.suffix in _PICKLED:
        raise TrainingError(
            f"{model.name} is not opened, for a pickled file can run code: save a timm network's state_dict() with "
            "safetensors.torch.save_file, or export any network with torch.onnx.export, and adopt that file"
        )
    if model.suffix not in (".onnx", ".safetensors"):
        raise TrainingError(f"{model.name} is neither an .onnx file nor a .safetensors file: nothing else is adopted")
    if not model.is_file():
        raise TrainingError(f"there is no file {model}")
    return model


def _of_bundle(model: Path, asked: ModelFacts, folder: Path) -> NetworkInfo:
    """Take over a bundle's network and weights; TorchScript is code, and its figures are of other pictures."""
    info = check_bundle(model)
    if not isinstance(info, NetworkInfo):
        raise TrainingError(f"{model} holds a model for {info.kind}: only image classification is adopted")
    if (info.classes, info.choice) != (asked.classes, asked.choice):
        raise TrainingError(
            f"{model} is for kind {info.choice} and the classes {', '.join(info.classes)}: leave out --classes, or "
            "name exactly these, and adopt it for a project that asks the same"
        )
    kept = {name: known for name, known in info.files.items() if name in _ADOPTED}
    parity = {name: value for name, value in info.parity.items() if name in kept}
    info = replace(info, files=kept, parity=parity, recipe=ADOPTED)
    for name in kept:
        shutil.copyfile(model / name, folder / name)
    _describe(info, folder)
    return info


def _of_checkpoint(source: Path, asked: ModelFacts, folder: Path, work: Path, progress: Progress) -> NetworkInfo:
    """Load a timm network's weights, each of them and no other, and export it as a training does."""
    if not asked.backbone:
        raise TrainingError(
            f"{source.name} holds weights alone: say with --backbone which timm network they are of, as resnet18"
        )
    settings = TrainSettings(
        backbone=asked.backbone,
        weights="none",
        image_size=asked.image_size,
        recipes=(ADOPTED,),
        epochs=0,
        batch_size=0,
        learning_rate=0.0,
        seed=0,
    )
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are overwritten
        network = build(settings, len(asked.classes))
    state = read_state(source)
    last = next(name for name, module in network.named_modules() if module is classifier(network))
    found = state.get(f"{last}.weight")
    if found is not None and len(found) != len(asked.classes):
        raise TrainingError(
            f"{source.name} tells {len(found)} classes apart, and --classes names {len(asked.classes)} "
            f"({', '.join(asked.classes)}): name all of its classes, in the order of its outputs"
        )
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise TrainingError(
            f"{source.name} does not hold the weights of backbone {asked.backbone!r} ({difference(state, network)}): "
            "name the network that it was saved from"
        ) from error
    spec = asked.spec(picture_spec(network, asked.image_size))
    samples = _samples(work, spec, asked)
    dataset = Dataset(asked.classes, asked.choice, (), samples)
    material = Material(dataset, settings, network, PixelCache(spec, work), work, progress)
    nothing = np.zeros((0, len(asked.classes)), dtype=np.float32)
    progress(f"exports {asked.backbone}", 0, 0)
    return write_bundle(Candidate(ADOPTED, network.eval(), nothing), material, folder)


def _of_onnx(source: Path, asked: ModelFacts, folder: Path, work: Path) -> tuple[NetworkInfo, tuple[str, ...], str]:
    """Check a graph against what is served, and make it so where that is possible."""
    model = read_graph(source)
    size, free = check_input(model, source, asked.image_size)
    check_output(model, source, len(asked.classes))
    spec = asked.spec(replace(_IMAGENET, height=size[0], width=size[1]))
    target = folder / ONNX
    shutil.copyfile(source, target)
    images = np.stack([pictures.prepare(one.path.read_bytes(), spec) for one in _samples(work, spec, asked)])
    given = np.concatenate([_run(target, source, images[at : at + 1]) for at in range(len(images))])
    if given.shape != (len(images), len(asked.classes)) or not np.isfinite(given).all():
        told = "x".join(str(side) for side in given.shape[1:])
        raise TrainingError(
            f"{source.name} gives {told} numbers for a picture, or some that are not finite; --classes names "
            f"{len(asked.classes)}: name all of its classes, in the order of its outputs"
        )
    outputs = _outputs(given, source, asked)
    if outputs == "probabilities":
        append_logits(model, source, asked.choice)
    if not free:
        free_batch(model)
    if outputs == "probabilities" or not free:
        target.write_bytes(model.SerializeToString(deterministic=True))
    expected, found = given, _batched(target, source, images)
    if outputs == "probabilities":
        expected, found = _sharing(given, asked.choice), probabilities(found, asked.choice).astype(np.float32)
    apart = float(np.abs(found - expected).max())
    if not apart <= MOST_LOGIT * max(1.0, float(np.abs(expected).max())):
        raise TrainingError(
            f"{source.name} answers otherwise for {len(images)} pictures at once than for one at a time ({apart:.2g} "
            f"apart): {EXPORT_FREE}"
        )
    files, parity = {ONNX: sha256(target)}, {ONNX: apart}
    info = NetworkInfo(asked.classes, asked.choice, ADOPTED, files, backbone="", picture=spec, parity=parity)
    _describe(info, folder)
    return info, tuple(_notes(asked, outputs, free, spec)), outputs


def _notes(asked: ModelFacts, outputs: str, free: bool, spec: PictureSpec) -> Iterator[str]:
    """Say what was found and what was done."""
    how = "as found by running it" if asked.outputs == "auto" else "as told"
    made = ", made logits by a step that is added to the graph" if outputs == "probabilities" else ""
    yield f"its outputs are {outputs}, {how}{made}"
    yield f"it takes pictures of {spec.width} x {spec.height} pixels, mean {spec.mean}, std {spec.std}"
    if not free:
        yield "its batch size was fixed at 1, and is free now"


def _outputs(given: Array, source: Path, asked: ModelFacts) -> str:
    """Say whether these are logits or probabilities: (pictures, classes)."""
    shares = bool(((given >= 0) & (given <= 1 + _SUM)).all())
    if asked.outputs == "probabilities" and not shares:
        raise TrainingError(
            f"{source.name} gives numbers from {given.min():.3g} to {given.max():.3g}, which are no probabilities: "
            "leave out --outputs, or say logits"
        )
    if asked.outputs != "auto" or not shares:
        return asked.outputs if asked.outputs != "auto" else "logits"
    if asked.choice == "single" and not np.allclose(given.sum(axis=1), 1, atol=_SUM):
        raise TrainingError(
            f"{source.name} gives numbers from 0 to 1 that do not sum to 1, so whether they are logits or "
            "probabilities cannot be told: say so with --outputs logits or --outputs probabilities"
        )
    return "probabilities"


def _sharing(shares: Array, choice: Choice) -> Array:
    """Give the scores that are to be served for probabilities: (pictures, classes)."""
    return shares if choice == "multiple" else shares / np.maximum(shares.sum(axis=1, keepdims=True), LEAST[choice])


def _run(file: Path, source: Path, images: Array) -> Array:
    """Give a file's output for pictures; an error names the one that it was made from."""
    try:
        opened = session(file)
        output: Array = opened.run(None, {opened.get_inputs()[0].name: images})[0]
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise TrainingError(
            f"{source.name} cannot be run by onnxruntime with a picture of {images.shape[3]} x {images.shape[2]} "
            f"pixels ({first_line(error)}): export it again, in a form that onnxruntime knows"
        ) from error
    return output


def _batched(file: Path, source: Path, images: Array) -> Array:
    """Give the output for all pictures at once; raises TrainingError where only one goes at a time."""
    try:
        found = _run(file, source, images)
    except TrainingError as error:
        raise TrainingError(f"{source.name} takes one picture at a time: {EXPORT_FREE}") from error
    if len(found) != len(images):
        raise TrainingError(f"{source.name} takes one picture at a time: {EXPORT_FREE}")
    return found


def _samples(work: Path, spec: PictureSpec, asked: ModelFacts) -> tuple[Sample, ...]:
    """Draw pictures to try a model with, always the same: from one grey to all colours."""
    draw, samples = np.random.default_rng(0), []
    for number in range(_TRIED):
        base = draw.integers(0, 256, size=(1, 1, 3))
        noise = draw.normal(0, 16 * number, size=(spec.height, spec.width, 3))
        held = BytesIO()
        Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8)).save(held, "png")
        path = work / f"{number}.png"
        path.write_bytes(held.getvalue())
        samples.append(Sample(path, sha256(path), (number % len(asked.classes),)))
    return tuple(samples)


def _describe(info: NetworkInfo, folder: Path) -> None:
    (folder / "model.json").write_text(info.to_json())
