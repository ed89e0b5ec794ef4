"""Nodes that evaluate for each other: real certificates, databases, journals, servers on loopback, one process or many.

The key is dealt here, because ceremonies are tested elsewhere; everything after that is what a daemon runs.
"""

import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from coordinator_at_test import MASTER
from fixed_randomness import fixed_randomness
from jointrisk.clock import Clock, utc_now
from jointrisk.federation.certificates import (
    Issuer,
    KeyPair,
    certificate_fingerprint,
    certificate_to_der,
    certificate_to_pem,
    issue_authority,
    issue_leaf,
    key_to_pem,
    new_transport_key,
)
from jointrisk.federation.roster import Founded, sign_roster
from jointrisk.federation.roster_view import Anchor, accept_roster
from jointrisk.federation.signing import Signed, private_bytes
from jointrisk.identifiers import Identifier, canonicalise
from jointrisk.listing.derive import ListingKeys, derive
from jointrisk.oprf import group
from jointrisk.oprf.bulk import MAX_BATCH
from jointrisk.oprf.ceremony import GroupKey
from jointrisk.oprf.group import Scalar
from jointrisk.oprf.holder import evaluate_unproven
from jointrisk.oprf.requester import blind
from jointrisk.oprf.sharing import Polynomial, commit, evaluate_commitments
from jointrisk_node.asking.asker import Asker
from jointrisk_node.asking.channels import PeerChannels
from jointrisk_node.asking.generations import Generations
from jointrisk_node.asking.ledger import EvidenceLedger
from jointrisk_node.asking.settings import AskingSettings
from jointrisk_node.audit_journal import AuditJournal, JournalLedger
from jointrisk_node.evaluations.callers import Callers
from jointrisk_node.evaluations.charges import ChargeBook
from jointrisk_node.evaluations.charging import ChargeWriter
from jointrisk_node.evaluations.computing import Evaluator
from jointrisk_node.evaluations.desk import EvaluationDesk
from jointrisk_node.evaluations.peer_server import PeerServer, start_peer_server
from jointrisk_node.evaluations.quota import Allowance
from jointrisk_node.evaluations.settings import HolderSettings
from jointrisk_node.evaluations.shares import HeldShares
from jointrisk_node.holder import GenerationLedger
from jointrisk_node.membership.belief import store_joining
from jointrisk_node.membership.membership import Membership
from jointrisk_node.membership.tables import ONLY_ROW, OwnMembership
from node_at_test import NodeAtTest
from roster_forge import Forge, key_of, public_of

EPOCH: Final = 1
SECRET: Final = group.random_scalar(fixed_randomness("the group key"))
"""The whole key, which nobody has elsewhere."""


class DealtKey:
    """Shares of the one key; another generation has other shares of it.

    Args:
        generation: of the shares.
        threshold: how many are needed.
        holders: by index.
        epoch: of the key.
    """

    def __init__(self, generation: int, threshold: int, holders: Sequence[str], epoch: int = EPOCH) -> None:
        polynomial = Polynomial.random(SECRET, threshold, fixed_randomness(f"generation {generation}"))
        commitments = commit(polynomial)
        publics = tuple((name, evaluate_commitments(commitments, j)) for j, name in enumerate(holders, 1))
        self.key = GroupKey(epoch, generation, threshold, commitments[0], publics)
        self.shares: Mapping[str, Scalar] = {name: polynomial.share(j) for j, name in enumerate(holders, 1)}


class NoHeads:
    """A node without a replica; it notes what others bring."""

    def __init__(self) -> None:
        self.own: Signed | None = None
        self.brought: list[tuple[str, Signed]] = []

    def newest(self, epoch: int) -> Signed | None:
        """Return its head."""
        return self.own if epoch == EPOCH else None

    def compare(self, epoch: int, signed: Signed, brought_by: str) -> None:
        """Note another's."""
        assert epoch == EPOCH
        self.brought.append((brought_by, signed))


