"""The signing process, and what asks it: the same keys behind a socket, and nothing that can be sent ends it."""

from __future__ import annotations

import errno
import gc
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from chopmark import cbor, cose
from chopmark.challenge import TYP as CHALLENGE
from chopmark.challenge import create_challenge
from chopmark.credential import Credential, Kind
from chopmark.errors import KeyMaterialError, LimitError, SignatureError, StorageError
from chopmark.key_file import write_key_file
from chopmark.keys import Algorithm, Ed25519Signer, Es256Signer, MlDsa44Signer, PublicKey
from chopmark.licence_type import LocalisedText
from chopmark.status import MEDIA_TYPE
from chopmark.strict import base64url_decode, base64url_encode
from chopmark.verification_record import TYPE as RECORD
from chopmark_issuer.errors import RefusedError, SigningProcessError
from chopmark_issuer.keys import signing_process
from chopmark_issuer.keys.key_provider import KeyProvider, open_keys
from chopmark_issuer.keys.keys import InventoryUse, KeyFolder, inventory, key_in_use
from chopmark_issuer.keys.remote_keys import RemoteKeys
from chopmark_issuer.keys.signing_frames import (
    MAX_MESSAGES,
    Refusal,
    RefusalKind,
    Signatures,
    SignRequest,
    encode_request,
)
from chopmark_issuer.keys.signing_process import CONNECTIONS, SigningProcess
from chopmark_issuer.licences.bulk_issue import issue_all
from chopmark_issuer.licences.registry import Registry
from chopmark_issuer.licences.requests import IssuedVersion
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.models import ACT, CREDENTIAL, HOLDER, LICENCE, LICENCE_VERSION, OUTBOX, SERIAL
from chopmark_ledger.client import init_witness
from chopmark_service.authentication import make_token
from sqlalchemy import func, select

from tests.issuer.conftest import CHEAP, FOOD, MARKETS, PASSPHRASE, food_request, type_definition
from tests.issuer.signing import SigningCommand, receive, signing_in_thread
from tests.issuer.test_signing_frames import WRONG_REQUESTS
from tests.ledger.served_log import until

TABLES = (LICENCE, LICENCE_VERSION, HOLDER, CREDENTIAL, OUTBOX, ACT, SERIAL)


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys", PASSPHRASE, cost=CHEAP)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sock"


@pytest.fixture
def serving(folder: KeyFolder, path: Path) -> Iterator[SigningProcess]:
    with signing_in_thread(folder, path) as process:
        yield process


@pytest.fixture
def remote(serving: SigningProcess, path: Path) -> Iterator[RemoteKeys]:
    keys = RemoteKeys(path, patience=0.2)
    yield keys
    keys.close()


@pytest.fixture(params=["in this process", "in the signing process"])
def keys(request: pytest.FixtureRequest) -> KeyProvider:
    provider: KeyProvider = request.getfixturevalue("folder" if request.param == "in this process" else "remote")
    return provider


def sig_structure(key: PublicKey, typ: int | str, payload: bytes = b"\xa0") -> bytes:
    header = cbor.encode({cose.ALG: int(key.algorithm), cose.KID: key.kid, cose.TYP: typ})
    return cose.sig_structure(header, payload)


def jwt(typ: str) -> bytes:
    return ".".join(base64url_encode(json.dumps(part).encode()) for part in ({"typ": typ}, {"a": 1})).encode()


FORMS: dict[InventoryUse, list[Callable[[PublicKey], bytes]]] = {
    InventoryUse.CREDENTIAL: [
        lambda key: sig_structure(key, Kind.BEARER.value),
        lambda key: sig_structure(key, Kind.HOLDER_BOUND.value, bytes(300)),
    ],
    InventoryUse.STATUS: [lambda key: sig_structure(key, MEDIA_TYPE, bytes(70_000))],
    InventoryUse.INSPECTOR: [lambda key: sig_structure(key, CHALLENGE, bytes(30)), lambda _: jwt(RECORD)],
    InventoryUse.ROOT: [
        lambda _: b'{\n "format": "chopmark/trust-bundle/v1",\n "region": "CN-GD"\n}\n',
        lambda _: b'{\n "format": "chopmark/root-epoch/v1",\n "region": "CN-GD"\n}\n',
        lambda _: b'{\n "format": "chopmark/trust-statement/v1",\n "region": "CN-GD"\n}\n',
    ],
    InventoryUse.LOG: [
        lambda _: b"cn-gd.example/log/2026\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        lambda _: b"subtree/v1\n\0" + bytes(60),
    ],
    InventoryUse.LOG_CLIENT: [lambda _: jwt("JWT")],
}


