"""What training needs of a label config: the control tag that is learned."""

from dataclasses import dataclass

from labelloop.kinds.base import kind_of
from labelloop.studio.choices import Label
from labelloop.studio.control_tag import ControlTag
from labelloop.studio.label_config import LabelConfig, parse_trained
from labelloop.types import Choice


@dataclass(frozen=True, slots=True)
class Control:
    """The first control tag that a kind learns: for images, a ``Choices`` about an ``Image``.

    ``config`` is the label config with this control tag alone, to render predictions of the trained model for.
    """

    config: LabelConfig

    @property
    def tag(self) -> ControlTag:
        """The control tag itself."""
        return self.config.tags[0]

    @property
    def name(self) -> str:
        """Its name."""
        return self.tag.name

    @property
    def to_name(self) -> str:
        """The name of what it is about."""
        return self.tag.to_name

    @property
    def choice(self) -> Choice:
        """How many labels one input takes."""
        return self.tag.choice

    @property
    def kind(self) -> str:
        """The name of the kind that learns it."""
        return kind_of(self.tag.tag, self.tag.object_tag).name

    @property
    def data_key(self) -> str:
        """Where a task's data has the input, or its address."""
        return self.tag.data_key

    @property
    def labels(self) -> tuple[Label, ...]:
        """Its labels, in their order."""
        return self.tag.labels

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the label config's ``Choices`` is not predicted for."""
        return self.config.warnings


def parse_control(label_config: object) -> Control:
    """Find the first control tag that a kind learns.

    Raises LabelConfigError, whatever is given: no text, no XML, or nothing in it that LabelLoop can train for.
    """
    return Control(parse_trained(label_config))
