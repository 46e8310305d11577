"""Access tokens as Label Studio gives them for personal access tokens."""

import base64
import json
import time

from support.misbehaving import Exchange, answer


def jwt(seconds: float, kind: str = "access") -> str:
    """Make a token as Label Studio does, except that nobody could have signed it."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"token_type": kind, "exp": int(time.time() + seconds)}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "x" * 43])


PAT = jwt(10**9, "refresh")


class Tokens:
    """Exchanges a personal access token for access tokens that live ``seconds``, and accepts only the last one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.given: list[str] = []

    def __call__(self, exchange: Exchange) -> None:
        if exchange.request.line.startswith("POST /prefix/api/token/refresh"):
            assert json.loads(exchange.request.body) == {"refresh": PAT}
            self.given.append(jwt(self.seconds + len(self.given)))
            answer({"access": self.given[-1]})(exchange)
        elif exchange.request.headers.get("authorization") == f"Bearer {self.given[-1]}":
            answer({"ok": True})(exchange)
        else:
            answer({"detail": "token not valid"}, 401)(exchange)
