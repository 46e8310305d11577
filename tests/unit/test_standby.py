"""When the standby takes over: after half a second without a beat, and not because the machine itself stood still."""

from labelloop.front.standby import BEAT_SECONDS, Judgement


def judged(beats: list[int], seconds: float = BEAT_SECONDS) -> list[bool]:
    """Whether anybody was alive at each look, so many seconds apart."""
    judgement = Judgement()
    return [judgement.alive(count, number * seconds) for number, count in enumerate(beats)]


def test_nobody_is_stood_in_for_before_the_first_beat() -> None:
    assert all(judged([0] * 20))


def test_five_looks_without_a_beat_are_a_death_and_one_beat_is_life() -> None:
    assert judged([1, 2, 2, 2, 2, 2, 2, 2, 3, 4]) == [True] * 6 + [False] * 2 + [True] * 2


def test_where_the_machine_stood_still_its_workers_are_given_time_to_beat() -> None:
    assert all(judged([7] * 20, seconds=10.0))
    judgement = Judgement()
    moments = [0.0, 0.1, 0.2, 0.3, 0.4, 60.0, 60.1, 60.2, 60.3]
    assert all(judgement.alive(7, moment) for moment in moments)
