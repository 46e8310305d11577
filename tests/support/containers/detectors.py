"""Object detectors: public containers, and services and libraries whose answers a server of one's own passes on.

Each answers with the same cat and dog, as its documentation or source writes them: AWS' notebook for JumpStart's object
detection, TensorFlow's object detection API and AutoML Vision Edge, TorchServe's ``object_detector``, Ultralytics'
``Results``, YOLOv5's PyTorch Hub, Roboflow's hosted API, Azure Custom Vision's prediction API 3.0, Azure Machine
Learning's AutoML for images, Azure's image analysis 3.2, Amazon Rekognition, Google Vision, COCO's format of results,
MMDetection's ``DetInferencer``, Detectron2's ``Instances``, Florence-2.
"""

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from labelloop.types import Box, Findings, Region
from support.containers.base import PICTURE, Container, NotAccepted, Received, picture_size

_CAT, _DOG = (50, 25, 150, 75), (100, 50, 200, 100)
"""Corners in pixels of a picture of 200 x 100."""

_FOUND = Findings(
    (Region("cat", Box(0.25, 0.25, 0.5, 0.5), 0.75), Region("dog", Box(0.5, 0.5, 0.5, 0.5), 0.5)), "", (200, 100)
)
_WITHOUT_SCORES = Findings(tuple(Region(region.label, region.shape) for region in _FOUND.regions), "", (200, 100))
_CLASSES = {"classes": "cat,dog"}


def _answering(said: Any, *media_types: str) -> Callable[[Received], Any]:
    """Decode the picture that is the whole body, and answer."""

    def serve(request: Received) -> Any:
        if request.picture(*media_types) != (200, 100):
            raise NotAccepted("the picture has another size")
        return said

    return serve


def _answering_base64(said: Any) -> Callable[[Received], Any]:
    def serve(request: Received) -> Any:
        if request.media_type != "application/x-www-form-urlencoded":
            raise NotAccepted(f"unsupported content type {request.media_type!r}")
        picture_size(b64decode(request.body, validate=True))
        return said

    return serve


def _answering_instances(said: Any) -> Callable[[Received], Any]:
    def serve(request: Received) -> Any:
        (instance,) = request.json()["instances"]
        picture_size(b64decode(instance["b64"], validate=True))
        return said

    return serve


def _detector(
    name: str,
    said: Any,
    *media_types: str,
    serve: Callable[[Received], Any] | None = None,
    expected: Findings = _FOUND,
    options: Mapping[str, str] | None = None,
    path: str = "/predict",
) -> Container:
    return Container(name, PICTURE, serve or _answering(said, *media_types), expected, path, options or {})


_TENSORFLOW = {
    "num_detections": 2.0,
    "detection_boxes": [[0.25, 0.25, 0.75, 0.75], [0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]],
    "detection_classes": [1.0, 2.0, 1.0],
    "detection_scores": [0.75, 0.5, 0.0],
    "raw_detection_boxes": [[0.0, 0.0, 1.0, 1.0]],
    "raw_detection_scores": [[0.1, 0.9]],
}
_EDGE = {
    "detection_boxes": [[0.25, 0.25, 0.75, 0.75], [0.5, 0.5, 1.0, 1.0]],
    "detection_classes": [1.0, 2.0],
    "detection_classes_as_text": ["cat", "dog"],
    "detection_multiclass_scores": [[0.25, 0.75], [0.5, 0.5]],
    "detection_scores": [0.75, 0.5],
    "image_info": [320, 320, 1, 0, 320, 320],
    "key": "1",
    "num_detections": 2,
}


def _ultralytics(name: str, number: int, score: float, corners: tuple[int, ...]) -> dict[str, Any]:
    box = dict(zip(("x1", "y1", "x2", "y2"), map(float, corners), strict=True))
    return {"name": name, "class": number, "confidence": score, "box": box}


def _pandas(name: str, number: int, score: float, corners: tuple[int, ...]) -> dict[str, Any]:
    box = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(float, corners), strict=True))
    return box | {"confidence": score, "class": number, "name": name}


def _roboflow(name: str, number: int, score: float, middle: tuple[float, ...]) -> dict[str, Any]:
    box = dict(zip(("x", "y", "width", "height"), middle, strict=True))
    return box | {"confidence": score, "class": name, "class_id": number, "detection_id": f"d-{number}"}


def _custom_vision(name: str, score: float, box: tuple[float, ...]) -> dict[str, Any]:
    place = dict(zip(("left", "top", "width", "height"), box, strict=True))
    return {
        "probability": score,
        "tagId": f"0a1b-{name}",
        "tagName": name,
        "boundingBox": place,
        "tagType": "Regular",
    }


def _azure_automl(name: str, score: float, corners: tuple[float, ...]) -> dict[str, Any]:
    return {
        "box": dict(zip(("topX", "topY", "bottomX", "bottomY"), corners, strict=True)),
        "label": name,
        "score": score,
    }


def _rekognition(name: str, percent: float, box: tuple[float, ...]) -> dict[str, Any]:
    place = dict(zip(("Left", "Top", "Width", "Height"), box, strict=True))
    return {"Name": name, "Confidence": percent, "Geometry": {"BoundingBox": place}}


