"""The commands `chopmark issuer …`; what they do stands in `office`, which is imported when a command runs.

Exit codes: 0 done, 1 refused (it is understood and not allowed), 2 a mistake on the command line, 3 could not try.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from chopmark.errors import ChopmarkError, FormatError, ProofError, QuorumError, SignatureError, TrustError
from chopmark_service.database_setting import DatabaseSetting
from typer.core import TyperGroup

from chopmark_issuer.commands.service_commands import add_commands
from chopmark_issuer.errors import RefusedError

if TYPE_CHECKING:
    from chopmark_issuer.commands.office import Office

_REFUSED = (RefusedError, FormatError, SignatureError, ProofError, TrustError)


class _Answering(TyperGroup):
    """Turns an error of ours into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ChopmarkError as error:
            typer.secho(f"chopmark: {error}", err=True, fg=typer.colors.RED)
            refused = isinstance(error, _REFUSED) and not isinstance(error, QuorumError)
            raise typer.Exit(1 if refused else 3) from error


issuer = typer.Typer(
    cls=_Answering,
    help="Run a region's registry: issue licences, change them, publish what others verify them with.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the registry.", envvar="CHOPMARK_DATA")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with the passphrase of the registry's keys; else CHOPMARK_PASSPHRASE_FILE names one.",
    ),
]
Department = Annotated[
    str | None,
    typer.Option(metavar="ID", help="The department that acts; may be left out where only one holds the type."),
]
TypeOption = Annotated[str, typer.Option("--type", metavar="TYPE", help="Licence type, <region>/<code>.")]
OptionalType = Annotated[
    str | None,
    typer.Option("--type", metavar="TYPE", help="Licence type, where licences of several types have that number."),
]
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="The licence number, in full.")]
Fields = Annotated[
    list[str],
    typer.Option(
        "--field", metavar="NAME=VALUE", help="A field of the licence; again for each, and for each of a list."
    ),
]
Effective = Annotated[
    str | None,
    typer.Option("--effective-from", metavar="DAY", help="The day from which it has effect, if not from now."),
]
Reason = Annotated[str | None, typer.Option(help="Why; kept in the registry, not published.")]
NameZh = Annotated[str, typer.Option("--name-zh", help="Its name in Chinese.")]
NameEn = Annotated[str, typer.Option("--name-en", help="Its name in English.")]
_DATA = Path("data")
_DATABASE = DatabaseSetting("issuer")


def _office(data: Path, passphrase_file: Path | None = None) -> Office:
    # SQLModel and Alembic take half a second, which no other command should pay
    from chopmark_issuer.commands.office import Office  # noqa: PLC0415

    return Office(data, passphrase_file)


