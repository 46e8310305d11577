"""What all contract tests share."""

from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest


@pytest.fixture(scope="session", autouse=True)
def aws_descriptions_are_read_once() -> Iterator[None]:
    """Let all botocore sessions of this process share the files that describe AWS: each would read megabytes anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield
