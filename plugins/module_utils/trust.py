"""What the Secret C(cacerts) of a cluster is to hold, from what it holds now and the root that is wanted. No I/O.

istiod takes a changed bundle of roots without a restart only when the old bundle's bytes are part of the new one's, or
the other way round (C(ISTIO_MULTIROOT_MESH)); each step of a root transition keeps to that. The keys of the Secret:
https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from . import authority
from .authority import Issued, Shape, fingerprint, pem, stamp
from .errors import MeshError

if TYPE_CHECKING:
    from cryptography import x509

CERTIFICATE, KEY, ROOT, CHAIN = KEYS = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
PREPARE, SWITCH, FINISH = STEPS = ("prepare", "switch", "finish")


class Stage(Enum):
    """How far a cluster has come towards a root."""

    OTHER = "other"
    """It does not know the root."""
    PREPARED = "prepared"
    """It trusts the root, and its certificate is signed by another one."""
    SWITCHED = "switched"
    """Its certificate is signed by the root, and it trusts another one as well."""
    SINGLE = "single"
    """Its certificate is signed by the root, and it trusts no other."""


class Live(NamedTuple):
    """The authority that a cluster has, and when that was last changed. C(broken) says why it cannot be kept."""

    origin: str
    texts: Mapping[str, str]
    roots: tuple[x509.Certificate, ...]
    issued: Issued | None
    broken: str = ""
    changed: datetime | None = None


class Wanted(NamedTuple):
    """The root that a cluster is to have, and how its intermediate comes about.

    C(shape_of) are the options that the user set and an existing intermediate must have. C(given) is an authority that
    comes from elsewhere; without it, C(make) issues one. C(settle) is how long workloads may take to renew theirs.
    """

    root: x509.Certificate
    make: Callable[[], Issued]
    shape: Shape
    must: Callable[[x509.Certificate], str] = lambda _certificate: ""
    given: Issued | None = None
    renew_before: timedelta = timedelta(0)
    settle: timedelta = timedelta(0)


class Decision(NamedTuple):
    """The values of the Secret, where the cluster stands with them, why the intermediate is new, what to warn of."""

    texts: Mapping[str, str]
    stage: Stage
    authority: Issued
    renewed: str = ""
    warnings: tuple[str, ...] = ()


def read(origin: str, texts: Mapping[str, str], now: datetime) -> Live:
    """The authority in the texts of a Secret. C(origin) names the Secret in errors.

    Raises MeshError when its roots cannot be read: then nobody knows what the cluster trusts.
    """
    try:
        roots = tuple(dict.fromkeys(authority.certificates(texts.get(ROOT) or "", f"{ROOT} of {origin}")))
    except MeshError as error:
        raise MeshError(
            f"{error}. What the cluster trusts is not known; put the root back, or delete {origin} if no istiod uses it"
        ) from error
    try:
        first, *more = authority.certificates(texts.get(CERTIFICATE) or "", CERTIFICATE)
        key = authority.private_key(texts.get(KEY) or "", KEY)
        chain = authority.certificates(texts[CHAIN], CHAIN) if texts.get(CHAIN) else []
    except MeshError as error:
        return Live(origin, texts, roots, None, str(error))
    between = tuple(one for one in dict.fromkeys([*more, *chain]) if one != first and one not in roots)
    last = between[-1] if between else first
    root = next((one for one in roots if one == first or authority.issued_by(last, one)), roots[0])
    issued = Issued(first, key, between, root)
    return Live(origin, texts, roots, issued, "; ".join(authority.problems(issued, now)))


def stage(live: Live, root: x509.Certificate) -> Stage:
    if root not in live.roots:
        return Stage.OTHER
    if len(live.roots) == 1:
        return Stage.SINGLE
    return Stage.SWITCHED if live.issued and live.issued.root == root else Stage.PREPARED


def decide(
    live: Live | None,
    wanted: Wanted,
    step: str | None,
    now: datetime,
    *,
    check: bool = False,
    in_force: Sequence[x509.Certificate] = (),
) -> Decision:
    """What the Secret is to hold after this run. C(step) is that of a root transition, None without one.

    C(in_force) are the roots that a running istiod hands out, where that was asked: see C(needs_word).

    A step that a cluster has behind it changes nothing, so that a run that was stopped is resumed by the same call. In
    check mode a step that would be skipped is taken for done. Raises MeshError for what must not happen.
    """
    if wanted.given:
        _refuse(authority.problems(wanted.given, now))
    if live is None:
        if step and not check:
            raise MeshError(
                "there is no Secret cacerts, so there is no root to move from; make it without root_transition, from "
                "the root that the other clusters have"
            )
        return _fresh(wanted, None, (wanted.root,), now, "")
    now_at = stage(live, wanted.root)
    if in_force and set(in_force).isdisjoint(live.roots):
        return _put_back(live, wanted, step, in_force, now)
    if step is None:
        return _kept_up(live, wanted, now_at, now)
    if step == PREPARE and now_at is Stage.OTHER:
        return _prepared(live, wanted, now)
    if step != PREPARE and now_at is Stage.OTHER and not check:
        raise MeshError(
            f"{live.origin} does not hold the root {fingerprint(wanted.root)} yet; run root_transition: prepare on "
            f"every cluster first"
        )
    if step == FINISH and now_at is Stage.PREPARED and not check:
        raise MeshError(
            f"the certificate in {live.origin} is not yet signed by the root {fingerprint(wanted.root)}; run "
            f"root_transition: switch on every cluster first"
        )
    if (step, now_at) in ((SWITCH, Stage.PREPARED), (FINISH, Stage.SWITCHED)) and not check:
        _refuse_hurry(live, wanted, now)
    if step == PREPARE and now_at is Stage.PREPARED:
        return _unchanged(live, now_at)
    roots = live.roots if wanted.root in live.roots else (*live.roots, wanted.root)
    if now_at in (Stage.OTHER, Stage.PREPARED):
        reason = f"the root is now {fingerprint(wanted.root)}"
        return _fresh(wanted, live, (wanted.root,) if step == FINISH else roots, now, reason)
    return _maintained(live, wanted, (wanted.root,) if step == FINISH else live.roots, now)


def needs_word(live: Live, wanted: Wanted, step: str | None) -> bool:
    """Whether istiod's own word on the roots in force is needed, to tell a root replaced by hand from another root."""
    return step is not None or stage(live, wanted.root) is Stage.OTHER


