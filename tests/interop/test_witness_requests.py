"""Our witness, asked what a C2SP log may ask and what it had better not; witnesses of others are asked the same."""

from __future__ import annotations

import base64
import http.client
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from tests.interop import naive_log
from tests.interop.http_requests import Reply, send
from tests.interop.naive_log import NaiveLog, base64_text, request
from tests.interop.other_witnesses import WitnessServer
from tests.interop.our_side import our_witness, serve_witness
from tests.interop.outside_readers import verified_keys
from tests.interop.witness_cases import CASES, Case, log_named


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_request_gets_the_status_of_the_specification(witnesses: dict[str, WitnessServer], case: Case) -> None:
    for number, (body, status) in enumerate(case.steps):
        for name, witness in witnesses.items():
            wanted = case.others.get(name, {}).get(number, status)
            reply = send(f"{witness.url}/add-checkpoint", body)
            assert reply.status == wanted, f"{name}, request {number}: {reply.body!r}"


def test_a_conflict_names_the_size_held_in_the_type_of_the_specification(witnesses: dict[str, WitnessServer]) -> None:
    log = log_named("conflict")
    for name, witness in witnesses.items():
        assert send(f"{witness.url}/add-checkpoint", log.request(0, 5)).status == 200
        reply = send(f"{witness.url}/add-checkpoint", log.request(2, 9))
        assert reply == Reply(409, "text/x.tlog.size", b"5\n"), name


def test_its_cosignatures_are_lines_that_others_verify_below_the_checkpoint(
    witnesses: dict[str, WitnessServer],
) -> None:
    log, before = log_named("cosigned"), int(time.time())
    for name, witness in witnesses.items():
        reply = send(f"{witness.url}/add-checkpoint", log.request(0, 11))
        lines = reply.body.decode().splitlines(keepends=True)
        assert len(lines) == len(witness.vkeys), name
        assert all(line.startswith("— ") and line.endswith("\n") for line in lines)
        for line in lines:
            (dated,) = struct.unpack(">Q", base64.b64decode(line.split(" ")[2])[4:12])
            assert before <= dated <= time.time()
        types = {base64.b64decode(vkey.split("+", 2)[2])[0] for vkey in witness.vkeys}
        holder = witness.vkeys[0].split("+")[0]
        signed = log.checkpoint(11).encode() + reply.body
        assert verified_keys(signed, witness.vkeys) == {(holder, each) for each in types}
        assert verified_keys(log.checkpoint(12).encode() + reply.body, witness.vkeys) == set()


def test_our_witness_has_keys_of_both_types(witnesses: dict[str, WitnessServer]) -> None:
    types = [base64.b64decode(vkey.split("+", 2)[2])[0] for vkey in witnesses["ours"].vkeys]
    assert sorted(types) == [4, 6]


def test_a_monitor_finds_the_latest_checkpoint_with_the_lines_of_log_and_witness(
    witnesses: dict[str, WitnessServer],
) -> None:
    log = log_named("monitored")
    place = sha256(log.key.name.encode()).hexdigest()
    for name in ("ours", "aics-witness"):  # the other one serves no monitors
        witness = witnesses[name]
        assert send(f"{witness.url}/{place}/checkpoint").status == 404
        replies = [send(f"{witness.url}/add-checkpoint", log.request(*step)) for step in ((0, 2), (2, 6))]
        found = send(f"{witness.url}/{place}/checkpoint")
        assert found.status == 200
        assert found.content_type == "text/plain; charset=utf-8"
        text, _, lines = found.body.decode().partition("\n\n")
        assert text + "\n" == log.text(6)
        assert set(lines.splitlines(keepends=True)) == {
            log.key.line(log.text(6)),
            *replies[1].body.decode().splitlines(keepends=True),
        }


def test_several_requests_come_over_one_connection(witnesses: dict[str, WitnessServer]) -> None:
    log = log_named("one-connection")
    place = urlsplit(witnesses["ours"].url)
    connection = http.client.HTTPConnection(place.netloc, timeout=10)
    connection.connect()
    line = connection.sock
    for old, size in ((0, 1), (1, 2), (2, 20)):
        connection.request("POST", f"{place.path}/add-checkpoint", log.request(old, size))
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        assert connection.sock is line
    connection.close()


def test_only_post_asks_for_a_cosignature(witnesses: dict[str, WitnessServer]) -> None:
    assert send(f"{witnesses['ours'].url}/add-checkpoint").status == 405
    assert send(f"{witnesses['ours'].url}/sign-subtree").status == 405


def test_of_requests_that_race_from_one_size_just_one_is_cosigned(witnesses: dict[str, WitnessServer]) -> None:
    log, url = log_named("race"), f"{witnesses['ours'].url}/add-checkpoint"
    assert send(url, log.request(0, 3)).status == 200
    sizes = list(range(4, 20))
    with ThreadPoolExecutor(len(sizes)) as pool:
        replies = list(pool.map(lambda size: send(url, log.request(3, size)), sizes))
    (winner,) = (size for size, reply in zip(sizes, replies, strict=True) if reply.status == 200)
    losers = [reply for reply in replies if reply.status != 200]
    assert losers == [Reply(409, "text/x.tlog.size", b"%d\n" % winner)] * (len(sizes) - 1)


