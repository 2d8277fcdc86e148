"""Makes every Python of a run believe that it is in a pod: the service account's folder is that of MESHFLEET_POD.

The real folder belongs to root. Python imports this file at its start when its folder is in PYTHONPATH: in Ansible's
own processes, and in those of ordinary modules.
"""

from __future__ import annotations

import builtins
import os
import ssl
from collections.abc import Callable
from typing import Any

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def moved(path: Any) -> Any:
    return path.replace(ACCOUNT, os.environ["MESHFLEET_POD"]) if isinstance(path, str) else path


def reading(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda path, *rest, **more: function(moved(path), *rest, **more)


def trusting(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, cafile=None, *rest, **more: function(self, moved(cafile), *rest, **more)


builtins.open = reading(builtins.open)
os.path.isfile = reading(os.path.isfile)
ssl.SSLContext.load_verify_locations = trusting(ssl.SSLContext.load_verify_locations)  # type: ignore[method-assign]