def _put_back(
    live: Live, wanted: Wanted, step: str | None, in_force: Sequence[x509.Certificate], now: datetime
) -> Decision:
    """The Secret was replaced, and istiod has taken nothing of it: no certificate is of the root in it.

    A restart of istiod would put that root into force at once, and a transition would lead away from it.
    """
    there, handed_out = _told(live.roots), _told(in_force)
    if step is None and tuple(in_force) == (wanted.root,):
        return _fresh(wanted, None, (wanted.root,), now, f"istiod does not hand out the root {there}, but {handed_out}")
    remedy = "put it back: run this with the root that istiod hands out, and without root_transition"
    if len(in_force) > 1:
        remedy = "put its former values back: a root transition was under way"
    raise MeshError(
        f"{live.origin} was replaced: it holds the root {there}, and istiod hands out {handed_out}. Do not restart "
        f"istiod, which would put that root into force and make workloads refuse each other; {remedy}"
    )


def _told(roots: Sequence[x509.Certificate]) -> str:
    return " and ".join(fingerprint(one) for one in roots)


def _refuse_hurry(live: Live, wanted: Wanted, now: datetime) -> None:
    """Workloads take new roots, and certificates of the new authority, when they renew their own: hours later."""
    if live.changed and now < live.changed + wanted.settle:
        hours = wanted.settle // timedelta(hours=1)
        raise MeshError(
            f"the step before was done at {stamp(live.changed)}, and workloads may need {hours} hours from then on to "
            f"take it over; run this again after {stamp(live.changed + wanted.settle)}, or restart all workloads of "
            f"the mesh and set settle_hours: 0"
        )


def _kept_up(live: Live, wanted: Wanted, now_at: Stage, now: datetime) -> Decision:
    """Without a transition: the root is never another one than before."""
    there = _told(live.roots)
    ours = fingerprint(wanted.root)
    if now_at is Stage.OTHER:
        raise MeshError(
            f"the root of the cluster ({live.origin}) is {there}, the wanted one is {ours}: replaced at once, "
            f"workloads would refuse each other until all are restarted. Give the live root and its key, or move in "
            f"steps, with root_transition: prepare first (playbook root_transition)"
        )
    if now_at is Stage.PREPARED:
        raise MeshError(
            f"the cluster trusts {there}, and its certificate is not yet signed by the wanted one, {ours}: a root "
            f"transition is under way; go on with root_transition: switch, or give the root that has signed it"
        )
    decision = _maintained(live, wanted, live.roots, now)
    if now_at is Stage.SWITCHED:
        others = ", ".join(fingerprint(one) for one in live.roots if one != wanted.root)
        said = f"cacerts trusts another root as well ({others}); root_transition: finish takes it out"
        decision = decision._replace(warnings=(*decision.warnings, said))
    return decision


def _prepared(live: Live, wanted: Wanted, now: datetime) -> Decision:
    """The first step: the new root beside the old one, nothing else new."""
    if live.issued is None or live.broken:
        raise MeshError(
            f"{live.origin} holds no authority that works: {live.broken}. There is nothing to move from; delete the "
            f"Secret if no workload depends on it, and run without root_transition"
        )
    _refuse(authority.root_problems(wanted.root, now))
    old = live.texts[ROOT]
    bundle = old + ("" if old.endswith("\n") else "\n") + pem(wanted.root)
    return Decision({**_texts(live), ROOT: bundle}, Stage.PREPARED, live.issued)


