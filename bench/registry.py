"""The writing side, as information: entries that the log takes; and the codes of real licences, once imported.

These are those of the City of Chicago in `../shared/data`. Where that folder is absent they are left out.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from chopmark import qr_text
from chopmark.entries import CredentialEntry
from chopmark.key_file import ScryptCost
from chopmark.keys import Ed25519Signer
from chopmark.landmark import SPAN_MAX, LandmarkProof
from chopmark.licence_type import LocalisedText
from chopmark.qr_drawing import draw
from chopmark_issuer.importing.importing import Importer, ImportReport, Progress
from chopmark_issuer.licences.records import CREDENTIALS_OF_LICENCES, credentials
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.models import CREDENTIAL, LICENCE
from chopmark_ledger.batch import Client
from chopmark_ledger.client import init_witness
from chopmark_ledger.sequencing.log import Log
from sqlalchemy import func, select

from bench.codecs import random_bytes
from bench.qr import STATIC_REACH
from bench.report import Group, Table, answer
from bench.samples import HASH_SIZE, PATH_HASHES

REPOSITORY = Path(__file__).parents[1]
CHICAGO = REPOSITORY.parent / "shared" / "data" / "chicago-business-licences.csv"
EXAMPLE = REPOSITORY / "examples" / "chicago"
DEPARTMENT = "US-IL/CHICAGO-BACP"
AT = 1_480_600_000
"""2016-12-01, shortly after the file was made."""
COST = ScryptCost(n=2**10)
"""Cheap keys: opening them is no part of a rate."""
BATCH = 1_000
BATCHES = 30
LICENCES = 100


def measure(folder: Path) -> Group:
    """Measure the rate, and the codes of a hundred imported licences."""
    group = Group("The writing side")
    rates = Table(("what, for information", "rate"))
    rates.add(f"entries into the log, batches of {BATCH:,}, each durable before it is answered", _append_rate(folder))
    group.add(rates)
    if not CHICAGO.is_file():
        group.add("Codes of real licences are left out: ../shared/data is not here.")
        return group
    with city(folder) as region:
        import_file(region, CHICAGO)
        codes = _codes(region)
    versions = Counter(draw(text).version for text in codes)
    table = Table((f"codes of {len(codes)} Chicago licences, with a path of 10 hashes", "codes", "reach", "reached"))
    for number, count in sorted(versions.items()):
        table.add(f"version {number}-L", str(count), f"≤ {STATIC_REACH}-L", answer(number <= STATIC_REACH))
    group.add(table)
    group.add(
        f"The texts have {min(map(len, codes)):,} to {max(map(len, codes)):,} characters. Paths of ten hashes are put "
        "in place of the licences' own: the log of the import is smaller than 1,024 entries."
    )
    return group


def _append_rate(folder: Path) -> str:
    key = Ed25519Signer.generate()
    client = Client("bench", frozenset({DEPARTMENT}))
    batches = [
        [
            CredentialEntry(DEPARTMENT, random_bytes(f"entry {batch} {number}", HASH_SIZE)).encode()
            for number in range(BATCH)
        ]
        for batch in range(BATCHES)
    ]
    with Log.create(folder / "rate-log", origin="us-il.example/log", number=1, key=key, clock=lambda: AT) as log:
        started = time.perf_counter()
        for number, entries in enumerate(batches):
            log.append(client, number, entries)
        return f"{BATCH * BATCHES / (time.perf_counter() - started):,.0f} entries/s"


def city(folder: Path) -> Region:
    """A region whose one department may issue the licences of that file."""
    init_witness(folder / "witness", name="us-ca.example/witness", passphrase=b"bench", cost=COST)
    name = LocalisedText("芝加哥市", "City of Chicago")
    plan = RegionPlan("US-IL", name, (folder / "witness",))
    region = Region.create(Settings(folder / "city", b"bench", COST), plan, clock=lambda: AT)
    region.add_department(DEPARTMENT, name)
    licence_type = region.add_type((EXAMPLE / "business-licence.type.json").read_bytes())
    region.grant(DEPARTMENT, licence_type.type.id)
    return region


def import_file(region: Region, path: Path, progress: Progress = lambda *_: None) -> ImportReport:
    """Import a file of that form."""
    importer = Importer(region.database, region.keys, region.settings.imports, clock=region.clock)
    return importer.run(
        region.actor(DEPARTMENT),
        path,
        type_id="US-IL/business-licence",
        mapping_data=(EXAMPLE / "mapping.json").read_bytes(),
        progress=progress,
    )


def _codes(region: Region) -> list[str]:
    """The texts of the newest credential of each of the first licences, with paths of ten hashes."""
    newest = (
        select(func.max(CREDENTIAL.c.version_id))
        .select_from(CREDENTIALS_OF_LICENCES)
        .group_by(LICENCE.c.id)
        .order_by(LICENCE.c.id)
        .limit(LICENCES)
    )
    texts = []
    with region.database.reading() as connection:
        for place, version_id in enumerate(connection.scalars(newest).all()):
            credential = credentials(connection, version_id)[-1].credential
            path = random_bytes(f"path {place}", HASH_SIZE * PATH_HASHES)
            start = 1_000 * SPAN_MAX
            proof = LandmarkProof(1, start, start + SPAN_MAX, start + place, path)
            texts.append(qr_text.encode(credential.with_landmark_proof(proof).encode()))
    return texts
