"""Which GPU goes with which machine type of Vertex AI.

Vertex AI, "Configure compute resources"; Compute Engine, "GPU machine types": accelerator-optimized machines have their
GPUs built in, which Vertex AI wants named, and only N1 takes those that are attached. What is in no table here Google
decides.
"""

import re

_BUILT_IN = {
    "g2-": "NVIDIA_L4",
    "a2-highgpu-": "NVIDIA_TESLA_A100",
    "a2-megagpu-": "NVIDIA_TESLA_A100",
    "a2-ultragpu-": "NVIDIA_A100_80GB",
    "a3-highgpu-": "NVIDIA_H100_80GB",
}


def unfit(machine: str, gpu: str) -> str:
    """Say why a machine type does not go with an accelerator type, which is empty for none; empty where it may."""
    built_in = next((one for beginning, one in _BUILT_IN.items() if machine.startswith(beginning)), "")
    if built_in:
        return "" if gpu == built_in else f"machine={machine} has its GPUs built in: name them, gpu={built_in}"
    if not gpu.startswith("NVIDIA_") or re.match(r"[ag]\d", machine):
        return ""
    if not machine.startswith("n1-"):
        return f"machine={machine} takes no GPU: for gpu={gpu} name one of n1, or one that has it built in"
    if homes := [f"{beginning}*" for beginning, one in _BUILT_IN.items() if one == gpu]:
        return f"machine={machine} takes no {gpu}: that is built into {' and '.join(homes)}"
    return ""
