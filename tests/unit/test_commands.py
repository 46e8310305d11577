"""Somebody else's program: real children, run by verb, and what is left of them."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labelloop.commands import Command
from labelloop.environment import shared_environment
from labelloop.errors import LeaseLost, SettingsError
from support.waiting import wait_until

VERBS = ("state", "rollback")


def script(folder: Path, *lines: str) -> Command:
    """Write a shell script, and name it as an address does."""
    path = folder / "its script.sh"
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return Command.parse(f"command:'{path}'", VERBS)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_an_address_is_words_verbs_and_options() -> None:
    plain = Command.parse("command:./deploy.sh", VERBS)
    assert (plain.words, plain.verbs, plain.options, plain.name) == (("./deploy.sh",), frozenset(), {}, "deploy.sh")
    full = Command.parse("command:python3 -u 'my train.py' --to=x?verbs=state,rollback&format=csv", VERBS, ("format",))
    assert full.words == ("python3", "-u", "my train.py", "--to=x")
    assert (sorted(full.verbs), dict(full.options), full.name) == (
        ["rollback", "state"],
        {"format": "csv"},
        "my train.py",
    )


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("command:", "no command is named"),
        ("command:./a 'b", "No closing quotation"),
        ("command:./a?verbs=state,stat", "'stat' is no verb of such a command. There are state, rollback"),
        ("command:./a?format=csv", "'format' is no option"),
        ("command:./a?state", "cannot be read"),
    ],
)
def test_an_address_that_is_none_says_why(address: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Command.parse(address, VERBS)


def test_output_comes_line_by_line_and_standard_error_goes_to_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard: list[str] = []
    command = script(tmp_path, 'echo "$1: $(cat)"', "echo working >&2", 'printf "%s" "$KEY; rm -rf x"')
    asked = tmp_path / "asked"
    asked.write_text("a question")
    with asked.open("rb") as stdin:
        ended = command.run("a b", seconds=30, stdin=stdin, line=heard.append, environment={"KEY": "k"})
    assert (ended.problem, ended.output, ended.last_line) == ("", "a b: a question\nk; rm -rf x", "k; rm -rf x")
    assert heard == ["a b: a question", "k; rm -rf x"]
    assert "its script.sh: working" in caplog.text


def test_none_of_our_secrets_are_in_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_studio = ("LABEL_STUDIO_API_KEY", "BASIC_AUTH_PASS", "LABELLOOP_WEBHOOK_SECRET", "LABELLOOP_ENDPOINT_HEADERS")
    for name in (*of_studio, "LABELBOX_API_KEY", "LABELLOOP_LABELBOX_SECRET", "LABELLOOP_NOTIFY_URL"):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("LABELLOOP_REDIS_URL", "redis://:hush@127.0.0.1:1/0")
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:8080")
    monkeypatch.setenv("AWS_PROFILE", "theirs")
    told = script(tmp_path, "env").run(seconds=30).output
    assert "hush" not in told
    assert {"LABEL_STUDIO_URL=http://127.0.0.1:8080", "AWS_PROFILE=theirs"} <= set(told.splitlines())
    assert shared_environment({"LABELLOOP_REDIS_URL": "redis://here:1/0"}) == {
        "LABELLOOP_REDIS_URL": "redis://here:1/0"
    }


def test_what_went_wrong_is_told_with_its_last_words(tmp_path: Path) -> None:
    ended = script(tmp_path, "for i in 1 2 3 4 5 6 7; do echo line $i >&2; done", "exit 3").run(seconds=30)
    assert ended.problem == "ended with exit status 3: line 3 / line 4 / line 5 / line 6 / line 7"
    assert script(tmp_path, "echo only output", "exit 1").run(seconds=30).problem.endswith("status 1: only output")
    assert script(tmp_path, "kill -9 $$").run(seconds=30).problem == "ended by SIGKILL"


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = Command.parse(f"command:{tmp_path}/nothing.sh", VERBS).run(seconds=30)
    assert "nothing.sh is no program" in missing.problem
    (tmp_path / "its script.sh").write_text("#!/nowhere/sh\n")
    (tmp_path / "its script.sh").chmod(0o755)
    ended = Command.parse(f"command:'{tmp_path / 'its script.sh'}'", VERBS).run(seconds=30)
    assert "status 127" in ended.problem
    assert "cannot be started: No such file" in ended.problem


def test_one_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    command = script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; echo begun >&2; wait")
    ended = command.run(seconds=1.0)
    assert ended.problem == "was ended after 1 s: begun"
    wait_until(lambda: not is_alive(int((tmp_path / "child").read_text())), "what it started has ended", 30)


def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    command = script(tmp_path, "sleep 600 > /dev/null 2>&1 & echo $!")
    ended = command.run(seconds=60)
    assert ended.problem == ""
    left = int(ended.last_line)
    assert is_alive(left), "a verb may begin what goes on after it"
    os.kill(left, signal.SIGKILL)


def test_whoever_may_not_go_on_ends_it(tmp_path: Path) -> None:
    def lost() -> None:
        if (tmp_path / "child").exists():
            raise LeaseLost("another worker")

    command = script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/.child; mv {tmp_path}/.child {tmp_path}/child; wait")
    with pytest.raises(LeaseLost):
        command.run(seconds=600, check=lost)
    wait_until(lambda: not is_alive(int((tmp_path / "child").read_text())), "what it started has ended", 30)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells a child that its parent is gone")
def test_it_ends_with_a_parent_that_is_killed_and_takes_along_what_it_started(tmp_path: Path) -> None:
    script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/.child; mv {tmp_path}/.child {tmp_path}/child; wait")
    run = f"from labelloop.commands import Command; Command((r'{tmp_path}/its script.sh',)).run(seconds=600)"
    parent = subprocess.Popen([sys.executable, "-c", run])
    wait_until((tmp_path / "child").exists, "it runs", 60)
    child = int((tmp_path / "child").read_text())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(child), "it has ended", 30)
