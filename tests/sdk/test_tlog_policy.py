from __future__ import annotations

import base64
from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.cosignature import Cosigner
from chopmark.errors import FormatError, KeyMaterialError, LimitError, QuorumError, SignatureError, UnsupportedError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import Note, NoteSignature, NoteSigner, sign_note
from chopmark.tlog_policy import DEFINITIONS, POLICY_SIZE, PolicyLog, TlogPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

LOG = NoteSigner("cn-gd.example/log/2026", Ed25519Signer(b"l" * 32))
OTHER_LOG = NoteSigner("cn-gd.example/log/2025", Ed25519Signer(b"o" * 32))
CHECKPOINT = Checkpoint(LOG.name, 5000, b"r" * 32)
NOW = 1_795_000_000


@cache
def witness(number: int) -> Cosigner:
    return Cosigner(f"w{number}.example/witness", Ed25519Signer(bytes([number]) * 32))


def policy(*lines: str, witnesses: int = 6) -> TlogPolicy:
    head = [f"log {LOG.vkey}", *(f"witness w{each} {witness(each).vkey}" for each in range(1, witnesses + 1))]
    return TlogPolicy.parse("".join(line + "\n" for line in (*head, *lines)))


def cosigned(times: dict[int, int], checkpoint: Checkpoint = CHECKPOINT) -> SignedCheckpoint:
    """The checkpoint with cosignatures of witnesses, by their number, at so many seconds after NOW."""
    lines = (witness(number).cosign(checkpoint, NOW + after) for number, after in times.items())
    return SignedCheckpoint.sign(checkpoint, [LOG]).with_signature(*lines)


def time_of(rules: TlogPolicy, times: dict[int, int]) -> int:
    return rules.check(cosigned(times)).time - NOW


TWO_OF_THREE = policy("group q 2 w1 w2 w3", "quorum q")


def test_a_checkpoint_with_its_log_and_a_quorum_passes() -> None:
    witnessed = TWO_OF_THREE.check(cosigned({1: 5, 3: 9}))
    assert witnessed.checkpoint == CHECKPOINT
    assert witnessed.times == (NOW + 5, NOW + 9)
    assert witnessed.time == NOW + 9


def test_a_checkpoint_is_taken_as_bytes_text_note_or_signed_checkpoint() -> None:
    signed = cosigned({1: 5, 3: 9})
    expected = TWO_OF_THREE.check(signed)
    for form in (signed.encode(), signed.encode().decode(), signed.note):
        assert TWO_OF_THREE.check(form) == expected


def test_too_few_witnesses_are_no_quorum() -> None:
    for times in ({}, {1: 5}, {4: 1, 5: 2, 6: 3}, {1: 5, 4: 6}):
        with pytest.raises(QuorumError):
            TWO_OF_THREE.check(cosigned(times))


def test_one_witness_that_cosigns_twice_counts_once() -> None:
    signed = cosigned({1: 5}).with_signature(witness(1).cosign(CHECKPOINT, NOW + 6))
    with pytest.raises(QuorumError):
        TWO_OF_THREE.check(signed)


def test_of_several_cosignatures_by_one_witness_the_earliest_counts() -> None:
    for first, second in ((30, 10), (10, 30)):
        signed = cosigned({1: first, 2: 5}).with_signature(witness(1).cosign(CHECKPOINT, NOW + second))
        assert TWO_OF_THREE.check(signed).times == (NOW + 5, NOW + 10)


def test_without_a_signature_of_its_log_a_checkpoint_is_refused() -> None:
    lines = [witness(number).cosign(CHECKPOINT, NOW) for number in (1, 2, 3)]
    by_other = sign_note(CHECKPOINT.body(), [OTHER_LOG]).with_signature(*lines)
    with pytest.raises(SignatureError, match="log of the policy"):
        TWO_OF_THREE.check(by_other)


