"""``Labels`` of a text: parts of it, by character."""

from labelloop.types import Json, Span


def span_value(span: Span, text: str | None) -> Json | None:
    """Write a part of a text, cut at its end where the text is known; None when nothing is left.

    Label Studio counts Unicode characters, as Python does (measured in 1.23.2, tests/e2e/test_result_kinds.py).
    """
    start, end = max(0, span.start), span.end if text is None else min(span.end, len(text))
    if start >= end:
        return None
    value: Json = {"start": start, "end": end}
    return value if text is None else value | {"text": text[start:end]}
