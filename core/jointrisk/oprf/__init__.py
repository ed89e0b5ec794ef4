"""A pseudorandom function whose key nobody holds: RFC 9497 VOPRF(ristretto255, SHA-512) with a Shamir-shared key.

Whoever knows the output for an identifier can find the listings under it, so nobody may be able to compute outputs
alone, the coordinator included: identifiers are few enough to try all of them. The key k is shared t-of-n among holders
(`jointrisk.oprf.ceremony` makes it); an asker needs t of them for each input, and shows none of them the input::

    asker (requester, threshold)                              each holder j of a quorum of t (holder)
    ----------------------------                              ---------------------------------------
    knows PK = k*G, and PK_j = k_j*G from the ceremony        knows its share k_j of k
    checks sum(lambda_j * PK_j) = PK for the quorum
    C_i = blind_i * HashToGroup(input_i)   fresh blinds
                                  C_1 .. C_n, quorum
                         ------------------------------->     checks every C_i, takes all or none
                                                              D_i = (lambda_j * k_j) * C_i
                                                              proof = DLEQ over all i, fresh nonce
                               D_1 .. D_n, proof
                         <-------------------------------
    verifies each proof against lambda_j * PK_j
    N_i = 1/blind_i * sum of the D_i over the holders
    output_i = SHA-512(input_i, N_i, "Finalize")              = the output for input_i under k

where lambda_j is holder j's Lagrange coefficient for the quorum. To an asker with one holder's eyes this is RFC 9497 as
written, with the key lambda_j * k_j.

Modules: `group` (ristretto255 through libsodium), `libsodium` (where that comes from), `suite` (hashing), `sharing`
(Shamir, Feldman), `dleq` (proofs), `requester`, `holder`, `threshold`, `bulk` (all cores), `ceremony` (the key). They
compute and decide; storing, sending, signing, counting quotas and knowing who asks are done by who calls them.

Warnings:
- Randomness is an argument. Outside tests it is `os.urandom`: a blind that is guessed shows the input, a nonce that is
  used twice gives away the holder's share.
- A holder evaluates whatever it is asked. Quotas are all that stands between an asker and all identifiers.
- t holders together can compute every output. Shares of different generations must not mix: `threshold.Quorum` refuses
  what would otherwise be a silent "not found".
- Verification keys come from the ceremony, never with an answer.
- Bytes from outside become an `Element`, `Scalar` or `Proof` through `group.element`, `group.scalar` and
  `Proof.from_bytes` only; libsodium alone takes the identity, scalars from the order on, and in its version 1.0.18
  encodings with the last bit set.
- The same input gives the same output for as long as the key lives. Outputs are secrets of the asker; what is stored
  or shown is derived from them.
- Secrets are Python bytes, which cannot be wiped: they stay in the memory of the process until it is used again.
"""
