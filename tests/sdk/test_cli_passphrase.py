"""Where a command finds a passphrase, and what it says where there is none."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from chopmark.cli.passphrase import read_passphrase
from chopmark.errors import KeyMaterialError, LimitError, StorageError


def test_the_file_that_is_named_comes_before_the_environment(tmp_path: Path) -> None:
    for name in ("named", "variable"):
        (tmp_path / name).write_bytes(name.encode() + b"\r\n")
    environment = {"CHOPMARK_PASSPHRASE_FILE": str(tmp_path / "variable"), "CHOPMARK_PASSPHRASE": "direct"}
    assert read_passphrase(tmp_path / "named", environment) == b"named"
    assert read_passphrase(None, environment) == b"variable"
    del environment["CHOPMARK_PASSPHRASE_FILE"]
    assert read_passphrase(None, environment) == b"direct"


def test_a_pipe_may_bring_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"from a pipe\n",))
    writer.start()
    assert read_passphrase(tmp_path / "pipe", {}) == b"from a pipe"
    writer.join(10)


@pytest.mark.parametrize("environment", [{}, {"CHOPMARK_PASSPHRASE": ""}])
def test_without_one_the_remedy_names_the_option_and_the_variable(environment: dict[str, str]) -> None:
    with pytest.raises(KeyMaterialError, match=r"--passphrase-file or set CHOPMARK_PASSPHRASE_FILE"):
        read_passphrase(None, environment)


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\n")
    with pytest.raises(KeyMaterialError):
        read_passphrase(tmp_path / "file", {})


def test_a_file_that_is_missing_or_large_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_passphrase(tmp_path / "file", {})
    (tmp_path / "file").write_bytes(bytes(5000))
    with pytest.raises(LimitError, match="file"):
        read_passphrase(tmp_path / "file", {})
