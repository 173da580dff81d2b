"""The licences of two cities, as their open data has them, imported, drawn, and verified from the pictures."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from chopmark.durable_file import read_file
from chopmark.key_file import ScryptCost
from chopmark.licence_type import LocalisedText
from chopmark.refresh import refresh
from chopmark.root_epoch import Roots
from chopmark.trust_store import TrustStore
from chopmark.verdict import Outcome, Verdict
from chopmark.verifier import Verifier
from chopmark_issuer.importing.importing import Importer, ImportReport
from chopmark_issuer.licences.records import CREDENTIALS_OF_LICENCES, credentials
from chopmark_issuer.qr import draw_credential
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.models import ACT, CREDENTIAL, IMPORT_RUN, LICENCE, LICENCE_VERSION, OUTBOX, Table
from chopmark_ledger.client import init_witness
from PIL import Image
from sqlalchemy import func, select

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real licences (../shared/data) are not here")

CHEAP = ScryptCost(n=2**10)
CITIES = {
    "chicago": ("US-IL", "US-IL/CHICAGO-BACP", "chicago-business-licences.csv", 1_480_600_000),  # 2016-12-01
    "new-york": ("US-NY", "US-NY/NYC-DCWP", "new-york-business-licences.csv", 1_572_600_000),  # 2019-11-01
}


class City:
    """A region that imports one file, with its clock on a day shortly after the file was made."""

    def __init__(self, folder: Path, name: str) -> None:
        code, self.department, file, self.now = CITIES[name]
        self.file = DATA / file
        self.mapping = (REPOSITORY / "examples" / name / "mapping.json").read_bytes()
        init_witness(folder / "witness", name="us-ca.example/witness", passphrase=b"secret", cost=CHEAP)
        plan = RegionPlan(code, LocalisedText("示例", "Sample"), (folder / "witness",))
        self.region = Region.create(Settings(folder / "data", b"secret", CHEAP), plan, clock=self.clock)
        self.region.add_department(self.department, LocalisedText("示例", "Sample"))
        licence_type = self.region.add_type(
            (REPOSITORY / "examples" / name / "business-licence.type.json").read_bytes()
        )
        self.type_id = licence_type.type.id
        self.region.grant(self.department, self.type_id)

    def clock(self) -> int:
        return self.now

    def run(self, file: Path | None = None, *, hold_back: bool = False) -> ImportReport:
        region = self.region
        importer = Importer(region.database, region.keys, region.settings.imports, clock=self.clock)
        return importer.run(
            region.actor(self.department),
            file or self.file,
            type_id=self.type_id,
            mapping_data=self.mapping,
            hold_back=hold_back,
        )

    def counts(self) -> dict[str, int]:
        with self.region.database.reading() as connection:
            return {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in Table.metadata.sorted_tables
                if table is not IMPORT_RUN
            }

    def states(self) -> Counter[str]:
        with self.region.database.reading() as connection:
            return Counter(connection.execute(select(LICENCE.c.state)).scalars())

    def store(self, folder: Path) -> TrustStore:
        public = self.region.settings.public
        pin = (public / "root" / "1.note").read_bytes()
        store = TrustStore.create(folder, roots=Roots.pin(pin))
        store.put_root(self.region.region, pin, now=self.now)
        done = refresh(store, self.region.region, lambda path: read_file(public / path, max_size=2**26), now=self.now)
        assert done.problems == []
        return store

    def verdict(self, store: TrustStore, condition: Any) -> Verdict:
        """What an inspector reads from the picture of the first licence of that condition."""
        with self.region.database.reading() as connection:
            row = connection.execute(
                select(CREDENTIAL.c.version_id).select_from(CREDENTIALS_OF_LICENCES).where(condition).limit(1)
            ).one()
            stored = credentials(connection, row.version_id)[0]
        picture = draw_credential(self.region.with_proofs(stored))
        assert picture.version <= 22
        with Image.open(BytesIO(picture.png())) as image:
            (code,) = zxingcpp.read_barcodes(image)
        return Verifier(store, clock=self.clock).verify(code.text)


@pytest.fixture
def city(tmp_path: Path) -> Iterator[Callable[[str], City]]:
    opened: list[City] = []

    def build(name: str) -> City:
        opened.append(City(tmp_path, name))
        return opened[-1]

    yield build
    for each in opened:
        each.region.close()


def failed(verdict: Verdict) -> list[str]:
    return [check.reason for check in verdict.checks if check.result.name != "PASS"]


def test_every_row_of_chicago_is_issued_or_listed_and_a_second_run_changes_nothing(
    city: Callable[[str], City],
) -> None:
    chicago = city("chicago")
    report = chicago.run()
    assert (report.rows, report.issued, report.refused, report.licences) == (561, 560, 1, 184)
    refusal = report.refusals[0]
    assert (refusal.number, refusal.column) == (304, "LICENSE TERM EXPIRATION DATE")
    # 38 cancelled and 5 revoked rows, each the last of its licence; the rest as the terms say on that day
    assert chicago.states() == {"valid": 40, "expired": 101, "closed": 38, "revoked": 5}
    before = chicago.counts()
    assert [before[table.name] for table in (LICENCE, LICENCE_VERSION, CREDENTIAL, ACT)] == [184, 560, 560, 603]
    again = chicago.run()
    assert (again.issued, again.changed, again.unchanged, again.refused) == (0, 0, 560, 1)
    assert chicago.counts() == before


def test_one_licence_of_each_state_of_chicago_verifies_from_its_picture(
    city: Callable[[str], City], tmp_path: Path
) -> None:
    chicago = city("chicago")
    chicago.run()
    chicago.region.publish()
    store = chicago.store(tmp_path / "trust")
    newest = LICENCE_VERSION.c.version == LICENCE.c.current_version
    expected = {
        "valid": (Outcome.VALID, []),
        "expired": (Outcome.INVALID, ["expired"]),
        "closed": (Outcome.INVALID, ["revoked"]),
        "revoked": (Outcome.INVALID, ["revoked"]),
    }
    for state, (outcome, reasons) in expected.items():
        verdict = chicago.verdict(store, (LICENCE.c.state == state) & newest)
        assert verdict.outcome is outcome
        assert set(reasons) <= set(failed(verdict))
    superseded = chicago.verdict(store, LICENCE_VERSION.c.version < LICENCE.c.current_version)
    assert superseded.outcome is Outcome.INVALID
    assert "superseded" in failed(superseded)


def test_every_row_of_new_york_is_issued_or_listed_and_a_second_run_changes_nothing(
    city: Callable[[str], City], tmp_path: Path
) -> None:
    new_york = city("new-york")
    report = new_york.run()
    assert (report.rows, report.issued, report.refused) == (477, 476, 1)
    assert (report.refusals[0].number, report.refusals[0].column) == (40, "License Expiration Date")
    assert new_york.states() == {"valid": 202, "closed": 274}
    before = new_york.counts()
    again = new_york.run()
    assert (again.issued, again.unchanged) == (0, 476)
    assert new_york.counts() == before
    new_york.region.publish()
    store = new_york.store(tmp_path / "trust")
    assert new_york.verdict(store, LICENCE.c.state == "valid").outcome is Outcome.VALID
    assert new_york.verdict(store, LICENCE.c.state == "closed").outcome is Outcome.INVALID


@pytest.mark.parametrize(
    ("name", "refused", "corrections"),
    [
        # a term of 1996 without a first day, in place of which the day of issue stands; six later ones wait for it
        ("chicago", 7, {"LICENSE TERM START DATE": "11/16/1995", "LICENSE TERM EXPIRATION DATE": "11/15/1996"}),
        ("new-york", 1, {"License Expiration Date": "12/15/2099"}),
    ],
)
def test_the_refused_row_of_a_city_is_corrected_in_its_file_and_taken(
    city: Callable[[str], City], tmp_path: Path, name: str, refused: int, corrections: dict[str, str]
) -> None:
    made = city(name)
    first = made.run(hold_back=True)
    assert (first.refused, first.issued) == (refused, first.rows - refused)
    assert first.refused_file is not None
    with first.refused_file.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    reason = header.index("chopmark_reason")
    corrected = [
        row
        if row[reason].startswith("held back")
        else [corrections.get(column, cell) for column, cell in zip(header, row, strict=True)]
        for row in rows
    ]
    with (tmp_path / "corrected.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *corrected])
    second = made.run(tmp_path / "corrected.csv", hold_back=True)
    assert (second.issued, second.refused, second.refused_file) == (refused, 0, None)
    assert made.run(tmp_path / "corrected.csv").unchanged == refused


def test_no_name_or_address_of_a_licence_enters_the_log_or_what_is_published(city: Callable[[str], City]) -> None:
    chicago = city("chicago")
    chicago.run()
    chicago.region.publish()
    with chicago.region.database.reading() as connection:
        sent = b"".join(connection.execute(select(OUTBOX.c.entry)).scalars())
    for folder in (chicago.region.settings.public, chicago.region.settings.log / "public"):
        sent += b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for text in (b"CHICAGO AVE", b"BEMIS LESTER", b"263672"):
        assert text in chicago.file.read_bytes()
        assert text not in sent
