"""Which logs and witnesses one trusts, and how many of the witnesses must have cosigned a checkpoint.

Spec: https://c2sp.org/tlog-policy. A text of lines; items are separated by spaces and tabs, empty lines and lines that
begin with `#` are ignored, and names are octets without further meaning:

    log <vkey> [<url>]                              type 0x01 or 0x06; its key name is the origin of the log
    witness <name> <vkey> [<url>]                   type 0x04 or 0x06
    group <name> <any | all | k> <member> …         members: witnesses and groups above, each in one group only
    quorum <name | none>                            exactly one: a witness or group above

Sample, one group for each operator, so that the quorum counts operators, not keys:

    log cn-gd.example/log/2026+0f2a8a8c+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k
    witness sh-1 cn-sh.example/witness+d1a2b3c4+BGy…
    witness us-1 us-il.example/witness+55aa0112+BLp…
    group R01 any sh-1
    group R02 any us-1
    group peers 2 R01 R02
    quorum peers

**Two keys.** A log or a witness may have an Ed25519 key and an ML-DSA-44 key, each on a line of its own. The two keys
of a witness stand in the group of their operator, which takes `any` of them, so both together are one vote. Where the
policy has an Ed25519 key of a log, a checkpoint of that log needs a line of such a key; the ML-DSA-44 line stands
beside it, and satisfies alone only where the policy has no other key of the log. A line of type 0x06 may have the time
0, which says nothing of when: it is never counted as a witness's. Nor is a log's own line: no key is that of a log and
of a witness.

**The witnessed time.** A policy turns the times of the cosignatures into one: the earliest time by which the quorum
was met, were the cosignatures to arrive in the order of their times. So the time of a witness is that of its earliest
cosignature, and the time of a group that takes k of its members is the k-th smallest of theirs: the (f+1)-th smallest
with f = k − 1, the most members that may lie without being a quorum by themselves.

Why this f. Let an entry be logged at the time T, and let at most k − 1 members of each group lie. Honest witnesses
cosign a checkpoint that holds the entry at T or later. Of the k smallest times of a group one is honest, so the k-th
smallest is not before T: nobody short of a whole quorum can date an entry back, and where the quorum takes two
operators no single liar can. With f = n − k instead, the members that may be *absent*, `all` of n operators would
take the smallest time, which any one liar sets at will. Where k is small against n, n − k would ask for more times than
the quorum does, and gain nothing: whoever shows a checkpoint can leave out the cosignatures above the k needed.
Liars can push the time up, if honest cosignatures are left out; then an entry seems younger than it is, and a time
ahead of the clock is for the caller to refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from chopmark import strict
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.cosignature import COSIGNATURE_TYPES, CosignatureVerifier
from chopmark.errors import FormatError, KeyMaterialError, LimitError, QuorumError, SignatureError
from chopmark.note import TYPE_COSIGNATURE_ML_DSA_44, TYPE_ED25519, Note, NoteVerifier, split_cosignature

NO_QUORUM = "none"

POLICY_SIZE = 256 * 1024
"""Bytes of a policy: room for 128 post-quantum keys, and some."""
DEFINITIONS = 128
"""Logs, witnesses and groups, each; the specification asks for 32."""

_ALLOWED = bytes(byte for byte in range(256) if byte in (0x09, 0x0A) or (byte >= 0x20 and byte != 0x7F))


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log: its key, whose name is its origin, and where it may be reached."""

    verifier: NoteVerifier
    url: str | None = None

    @property
    def origin(self) -> str:
        """The origin of its checkpoints."""
        return self.verifier.name


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness: its name in the policy, its key, and where it may be reached."""

    name: str
    verifier: CosignatureVerifier
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """A group of witnesses and groups, met when `threshold` of its members are."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WitnessedCheckpoint:
    """A checkpoint that its log signed and a quorum cosigned.

    Args:
        checkpoint: what it says.
        times: when each witness key of the policy that cosigned did so, by its own clock: POSIX seconds, ascending.
        time: by when the quorum was met, POSIX seconds; see the top of the module.
    """

    checkpoint: Checkpoint
    times: tuple[int, ...]
    time: int


