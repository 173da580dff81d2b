"""What a witness holds, told to its operator: the command `chopmark witness status`.

    witness cn-gd.example/witness
    cn-sh.example/log/2026: size 4711, cosigned 2026-11-22T09:30:00Z
    us-il.example/log/2026: nothing cosigned yet
    fork of cn-sh.example/log/2026 at size 4700: evidence/fork-4f53cda18c2baa0c-4700-1f0a…

Only files are read, no key is opened: it may run beside the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chopmark import strict
from chopmark.errors import StorageError
from chopmark.note import NoteVerifier

from chopmark_ledger.errors import LedgerDamagedError
from chopmark_ledger.witness.witness import Contradiction
from chopmark_ledger.witness.witness_folder import read_configuration
from chopmark_ledger.witness.witness_state import FolderStore, origin_hash


@dataclass(frozen=True, slots=True)
class WitnessStatus:
    """What to print, and whether somebody has to look: at a fork, or at a state that is damaged."""

    lines: tuple[str, ...]
    is_alarming: bool


def witness_status(folder: Path) -> WitnessStatus:
    """Look at the witness in `folder`.

    Raises:
        FolderError: there is none.
        FormatError, KeyMaterialError, StorageError: its files cannot be read.
    """
    configuration = read_configuration(folder)
    store = FolderStore(folder, [NoteVerifier.from_vkey(vkey) for vkey in configuration.vkeys])
    origins = dict.fromkeys(NoteVerifier.from_vkey(vkey).name for vkey in configuration.logs)
    lines = [f"witness {configuration.name}"]
    is_alarming = False
    for origin in origins:
        try:
            held = store.look(origin)
        except (LedgerDamagedError, StorageError) as error:
            lines.append(f"{origin}: damaged: {error}")
            is_alarming = True
            continue
        what = f"size {held.size}, cosigned {strict.time_encode(held.time)}" if held.note else "nothing cosigned yet"
        lines.append(f"{origin}: {what}")
    names = {origin_hash(origin)[:16]: origin for origin in origins}
    for case in store.cases():
        of = names.get(case.short_hash, f"a log that it knows no more ({case.short_hash})")
        lines.append(f"{_NAMES[case.contradiction]} {of} at size {case.size}: {case.folder.relative_to(folder)}")
        is_alarming |= case.contradiction is Contradiction.FORK
    return WitnessStatus(tuple(lines), is_alarming)


_NAMES = {Contradiction.FORK: "fork of", Contradiction.UNPROVEN: "unproven growth of"}
