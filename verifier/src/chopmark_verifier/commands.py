"""`chopmark inspector`: ask for a licence, check it, and look after the records.

Little more than Typer is imported here; each command imports what it needs when it runs, so that `chopmark --help`
stays quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from chopmark.cli.answering_command import AnsweringCommand

if TYPE_CHECKING:
    from chopmark.keys import Signer

inspector = typer.Typer(
    help="The desk of an inspector: ask for licences, check them, keep signed records.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

TrustOption = Annotated[Path, typer.Option("--trust", help="Folder of the trust store.", envvar="CHOPMARK_TRUST")]
PurposeOption = Annotated[str, typer.Option("--purpose", metavar="TEXT", help="Why, in 1 to 200 characters.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="The passphrase of the key; else CHOPMARK_PASSPHRASE_FILE names its file, or CHOPMARK_PASSPHRASE is it.",
    ),
]
LanguageOption = Annotated[str | None, typer.Option("--lang", help="zh or en; your system's language when left out.")]


@inspector.command()
def challenge(
    licence_type: Annotated[
        str,
        typer.Option("--type", metavar="TYPE", help="The licence type, such as CN-GD/…W032; @VERSION may follow it."),
    ],
    purpose: PurposeOption,
    key: Annotated[Path, typer.Option(metavar="FILE", help="Your key file.")],
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="FIELD", help="A field you need to see, by name or id; may be repeated."),
    ] = None,
    trust: TrustOption = Path("trust"),
    lifetime: Annotated[int, typer.Option(min=10, max=900, help="Seconds until the challenge expires.")] = 120,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Ask the holder of a licence to show it now: prints the challenge (EC1:…) for the holder's wallet.

    The wallet shows who asks, what for and for which fields. Give the same text to "check --challenge".
    """
    from chopmark.cli.pins import open_store  # noqa: PLC0415

    from chopmark_verifier.desk import InspectionDesk  # noqa: PLC0415
    from chopmark_verifier.enrolment import inspector_of  # noqa: PLC0415
    from chopmark_verifier.licence_types import find_field, find_type  # noqa: PLC0415

    store = open_store(trust)
    signer = _load_key(key, passphrase_file)
    known = find_type(store, licence_type)
    desk = InspectionDesk(store, signer, inspector=inspector_of(store.home, signer.public_key), folder=Path())
    asked = desk.ask(purpose, known.vct, [find_field(known, name) for name in fields or ()], lifetime=lifetime)
    typer.echo(asked.text())


