"""An import in a process of its own, that kills itself where a test says, as a power cut or `kill -9` would.

    python -m tests.issuer.import_process FOLDER DEPARTMENT TYPE TIME KILL_AT

FOLDER holds `registry.db`, `keys/`, `licences.csv` and `mapping.json`. KILL_AT counts the steps of the import: each
statement and commit of the registry, each thousand rows staged, each chunk done; 0 lets it come to its end. It prints
the number of the steps, and the counts of the report as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any, Final

from chopmark.key_file import ScryptCost
from chopmark_issuer.catalogue.departments import authorise
from chopmark_issuer.importing import importing
from chopmark_issuer.importing.importing import Importer
from chopmark_issuer.keys.keys import KeyFolder
from chopmark_issuer.storage.database import open_database
from sqlalchemy import Engine, event

PASSPHRASE: Final = b"correct horse battery staple"
CHEAP: Final = ScryptCost(n=2**10)
CHUNK: Final = 200


class Steps:
    """Counts steps, and ends the process without another word at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.count = 0
        self._kill_at = kill_at

    def __call__(self, *_: Any) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, department: str, type_id: str, now: int, kill_at: int) -> None:
    """Import once."""
    vars(importing)["CHUNK"] = CHUNK  # many small transactions, so that a kill falls between two
    steps = Steps(kill_at)
    database = open_database(folder / "registry.db")
    with database.reading() as connection:
        actor = authorise(connection, department, at=now)
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, name, steps)
    importer = Importer(
        database,
        KeyFolder(folder / "keys", PASSPHRASE, cost=CHEAP),
        folder / "imports",
        clock=lambda: now,
        random=random.Random(1).randbytes,  # so that the same import has the same steps
    )
    report = importer.run(
        actor,
        folder / "licences.csv",
        type_id=type_id,
        mapping_data=(folder / "mapping.json").read_bytes(),
        progress=steps,
    )
    counts = [report.rows, report.issued, report.changed, report.unchanged, report.refused, report.licences]
    sys.stdout.write(json.dumps({"steps": steps.count, "counts": counts, "refused": str(report.refused_file)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
