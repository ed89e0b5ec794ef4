r"""A trained model as one file that the coordinator signs and every node verifies before it uses any of it.

::

    "jointrisk model bundle\n" | length of the manifest (4 bytes, big endian) | manifest | signature (64) | safetensors

The manifest is canonical JSON and holds size and SHA-256 of the tensors; the signature is one of a document of kind
"model" (`jointrisk.federation.signing`). So every byte is bound, and nothing is parsed before it is verified but the
length. Never pickle. A run's worker leaves :class:`Facts` and tensors unsigned in the run's folder; whoever holds the
key completes and seals them. All of it is a function of its inputs: the same run gives the same bytes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jointrisk import durable
from jointrisk.errors import CorruptError, InvalidInputError, TooLargeError, UnauthenticatedError, VersionMismatchError
from jointrisk.federation.document import Count, Document, Moment
from jointrisk.federation.signing import SIGNATURE_LENGTH, Signed, verify_document

MODEL: Final = "model"
"""The kind of the signed document that a manifest is."""

FORMAT: Final = 1
"""The only layout so far."""

LARGEST_BUNDLE: Final = 1 << 30
"""Bytes; no more is read or fetched."""

_MAGIC = b"jointrisk model bundle\n"
_LENGTH_BYTES = 4
_LARGEST_MANIFEST = 16 << 20
_TENSORS_FILE, _FACTS_FILE = "model.safetensors", "model.json"

TYPES: Final = ("float32", "float64", "int32", "int64", "uint8")
"""Types of a bundle's arrays: networks are of the first, trees of the others. What has to be where the architecture
says (`jointrisk.learning.scoring`)."""

Arrays = Mapping[str, NDArray[np.generic]]
Sign = Callable[[str, bytes], Signed]
"""Signs a payload as a document of a kind."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ModelId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Privacy(Document):
    """What protected the members' parts while the model was made.

    Attributes:
        aggregation: "plain": the coordinator saw every member's update; "secure": it saw sums of them.
        members: how many took part in secure sums; 0 in plain ones, as are the next three.
        colluders: so many of them may be one with the coordinator.
        threshold: so many sign who is in a sum.
        minimum: the fewest members in a sum.
        differential_privacy: "none", or what guarantee holds.
    """

    aggregation: str = "plain"
    members: Count = 0
    colluders: Count = 0
    threshold: Count = 0
    minimum: Count = 0
    differential_privacy: str = "none"


class Facts(Document):
    """What the run's worker knows of its model.

    Attributes:
        contract_version: of the feature contract that the inputs keep.
        contract_digest: SHA-256 of that contract's payload, hex.
        encoding: how rows become inputs, as plain JSON data (`jointrisk.learning.encoding`).
        architecture: name of what the arrays are, such as "mlp".
        settings: the architecture's settings, as plain JSON data.
        metrics: of the round that was kept; sums over members only.
        task: what was learnt.
        strategy: name of the federated strategy.
        rounds: how many were run.
        best_round: which one the arrays are of.
        code_version: of the training code.
        privacy: what protected the members' parts.
    """

    contract_version: Count
    contract_digest: Digest
    encoding: dict[str, Any]
    architecture: str
    settings: dict[str, Any]
    metrics: dict[str, Number]
    task: str
    strategy: str
    rounds: Count
    best_round: Count
    code_version: str
    privacy: Privacy = Privacy()


class Lineage(Document):
    """Which run made the model. Its start is the only time of day in a bundle.

    Attributes:
        run_id: the run.
        members: who took part.
        started_at: when the run began.
    """

    run_id: ModelId
    members: tuple[str, ...]
    started_at: Moment


class Manifest(Document):
    """What is signed.

    Attributes:
        format: the layout of this document and its file.
        model_id: the model's name, unique in the federation.
        facts: what the run's worker says of it.
        lineage: which run made it.
        tensors_bytes: size of the safetensors part.
        tensors_sha256: its SHA-256, hex.
    """

    format: Count = FORMAT
    model_id: ModelId
    facts: Facts
    lineage: Lineage
    tensors_bytes: Count
    tensors_sha256: Digest


@dataclass(frozen=True)
class Unsigned:
    """What a run's worker left: facts, and the arrays as safetensors."""

    facts: Facts
    tensors: bytes


@dataclass(frozen=True)
class Bundle:
    """A verified model.

    Attributes:
        manifest: what was signed.
        arrays: by name, each of one of `TYPES`, all finite.
        digest: SHA-256 of the whole file, hex.
    """

    manifest: Manifest
    arrays: Arrays
    digest: str


