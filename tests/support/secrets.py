"""All that a LabelLoop has written and shows, to be searched for what must be in none of it."""

import contextlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psutil
from redis import Redis

from labelloop.loop.redis_client import as_text


def leaks(held: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Say what of ``held`` has which secret in it, as it is, in base64 at any place, or as part of an address."""
    found = []
    for name, secret in secrets.items():
        assert len(secret) >= 12, f"{name} is too short: it may stand anywhere by chance"
        spelled = {secret.encode(), quote(secret, safe="").encode(), *_base64(secret.encode())}
        found += [f"{name} in {place}" for place, content in held.items() if any(one in content for one in spelled)]
    return found


def _base64(secret: bytes) -> Iterator[bytes]:
    """Yield what a secret looks like inside of base64, whatever stands before it; but for its first and last bytes."""
    for before in range(3):
        yield b64encode(b"\0" * before + secret)[4:-4]


def files_below(*folders: Path) -> dict[str, bytes]:
    """Read every file below these folders, but for what is removed meanwhile."""
    held = {}
    for path in (path for one in folders for path in one.rglob("*") if path.is_file()):
        with contextlib.suppress(FileNotFoundError):
            held[str(path)] = path.read_bytes()
    return held


def in_redis(redis: "Redis") -> dict[str, bytes]:
    """Read every key with all that it holds: a dump may be compressed."""
    readers: dict[str, Callable[[bytes], object]] = {
        "string": redis.get,
        "hash": redis.hgetall,
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        "list": lambda key: redis.lrange(key, 0, -1),
        "stream": redis.xrange,
    }
    return {
        f"Redis: {as_text(key)}": f"{as_text(key)} {readers[kind](key)!r}".encode()
        for key in redis.scan_iter()
        # What has expired meanwhile is of no type.
        if (kind := as_text(redis.type(key))) in readers
    }


def command_lines(process: psutil.Process) -> dict[str, bytes]:
    """Read what other users of the machine may see of a process and all below it; of one that has ended, nothing."""
    held = {}
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # Zombies are of this kind, too.
            held[f"process {one.pid}"] = " ".join([one.name(), *one.cmdline()]).encode()
    return held
