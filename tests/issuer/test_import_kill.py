"""An import that is killed at any moment, and run again: no licence twice, none lost, every refused row in the file."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chopmark_issuer.importing.import_history import Counts, ImportRun, import_runs
from chopmark_issuer.storage.database import open_database
from chopmark_issuer.storage.models import (
    ACT,
    CREDENTIAL,
    HOLDER,
    IMPORTED_ROW,
    LICENCE,
    LICENCE_VERSION,
    OUTBOX,
    STATUS_LIST,
)
from sqlalchemy import func, select

from tests.issuer.import_process import CHUNK
from tests.issuer.test_importing import HEADER, MAPPING

REPOSITORY = Path(__file__).parents[2]
SEEDS = 12 if os.environ.get("CHOPMARK_FAULTS") == "all" else 3
LICENCES = 600


def rows(licences: int) -> Iterator[list[str]]:
    """Terms of many licences, in no order; every tenth licence ends, every twentieth has a row that is refused."""
    found = []
    for licence in range(licences):
        for term in range(1 + licence % 3):
            state, since = "ok", ""
            if term == licence % 3 and licence % 10 == 0:
                state, since = "revoked", f"{2024 + term}-06-01"
            if term == 0 and licence % 20 == 5:
                state = "?"
            found.append([
                f"{licence}-{term}", f"S{licence}", "RENEW" if term else "ISSUE", f"{2024 + term}-01-01",
                f"{2024 + term}-12-31", state, since, f"示例{licence}", "",
            ])  # fmt: skip
    random.Random(1).shuffle(found)
    yield from found


class Place:
    """A registry in a folder, and the process that imports into it."""

    def __init__(self, folder: Path, office: Any) -> None:
        self.folder = folder
        self.office = office
        (folder / "mapping.json").write_text(json.dumps(MAPPING))
        with (folder / "licences.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEADER, *rows(LICENCES)])

    def copy(self, folder: Path) -> Place:
        folder.mkdir()
        shutil.copy(self.folder / "registry.db", folder)
        shutil.copytree(self.folder / "keys", folder / "keys")
        return Place(folder, self.office)

    def run(self, kill_at: int = 0) -> dict[str, Any]:
        """Import, killed at that step or up to the end; answers what the process printed."""
        words = [str(self.folder), self.office.markets, self.office.permit_type, str(self.office.now), str(kill_at)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.issuer.import_process", *words],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if kill_at:
            assert done.returncode == -signal.SIGKILL, done.stderr
            return {}
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def registered(self) -> dict[str, Any]:
        """All that an import writes, by licence numbers in place of row ids, which may differ."""
        of_version = LICENCE_VERSION.join(LICENCE, LICENCE.c.id == LICENCE_VERSION.c.licence_id)
        name, version = LICENCE.c.identifier, LICENCE_VERSION.c.version
        queries = {
            "licences": select(name, LICENCE.c.state, LICENCE.c.current_version),
            "versions": select(
                name, version, *(LICENCE_VERSION.c[column] for column in ("number", "fields", "begins", "ends"))
            ).select_from(of_version),
            "holders": select(name, version, HOLDER.c.name).select_from(
                of_version.join(HOLDER, HOLDER.c.version_id == LICENCE_VERSION.c.id)
            ),
            "credentials": select(name, version, CREDENTIAL.c.status).select_from(
                of_version.join(CREDENTIAL, CREDENTIAL.c.version_id == LICENCE_VERSION.c.id)
            ),
            "acts": select(name, ACT.c.version, ACT.c.kind, ACT.c.effective_from, ACT.c.applied).select_from(
                LICENCE.join(ACT, ACT.c.licence_id == LICENCE.c.id)
            ),
            "rows": select(
                name, *(IMPORTED_ROW.c[column] for column in ("row_key", "version", "contents", "status"))
            ).select_from(LICENCE.join(IMPORTED_ROW, IMPORTED_ROW.c.licence_id == LICENCE.c.id)),
            "outbox": select(func.count()).select_from(OUTBOX),
            "indexes": select(STATUS_LIST.c.used),
        }
        database = open_database(self.folder / "registry.db")
        try:
            with database.reading() as connection:
                return {key: sorted(map(tuple, connection.execute(query))) for key, query in queries.items()}
        finally:
            database.close()

    def runs(self) -> list[ImportRun]:
        database = open_database(self.folder / "registry.db")
        try:
            with database.reading() as connection:
                return import_runs(connection, limit=100)
        finally:
            database.close()

    def refused(self) -> list[Path]:
        return sorted((self.folder / "imports").glob("*.refused-*.csv"))


@pytest.fixture
def place(office: Any, tmp_path: Path) -> Place:
    office.database.close()
    return Place(tmp_path, office)


def test_an_import_killed_at_any_step_goes_on_without_a_duplicate_or_a_loss(place: Place, tmp_path: Path) -> None:
    whole = place.copy(tmp_path / "whole")
    answer = whole.run()
    steps = answer["steps"]
    count, issued, changed, unchanged, refused, licences = answer["counts"]
    assert (count, changed, unchanged) == (LICENCES * 2, 0, 0)
    assert issued + refused == count
    assert refused > 0
    (refused_file,) = whole.refused()
    refused_rows = refused_file.read_bytes()
    for seed in range(SEEDS):
        broken = place.copy(tmp_path / f"broken-{seed}")
        draw = random.Random(seed)
        first = draw.randrange(1, steps)
        kills = (first, draw.randrange(1, min(first, 40) + 1))
        for kill in kills:  # the second falls while the import looks for where it was
            broken.run(kill)
            # there before the end of the run is noted, and never in part
            assert all(path.read_bytes() == refused_rows for path in broken.refused()), kills
        again = broken.run()
        assert again["counts"][0] == sum(again["counts"][1:5]) == count, kills
        assert (again["counts"][2], again["counts"][4:]) == (0, [refused, licences]), kills
        assert broken.registered() == whole.registered(), kills
        found = broken.refused()
        assert all(path.read_bytes() == refused_rows for path in found), kills
        names = sorted(path.name for path in (broken.folder / "imports").iterdir())
        assert names == [*(path.name for path in found), "lock"], kills
        last, *before = broken.runs()
        assert last.finished_at is not None
        assert f"licences.refused-{last.id}.csv" in names, kills
        assert all(run.finished_at is None for run in before), kills
        # what the killed runs say they issued is what the last one found
        assert sum(run.counts.issued for run in before) == last.counts.unchanged == again["counts"][3], kills
        assert last.counts == Counts(*again["counts"][1:5])


def test_a_run_killed_after_its_last_chunk_is_repeated_as_unchanged(place: Place) -> None:
    steps = place.copy(place.folder / "whole").run()["steps"]
    place.run(steps - 2)  # the end of the run is being noted: its refused rows have their file already
    assert len(place.refused()) == 1
    counts = place.run()["counts"]
    assert (counts[1], counts[2], counts[0]) == (0, 0, counts[3] + counts[4])


def test_a_process_killed_from_outside_leaves_what_it_told(place: Place) -> None:
    script = (
        "import sys, tests.issuer.import_process as process\n"
        "tell = process.Steps.__call__\n"
        "def step(self, *words):\n"
        "    if words[0] == 'issuing' and words[1] > 2 * process.CHUNK:\n"
        "        print(words[1], flush=True)\n"
        "        sys.stdin.read()\n"
        "    tell(self, *words)\n"
        "process.Steps.__call__ = step\n"
        "process.main(process.Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4]), 0)\n"
    )
    words = [str(place.folder), place.office.markets, place.office.permit_type, str(place.office.now)]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        told = int(process.stdout.readline())
        process.kill()
    (run,) = place.runs()
    assert run.finished_at is None
    assert run.counts.issued + run.counts.refused == told > 2 * CHUNK
    assert place.run()["counts"][3] == run.counts.issued