def test_a_log_cannot_sign_for_the_origin_of_another() -> None:
    rules = TlogPolicy.parse(f"log {OTHER_LOG.vkey}\n" + TWO_OF_THREE.encode().decode())
    lines = [witness(number).cosign(CHECKPOINT, NOW) for number in (1, 2, 3)]
    assert rules.check(sign_note(CHECKPOINT.body(), [LOG]).with_signature(*lines)).time == NOW
    with pytest.raises(SignatureError, match="log of the policy"):
        rules.check(sign_note(CHECKPOINT.body(), [OTHER_LOG]).with_signature(*lines))


def test_unknown_keys_are_ignored() -> None:
    unknown = NoteSignature("stranger.example", b"\1\2\3\4", b"rubbish")
    same_name = NoteSignature(witness(2).name, b"\1\2\3\4", b"rubbish")
    signed = cosigned({1: 0, 2: 0, 9: 0}).with_signature(unknown, same_name)
    assert TWO_OF_THREE.check(signed).time == NOW


@pytest.mark.parametrize("bad", ["log", "witness", "witness outside the quorum"])
def test_a_known_key_with_a_bad_signature_fails_the_note(bad: str) -> None:
    key = {
        "log": LOG.verifier,
        "witness": witness(3).verifier.note_verifier,
        "witness outside the quorum": witness(6).verifier.note_verifier,
    }[bad]
    signed = cosigned({1: 0, 2: 0}).with_signature(NoteSignature(key.name, key.key_id, bytes(72)))
    with pytest.raises(SignatureError, match="known key"):
        TWO_OF_THREE.check(signed)


def test_a_cosignature_of_another_checkpoint_fails_the_note() -> None:
    line = witness(3).cosign(replace(CHECKPOINT, size=4999), NOW)
    with pytest.raises(SignatureError):
        TWO_OF_THREE.check(cosigned({1: 0, 2: 0}).with_signature(line))


def test_a_policy_without_quorum_gives_no_witnessed_time() -> None:
    rules = policy("quorum none")
    assert rules.is_none
    assert not TWO_OF_THREE.is_none
    with pytest.raises(QuorumError, match="no witness"):
        rules.check(cosigned({1: 0, 2: 0, 3: 0}))


def test_a_policy_without_logs_takes_them_from_elsewhere() -> None:
    rules = TlogPolicy.parse(f"witness w1 {witness(1).vkey}\nquorum w1\n")
    with pytest.raises(SignatureError):
        rules.check(cosigned({1: 0}))
    assert rules.with_logs([PolicyLog(LOG.verifier)]).check(cosigned({1: 0})).time == NOW


def test_the_time_is_the_kth_smallest_of_the_operators() -> None:
    assert time_of(TWO_OF_THREE, {1: 30, 2: 10, 3: 20}) == 20
    assert time_of(policy("group q 3 w1 w2 w3 w4", "quorum q"), {1: 30, 2: 10, 3: 20, 4: 40}) == 30
    assert time_of(policy("group q all w1 w2", "quorum q"), {1: 30, 2: 10}) == 30
    assert time_of(policy("group q any w1 w2", "quorum q"), {1: 30, 2: 10}) == 10
    assert time_of(policy("quorum w2"), {1: 5, 2: 10}) == 10


def test_an_operator_of_several_keys_counts_once_at_its_earliest_time() -> None:
    rules = policy("group R1 any w1 w2", "group R2 any w3 w4", "group R3 any w5", "group q 2 R1 R2 R3", "quorum q")
    assert time_of(rules, {1: 30, 2: 10, 3: 40, 4: 50}) == 40
    assert time_of(rules, {1: 30, 2: 10, 3: 40, 5: 20}) == 20
    with pytest.raises(QuorumError):
        rules.check(cosigned({1: 30, 2: 10}))


def test_two_of_three_peers_and_one_independent() -> None:
    rules = policy("group peers 2 w1 w2 w3", "group q all peers w4", "quorum q")
    assert time_of(rules, {1: 30, 2: 10, 3: 20, 4: 5}) == 20
    assert time_of(rules, {1: 30, 2: 10, 3: 20, 4: 25}) == 25
    for times in ({1: 0, 2: 0, 3: 0}, {1: 0, 4: 0}):
        with pytest.raises(QuorumError):
            rules.check(cosigned(times))


