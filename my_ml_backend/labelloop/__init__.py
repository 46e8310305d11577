"""LabelLoop: a Label Studio ML backend that closes the loop."""

import os

__version__ = "0.1.0"

# Libraries that would tell their makers what is run here, or look for newer releases. Some read this as they are
# imported; who wants to tell sets the variable to 0.
for _variable in (
    "HF_HUB_DISABLE_TELEMETRY",
    "MLFLOW_DISABLE_TELEMETRY",
    "NO_ALBUMENTATIONS_UPDATE",
    "ORT_DISABLE_TELEMETRY",
):
    os.environ.setdefault(_variable, "1")
