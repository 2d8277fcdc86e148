"""How far versions of Istio are apart. Pure.

Follows https://istio.io/latest/docs/releases/supported-releases/#control-planedata-plane-skew.
"""

from __future__ import annotations

import re

ALLOWED = 2
"""Minors that a proxy may be behind its control plane, and control planes of one mesh apart."""

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})")


def minors_behind(version: str, of: str) -> int | None:
    """Minors by which a version is behind another one, negative when ahead; None where this cannot be said."""
    one, other = _VERSION.match(version), _VERSION.match(of)
    if one is None or other is None or one[1] != other[1]:
        return None
    return int(other[2]) - int(one[2])
