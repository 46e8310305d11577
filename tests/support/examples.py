"""How many examples Hypothesis tries, however long each takes: fewer in ``make test-fast``, more in ``make fuzz``."""

from hypothesis import HealthCheck, settings

_USUAL = 100
_FAST = 10
_FUZZ = 2000

# On a machine that does much else any example may take its time, the first one above all.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("usual"), max_examples=_FAST)
settings.register_profile("fuzz", settings.get_profile("usual"), max_examples=_FUZZ)
settings.load_profile("usual")


def examples(count: int) -> int:
    """Give ``count``, or with ``--hypothesis-profile fast`` or ``fuzz`` the same part or multiple of it."""
    return max(1, count * settings().max_examples // _USUAL)
