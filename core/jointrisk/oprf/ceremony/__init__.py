"""Key ceremonies: how the holders make, refresh and move the shares of a group key that nobody ever holds.

State machines without input and output: `Party` for a member, `Board` for the coordinator. Remaining steps are I/O.

    holder j                           board                            dealer i
       |  keys: a fresh X25519 key          |                                |
       |  for each dealer ----------------> | -----------------------------> |
       |                                    |   deal: commitments, proof of  |
       |                                    |   possession, shares sealed,   |
       | <--------------------------------- | <-- the signed keys themselves |
       |  every share opened and checked    |                                |
       |  echo: the headers of all deals,   |                                |
       |  or abort with evidence ---------> | <--- echo or abort ----------- |
       |                                    |                                |
       |  commit: the echoes of all parties, from wherever they come         |
       |  confirm: the new share is stored  |                                |

Distributed key generation as in FROST (Komlo and Goldberg 2020, figure 1) on Feldman's sharing. In a refresh or a
resharing each of t old holders deals its share times its Lagrange coefficient; the first commitment has to be that
multiple of its public key, so the group key stays, and old and new shares do not mix.

**Everybody can judge.** Whatever an honest party refuses is provable from signed messages alone (`judgement`). A deal
carries the signed keys that it was sealed to, an echo the signed headers of the deals: a board that shows different
parties different messages, or swaps keys, is caught by signatures, and a sender that signs two things is convicted by
both. Silence convicts nobody.

**Never two keys.** An echo and an abort fill the same slot, *vote*. A commit is the echoes of all parties over the same
deals.

1. In one ceremony there are never two commits: both would need an echo of each honest party, which signs only one.
2. An honest party refuses only if it has not echoed, and never echoes afterwards. So an honest party's abort excludes a
   commit for ever, whoever else lies. An order or a deadline is such a vote and nothing else: a party that has echoed
   does not obey it, it stays *prepared* until it sees a commit or an abort.
3. Only a party that signs both, an echo for some and an abort for others, lets some commit while others see an abort.
   Therefore a commit outweighs every abort. All honest parties have echoed then, and who has echoed keeps its share
   through an abort (`Party.is_revivable`) until so many have refused that one of them must be honest, or until a later
   generation is committed. The echoes that one honest party has are enough for every other one, so all come to the
   same end, and the two votes convict the liar.
4. Between ceremonies: a generation's number, and a generated key's epoch, are used in one ceremony only. Whoever starts
   or approves one must take numbers greater than those of every ceremony in which it has echoed.

**What remains.** If a party falls silent for ever after the others have echoed, they stay prepared: nobody can know
whether it has echoed to somebody. A new ceremony with greater numbers can be started meanwhile. The last dealer can
choose its polynomial after seeing the others' commitments and so influence bits of the public key, as in FROST; this
gives it nothing about the key.

**What must be durable when.** A party's `state` before anything that it returned is sent; it is secret. A board's
messages before they are acknowledged. Old shares until `may_retire`.
"""

from jointrisk.oprf.ceremony.aborts import Abort, Complaint, Conflict, Exhibit, Reason
from jointrisk.oprf.ceremony.board import Board
from jointrisk.oprf.ceremony.messages import LONGEST_MESSAGE, MessageKind, SignedMessage
from jointrisk.oprf.ceremony.outcome import GroupKey, Outcome, may_retire
from jointrisk.oprf.ceremony.party import Party, Phase
from jointrisk.oprf.ceremony.suite import Sign, Suite
from jointrisk.oprf.ceremony.terms import Dealer, Holder, Kind, Terms

__all__ = [
    "LONGEST_MESSAGE",
    "Abort",
    "Board",
    "Complaint",
    "Conflict",
    "Dealer",
    "Exhibit",
    "GroupKey",
    "Holder",
    "Kind",
    "MessageKind",
    "Outcome",
    "Party",
    "Phase",
    "Reason",
    "Sign",
    "SignedMessage",
    "Suite",
    "Terms",
    "may_retire",
]