def write_unsigned(folder: Path, facts: Facts, arrays: Arrays) -> None:
    """Leave a run's result in its folder, durably. The same again leaves the same bytes.

    Args:
        folder: the run's.
        facts: what is known of the model.
        arrays: its weights, as they are scored.

    Raises:
        InvalidInputError: an array is of a type that bundles do not have.
    """
    if not all(str(value.dtype) in TYPES for value in arrays.values()):
        raise InvalidInputError(f"expected arrays of the types {', '.join(TYPES)}, got another")
    tensors = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
    durable.write(folder / _TENSORS_FILE, tensors)
    # Last: where it is, the tensors are there too.
    said = {"facts": facts.model_dump(mode="json"), "tensors_sha256": hashlib.sha256(tensors).hexdigest()}
    durable.write(folder / _FACTS_FILE, json.dumps(said, sort_keys=True).encode())


def read_unsigned(folder: Path) -> Unsigned | None:
    """Return what a run left in its folder; None where it made no model.

    Raises:
        CorruptError: it is not what was written.
    """
    try:
        said = json.loads((folder / _FACTS_FILE).read_bytes())
        tensors = (folder / _TENSORS_FILE).read_bytes()
        facts = Facts.model_validate(said["facts"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError("the run's unsigned model is not what was written") from error
    if hashlib.sha256(tensors).hexdigest() != said["tensors_sha256"]:
        raise CorruptError("the run's unsigned model is not what was written")
    return Unsigned(facts, tensors)


def seal(model_id: str, unsigned: Unsigned, lineage: Lineage, sign: Sign) -> bytes:
    """Return the bundle's bytes; the same for the same arguments (Ed25519 signatures are deterministic)."""
    manifest = Manifest(
        model_id=model_id,
        facts=unsigned.facts,
        lineage=lineage,
        tensors_bytes=len(unsigned.tensors),
        tensors_sha256=hashlib.sha256(unsigned.tensors).hexdigest(),
    )
    payload = manifest.payload()
    length = len(payload).to_bytes(_LENGTH_BYTES, "big")
    return b"".join((_MAGIC, length, payload, sign(MODEL, payload).signature, unsigned.tensors))


def read_bundle(data: bytes, coordinator_key: bytes) -> Bundle:
    """Verify a bundle, then read it.

    Args:
        data: the whole file.
        coordinator_key: the pinned Ed25519 key of the coordinator, 32 bytes.

    Raises:
        CorruptError: it is no bundle, or not all of one.
        UnauthenticatedError: the pinned key has not signed its manifest.
        VersionMismatchError: it is of a layout that this software does not know.
        TooLargeError: it is larger than any model.
    """
    if len(data) > LARGEST_BUNDLE:
        raise TooLargeError(f"model bundle: expected at most {LARGEST_BUNDLE} bytes, got {len(data)}")
    payload, signature, tensors = _parts(data)
    try:
        verify_document(Signed(MODEL, payload, signature, b""), MODEL, coordinator_key)
    except UnauthenticatedError as error:
        raise UnauthenticatedError(
            "the model bundle is not signed with the coordinator's pinned key",
            remedy="Fetch it again; if that does not help, ask the people who run the coordinator.",
        ) from error
    manifest = _manifest(payload)
    if len(tensors) != manifest.tensors_bytes or hashlib.sha256(tensors).hexdigest() != manifest.tensors_sha256:
        raise CorruptError("the model bundle's tensors are not those of its manifest", remedy="Fetch it again.")
    return Bundle(manifest, _arrays(tensors), hashlib.sha256(data).hexdigest())


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    head = len(_MAGIC) + _LENGTH_BYTES
    if not data.startswith(_MAGIC) or len(data) < head:
        raise CorruptError("expected a model bundle, got something else")
    length = int.from_bytes(data[len(_MAGIC) : head], "big")
    end = head + length
    if length > _LARGEST_MANIFEST or len(data) < end + SIGNATURE_LENGTH:
        raise CorruptError("expected a whole model bundle, got a part of one", remedy="Fetch it again.")
    return data[head:end], data[end : end + SIGNATURE_LENGTH], data[end + SIGNATURE_LENGTH :]


def _manifest(payload: bytes) -> Manifest:
    """Read a manifest whose signature has been verified."""
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and said.get("format", FORMAT) != FORMAT:
        raise VersionMismatchError(
            f"the model bundle has another layout than {FORMAT}, the one known here",
            remedy="Install the version of jointrisk that the coordinator runs.",
        )
    return Manifest.parse(payload)


def _arrays(tensors: bytes) -> Arrays:
    try:
        arrays = load(tensors)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptError("the model bundle's tensors cannot be read") from error
    if any(str(array.dtype) not in TYPES or not np.isfinite(array).all() for array in arrays.values()):
        raise CorruptError(f"expected a model bundle's arrays to be finite numbers of the types {', '.join(TYPES)}")
    return arrays