def _unchanged(live: Live, now_at: Stage) -> Decision:
    if live.issued is None:
        raise MeshError(f"{live.origin} cannot be read: {live.broken}; go on with root_transition: switch")
    return Decision(_texts(live), now_at, live.issued)


def _maintained(live: Live, wanted: Wanted, roots: Sequence[x509.Certificate], now: datetime) -> Decision:
    """The live intermediate where it is still good, else a new one of the same root."""
    reason = _due(live, wanted, now)
    if reason or live.issued is None:
        return _fresh(wanted, live, roots, now, reason)
    texts = {**_texts(live), ROOT: _bundle(live, roots)}
    return Decision(texts, _stage_of(roots), live.issued, warnings=_warnings(live.issued, wanted, now))


def _bundle(live: Live | None, roots: Sequence[x509.Certificate]) -> str:
    """The live text where it holds just these roots: istiod compares bytes."""
    return live.texts[ROOT] if live and live.roots == tuple(roots) else pem(*roots)


def _stage_of(roots: Sequence[x509.Certificate]) -> Stage:
    return Stage.SINGLE if len(roots) == 1 else Stage.SWITCHED


def _due(live: Live, wanted: Wanted, now: datetime) -> str:
    """Why the live intermediate must give way; empty while it is good."""
    if live.issued is None or live.broken:
        return live.broken or "the certificate cannot be read"
    certificate = live.issued.certificate
    if live.issued.root != wanted.root:
        return f"the certificate is not signed by the root {fingerprint(wanted.root)}"
    if wanted.given:
        same = wanted.given.certificate == certificate and wanted.given.chain == live.issued.chain
        return "" if same else "another certificate is given"
    unlike = wanted.must(certificate)
    if unlike:
        return unlike
    left = certificate.not_valid_after_utc - now
    longer = authority.expected_end(wanted.root, wanted.shape.days, now) - certificate.not_valid_after_utc
    if left <= wanted.renew_before and longer > timedelta(minutes=1):
        return f"the certificate ends at {stamp(certificate.not_valid_after_utc)}, in {left.days} days"
    return ""


def _fresh(
    wanted: Wanted, live: Live | None, roots: Sequence[x509.Certificate], now: datetime, reason: str
) -> Decision:
    if wanted.given is None:
        _refuse(authority.root_problems(wanted.root, now, below=1))
    issued = wanted.given or wanted.make()
    _refuse(authority.problems(issued, now))
    chain = () if issued.certificate == issued.root else (issued.certificate, *issued.chain)
    texts = {
        CERTIFICATE: pem(issued.certificate),
        KEY: authority.key_pem(issued.key),
        ROOT: _bundle(live, roots),
        CHAIN: pem(*chain, issued.root),
    }
    return Decision(texts, _stage_of(roots), issued, reason, _warnings(issued, wanted, now))


def _refuse(found: Sequence[str]) -> None:
    """Raises MeshError for what istiod or the proxies would not take."""
    if found:
        raise MeshError(f"{'; '.join(found)}")


def _texts(live: Live) -> dict[str, str]:
    """The live values, but with a chain that begins with the certificate: proxies send it to their peers."""
    texts = {name: live.texts.get(name) or "" for name in KEYS}
    issued = live.issued
    if issued and (not texts[CHAIN] or authority.certificates(texts[CHAIN], CHAIN)[0] != issued.certificate):
        chain = () if issued.certificate == issued.root else (issued.certificate, *issued.chain)
        texts[CHAIN] = pem(*chain, issued.root)
    return texts


def _warnings(issued: Issued, wanted: Wanted, now: datetime) -> tuple[str, ...]:
    said: list[str] = []
    root_end, end = issued.root.not_valid_after_utc, issued.certificate.not_valid_after_utc
    if root_end - now <= wanted.renew_before:
        said.append(
            f"the root ends at {stamp(root_end)}; make a new one and move to it with the playbook root_transition"
        )
    elif wanted.given and end - now <= wanted.renew_before:
        said.append(f"the given certificate ends at {stamp(end)}; have it renewed and give the new one")
    return tuple(said)


def unlike(shape: Shape, explicit: frozenset[str]) -> Callable[[x509.Certificate], str]:
    """Tells in what a certificate is not as the options say that the user set; empty when it is."""

    def reason(certificate: x509.Certificate) -> str:
        has, length, names = (
            authority.key_type(certificate),
            authority.path_length(certificate),
            authority.dns_names(certificate),
        )
        if {"key_type", "key_size"} & explicit and has != shape.key:
            return f"its key is {has}, not {shape.key}"
        if "path_length" in explicit and length != shape.path_length:
            return f"its path length is {'unlimited' if length is None else length}, not {shape.path_length}"
        if "dns_names" in explicit and names != shape.dns_names:
            return f"its DNS names are {', '.join(names) or '(none)'}, not {', '.join(shape.dns_names) or '(none)'}"
        return ""

    return reason
