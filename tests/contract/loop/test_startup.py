"""What is refused before a worker begins, and what doctor knows of workers."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from labelloop.cli.doctor import diagnose
from labelloop.errors import SettingsError
from labelloop.kinds import base
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.redis_server import RedisServer
from labelloop.loop.retrain import require_trainable
from labelloop.loop.startup import (
    ABOUT,
    check_training,
    comparable,
    keep_private,
    readable,
    warn_of_other_releases,
    workers,
)
from labelloop.loop.worker import make_worker
from labelloop.settings import Settings
from labelloop.types import Finding
from labelloop.web.machine import doubts
from support import outlined_kind

QUICK: dict[str, object] = {"backbone": "test_resnet", "weights": "none"}


@pytest.mark.train
class TestTraining:
    """One process that has torch already, so that each check is a cheap fork."""

    @pytest.fixture(autouse=True)
    def loaded(self) -> None:
        import labelloop.train.trainer  # noqa: F401

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"backbone": "resnet19"}, "timm has no network named 'resnet19'; near: resnet18.* LABELLOOP_BACKBONE"),
            ({"optimizer": "adamv"}, "timm has no optimizer named 'adamv'; near: .*adam.* LABELLOOP_OPTIMIZER"),
            ({"weights": "/nowhere/a.safetensors"}, "LABELLOOP_WEIGHTS: /nowhere/a.safetensors cannot be read"),
            ({"augmentations": "/nowhere/a.yaml"}, "LABELLOOP_AUGMENTATIONS: /nowhere/a.yaml cannot be read"),
            ({"backbone": "vit_tiny_patch16_224", "image_size": 5}, "LABELLOOP_IMAGE_SIZE|could not make backbone"),
        ],
    )
    def test_what_no_run_could_use_is_refused_by_name(self, given: dict[str, object], told: str) -> None:
        with pytest.raises(SettingsError, match=told):
            check_training(Settings(**{**QUICK, **given}))  # type: ignore[arg-type]

    def test_weights_that_are_none_or_of_another_network_are_refused(self, tmp_path: Path) -> None:
        from safetensors.numpy import save_file

        path = tmp_path / "own.safetensors"
        path.write_bytes(b"no weights at all")
        with pytest.raises(SettingsError, match=r"own.safetensors are no readable safetensors file"):
            check_training(Settings(**{**QUICK, "weights": str(path)}))  # type: ignore[arg-type]
        save_file({}, path)
        with pytest.raises(SettingsError, match=r"are not those of backbone 'test_resnet' .*missing"):
            check_training(Settings(**{**QUICK, "weights": str(path)}))  # type: ignore[arg-type]

    def test_what_can_be_trained_passes(self) -> None:
        check_training(Settings(**QUICK))  # type: ignore[arg-type]

    def test_settings_that_are_fine_for_one_kind_are_refused_where_another_is_learned_and_not_before(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Numbers are not learned with such a seed, and pictures are."""
        monkeypatch.setattr(base, "KINDS", {**base.KINDS, outlined_kind.NAME: outlined_kind.__name__})
        settings = Settings(**{**QUICK, "seed": -1})  # type: ignore[arg-type]
        monkeypatch.setattr(outlined_kind.Outlined, "settings", ("backbone",))
        check_training(settings)
        with pytest.raises(SettingsError, match="a seed from 0 on"):
            require_trainable(settings, outlined_kind.NAME)
        # What is set for that kind alone can be meant for no other.
        monkeypatch.setattr(outlined_kind.Outlined, "settings", ("backbone", "an_own_one"))
        with pytest.raises(SettingsError, match="a seed from 0 on"):
            check_training(settings)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"predict_deadline": 100.0}, "LABELLOOP_PREDICT_DEADLINE is 100 s, but Label Studio waits 100 s"),
        ({"endpoint_timeout": 95.0}, "LABELLOOP_ENDPOINT_TIMEOUT (95 s) is longer than LABELLOOP_PREDICT_DEADLINE"),
        ({"interactive_deadline": 95.0}, "LABELLOOP_INTERACTIVE_DEADLINE (95 s) is longer"),
        (
            {"max_wait_seconds": 10.0},
            "LABELLOOP_MAX_WAIT_SECONDS (10 s) is shorter than LABELLOOP_QUIET_SECONDS (30 s)",
        ),
        (
            {"head_quiet_seconds": 7200.0},
            "LABELLOOP_MAX_WAIT_SECONDS (3600 s) is shorter than LABELLOOP_HEAD_QUIET_SECONDS (7200 s)",
        ),
        ({"learning_rate": 0.0}, "LABELLOOP_LEARNING_RATE is 0"),
        ({"host": "::"}, "Basic authentication is off and HOST is ::: whoever reaches port 9090"),
        ({"label_studio_api_key": ""}, "there is no webhook secret"),
    ],
)
def test_what_is_hardly_meant_is_said(given: dict[str, object], told: str) -> None:
    usual: dict[str, object] = {"host": "127.0.0.1", "label_studio_api_key": "key"}
    assert doubts(Settings(**usual)) == []  # type: ignore[arg-type]
    [sentence] = doubts(Settings(**{**usual, **given}))  # type: ignore[arg-type]
    assert told in sentence


def test_where_labelbox_is_served_alone_no_webhook_is_missed() -> None:
    assert doubts(Settings(host="127.0.0.1", labelbox_secret="hush")) == []


def test_basic_authentication_closes_a_backend_that_hears_everybody() -> None:
    assert doubts(Settings(basic_auth_user="me", basic_auth_pass="pw", label_studio_api_key="key")) == []


