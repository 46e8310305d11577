"""A whole run folder, made by hand: every file that a report reads, small."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from labelloop.run.folder import RunFolder
from labelloop.run.report.gallery import write_mistakes
from labelloop.run.scoring import Scored
from labelloop.run.search.search_folder import SearchFolder

CLASSES = ("cat", "dog", "fish")
_ITEMS = 60


def write_run(path: Path, classes: tuple[str, str, str] = CLASSES, text: str = "as planned") -> RunFolder:
    """Write a run of three classes; ``text`` stands wherever a sentence or a reason does."""
    folder = RunFolder(path)
    tested = _tested(path, classes)
    tested.write(folder.predictions)
    for name, value in _files(classes, text, tested).items():
        _write(folder.path / name, value)
    _write(SearchFolder(folder).result, _search(text))
    (folder.evaluation / "explanations").mkdir()
    for name in ("a-cam.png", "a-ig.png"):
        (folder.evaluation / "explanations" / name).write_bytes(picture(1, 64))
    (folder.evaluation / "augmentations.png").write_bytes(picture(2, 300))
    write_mistakes(folder, "single", lambda name: path / "pictures" / name)
    return folder


def picture(seed: int, side: int) -> bytes:
    """Draw a PNG of noise, which no encoding makes small."""
    content = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(content, "png")
    return content.getvalue()


def _tested(path: Path, classes: tuple[str, ...]) -> Scored:
    (path / "pictures").mkdir(parents=True)
    names = []
    for seed in range(_ITEMS):
        content = picture(seed, 8)
        names.append(hashlib.sha256(content).hexdigest())
        (path / "pictures" / names[-1]).write_bytes(content)
    truth = np.eye(3, dtype=bool)[np.arange(_ITEMS) % 3]
    scores = np.where(truth, 0.8, 0.1)
    scores[::10] = scores[::10, ::-1]
    return Scored(classes, tuple(names), np.arange(100, 100 + _ITEMS), truth, scores)


def _files(classes: tuple[str, ...], text: str, tested: Scored) -> dict[str, Any]:
    measured = {"value": 0.9, "low": 0.85, "high": 0.95}
    rates = dict.fromkeys(("f1", "precision", "recall", "auroc"), measured)
    paired = {
        "champion": 0.88, "challenger": 0.9, "lost": 1, "gained": 2,
        "difference": {"value": 0.02, "low": -0.1, "high": 0.1},
    }  # fmt: skip
    error = {"task": 101, "picture": tested.pictures[1], "given": [classes[0]], "suggested": classes[1], "score": 0.9}
    explained = {"picture": tested.pictures[0], "kind": "wrong", "truth": [classes[0]], "predicted": classes[1]}
    side = {"items": 30, "classes": dict.fromkeys(classes, 10)}
    return {
        "verdict.json": {
            "learning": {
                "sentence": text,
                "versions": [{"labels": 40 * at, "right": 30 + at, "items": 40} for at in (1, 2, 3)],
            },
            "passed": True, "forced": False, "version": "v8", "champion": "v7", "sentence": f"v8 replaces v7: {text}",
            "numbers": {
                "test_items": _ITEMS, **paired, "refits": {"items": 90, **paired},
                "decided_by": {"method": "McNemar's mid-p", "items": _ITEMS + 90, "lost": 2, "gained": 4, "p": 0.23},
                "classes": {f"class {classes[0]}": {"items": 20, **paired}},
            },
        },
        "data.json": {
            "project": "local/7", "manifest": "ab" * 32, "kind": "single", "classes": classes, "conflicts": 1,
            "sides": {"train": side, "validation": side, "test": side},
            "left_out": [{"task": task, "reason": text} for task in range(20)],
            "unreadable": [{"task": 3, "picture": "cd" * 32, "reason": text}],
        },
        "train.json": {
            "recipe": "finetune", "validation": {"head": 0.8, "finetune": 0.9}, "seconds": {"finetune": 130.0},
            "left_out": {}, "notes": [text], "temperature": 0.8,
            "curves": {
                "finetune": [
                    {"epoch": at, "train_loss": 1 / at, "validation_loss": 2 / at, "validation_accuracy": 0.9}
                    for at in (1, 2, 3)
                ],
            },
            "calibration": {"log_loss_before": 0.4, "log_loss_after": 0.3},
        },
        "run.json": {
            "created": "2026-11-20T10:00:00+00:00", "command": f"labelloop train --run RUN --model {text}", "key": "k1",
            "parameters": {"model": text, "epochs": "3", "augmentations": "light"}, "manifest": "ab" * 32,
            "packages": {"numpy": "2"}, "machine": {"python": "3.11", "platform": "Linux", "cores": 2}, "git": "f00",
            "device": "cpu", "peak_memory_bytes": 900_000_000, "seconds": {"train": 140.0}, "stages": {},
        },
        "bundle/model.json": {
            "backbone": "test_resnet", "recipe": "finetune", "temperature": 0.8, "flips": True,
            "picture": {"width": 32, "height": 32}, "files": {"model.onnx": "ef" * 32}, "parity": {"model.onnx": 1e-6},
        },
        "evaluation/metrics.json": {
            "items": _ITEMS, "failed": 2, "kind": "single", "classes": classes, "accuracy": measured, "macro": rates,
            "weighted": rates, "calibration_error": measured, "log_loss": 0.3, "interval": 0.95, "resamples": 1000,
            "per_class": {
                name: {"precision": 0.9, "recall": None, "f1": f1, "auroc": 0.9, "support": 9}
                for name, f1 in zip(classes, (0.5, 0.9, None), strict=True)
            },
            "reliability": [{"confidence": 0.8, "accuracy": 0.9, "count": _ITEMS}],
            "confusion": [[16, 0, 4], [0, 20, 0], [4, 0, 16]],
        },
        "evaluation/robustness.json": {
            "clean": 0.9, "pictures": 50, "corruptions": {"noise": [0.9, 0.8, 0.7, 0.5, 0.3], "fog": [0.9] * 5},
            "mean": 0.7, "relative_drop": 0.22,
            "fgsm": [{"epsilon": 1, "accuracy": 0.8}, {"epsilon": 8, "accuracy": 0.1}],
        },
        "evaluation/explanations.json": [
            {**explained, "score": 0.9, "grad_cam": "a-cam.png", "integrated_gradients": "a-ig.png"}
        ],
        "evaluation/order.json": {
            "labels": 40, "besides": 32, "items": 50, "value": 0.012, "low": -0.05, "high": 0.07, "sentence": text,
        },
        "evaluation/label_errors.json": {
            "examined": 90, "folds": 3, "errors": [{**error, "given_score": 0.05, "left_out": True}],
        },
    }  # fmt: skip


def _search(text: str) -> dict[str, Any]:
    trial = {"number": 0, "state": "finished", "parameters": {"model": text}, "accuracy": 0.9, "score": 0.9}
    return {
        "trials": [trial, {**trial, "number": 1, "state": "failed", "score": None}], "importances": {"model": 1.0},
        "counts": {"finished": 1, "failed": 1}, "seconds": 61.0, "ended": text,
    }  # fmt: skip


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