def credential_message(key: PublicKey, number: int = 0) -> bytes:
    return sig_structure(key, Kind.BEARER.value, b"%d" % number)


def test_signatures_come_in_the_order_of_the_messages(keys: KeyProvider) -> None:
    signer = keys.generate()
    kid = signer.public_key.kid.hex()
    messages = [credential_message(signer.public_key, number) for number in range(MAX_MESSAGES + 3)]
    for message, signature in zip(messages, keys.sign_all(kid, messages), strict=True):
        signer.public_key.verify(message, signature)
    for some in (messages[:5], messages):
        with keys.signing(kid, some) as signatures:
            assert signatures() == keys.sign_all(kid, some)
    assert keys.sign_all(kid, []) == []


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_key_that_is_answered_is_on_the_disk(keys: KeyProvider, algorithm: Algorithm, tmp_path: Path) -> None:
    use = InventoryUse.ROOT if algorithm is Algorithm.ML_DSA_44 else InventoryUse.CREDENTIAL
    public_key = keys.generate(algorithm, use=use).public_key
    found = KeyFolder(tmp_path / "keys", PASSPHRASE, cost=CHEAP)
    kid = public_key.kid.hex()
    assert found.signer(kid).public_key == public_key == keys.signer(kid).public_key
    assert found.use_of(kid) is use
    message = FORMS[use][0](public_key)
    public_key.verify(message, keys.signer(kid).sign(message))


def test_what_can_not_be_is_refused_alike(keys: KeyProvider) -> None:
    with pytest.raises(RefusedError):
        keys.generate(Algorithm.ML_DSA_44, use=InventoryUse.CREDENTIAL)
    with pytest.raises(StorageError, match="No such file"):
        keys.signer("00" * 8)
    with pytest.raises(StorageError, match="No such file"):
        keys.sign_all("00" * 8, [b"x"])


@pytest.mark.parametrize("use", list(InventoryUse))
def test_a_key_signs_what_is_of_its_use_and_nothing_of_another(remote: RemoteKeys, use: InventoryUse) -> None:
    signer = remote.generate(use=use)
    for other, forms in FORMS.items():
        for form in forms:
            message = form(signer.public_key)
            if other is use:
                signer.public_key.verify(message, signer.sign(message))
            else:
                with pytest.raises(RefusedError, match="does not sign such"):
                    signer.sign(message)


def test_tokens_and_challenges_as_they_are_written_are_signed(remote: RemoteKeys) -> None:
    client = remote.generate(use=InventoryUse.LOG_CLIENT)
    head, claims, signature = make_token(client, name="registry", audience="log", now=1.5).split(".")
    client.public_key.verify(f"{head}.{claims}".encode(), base64url_decode(signature, where="token"))
    for algorithm in (Algorithm.ED25519, Algorithm.ES256):
        inspector = remote.generate(algorithm, use=InventoryUse.INSPECTOR)
        challenge = create_challenge(
            inspector, inspector=MARKETS, purpose="路面检查", licence_type=f"{FOOD}@1", fields=(), at=1_795_312_800
        )
        challenge.verify(inspector.public_key)


def test_a_credential_of_another_key_or_with_something_behind_it_is_not_signed(remote: RemoteKeys) -> None:
    signer, other = remote.generate(), remote.generate()
    message = credential_message(signer.public_key)
    for wrong in (
        credential_message(other.public_key),
        message + b"\0",
        message[:-1],
        b"",
        message.replace(b"Signature1", b"Signature2"),
    ):
        with pytest.raises(RefusedError):
            signer.sign(wrong)
        with pytest.raises(RefusedError):
            remote.sign_all(signer.public_key.kid.hex(), [message, wrong])


