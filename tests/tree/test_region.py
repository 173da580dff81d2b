"""A region as one process tree: ready, told what is wrong, stopped without a trace; and nothing of its holders is where
others look."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from examples.demo.licences import BUSINESS, FOOD_FIELDS, ORGANISATION
from examples.serve.first_requests import path
from tests.tree.served_region import ServedRegion, food, group, served_region, until

SERVICES = ("keys", "witness", "log", "issuer", "verifier")
PERSON = "示例持证人甲"
CITIZEN = "440100199001010007"
LICENCES = 30


@pytest.fixture
def region(tmp_path: Path) -> Iterator[ServedRegion]:
    with served_region(tmp_path / "gd") as made:
        yield made


def test_a_region_starts_says_where_it_answers_and_stops_without_a_trace(region: ServedRegion) -> None:
    for _ in range(2):
        region.start()
        until(lambda: "verifier" in (region.folder / f"stdout-{region.starts}").read_text())
        assert (region.folder / f"stdout-{region.starts}").read_text().split() == [
            *("issuer", region.issuer),
            *("log", region.log),
            *("witness", f"http://127.0.0.1:{region.port + 2}"),
            *("verifier", region.verifier),
        ]
        leaders = {name: region.leader(name) for name in SERVICES}
        assert all(group(leader) for leader in leaders.values())
        assert region.stop() == 0
        assert not any(group(leader) for leader in leaders.values())
        stopping = [line.get("service") for line in region.lines if line["event"] in ("closed", "stopped")]
        assert [name for name in stopping if name] == ["verifier", "issuer", "log", "keys"]
        assert not [line for line in region.lines if line["event"] in ("ended", "killed")]


def test_a_port_that_is_taken_is_told_in_one_line(region: ServedRegion) -> None:
    region.start()
    second = subprocess.run(
        [Path(sys.executable).with_name("chopmark"), "serve", "--data", region.data, "--without", "keys"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 3
    (told,) = [line for line in second.stderr.splitlines() if not line.startswith("{")]
    # The first of its four ports that answers is told; on a busy machine that need not be the first of all.
    ports = [region.port + place for place in range(4)]
    assert any(f"somebody answers at 127.0.0.1 port {port} already" in told for port in ports)
    assert region.is_running()
    assert region.stop() == 0


def test_the_web_process_holds_no_private_key_and_no_passphrase(region: ServedRegion) -> None:
    region.start(CHOPMARK_PASSPHRASE_FILE=str(region.folder / "passphrase"), CHOPMARK_PASSPHRASE="a word")
    secret = (region.folder / "passphrase").read_bytes().strip()
    for name in ("issuer", "verifier"):
        for pid in region.processes(name):
            told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            assert b"--passphrase" not in told
            assert b"CHOPMARK_PASSPHRASE" not in told
            assert secret not in told
    assert region.issue("one").status == 201, "it signs nevertheless"
    assert region.stop() == 0


def test_nothing_of_a_holder_is_in_the_log_in_what_is_published_or_in_what_is_said(region: ServedRegion) -> None:
    region.start("--log-level", "debug")
    fields = {**food()["fields"], "legal_representative": PERSON}
    holders = [{"name": PERSON, "code": CITIZEN, "code_kind": "111"}]
    numbers = []
    for place in range(LICENCES):
        told = {} if place % 2 else {"holders": holders}
        answer = region.issue(f"key-{place}", food(fields=fields, **told))
        assert answer.status == 201, answer.data
        numbers.append(answer.json()["number"])
    number = numbers[-1]
    refused = region.issue("key-0", food(fields={**fields, "items": PERSON}))
    assert refused.status >= 400
    for target in (f"{path(number)}", f"{path(number)}/history", "/licences"):
        assert region.ask("GET", target).status == 200
    for asked in ({"holder_name": PERSON}, {"holder_code": CITIZEN}):
        answer = region.ask("POST", "/licences/search", body=json.dumps(asked).encode(), headers=_act("search"))
        assert answer.json()["licences"]
    until(lambda: region.ask("GET", f"{path(number)}/credential").status == 200)
    credential = region.ask("GET", f"{path(number)}/credential").data
    until(lambda: region.verdict(credential)["outcome"] == "VALID")
    assert region.ask("POST", f"{path(number)}/revoke", body=b"{}", headers=_act("revoke")).status == 200
    assert region.stop() == 0

    open_to_others = [region.data / "log", region.data / "witness", region.data / "public", region.data / "trust"]
    files = [each for folder in open_to_others for each in folder.rglob("*") if each.is_file()]
    assert len(files) > 20
    for file in [*files, region.stderr]:
        found = traces(file.read_bytes())
        # Licence types are public, and so is the department; the words of a holder are not.
        assert not found, f"{file.relative_to(region.folder)}: {found}"
    assert traces((region.data / "registry.db").read_bytes()), "the search finds what is there"


def _act(key: str) -> dict[str, str]:
    return {"Content-Type": "application/json", "Idempotency-Key": key}


def traces(data: bytes) -> list[str]:
    """Which words about a holder are in the data, in any of the ways in which text is written down."""
    words = [PERSON, CITIZEN, BUSINESS, ORGANISATION, str(FOOD_FIELDS["premises"])]
    return [word for word in words if any(form in data for form in _written(word))]


def _written(word: str) -> list[bytes]:
    plain = word.encode("utf-8")
    digest = sha256(plain).digest()
    return [
        plain,
        word.encode("utf-16-le"),
        json.dumps(word)[1:-1].encode(),
        quote(word).encode(),
        plain.hex().encode(),
        base64.b64encode(plain)[:-4],
        digest,
        digest.hex().encode(),
    ]


def test_a_wrong_passphrase_is_told_in_a_sentence_before_anything_is_started(region: ServedRegion) -> None:
    wrong = region.folder / "wrong.passphrase"
    wrong.write_text("another one than that of the keys\n")
    for file, reason in ((wrong, "passphrase"), (region.folder / "nowhere", "cannot be read")):
        chopmark = Path(sys.executable).with_name("chopmark")
        command: list[str | Path] = [chopmark, "serve", "--data", region.data, "--passphrase-file", file]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 3, done.stderr
        (line,) = done.stderr.splitlines()
        assert reason in line
    assert not (region.data / "trust").exists(), "nothing is made"
