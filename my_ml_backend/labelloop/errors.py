"""Every error LabelLoop raises on purpose.

LabelLoopError
├── SettingsError          a setting is missing or impossible
│   └── OptionsError       a project's extra_params are impossible
├── LabelConfigError       the label config offers nothing to predict for
│   └── LabelMappingError  the model's classes and the label config's labels do not meet
├── Outage                 something LabelLoop stands on is away and comes back: waited for, never a run's own failure
├── StudioError            Label Studio refused a request
│   ├── NotAllowed         it answered 401 or 403
│   ├── NoSuchProject      it has no project of that number
│   └── StudioAway         (also an Outage) it could not be reached, or failed itself
├── LabelboxError          Labelbox refused a request, or did not do what it was asked
│   ├── LabelboxDenied     it does not know the API key, or the key may not do that
│   ├── ModelRunGone       (also NoSuchProject) it has no such model run
│   └── LabelboxAway       (also an Outage) it could not be reached, or failed itself
├── MediaError             a task's picture could not be read
│   ├── TooLarge           it has more bytes than are read of one
│   ├── AddressRefused     its address is private and private addresses are not allowed
│   ├── MediaDenied        its server does not give it to us: its link may have expired
│   ├── Transient          its server stumbled: another try may help
│   └── Unreadable         its bytes are no whole picture
├── CredentialsError       this machine has no credentials for a cloud, or they are not accepted
├── ManifestError          a list of labeled pictures cannot be read, or not be written in a format
├── EndpointError          (an Outage) the endpoint failed as a whole
│   ├── CircuitOpen        it failed before and is left alone for a while
│   ├── BootstrapAway      it is a bootstrap endpoint, and a version is to be compared with it
│   └── FeaturesAway       it is to give features, which a version is to be trained on
├── StoreError             the store failed
│   ├── NotFound           no object at that path
│   ├── Conflict           someone else wrote the object first
│   ├── UnsafeStore        it passes over conditional writes
│   ├── Damaged            an object is there and cannot be what it should be
│   └── StoreAway          (also an Outage) it could not be reached, read or written: down, full, or closed to us
├── Fenced                 a newer worker has taken over this project
├── LeaseLost              the project's lease is held by another worker
│   └── WorkerEnds         this worker was asked to end, and gives the project back
├── QueueError             (an Outage) Redis could not be reached
├── RunOccupied            (an Outage) another process is at work in a run's folder
├── ServiceError           a process that this machine's set needs did not start or keeps ending
├── NotEnoughLabels        the project cannot be trained yet
├── ProjectPaused          a person has paused the project
├── TrainingError          a run cannot go on: a backbone, its weights or the data are at fault
│   ├── RunCancelled       somebody, or its time limit, has ended it
│   ├── TrainingDied       a process of the training ended; another try may go better
│   └── TrainerAway        (also an Outage) what trains elsewhere could not be asked
├── DeployError            a version could not be brought to its endpoint
├── CloudError             a cloud refused what was asked of it
│   ├── CloudDenied        who we are there may not do it, or is not known
│   ├── CloudMissing       what was asked for is not there
│   └── CloudAway          (also an Outage) it could not be reached, is busy or failed itself
└── BundleError            a bundle is damaged or of an unknown format
    └── UnknownForm        a later release may have written it

The message of each says what happened, to which object, and what to do next. They end at one border each: an HTTP
answer (``web``, ``serve``), an exit code (``cli``), or a run's stored reason (``loop``).
"""

from typing import ClassVar


class LabelLoopError(Exception):
    """Base of all errors raised on purpose; ``str()`` of it may be shown to a user."""


class Outage(LabelLoopError):
    """Something LabelLoop stands on is away and comes back without a change here: whoever needs it waits for it.

    ``away`` names it, as in "waiting for the store".
    """

    away: ClassVar[str] = "something that is away"


class SettingsError(LabelLoopError):
    """A setting is missing or impossible."""


class OptionsError(SettingsError):
    """The ``extra_params`` of a project's ML backend say something impossible, or what is not allowed."""


class LabelConfigError(LabelLoopError):
    """The label config is not valid, or offers no control tag that LabelLoop can predict for."""


class LabelMappingError(LabelConfigError):
    """None of the model's classes is a label of the label config."""


class StudioError(LabelLoopError):
    """Label Studio refused a request, failed, or could not be reached."""


class StudioAway(Outage, StudioError):
    """Label Studio could not be reached, did not answer in time, or answered with a failure of its own (429, 5xx)."""

    away = "Label Studio"


class NoSuchProject(StudioError):
    """Label Studio has no project of that number, or does not show it to the user of the API key."""


class NotAllowed(StudioError):
    """Label Studio answered 401 or 403: the API key is missing, dead or lacks permission."""


class LabelboxError(LabelLoopError):
    """Labelbox refused a request, failed at what it was asked, or answered something that cannot be."""


class LabelboxDenied(LabelboxError):
    """Labelbox does not know the API key, or the user of the key may not do this."""


class ModelRunGone(LabelboxError, NoSuchProject):
    """Labelbox has no such model run: it was deleted, or is not shown to the user of the API key."""


