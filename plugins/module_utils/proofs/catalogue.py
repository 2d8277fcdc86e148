"""All proofs of one cluster, in the order of their codes."""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Finding
from . import own, remote, remotes
from .proof import Proof, Seen

PROOFS: tuple[Proof, ...] = (*own.PROOFS, *remotes.PROOFS, *remote.PROOFS)


def findings(seen: Seen) -> Iterator[Finding]:
    """What does not hold."""
    for one in PROOFS:
        yield from one.findings(seen)