@settings(max_examples=60, deadline=None)
@given(
    k=st.integers(2, 5),
    absent=st.integers(0, 3),
    honest=st.lists(st.integers(0, 500), min_size=5, max_size=5),
    lies=st.lists(st.integers(-500, 500), min_size=4, max_size=4),
)
def test_fewer_liars_than_the_quorum_cannot_date_back(k: int, absent: int, honest: list[int], lies: list[int]) -> None:
    # An entry logged at NOW; k − 1 liars and just enough honest operators, which cosign at NOW or later.
    count = min(k + absent, 5)
    rules = policy(f"group q {k} " + " ".join(f"w{each}" for each in range(1, count + 1)), "quorum q")
    times = {number: lies[number - 1] for number in range(1, k)} | dict.fromkeys(range(k, count + 1), honest[0])
    assert time_of(rules, times) >= 0


@settings(max_examples=60, deadline=None)
@given(times=st.dictionaries(st.integers(1, 6), st.integers(0, 50)), threshold=st.integers(1, 3))
def test_the_time_is_the_earliest_at_which_the_quorum_was_met(times: dict[int, int], threshold: int) -> None:
    rules = policy("group a 2 w1 w2 w3", "group b any w4 w5", f"group q {threshold} a b w6", "quorum q")

    def met(seen: set[int]) -> bool:
        return sum((len(seen & {1, 2, 3}) >= 2, bool(seen & {4, 5}), 6 in seen)) >= threshold

    moments = [at for at in sorted(times.values()) if met({each for each in times if times[each] <= at})]
    if moments:
        assert time_of(rules, times) == moments[0]
    else:
        with pytest.raises(QuorumError):
            rules.check(cosigned(times))


def test_spaces_tabs_comments_empty_lines_and_urls_are_read() -> None:
    text = (
        "# 示例 policy\n\n \t \n"
        f"\t log\t {LOG.vkey}  https://cn-gd.example/log \n"
        f"witness 甲 {witness(1).vkey}\thttps://w1.example/\n"
        "  # quorum none\n"
        f"witness K {witness(2).vkey}\n"
        f"witness \u212a {witness(3).vkey}\n"
        "group q 2 甲 K \u212a\nquorum q\t\n"
        f"log {OTHER_LOG.vkey}\n"
    )
    rules = TlogPolicy.parse(text)
    assert rules == TlogPolicy.parse(text.encode())
    assert [(log.origin, log.url) for log in rules.logs] == [
        (LOG.name, "https://cn-gd.example/log"),
        (OTHER_LOG.name, None),
    ]
    assert [each.name for each in rules.witnesses] == ["甲", "K", "\u212a"]
    assert rules.witnesses[0].url == "https://w1.example/"
    assert rules.groups[0].threshold == 2
    assert rules.quorum == "q"


def test_names_are_octets_and_need_not_be_utf8() -> None:
    encoded = b"witness \xff\xfe %b\nquorum \xff\xfe\n" % witness(1).vkey.encode()
    rules = TlogPolicy.parse(encoded)
    assert rules.encode() == encoded
    assert rules.with_logs([PolicyLog(LOG.verifier)]).check(cosigned({1: 7})).time == NOW + 7


def test_a_policy_survives_writing_and_reading() -> None:
    rules = policy("group R1 any w1 w2", "group q 2 R1 w3 w4", "quorum q")
    assert TlogPolicy.parse(rules.encode()) == rules
    assert b"group q 2 R1 w3 w4\n" in rules.encode()


def test_the_quorum_may_stand_before_what_it_does_not_need() -> None:
    assert TlogPolicy.parse(f"quorum none\nwitness w1 {witness(1).vkey}\n").is_none


