"""Hiding a package from one import."""

import importlib
import sys
import wave
import xml.dom.minidom

import pytest

from labelloop.web.backend import hidden


def test_a_hidden_package_cannot_be_imported_and_is_back_afterwards() -> None:
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "xml"}
    with hidden("xml"):
        for name in ("xml", "xml.dom", "xml.dom.minidom"):
            with pytest.raises(ImportError):
                importlib.import_module(name)
        assert importlib.import_module("wave") is wave
    assert {name: sys.modules[name] for name in before} == before
    assert importlib.import_module("xml.dom.minidom") is xml.dom.minidom


def test_a_package_that_was_never_imported_leaves_no_trace() -> None:
    with hidden("antigravity"), pytest.raises(ImportError):
        importlib.import_module("antigravity")
    assert "antigravity" not in sys.modules


def test_an_error_inside_brings_the_package_back_too() -> None:
    with pytest.raises(ZeroDivisionError), hidden("xml"):
        raise ZeroDivisionError
    assert importlib.import_module("xml.dom.minidom") is xml.dom.minidom
