"""Which operations of AWS the product's code asks for, read from that code, and which actions of IAM they need."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
from botocore import xform_name

ROOT = Path(__file__).parents[2] / "my_ml_backend/labelloop"

SERVICES = ("cloudwatch", "lambda", "s3", "sagemaker", "sqs", "sts")

_OTHERS = {"search": "a pattern's", "invoke": "an endpoint's"}
"""Methods of something else that are called as an operation is."""

_ACTIONS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sts:GetCallerIdentity": "",
}
"""Where an action is not called as its operation; nobody needs to be allowed to ask who one is."""

_BY_HAND = {
    "endpoints/sagemaker.py": {"sagemaker:InvokeEndpoint"},
    "endpoints/sagemaker_async.py": {"sagemaker:InvokeEndpointAsync"},
    "endpoints/function.py": {"lambda:InvokeFunction"},
}
"""What is asked without a client: these files sign requests of their own."""

_PASSES = {"CreatePipeline", "UpdatePipeline", "CreateModel", "CreateFunction", "UpdateFunctionConfiguration"}
"""Operations that name a role for somebody else, which whoever calls must be allowed to pass on."""


def services_asked() -> set[str]:
    """Name the services of which the code makes clients."""
    found = set()
    for path in ROOT.rglob("*.py"):
        # Few files make any, and to parse all takes seconds.
        for node in ast.walk(_parsed(path)) if "client(" in path.read_text() else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                made = node.func.attr in ("client", "create_client") and node.args[0]
                if isinstance(made, ast.Constant) and isinstance(made.value, str):
                    found.add(made.value)
    return found


def actions_of(path: Path) -> set[str]:
    """Name the actions that a file's calls need, such as ``sagemaker:CreateModel``."""
    needed = set(_BY_HAND.get(path.relative_to(ROOT).as_posix(), ()))
    for name in _called(_parsed(path)):
        for service, operation in _operations().get(name, ()):
            action = f"{service}:{operation}"
            needed.add(_ACTIONS.get(action, action))
            needed |= {"iam:PassRole"} if operation in _PASSES else set()
    return needed - {""}


def files_that_ask() -> list[Path]:
    """Name the files that ask AWS for anything: those of its rooms, and those that are called after a service."""
    found = [path for path in ROOT.rglob("*.py") if _is_of_aws(path.relative_to(ROOT).as_posix())]
    return sorted(path for path in found if actions_of(path))


def _is_of_aws(name: str) -> bool:
    return "aws" in name or any(word in name for word in ("s3", "sagemaker", "function", "deployers/", "trainers/"))


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _operations() -> dict[str, list[tuple[str, str]]]:
    session = botocore.session.get_session()
    found: dict[str, list[tuple[str, str]]] = {}
    for service in SERVICES:
        for operation in session.get_service_model(service).operation_names:
            found.setdefault(xform_name(operation), []).append((service, operation))
    # Both have one: only functions are permitted to be called.
    found["add_permission"] = [("lambda", "AddPermission")]
    return found


def _called(tree: ast.Module) -> Iterator[str]:
    """Give the names of all attributes, and what paginators and waiters are made for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr not in _OTHERS:
            yield node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            if node.func.attr in ("get_paginator", "get_waiter") and isinstance(first, ast.Constant):
                yield str(first.value)
