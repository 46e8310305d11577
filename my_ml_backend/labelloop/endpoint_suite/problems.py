"""What is wrong with an endpoint, in a line, for who deploys: the checks of ``labelloop test-endpoint``."""

import io
import logging
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import LabelLoopError

_log = logging.getLogger(__name__)


def problems(spec: EndpointSpec, bundle: Path) -> str:
    """Test an endpoint against a bundle, and say what is wrong, also where it cannot be tested; empty: nothing is."""
    if find_spec("pytest") is None:
        return "pytest, which tests it, is not installed where workers run: pip install 'labelloop[test]'"
    from labelloop.endpoint_suite.runner import run_suite

    try:
        with redirect_stdout(io.StringIO()):
            tested = run_suite(spec, bundle)
    except LabelLoopError as error:
        return str(error)
    wrong = [f"{one.name}: {one.detail}" for one in tested.checked if one.outcome == "failed"]
    _log.info("endpoint %s: %d of %d checks failed", tested.endpoint, len(wrong), len(tested.checked))
    if tested.passed:
        return ""
    return f"{len(wrong)} of {len(tested.checked)} checks failed: {'; '.join(wrong[:3]) or 'none was made'}"