@dataclass(frozen=True, slots=True)
class TlogPolicy:
    """A policy. Names that are not UTF-8 stand here with surrogate escapes."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str
    _known: tuple[NoteVerifier, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = [log.verifier for log in self.logs]
        witnesses = [witness.verifier.note_verifier for witness in self.witnesses]
        if both := set(known) & set(witnesses):
            name = next(iter(both)).name
            raise FormatError(f"the key {name} is that of a log and of a witness", where="policy")
        known.extend(witnesses)
        object.__setattr__(self, "_known", tuple(known))

    @classmethod
    def parse(cls, text: str | bytes) -> TlogPolicy:
        """Read a policy.

        Raises:
            FormatError: it is none; `UnsupportedError` for keys of a signature type that this reader does not know.
            KeyMaterialError: a vkey holds no public key.
        """
        return _Reader().read(_octets(text))

    def encode(self) -> bytes:
        """Write the policy: logs, witnesses, groups and quorum, each in its order, without comments."""
        lines = [_line("log", log.verifier.vkey, log.url) for log in self.logs]
        lines += [_line("witness", each.name, each.verifier.vkey, each.url) for each in self.witnesses]
        lines += [_line("group", group.name, str(group.threshold), *group.members) for group in self.groups]
        lines.append(_line("quorum", self.quorum))
        return "".join(lines).encode("utf-8", "surrogateescape")

    @property
    def is_none(self) -> bool:
        """Whether the policy asks for no witness at all; `check` refuses such a one."""
        return self.quorum == NO_QUORUM

    def with_logs(self, logs: Iterable[PolicyLog]) -> TlogPolicy:
        """The policy with logs beside its own, for one whose logs are known from elsewhere."""
        return replace(self, logs=tuple(dict.fromkeys((*self.logs, *logs))))

    def check(self, note: Note | SignedCheckpoint | str | bytes) -> WitnessedCheckpoint:
        """Check that a checkpoint is signed by its log and cosigned by the quorum.

        Unknown keys are ignored. A known key whose signature is bad fails the whole note, whichever it is.

        Raises:
            FormatError: it is no signed checkpoint.
            SignatureError: no log of the policy that has this origin signed it, or not with its Ed25519 key where the
                policy has one; or a known key's line is bad.
            QuorumError: the quorum is not met, or the policy has none, so that there is no witnessed time.
        """
        signed = self._verified(note)
        checkpoint = signed.checkpoint
        if self.is_none:
            raise QuorumError(
                "the policy asks for no witness, so nothing says when the checkpoint was made",
                where=f"checkpoint of {checkpoint.origin}",
                remedy="Use a policy with a quorum",
            )
        times = self._times(signed.note)
        time = self._time_of_quorum(times)
        if time is None:
            raise QuorumError(
                f"{len(times)} of the {len(self.witnesses)} known witnesses cosigned, which do not make the quorum",
                where=f"checkpoint of {checkpoint.origin}, size {checkpoint.size}",
                remedy="Fetch the checkpoint again when more witnesses have cosigned it",
            )
        return WitnessedCheckpoint(checkpoint, tuple(sorted(times.values())), time)

    def _verified(self, note: Note | SignedCheckpoint | str | bytes) -> SignedCheckpoint:
        """Verify every known key's line, and see to it that a log of this origin is among them."""
        if isinstance(note, str | bytes):
            note = Note.parse(note)
        signed = SignedCheckpoint.from_note(note) if isinstance(note, Note) else note
        origin = signed.checkpoint.origin
        verified = signed.note.verify(self._known)
        keys = [log.verifier for log in self.logs if log.origin == origin]
        needed = [key for key in keys if key.type == TYPE_ED25519] or keys
        if not any(key in verified for key in needed):
            if any(key in verified for key in keys):
                raise SignatureError("signed with the ML-DSA-44 key of its log alone", where=origin)
            raise SignatureError("not signed by a log of the policy that has this origin", where=origin)
        return signed

    def _times(self, note: Note) -> dict[str, int]:
        """The earliest time of each witness that cosigned, by its name in the policy; its lines are verified."""
        names = {(each.verifier.name, each.verifier.key_id): each.name for each in self.witnesses}
        times: dict[str, int] = {}
        for line in note.signatures:
            name = names.get((line.name, line.key_id))
            if name is not None:
                time, _ = split_cosignature(line.signature)
                if time:
                    times[name] = min(time, times.get(name, time))
        return times

    def _time_of_quorum(self, times: Mapping[str, int]) -> int | None:
        """By when the quorum was met; None where it was not."""
        met = dict(times)
        for group in self.groups:
            present = sorted(met[member] for member in group.members if member in met)
            if len(present) >= group.threshold:
                met[group.name] = present[group.threshold - 1]
        return met.get(self.quorum)


