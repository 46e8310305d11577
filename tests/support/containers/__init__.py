"""Stand-ins for public containers and vendors: each checks a request, and answers, as the real one does."""

from support.containers.base import Container
from support.containers.chat import CHAT
from support.containers.classification_services import CLASSIFICATION_SERVICES
from support.containers.detectors import DETECTORS
from support.containers.hugging_face import HUGGING_FACE
from support.containers.sagemaker_models import SAGEMAKER_MODELS
from support.containers.tensors import TENSORS
from support.containers.torchserve import TORCHSERVE
from support.containers.uploads import UPLOADS

CONTAINERS: tuple[Container, ...] = (
    *HUGGING_FACE,
    *CHAT,
    *TORCHSERVE,
    *SAGEMAKER_MODELS,
    *CLASSIFICATION_SERVICES,
    *DETECTORS,
    *TENSORS,
    *UPLOADS,
)
