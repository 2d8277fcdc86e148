"""Real Kubernetes clusters as local processes, for tests and for whoever has no cluster at hand.

`python -m tests.lab up`, then `eval "$(python -m tests.lab env)"`.
"""

from __future__ import annotations

from .audit import AuditEvent
from .errors import LabError
from .keeper import IstiodState
from .lab import ComponentStatus, Lab
from .waiting import until

__all__ = ["AuditEvent", "ComponentStatus", "IstiodState", "Lab", "LabError", "until"]