def _google(name: str, score: float, corners: tuple[float, ...]) -> dict[str, Any]:
    x0, y0, x1, y1 = corners
    vertices = [{"x": x, "y": y} for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    return {"mid": "/m/0", "name": name, "score": score, "boundingPoly": {"normalizedVertices": vertices}}


_HALF, _CORNER = (0.25, 0.25, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)

DETECTORS = (
    _detector(
        "SageMaker JumpStart object detection",
        {
            "normalized_boxes": [[0.25, 0.25, 0.75, 0.75], [0.5, 0.5, 1.0, 1.0]],
            "classes": [1, 0],
            "scores": [0.75, 0.5],
            "labels": ["dog", "cat", "bird"],
        },
        "application/x-image",
        options={"request": "raw:application/x-image"},
    ),
    _detector(
        "TensorFlow Object Detection API on TensorFlow Serving",
        None,
        serve=_answering_instances({"predictions": [_TENSORFLOW]}),
        options=_CLASSES,
        path="/v1/models/detector:predict",
    ),
    _detector(
        "AutoML Vision Edge object detection",
        None,
        serve=_answering_instances({"predictions": [_EDGE]}),
        path="/v1/models/default:predict",
    ),
    _detector(
        "TorchServe object_detector",
        [{"cat": [50.0, 25.0, 150.0, 75.0], "score": 0.75}, {"dog": [100.0, 50.0, 200.0, 100.0], "score": 0.5}],
        path="/predictions/fastrcnn",
    ),
    _detector("YOLO rows", {"boxes": [[*_CAT, 0.75, 0.0], [*_DOG, 0.5, 1.0]]}, options=_CLASSES),
    _detector("Ultralytics results", [_ultralytics("cat", 0, 0.75, _CAT), _ultralytics("dog", 1, 0.5, _DOG)]),
    _detector("YOLOv5 records of pandas", [_pandas("cat", 0, 0.75, _CAT), _pandas("dog", 1, 0.5, _DOG)]),
    _detector(
        "Roboflow object detection",
        None,
        serve=_answering_base64(
            {
                "time": 0.1,
                "image": {"width": 200, "height": 100},
                "predictions": [
                    _roboflow("cat", 0, 0.75, (100.0, 50.0, 100.0, 50.0)),
                    _roboflow("dog", 1, 0.5, (150.0, 75.0, 100.0, 50.0)),
                ],
            }
        ),
        options={"request": "base64"},
        path="/pets/3?api_key=KEY",
    ),
    _detector(
        "Azure Custom Vision object detection",
        {
            "id": "6f",
            "project": "p",
            "iteration": "i",
            "created": "2026-11-20T12:00:00.000Z",
            "predictions": [_custom_vision("cat", 0.75, _HALF), _custom_vision("dog", 0.5, _CORNER)],
        },
        "application/octet-stream",
        path="/customvision/v3.0/Prediction/p/detect/iterations/one/image",
    ),
    _detector(
        "Azure Machine Learning AutoML object detection",
        {
            "boxes": [
                _azure_automl("cat", 0.75, (0.25, 0.25, 0.75, 0.75)),
                _azure_automl("dog", 0.5, (0.5, 0.5, 1.0, 1.0)),
            ]
        },
    ),
    _detector(
        "Azure image analysis objects",
        {
            "objects": [
                {"rectangle": {"x": 50, "y": 25, "w": 100, "h": 50}, "object": "cat", "confidence": 0.75},
                {"rectangle": {"x": 100, "y": 50, "w": 100, "h": 50}, "object": "dog", "confidence": 0.5},
            ],
            "requestId": "r",
            "metadata": {"width": 200, "height": 100, "format": "Png"},
        },
        "application/octet-stream",
        options={"request": "raw:application/octet-stream"},
    ),
    _detector(
        "Amazon Rekognition custom labels with places",
        {"CustomLabels": [_rekognition("cat", 75.0, _HALF), _rekognition("dog", 50.0, _CORNER)]},
    ),
    _detector(
        "Google Vision objects",
        {
            "responses": [
                {
                    "localizedObjectAnnotations": [
                        _google("cat", 0.75, (0.25, 0.25, 0.75, 0.75)),
                        _google("dog", 0.5, (0.5, 0.5, 1.0, 1.0)),
                    ]
                }
            ]
        },
    ),
    _detector(
        "COCO results",
        [
            {"image_id": 7, "category_id": 0, "bbox": [50.0, 25.0, 100.0, 50.0], "score": 0.75},
            {"image_id": 7, "category_id": 1, "bbox": [100.0, 50.0, 100.0, 50.0], "score": 0.5},
        ],
        options=_CLASSES,
    ),
    _detector(
        "MMDetection inferencer",
        {"predictions": [{"labels": [0, 1], "scores": [0.75, 0.5], "bboxes": [list(_CAT), list(_DOG)]}]},
        options=_CLASSES,
    ),
    _detector(
        "Detectron2 instances",
        {"instances": {"pred_boxes": [list(_CAT), list(_DOG)], "scores": [0.75, 0.5], "pred_classes": [0, 1]}},
        options=_CLASSES,
    ),
    _detector(
        "Florence-2 object detection",
        {"<OD>": {"bboxes": [list(_CAT), list(_DOG)], "labels": ["cat", "dog"]}},
        expected=_WITHOUT_SCORES,
    ),
    _detector(
        "Hugging Face object detection, also zero-shot",
        [
            {"score": 0.75, "label": "cat", "box": {"xmin": 50, "ymin": 25, "xmax": 150, "ymax": 75}},
            {"score": 0.5, "label": "dog", "box": {"xmin": 100, "ymin": 50, "xmax": 200, "ymax": 100}},
        ],
    ),
    _detector(
        "torchvision detection",
        {"predictions": [{"boxes": [list(_CAT), list(_DOG)], "labels": ["cat", "dog"], "scores": [0.75, 0.5]}]},
    ),
)