def test_what_it_answered_it_still_holds_after_it_was_killed(tmp_path: Path) -> None:
    log = log_named("restart")
    with our_witness(tmp_path / "witness", "cn-sh.example/killed", [log.key.vkey]) as witness:
        assert send(f"{witness.url}/add-checkpoint", log.request(0, 7)).status == 200
        witness.running.kill()
    with serve_witness(tmp_path / "witness") as again:
        assert send(f"{again.url}/add-checkpoint", log.request(0, 9)) == Reply(409, "text/x.tlog.size", b"7\n")
        assert send(f"{again.url}/add-checkpoint", log.request(7, 9)).status == 200


@pytest.fixture(scope="module")
def reference(witnesses: dict[str, WitnessServer]) -> str:
    """A checkpoint of 14 entries with the cosignatures of our witness."""
    log = log_named("subtrees")
    return log.text(14) + "\n" + send(f"{witnesses['ours'].url}/add-checkpoint", log.request(0, 14)).body.decode()


@pytest.mark.parametrize(("start", "end"), [(0, 14), (0, 8), (0, 6), (4, 8), (8, 13), (13, 14), (8, 14)])
def test_a_subtree_of_a_checkpoint_that_it_cosigned_is_signed_without_a_time(
    witnesses: dict[str, WitnessServer], reference: str, start: int, end: int
) -> None:
    log, ours = log_named("subtrees"), witnesses["ours"]
    reply = send(f"{ours.url}/sign-subtree", subtree_request(log, start, end, 14, reference))
    assert reply.status == 200
    (line,) = reply.body.decode().splitlines()
    _, name, text = line.split(" ")
    vkey = next(vkey for vkey in ours.vkeys if base64.b64decode(vkey.split("+", 2)[2])[0] == 6)
    blob = base64.b64decode(text)
    assert (name, blob[:4].hex()) == tuple(vkey.split("+")[:2])
    assert blob[4:12] == bytes(8)
    root = naive_log.tree_hash(log.leaves[start:end])
    signed = subtree_message(name, log.key.name, start, end, root)
    public = MLDSA44PublicKey.from_public_bytes(base64.b64decode(vkey.split("+", 2)[2])[1:])
    public.verify(blob[12:], signed)
    with pytest.raises(InvalidSignature):
        public.verify(blob[12:], subtree_message(name, log.key.name, start, end, bytes(32)))


def test_each_refusal_to_sign_a_subtree_has_the_status_of_the_specification(
    witnesses: dict[str, WitnessServer], reference: str
) -> None:
    log, url = log_named("subtrees"), f"{witnesses['ours'].url}/sign-subtree"
    good = subtree_request(log, 4, 8, 14, reference)
    stranger = NaiveLog(log.key, 14, b"another history")
    unknown = log_named("unheard-of", 14)
    refused = {
        400: [
            good.replace(b"subtree 4 8", b"subtree 4 9"),  # no subtree of anything
            good.replace(b"subtree 4 8", b"subtree 4 4"),
            good.replace(b"subtree 4 8", b"subtree 04 8"),
            good.replace(b"subtree 4 8", b"subtree 4"),
            subtree_request(log, 8, 16, 16, reference),  # beyond the checkpoint
            good.replace(b"\n\n", b"\n", 1),
            b"",
        ],
        422: [
            subtree_request(log, 4, 8, 14, reference, root=bytes(32)),
            subtree_request(log, 4, 8, 13, reference),
        ],
        403: [
            subtree_request(log, 4, 8, 14, log.checkpoint(14)),
            subtree_request(stranger, 4, 8, 14, stranger.checkpoint(14)),
        ],
        404: [subtree_request(unknown, 4, 8, 14, unknown.checkpoint(14))],
    }
    for status, bodies in refused.items():
        for number, body in enumerate(bodies):
            assert send(url, body).status == status, f"{status}, request {number}"


def subtree_request(
    log: NaiveLog, start: int, end: int, size: int, checkpoint: str, *, root: bytes | None = None
) -> bytes:
    """A sign-subtree request, with the proof from the tree of `size`."""
    root = root or naive_log.tree_hash(log.leaves[start:end])
    proof = naive_log.subtree_consistency(log.leaves[:size], start, end)
    return request(f"subtree {start} {end}", [base64_text(each) for each in (root, *proof)], checkpoint)


def subtree_message(cosigner: str, origin: str, start: int, end: int, root: bytes) -> bytes:
    """The cosigned_message of tlog-cosignature, without a time."""
    names = [bytes([len(name)]) + name.encode() for name in (cosigner, origin)]
    return b"subtree/v1\n\0" + names[0] + bytes(8) + names[1] + struct.pack(">QQ", start, end) + root