@issuer.command()
def init(
    ctx: typer.Context,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder to make.")],
    region: Annotated[str, typer.Option(metavar="CODE", help="ISO 3166-2 code of the region, such as CN-GD.")],
    name_zh: NameZh,
    name_en: NameEn,
    witness: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR", help="Folder of a witness that another region runs, for a log made here; again for each."
        ),
    ] = [],  # noqa: B006 - Typer's way to say "may be left out"
    host: Annotated[str | None, typer.Option(help="Host of its names, such as cn-gd.example.")] = None,
    quorum: Annotated[
        int | None, typer.Option(help="How many operators of witnesses must cosign; more than half if left out.")
    ] = None,
    log_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where its log is served, in place of a log made here.")
    ] = None,
    log_vkey: Annotated[
        list[str],
        typer.Option(metavar="VKEY", help="With --log-url: each key of the log, as chopmark log init prints them."),
    ] = [],  # noqa: B006
    log_number: Annotated[int, typer.Option(help="With --log-url: its number within the region.")] = 1,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --log-url: the tlog-policy that it is served with.")
    ] = None,
    roots: Annotated[int, typer.Option(help="How many root keys to make.")] = 3,
    threshold: Annotated[int, typer.Option(help="How many of them must sign.")] = 2,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            envvar=_DATABASE.variable,
            help="postgresql+psycopg://…, for a registry outside of its folder. Where it holds a password give it by "
            "the variable: others on the machine see the arguments of a command.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a region: its root keys, its log, its registry.

    The log is made in DATA, to run in each command's own process: name its --witness folders. Or it is one that
    `chopmark log serve` runs: name its --log-url, its --log-vkey and its --policy. What its operator must do to let
    this registry write to it is printed.

    Keys are encrypted with the passphrase. Keep it and the folder `keys` apart, and keep copies of both.
    """
    told_by = ctx.get_parameter_source("database")
    if database is not None and told_by is not None and told_by.name == "COMMANDLINE":
        _check_holds_no_password(database)
    if log_url is None:
        if log_vkey or policy is not None:
            raise typer.BadParameter("--log-vkey and --policy are of a log that is served: give its --log-url")
        if not witness:
            raise typer.BadParameter("give either a --witness or a --log-url")
        service = None
    else:
        if witness or quorum is not None:
            raise typer.BadParameter("the witnesses of a log that is served stand in its --policy")
        if not log_vkey or policy is None:
            raise typer.BadParameter("--log-url needs --log-vkey and --policy")
        service = (log_url, log_vkey, log_number, policy)
    _office(data, passphrase_file).init(
        region,
        (name_zh, name_en),
        witness,
        host=host,
        quorum=quorum,
        roots=roots,
        threshold=threshold,
        service=service,
        database=database,
    )


def _check_holds_no_password(url: str) -> None:
    from chopmark_service.postgresql import database_url, holds_password  # noqa: PLC0415

    if holds_password(database_url(url, otherwise="the registry is a SQLite file in its folder")):
        raise typer.BadParameter(
            f"whoever is on this machine sees a password there: give the URL by {_DATABASE.variable}, and change "
            "the password",
            param_hint="--database",
        )


@issuer.command("log-client")
def log_client(data: Data = _DATA) -> None:
    """Print what lets this registry write to the region's log, for the operator of that log."""
    _office(data).log_client()