class LabelboxAway(Outage, LabelboxError):
    """Labelbox could not be reached, did not answer in time, limits how often it is asked, or failed by itself."""

    away = "Labelbox"


class MediaError(LabelLoopError):
    """The picture of a task could not be read."""


class TooLarge(MediaError):
    """A file has more bytes than are read of one; ``size`` is None where it is not known how many."""

    def __init__(self, most: int, size: int | None = None) -> None:
        has = f"it has more than {most} bytes" if size is None else f"it has {size} bytes"
        super().__init__(f"{has}; at most {most} are read (LABELLOOP_MEDIA_MAX_BYTES)")


class AddressRefused(MediaError):
    """The picture's address is private and ``LABELLOOP_ALLOW_PRIVATE_ADDRESSES`` is off."""


class MediaDenied(MediaError):
    """The picture's server answered 401, 403 or 400: whoever asks may not read it, or a signed link has expired.

    Google Cloud Storage says 400 of a link whose time is over.
    """


class Transient(MediaError):
    """The picture's server could not be reached, was too slow or stumbled; another try may help."""


class Unreadable(MediaError):
    """The bytes are no whole picture, or one that is too large to decode; fetching it again would not help."""


class CredentialsError(LabelLoopError):
    """A machine has no credentials for a cloud, or they are not accepted; ``passing``: another try may succeed."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class ManifestError(LabelLoopError):
    """A list of labeled pictures cannot be read; or what it says cannot be written in the format that was asked for."""


class EndpointError(Outage):
    """The endpoint failed as a whole: unreachable, too slow, or its answer has the wrong shape.

    ``by_input``: it failed so that what was sent may be at fault as well as the endpoint.
    """

    away = "the endpoint"
    by_input: ClassVar[bool] = False


class CircuitOpen(EndpointError):
    """The endpoint failed several times in a row and is left alone for a while."""


class BootstrapAway(EndpointError):
    """The bootstrap endpoint failed as a whole while a project's first version was to meet it."""

    away = "the bootstrap endpoint"


class FeaturesAway(EndpointError):
    """The endpoint failed as a whole while it was asked for features that a version is to be trained on."""

    away = "the endpoint's features"


class StoreError(LabelLoopError):
    """The store could not be read or written."""


class NotFound(StoreError):
    """There is no object at that path of the store."""


class Conflict(StoreError):
    """Another process wrote the object first; nothing was changed."""


class UnsafeStore(StoreError):
    """The store works and passes over conditional writes, so that workers could overwrite each other's versions."""


class Damaged(StoreError):
    """An object of the store cannot be what it should be; the message says how to mend it."""


class StoreAway(Outage, StoreError):
    """The store could not be reached, read or written: it is down, full, or closed to us."""

    away = "the store"


class ProjectMoved(LabelLoopError):
    """The project lies elsewhere by now, where what was asked for is done."""


class Fenced(LabelLoopError):
    """Another worker has taken over the project since this run began; this run must stop."""


class LeaseLost(LabelLoopError):
    """The lease of the project is held by another worker."""


class WorkerEnds(LeaseLost):
    """The worker of a job was asked to end: the job stops where it is, and whoever takes the project goes on there."""


class RunOccupied(Outage):
    """Another process is at work in the folder of a run."""

    away = "another process at the same run"


class QueueError(Outage):
    """Redis could not be reached."""

    away = "Redis"


class ServiceError(LabelLoopError):
    """A supervised process did not start, was not ready in time, or keeps ending."""


class NotEnoughLabels(LabelLoopError):
    """The project's labels do not suffice for a run; the message says what is missing."""


class ProjectPaused(LabelLoopError):
    """A person has paused the project: no run begins until it is resumed."""


class TrainingError(LabelLoopError):
    """A run cannot go on; the message names the backbone, weights or data at fault and the ways out."""


class RunCancelled(TrainingError):
    """A run was ended by a person or by its time limit: it is not tried again, other labels make another run."""


class TrainingDied(TrainingError):
    """A process of the training ended before its work: unlike what the settings get wrong, it may not happen again."""


class TrainerAway(Outage, TrainingError):
    """What trains elsewhere could not be asked how that stands, or to end it; it may still be at work."""

    away = "the trainer"


class UnknownKind(LabelLoopError):
    """Something was learned by a kind that this release does not know."""


class DeployError(LabelLoopError):
    """A deployer could not bring a version to its endpoint: what was there before serves on."""


class CloudError(LabelLoopError):
    """A cloud refused what was asked of it; the message names the object, and what it said."""


class CloudDenied(CloudError):
    """The identity of this machine is unknown there, has expired, or lacks an action on a resource: they are named."""


class CloudMissing(CloudError):
    """What was asked for is not there."""


class CloudAway(Outage, CloudError):
    """A cloud could not be reached, throttles, or failed by itself."""

    away = "the cloud"


class BundleError(LabelLoopError):
    """A bundle is damaged, incomplete, or of a format this release does not know."""


class UnknownForm(BundleError):
    """A bundle's description is not of this release's form: a later one may have written it."""
