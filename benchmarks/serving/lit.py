"""LitServe with the same network and the same decoding.

``python -m benchmarks.serving.lit BUNDLE PORT WORKERS BATCH QUEUE``, QUEUE being ``pipe`` or ``zmq``. It takes
``{"instances": [{"b64": ...}]}`` at ``POST /predict``.
"""

import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from fastapi import Request, Response

from benchmarks.serving.bare import open_session
from labelloop.bundle_info import NetworkInfo
from labelloop.pictures import prepare
from labelloop.serve.engines.network import outputs
from labelloop.types import Output

RUN = 8
"""Pictures in one run of the network."""


class Pictures(litserve.LitAPI):  # type: ignore[misc]
    """Answers what our container answers; with ``max_batch_size`` LitServe gathers requests of one picture each."""

    def __init__(self, bundle: Path, batch: int) -> None:
        super().__init__(max_batch_size=batch, batch_timeout=0.01 if batch > 1 else 0.0)
        self._bundle = bundle

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        self._info = NetworkInfo.from_json((self._bundle / "model.json").read_bytes())
        self._session = open_session(self._bundle)
        self._input = self._session.get_inputs()[0].name

    def decode_request(self, request: Request) -> Any:
        sent: Any = request  # by now LitServe has read the JSON
        contents = [b64decode(instance["b64"]) for instance in sent["instances"]]
        return np.stack([prepare(content, self._info.picture) for content in contents])

    def batch(self, inputs: Any) -> Any:
        return np.concatenate(inputs)

    def unbatch(self, output: Any) -> Any:
        return list(output)

    def predict(self, pictures: Any) -> Any:
        runs = [pictures[start : start + RUN] for start in range(0, len(pictures), RUN)]
        return np.concatenate([self._session.run(None, {self._input: run})[0] for run in runs])

    def encode_response(self, output: Any) -> Response:
        answers = outputs(np.atleast_2d(output), self._info.classes, self._info.choice, "v1")
        written: Any = {"predictions": [_written(answer) for answer in answers if isinstance(answer, Output)]}
        return written  # type: ignore[no-any-return]


def _written(answer: Output) -> dict[str, Any]:
    return {
        "label": answer.label,
        "score": answer.score,
        "scores": dict(answer.scores),
        "model_version": answer.model_version,
        "kind": answer.choice,
    }


def main() -> None:
    bundle, port, workers, batch = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    server = litserve.LitServer(
        Pictures(bundle, batch), accelerator="cpu", workers_per_device=workers, fast_queue=sys.argv[5] == "zmq"
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
