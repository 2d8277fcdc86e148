"""What goes wrong in the lab, said so that the reader knows where and what to do."""

from __future__ import annotations


class LabError(Exception):
    """A message for a human: cluster, component, cause, remedy."""


class PortTaken(LabError):
    """Somebody else took a port between its choice and its use."""