class EvaluationNode:
    """A member's node in a folder; made again over the same folder it is the node after a restart.

    Args:
        root: its folder.
        clock: the time.
        holder: what it grants.
        asking: how it asks.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock = utc_now,
        holder: HolderSettings | None = None,
        asking: AskingSettings | None = None,
    ) -> None:
        self.node = NodeAtTest(root, clock)
        self.clock = clock
        self.holder = holder or HolderSettings()
        self.membership: Membership = self.node.membership()
        self.name = self.membership.member_id
        self.generations = GenerationLedger(self.node.store, MASTER)
        self.journal = AuditJournal(root / "journal", JournalLedger(self.node.store, self.node.audit, clock), clock)
        self.evidence = EvidenceLedger(self.node.store, self.node.audit, clock)
        self.heads = NoHeads()
        self.channels = PeerChannels(self.membership)
        self.known = Generations(self.generations, self.name, clock)
        self.asker = Asker(
            self.membership,
            self.known,
            self.channels,
            self.heads,
            self.journal,
            self.evidence,
            asking or AskingSettings(),
            clock=clock,
        )
        self.shares = HeldShares(self.generations, self.name)

    @asynccontextmanager
    async def serving(self, desk_class: type[EvaluationDesk] = EvaluationDesk) -> AsyncIterator[PeerServer]:
        """Serve other members for the time of the block, at the address in the roster."""
        async with AsyncExitStack() as stack:
            callers = Callers(self.membership, self.clock)
            book = ChargeBook(self.journal, lambda name: Allowance.of(self.holder.granted(name)))
            writer, evaluator = ChargeWriter(book, self.clock), Evaluator()
            stack.callback(evaluator.close)
            desk = desk_class(
                holder=self.name,
                identity=self.membership.keys.identity(),
                callers=callers,
                shares=self.shares,
                book=book,
                writer=writer,
                evaluator=evaluator,
                heads=self.heads,
                journal=self.journal,
                clock=self.clock,
            )
            address = self.membership.trusted()[self.name].address
            server = await start_peer_server(address, self.membership, callers, desk, self.journal, self.clock)
            stack.push_async_callback(server.stop, 0)
            yield server

    def keep(self, dealt: DealtKey) -> None:
        """Store a generation, and this node's share of it, as at the end of a ceremony."""
        with self.node.store.transaction() as session:
            of = f"{dealt.key.generation:032x}"
            self.generations.keep_in(session, dealt.key, of, dealt.shares.get(self.name), self.clock())
        self.shares.reload()

    async def close(self) -> None:
        """Let go of everything."""
        await self.channels.close()
        self.journal.close()
        self.node.store.close()

    def records(self, event: str) -> list[dict[str, str | int]]:
        """Return what the audit log holds of an event, after the journal has been moved."""
        self.journal.drain()
        return [dict(entry.fields) for entry in self.node.audit.entries(event=event)]


class EvaluationFederation:
    """Founds a federation in a folder: members that trust each other, each with its certificate and address.

    Args:
        root: a new folder.
        names: members.
        clock: the time.
    """

    def __init__(self, root: Path, *names: str, clock: Clock = utc_now) -> None:
        self.root = root
        self.clock = clock
        self._ca_key = new_transport_key()
        self.ca = issue_authority("testing", self._ca_key, now=clock(), lifetime=timedelta(days=30))
        self.forge = Forge(founding_members=len(names)).found(*names)
        ports = iter(free_ports(len(names)))
        self.forge.changes = [
            change.model_copy(update={"address": f"127.0.0.1:{next(ports)}"}) if isinstance(change, Founded) else change
            for change in self.forge.changes
        ]
        for name in names:
            self._join(name)

    def node(
        self, name: str, *, holder: HolderSettings | None = None, asking: AskingSettings | None = None
    ) -> EvaluationNode:
        """Return a member's node."""
        return EvaluationNode(self.root / name, self.clock, holder, asking)

    def pair(self, name: str) -> KeyPair:
        """Return a new certificate of a member."""
        key = new_transport_key()
        made = issue_leaf(
            Issuer(self.ca, self._ca_key),
            key.public_key(),
            federation="testing",
            member_id=name,
            now=self.clock(),
            lifetime=timedelta(days=7),
        )
        return KeyPair(key_to_pem(key), certificate_to_pem(made))

    def signed(self) -> Signed:
        """Return the roster as it stands."""
        terms = self.forge.terms.model_copy(update={"ca_fingerprint": certificate_fingerprint(self.ca)})
        roster = self.forge.roster(issued_at=self.clock()).model_copy(update={"terms": terms})
        return sign_roster(roster, key_of("coordinator key"))

    def _join(self, name: str) -> None:
        """Store a membership as joining does."""
        node = NodeAtTest(self.root / name, self.clock)
        node.state.write("keys/identity.sealed", MASTER.seal("node identity", private_bytes(key_of(name))))
        node.keys.keep_transport(self.pair(name))
        signed = self.signed()
        anchor = Anchor(name, public_of(name), public_of("coordinator key"), certificate_fingerprint(self.ca))
        view = accept_roster(anchor, None, signed, self.clock())
        own = OwnMembership(
            id=ONLY_ROW,
            federation="testing",
            member_id=name,
            identity_key=public_of(name),
            coordinator_key=public_of("coordinator key"),
            coordinator_address="127.0.0.1:7443",
            ca_certificate=certificate_to_der(self.ca),
            invitation_id="0" * 32,
            joined_at=self.clock(),
            first_changes=len(view.roster.changes),
            roster_version=view.roster.version,
            roster_payload=signed.payload,
            roster_signature=signed.signature,
        )
        store_joining(node.store, node.audit, own, view)
        node.store.close()


def free_ports(number: int) -> list[int]:
    """Return ports of the loopback interface at which nobody listens."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def persons(number: int) -> list[Identifier]:
    """Return identifiers of invented persons."""
    return [canonicalise("phone", "CN", f"+86139{n:08d}") for n in range(number)]


def with_whole_key(identifiers: Sequence[Identifier], epoch: int = EPOCH) -> list[ListingKeys]:
    """Return the keys as the whole key gives them."""
    inputs = [one.oprf_input(epoch) for one in identifiers]
    keys = []
    for begin in range(0, len(inputs), MAX_BATCH):
        batch = blind(inputs[begin : begin + MAX_BATCH], os.urandom)
        keys += [derive(output, epoch) for output in batch.finalize(evaluate_unproven(SECRET, batch.elements))]
    return keys