def typed_vkey(kind: int) -> str:
    typed = bytes([kind]) + witness(1).verifier.public_key.raw
    return f"n+{sha256(b'n' + bytes([10]) + typed).hexdigest()[:8]}+{base64.b64encode(typed).decode()}"


W1, W2 = f"witness w1 {witness(1).vkey}\n", f"witness w2 {witness(2).vkey}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "newline"),
        ("\n", "no quorum"),
        ("# nothing\n", "no quorum"),
        ("quorum none", "newline"),
        ("quorum none\nquorum none\n", "second quorum"),
        ("quorum\n", "form"),
        ("quorum a b\n", "form"),
        ("quorum w1\n", "not defined"),
        (f"quorum w1\n{W1}", "not defined"),
        ("Quorum none\n", "does not begin"),
        ("quorum none\r\n", "control"),
        ("quorum none\0\n", "control"),
        ("quorum none\x7f\n", "control"),
        ("quorum\x0bnone\n", "control"),
        ("log\nquorum none\n", "form"),
        (f"log {LOG.vkey} url more\nquorum none\n", "form"),
        ("log vkey\nquorum none\n", "form"),
        (f"log {witness(1).vkey}\nquorum none\n", "type 0x01"),
        (f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none\n", "another one"),
        (f"log {LOG.vkey}\nlog {NoteSigner('n', Ed25519Signer(b'l' * 32)).vkey}\nquorum none\n", "another one"),
        ("witness w1\nquorum none\n", "form"),
        (f"witness w1 {LOG.vkey}\nquorum none\n", "type 0x04"),
        (f"witness none {witness(1).vkey}\nquorum none\n", "taken"),
        (f"{W1}{W1}quorum w1\n", "another one"),
        (f"{W1}witness w1 {witness(2).vkey}\nquorum w1\n", "taken"),
        (f"{W1}witness w2 {Cosigner('n', Ed25519Signer(bytes([1]) * 32)).vkey}\nquorum w1\n", "another one"),
        (f"{W1}group w1 any w1\nquorum w1\n", "taken"),
        (f"{W1}group none any w1\nquorum w1\n", "taken"),
        (f"{W1}group g any\nquorum w1\n", "form"),
        (f"{W1}group g any w2\nquorum w1\n", "not defined"),
        (f"{W1}group g any g\nquorum w1\n", "not defined"),
        (f"{W1}group g any none\nquorum w1\n", "not defined"),
        (f"{W1}group g any w2\n{W2}quorum w1\n", "not defined"),
        (f"{W1}{W2}group g any w1 w1\nquorum g\n", "twice"),
        (f"{W1}{W2}group g any w1\ngroup h any g w1\nquorum h\n", "twice"),
        (f"{W1}{W2}group g 0 w1 w2\nquorum g\n", "at least one"),
        (f"{W1}{W2}group g 3 w1 w2\nquorum g\n", "above 2"),
        (f"{W1}{W2}group g 01 w1 w2\nquorum g\n", "decimal"),
        (f"{W1}{W2}group g +1 w1 w2\nquorum g\n", "decimal"),
        (f"{W1}{W2}group g ANY w1 w2\nquorum g\n", "decimal"),
        (f"{W1}{W2}group g -1 w1 w2\nquorum g\n", "decimal"),
        ("quorum \ud800\n", "surrogates"),
        ("log \udcff+00000000+AA==\nquorum none\n", "surrogates"),
    ],
)
def test_a_malformed_policy_is_refused(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        TlogPolicy.parse(text)


def test_a_refusal_names_the_line() -> None:
    with pytest.raises(FormatError) as caught:
        TlogPolicy.parse(f"{W1}\nwitness w2 rubbish\nquorum w1\n")
    assert caught.value.where.startswith("policy, line 3")


def test_a_key_of_another_signature_type_is_unsupported() -> None:
    for line in (f"log {typed_vkey(5)}", f"witness w {typed_vkey(2)}", f"witness w {typed_vkey(255)}"):
        with pytest.raises(UnsupportedError):
            TlogPolicy.parse(f"{line}\nquorum none\n")


def test_a_vkey_that_holds_no_key_is_refused() -> None:
    typed = b"\x04" + bytes(32)
    vkey = f"n+{sha256(b'n' + bytes([10]) + typed).hexdigest()[:8]}+{base64.b64encode(typed).decode()}"
    with pytest.raises(KeyMaterialError):
        TlogPolicy.parse(f"witness w {vkey}\nquorum none\n")


def test_too_large_a_policy_is_refused_and_a_large_one_is_not() -> None:
    with pytest.raises(LimitError):
        TlogPolicy.parse("#" * POLICY_SIZE + "\n")
    names = [f"w{number}" for number in range(1, DEFINITIONS + 1)]
    lines = [f"witness w{each} {witness(each).vkey}\n" for each in range(1, DEFINITIONS + 1)]
    text = "".join(lines) + f"group q all {' '.join(names)}\nquorum q\n"
    assert len(TlogPolicy.parse(text).witnesses) == DEFINITIONS
    with pytest.raises(LimitError):
        TlogPolicy.parse(text + f"witness more {witness(200).vkey}\n")


@settings(max_examples=100)
@given(st.data())
def test_a_changed_policy_is_refused_or_read_as_it_stands(data: st.DataObject) -> None:
    rules = policy("group q 2 w1 w2", "quorum q", witnesses=2)
    encoded = bytearray(rules.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = TlogPolicy.parse(bytes(encoded))
    except (FormatError, KeyMaterialError):
        return
    assert TlogPolicy.parse(changed.encode()) == changed


def pq_witness(number: int) -> Cosigner:
    return Cosigner(f"w{number}.example/witness", pq_key(number))


@cache
def pq_key(number: int) -> MlDsa44Signer:
    return MlDsa44Signer(bytes([number]) * 32)


PQ_LOG = Cosigner(LOG.name, MlDsa44Signer(b"l" * 32))
BOTH_KEYS = (
    f"log {LOG.vkey}\nlog {PQ_LOG.vkey}\n"
    + "".join(f"witness e{each} {witness(each).vkey}\nwitness q{each} {pq_witness(each).vkey}\n" for each in (1, 2))
    + "group R1 any e1 q1\ngroup R2 any e2 q2\ngroup peers 2 R1 R2\nquorum peers\n"
)


def signed_by(*signers: NoteSigner | Cosigner) -> SignedCheckpoint:
    lines = [
        each.sign(CHECKPOINT.body()) if isinstance(each, NoteSigner) else each.cosign(CHECKPOINT, NOW + 1)
        for each in signers
    ]
    return SignedCheckpoint.parse(Note(CHECKPOINT.body(), tuple(lines)).encode())


def test_the_two_keys_of_a_witness_in_one_group_are_one_vote() -> None:
    rules = TlogPolicy.parse(BOTH_KEYS)
    lines = [witness(1).cosign(CHECKPOINT, NOW + 7), pq_witness(1).cosign(CHECKPOINT, NOW + 5)]
    signed = signed_by(LOG, PQ_LOG).with_signature(*lines)
    with pytest.raises(QuorumError):
        rules.check(signed)
    for other, time in ((witness(2), 9), (pq_witness(2), 3)):
        witnessed = rules.check(signed.with_signature(other.cosign(CHECKPOINT, NOW + time)))
        assert witnessed.time == NOW + max(5, time)
        assert witnessed.times == tuple(sorted((NOW + 5, NOW + 7, NOW + time)))


def test_a_policy_with_both_kinds_of_keys_survives_writing_and_reading() -> None:
    rules = TlogPolicy.parse(BOTH_KEYS)
    assert TlogPolicy.parse(rules.encode()) == rules
    assert [each.verifier.note_verifier.type for each in rules.witnesses] == [4, 6, 4, 6]


def test_a_bad_line_of_either_key_fails_the_checkpoint() -> None:
    rules = TlogPolicy.parse(BOTH_KEYS)
    good = signed_by(LOG, PQ_LOG, witness(1), witness(2), pq_witness(1), pq_witness(2))
    assert rules.check(good).time == NOW + 1
    for signer in (PQ_LOG, witness(1), pq_witness(1)):
        line = signer.cosign(CHECKPOINT, NOW)
        bad = replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]))
        with pytest.raises(SignatureError, match="known key"):
            rules.check(good.with_signature(bad))