def test_a_key_whose_file_does_not_say_what_it_is_for_signs_nothing(remote: RemoteKeys, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    signer = Ed25519Signer.generate()
    kid = signer.public_key.kid.hex()
    write_key_file(tmp_path / "keys" / f"{kid}.key", signer, PASSPHRASE, cost=CHEAP)
    with pytest.raises(RefusedError, match="does not say"):
        remote.sign_all(kid, [credential_message(signer.public_key)])


def test_the_use_in_a_key_file_can_not_be_altered(folder: KeyFolder, remote: RemoteKeys, tmp_path: Path) -> None:
    kid = folder.generate(use=InventoryUse.STATUS).public_key.kid.hex()
    file = tmp_path / "keys" / f"{kid}.key"
    file.write_bytes(file.read_bytes().replace(b'"status"', b'"credential"'))
    opened = KeyFolder(tmp_path / "keys", PASSPHRASE, cost=CHEAP)
    with pytest.raises(KeyMaterialError, match="altered"):
        opened.use_of(kid)


def test_there_is_no_way_to_a_private_key(remote: RemoteKeys) -> None:
    signer = remote.generate()
    assert not hasattr(signer, "private_bytes")
    assert set(type(signer).__slots__) == {"_keys", "public_key"}


@pytest.mark.parametrize("request_", WRONG_REQUESTS)
def test_what_is_no_request_ends_its_connection_and_not_the_process(
    serving: SigningProcess, remote: RemoteKeys, path: Path, request_: bytes
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        connection.sendall(len(request_).to_bytes(4, "big") + request_)
        answer = receive(connection)
        assert isinstance(answer, Refusal)
        assert answer.kind is RefusalKind.MALFORMED
        assert receive(connection) is None
    remote.generate()


@pytest.mark.parametrize("sent", [b"\xff\xff\xff\xff", b"\0\0\0\x09abc", b"\0", b"GET / HTTP/1.1\r\n\r\n", b""])
def test_a_frame_that_is_cut_off_or_too_large_ends_its_connection_only(
    serving: SigningProcess, remote: RemoteKeys, path: Path, sent: bytes
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection) is None or receive(connection) is None
    remote.generate()


def test_a_fault_in_the_process_is_answered(
    remote: RemoteKeys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signer = remote.generate()
    monkeypatch.setattr(signing_process, "check_form", lambda *_: 1 / 0)
    with pytest.raises(SigningProcessError, match="fault"):
        signer.sign(credential_message(signer.public_key))
    monkeypatch.undo()
    signer.sign(credential_message(signer.public_key))


def test_more_connections_than_it_serves_are_told_so(serving: SigningProcess, path: Path) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.connect(str(path))
        with pytest.raises(SigningProcessError, match=r"served already|does not answer"):
            RemoteKeys(path, patience=0).generate()
    with closing(RemoteKeys(path)) as keys:
        keys.generate()


def test_a_peer_of_another_user_is_not_answered(
    remote: RemoteKeys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signing_process, "_peer_uid", lambda _: os.geteuid() + 1)
    with pytest.raises(SigningProcessError, match="does not answer"):
        remote.generate()


def test_the_kernel_says_who_the_peer_is() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert signing_process._peer_uid(one) == os.geteuid()


def test_only_its_owner_can_reach_the_socket(serving: SigningProcess, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_others_can_write_in_is_refused(folder: KeyFolder, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StorageError, match="others may write"):
        SigningProcess(folder, tmp_path / "keys.sock").serve()


def test_a_path_that_is_too_long_for_a_socket_is_refused(folder: KeyFolder, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="too long"):
        SigningProcess(folder, tmp_path / ("s" * 200)).serve()


def test_a_file_that_is_no_socket_is_refused_and_stays(folder: KeyFolder, path: Path) -> None:
    path.write_text("somebody's")
    with pytest.raises(StorageError, match="no socket") as caught:
        SigningProcess(folder, path).serve()
    assert caught.value.where == str(path)
    assert path.read_text() == "somebody's"


@pytest.mark.parametrize("exhausted", ["files", "threads"])
def test_a_process_that_has_no_room_for_a_connection_takes_those_that_come_later(
    serving: SigningProcess, path: Path, exhausted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    class NoThread(threading.Thread):
        def start(self) -> None:
            tried.append(self.name)
            raise RuntimeError("can't start new thread")

    def no_file(_: socket.socket) -> Any:
        tried.append("accept")
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(signing_process, "CONNECTIONS", 2)
    with monkeypatch.context() as patch, ExitStack() as opened:
        if exhausted == "threads":
            patch.setattr(threading, "Thread", NoThread)
        else:
            patch.setattr(socket.socket, "accept", no_file)
        for _ in range(3):
            opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)).connect(str(path))
        began = time.monotonic()
        until(lambda: len(tried) >= 3)
        assert time.monotonic() - began > 0.2, "it does not spin"
    with closing(RemoteKeys(path)) as keys:
        keys.generate()


def test_a_second_process_is_refused_and_the_first_goes_on(folder: KeyFolder, remote: RemoteKeys, path: Path) -> None:
    with pytest.raises(StorageError, match="listens there already"):
        SigningProcess(folder, path).serve()
    remote.generate()


def test_what_was_begun_is_finished_when_it_is_stopped(
    folder: KeyFolder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    signer = folder.generate()

    def slow(*_: object) -> None:
        begun.set()
        assert go_on.wait(20)

    monkeypatch.setattr(signing_process, "check_form", slow)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        with ExitStack() as stack:
            process = stack.enter_context(signing_in_thread(folder, path))
            connection.connect(str(path))
            connection.sendall(encode_request(SignRequest(signer.public_key.kid.hex(), (b"one", b"two"))))
            assert begun.wait(20)
            process.stop()
            go_on.set()
        answer = receive(connection)
        assert isinstance(answer, Signatures)
        signer.public_key.verify(b"two", answer.signatures[1])
        assert receive(connection) is None
    assert not path.exists()


def test_a_process_that_is_away_is_named_with_the_command_that_starts_it(path: Path) -> None:
    waits: list[float] = []
    with pytest.raises(SigningProcessError, match=r"does not answer.*keys serve") as raised:
        RemoteKeys(path, patience=0, pause=waits.append).signer("00" * 8)
    assert str(path) in str(raised.value)


def test_a_message_larger_than_a_frame_is_refused_before_it_is_sent(remote: RemoteKeys) -> None:
    signer = remote.generate()
    with pytest.raises(LimitError):
        signer.sign(bytes(17 * 1024 * 1024))


def test_another_passphrase_is_refused_before_anything_is_served(folder: KeyFolder, tmp_path: Path) -> None:
    folder.generate()
    command = SigningCommand(tmp_path, b"another passphrase")
    command.start()
    assert command.process.wait(20) == 3
    assert "the passphrase does not open this key" in command.said
    assert not command.socket.exists()


def test_the_command_ends_on_sigterm_and_replaces_what_a_killed_one_left(folder: KeyFolder, tmp_path: Path) -> None:
    command = SigningCommand(tmp_path, PASSPHRASE)
    command.start()
    command.kill()
    assert command.socket.exists()
    command.start()
    assert command.stop() == 0
    assert not command.socket.exists()
    assert json.loads(command.said.splitlines()[-1])["event"] == "stopped"


def test_it_ends_with_the_parent_that_it_is_told_of(tmp_path: Path) -> None:
    command = SigningCommand(tmp_path, PASSPHRASE, "--parent", "1")
    command.start()
    assert command.process.wait(20) == 1


def counts(office: Any) -> list[int]:
    with office.database.reading() as connection:
        return [int(connection.execute(select(func.count()).select_from(table)).scalar_one()) for table in TABLES]


@pytest.fixture
def command(office: Any) -> Iterator[SigningCommand]:
    command = SigningCommand(office.folder, PASSPHRASE)
    command.start()
    yield command
    command.kill()


def test_a_process_killed_during_an_issue_leaves_nothing_half_written(office: Any, command: SigningCommand) -> None:
    class Killing(RemoteKeys):
        def signing(self, kid: str, messages: Any) -> Any:
            command.kill()
            return super().signing(kid, messages)

    before = counts(office)
    actor = office.actor()
    with pytest.raises(SigningProcessError):
        Registry(office.database, Killing(command.socket, patience=0.1)).issue(actor, office.food(), at=office.now)
    assert counts(office) == before
    command.start()
    with closing(RemoteKeys(command.socket)) as keys:
        issued = Registry(office.database, keys).issue(actor, office.food(), at=office.now)
    assert issued.number.split(".")[-3] == "0000001"
    credential = issued.credentials[0]
    credential.verify_signature(office.keys.signer(credential.kid.hex()).public_key)


def test_a_process_that_is_killed_after_it_was_asked_and_starts_again_is_waited_for(
    office: Any, command: SigningCommand
) -> None:
    class Killing(RemoteKeys):
        def _receive(self, connection: socket.socket) -> Any:
            if not killed:
                killed.append(True)
                command.kill()
            return super()._receive(connection)

    killed: list[bool] = []
    keys = Killing(command.socket, patience=20, pause=lambda _: command.start())
    issued = Registry(office.database, keys).issue(office.actor(), office.food(), at=office.now)
    assert killed
    credential = issued.credentials[0]
    credential.verify_signature(office.keys.signer(credential.kid.hex()).public_key)
    keys.close()


def until_there_are(count: int, of: list[Any]) -> None:
    until(lambda: len(of) >= count, seconds=60)


def test_killed_again_and_again_under_load_it_costs_nothing_that_was_acknowledged(
    office: Any, command: SigningCommand
) -> None:
    acknowledged: list[str] = []
    refused: list[Exception] = []
    done = threading.Event()

    def issue() -> None:
        with closing(RemoteKeys(command.socket, patience=0.05)) as keys:
            while not done.is_set():
                try:
                    with office.database.writing() as connection:
                        outcomes = issue_all(connection, keys, actor, [office.food()] * 20, at=office.now)
                except SigningProcessError as error:
                    refused.append(error)
                else:
                    acknowledged.extend(outcome.number for outcome in outcomes if isinstance(outcome, IssuedVersion))

    actor = office.actor()
    thread = threading.Thread(target=issue)
    thread.start()
    for round_ in range(1, 4):
        until_there_are(40 * round_, acknowledged)
        command.kill()
        until_there_are(len(refused) + 1, refused)
        command.start()
    done.set()
    thread.join()
    assert len(acknowledged) == len(set(acknowledged)) == counts(office)[0] >= 120
    with office.database.reading() as connection:
        stored = connection.execute(select(CREDENTIAL.c.body)).scalars().all()
        key = office.keys.signer(
            key_in_use(connection, owner=office.markets, use=InventoryUse.CREDENTIAL, at=office.now).kid
        )
    for body in stored:
        Credential.parse(body).verify_signature(key.public_key)
    assert counts(office)[3:6] == [len(stored)] * 3 == [len(acknowledged)] * 3


def test_a_connection_that_was_kept_over_a_restart_is_replaced(office: Any, command: SigningCommand) -> None:
    keys = RemoteKeys(command.socket)
    registry = Registry(office.database, keys)
    registry.issue(office.actor(), office.food(), at=office.now)
    command.kill()
    command.start()
    registry.issue(office.actor(), office.food(), at=office.now)
    keys.close()


def test_a_region_with_a_signing_process_never_loads_a_private_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "cn-gd"
    data.mkdir(mode=0o700)
    command = SigningCommand(data, PASSPHRASE)
    command.start()
    init_witness(tmp_path / "witness", name="cn-sh.example/witness", passphrase=PASSPHRASE, cost=CHEAP)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a private key was loaded")

    monkeypatch.setattr(KeyFolder, "__init__", refuse)
    try:
        settings = Settings(data, b"", witness_passphrase=PASSPHRASE, key_socket=command.socket)
        plan = RegionPlan("CN-GD", LocalisedText("示例", "Sample"), (tmp_path / "witness",))
        with Region.create(settings, plan, clock=lambda: 1_795_312_800) as region:
            region.add_department(MARKETS, LocalisedText("示例局", "Sample office"))
            region.add_type(json.dumps(type_definition(FOOD)).encode())
            region.grant(MARKETS, FOOD)
            issued = region.registry.issue(region.actor(MARKETS), food_request(), at=region.clock())
            published = region.publish()
            with region.database.reading() as connection:
                kids = {key.kid for key in inventory(connection)}
            stored = region.registry.credentials(issued.number)[0]
            assert stored.log_index is not None
            assert region.with_proofs(stored).landmark_proof is not None
        assert published.bundle == 1
        held = [each for each in gc.get_objects() if isinstance(each, (Ed25519Signer, Es256Signer, MlDsa44Signer))]
        assert not kids & {each.public_key.kid.hex() for each in held}
        assert isinstance(open_keys(settings), RemoteKeys)
    finally:
        command.kill()


def test_signatures_of_the_process_are_not_taken_for_another_message(remote: RemoteKeys) -> None:
    signer = remote.generate()
    signature = signer.sign(credential_message(signer.public_key, 1))
    with pytest.raises(SignatureError):
        signer.public_key.verify(credential_message(signer.public_key, 2), signature)