@issuer.command("add-department")
def add_department(
    department: Annotated[str, typer.Argument(metavar="ID", help="<region>/<organisation code>.")],
    name_zh: NameZh,
    name_en: NameEn,
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Enrol a department and make its keys: for licences, for status lists, for its inspectors."""
    _office(data, passphrase_file).add_department(department, (name_zh, name_en))


@issuer.command("add-type")
def add_type(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The licence type, as JSON.")],
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take a licence type into the catalogue."""
    _office(data, passphrase_file).add_type(file)


@issuer.command()
def grant(
    department: Annotated[str, typer.Argument(metavar="ID", help="The department.")],
    licence_type: Annotated[str, typer.Argument(metavar="TYPE", help="The licence type it may issue from now on.")],
    until: Annotated[str | None, typer.Option(metavar="DAY", help="The last day; no end if left out.")] = None,
    end: Annotated[bool, typer.Option("--end", help="End its grant now instead.")] = False,
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Let a department issue a licence type, or end that."""
    _office(data, passphrase_file).grant(department, licence_type, until=until, end=end)


@issuer.command()
def peer(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of this registry.")],
    other: Annotated[
        Path,
        typer.Argument(
            metavar="OTHER_DATA",
            help="Folder of the other region's registry, with its public/ and, if not served, log/.",
        ),
    ],
    floor: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Witness policy that its logs must keep; what they keep now if left out."),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take another region as a peer, so that inspectors here can verify its licences. It must have published."""
    _office(data, passphrase_file).peer(other, floor)


@issuer.command()
def issue(
    licence_type: TypeOption,
    holder: Annotated[list[str], typer.Option(metavar="NAME", help="Name of a holder; again for each.")],
    first_day: Annotated[str, typer.Option(metavar="DAY", help="First day it is valid, such as 2026-11-22.")],
    field: Fields = [],  # noqa: B006 - Typer's way to say "may be left out"
    last_day: Annotated[str | None, typer.Option(metavar="DAY", help="Last day; no end if left out.")] = None,
    holder_code: Annotated[
        list[str], typer.Option(metavar="KIND:CODE", help="Code of each holder in turn, such as 001:91440000….")
    ] = [],  # noqa: B006
    holder_key: Annotated[
        list[str], typer.Option(metavar="ALG:KEY", help="Public key of a holder's wallet, such as ES256:base64.")
    ] = [],  # noqa: B006
    number: Annotated[str | None, typer.Option(help="The number, where the department gives it.")] = None,
    serial: Annotated[str | None, typer.Option(help="The serial, where the number follows GB/T 36904.")] = None,
    department: Department = None,
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Issue one licence. It can be verified once `chopmark issuer publish` was run."""
    _office(data, passphrase_file).issue(
        licence_type,
        department,
        fields=field,
        holders=holder,
        holder_codes=holder_code,
        holder_keys=holder_key,
        days=(first_day, last_day),
        number=number,
        serial=serial,
    )


@issuer.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The CSV file; each row is one term of a licence.")],
    licence_type: TypeOption,
    mapping: Annotated[Path, typer.Option(metavar="MAPPING", help="How its columns become fields, as JSON.")],
    department: Department = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row and issue nothing: same report, same file of refusals.")
    ] = False,
    hold_back: Annotated[
        bool,
        typer.Option(
            "--hold-back",
            help="Issue nothing new of a licence while one of its rows is refused, so that the row can be corrected.",
        ),
    ] = False,
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Issue the licences of a file. Every row is issued or listed; importing the file again changes nothing.

    So an import that was interrupted, however it was, goes on when the same command is run again.

    Rows that were refused are written to a file of their own, with the reasons: correct them there and import that. A
    row of an earlier term is taken then only if no later one was: --hold-back keeps its place.
    """
    _office(data, passphrase_file).import_file(
        file, licence_type, mapping, department, dry=dry_run, hold_back=hold_back
    )


@issuer.command()
def imports(
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20,
    data: Data = _DATA,
) -> None:
    """List the imports, newest first: what each did, whether it came to its end, where its refused rows are."""
    _office(data).imports(limit)


@issuer.command()
def renew(
    number: Number,
    first_day: Annotated[str, typer.Option(metavar="DAY", help="First day of the new term.")],
    last_day: Annotated[str | None, typer.Option(metavar="DAY", help="Last day; no end if left out.")] = None,
    field: Fields = [],  # noqa: B006
    licence_type: OptionalType = None,
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Renew a licence for a new term; the version of that number is superseded."""
    _office(data, passphrase_file).renew(number, licence_type, field, (first_day, last_day))


@issuer.command()
def change(
    number: Number,
    field: Fields,
    licence_type: OptionalType = None,
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Change what a licence says from now on; the version of that number is superseded."""
    _office(data, passphrase_file).change(number, licence_type, field)


def _add_act(name: str, text: str) -> None:
    @issuer.command(name, help=text)
    def act(
        number: Number,
        effective_from: Effective = None,
        reason: Reason = None,
        licence_type: OptionalType = None,
        data: Data = _DATA,
        passphrase_file: PassphraseFile = None,
    ) -> None:
        _office(data, passphrase_file).record(name, number, licence_type, effective_from, reason)


_add_act("suspend", "Suspend a licence, until it is returned.")
_add_act("return", "Return a suspended licence.")
_add_act("revoke", "Revoke a licence as a penalty.")
_add_act("withdraw", "Withdraw a licence: void from now on.")
_add_act("annul", "Annul a licence: void from the beginning.")
_add_act("close", "Close a licence for good, after it expired, its holder is gone, or any of the above.")


@issuer.command()
def publish(
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
    witness_passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the passphrase of the witnesses, if it is another.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until a log that is served has published.")
    ] = 60,
) -> None:
    """Publish everything: send licences to the log, sign status lists and the trust bundle, vouch for landmarks.

    What inspectors fetch is then in DIR/public. Run it after every change, and at least twice a day.
    """
    if _office(data, passphrase_file).publish(witness_passphrase_file, patience):
        raise typer.Exit(1)


@issuer.command()
def show(number: Number, licence_type: OptionalType = None, data: Data = _DATA) -> None:
    """Show a licence: its versions, what happened to it, where it stands."""
    _office(data).show(number, licence_type)


@issuer.command()
def qr(
    number: Number,
    output: Annotated[Path, typer.Argument(metavar="OUT.png", help="The picture to write.")],
    licence_type: OptionalType = None,
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Draw the QR code of a licence for paper. It must have been published."""
    _office(data, passphrase_file).qr(number, licence_type, output)


@issuer.command()
def credential(
    number: Number,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    licence_type: OptionalType = None,
    data: Data = _DATA,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write the credential of a licence for its holder's wallet, with all its disclosures and proofs."""
    _office(data, passphrase_file).credential(number, licence_type, output)


add_commands(issuer)
