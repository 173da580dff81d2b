from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import zxingcpp
from chopmark import cbor, cose, qr_text
from chopmark.challenge import create_challenge
from chopmark.cli.inputs import Input, read_input
from chopmark.cli.inspect import inspect, render
from chopmark.cli.labels import KINDS, LABELS, VALUES
from chopmark.cli.recognise import recognise
from chopmark.cosignature import Cosigner
from chopmark.credential import Credential, Usage
from chopmark.entries import TrustStatementEntry
from chopmark.errors import ChopmarkError, FormatError
from chopmark.key_file import ScryptCost, encrypt_key
from chopmark.keys import Ed25519Signer
from chopmark.landmark import LandmarkFile
from chopmark.note import NoteSigner, sign_note
from chopmark.presentation import present
from chopmark.tiles import encode_entry_bundle
from chopmark.verdict import Check, Outcome, Result, Verdict
from chopmark.verification_record import create_record
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from specs.vectors.sample_world import FOOD_DEPARTMENT, INSPECTOR, NOW, TYPES_FOLDER, SampleWorld, make_world

NUMBER = "1.2.156.3005.2.11100000000013338W032.11220000013544541J.2430599.001.F"
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
APP = typer.Typer()
APP.command()(inspect)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(APP, list(arguments), env={"LC_ALL": "C.UTF-8", "COLUMNS": "100"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def as_json(*arguments: str) -> list[dict[str, Any]]:
    code, out, err = run("--json", *arguments)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def world() -> SampleWorld:
    return make_world()


@pytest.fixture(scope="module")
def credentials(world: SampleWorld) -> dict[str, Credential]:
    food = world.issue(world.claims("food", usage=Usage("copy", "供示例平台备案", NOW, "electronic")))
    transport = world.issue(world.claims("transport", index=1))
    food, transport = world.logged(food, transport)
    return {"food": food, "transport": transport}


@pytest.fixture(scope="module")
def samples(world: SampleWorld, credentials: dict[str, Credential]) -> dict[str, tuple[str, bytes]]:
    """Name → kind and bytes of a file of it."""
    food, transport = credentials["food"], credentials["transport"]
    challenge = create_challenge(
        world.inspector_signer,
        inspector=INSPECTOR,
        purpose="工地入场核验",
        licence_type=transport.claims.licence_type,
        fields=[2, 4],
        at=NOW,
    )
    answer = present(transport, world.holder, at=NOW, challenge=challenge, disclose=[2])
    token, proof = world.peer.status_list(FOOD_DEPARTMENT, {3: 1, 4: 2, 5: 3}, at=NOW)
    log = world.peer.log
    bundle = world.home.bundle(at=NOW)
    verdict = Verdict(
        Outcome.INVALID, tuple(Check(n, Result.FAIL, "revoked", None, 5) for n in range(10)), NOW, credential=food
    )
    record = create_record(verdict, world.inspector_signer, inspector=INSPECTOR, purpose="年度检查", at=NOW)
    statement = sign_note("issuer CN-GD/1 suspended\nfrom today\n", world.home.root_signers[:1]).encode()
    key_file = encrypt_key(Ed25519Signer(bytes(32)), b"passphrase", cost=ScryptCost(n=2**10))
    return {
        "food.el1": ("credential", qr_text.encode(food.encode()).encode()),
        "transport.cbor": ("credential", transport.with_tlog_proof(log.tlog_proof(2, at=NOW)).encode()),
        "answer.el1": ("presentation", qr_text.encode(answer.encode()).encode()),
        "answer.cbor": ("presentation", answer.encode()),
        "fresh.cbor": ("presentation", present(transport, world.holder, at=NOW).encode()),
        "challenge.txt": ("challenge", challenge.text().encode()),
        "challenge.cbor": ("challenge", challenge.encode()),
        "list": ("status-list", token),
        "list.tlog-proof": ("tlog-proof", proof),
        "bundle.note": ("trust-bundle", bundle),
        "1.note": ("root-epoch", world.home.root_epoch),
        "checkpoint": ("checkpoint", log.checkpoint(at=NOW)),
        "checkpoint.body": ("checkpoint", log.checkpoint(at=NOW).partition(b"\n\n")[0] + b"\n"),
        "statement.note": ("note", statement),
        "policy": ("tlog-policy", ("# who counts\n\n" + log.policy_text).encode()),
        "1.landmarks": ("landmark-file", log.landmark_file.encode()),
        "empty.landmarks": ("landmark-file", LandmarkFile.empty(7).encode()),
        "genesis": ("log-entry", log.entries[0]),
        "credential entry": ("log-entry", log.entries[1]),
        "trust statement": ("log-entry", cbor.encode([3, statement])),
        "bundle entry": ("log-entry", cbor.encode([4, "CN-GD", 3, bytes(32)])),
        "landmark entry": ("log-entry", cbor.encode([5, log.origin, 3, bytes(32)])),
        "tile": ("entry-bundle", encode_entry_bundle(log.entries)),
        "record.jwt": ("verification-record", record.encode()),
        "issuer.key": ("key-file", key_file),
        "type.json": ("document", (TYPES_FOLDER / "food-business.json").read_bytes()),
        "number": ("licence-number", NUMBER.encode()),
        "organisation": ("organisation-code", b"11100000000013338W\n"),
        "log.vkey": ("vkey", log.signer.vkey.encode() + b"\n"),
        "witness.vkey": ("vkey", Cosigner("w.example", Ed25519Signer(bytes(32))).vkey.encode()),
    }


@pytest.fixture(scope="module")
def folder(samples: dict[str, tuple[str, bytes]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples")
    for number, (_, data) in enumerate(samples.values()):
        (path / str(number)).write_bytes(data)
    return path


def test_every_object_is_recognised_by_its_content(samples: dict[str, tuple[str, bytes]], folder: Path) -> None:
    shown = as_json(*(str(folder / str(number)) for number in range(len(samples))))
    assert {name: each["kind"] for name, each in zip(samples, shown, strict=True)} == {
        name: kind for name, (kind, _) in samples.items()
    }
    assert {each["verified"] for each in shown} == {False}


def test_every_kind_has_a_sample(samples: dict[str, tuple[str, bytes]]) -> None:
    assert {kind for kind, _ in samples.values()} == set(KINDS)


@pytest.mark.parametrize(("language", "words"), [("zh", "未验证"), ("en", "not verified")])
def test_the_output_says_plainly_that_nothing_is_verified(
    samples: dict[str, tuple[str, bytes]], folder: Path, language: str, words: str
) -> None:
    for number in range(len(samples)):
        code, out, err = run("--lang", language, str(folder / str(number)))
        assert (code, err) == (0, "")
        assert out.count(words) == 1


def names_in(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if not isinstance(value, dict) or value.keys() == {"zh-Hans", "en"}:
        return set()
    return set(value).union(*map(names_in, value.values()))


def test_every_member_has_a_label_in_both_languages(samples: dict[str, tuple[str, bytes]], folder: Path) -> None:
    shown = as_json(*(str(folder / str(number)) for number in range(len(samples))))
    names = set().union(*(names_in(each["content"]) | names_in(each.get("carried_by")) for each in shown))
    field_ids = {name for name in names if name.isdigit()}
    regions = {"CN-GD", "CN-SH"}
    assert names - field_ids - regions - LABELS.keys() - KINDS.keys() == set()
    for pair in (*KINDS.values(), *LABELS.values(), *VALUES.values()):
        assert all(pair)


def shown_content(samples: dict[str, tuple[str, bytes]], name: str) -> dict[str, Any]:
    data = samples[name][1]
    text = data.decode() if data.startswith((b"EL", b"EC")) else None
    return recognise(Input(name, text, data)).content


def test_a_credential_shows_what_it_discloses_and_that_more_is_hidden(samples: dict[str, tuple[str, bytes]]) -> None:
    content = shown_content(samples, "answer.cbor")["credential"]
    assert content["form"] == "holder-bound"
    assert content["fields"]["1"] == "示例持证人"
    assert content["fields"]["2"] == "440100199001010000"
    assert content["disclosed_fields"] == [2]
    assert content["hidden"] == 2
    assert "3" not in content["fields"]
    assert content["disclosure_problem"] is None


def test_a_disclosure_that_nobody_signed_is_told(world: SampleWorld, credentials: dict[str, Credential]) -> None:
    other = world.issue(world.claims("transport", index=9))
    unprotected = {
        **credentials["transport"].sign1.unprotected,
        cose.SD_CLAIMS: other.sign1.unprotected[cose.SD_CLAIMS],
    }
    message = cose.sign1(
        Ed25519Signer(bytes(32)),
        protected={k: v for k, v in other.sign1.protected_map.items() if k != cose.ALG},
        payload=credentials["transport"].sign1.payload,
        unprotected=unprotected,
    )
    content = recognise(Input("x", None, message.encode())).content
    assert "signed no digest" in content["disclosure_problem"]
    assert "2" not in content["fields"]


def test_a_code_says_how_large_it_is(samples: dict[str, tuple[str, bytes]], folder: Path) -> None:
    text = samples["food.el1"][1].decode()
    shown = as_json(text)[0]
    assert shown["carried_by"] == {"form": "EL1", "characters": len(text), "bytes": len(qr_text.decode(text))}
    assert shown["content"]["usage"]["purpose"] == "供示例平台备案"


def test_a_picture_of_a_code_is_read(samples: dict[str, tuple[str, bytes]], tmp_path: Path) -> None:
    for text, kind in ((samples["challenge.txt"][1].decode(), "challenge"), (NUMBER, "licence-number")):
        path = tmp_path / "picture.png"
        code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode).to_image(scale=4)
        Image.fromarray(code).save(path)
        assert as_json(str(path))[0]["kind"] == kind


def test_a_status_list_counts_its_entries(samples: dict[str, tuple[str, bytes]]) -> None:
    content = shown_content(samples, "list")
    assert content["entries"] == 4096
    assert content["statuses"] == {"valid": 4093, "invalid": 1, "suspended": 1, "superseded": 1}


def test_a_cosignature_shows_the_time_that_it_claims(samples: dict[str, tuple[str, bytes]]) -> None:
    log_line, witness_line = shown_content(samples, "checkpoint")["signatures"]
    assert log_line["time"] is None
    assert witness_line["time"] == "2026-11-22T09:30:00Z"


def test_a_time_beyond_the_calendar_is_shown_as_a_number(world: SampleWorld) -> None:
    note = world.peer.log.checkpoint(at=2**63 - 1)
    content = recognise(Input("x", None, note)).content
    assert content["signatures"][1]["time"] == f"{2**63 - 1} s"


def test_a_key_file_shows_its_public_half_only(samples: dict[str, tuple[str, bytes]]) -> None:
    content = shown_content(samples, "issuer.key")
    assert content["public_key"] == Ed25519Signer(bytes(32)).public_key.to_json()
    assert "cipher" not in json.dumps(content)


def test_a_record_shows_every_check(samples: dict[str, tuple[str, bytes]], tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(samples["record.jwt"][1])
    out = run("--lang", "zh", str(path))[1]
    assert out.count("已被撤销或吊销") == 10
    assert "年度检查" in out


def test_a_root_epoch_with_too_few_signatures_is_shown_all_the_same(world: SampleWorld) -> None:
    text = world.home.root_epoch.decode().rpartition("\n— ")[0] + "\n"
    assert recognise(Input("x", None, text.encode())).kind == "root-epoch"


@pytest.mark.parametrize("argument", [NUMBER, VKEY, "11100000000013338W"])
def test_numbers_and_keys_are_taken_from_the_command_line(
    argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert as_json(argument)[0]["input"] == argument
    (tmp_path / argument.replace("/", "_")).write_bytes(b"11100000000013338W")
    if "/" not in argument:
        assert as_json(argument)[0]["kind"] == "organisation-code"


def test_a_lenient_number_shows_its_warnings() -> None:
    content = as_json("1.2.156.3005.2.11100000000013338W032.110000.2430599.001.8")[0]["content"]
    assert content["issuer_code"] == "110000"
    assert "area code" in content["warnings"][0]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"hello world\n", "a text of 12 characters that is nothing of ours"),
        (b"%PDF-1.7\n\x00\xff", "beginning with 25 50 44 46"),
        (b"{}", "no format of Chopmark"),
        (b'{"format": 5}', "no format of Chopmark"),
        (b'{"format": "chopmark/x", "a": 1, "a": 2}', "stands twice"),
        (b'{"format": "chopmark/x", "a": ' + b"[" * 20 + b"]" * 20 + b"}", "nested more than 16"),
        (b'{"a": ' + b"[" * 5000, "nested too deeply"),
        (b"\xd2\x84\x43\xa1\x01\x32\xa0\x40\x40", "none of ours"),
        (b"\xd2\x84", "COSE_Sign1, byte 0"),
        (b"\x83\x09\x00\x00", "kind 9 is not known"),
        (b"\x80", "begins with its kind"),
        (b"chopmark\x00\x02\x00\x01\x00\x00\x00\x01", "version 2"),
        (b"c2sp.org/tlog-proof@v2\nindex 1\n\nx\n", "tlog-proof"),
        (b"text\n\n\xe2\x80\x94 name !!\n", "base64"),
        (b"log x\n", "policy, line 1"),
        (b"origin\n5\nAAAA\n", "checkpoint, line 3"),
        (b"EL9:ABC", "Update this program"),
        (b"EL1:abc", "base45"),
        (b"EC1:ABC", "challenge"),
        (b"1.2.156.3005.2.X", "licence number"),
        (b"11100000000013338X", "check character"),
        (b"eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "verification-record"),
        (b"name+00000000+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "key id"),
        (b"\x00\x04\x83\x01\x02\x03\x00", "nothing of ours"),
    ],
)
def test_what_is_nothing_of_ours_exits_3_and_says_so(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    code, out, err = run(str(path))
    assert (code, out) == (3, "")
    assert problem in err
    assert str(path) in err


def test_one_bad_input_does_not_keep_the_others_from_being_shown() -> None:
    code, out, err = run("--json", "no-such-file", NUMBER)
    assert code == 3
    assert json.loads(out)["kind"] == "licence-number"
    assert "no-such-file" in err


def test_text_between_colons_stays_text() -> None:
    assert "EL1:abc:" in run("EL1:abc:")[2]


def test_what_a_stranger_wrote_cannot_move_the_cursor(world: SampleWorld, tmp_path: Path) -> None:
    claims = world.claims("food", fields={1: "\x1b[2J\x9b2J\u202eevil", 2: ["\x07"], 3: {"\x1b": b"\x1b"}})
    path = tmp_path / "file"
    path.write_bytes(world.issue(claims).encode())
    for arguments in ((str(path),), ("--json", str(path))):
        code, out, _ = run(*arguments)
        assert code == 0
        assert all(character.isprintable() or character == "\n" for character in out)
    note = tmp_path / "note"
    note.write_bytes(sign_note("a\x9bb\u202e\nc\n", [NoteSigner("n.example\x9b", Ed25519Signer(bytes(32)))]).encode())
    out = run(str(note))[1]
    assert "\\x9b" in out
    assert all(character.isprintable() or character == "\n" for character in out)


def test_square_brackets_are_text_and_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "file"
    checks = [{"number": "[/z]", "result": "[bold]", "message": "m"}]
    members = {"[/x]": "[/y]", "checks": checks, "[/w]": [{"[/v]": 1}]}
    path.write_text(json.dumps({"format": "chopmark/sample/v1", **members}))
    code, out, _ = run(str(path))
    assert code == 0
    assert all(text in out for text in ("[/x]", "[/y]", "[/z]", "[bold]", "[/w]", "[/v]"))


def test_colour_is_for_terminals_only(samples: dict[str, tuple[str, bytes]]) -> None:
    data = samples["1.landmarks"][1]
    panel = render(recognise(Input("x", None, data)), "en", title="x")
    for terminal in (False, True):
        output = Console(force_terminal=terminal, color_system="standard" if terminal else None, width=80)
        with output.capture() as captured:
            output.print(panel)
        assert ("\x1b[" in captured.get()) is terminal


def test_an_unknown_language_is_refused() -> None:
    result = CliRunner().invoke(APP, ["--lang", "fr", NUMBER])
    assert isinstance(result.exception, FormatError)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_object_is_shown_or_refused_by_name(
    samples: dict[str, tuple[str, bytes]], data: st.DataObject
) -> None:
    original = samples[data.draw(st.sampled_from(sorted(samples)))][1]
    position = data.draw(st.integers(0, len(original) - 1))
    inserted = data.draw(st.binary(max_size=4))
    removed = data.draw(st.integers(0, 4))
    damaged = original[:position] + inserted + original[position + removed :]
    if not damaged:
        return
    text = damaged.decode("utf-8", "replace") if damaged.startswith((b"EL1:", b"EC1:")) else None
    try:
        recognised = recognise(Input("x", text, damaged))
    except ChopmarkError:
        return
    json.dumps(recognised.content)
    with Console(width=80).capture():
        render(recognised, "zh", title="x")


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_recognised_or_refused_by_name(data: bytes) -> None:
    try:
        recognise(Input("x", None, data))
    except ChopmarkError as error:
        assert error.what  # noqa: PT017 - whatever is refused says why


def test_a_bundle_of_entries_that_holds_notes_is_a_bundle(tmp_path: Path) -> None:
    note = sign_note("statement\n", [NoteSigner("cn-gd.example/root/a", Ed25519Signer.generate())]).encode()
    (tmp_path / "bundle").write_bytes(encode_entry_bundle([TrustStatementEntry(note).encode()] * 2))
    found = recognise(read_input(str(tmp_path / "bundle")))
    assert (found.kind, found.content["size"]) == ("entry-bundle", 2)


@pytest.mark.parametrize("name", ["food.el1", "transport.cbor", "answer.cbor"])
def test_fields_of_a_known_type_have_their_names_and_dates(
    world: SampleWorld, samples: dict[str, tuple[str, bytes]], tmp_path: Path, name: str
) -> None:
    world.store(tmp_path / "trust", at=NOW).put_root(world.home.region, world.home.root_epoch, now=NOW)
    (tmp_path / name).write_bytes(samples[name][1])
    code, unnamed, _ = run(str(tmp_path / name), "--lang", "en")
    assert code == 0
    code, named, errors = run(str(tmp_path / name), "--lang", "en", "--trust", str(tmp_path / "trust"))
    assert (code, errors) == (0, "")
    assert re.search(r"field [0-9]", unnamed)
    assert not re.search(r"field [0-9]", named)
    assert re.search(r"20[0-9]{2}-[0-9]{2}-[0-9]{2} ", named)
    assert as_json(str(tmp_path / name)) == as_json(str(tmp_path / name), "--trust", str(tmp_path / "trust"))


def test_a_trust_store_that_was_named_and_is_none_is_told(
    samples: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    (tmp_path / "food.el1").write_bytes(samples["food.el1"][1])
    result = CliRunner().invoke(APP, [str(tmp_path / "food.el1"), "--trust", str(tmp_path / "none")])
    assert isinstance(result.exception, ChopmarkError)
