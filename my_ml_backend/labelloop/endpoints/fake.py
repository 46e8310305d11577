"""An endpoint without a model: it answers by the content's hash, and fails as its script says. For tests and demos."""

import hashlib
import threading
from collections.abc import Sequence
from typing import Self

from labelloop.endpoints.spec import address_options
from labelloop.errors import CircuitOpen, EndpointError, SettingsError
from labelloop.setting_values import names
from labelloop.types import Answer, Choice, Failure, Input, Output, Target

STEPS = ("ok", "half", "none", "late", "down", "open")


class FakeEndpoint:
    """Deterministic: the same bytes always get the same class, whatever the version.

    ``script`` says how each call goes, one step per call, and all is well after its end; a step ending in ``*`` goes on
    for ever. ``ok``: answers. ``half``: every second input fails. ``none``: every input fails. ``late``: the deadline
    passes (at once). ``down``: raises EndpointError. ``open``: raises CircuitOpen.
    """

    name = "fake"
    follows = True
    batch = 16
    concurrency = 4

    def __init__(
        self,
        classes: Sequence[str],
        *,
        choice: Choice = "single",
        version: str = "fake",
        script: Sequence[str] = (),
    ) -> None:
        unknown = [step for step in script if step.removesuffix("*") not in STEPS]
        if unknown:
            raise SettingsError(f"fake:// endpoint: a script's steps are {', '.join(STEPS)}; not {', '.join(unknown)}")
        if not classes or not all(classes) or choice not in ("single", "multiple"):
            raise SettingsError(
                "a fake endpoint needs classes, and single or multiple as kind: fake://?classes=cat,dog"
            )
        self._classes = tuple(classes)
        self._kind: Choice = choice
        self._version = version
        self._script = list(script)
        self._lock = threading.Lock()
        self.asked: list[tuple[Target, int]] = []
        """What was asked so far: per call the target and the number of inputs."""

    @classmethod
    def at(cls, address: str) -> Self:
        """Make the one that ``fake://?classes=cat,dog`` describes; raises SettingsError."""
        options = address_options(address, ("classes", "kind", "version", "script"), "fake://?classes=cat,dog")
        choice: Choice = "multiple" if options.get("kind") == "multiple" else "single"
        if options.get("kind", choice) != choice or address.partition("://")[2].partition("?")[0]:
            raise SettingsError(
                "LABELLOOP_ENDPOINT: a fake endpoint is addressed as fake://?classes=cat,dog; it may be followed by "
                "&kind=single or multiple, &version=NAME and &script=STEPS (docs/endpoints.md)"
            )
        version = options.get("version", "fake")
        return cls(
            names(options.get("classes", "")), choice=choice, version=version, script=names(options.get("script", ""))
        )

    def invoke(self, inputs: Sequence[Input], target: Target, deadline: float | None = None) -> list[Answer | Failure]:  # noqa: ARG002 - time does not pass here
        """Answer, or do what the script's next step says; the deadline plays no part, "late" stands for it."""
        with self._lock:
            self.asked.append((target, len(inputs)))
            step = self._next()
        if step == "down":
            raise EndpointError("the fake endpoint is down, as its script says")
        if step == "open":
            raise CircuitOpen("the fake endpoint is left alone for a while, as its script says")
        version = target.version or target.deployed or self._version
        return [self._answer(item, step, index, version) for index, item in enumerate(inputs)]

    def check(self) -> str:
        """Say that it is there; a script that begins with ``down`` or ``open`` fails this too, using up no step."""
        with self._lock:
            step = self._script[0].removesuffix("*") if self._script else "ok"
        if step in ("down", "open"):
            raise EndpointError("the fake endpoint is down, as its script says")
        return f"fake endpoint with {len(self._classes)} classes"

    def _next(self) -> str:
        if not self._script:
            return "ok"
        step = self._script[0]
        return step.removesuffix("*") if step.endswith("*") else self._script.pop(0)

    def _answer(self, item: Input, step: str, index: int, version: str) -> Output | Failure:
        if step == "late":
            return Failure("deadline")
        if step == "none" or (step == "half" and index % 2 == 1):
            return Failure("the fake endpoint fails for this one, as its script says")
        return fake_output(item.content or (item.text or item.uri or "").encode(), self._classes, self._kind, version)


def fake_output(content: bytes, classes: Sequence[str], choice: Choice, version: str) -> Output:
    """Derive an output from the sha256 of the content: the best class by its first bytes, a score of 0.5 to 1.

    With choice ``multiple`` every class gets a score of its own, the best class the highest.
    """
    digest = hashlib.sha256(content).digest()
    best = classes[int.from_bytes(digest[:4], "big") % len(classes)]
    score = 1.0 if choice == "single" and len(classes) == 1 else 0.5 + digest[4] / 512
    if choice == "single":
        rest = (1 - score) / max(len(classes) - 1, 1)
        scores = dict.fromkeys(classes, rest)
    else:
        scores = {name: _byte(digest, name) / 256 * score for name in classes}
    scores[best] = score
    return Output(best, score, scores, version, choice)


def _byte(digest: bytes, name: str) -> int:
    return hashlib.sha256(digest + name.encode()).digest()[0]