def test_where_the_policy_has_an_ed25519_key_of_the_log_its_line_is_required() -> None:
    rules = TlogPolicy.parse(BOTH_KEYS)
    witnesses = [witness(1), witness(2)]
    assert rules.check(signed_by(LOG, *witnesses)).time == NOW + 1
    with pytest.raises(SignatureError, match="ML-DSA-44 key of its log alone"):
        rules.check(signed_by(PQ_LOG, *witnesses))
    with pytest.raises(SignatureError, match="not signed by a log"):
        rules.check(signed_by(*witnesses))


def test_a_log_known_by_its_ml_dsa_44_key_alone_is_accepted_by_it() -> None:
    rules = TlogPolicy.parse(f"log {PQ_LOG.vkey}\n{W1}quorum w1\n")
    assert rules.check(signed_by(PQ_LOG, witness(1))).time == NOW + 1
    with pytest.raises(SignatureError):
        rules.check(signed_by(LOG, witness(1)))


def test_a_line_without_a_time_is_no_witness() -> None:
    rules = TlogPolicy.parse(f"log {LOG.vkey}\nwitness q {pq_witness(1).vkey}\nquorum q\n")
    subtree = pq_witness(1).cosign_subtree(CHECKPOINT.origin, 0, CHECKPOINT.size, CHECKPOINT.root)
    signed = signed_by(LOG).with_signature(subtree)
    with pytest.raises(QuorumError, match="0 of the 1"):
        rules.check(signed)
    assert rules.check(signed.with_signature(pq_witness(1).cosign(CHECKPOINT, NOW))).time == NOW


