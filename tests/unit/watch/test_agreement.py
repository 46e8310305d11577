"""How often annotators keep a prediction, counted over tasks and versions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.data.site import Begun, Example
from labelloop.watch.agreement import Agreement
from support.examples import examples

versions = st.sampled_from(["v1", "v2", "v10"])


def counted(*begun: Begun) -> Agreement:
    agreement = Agreement()
    agreement.add(Example(1, "a.png", (), begun=begun))
    return agreement


def test_the_share_is_of_the_versions_own_predictions() -> None:
    agreement = counted(Begun("v1", True), Begun("v1", False), Begun("v2", True), Begun("v1", True))
    assert agreement.share("v1") == pytest.approx(2 / 3)
    assert agreement.share("v2") == 1.0
    assert agreement.counts("v1") == (3, 2)


def test_a_version_that_nobody_has_begun_with_has_no_share() -> None:
    assert counted(Begun("v10", True)).share("v1") is None
    assert counted().counts("v1") is None


@settings(max_examples=examples(50))
@given(st.lists(st.builds(Begun, versions, st.booleans())))
def test_counts_survive_being_written_and_read(begun: list[Begun]) -> None:
    agreement = counted(*begun)
    read = Agreement.parse(agreement.to_text())
    assert {name: read.counts(name) for name in ("v1", "v2", "v10")} == {
        name: agreement.counts(name) for name in ("v1", "v2", "v10")
    }


def test_nothing_is_counted_before_the_first_scan() -> None:
    assert Agreement.parse("").share("v1") is None
