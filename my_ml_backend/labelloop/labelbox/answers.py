"""Answers as JSON: they stand in a prediction as its results, until it is known which data row they are of.

What Labelbox is sent depends on the row: on its id, and on its picture's size in pixels.
"""

from collections.abc import Iterable, Iterator, Sequence

from labelloop.labelbox.fitting import Fitted
from labelloop.labelbox.ontology import Ontology
from labelloop.regions import region_json
from labelloop.types import Box, Findings, Json, Output, Region, Span, Whole


def to_results(found: Iterable[Fitted]) -> list[Json]:
    """Write what is answered to each part of an ontology."""
    return [{"feature": ontology.type.feature, **_written(answer)} for ontology, answer in found]


def of_results(results: Iterable[Json], ontologies: Sequence[Ontology], version: str) -> Iterator[Fitted]:
    """Read back what ``to_results`` wrote; what an ontology has no more is left out."""
    parts = {one.type.feature: one for one in ontologies}
    for entry in results:
        ontology = parts.get(entry["feature"])
        if ontology is not None:
            yield ontology, _read(entry, version)


def regions_of(results: Iterable[Json]) -> tuple[Region, ...]:
    """Give all boxes and parts of a text that are answered."""
    found = (_region(one) for entry in results for one in entry.get("regions", ()))
    return tuple(region for region in found if not isinstance(region.shape, Whole))


def _written(answer: Output | Findings) -> Json:
    if isinstance(answer, Output):
        told = {"label": answer.label, "score": answer.score, "scores": dict(answer.scores), "choice": answer.choice}
        return {**told, "thresholds": dict(answer.thresholds)} if answer.thresholds else told
    regions = [region_json(one) for one in answer.regions]
    return {"regions": regions, "size": list(answer.size)} if answer.size else {"regions": regions}


def _read(entry: Json, version: str) -> Output | Findings:
    if "scores" in entry:
        return Output(
            entry["label"], entry["score"], entry["scores"], version, entry["choice"], entry.get("thresholds", {})
        )
    size = entry.get("size")
    return Findings(tuple(map(_region, entry["regions"])), version, (size[0], size[1]) if size else None)


def _region(entry: Json) -> Region:
    shape: Box | Span | Whole = Whole()
    if "box" in entry:
        x, y, width, height = entry["box"]
        shape = Box(x, y, width, height, entry.get("rotation", 0.0))
    elif "span" in entry:
        shape = Span(*entry["span"])
    return Region(entry["label"], shape, entry.get("score"))
