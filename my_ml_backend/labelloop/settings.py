"""The settings: one table, from which the environment, the CLI's help, the docs and ``doctor`` derive."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from labelloop import setting_values as values
from labelloop.errors import SettingsError
from labelloop.training_parameters import TrainingParameters


def _setting(name: str, default: Any, help: str, **limits: Any) -> Any:
    """Describe one setting: its variable, and what it may be."""
    return field(default=default, metadata=values.described(name, help, **limits))


@dataclass(frozen=True)
class LoopSettings:
    """What is served, stored and predicted, and when and how a project is trained anew."""

    label_studio_url: str = _setting(
        "LABEL_STUDIO_URL",
        "http://localhost:8080",
        "Address of Label Studio, as this machine reaches it; else that in LABEL_STUDIO_HOSTNAME or LABEL_STUDIO_HOST.",
        check=values.site_address,
        fallbacks=("LABEL_STUDIO_HOSTNAME", "LABEL_STUDIO_HOST"),
    )
    label_studio_link: str = _setting(
        "LABELLOOP_LABEL_STUDIO_LINK",
        "",
        "Address of Label Studio as browsers reach it, for links on the dashboard; default: LABEL_STUDIO_URL.",
        check=values.link_address,
    )
    label_studio_api_key: str = _setting(
        "LABEL_STUDIO_API_KEY",
        "",
        "Token of a Label Studio user: personal access token or legacy token.",
        secret=True,
        check=values.token,
    )
    label_studio_api_key_previous: str = _setting(
        "LABEL_STUDIO_API_KEY_PREVIOUS",
        "",
        "Token of before: webhooks may still carry a secret that is derived from it. It is sent nowhere.",
        secret=True,
        check=values.token,
    )
    basic_auth_user: str = _setting("BASIC_AUTH_USER", "", "User name that Label Studio must send; empty: none asked.")
    basic_auth_pass: str = _setting("BASIC_AUTH_PASS", "", "Password that Label Studio must send.", secret=True)
    basic_auth_pass_previous: str = _setting(
        "BASIC_AUTH_PASS_PREVIOUS", "", "Password of before, which Label Studio may still send.", secret=True
    )
    admin_user: str = _setting(
        "LABELLOOP_ADMIN_USER",
        "",
        "User name that operators' routes ask for, in the place of Label Studio's; empty: they take Label Studio's.",
    )
    admin_pass: str = _setting("LABELLOOP_ADMIN_PASS", "", "Password that operators must send.", secret=True)
    admin_pass_previous: str = _setting(
        "LABELLOOP_ADMIN_PASS_PREVIOUS", "", "Password of before, which operators may still send.", secret=True
    )
    webhook_secret: str = _setting(
        "LABELLOOP_WEBHOOK_SECRET",
        "",
        "What each project's secret in X-LabelLoop-Secret is made of; empty: LABEL_STUDIO_API_KEY.",
        secret=True,
        check=values.token,
    )
    webhook_secret_previous: str = _setting(
        "LABELLOOP_WEBHOOK_SECRET_PREVIOUS",
        "",
        "Secret of before, of which webhooks may still carry what is made.",
        secret=True,
        check=values.token,
    )
    host: str = _setting("HOST", "0.0.0.0", "Address the web process listens on.", check=values.host)  # noqa: S104
    port: int = _setting("PORT", 9090, "Port the web process listens on.", minimum=0, maximum=65535)
    workers: int = _setting("WORKERS", 1, "Processes of the web server.", minimum=1)
    threads: int = _setting("THREADS", 32, "Predictions at a time of each process of the web server.", minimum=1)
    log_level: str = _setting(
        "LOG_LEVEL",
        "INFO",
        "What is logged, and all above it.",
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    )
    log_format: str = _setting(
        "LABELLOOP_LOG_FORMAT",
        "text",
        "How it is logged: as lines for people (text), or an object a line with its trace id (json).",
        choices=("text", "json"),
    )
    model_dir: str = _setting(
        "MODEL_DIR", "~/.local/share/labelloop", "Folder for caches, the default store and Redis."
    )
    store: str = _setting(
        "LABELLOOP_STORE",
        "",
        "Where versions live: file:///folder, s3://bucket/prefix or gs://bucket/prefix; empty: MODEL_DIR/store.",
        check=values.store_address,
    )
    endpoint: str = _setting(
        "LABELLOOP_ENDPOINT",
        "http://127.0.0.1:9091",
        "Endpoint that predicts: http://host:port, https://host/path, sagemaker://NAME, lambda://NAME, vertex://P/L/ID.",
        check=values.endpoint_address,
    )
    allowed_endpoints: tuple[str, ...] = _setting(
        "LABELLOOP_ALLOWED_ENDPOINTS",
        (),
        "Endpoints that projects may name in extra_params; * stands for anything: sagemaker://team-*.",
    )
    endpoint_headers: str = _setting(
        "LABELLOOP_ENDPOINT_HEADERS",
        "",
        "Headers for the endpoint, separated by semicolons: Authorization: Bearer TOKEN; X-Team: a.",
        secret=True,
        check=values.header_lines,
    )
    request_format: str = _setting(
        "LABELLOOP_REQUEST_FORMAT",
        "auto",
        "How the endpoint is asked (docs/formats.md); some take an option behind a colon: json:instances[].b64.",
        choices=(
            *("auto", "raw", "instances", "automl", "inputs", "reference", "json", "multipart", "base64", "tensors"),
            "chat",
        ),
        options=True,
    )
    response_format: str = _setting(
        "LABELLOOP_RESPONSE_FORMAT",
        "auto",
        "How the endpoint answers (docs/formats.md).",
        choices=(
            *("auto", "labelloop", "detections", "boxes", "automl", "objects", "masks", "chat", "tokens"),
            *("rekognition", "labels", "columns", "scores", "probabilities", "text", "numbers", "binary"),
            "none",
        ),
    )
    response_mapping: str = _setting(
        "LABELLOOP_RESPONSE_MAPPING",
        "",
        "JMESPath expression that turns the endpoint's answer into a known format.",
        check=values.expression,
    )
    features: str = _setting(
        "LABELLOOP_FEATURES",
        "",
        "JMESPath expression that finds features in the answer, for a head of ours (docs/endpoint-features.md).",
        check=values.expression,
    )
    classes: tuple[str, ...] = _setting(
        "LABELLOOP_CLASSES", (), "The model's classes in order, for endpoints that answer with numbers only."
    )
    parameters: str = _setting(
        "LABELLOOP_PARAMETERS",
        "",
        'JSON object that goes along with every request as "parameters".',
        check=values.json_object,
    )
    model_version: str = _setting(
        "LABELLOOP_MODEL_VERSION",
        "",
        "Version of predictions where the endpoint names none; empty: made from its name.",
    )
    threshold: float = _setting(
        "LABELLOOP_THRESHOLD",
        0.0,
        "Least score of what is shown; a tag's model_score_threshold goes before.",
        minimum=0,
        maximum=1,
    )
    label_map: tuple[str, ...] = _setting(
        "LABELLOOP_LABEL_MAP",
        (),
        "Which label a class of the model means: cat=Cat,dog=Dog.",
        check=values.class_label_pairs,
    )
    uncertainty: str = _setting(
        "LABELLOOP_UNCERTAINTY",
        "least_confidence",
        "What orders tasks for annotators: least_confidence, margin or entropy.",
        choices=("least_confidence", "margin", "entropy"),
    )
    trainer: str = _setting(
        "LABELLOOP_TRAINER",
        "local",
        "Who trains runs: local, command:./train.sh, sagemaker-pipeline://NAME, vertex-job://... (docs/trainers.md).",
        check=values.trainer_address,
    )
    allowed_trainers: tuple[str, ...] = _setting(
        "LABELLOOP_ALLOWED_TRAINERS", (), "Trainers that projects may name in extra_params, word for word."
    )
    training_seconds: float = _setting(
        "LABELLOOP_TRAINING_SECONDS",
        86400.0,
        "Seconds that the training of one run may take; one beyond is cancelled.",
        minimum=1,
    )
    poll_seconds: float = _setting(
        "LABELLOOP_POLL_SECONDS", 30.0, "Seconds between two looks at what goes on elsewhere.", minimum=0.1
    )
    deployer: str = _setting(
        "LABELLOOP_DEPLOYER",
        "",
        "What brings versions to the endpoint: command:./deploy.sh, sagemaker://NAME, lambda://NAME, vertex://P/L/ID.",
        check=values.deployer_address,
    )
    allowed_deployers: tuple[str, ...] = _setting(
        "LABELLOOP_ALLOWED_DEPLOYERS", (), "Deployers that projects may name in extra_params, word for word."
    )
    deploy_seconds: float = _setting(
        "LABELLOOP_DEPLOY_SECONDS",
        3600.0,
        "Seconds that bringing a version to its endpoint may take; what takes longer has failed, and is tried again.",
        minimum=1,
    )
    batch_from: int = _setting(
        "LABELLOOP_BATCH_FROM",
        0,
        "Waiting tasks from which on a batch job of SageMaker or Vertex AI predicts them (docs/loop.md); 0: never.",
        minimum=0,
    )
    aws_role: str = _setting(
        "LABELLOOP_AWS_ROLE",
        "",
        "Role (ARN) that SageMaker's jobs and models, or a Lambda function, run as (docs/aws.md).",
        check=values.aws_role,
    )
    aws_training_image: str = _setting(
        "LABELLOOP_AWS_TRAINING_IMAGE", "", "Image in ECR that the steps of a SageMaker pipeline run: the worker's."
    )
    aws_inference_image: str = _setting(
        "LABELLOOP_AWS_INFERENCE_IMAGE", "", "Image in ECR that SageMaker's models and Lambda functions run."
    )
    aws_location: str = _setting(
        "LABELLOOP_AWS_LOCATION",
        "",
        "Folder in S3 where this machine and AWS hand each other files: s3://bucket/prefix; empty: cloud in the store.",
        check=values.aws_location,
    )
    google_service_account: str = _setting(
        "LABELLOOP_GOOGLE_SERVICE_ACCOUNT",
        "",
        "Service account (e-mail) that Vertex AI's jobs and models run as; empty: the one that Google takes for them.",
        check=values.google_account,
    )
    google_training_image: str = _setting(
        "LABELLOOP_GOOGLE_TRAINING_IMAGE", "", "Image in Artifact Registry that Vertex AI's jobs run: the worker's."
    )
    google_inference_image: str = _setting(
        "LABELLOOP_GOOGLE_INFERENCE_IMAGE", "", "Image in Artifact Registry that Vertex AI's models run."
    )
    google_folder: str = _setting(
        "LABELLOOP_GOOGLE_FOLDER",
        "",
        "Folder in Cloud Storage to hand files over in: gs://bucket/prefix; empty: cloud in the store.",
        check=values.google_folder,
    )
    registry: str = _setting(
        "LABELLOOP_REGISTRY",
        "",
        "Registry that mirrors the versions: sagemaker://PREFIX?region=R, vertex://PROJECT/LOCATION; empty: none.",
        check=values.registry_address,
    )
    approval: str = _setting(
        "LABELLOOP_APPROVAL",
        "auto",
        "Whether a version that passed the gate becomes champion by itself (auto), or when a person approves (manual).",
        choices=("auto", "manual"),
    )
    metrics: str = _setting(
        "LABELLOOP_METRICS",
        "",
        "Where figures go: cloudwatch://NAMESPACE?region=R, cloud-monitoring://PROJECT; empty: nowhere.",
        check=values.metrics_address,
    )
    metrics_listen: str = _setting(
        "LABELLOOP_METRICS_LISTEN",
        "",
        "Where a worker answers Prometheus, which nobody needs a password for: 127.0.0.1:9092; empty: nowhere.",
        check=values.listening,
    )
    notify_url: str = _setting(
        "LABELLOOP_NOTIFY_URL",
        "",
        "Web address that hears of versions promoted, rejected, rolled back, of what failed and drift; empty: none.",
        secret=True,
        check=values.hook_address,
    )
    notify_form: str = _setting(
        "LABELLOOP_NOTIFY_FORM",
        "json",
        "What is posted there: all that is known (json), or one text as Slack takes it (slack).",
        choices=("json", "slack"),
    )
    mlflow: str = _setting(
        "MLFLOW_TRACKING_URI",
        "",
        "MLflow server that every version's curves and figures are written to, under TensorBoard's names; empty: none.",
        check=values.web_address,
    )
    events: str = _setting(
        "LABELLOOP_EVENTS",
        "",
        "Queue in which a cloud tells of labels and data: sqs://QUEUE?region=R, pubsub://PROJECT/SUBSCRIPTION.",
        check=values.events_address,
    )
    bootstrap_endpoint: str = _setting(
        "LABELLOOP_BOOTSTRAP_ENDPOINT",
        "",
        "Endpoint that predicts before a project's first version, and where ours is down; empty: none does.",
        check=values.bootstrap_address,
    )
    bootstrap_options: str = _setting(
        "LABELLOOP_BOOTSTRAP_OPTIONS",
        "",
        "What it speaks: a JSON object with the keys of extra_params that are of an endpoint, and headers.",
        secret=True,
        check=values.json_object,
    )
    redis_url: str = _setting(
        "LABELLOOP_REDIS_URL", "embedded", "embedded, or redis://host:port/db.", check=values.redis_address
    )
    min_labels: int = _setting("LABELLOOP_MIN_LABELS", 40, "Labels that the first version needs.", minimum=4)
    retrain_after: int = _setting("LABELLOOP_RETRAIN_AFTER", 20, "Changed labels that call for a run.", minimum=1)
    quiet_seconds: float = _setting(
        "LABELLOOP_QUIET_SECONDS", 30.0, "Seconds without a change before a run begins.", minimum=0
    )
    head_retrain_after: int = _setting(
        "LABELLOOP_HEAD_RETRAIN_AFTER",
        10,
        "Changed labels that call for a run of a head; default: LABELLOOP_RETRAIN_AFTER where you set that.",
        minimum=1,
        fallbacks=("LABELLOOP_RETRAIN_AFTER",),
    )
    head_quiet_seconds: float = _setting(
        "LABELLOOP_HEAD_QUIET_SECONDS",
        1.0,
        "Seconds without a change before it begins; default: LABELLOOP_QUIET_SECONDS where you set that.",
        minimum=0,
        fallbacks=("LABELLOOP_QUIET_SECONDS",),
    )
    max_wait_seconds: float = _setting(
        "LABELLOOP_MAX_WAIT_SECONDS", 3600.0, "Seconds after which any change calls for a run, quiet or not.", minimum=1
    )
    min_labels_per_class: int = _setting(
        "LABELLOOP_MIN_LABELS_PER_CLASS", 0, "Labels of each class that the first version needs; 0: any.", minimum=0
    )
    cool_down_seconds: float = _setting(
        "LABELLOOP_COOL_DOWN_SECONDS", 0.0, "Seconds after a run in which none begins by itself.", minimum=0
    )
    runs_a_day: int = _setting(
        "LABELLOOP_RUNS_A_DAY", 0, "Runs in 24 hours after which none begins by itself; 0: any.", minimum=0
    )
    training_seconds_a_day: float = _setting(
        "LABELLOOP_TRAINING_SECONDS_A_DAY",
        0.0,
        "Seconds of training in 24 hours after which no run begins by itself; 0: any.",
        minimum=0,
    )
    sweep_seconds: float = _setting(
        "LABELLOOP_SWEEP_SECONDS", 60.0, "Seconds between two looks at Label Studio's counters.", minimum=1
    )
    scan_seconds: float = _setting(
        "LABELLOOP_SCAN_SECONDS", 3600.0, "Least seconds between two scans of all annotations of a project.", minimum=0
    )
    run_niceness: int = _setting(
        "LABELLOOP_RUN_NICENESS",
        10,
        "How far a run gives way to the machine's other processes; 0: not at all, 19: wholly.",
        minimum=0,
        maximum=19,
    )
    keep_versions: int = _setting(
        "LABELLOOP_KEEP_VERSIONS",
        0,
        "How many of a project's newest versions keep their files, beside those in use (docs/operations.md); 0: all.",
        minimum=0,
    )
    keep_predictions: bool = _setting(
        "LABELLOOP_KEEP_PREDICTIONS",
        False,
        "Keep in Label Studio what versions before the last two, by name, have predicted for tasks that wait.",
    )
    run_attempts: int = _setting("LABELLOOP_RUN_ATTEMPTS", 3, "How often a failing run is tried.", minimum=1)
    retry_seconds: float = _setting(
        "LABELLOOP_RETRY_SECONDS",
        60.0,
        "Seconds before a failed run is tried again (doubles each time), and for which bulk waits for an endpoint.",
        minimum=0,
    )
    drift: str = _setting(
        "LABELLOOP_DRIFT",
        "alert",
        "What follows where predictions drift: off (not looked at), alert, tab or retrain (docs/drift.md).",
        choices=("off", "alert", "tab", "retrain"),
    )
    rollback: str = _setting(
        "LABELLOOP_ROLLBACK",
        "auto",
        "What follows where annotators agree less with a version than with its predecessor: auto (back to that), tell, "
        "or off (docs/rollback.md).",
        choices=("auto", "tell", "off"),
    )
    rollback_error: float = _setting(
        "LABELLOOP_ROLLBACK_ERROR",
        0.01,
        "Chance that a version which is as good as its predecessor is ever found worse, however often one looks.",
        minimum=0.0001,
        maximum=0.2,
    )
    control_share: float = _setting(
        "LABELLOOP_CONTROL_SHARE",
        0.0,
        "Share of the randomly served tasks that is shown without a pre-annotation (docs/loop.md); 0: none.",
        minimum=0,
        maximum=0.5,
    )
    first_labels: bool = _setting(
        "LABELLOOP_FIRST_LABELS",
        True,
        "Whether tasks are ordered before the first version: typical and different ones first (docs/loop.md).",
    )
    early_features: bool = _setting(
        "LABELLOOP_EARLY_FEATURES",
        True,
        "Whether features of pictures are taken in the background as tasks come, before they are labeled.",
    )
    annotators: bool = _setting(
        "LABELLOOP_ANNOTATORS", True, "Whether `labelloop annotators` may tell people apart (docs/annotators.md)."
    )
    gate_margin: float = _setting(
        "LABELLOOP_GATE_MARGIN",
        0.1,
        "Accuracy that one class with ten test items may lose, beyond what may be chance.",
        minimum=0,
    )
    minimum_f1: float = _setting(
        "LABELLOOP_MINIMUM_F1",
        0.0,
        "Macro F1 that a version must reach on the test side to pass the gate; 0: any.",
        minimum=0,
        maximum=1,
    )


@dataclass(frozen=True)
class LabelboxSettings:
    """What lets Labelbox's model runs be served, beside or instead of Label Studio's projects (docs/labelbox.md)."""

    labelbox_api_key: str = _setting(
        "LABELBOX_API_KEY",
        "",
        "API key of Labelbox, for the worker: it reads model runs and uploads to them.",
        secret=True,
        check=values.token,
    )
    labelbox_endpoint: str = _setting(
        "LABELLOOP_LABELBOX_ENDPOINT",
        "https://api.labelbox.com/graphql",
        "Address of Labelbox's API; its path holds /graphql.",
        check=values.graphql_address,
    )
    labelbox_secret: str = _setting(
        "LABELLOOP_LABELBOX_SECRET",
        "",
        "Secret by which Labelbox signs its requests; without one its routes are not served.",
        secret=True,
        check=values.hmac_secret,
    )
    labelbox_secret_previous: str = _setting(
        "LABELLOOP_LABELBOX_SECRET_PREVIOUS",
        "",
        "Secret of before, by which Labelbox may still sign.",
        secret=True,
        check=values.hmac_secret,
    )
    labelbox_allow_unsigned: bool = _setting(
        "LABELLOOP_LABELBOX_ALLOW_UNSIGNED",
        False,
        "Whether Labelbox's routes are served without a secret: then anybody who reaches them can start trainings.",
    )
    labelbox_at_root: bool = _setting(
        "LABELLOOP_LABELBOX_AT_ROOT",
        False,
        "Whether Labelbox's routes are also served without the prefix: /models and /model_run.",
    )
    labelbox_prelabel_project: str = _setting(
        "LABELLOOP_LABELBOX_PRELABEL_PROJECT",
        "",
        "Project of Labelbox (its id) that inference entries also give pre-labels; empty: none.",
        check=values.labelbox_id,
    )
    labelbox_vertex: str = _setting(
        "LABELLOOP_LABELBOX_VERTEX",
        "",
        "PROJECT/LOCATION of Vertex AI whose endpoints with a model become inference entries; empty: none.",
        check=values.vertex_place,
    )
    labelbox_seconds: float = _setting(
        "LABELLOOP_LABELBOX_SECONDS",
        86400.0,
        "Seconds after which a model run fails where what is away (Labelbox, an endpoint) stays away.",
        minimum=1,
    )


@dataclass(frozen=True)
class Settings(LabelboxSettings, TrainingParameters, LoopSettings):
    """All settings of one process; read once, by ``Settings.from_environment``, and handed down."""

    allow_private_addresses: bool = _setting(
        "LABELLOOP_ALLOW_PRIVATE_ADDRESSES", False, "Whether pictures may be fetched from private addresses."
    )
    buckets: tuple[str, ...] = _setting(
        "LABELLOOP_BUCKETS",
        (),
        "Buckets or folders that tasks may name beside those of their project: s3://bucket, gs://b/folder; *: any.",
        check=values.bucket_addresses,
    )
    other_uploads: bool = _setting(
        "LABELLOOP_OTHER_UPLOADS", False, "Whether a task may show files that were uploaded to other projects."
    )
    cloud_run: str = _setting(
        "K_SERVICE", "", "Service of Cloud Run that this process is of; Cloud Run sets it (docs/docker.md)."
    )
    storage_emulator: str = _setting(
        "STORAGE_EMULATOR_HOST", "", "Server that stands in for Google Cloud Storage, as for Google's own clients."
    )
    media_max_bytes: int = _setting("LABELLOOP_MEDIA_MAX_BYTES", 50_000_000, "Largest picture, in bytes.", minimum=1)
    media_timeout: float = _setting("LABELLOOP_MEDIA_TIMEOUT", 20.0, "Seconds one picture may take.", minimum=0.1)
    body_max_bytes: int = _setting("LABELLOOP_BODY_MAX_BYTES", 64_000_000, "Largest request body, in bytes.", minimum=1)
    webhook_max_bytes: int = _setting(
        "LABELLOOP_WEBHOOK_MAX_BYTES",
        16_000_000,
        "Largest body of a webhook, in bytes; 1,000,000 without credentials.",
        minimum=1,
    )
    failed_logins: int = _setting(
        "LABELLOOP_FAILED_LOGINS",
        12,
        "Failed logins a minute of one address, beyond which it is answered 429; 0: any number.",
        minimum=0,
    )
    client_seconds: float = _setting(
        "LABELLOOP_CLIENT_SECONDS",
        30.0,
        "Seconds a client has to send a request, and to read its answer; one more for each MB.",
        minimum=0.1,
    )
    predict_deadline: float = _setting(
        "LABELLOOP_PREDICT_DEADLINE", 90.0, "Seconds after which /predict answers with what is ready.", minimum=0.1
    )
    interactive_deadline: float = _setting(
        "LABELLOOP_INTERACTIVE_DEADLINE", 10.0, "The same where an annotator draws and waits.", minimum=0.1
    )
    endpoint_timeout: float = _setting(
        "LABELLOOP_ENDPOINT_TIMEOUT", 30.0, "Seconds one call of the endpoint may take.", minimum=0.1
    )
    endpoint_concurrency: int = _setting(
        "LABELLOOP_ENDPOINT_CONCURRENCY",
        0,
        "Calls of the endpoint at a time, of one process; 0: 4 for an inference container, 32 for others.",
        minimum=0,
    )
    endpoint_batch: int = _setting(
        "LABELLOOP_ENDPOINT_BATCH",
        0,
        "Most tasks in one call of the endpoint; 0: 16 for an inference container, 1 for others.",
        minimum=0,
    )
    payload_max_bytes: int = _setting(
        "LABELLOOP_PAYLOAD_MAX_BYTES",
        0,
        "Largest request to the endpoint, in bytes; 0: the most its kind is known to take.",
        minimum=0,
    )
    vertex_base_url: str = _setting(
        "LABELLOOP_VERTEX_BASE_URL",
        "",
        "Where Vertex AI is, if not at Google: a private address, a test server.",
        check=values.web_address,
    )
    cache_max_bytes: int = _setting(
        "LABELLOOP_CACHE_MAX_BYTES",
        64_000_000,
        "Memory of one process for predictions made before; 0: none.",
        minimum=0,
    )
    cache_seconds: float = _setting(
        "LABELLOOP_CACHE_SECONDS", 600.0, "Seconds for which a prediction made before is given again.", minimum=0
    )
    loaded_models: int = _setting(
        "LABELLOOP_LOADED_MODELS", 4, "Versions the inference server keeps loaded.", minimum=1
    )
    engine: str = _setting(
        "ENGINE",
        "onnx",
        "What the inference server runs: onnx (8 bits where a version has them), onnx-float32 (never) or torchscript.",
        choices=("onnx", "onnx-float32", "torchscript"),
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read every setting from the environment; raises SettingsError naming the first that is wrong."""
        settings, faults = cls.read(environment)
        if not faults:
            return settings
        first, *others = faults.values()
        raise SettingsError(first + (f" And {len(others)} more: `labelloop doctor` names them." if others else ""))

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> tuple[Self, dict[str, str]]:
        """Read every setting; of a wrong one the default is taken, and its name is in the dict with what is wrong."""
        environment = os.environ if environment is None else environment
        given: dict[str, Any] = {}
        faults: dict[str, str] = {}
        for entry in fields(cls):
            name = source(entry.metadata, environment)
            try:
                if text := environment.get(name, ""):
                    given[entry.name] = _read(entry.metadata, type(entry.default), text, name)
            except SettingsError as error:
                # One variable may stand for several settings; the first row says what it means.
                faults.setdefault(name, str(error))
        return cls(**given), faults

    @classmethod
    def help_of(cls, field_name: str) -> str:
        """Say what a setting means, as its help does."""
        return str(next(entry for entry in fields(cls) if entry.name == field_name).metadata["help"])

    @classmethod
    def choices_of(cls, field_name: str) -> tuple[str, ...]:
        """List the values that a setting may have; empty where they are not a few."""
        found: tuple[str, ...] = next(entry for entry in fields(cls) if entry.name == field_name).metadata["choices"]
        return found

    def changed(self, given: Mapping[str, str]) -> Self:
        """Give these settings with some of them, by field name, read anew from text; raises SettingsError."""
        known = {entry.name: entry for entry in fields(self)}
        return replace(
            self,
            **{name: _read(known[name].metadata, type(known[name].default), text) for name, text in given.items()},
        )

    @property
    def directory(self) -> Path:
        """Folder for all that this machine may lose: caches, the default store, the embedded Redis."""
        return Path(self.model_dir).expanduser().resolve()

    @property
    def store_address(self) -> str:
        """Address of the store, the default one spelled out."""
        return self.store or (self.directory / "store").as_uri()

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of this machine that errors may name."""
        store = urlsplit(self.store_address)
        return (self.directory, *([Path(unquote(store.path))] if store.scheme == "file" else []))


def source(metadata: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Name the variable that a setting is read from: its own, or the first of its fallbacks that is set instead."""
    names = (metadata["name"], *metadata["fallbacks"])
    return next((str(name) for name in names if environment.get(name)), str(metadata["name"]))


def _read(metadata: Mapping[str, Any], kind: type, text: str, name: str = "") -> Any:
    """Read one value and look at it in every way that its row of the table asks for; raises SettingsError.

    ``name`` is the variable that it comes from, where that is not the row's own.
    """
    reader, expected = values.READERS[kind]
    shown = "its value" if metadata["secret"] else repr(values.without_secrets(text))

    def wrong(what: str) -> SettingsError:
        return SettingsError(f"{name or metadata['name']}: {shown} is {what}. {metadata['help']}")

    try:
        value = reader(text)
    except (ValueError, KeyError):
        raise wrong(f"not {expected}") from None
    if metadata["minimum"] is not None and not value >= metadata["minimum"]:
        raise wrong(f"below {metadata['minimum']:g}")
    if metadata["maximum"] is not None and value > metadata["maximum"]:
        raise wrong(f"above {metadata['maximum']}")
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong("no finite number")
    if metadata["check"] is not None and (told := metadata["check"](value)):
        raise wrong(f"not {told}")
    return value
