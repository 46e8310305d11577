"""Nothing that we read can bring code along: no pickle in any dress, no eval, no shell, in all of our own code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CODE = Path(__file__).parents[2] / "my_ml_backend"
PICKLING = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "pandas.read_pickle"}
DOORS = {"shell", "allow_pickle", "weights_only"}
"""Arguments by which a call runs code, or keeps from it."""

YAML = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"}


def found_in(source: str) -> Iterator[str]:
    """Name what of a source could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{one.name}" for one in node.names if one.name != "UnpicklingError"]
        elif isinstance(node, ast.Call):
            called = _dotted(node.func)
            given = {one.arg: ast.unparse(one.value) for one in node.keywords if one.arg in DOORS}
            if called in CALLS | YAML or given.get("shell", "False") != "False":
                yield f"{called} at line {node.lineno}"
            if given.get("allow_pickle", "False") != "False":
                yield f"{called} at line {node.lineno}"
            # What it reads by then are tensors, numbers and texts.
            if called == "torch.load" and given.get("weights_only") != "True":
                yield f"{called} at line {node.lineno}"
        yield from (one for one in names if one.partition(".")[0] in PICKLING or one in {*CALLS, *YAML, "torch.load"})


def _dotted(node: ast.expr) -> str:
    """Spell a name with its dots, as in ``yaml.load``; empty for what is none."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_none_of_our_code_runs_what_it_reads() -> None:
    sources = {path: list(found_in(path.read_text())) for path in sorted(CODE.rglob("*.py"))}
    assert len(sources) > 300
    assert {str(path.relative_to(CODE)): found for path, found in sources.items() if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import sklearn, dill as d",
        "import torch\ntorch.load('a.pt')",
        "import torch\ntorch.load('a.pt', weights_only=False)",
        "from torch import load",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "eval('1')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import yaml\nyaml.load('a')",
    ],
)
def test_it_would_be_found(source: str) -> None:
    assert list(found_in(source))
