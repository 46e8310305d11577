"""What only the inference server raises, on top of labelloop.errors; both end as an HTTP status."""

from labelloop.errors import LabelLoopError


class BadRequest(LabelLoopError):
    """400: the request is not what was agreed; the message says how."""


class NotReady(LabelLoopError):
    """503: nothing can be served now; asking again later helps."""
