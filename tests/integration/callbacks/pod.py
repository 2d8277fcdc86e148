"""Makes the run believe that it is in a pod: the service account's folder is another one.

The real folder belongs to root. The path is replaced in Ansible's main process, before it forks: so it is only for
tasks that run inside the workers.
"""

from __future__ import annotations

import os

from ansible.plugins.callback import CallbackBase

from ansible_collections.meshfleet.istio.plugins.module_utils import connection

DOCUMENTATION = r"""
name: pod
type: aggregate
short_description: Another folder for the pod's service account
description: See the top of the file.
author: meshfleet contributors (@meshfleet)
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "pod"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        connection._ACCOUNT = os.environ["MESHFLEET_POD"]
