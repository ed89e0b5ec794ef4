"""What the messages of a secure sum carry in Flower's records, and what is asked with a sum.

    request   "secure": config with "to/NAME" or "all": the protocol's frame; when the input is asked for, also "asked"
              (JSON: kind, how, names), and beside "secure" the records of the message that is asked
    reply     "secure": one array of bytes, the protocol's frame

H(request) of docs/protocol.md 6 is SHA-256 over len4(domain), len4(asked), and the records as Flower writes them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from jointrisk.canonical import canonical_json
from jointrisk.errors import InvalidInputError
from jointrisk.learning.flower import ArrayRecord, ConfigRecord, RecordDict, encode, pack, values
from jointrisk.learning.secure_aggregation import Kind, Rule, RuleError

WIRE_PREFIX = "query.secure_"
"""How the kinds of these messages begin; Flower knows train, evaluate and query, each with an action."""

_RECORD = "secure"
_ALL = "all"
_REPLY = "reply"
_ARRAYS = "arrays"
_DEFAULT = ".default"
"""What Flower adds to a kind without an action: another name of the same."""
_DOMAIN = b"jointrisk/v1/secagg-content"
_LENGTH = 4

How = Literal["mean", "sum"]


def wire_kind(step: Kind) -> str:
    """Return the kind of the messages of a step."""
    return WIRE_PREFIX + step.name.lower()


def is_secure(kind: str) -> bool:
    """Tell whether a message belongs to a secure sum."""
    return kind.startswith(WIRE_PREFIX)


@dataclass(frozen=True)
class Asked:
    """What members are asked to give to a sum.

    Attributes:
        kind: of the message that their client app is called with, such as "train".
        how: whether the sum is a weighted mean of updates and metrics, or a sum of arrays.
        names: of the metrics of a mean, or of the arrays of a sum, in the order of the layout.
        records: of that message.
    """

    kind: str
    how: How
    names: tuple[str, ...]
    records: RecordDict

    def digest(self) -> bytes:
        """Return H(request), 32 bytes."""
        said = self._said()
        digest = hashlib.sha256(len(_DOMAIN).to_bytes(_LENGTH, "big") + _DOMAIN)
        digest.update(len(said).to_bytes(_LENGTH, "big") + said)
        digest.update(encode(self.records))
        return digest.digest()

    def model_digest(self) -> bytes:
        """Return the digest of the arrays that go with the question, 32 bytes.

        A query is about rows alone: arrays that came with it make no other question of it, or a coordinator could ask
        the same of other members under as many digests as it likes.
        """
        arrays = self.records.array_records.get(_ARRAYS, ArrayRecord())
        records = RecordDict({_ARRAYS: ArrayRecord() if self.kind.startswith("query") else arrays})
        return hashlib.sha256(encode(records)).digest()

    def _said(self) -> bytes:
        return canonical_json({"kind": self.kind, "how": self.how, "names": list(self.names)})

    def record(self) -> bytes:
        """Return what stands beside the records."""
        return self._said()

    @classmethod
    def of(cls, said: bytes, records: RecordDict) -> "Asked":
        """Read what :meth:`record` wrote.

        Raises:
            InvalidInputError: it is something else.
            RuleError: it could be said in other words, for which no claim would be found.
        """
        try:
            found = json.loads(said)
            kind, how, names = str(found["kind"]), found["how"], tuple(str(name) for name in found["names"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidInputError("expected what a secure sum asks for, got something else") from None
        if how not in {"mean", "sum"} or is_secure(kind) or not kind.startswith(("train", "evaluate", "query")):
            raise InvalidInputError("expected a mean or a sum of what a client app can be asked, got something else")
        if kind.endswith(_DEFAULT) or not set(records.array_records) <= {_ARRAYS}:
            raise RuleError(Rule.ONE_COHORT, "expected a question in the one form that it has, got another")
        return cls(kind, cast("How", how), names, records)


def request_content(requests: Mapping[str, bytes], asked: Asked | None) -> RecordDict:
    """Return the one content that all members of a step are sent.

    What is for one of them is sealed to it by the protocol, and a large model is sent from one file.

    Args:
        requests: the protocol's request to each member.
        asked: what is asked with it, in the step in which inputs are given.

    Raises:
        InvalidInputError: the records of the question use a name that is taken.
    """
    frames = set(requests.values())
    named = {_ALL: frames.pop()} if len(frames) == 1 else {f"to/{name}": frame for name, frame in requests.items()}
    config = ConfigRecord(dict(named))
    content = RecordDict()
    if asked is not None:
        if _RECORD in asked.records:
            raise InvalidInputError(f'expected records without the name "{_RECORD}"')
        config["asked"] = asked.record()
        for name, record in asked.records.items():
            content[name] = record
    content[_RECORD] = config
    return content


def read_request(content: RecordDict, name: str) -> tuple[bytes, Asked | None]:
    """Return a member's request, and what is asked with it.

    Raises:
        InvalidInputError: there is none for this member.
    """
    config = content.config_records.get(_RECORD, ConfigRecord())
    frame = config.get(_ALL, config.get(f"to/{name}"))
    if not isinstance(frame, bytes):
        raise InvalidInputError("expected a request of a secure sum for this member, got none")
    said = config.get("asked")
    if said is None:
        return frame, None
    if not isinstance(said, bytes):
        raise InvalidInputError("expected what a secure sum asks for, got something else")
    return frame, Asked.of(said, RecordDict({key: record for key, record in content.items() if key != _RECORD}))


def reply_content(reply: bytes) -> RecordDict:
    """Return a member's reply as records."""
    return RecordDict({_RECORD: ArrayRecord({_REPLY: pack(np.frombuffer(reply, dtype=np.uint8))})})


def read_reply(content: RecordDict) -> bytes:
    """Return the protocol's reply.

    Raises:
        InvalidInputError: there is none.
    """
    record = content.array_records.get(_RECORD, ArrayRecord())
    if list(content) != [_RECORD] or list(record) != [_REPLY]:
        raise InvalidInputError("expected a reply to a request of a secure sum, got something else")
    found = values(record[_REPLY])
    if found.dtype != np.uint8:
        raise InvalidInputError("expected a reply of bytes, got something else")
    return found.tobytes()