def test_what_is_compared_holds_no_secret() -> None:
    secret = Settings(
        label_studio_api_key="hush",
        basic_auth_pass="hush",
        webhook_secret="hush",
        endpoint_headers="Authorization: hush",
        endpoint="http://me:hush@host/?key=hush",
        redis_url="redis://:hush@redis",
    )
    assert "hush" not in str(comparable(secret))


def found(hub: Hub) -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose(hub, None)}


def test_doctor_knows_whether_a_worker_lives_and_works_by_the_same_settings(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    # What cannot be trained anywhere: the training is not what is looked at here.
    usual: dict[str, object] = {"redis_url": redis_server.url, "weights": "/nowhere/a.safetensors"}
    hub = open_hub(Settings(model_dir=str(tmp_path), store=f"{tmp_path.as_uri()}/store", **usual))  # type: ignore[arg-type]
    with closing(hub.redis):
        hub.redis.flushall()
        assert not found(hub)["workers"].ok
        worker = make_worker(hub)
        worker.register_birth()
        try:
            assert [about.name for about in workers(hub)] == [worker.name]
            told = found(hub)
            assert told["workers"].detail.startswith("1, of which ")
            assert not [name for name in told if name.startswith("settings of worker")]
            elsewhere = Settings(retrain_after=5, store="file:///elsewhere", **usual)  # type: ignore[arg-type]
            [other] = [one for name, one in found(open_hub(elsewhere)).items() if name.startswith("settings of worker")]
            assert not other.ok
            assert "LABELLOOP_RETRAIN_AFTER is 20 there" in other.detail
            assert f"LABELLOOP_STORE is {tmp_path.as_uri()}/store there" in other.detail
        finally:
            worker.register_death()  # type: ignore[no-untyped-call]
            worker.connection.close()


@pytest.mark.parametrize("at_work", [False, True])
def test_a_worker_that_redis_has_forgotten_is_known_again_with_its_next_sign_of_life(
    job_hub: Hub, *, at_work: bool
) -> None:
    worker = make_worker(job_hub)
    worker.register_birth()
    try:
        before = workers(job_hub)
        job_hub.redis.flushall()
        assert not workers(job_hub)
        if at_work:
            with worker.connection.pipeline() as pipe:
                worker.heartbeat(60, pipe)
                assert pipe.execute()[0] == 1, "RQ looks at the first answer"
        else:
            worker.heartbeat()
        assert workers(job_hub) == before
        assert before[0].bundles
        assert 0 < job_hub.redis.ttl(worker.key) <= 120
    finally:
        worker.register_death()  # type: ignore[no-untyped-call]
        worker.connection.close()


def test_a_worker_of_another_release_is_told_of(
    redis_server: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = open_hub(Settings(model_dir=str(tmp_path), redis_url=redis_server.url, weights="/nowhere/a.safetensors"))
    with closing(hub.redis):
        hub.redis.flushall()
        worker = make_worker(hub)
        worker.register_birth()
        try:
            warn_of_other_releases(hub)
            assert not caplog.messages
            name, of_release = f"release of worker {worker.name[:8]}", comparable(hub.settings)
            assert name not in found(hub)

            def other(**about: object) -> str:
                caplog.clear()
                told = {"settings": of_release, "bundles": readable()} | about
                hub.redis.hset(worker.key, ABOUT, json.dumps({"trains": True} | told))
                warn_of_other_releases(hub)
                [said] = caplog.messages
                return said.removeprefix(f"worker {worker.name} is of ").partition(". ")[0]

            knows_less = {one: value for one, value in of_release.items() if one != "LABELLOOP_INT8"}
            assert other(settings=knows_less) == "an earlier release (it does not know LABELLOOP_INT8): stop it"
            assert not found(hub)[name].ok
            assert other(settings={}) == "an earlier release (it does not say its settings): stop it"
            assert other(bundles=[]).startswith("an earlier release (it does not say which files of bundles")
            less = [one for one in readable() if one != "backbone.tokenizer.json of text-classification"]
            assert "(it does not know backbone.tokenizer.json of text-classification)" in other(bundles=less)
            more = of_release | {"LABELLOOP_NEW": "1"}
            assert other(settings=more).endswith("(it has LABELLOOP_NEW, which is unknown here): stop this worker")
            assert found(hub)[name].detail.startswith("it is a later one than here: it has LABELLOOP_NEW")
            assert "install that release here" in found(hub)[name].remedy
            assert other(settings=more, bundles=less).endswith("unknown here): stop whichever is the earlier")
        finally:
            worker.register_death()  # type: ignore[no-untyped-call]
            worker.connection.close()


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_the_folder_of_all_data_is_for_nobody_else(tmp_path: Path) -> None:
    new = tmp_path / "a" / "new"
    keep_private(new)
    assert mode(new) == 0o700

    old = tmp_path / "old"
    (old / "store").mkdir(parents=True)
    old.chmod(0o755)
    keep_private(old)
    assert mode(old) == 0o700


def test_a_folder_that_holds_other_things_stays_open_and_what_is_ours_in_it_does_not(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "store").mkdir(parents=True)
    (shared / "thesis.txt").write_text("x")
    shared.chmod(0o755)
    (shared / "store").chmod(0o755)
    keep_private(shared)

    assert mode(shared) == 0o755
    assert {mode(shared / name) for name in ("store", "redis", "cache", "runs")} == {0o700}


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="cannot be used as a folder"):
        keep_private(tmp_path / "file" / "below")
