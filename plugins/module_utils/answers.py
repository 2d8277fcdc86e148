"""What an API server's answer says: a refusal and its reason, warnings, and when to ask again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from .errors import ApiError


def refusal(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """The error that an answer of status 300 or more is, whether the API server gave it or something before it."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        decoded = {}
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        given = decoded.get("details")
        details = given if isinstance(given, dict) else {}
        causes = details.get("causes")
        error = ApiError(
            status,
            str(decoded.get("reason") or ""),
            str(decoded.get("message") or f"HTTP {status}"),
            tuple(cause for cause in causes if isinstance(cause, dict)) if isinstance(causes, list) else (),
        )
        seconds = details.get("retryAfterSeconds")
    else:
        text = body.decode(errors="replace").strip()
        error, seconds = ApiError(status, "", text[:300] or f"HTTP {status}"), None
    after = retry_after(headers.get("Retry-After"), headers.get("Date"))
    if after is None and isinstance(seconds, (int, float)) and seconds > 0:
        after = float(seconds)
    return error if after is None else replace(error, retry_after=after)


def retry_after(value: str | None, date: str | None = None) -> float | None:
    """The seconds of a Retry-After header, which holds seconds or a time; None for one that cannot be read.

    A time is counted from the answer's own C(date), since the clocks of two machines differ, else from now. See
    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after.
    """
    if not value:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    until = _time(value)
    if until is None:
        return None
    since = _time(date)
    if since is None:
        import time

        since = time.time()
    return max(0.0, until - since)


def _time(text: str | None) -> float | None:
    """Seconds since the epoch of a time as HTTP writes it."""
    from email.utils import mktime_tz, parsedate_tz

    parsed = parsedate_tz(text) if text else None
    try:
        return None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, OverflowError):
        return None


_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


def warnings(headers: Iterable[str]) -> tuple[str, ...]:
    """The texts of Warning headers, https://kubernetes.io/blog/2020/09/03/warnings/."""
    return tuple(re.sub(r"\\(.)", r"\1", text) for header in headers for text in _WARNING.findall(header))
