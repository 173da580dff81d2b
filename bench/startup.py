"""Starting: what `import chopmark` adds to bare Python, and how long the first verdict takes in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chopmark import qr_text

from bench.report import MILLI, Group, Table, add_timing, timing_table
from bench.rounds import Contender, Series, alternate
from bench.samples import Samples
from specs.vectors.sample_world import NOW

IMPORT_REACH = 60e-3
FIRST_REACH = 150e-3
ROUNDS = 25

EVERYTHING = "import chopmark; [getattr(chopmark, name) for name in chopmark.__all__]"
"""Every public name; verification needs less."""

FIRST_VERDICT = """
import sys
from pathlib import Path
from chopmark import Outcome, Roots, TrustStore, Verifier
folder, root, text, at = sys.argv[1:]
store = TrustStore.open(Path(folder), roots=Roots.pin(Path(root).read_bytes()))
verdict = Verifier(store).verify(text, at=int(at))
if verdict.outcome is not Outcome.VALID:
    sys.exit(f"not VALID: {verdict.deciding}")
"""


def process(bytecode: Path, program: str, *arguments: str) -> Callable[[], float]:
    """A round that runs a program in a fresh interpreter, from its start to its exit.

    Compiled modules are kept in the folder `bytecode`, as an installation keeps them beside the modules.
    """
    command = [sys.executable, "-c", program, *arguments]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run() -> float:
        started = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)
        return time.perf_counter() - started

    return run


def measure(samples: Samples) -> Group:
    """Measure imports and the first verdicts."""
    static_text = qr_text.encode(samples.bearer[0].credential.encode())
    bound_text = qr_text.encode(samples.presentations[0].encode())
    bytecode = samples.folder.parent / "bytecode"
    arguments = (str(samples.folder), str(samples.root_file))
    bare, lazy, everything, static, bound = alternate(
        [
            Contender("bare", process(bytecode, "pass")),
            Contender("import", process(bytecode, "import chopmark")),
            Contender("everything", process(bytecode, EVERYTHING)),
            Contender("static", process(bytecode, FIRST_VERDICT, *arguments, static_text, str(NOW))),
            Contender("key-bound", process(bytecode, FIRST_VERDICT, *arguments, bound_text, str(NOW))),
        ],
        rounds=ROUNDS,
    )
    group = Group("Starting")
    table = timing_table()
    _add(table, "bare Python, started and ended", bare)
    _add_above(table, "`import chopmark`, above bare Python", lazy, bare, limit=IMPORT_REACH)
    _add_above(table, "every public name imported, above bare Python", everything, bare)
    _add(table, "first verdict, static code, whole process", static, FIRST_REACH)
    _add(table, "first verdict, key-bound code, whole process", bound, FIRST_REACH)
    group.add(table)
    group.add(
        "A first verdict is a process from its start to its exit, the interpreter's own start included: import what is "
        "needed, pin the root, open the trust store of two regions (every bundle, landmark file and status list with "
        "its proof is verified again), verify one code to VALID. Bytecode is compiled and files are in the page cache; "
        "an installation that was never run compiles first."
    )
    return group


def _add(table: Table, what: str, series: Series, limit: float | None = None, *, minimum: float | None = None) -> None:
    add_timing(
        table,
        what,
        series,
        scale=MILLI,
        unit="ms",
        reach="" if limit is None else f"≤ {limit * MILLI:.0f} ms",
        reached=None if limit is None else series.median <= limit,
        minimum=minimum,
    )


def _add_above(table: Table, what: str, series: Series, base: Series, *, limit: float | None = None) -> None:
    # The least difference of two rounds may be one of a disturbed base; that of the two least rounds is not.
    _add(table, what, series.excess(base), limit, minimum=series.minimum - base.minimum)
