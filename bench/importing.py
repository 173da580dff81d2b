"""Importing at volume: rows a second, memory as the file goes by, and what other writers of the registry wait.

The rows are those of the City of Chicago in `../shared/data`, repeated under other numbers: about 100,000, and with
`CHOPMARK_BENCH=all` a million. Each import is a process of its own, so that its memory is nobody else's. Beside it
another process writes to the same registry, a little and often, as the API does:

    python -m bench.importing import FOLDER COPIES     → what was measured, as JSON
    python -m bench.importing write DATABASE           → the seconds each writing took, as JSON, once its input ends
"""

from __future__ import annotations

import csv
import gc
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chopmark_issuer.settings import DATABASE_FILE
from chopmark_issuer.storage.database import open_database
from chopmark_issuer.storage.models import REGION
from sqlalchemy import update

from bench.registry import CHICAGO, city, import_file
from bench.report import Group, Table, answer

COPIES = 180
"""Some 100,000 rows."""
COPIES_OF_A_MILLION = 1783
RATE = 3_000
"""Rows a second that are to be reached."""
FLAT = 32
"""MB that memory may grow by from a tenth of the file to its end."""
WAIT = 0.5
"""Seconds that another writer may wait."""
MARKS = (10, 50, 100)
PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What one import took: seconds of it and of the same again, MB resident at the marks, seconds others waited."""

    rows: int
    licences: int
    seconds: float
    again: float
    resident: tuple[int, ...]
    database: int
    waits: tuple[float, ...]

    @property
    def grown(self) -> int:
        """MB by which memory grew after the first mark."""
        return self.resident[-1] - self.resident[0]


def measure(folder: Path) -> Group:
    """Measure an import of 100,000 rows, or of a million too."""
    group = Group("Importing")
    if not CHICAGO.is_file():
        group.add("Left out: ../shared/data is not here.")
        return group
    table = Table(("rows of a CSV file into the registry", "measured", "reach", "reached"))
    copies = (COPIES, COPIES_OF_A_MILLION) if os.environ.get("CHOPMARK_BENCH") == "all" else (COPIES,)
    for each in copies:
        measured = _in_a_process(folder / f"import-{each}", each)
        rate = measured.rows / measured.seconds
        name = f"{measured.rows:,} rows of {measured.licences:,} licences"
        table.add(
            f"{name}: read, validated, signed, stored, in the outbox, durable",
            f"{rate:,.0f} rows/s",
            f"≥ {RATE:,} rows/s",
            answer(rate >= RATE),
        )
        table.add(
            f"{name}: the same file again, nothing changed", f"{measured.rows / measured.again:,.0f} rows/s", "", ""
        )
        resident = " · ".join(f"{size} MB" for size in measured.resident)
        marks = " · ".join(f"{mark} %" for mark in MARKS)
        table.add(f"{name}: resident at {marks}", resident, f"+ {FLAT} MB at most", answer(measured.grown <= FLAT))
        waits = sorted(measured.waits)
        table.add(
            f"{name}: wait of another writer, {len(waits)} times: median · 99 of 100 · longest",
            " · ".join(f"{1000 * waits[place]:.0f} ms" for place in (len(waits) // 2, len(waits) * 99 // 100, -1)),
            f"99 of 100 ≤ {1000 * WAIT:.0f} ms",
            answer(waits[len(waits) * 99 // 100] <= WAIT),
        )
        table.add(f"{name}: the registry's database after it", f"{measured.database} MB", "", "")
    group.add(table)
    if len(copies) == 1:
        group.add("`CHOPMARK_BENCH=all` imports a million rows too.")
    return group


def _in_a_process(folder: Path, copies: int) -> Measured:
    folder.mkdir()
    words = [sys.executable, "-m", "bench.importing", "import", str(folder), str(copies)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return Measured(**{**found, "resident": tuple(found["resident"]), "waits": tuple(found["waits"])})


def repeat(path: Path, copies: int) -> None:
    """Write the rows again and again, each time as those of other licences."""
    with CHICAGO.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    changed = [header.index(column) for column in ("ID", "LICENSE ID", "LICENSE NUMBER")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for copy in range(copies):
            writer.writerows(
                [f"{copy + 1}{cell}" if place in changed else cell for place, cell in enumerate(row)] for row in rows
            )


def _measure_here(folder: Path, copies: int) -> dict[str, Any]:
    repeated = folder / "repeated.csv"
    repeat(repeated, copies)
    resident: list[int] = []

    def note(step: str, done: int, rows: int) -> None:
        if step == "issuing" and len(resident) < len(MARKS) and 100 * done >= MARKS[len(resident)] * rows:
            resident.append(_resident())

    with city(folder) as region:
        database = region.settings.data / DATABASE_FILE
        words = [sys.executable, "-m", "bench.importing", "write", str(database)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            gc.freeze()  # as the command does
            started = time.perf_counter()
            report = import_file(region, repeated, note)
            seconds = time.perf_counter() - started
            waits, _ = other.communicate()
        size = database.stat().st_size >> 20
        started = time.perf_counter()
        import_file(region, repeated)
        again = time.perf_counter() - started
    return {
        "rows": report.rows,
        "licences": report.licences,
        "seconds": seconds,
        "again": again,
        "resident": resident,
        "database": size,
        "waits": json.loads(waits),
    }


def _write_beside(path: Path) -> list[float]:
    """Write a little and often until the input ends."""
    database = open_database(path)
    waits = []
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        started = time.perf_counter()
        with database.writing() as connection:
            connection.execute(update(REGION).values(created_at=REGION.c.created_at))
        waits.append(time.perf_counter() - started)
    database.close()
    return waits


def _resident() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) >> 10


if __name__ == "__main__":
    if sys.argv[1] == "import":
        sys.stdout.write(json.dumps(_measure_here(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        sys.stdout.write(json.dumps(_write_beside(Path(sys.argv[2]))))
