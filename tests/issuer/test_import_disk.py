"""A disk that runs full during an import: a small file system of its own, which needs root."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chopmark.errors import ChopmarkError, StorageError
from chopmark_issuer.errors import DatabaseError
from chopmark_issuer.importing.importing import Importer, ImportReport
from chopmark_issuer.keys.keys import KeyFolder
from chopmark_issuer.storage.database import open_database
from chopmark_issuer.storage.models import CREDENTIAL, IMPORTED_ROW, LICENCE_VERSION, OUTBOX, STATUS_LIST
from sqlalchemy import func, select

from tests.issuer.import_process import CHEAP, PASSPHRASE
from tests.issuer.test_import_kill import rows
from tests.issuer.test_importing import HEADER, MAPPING

LICENCES = 3_000


def mount(*arguments: str) -> bool:
    """Mount; whether that is allowed here."""
    command = shutil.which("mount")
    return (
        command is not None and subprocess.run([command, *arguments], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
def disk(office: Any, tmp_path: Path) -> Iterator[Path]:
    """A file system with a registry on it; the file is elsewhere."""
    office.database.close()
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)):
        pytest.skip("a file system cannot be mounted here: that needs root")
    try:
        shutil.copy(tmp_path / "registry.db", place)
        shutil.copytree(tmp_path / "keys", place / "keys")
        with (tmp_path / "licences.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEADER, *rows(LICENCES)])
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def run(office: Any, disk: Path) -> ImportReport:
    database = open_database(disk / "registry.db")
    try:
        keys = KeyFolder(disk / "keys", PASSPHRASE, cost=CHEAP)
        importer = Importer(database, keys, disk / "imports", clock=lambda: office.now)
        words = {"type_id": office.permit_type, "mapping_data": json.dumps(MAPPING).encode()}
        return importer.run(office.actor(), disk.parent / "licences.csv", **words)
    finally:
        database.close()


def written(disk: Path) -> set[int]:
    """How many of each thing there are: as many as there are rows that made them."""
    database = open_database(disk / "registry.db")
    try:
        with database.reading() as connection:
            counts = {
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (IMPORTED_ROW, LICENCE_VERSION, CREDENTIAL, OUTBOX)
            }
            return counts | {connection.execute(select(func.sum(STATUS_LIST.c.used))).scalar_one() or 0}
    finally:
        database.close()


@pytest.mark.parametrize(("megabytes", "kind"), [(1, StorageError), (5, DatabaseError)])
def test_a_full_disk_leaves_nothing_half_written_and_the_import_goes_on_once_there_is_room(
    office: Any, disk: Path, megabytes: int, kind: type[ChopmarkError]
) -> None:
    assert mount("-o", f"remount,size={megabytes}m", str(disk))
    with pytest.raises(kind) as caught:
        run(office, disk)
    assert str(disk) in str(caught.value)
    assert "full" in str(caught.value) or "space" in str(caught.value)
    assert [path.name for path in (disk / "imports").iterdir()] == ["lock"]
    assert mount("-o", "remount,size=64m", str(disk))
    assert len(written(disk)) == 1
    report = run(office, disk)
    assert report.issued + report.unchanged + report.refused == report.rows == LICENCES * 2
    assert written(disk) == {report.issued + report.unchanged}
    assert run(office, disk).unchanged == report.issued + report.unchanged
