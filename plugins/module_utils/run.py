"""The thin entry of every module: options in, result out, in whichever process Ansible chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from .errors import MeshError
from .options import Spec
from .task import Handler, Result, Task, failure_of
from .visible import visible


class Entry(NamedTuple):
    """What a module is: its options, their constraints and what it does."""

    spec: Spec
    handler: Handler
    constraints: Mapping[str, Any] = MappingProxyType({})


HOST: ContextVar[Callable[[Entry], None] | None] = ContextVar("host", default=None)
"""Who runs the module. Unset, it is AnsibleModule; the action plugin sets its own."""


def run(spec: Spec, handler: Handler, **constraints: Any) -> None:
    """Runs the handler. C(constraints) are AnsibleModule's: mutually_exclusive, required_one_of, required_together …"""
    entry = Entry(spec, handler, constraints)
    host = HOST.get()
    if host:
        host(entry)
    else:
        _as_module(entry)


def perform(entry: Entry, task: Task) -> Result:
    """The handler's result, or the failure as a result."""
    try:
        result = entry.handler(task)
    except MeshError as error:
        result = failure_of(error, task.params)
    return {**result, "invocation": {"module_args": visible(task.params)}}


def _as_module(entry: Entry) -> None:
    from ansible.module_utils.basic import AnsibleModule, missing_required_lib

    class Module(AnsibleModule):
        """Shows arguments as C(visible) does also when it refuses them."""

        def fail_json(self, msg: str, **result: Any) -> NoReturn:
            result.setdefault("invocation", {"module_args": visible(self.params)})
            super().fail_json(msg, **result)

    # no_log is about the system's log only, which must not hold manifests with Secrets.
    module: AnsibleModule = Module(  # type: ignore[no-untyped-call]
        argument_spec=entry.spec, supports_check_mode=True, no_log=True, **entry.constraints
    )
    try:
        import urllib3  # noqa: F401
        import yaml  # noqa: F401
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(str(error.name)))
    task = Task(module.params, module.check_mode, module._diff, module.debug)
    result = perform(entry, task)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
