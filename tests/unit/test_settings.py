"""The settings table."""

import re
from dataclasses import fields

import pytest

from labelloop.endpoints.answers.read import NONE, RESPONSES
from labelloop.endpoints.requests.registry import REQUESTS
from labelloop.environment import environment_of, read_instead, shared_environment, unknown_variables
from labelloop.errors import SettingsError
from labelloop.kinds.image_classification import ENGINES
from labelloop.setting_values import headers
from labelloop.settings import Settings
from labelloop.types import UNCERTAINTIES


def test_every_kind_of_setting_is_read() -> None:
    settings = Settings.from_environment(
        {
            "PORT": "1234",
            "LABELLOOP_QUIET_SECONDS": "2.5",
            "LABELLOOP_ALLOW_PRIVATE_ADDRESSES": "yes",
            "LABELLOOP_RECIPES": "head, finetune",
            "LABELLOOP_BACKBONE": "test_resnet",
        }
    )

    assert settings.port == 1234
    assert settings.quiet_seconds == 2.5
    assert settings.allow_private_addresses is True
    assert settings.recipes == ("head", "finetune")
    assert settings.backbone == "test_resnet"


def test_an_empty_variable_is_an_unset_one() -> None:
    assert Settings.from_environment({"PORT": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("PORT", "http", "PORT: 'http' is not a whole number"),
        ("PORT", "-1", "PORT: '-1' is below 0"),
        ("LABELLOOP_QUIET_SECONDS", "nan", "LABELLOOP_QUIET_SECONDS: 'nan' is below 0"),
        ("LABELLOOP_ALLOW_PRIVATE_ADDRESSES", "maybe", "'maybe' is not true or false"),
        ("PORT", "65536", "PORT: '65536' is above 65535"),
        ("LABELLOOP_QUIET_SECONDS", "inf", "'inf' is no finite number"),
        ("LABELLOOP_RECIPES", "heads", "'heads' is not a list of head, finetune (did you mean head?)"),
        ("LABELLOOP_RECIPES", "head,fine", "'head,fine' is not a list of head, finetune (did you mean finetune?)"),
        ("LABELLOOP_RECIPES", ",", "',' is not a list of head, finetune"),
        ("LOG_LEVEL", "LOUD", "'LOUD' is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("LOG_LEVEL", "warn", "(did you mean WARNING?)"),
        ("LABELLOOP_REQUEST_FORMAT", "row", "(did you mean raw?)"),
        ("LABELLOOP_RESPONSE_FORMAT", "box", "'box' is not one of auto, labelloop, detections, boxes"),
        ("LABELLOOP_UNCERTAINTY", "entropie", "(did you mean entropy?)"),
        ("LABELLOOP_BALANCE", "oversample", "is not one of auto, none, loss, sampler"),
        ("ENGINE", "tensorrt", "ENGINE: 'tensorrt' is not one of onnx, onnx-float32, torchscript"),
        ("LABELLOOP_AUGMENTATIONS", "real", "(did you mean realistic?), nor the path of a .yaml or .yml file"),
        ("LABELLOOP_WEIGHTS", "resnet.pth", "is not pretrained, none, or the path of a .safetensors file"),
        ("LABELLOOP_BACKBONE", "res net", "LABELLOOP_BACKBONE: 'res net' is not a name of timm's"),
        ("LABELLOOP_OPTIMIZER", "adam w", "LABELLOOP_OPTIMIZER: 'adam w' is not a name of timm's"),
        ("LABELLOOP_IMAGE_SIZE", "5000", "is above 4096"),
        ("LABELLOOP_THRESHOLD", "50", "LABELLOOP_THRESHOLD: '50' is above 1"),
        ("LABELLOOP_LABEL_MAP", "cat:Cat", "'cat:Cat' is not class=label, separated by commas"),
        ("LABELLOOP_LABEL_MAP", "cat=", "is not class=label"),
        ("LABELLOOP_REQUEST_FORMAT", "jsn:image", "(did you mean json?)"),
        ("LABELLOOP_PARAMETERS", "[1]", "'[1]' is not a JSON object"),
        ("LABELLOOP_PARAMETERS", "{top_k: 5}", "is not a JSON object"),
        ("LABELLOOP_RESPONSE_MAPPING", "predictions[", "is not a JMESPath expression"),
        ("LABELLOOP_ENDPOINT_HEADERS", "Bearer", "its value is not of the form Name: value"),
        ("LABELLOOP_ENDPOINT", "telnet://x", "'telnet://x' is not an endpoint's address: http://host:port"),
        ("LABELLOOP_ENDPOINT", "127.0.0.1:9091", "is not an endpoint's address"),
        ("LABELLOOP_ENDPOINT", "http://host:many", "is not an endpoint's address"),
        ("LABELLOOP_ENDPOINT", "sagemaker://", "is not an endpoint's address"),
        ("LABELLOOP_STORE", "ftp://x", "'ftp://x' is not a store address: file:///folder, s3://bucket/prefix or gs://"),
        ("LABELLOOP_TRAINER", "features:e5", "'features:e5' is not a trainer: local, command:./train.sh"),
        ("LABELLOOP_STORE", "/data/store", "is not a store address"),
        ("LABELLOOP_STORE", "file://data", "is not a store address"),
        ("LABELLOOP_STORE", "s3://", "is not a store address"),
        ("LABELLOOP_STORE", "gs://bucket?x=1", "is not a store address: file:///folder, s3://bucket/prefix or gs://"),
        ("LABELLOOP_REDIS_URL", "localhost:6379", "is not embedded, or of the form redis://host:port/db"),
        ("LABELLOOP_REDIS_URL", "redis://host:port", "is not embedded"),
        ("LABEL_STUDIO_URL", "localhost:8080", "is not of the form http://host:port"),
        ("LABEL_STUDIO_URL", "http://[::1", "is not of the form http://host:port"),
        (
            "LABEL_STUDIO_URL",
            "http://me:hush@studio",
            "'http://***@studio' is not an address without user and password",
        ),
        ("LABEL_STUDIO_HOSTNAME", "studio", "'studio' is not of the form http://host:port"),
        ("LABEL_STUDIO_HOST", "http://me:hush@studio", "is not an address without user and password"),
        ("LABELLOOP_VERTEX_BASE_URL", "vertex", "is not of the form http://host:port"),
        ("LABEL_STUDIO_API_KEY", "abc\ndef", "LABEL_STUDIO_API_KEY: its value is not a token"),
        ("LABELLOOP_WEBHOOK_SECRET", "two words", "its value is not a token"),
        ("HOST", "http://0.0.0.0", "HOST: 'http://0.0.0.0' is not a host name or an IP address"),
        ("LABELBOX_API_KEY", "two words", "its value is not a token"),
        ("LABELLOOP_LABELBOX_ENDPOINT", "https://api.labelbox.com", "is not an address with /graphql in it"),
        ("LABELLOOP_LABELBOX_ENDPOINT", "https://me:hush@api/graphql", "is not an address with /graphql in it"),
        ("LABELLOOP_LABELBOX_ENDPOINT", "api.labelbox.com/graphql", "is not an address with /graphql in it"),
        ("LABELLOOP_LABELBOX_SECRET", "copied \n", "its value is not a secret: it begins or ends with a space"),
        ("LABELLOOP_LABELBOX_PRELABEL_PROJECT", "../../etc", "is not an id of Labelbox: 8 to 64 letters"),
        ("LABELLOOP_LABELBOX_VERTEX", "my-project", "is not PROJECT/LOCATION, for example"),
        ("LABELLOOP_LABELBOX_VERTEX", "a/b/c", "is not PROJECT/LOCATION, for example"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(complaint)) as refused:
        Settings.from_environment({name: text})

    assert str(refused.value).startswith(f"{name}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LABELLOOP_REDIS_URL", "redis://:hush@host:port"),
        ("LABELLOOP_REDIS_URL", "redis:/:hush@host"),
        ("LABELLOOP_ENDPOINT", "ftp://me:hush@host/?key=hush#hush"),
        ("LABELLOOP_ENDPOINT", "http://me:hu/sh@host:many"),
        ("LABELLOOP_STORE", "s3://KEY:hush@bucket"),
        ("LABEL_STUDIO_URL", "http://me:hush@[::1"),
        ("LABEL_STUDIO_URL", "http://me:hush@studio"),
        ("LABEL_STUDIO_HOSTNAME", "http://me:hush@studio"),
        ("LABEL_STUDIO_API_KEY", "hush hush"),
        ("LABELLOOP_WEBHOOK_SECRET", "hush hush"),
        ("LABELBOX_API_KEY", "hush hush"),
        ("LABELLOOP_LABELBOX_SECRET", "hush\n"),
        ("LABELLOOP_NOTIFY_URL", "hooks.example.com/hush"),
        ("LABELLOOP_NOTIFY_URL", "https://me:hush@hooks.example.com/x"),
        ("LABELLOOP_NOTIFY_URL", "https://hooks.example.com/hush hush"),
        ("LABELLOOP_LABELBOX_ENDPOINT", "https://me:hush@api/graphql"),
        ("LABELLOOP_ENDPOINT_HEADERS", "hush"),
    ],
)
def test_a_refusal_shows_no_secret(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        Settings.from_environment({name: text})

    assert not re.search("hush|hu/sh", str(refused.value))


@pytest.mark.parametrize(
    ("environment", "address", "read"),
    [
        ({}, "http://localhost:8080", []),
        ({"LABEL_STUDIO_URL": "https://a"}, "https://a", []),
        ({"LABEL_STUDIO_HOSTNAME": "https://b"}, "https://b", [("LABEL_STUDIO_URL", "LABEL_STUDIO_HOSTNAME")]),
        ({"LABEL_STUDIO_HOST": "https://c"}, "https://c", [("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST")]),
        (
            {"LABEL_STUDIO_URL": "", "LABEL_STUDIO_HOSTNAME": "https://b", "LABEL_STUDIO_HOST": "studio"},
            "https://b",
            [("LABEL_STUDIO_URL", "LABEL_STUDIO_HOSTNAME")],
        ),
        ({"LABEL_STUDIO_URL": "https://a", "LABEL_STUDIO_HOSTNAME": "studio"}, "https://a", []),
    ],
)
def test_label_studios_address_is_also_read_by_the_names_its_own_tools_give_it(
    environment: dict[str, str], address: str, read: list[tuple[str, str]]
) -> None:
    assert Settings.from_environment(environment).label_studio_url == address
    assert list(read_instead(environment)) == read


def test_no_program_of_others_is_given_an_address_with_a_password_by_any_of_its_names() -> None:
    given = {"LABEL_STUDIO_HOSTNAME": "http://me:hush@studio", "LABEL_STUDIO_HOST": "https://studio"}
    assert shared_environment(given) == {"LABEL_STUDIO_HOST": "https://studio"}


def right_values() -> list[tuple[str, str]]:
    """Every choice of every setting that has some, and what else is right though it looks odd."""
    choices = [(entry.metadata["name"], choice) for entry in fields(Settings) for choice in entry.metadata["choices"]]
    return [
        *choices,
        ("LOG_LEVEL", "debug"),
        ("LABELLOOP_RECIPES", "finetune, head"),
        ("LABELLOOP_AUGMENTATIONS", "/data/my policy.yaml"),
        ("LABELLOOP_WEIGHTS", "~/weights/resnet18.safetensors"),
        ("LABELLOOP_BACKBONE", "mobilenetv2_100?pad_type=same"),
        ("LABELLOOP_BACKBONE", "resnet18.a1_in1k"),
        ("LABELLOOP_STORE", "file:///data/x%20y"),
        ("LABELLOOP_STORE", "file://localhost/data"),
        ("LABELLOOP_STORE", "s3://bucket"),
        ("LABELLOOP_STORE", "s3://bucket/a/b"),
        ("LABELLOOP_ENDPOINT", "https://me:pw@models.example.com/predict?key=1"),
        ("LABELLOOP_ENDPOINT", "http://[::1]:9091"),
        ("LABELLOOP_ENDPOINT", "sagemaker://name"),
        ("LABELLOOP_ENDPOINT", "vertex://project/europe-west1/123"),
        ("LABELLOOP_ENDPOINT", "fake://?classes=cat"),
        ("LABELLOOP_REDIS_URL", "redis://:pw@redis:6379/0"),
        ("LABELLOOP_REDIS_URL", "rediss://redis"),
        ("LABELLOOP_REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("LABEL_STUDIO_URL", "https://studio.example.com/label/"),
        ("LABELLOOP_ENDPOINT_HEADERS", "Authorization: Bearer a b; X-Team: c;"),
        ("LABELLOOP_PARAMETERS", '{"top_k": 5}'),
        ("LABELLOOP_REQUEST_FORMAT", "json:instances[].image_bytes.b64"),
        ("LABELLOOP_RESPONSE_MAPPING", "predictions[0].{label: name}"),
        ("LABELLOOP_LABEL_MAP", "cat=Cat, dog = Dog"),
        ("LABELLOOP_NOTIFY_URL", "https://hooks.example.com/services/T0/B0/x?y=1"),
        ("HOST", "::"),
        ("HOST", "web.labelloop.internal"),
    ]


@pytest.mark.parametrize(("name", "text"), right_values())
def test_a_right_value_is_taken(name: str, text: str) -> None:
    assert name in environment_of(Settings.from_environment({name: text}))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Accept: application/json;verbose", [("Accept", "application/json;verbose")]),
        ("A: b; Accept: application/json; charset=utf-8;", [("A", "b"), ("Accept", "application/json; charset=utf-8")]),
        (" ;A: b;\n; C: d:e ;\n", [("A", "b"), ("C", "d:e")]),
        ("Authorization: Basic a;b;X-Team: c", [("Authorization", "Basic a;b"), ("X-Team", "c")]),
        ("", []),
    ],
)
def test_a_semicolon_ends_a_header_where_another_follows(text: str, read: list[tuple[str, str]]) -> None:
    assert list(headers(text)) == read


def test_the_choices_are_those_of_the_code_that_takes_them() -> None:
    assert Settings.choices_of("request_format") == REQUESTS
    assert set(Settings.choices_of("response_format")) == {*RESPONSES, NONE}
    assert Settings.choices_of("uncertainty") == UNCERTAINTIES
    assert set(Settings.choices_of("engine")) == set(ENGINES)


@pytest.mark.train
def test_the_choices_are_those_of_the_training() -> None:
    from labelloop.train.augmentations.policy import POLICIES
    from labelloop.train.balance import BALANCES
    from labelloop.train.contest import RECIPES

    assert set(Settings.choices_of("recipes")) == set(RECIPES)
    assert Settings.choices_of("balance") == BALANCES
    for name in ("auto", *POLICIES):
        assert Settings.from_environment({"LABELLOOP_AUGMENTATIONS": name}).augmentations == name


def test_all_that_is_wrong_is_found_and_the_rest_is_read() -> None:
    settings, faults = Settings.read({"PORT": "x", "LABELLOOP_RECIPES": "heads", "LABELLOOP_SEED": "7"})

    assert (settings.port, settings.recipes, settings.seed) == (9090, ("head", "finetune"), 7)
    assert list(faults) == ["PORT", "LABELLOOP_RECIPES"]
    with pytest.raises(SettingsError, match=r"PORT.* And 1 more: `labelloop doctor` names them"):
        Settings.from_environment({"PORT": "x", "LABELLOOP_RECIPES": "heads"})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("LABELLOOP_RETRIAN_AFTER", "LABELLOOP_RETRIAN_AFTER is not a setting; did you mean LABELLOOP_RETRAIN_AFTER?"),
        ("LABELLOOP_ENGINES", "LABELLOOP_ENGINES is not a setting"),
        ("LABELLOOP_COLOURS", "LABELLOOP_COLOURS is not a setting of this version"),
        ("LABEL_STUDIO_APIKEY", "did you mean LABEL_STUDIO_API_KEY?"),
        ("LABEL_STUDIO_API_TOKEN", "did you mean LABEL_STUDIO_API_KEY?"),
        ("BASIC_AUTH_PASSWORD", "did you mean BASIC_AUTH_PASS?"),
        ("BASIC_AUTH_USERNAME", "did you mean BASIC_AUTH_USER?"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_the_nearest(name: str, told: str) -> None:
    assert told in unknown_variables({name: "hush"})[name]
    assert "hush" not in unknown_variables({name: "hush"})[name]


def test_other_programs_variables_are_nobodys_business() -> None:
    others = [
        *("PATH", "HOSTNAME", "LOGLEVEL", "WORKER", "ENGINES", "REPORT", "MODEL_DIRS", "LABELLOOP_TEST_LABEL_STUDIO"),
        *("LABELLOOP_REQUIRE_TOOLS", "LABEL_STUDIO_HOST", "LABEL_STUDIO_PORT", "LABEL_STUDIO_USERNAME"),
        *("LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_USER_TOKEN", "LABEL_STUDIO_LISTEN", "AWS_DEFAULT_REGION"),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN",
    ]
    assert unknown_variables(dict.fromkeys([*others, *environment_of(Settings())], "x")) == {}
    assert unknown_variables({"BASIC_AUTH_PASSWORD": "x", "BASIC_AUTH_PASS": "x"}) == {}


def test_the_default_store_lies_in_the_model_folder() -> None:
    assert Settings(model_dir="/data/x y").store_address == "file:///data/x%20y/store"


def test_settings_survive_the_way_through_an_environment() -> None:
    settings = Settings(recipes=("head",), allow_private_addresses=True, quiet_seconds=0.5, label_studio_api_key="k")

    assert Settings.from_environment(environment_of(settings)) == settings
