"""The ML backend's class, where Label Studio's own tools look for it: label-studio-ml's base, and what LabelLoop does.

``label_studio_ml.model`` (1.0.9 and 2.x) imports ``torch.multiprocessing`` where torch is installed, which costs 3 s
and 0.5 GB, and then sets the start method of the whole process to ``spawn``. Neither is of use in a web process, so
torch is hidden from that one import; without it the module falls back to the standard library and sets nothing.
"""

import warnings

try:
    from labelloop.web import backend
except ModuleNotFoundError as error:
    if error.name != "labelloop":
        raise
    raise ModuleNotFoundError(
        "model.py stands here without the folder labelloop/ that does the work: label-studio-ml 1.0.9's `init` and "
        "`deploy` copy model.py alone. Use the whole folder my_ml_backend, with `labelloop deploy gcp` for Cloud Run "
        "(docs/docker.md)",
        name="labelloop",
    ) from None

with backend.hidden("torch"), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' invalid escapes, told anew whenever they are compiled
    from label_studio_ml.model import LabelStudioMLBase


class LabelLoop(backend.LabelLoop, LabelStudioMLBase):  # type: ignore[misc]  # the base class has no types
    """Pre-annotates with the announced version and hands events to the loop; for label-studio-ml 1.0.9 and 2.x.

    The base class's constructor is left out: both 1.0.9's and 2.x's parse the label config, fail for one that
    ``/predict`` has to survive, and keep copies in one process or one file.
    """