@inspector.command(cls=AnsweringCommand)
def check(
    given: Annotated[
        str, typer.Argument(metavar="INPUT", help="Text of a code (EL1:…), a file or picture of one, or - .")
    ],
    purpose: PurposeOption,
    asked: Annotated[
        str | None, typer.Option("--challenge", metavar="C", help="The challenge (EC1:…) you asked, or a file of it.")
    ] = None,
    trust: TrustOption = Path("trust"),
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your key file; without it nothing is recorded.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option(metavar="DIR", help='Folder of your records; "records" when left out.')
    ] = None,
    with_fields: Annotated[
        bool, typer.Option("--with-fields", help="Keep the licence's fields in the record: personal data.")
    ] = False,
    lang: LanguageOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, without licence fields.")] = False,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Check a licence and file a signed record of it.

    Exit code: 0 VALID, 1 INVALID, 2 INDETERMINATE (cannot tell), 3 could not try.
    """
    from chopmark.challenge import Challenge  # noqa: PLC0415
    from chopmark.cli.exit_codes import ExitCode  # noqa: PLC0415
    from chopmark.cli.inputs import read_input  # noqa: PLC0415
    from chopmark.cli.pins import open_store  # noqa: PLC0415
    from chopmark.cli.plain_text import plain_json  # noqa: PLC0415
    from chopmark.cli.verify import choose_language, render  # noqa: PLC0415
    from chopmark.errors import FormatError  # noqa: PLC0415
    from chopmark.verification_record import check_purpose  # noqa: PLC0415
    from chopmark.verifier import Verifier  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from chopmark_verifier.desk import InspectionDesk  # noqa: PLC0415
    from chopmark_verifier.enrolment import inspector_of  # noqa: PLC0415

    language = choose_language(lang)
    check_purpose(purpose)
    if key is None and (records is not None or with_fields):
        raise FormatError("a record is signed, and no key is given", where="--key", remedy="Give your key file")
    store = open_store(trust)
    signer = _load_key(key, passphrase_file) if key is not None else None
    shown = read_input(given)
    content = shown.text if shown.text is not None else shown.data
    challenge_text = None
    if asked is not None:
        challenge_text = read_input(asked).text
        if challenge_text is None:
            raise FormatError("holds no challenge (EC1:…)", where="--challenge")
    path = None
    if signer is not None:
        desk = InspectionDesk(
            store,
            signer,
            inspector=inspector_of(store.home, signer.public_key),
            folder=records if records is not None else Path("records"),
        )
        question = Challenge.parse_text(challenge_text) if challenge_text is not None else None
        inspection = desk.inspect(content, purpose=purpose, challenge=question, with_fields=with_fields)
        verdict, path = inspection.verdict, inspection.path
    elif isinstance(content, str):
        verdict = Verifier(store).verify(content, challenge=challenge_text)
    else:
        verdict = Verifier(store).verify_bytes(content, challenge=challenge_text)
    if as_json:
        filed = str(path) if path is not None else None
        typer.echo(plain_json({"input": shown.name, "record": filed, **verdict.to_json()}))
    else:
        console = Console(highlight=False, emoji=False)
        console.print(render(verdict, language, title=shown.name))
        console.print(_filing(path, language), markup=False, soft_wrap=True)
    raise typer.Exit(ExitCode[verdict.outcome.name])


@inspector.command("records")
def list_records(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of your records.")],
    lang: LanguageOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each record.")] = False,
) -> None:
    """List the records of a folder. Nothing is verified: see "read".

    Exit code: 0 all could be read, 1 some file is no record, 3 could not try.
    """
    from chopmark.cli.exit_codes import ExitCode  # noqa: PLC0415
    from chopmark.cli.plain_text import plain_json  # noqa: PLC0415
    from chopmark.cli.verify import choose_language  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from chopmark_verifier.record_table import filed_json, filed_table  # noqa: PLC0415
    from chopmark_verifier.records import RecordFolder  # noqa: PLC0415

    language = choose_language(lang)
    filed = list(RecordFolder(folder).filed())
    if as_json:
        for each in filed:
            typer.echo(plain_json(filed_json(each)))
    else:
        Console(highlight=False, emoji=False).print(filed_table(filed, language))
    raise typer.Exit(ExitCode.INVALID if any(each.problem for each in filed) else ExitCode.VALID)


@inspector.command()
def read(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A filed record (….jwt).")],
    trust: TrustOption = Path("trust"),
    lang: LanguageOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Verify a filed record with the key that its region enrolled, and show it.

    Exit code: 0 verified, 1 refused, 3 could not try.
    """
    from chopmark.cli.exit_codes import ExitCode  # noqa: PLC0415
    from chopmark.cli.pins import open_store  # noqa: PLC0415
    from chopmark.cli.plain_text import plain, plain_json  # noqa: PLC0415
    from chopmark.cli.verify import choose_language  # noqa: PLC0415
    from chopmark.errors import SignatureError, TrustError  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from chopmark_verifier.record_table import record_json, record_panel  # noqa: PLC0415
    from chopmark_verifier.records import read_record, verify_filed  # noqa: PLC0415

    language = choose_language(lang)
    store = open_store(trust)
    text = read_record(record)
    try:
        verify_filed(text, store)
    except (SignatureError, TrustError) as error:
        errors = Console(stderr=True, highlight=False, emoji=False)
        errors.print(f"chopmark: {record}: {plain(str(error))}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(ExitCode.INVALID) from error
    if as_json:
        typer.echo(plain_json(record_json(text)))
    else:
        Console(highlight=False, emoji=False).print(record_panel(text, language, title=str(record)))


def _load_key(path: Path, passphrase_file: Path | None) -> Signer:
    from chopmark.cli.passphrase import read_passphrase  # noqa: PLC0415
    from chopmark.key_file import read_key_file  # noqa: PLC0415

    return read_key_file(path).load(read_passphrase(passphrase_file), where=str(path))


def _filing(path: Path | None, language: str) -> str:
    if path is None:
        return "未留存记录（未提供密钥）" if language == "zh" else "not recorded: no key was given"
    return f"记录：{path}" if language == "zh" else f"record: {path}"
