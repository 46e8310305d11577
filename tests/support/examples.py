"""How many examples Hypothesis tries: all of them in ``make test``, a part in ``make test-fast``."""

from hypothesis import HealthCheck, settings

_USUAL = 100
_FAST = 15

settings.register_profile("fast", max_examples=_FAST, suppress_health_check=[HealthCheck.too_slow])


def examples(count: int) -> int:
    """Give ``count``, or with ``--hypothesis-profile fast`` the same part of it that other tests try."""
    return max(1, count * settings().max_examples // _USUAL)
