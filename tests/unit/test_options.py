"""What a project may say in extra_params, and what becomes of it."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.data.labeling import Subject
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import OptionsError, SettingsError
from labelloop.loop.project_options import options_of
from labelloop.settings import Settings

DEFAULT = Settings()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["endpoint", "request", "response", "mapping", "classes", "parameters", "version", "batch", "threshold"]
KEYS += ["bootstrap", "learn"]


def allowing(*patterns: str, **settings: Any) -> Settings:
    return Settings(allowed_endpoints=patterns, **settings)


@pytest.mark.parametrize("nothing", [None, "", "  ", {}, "{}"])
def test_without_extra_params_the_settings_stand(nothing: object) -> None:
    settings = Settings(
        endpoint="https://h/predict",
        endpoint_headers="Authorization: Bearer x; X-Team: a",
        classes=("cat", "dog"),
        threshold=0.3,
        label_map=("cat=Cat", "dog = Dog"),
        uncertainty="margin",
    )
    options = options_of(settings, nothing)

    assert options.endpoint == EndpointSpec.of(settings)
    assert options.endpoint.headers == (("Authorization", "Bearer x"), ("X-Team", "a"))
    assert options.rendering.threshold == 0.3
    assert options.rendering.label_map == {"cat": "Cat", "dog": "Dog"}
    assert options.rendering.uncertainty == "margin"


def test_a_project_goes_before_the_settings() -> None:
    given = {
        "request": "instances",
        "response": "boxes",
        "mapping": "predictions",
        "classes": ["owl"],
        "parameters": {"top_k": 3},
        "version": "7",
        "batch": 8,
        "threshold": 0.7,
        "label_map": {"owl": "Owl"},
        "uncertainty": "entropy",
        "tag": "animal",
    }
    options = options_of(Settings(classes=("cat",), threshold=0.1), json.dumps(given))

    spec = options.endpoint
    assert (spec.request, spec.response, spec.mapping) == ("instances", "boxes", "predictions")
    assert (spec.classes, json.loads(spec.parameters), spec.version, spec.batch) == (("owl",), {"top_k": 3}, "7", 8)
    assert options.rendering.threshold == 0.7
    assert options.rendering.label_map == {"owl": "Owl"}
    assert options.rendering.uncertainty == "entropy"
    assert options.rendering.tag == "animal"


def test_headers_and_formats_of_the_settings_never_go_to_another_endpoint() -> None:
    settings = allowing(
        "https://other/*", endpoint="https://mine/x", endpoint_headers="Authorization: Bearer x", classes=("cat",)
    )
    spec = options_of(settings, {"endpoint": "https://other/y"}).endpoint

    assert spec == EndpointSpec("https://other/y", timeout=settings.endpoint_timeout)
    assert options_of(settings, {"endpoint": "https://mine/x"}).endpoint.headers


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("sagemaker://team-*", "sagemaker://team-scenes"),
        ("sagemaker://team-*?*", "sagemaker://team-a?region=eu-west-1"),
        ("https://*.corp/v1/*", "https://models.corp/v1/predict"),
        ("vertex://project/europe-west4/*", "vertex://project/europe-west4/123"),
    ],
)
def test_an_endpoint_on_the_list_is_allowed(pattern: str, address: str) -> None:
    assert options_of(allowing(pattern), {"endpoint": address}).endpoint.address == address


@pytest.mark.parametrize(
    ("pattern", "address"),
    [
        ("https://*.corp/v1/*", "https://evil.com/.corp/v1/x"),
        ("https://*.corp/v1/*", "https://evil.com?.corp/v1/x"),
        ("https://*.corp/v1/*", "https://user:pw@models.corp/v1/x"),
        ("https://*.corp/v1/*", "https://evil.com#.corp/v1/x"),
        ("https://*.corp/v1/*", "https://evil.com\\.corp/v1/x"),
        ("https://*.corp/v1/*", "http://models.corp/v1/x"),
        ("sagemaker://a", "sagemaker://a?mode=async"),
        ("vertex://project/*", "vertex://project/europe-west4/123?dedicated=evil.com"),
        ("https://h/models/*", "https://h/models/../admin"),
        ("https://h/models/*", "https://h/models/%2e%2E/admin"),
        ("https://h/x", "https://h/x\n"),
        ("https://h/*", "https://[h/x"),
    ],
)
def test_an_endpoint_that_is_not_on_the_list_is_refused_without_repeating_it(pattern: str, address: str) -> None:
    with pytest.raises(OptionsError, match="LABELLOOP_ALLOWED_ENDPOINTS") as refused:
        options_of(allowing(pattern), {"endpoint": address})
    assert "evil" not in str(refused.value)
    assert "pw" not in str(refused.value)


def test_no_endpoint_is_allowed_unless_somebody_says_so() -> None:
    with pytest.raises(OptionsError):
        options_of(DEFAULT, {"endpoint": "http://127.0.0.1:1234/x"})
    assert options_of(DEFAULT, {"endpoint": DEFAULT.endpoint}).endpoint == EndpointSpec.of(DEFAULT)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ([], "JSON object"),
        ({"treshold": 0.5}, "'treshold'; known are endpoint"),
        ({"threshold": 2}, "'threshold' must be a number from 0 to 1"),
        ({"threshold": True}, "'threshold'"),
        ({"batch": 0}, "'batch'"),
        ({"classes": "cat,,dog"}, "'classes'"),
        ({"classes": [1]}, "'classes'"),
        ({"parameters": "x"}, "'parameters'"),
        ({"label_map": {"cat": ""}}, "'label_map'"),
        ({"uncertainty": "random"}, "least_confidence, margin, entropy"),
        ({"endpoint": 7}, "'endpoint' must be text"),
        ({"tag": 7}, "'tag' must be text"),
    ],
)
def test_what_is_wrong_is_named(given: object, told: str) -> None:
    with pytest.raises(OptionsError, match=told.replace("[", "\\[")):
        options_of(DEFAULT, given)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(endpoint_headers="Authorization"),
        Settings(endpoint_headers="Bad Name: x"),
        Settings(endpoint_headers="X-A: one\ntwo"),
        Settings(label_map=("cat",)),
        Settings(threshold=50),
        Settings(uncertainty="wild"),
    ],
)
def test_impossible_settings_are_said_by_name_and_without_secrets(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_") as refused:
        options_of(settings)
    assert not isinstance(refused.value, OptionsError)
    assert "two" not in str(refused.value)


@given(JSON | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3))
def test_whatever_is_given_it_is_read_or_refused(given: object) -> None:
    settings = allowing("https://*/*")
    with suppress(OptionsError):
        options = options_of(settings, given)
        assert options.endpoint.address == settings.endpoint or options.endpoint.address.startswith("https://")
        assert options.rendering.threshold is None or 0 <= options.rendering.threshold <= 1


def test_a_project_may_name_a_trainer_and_a_deployer_that_are_allowed_word_for_word() -> None:
    settings = Settings(
        endpoint="sagemaker://scenes?region=eu-west-1",
        deployer="command:./deploy.sh",
        allowed_trainers=("command:./train.sh",),
        allowed_deployers=("command:./other.sh",),
        allowed_endpoints=("sagemaker://team-*?region=eu-west-1",),
    )
    assert (options_of(settings).trainer, options_of(settings).deployer) == ("local", "command:./deploy.sh")
    named = options_of(settings, {"trainer": "command:./train.sh", "deployer": "command:./other.sh"})
    assert (named.trainer, named.deployer) == ("command:./train.sh", "command:./other.sh")
    # What writes to the endpoint of the settings writes to no other one.
    assert options_of(settings, {"endpoint": "sagemaker://team-a?region=eu-west-1"}).deployer == ""
    for said in ({"trainer": "command:./train.sh --all"}, {"deployer": "command:./train.sh"}):
        with pytest.raises(OptionsError, match=r"LABELLOOP_ALLOWED_(TRAINER|DEPLOYER)S, word for word"):
            options_of(settings, said)
    with pytest.raises(OptionsError, match=r"is not a trainer: local, command:\./train\.sh, sagemaker-pipeline:"):
        options_of(Settings(allowed_trainers=("shell:rm",)), {"trainer": "shell:rm"})


BOOTSTRAP = "https://zero-shot/predict"


def test_a_bootstrap_endpoint_has_options_of_its_own_and_is_shown_as_the_project_is() -> None:
    spoken = {"request": "instances", "classes": ["a cat"], "version": "clip", "label_map": {"a cat": "cat"}}
    headers = {"Authorization": "Bearer x;y", "X-Team": "a"}
    settings = Settings(
        bootstrap_endpoint=BOOTSTRAP,
        bootstrap_options=json.dumps(spoken | {"headers": headers}),
        endpoint_headers="X-Mine: 1",
        classes=("cat",),
        label_map=("Katze=cat",),
        threshold=0.3,
        endpoint_timeout=7.0,
    )
    found = options_of(settings).bootstrap
    assert found is not None
    assert found.endpoint == EndpointSpec(
        BOOTSTRAP,
        request="instances",
        classes=("a cat",),
        version="clip",
        headers=tuple(headers.items()),
        timeout=7.0,
    )
    assert (found.rendering.label_map, found.rendering.threshold) == ({"a cat": "cat"}, 0.3)
    assert found.alone
    assert options_of(Settings()).bootstrap is None


def test_a_project_changes_names_or_switches_off_its_bootstrap_endpoint() -> None:
    secret = '{"headers": {"Authorization": "Bearer x"}, "batch": 4, "threshold": 0.2}'
    settings = allowing("https://other/*", bootstrap_endpoint=BOOTSTRAP, bootstrap_options=secret, threshold=0.3)

    changed = options_of(settings, {"bootstrap": {"batch": 2}, "threshold": 0.4}).bootstrap
    assert changed is not None
    assert (changed.endpoint.address, changed.endpoint.batch, len(changed.endpoint.headers)) == (BOOTSTRAP, 2, 1)
    assert changed.rendering.threshold == 0.2
    other = options_of(settings, {"bootstrap": "https://other/y", "threshold": 0.4}).bootstrap
    assert other is not None
    assert other.endpoint == EndpointSpec("https://other/y", timeout=settings.endpoint_timeout)
    assert other.rendering.threshold == 0.4
    assert options_of(settings, {"bootstrap": False}).bootstrap is None
    # The next project is read from the same settings.
    assert options_of(settings, {"threshold": 0.1}).bootstrap == options_of(settings).bootstrap


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"bootstrap": "https://evil/x"}, "LABELLOOP_ALLOWED_ENDPOINTS"),
        ({"bootstrap": {"batch": 2}}, "no setting names one"),
        ({"bootstrap": True}, "or false for none"),
        ({"bootstrap": {"headers": {}}}, "unknown key 'headers'"),
        ({"bootstrap": {"trainer": "local"}}, "unknown key 'trainer'"),
        ({"bootstrap": {"threshold": 2}}, "'bootstrap', 'threshold' must be"),
    ],
)
def test_what_is_wrong_with_a_bootstrap_endpoint_is_named(given: object, told: str) -> None:
    with pytest.raises(OptionsError, match=told):
        options_of(DEFAULT, given)


@pytest.mark.parametrize(
    "spoken", ["[]", '{"bach": 2}', '{"headers": {"Bad Name": "s3cret"}}', '{"headers": {"X": "s3\\ncret"}}', "{"]
)
def test_what_is_wrong_with_its_setting_is_named_without_its_value(spoken: str) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_BOOTSTRAP_OPTIONS") as refused:
        options_of(Settings(bootstrap_endpoint=BOOTSTRAP, bootstrap_options=spoken))
    assert not isinstance(refused.value, OptionsError)
    assert "cret" not in str(refused.value)


def test_a_project_names_the_control_tag_that_is_learned_and_its_trainer_says_who_learns_it() -> None:
    settings = Settings(allowed_trainers=("command:./train.sh",))
    assert options_of(settings).subject == Subject()
    assert options_of(settings, {"learn": "sky"}).subject == Subject("sky")
    foreign = options_of(settings, {"trainer": "command:./train.sh", "learn": "sky"})
    assert foreign.subject == Subject("sky", foreign=True)
    # A bootstrap endpoint learns nothing.
    assert options_of(settings, {"learn": "sky"}).endpoint == options_of(settings).endpoint
    with pytest.raises(OptionsError, match="'learn' must be text"):
        options_of(settings, {"learn": 3})
    with pytest.raises(OptionsError, match="unknown key 'learn'"):
        options_of(settings, {"bootstrap": {"endpoint": "http://127.0.0.1:1", "learn": "sky"}})
