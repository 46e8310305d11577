"""``python -m benchmarks.sdk_backend PORT FOLDER``: what a user does today with Label Studio's own ML SDK (1.0.9).

A backend as its examples are: Start Training reads all annotations by Label Studio's API, ``fit`` trains in the process
that the SDK forks, ``predict`` is asked by *Retrieve Predictions*. The head is the one that LabelLoop's is: a logistic
regression, on the features of the same network with the same weights (``BENCH_SDK_WEIGHTS``), or on hashed words of
texts.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import requests
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

_URL, _HEADERS = os.environ.get("BENCH_SDK_STUDIO", ""), {"Authorization": f"Token {os.environ.get('BENCH_SDK_TOKEN')}"}
_WEIGHTS = os.environ.get("BENCH_SDK_WEIGHTS", "")
_BATCH = 64


class Backend(LabelStudioMLBase):  # type: ignore[misc]
    """Classes of pictures where there are weights, of texts where there are none."""

    TRAIN_EVENTS = ("START_TRAINING",)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        found = self.train_output.get("model_file")
        self._model = _read(Path(found)) if found else None

    def fit(self, _: Any, workdir: str = "", **given: Any) -> dict[str, str]:
        """Train on all that is annotated."""
        project = given["data"]["project"]["id"]
        labeled = _asked(f"/api/projects/{project}/export?exportType=JSON").json()
        labels = [task["annotations"][0]["result"][0]["value"]["choices"][0] for task in labeled]
        model = LogisticRegression(max_iter=1000).fit(_rows([task["data"] for task in labeled]), labels)
        path = Path(workdir) / "model.npz"
        np.savez(path, classes=model.classes_, coef=model.coef_, intercept=model.intercept_)
        return {"model_file": str(path)}

    def predict(self, tasks: list[dict[str, Any]], **_: Any) -> list[dict[str, Any]]:
        """Answer for tasks."""
        if self._model is None:
            return [{"result": [], "score": 0.0} for _ in tasks]
        found = self._model.predict_proba(_rows([task["data"] for task in tasks]))
        return [
            {
                "result": [
                    {
                        "from_name": "label",
                        "to_name": "image" if _WEIGHTS else "text",
                        "type": "choices",
                        "value": {"choices": [str(self._model.classes_[scores.argmax()])]},
                    }
                ],
                "score": float(scores.max()),
            }
            for scores in found
        ]


def _read(path: Path) -> LogisticRegression:
    """Read what ``fit`` has left, as plain numbers."""
    model, found = LogisticRegression(), np.load(path, allow_pickle=False)
    model.classes_, model.coef_, model.intercept_ = found["classes"], found["coef"], found["intercept"]
    return model


def _rows(data: list[dict[str, Any]]) -> Any:
    """Make the features of texts, or fetch pictures and take theirs."""
    if not _WEIGHTS:
        return HashingVectorizer(ngram_range=(1, 2)).transform([one["text"] for one in data])
    import timm
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    network: Any = timm.create_model("test_resnet", num_classes=1000).eval()
    network.load_state_dict(load_file(_WEIGHTS))
    network.reset_classifier(0)
    found = []
    for at in range(0, len(data), _BATCH):
        pictures = [
            np.asarray(Image.open(io.BytesIO(_asked(one["image"]).content)).convert("RGB").resize((32, 32)), np.float32)
            for one in data[at : at + _BATCH]
        ]
        batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            found.append(network((batch - 0.45) / 0.225).numpy())
    return np.concatenate(found)


def _asked(path: str) -> requests.Response:
    answer = requests.get(_URL + path, headers=_HEADERS, timeout=120)
    answer.raise_for_status()
    return answer


if __name__ == "__main__":
    init_app(Backend, model_dir=sys.argv[2]).run(host="127.0.0.1", port=int(sys.argv[1]), threaded=True)
