"""Stand-ins for public containers and vendors: each checks a request, and answers, as the real one does."""

from support.containers.base import Container
from support.containers.chat import CHAT
from support.containers.hugging_face import HUGGING_FACE

CONTAINERS: tuple[Container, ...] = (*HUGGING_FACE, *CHAT)