class _Reader:
    """Reads a policy line by line; what a line may refer to stands above it."""

    def __init__(self) -> None:
        self.logs: list[PolicyLog] = []
        self.witnesses: list[PolicyWitness] = []
        self.groups: list[PolicyGroup] = []
        self.quorum: str | None = None
        self.defined: set[str] = set()
        self.members: set[str] = set()
        self.where = ""

    def read(self, data: bytes) -> TlogPolicy:
        if len(data) > POLICY_SIZE:
            raise LimitError(f"{len(data)} bytes, above the limit of {POLICY_SIZE}", where="policy")
        if data.translate(None, _ALLOWED):
            raise FormatError("a control character other than tab and newline", where="policy")
        if not data.endswith(b"\n"):
            raise FormatError("the last line does not end in a newline", where="policy")
        readers = {"log": self.log, "witness": self.witness, "group": self.group, "quorum": self.set_quorum}
        for number, line in enumerate(data[:-1].split(b"\n"), 1):
            text = line.replace(b"\t", b" ").decode("utf-8", "surrogateescape")
            items = [item for item in text.split(" ") if item]
            if not items or items[0].startswith("#"):
                continue
            self.where = f"policy, line {number}"
            if items[0] not in readers:
                raise self.fault("does not begin with log, witness, group or quorum")
            readers[items[0]](items[1:])
        if self.quorum is None:
            raise FormatError("no quorum line", where="policy", remedy="Add `quorum <name>`, or `quorum none`")
        return TlogPolicy(tuple(self.logs), tuple(self.witnesses), tuple(self.groups), self.quorum)

    def log(self, items: list[str]) -> None:
        if len(items) not in (1, 2):
            raise self.fault("not of the form `log <vkey> [<url>]`")
        verifier = self.key(items[0])
        if verifier.type not in (TYPE_ED25519, TYPE_COSIGNATURE_ML_DSA_44):
            raise self.fault(f"the key of a log has type 0x01 or 0x06, not {verifier.type:#04x}")
        if any(log.verifier.public_key == verifier.public_key for log in self.logs):
            raise self.fault("a log with the key of another one")
        self.logs.append(PolicyLog(verifier, *items[1:]))
        self.bound(self.logs)

    def witness(self, items: list[str]) -> None:
        if len(items) not in (2, 3):
            raise self.fault("not of the form `witness <name> <vkey> [<url>]`")
        verifier = self.key(items[1])
        if verifier.type not in COSIGNATURE_TYPES:
            raise self.fault(f"the key of a witness has type 0x04 or 0x06, not {verifier.type:#04x}")
        if any(witness.verifier.public_key == verifier.public_key for witness in self.witnesses):
            raise self.fault("a witness with the key of another one")
        self.define(items[0])
        self.witnesses.append(PolicyWitness(items[0], CosignatureVerifier(verifier), *items[2:]))
        self.bound(self.witnesses)

    def group(self, items: list[str]) -> None:
        if len(items) < 3:
            raise self.fault("not of the form `group <name> <any | all | k> <member> …`")
        name, threshold, *members = items
        for member in members:
            if member not in self.defined:
                raise self.fault(f"the member {member!r} is not defined above")
            if member in self.members:
                raise self.fault(f"{member!r} is a member twice")
            self.members.add(member)
        if threshold in ("any", "all"):
            count = 1 if threshold == "any" else len(members)
        else:
            count = strict.decimal(threshold, where=self.where, maximum=len(members))
        if count < 1:
            raise self.fault("a group takes at least one of its members")
        self.define(name)
        self.groups.append(PolicyGroup(name, count, tuple(members)))
        self.bound(self.groups)

    def set_quorum(self, items: list[str]) -> None:
        if len(items) != 1:
            raise self.fault("not of the form `quorum <name>`")
        if self.quorum is not None:
            raise self.fault("a second quorum line")
        if items[0] != NO_QUORUM and items[0] not in self.defined:
            raise self.fault(f"{items[0]!r} is not defined above")
        self.quorum = items[0]

    def key(self, vkey: str) -> NoteVerifier:
        try:
            return NoteVerifier.from_vkey(vkey)
        except (FormatError, KeyMaterialError) as error:
            raise type(error)(error.what, where=f"{self.where}, {error.where}", remedy=error.remedy) from error

    def define(self, name: str) -> None:
        if name == NO_QUORUM or name in self.defined:
            raise self.fault(f"the name {name!r} is taken")
        self.defined.add(name)

    def bound(self, definitions: Sequence[object]) -> None:
        if len(definitions) > DEFINITIONS:
            raise LimitError(f"more than {DEFINITIONS} logs, witnesses or groups", where=self.where)

    def fault(self, what: str) -> FormatError:
        return FormatError(what, where=self.where)


def _line(*items: str | None) -> str:
    return " ".join(item for item in items if item is not None) + "\n"


def _octets(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("not Unicode text: it has lone surrogates", where="policy") from error
