"""Make tests/vectors/threshold_voprf.json, or fail when it is not what the code makes (``--check``).

RFC 9497 has values for one key only. These are ours for a key that is shared: who writes another holder or asker can
test each step. All bytes are in hexadecimal, scalars little-endian.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fixed_randomness import fixed_randomness
from jointrisk.oprf import group
from jointrisk.oprf.holder import evaluate_share
from jointrisk.oprf.requester import blind
from jointrisk.oprf.sharing import Polynomial, commit, evaluate_commitments, lagrange
from jointrisk.oprf.threshold import Quorum

PATH = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "threshold_voprf.json"

INPUTS = (b"\0", b"Z" * 17, b"", bytes(range(256)))
SHAPES = ((2, 3, ((1, 2), (1, 3), (2, 3))), (3, 5, ((1, 2, 3), (5, 3, 1))))


def main() -> None:
    """Write the vectors, or compare them with what is committed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is another")
    text = json.dumps(document(), indent=1) + "\n"
    if not parser.parse_args().check:
        PATH.write_text(text, encoding="utf-8")
    elif not PATH.exists() or PATH.read_text(encoding="utf-8") != text:
        sys.exit(f"{PATH.name} is not what the code makes: find out what changed; it may break every federation")


def document() -> dict[str, Any]:
    """Return everything that the file holds."""
    return {
        "suite": "RFC 9497 VOPRF(ristretto255, SHA-512), mode 1; the key Shamir-shared over the group's scalars",
        "source": "tools/make_threshold_vectors.py",
        "groups": [_group(*shape) for shape in SHAPES],
    }


def _group(threshold: int, holders: int, quorums: Sequence[Sequence[int]]) -> dict[str, Any]:
    label = f"{threshold}-of-{holders}"
    randomness = fixed_randomness(label)
    polynomial = Polynomial.random(group.random_scalar(randomness), threshold, randomness)
    commitments = commit(polynomial)
    indices = range(1, holders + 1)
    return {
        "threshold": threshold,
        "holders": holders,
        "coefficients": [one.hex() for one in polynomial.coefficients],
        "commitments": [one.hex() for one in commitments],
        "shares": {str(j): polynomial.share(j).hex() for j in indices},
        "public_keys": {str(j): evaluate_commitments(commitments, j).hex() for j in indices},
        "runs": [_run(label, polynomial, quorum) for quorum in quorums],
    }


def _run(label: str, polynomial: Polynomial, indices: Sequence[int]) -> dict[str, Any]:
    commitments = commit(polynomial)
    label = f"{label}/{indices}"
    batch = blind(INPUTS, fixed_randomness(f"{label}/blinds"))
    answers, nonces = {}, {}
    for j in indices:
        nonces[j] = group.random_scalar(fixed_randomness(f"{label}/nonce {j}"))
        randomness = fixed_randomness(f"{label}/nonce {j}")
        answers[j] = evaluate_share(polynomial.share(j), j, indices, batch.elements, randomness)
    quorum = Quorum.of({j: evaluate_commitments(commitments, j) for j in indices}, commitments[0])
    return {
        "quorum": list(indices),
        "inputs": [one.hex() for one in INPUTS],
        "blinds": [one.hex() for one in batch.blinds],
        "blinded": [one.hex() for one in batch.elements],
        "answers": [
            {
                "index": j,
                "coefficient": coefficient.hex(),
                "verification_key": quorum.keys[j].hex(),
                "nonce": nonces[j].hex(),
                "evaluated": [one.hex() for one in answers[j].elements],
                "proof": answers[j].proof.to_bytes().hex(),
            }
            for j, coefficient in lagrange(indices).items()
        ],
        "outputs": [one.hex() for one in quorum.combine(batch, answers)],
    }


if __name__ == "__main__":
    main()
