"""The commands that check a log from outside, as anybody may: `chopmark log fsck` and `chopmark log prove`.

Heavy modules are imported when a command runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chopmark.tlog_policy import TlogPolicy
    from rich.console import Console

    from chopmark_ledger.audit.fsck_checkpoint import JudgedCheckpoint
    from chopmark_ledger.audit.http_source import HttpSource
    from chopmark_ledger.audit.tile_source import FolderSource

_Place = Annotated[
    str,
    typer.Argument(
        metavar="DIR|URL",
        help="The folder with `checkpoint` and `tile/` in it, or the http(s) address below which they are.",
    ),
]
_Vkeys = Annotated[
    list[str] | None,
    typer.Option(
        "--vkey",
        metavar="V",
        help="A key of the log: name+hash+base64. May be given several times; each of them must have signed. Without "
        "any, the log lines of the policy count.",
    ),
]
_Origin = Annotated[
    str | None, typer.Option("--origin", metavar="O", help="The origin to expect, if it is not the key's name.")
]
_Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="A tlog-policy: the witnesses that must have cosigned the checkpoint."
    ),
]


def fsck(place: _Place, vkeys: _Vkeys = None, origin: _Origin = None, policy_file: _Policy = None) -> None:
    """Check every file of a log, ours or anybody's, against its signed checkpoint.

    Whether enough witnesses cosigned is asked only with a policy.

    Prints the size and the root hash. Exits 0 if everything is as it must be, 1 if not, naming each damage, and 3 if
    there is nothing to check: no log there, or another one.
    """
    from chopmark.cli.plain_text import plain  # noqa: PLC0415

    from chopmark_ledger.audit.fsck import fsck as check  # noqa: PLC0415

    output, errors = _consoles()
    policy = _read_policy(policy_file)
    with closing(_open(place)) as source, _progress(errors) as progress:
        report = check(source, vkeys=vkeys or (), origin=origin, policy=policy, progress=progress)
    for remark in report.remarks:
        errors.print(plain(f"remark: {remark}"), markup=False)
    for damage in report.damage:
        output.print(plain(f"damaged: {damage.path}: {damage.what}"), style="red", markup=False)
    if report.judged is not None:
        _print_checkpoint(output, report.judged)
        output.print("entries: read, a log of ours" if report.is_ours else "entries: not read, opaque", markup=False)
        if report.landmarks is not None:
            output.print(f"landmarks: {report.landmarks}", markup=False)
    output.print("sound" if report.is_sound else f"{len(report.damage)} damaged", markup=False)
    if not report.is_sound:
        raise typer.Exit(1)


def prove(
    place: _Place,
    index: Annotated[int, typer.Argument(metavar="INDEX", help="The index of the entry, from 0.")],
    vkeys: _Vkeys = None,
    origin: _Origin = None,
    policy_file: _Policy = None,
    landmark: Annotated[
        bool, typer.Option("--landmark", help="Prove it by its landmark: the CBOR of header -65538, in hex.")
    ] = False,
) -> None:
    """Print the proof that an entry is in a log, made from its static files alone and verified.

    The proof goes to standard output; which entry it is, and under which checkpoint, to standard error.
    """
    from chopmark.cli.plain_text import plain  # noqa: PLC0415

    from chopmark_ledger.audit.fsck_checkpoint import LogKeys  # noqa: PLC0415
    from chopmark_ledger.audit.fsck_entries import describe_entry  # noqa: PLC0415
    from chopmark_ledger.audit.static_proofs import prove_by_landmark, prove_entry  # noqa: PLC0415

    _, errors = _consoles()
    keys = LogKeys.of(vkeys or (), origin=origin, policy=_read_policy(policy_file))
    with closing(_open(place)) as source:
        proven = (prove_by_landmark if landmark else prove_entry)(source, index, keys)
    errors.print(plain(f"entry {index}: {describe_entry(proven.entry)}"), markup=False)
    record = proven.landmark
    if record is not None:
        errors.print(f"landmark [{record.start}, {record.end}) {record.hash.hex()}", markup=False)
    _print_checkpoint(errors, proven.judged)
    if record is not None:
        typer.echo(proven.proof.hex())
    else:
        typer.echo(proven.proof, nl=False)


def _print_checkpoint(console: Console, judged: JudgedCheckpoint) -> None:
    from chopmark.cli.plain_text import plain  # noqa: PLC0415
    from chopmark.strict import base64_encode, time_encode  # noqa: PLC0415

    checkpoint = judged.checkpoint
    console.print(plain(f"origin {checkpoint.origin}"), markup=False)
    console.print(f"size {checkpoint.size}", markup=False)
    console.print(f"root {base64_encode(checkpoint.root)}", markup=False)
    for key in judged.signed_by:
        console.print(plain(f"signed by {key.name}+{key.key_id.hex()}, {key.public_key.algorithm.text}"), markup=False)
    if judged.witnessed is not None:
        count = len(judged.witnessed.times)
        console.print(f"witnessed {time_encode(judged.witnessed.time)}, {count} cosignatures", markup=False)


def _consoles() -> tuple[Console, Console]:
    from rich.console import Console  # noqa: PLC0415

    return Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)


def _open(place: str) -> FolderSource | HttpSource:
    if place.startswith(("http://", "https://")):
        from chopmark_ledger.audit.http_source import HttpSource  # noqa: PLC0415

        return HttpSource(place)
    from chopmark.errors import StorageError  # noqa: PLC0415

    from chopmark_ledger.audit.tile_source import CHECKPOINT, FolderSource  # noqa: PLC0415

    public = Path(place) / "public"
    if not (Path(place) / CHECKPOINT).exists() and (public / CHECKPOINT).exists():
        raise StorageError("the files of a log are not here", where=place, remedy=f"Its public folder is {public}")
    return FolderSource(Path(place))


def _read_policy(path: Path | None) -> TlogPolicy | None:
    from chopmark.durable_file import read_file  # noqa: PLC0415
    from chopmark.errors import StorageError  # noqa: PLC0415
    from chopmark.tlog_policy import POLICY_SIZE, TlogPolicy  # noqa: PLC0415

    if path is None:
        return None
    data = read_file(path, max_size=POLICY_SIZE)
    if data is None:
        raise StorageError("there is no such file", where=str(path))
    return TlogPolicy.parse(data)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar with the rate and the time left, where somebody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f}/s")

    columns = ("entries", BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("entries", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
