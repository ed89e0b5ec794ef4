"""What the suite `listings` compares with: that it is what it says."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.listings_scene import sealed_entry
from benchmarks.listings_window import random_offer, without_proof
from benchmarks.replica_filling import fill
from jointrisk.clock import utc_now
from jointrisk.listing.derive import derive, fits
from jointrisk.listing.packed import pack, unpack_appends
from jointrisk.listing.record import open_all
from jointrisk.oprf.bulk import in_chunks
from jointrisk.oprf.holder import evaluate_share
from jointrisk.oprf.requester import blind
from oprf_sample import SharedKey


def test_the_evaluation_without_a_proof_gives_the_same_elements() -> None:
    """What stands beside libsodium's own time is the whole evaluation but for the proof."""
    key = SharedKey(2, 3)
    elements = blind([b"%d" % number for number in range(40)], os.urandom).elements
    share = key.polynomial.share(1)
    proven = evaluate_share(share, 1, (1, 3), elements, os.urandom)
    assert without_proof(share, 1, (1, 3), elements, os.urandom, in_chunks).elements == proven.elements


def test_random_entries_pass_the_coordinators_check_of_witnesses() -> None:
    """A log that is filled by appends has entries whose witness fits their tag."""
    (offered,) = unpack_appends(random_offer())
    assert fits(offered.witness, offered.sealed.tag)


def test_entries_of_known_persons_are_found_and_open_among_random_ones(tmp_path: Path) -> None:
    """A lookup in a filled replica ends with an opened entry."""
    keys = derive(bytes(64), 3)
    real = [pack([sealed_entry(keys)])]
    made = fill(tmp_path / "3" / "1", "testing", 3, Ed25519PrivateKey.generate(), 500, utc_now(), real)
    opened = open_all((found.record for found in made.replica.lookup(keys.tag)), keys)
    made.replica.close()
    assert (len(opened.labels), len(opened.failed)) == (1, 0)
