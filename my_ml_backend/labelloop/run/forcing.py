"""Letting a version pass at a person's word, on the record."""

from dataclasses import replace

from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.verdict import Verdict, force


def force_version(versions: Versions, version: str) -> VersionRecord:
    """Let a rejected version pass, and give its record as it is now; one that passed is left alone. Raises NotFound."""
    record = versions.get(version)
    if record.promoted:
        return record
    verdict = force(Verdict(False, record.verdict, record.metrics.get("gate", {})))
    metrics = record.metrics | {"gate": verdict.numbers}
    forced = replace(record, promoted=True, forced=True, verdict=verdict.sentence, metrics=metrics)
    versions.amend(forced)
    return forced
