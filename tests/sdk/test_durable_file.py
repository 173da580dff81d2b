"""Files that are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.durable_file import held_for_a_moment, read_file, read_vouched, write_file, write_vouched
from chopmark.errors import LimitError, StorageError

if TYPE_CHECKING:
    from tests.sdk.conftest import Fault

SIZE = 1000


class Killed(BaseException):
    """The process ends here."""


def test_a_file_is_read_as_it_was_written_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_file(path, b"one")
    write_file(path, b"two")
    assert read_file(path, max_size=SIZE) == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
def test_a_private_file_is_private_though_an_earlier_attempt_left_one_that_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for left in (path, tmp_path / ".file.tmp"):
        left.touch()
        left.chmod(0o644)
    write_file(path, b"secret", private=True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_there_reads_as_none(tmp_path: Path) -> None:
    assert read_file(tmp_path / "file", max_size=SIZE) is None
    assert read_vouched(tmp_path / "file", max_size=SIZE) is None


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    write_file(tmp_path / "file", bytes(SIZE + 1))
    with pytest.raises(LimitError, match="file"):
        read_file(tmp_path / "file", max_size=SIZE)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_file(tmp_path, max_size=SIZE)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        read_file(tmp_path / "pipe", max_size=SIZE)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(StorageError, match="cannot be read"):
        read_file(tmp_path / "link", max_size=SIZE)


@pytest.mark.parametrize("name", ["open", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_file_stays_as_it_was_where_writing_fails(tmp_path: Path, fault: Fault, name: str, number: int) -> None:
    path = tmp_path / "file"
    write_file(path, b"one")
    fault(name, 1, OSError(number, os.strerror(number)))
    with pytest.raises(StorageError, match="cannot be written") as caught:
        write_file(path, b"two")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"")
    with pytest.raises(StorageError, match="cannot be written"):
        write_file(tmp_path / "file" / "inside", b"x")


def test_the_bytes_are_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    genuine = {name: getattr(os, name) for name in ("fsync", "replace")}

    def noting(name: str) -> Callable[..., None]:
        def note(*arguments: Any) -> None:
            steps.append(name)
            genuine[name](*arguments)

        return note

    for name in genuine:
        monkeypatch.setattr(os, name, noting(name))
    write_file(tmp_path / "file", b"x")
    assert steps == ["fsync", "replace", "fsync"]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".file.tmp").write_bytes(b"half of a longer text")
    write_file(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_an_object_and_its_proof_are_read_together(tmp_path: Path) -> None:
    path = tmp_path / "bundle.note"
    write_vouched(path, b"one", b"proof of one")
    write_vouched(path, b"two", b"proof of two")
    assert read_vouched(path, max_size=SIZE) == (b"two", b"proof of two")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pair_that_is_replaced_while_it_is_read_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bundle.note"
    write_vouched(path, b"one", b"proof of one")

    def replaced_meanwhile(name: Path, *, max_size: int) -> bytes | None:
        data = read_file(name, max_size=max_size)
        if data == b"one":
            write_vouched(path, b"two", b"proof of two")
        return data

    monkeypatch.setattr("chopmark.durable_file.read_file", replaced_meanwhile)
    assert read_vouched(path, max_size=SIZE) == (b"two", b"proof of two")


def test_one_at_a_time_holds_a_folder(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with held_for_a_moment(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with held_for_a_moment(tmp_path):
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_folder_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="lock file"), held_for_a_moment(tmp_path / "none"):
        pass


def test_the_same_object_may_get_another_proof(tmp_path: Path) -> None:
    path = tmp_path / "bundle.note"
    write_vouched(path, b"one", b"first")
    write_vouched(path, b"one", b"second")
    assert read_vouched(path, max_size=SIZE) == (b"one", b"second")


def test_an_object_that_was_changed_has_no_proof(tmp_path: Path) -> None:
    path = tmp_path / "bundle.note"
    write_vouched(path, b"one", b"proof")
    path.write_bytes(b"two")
    assert read_vouched(path, max_size=SIZE) == (b"two", None)


def test_the_proofs_of_other_objects_are_left_alone(tmp_path: Path) -> None:
    for name in ("1.landmarks", "11.landmarks", "1.1.landmarks"):
        write_vouched(tmp_path / name, name.encode(), b"first")
    write_vouched(tmp_path / "1.landmarks", b"new", b"second")
    assert read_vouched(tmp_path / "1.1.landmarks", max_size=SIZE) == (b"1.1.landmarks", b"first")
    assert read_vouched(tmp_path / "11.landmarks", max_size=SIZE) == (b"11.landmarks", b"first")


@pytest.mark.parametrize("name", ["open", "fsync", "replace", "unlink"])
@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize("killed", [True, False])
def test_wherever_it_stops_an_object_lies_beside_its_own_proof(
    tmp_path: Path, fault: Fault, name: str, call: int, killed: bool
) -> None:
    path = tmp_path / "folder" / "bundle.note"
    write_vouched(path, b"one", b"proof of one")
    calls = fault(name, call, Killed() if killed else None)
    try:
        write_vouched(path, b"two", b"proof of two")
        stopped = False
    except (StorageError, Killed):
        stopped = True
    used, calls[0] = calls[0], 1_000
    found = read_vouched(path, max_size=SIZE)
    assert found in [(b"one", b"proof of one"), (b"two", b"proof of two")]
    if not stopped:
        assert found == (b"two", b"proof of two")
        assert used < call or name == "unlink"
    write_vouched(path, b"three", b"proof of three")
    assert read_vouched(path, max_size=SIZE) == (b"three", b"proof of three")
    assert len(list(path.parent.iterdir())) == 2
