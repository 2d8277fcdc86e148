"""The collection's version, as in galaxy.yml."""

from __future__ import annotations

VERSION = "0.1.0"