def test_a_log_that_signs_without_a_time_is_accepted() -> None:
    rules = TlogPolicy.parse(f"log {PQ_LOG.vkey}\n{W1}quorum w1\n")
    untimed = PQ_LOG.cosign_subtree(CHECKPOINT.origin, 0, CHECKPOINT.size, CHECKPOINT.root)
    assert rules.check(signed_by(witness(1)).with_signature(untimed)).times == (NOW + 1,)


def test_the_line_of_a_log_is_never_that_of_a_witness() -> None:
    for first, second in (
        (f"log {PQ_LOG.vkey}\n", f"witness w {PQ_LOG.vkey}\n"),
        (f"witness w {PQ_LOG.vkey}\n", f"log {PQ_LOG.vkey}\n"),
    ):
        with pytest.raises(FormatError, match="of a log and of a witness"):
            TlogPolicy.parse(f"{first}{second}quorum w\n")
    rules = TlogPolicy.parse(f"witness w {PQ_LOG.vkey}\nquorum w\n")
    with pytest.raises(FormatError, match="of a log and of a witness"):
        rules.with_logs([PolicyLog(PQ_LOG.verifier.note_verifier)])


def test_two_lines_with_one_ml_dsa_44_key_are_refused() -> None:
    other = Cosigner("n", pq_key(1))
    with pytest.raises(FormatError, match="another one"):
        TlogPolicy.parse(f"witness a {pq_witness(1).vkey}\nwitness b {other.vkey}\nquorum a\n")
    with pytest.raises(FormatError, match="another one"):
        TlogPolicy.parse(f"log {PQ_LOG.vkey}\nlog {PQ_LOG.vkey}\nquorum none\n")


def test_a_key_for_documents_is_none_of_a_log_or_witness() -> None:
    document = NoteSigner("n", pq_key(1)).vkey
    for line in (f"log {document}", f"witness w {document}"):
        with pytest.raises(FormatError, match="0xff"):
            TlogPolicy.parse(f"{line}\nquorum none\n")
