"""Encrypted listings: what only somebody with that very identifier in front of them can find and open.

Pure: bytes in, bytes out. Evaluating, sending, storing, quotas and windows are done by who calls this package.
docs/protocol.md, section 4, is the normative text::

    lister                                  coordinator                       reader (asker)
    ------                                  -----------                       --------------
    output = VOPRF(identifier), 64 bytes                                      output, the same
    witness, key = HKDF(output, epoch)                                        witness, key, the same
    tag = SHA-256(witness)[:16]                                               tag, the same
    sealed = AEAD(HKDF(key, entry id), label)
              witness, sealed
         ---------------------------->      witness fits the tag?
                                            stamp = HMAC(secret, lister, tag)
                                            log: hash of the stamped record
                                              records, marks, signed head
                                         ------------------------------->     chain leads to the head?
                                                                              looks up the tag, opens each

Modules: `derive` (witness, tag, key), `label` (what is sealed), `pseudonym` (what merges one lender's entries),
`record` (seal, open), `stamp` (distinct lenders), `log` (hash chain), `head` (signed heads, forks), `packed` (how they
travel).

Warnings:
- A VOPRF output, a witness, a key and a label are secrets. Tags, stamps and records name nobody, yet a tag beside the
  identifier that was asked for does. None of them belongs into a log or an error; none is in a ``repr``.
- One entry id, one label. A correction is a new entry with a new id, and a tombstone for the old one.
- What does not open is told beside what does: `record.open_all`, and never looks like "not found".
- Only records that opened count as lenders: a stamp alone proves nothing to a reader.
- Randomness is an argument. Outside tests it is `os.urandom`.
"""
