# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the collection's modules inside Ansible's own worker process where that is safe, else as ordinary modules.

The libraries are imported here, at the top: Ansible loads action plugins before it forks its workers, so that a run
pays for the imports once and not once per task.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from typing import Any, cast

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.meshfleet.istio.plugins.module_utils import kubeconfig, shared
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError
from ansible_collections.meshfleet.istio.plugins.module_utils.manifests import check_shape, yaml_loader
from ansible_collections.meshfleet.istio.plugins.module_utils.run import HOST, Entry, perform
from ansible_collections.meshfleet.istio.plugins.module_utils.sources import manifests_in
from ansible_collections.meshfleet.istio.plugins.module_utils.task import Task
from ansible_collections.meshfleet.istio.plugins.module_utils.visible import visible
from ansible_collections.meshfleet.istio.plugins.plugin_utils.compiled import byte_code

display = Display()
_COLLECTION = "meshfleet.istio"
_SOURCES = {"resources": ("src", "template"), "analyze": ("src", "template"), "istio_operator": ("src",)}
"""Options that name files of the controller, by module."""

_OF_THE_INVENTORY = {
    "cluster_name": "cluster_name",
    "kubeconfig": "cluster_kubeconfig",
    "context": "cluster_context",
    "api_key": "cluster_api_key",
}
"""Variables of a host that is a cluster, by the option that they are for."""
_OTHERWISE = ("host", "kubeconfig", "context", "api_key", "username", "client_cert")
"""Options of a task that lead elsewhere, or as somebody else."""


def _preload() -> None:
    """Imports what the tasks of this run need; what is missing is reported by the task that needs it."""
    for needed in ("urllib3", f"ansible_collections.{_COLLECTION}.plugins.module_utils.handlers"):
        with suppress(ImportError):
            importlib.import_module(needed)
    yaml_loader()
    shared.share()
    if kubeconfig.needs_kubernetes():
        # Half a second, which a run without identity providers does not pay and others pay once.
        with suppress(ImportError):
            importlib.import_module("kubernetes.config")


_preload()

Variables = Mapping[str, Any]


class ActionModule(ActionBase):
    """One action for every module of the collection; C(self._task.action) says which module is run."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        with byte_code():
            return self._run(super().run(tmp, task_vars), task_vars or {})

    def _run(self, result: dict[str, Any], variables: Variables) -> dict[str, Any]:
        args = self._with_sources(_untagged(self._task.args), variables)
        args = self._with_kubeconfigs({**self._inventory_says(args, variables), **args})
        interpreter = self._interpreter(variables)
        allowed = self._templar.template(variables.get("meshfleet_in_process", True))
        elsewhere = _elsewhere(self._task, self._connection, allowed, interpreter)
        if not elsewhere:
            result.update(self._run_here(args))
            return result
        host = variables.get("inventory_hostname")
        display.vv(f"{self._task.action} runs as an ordinary module, which takes longer: {elsewhere}", host=host)
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        if self._connection.transport == "local" and _discovered(interpreter):
            # Discovery would find the system's Python, which has none of our libraries; Ansible's own has them.
            variables = self._with_interpreter(variables, sys.executable)
        done = self._execute_module(
            module_name=f"{_COLLECTION}.{self._name}", module_args=args, task_vars=variables, wrap_async=wrap_async
        )
        return {**result, **done}

    @property
    def _name(self) -> str:
        """The module's short name."""
        return self._task.action.rpartition(".")[2]

    def _interpreter(self, variables: Variables) -> str:
        """What the ordinary module would be run by; empty where Ansible looks for it."""
        found = self._templar.template(self._of_delegate(variables).get("ansible_python_interpreter"))
        return str.__str__(found) if isinstance(found, str) else ""

    def _of_delegate(self, variables: Variables) -> Variables:
        """The variables of the host that the module would run on."""
        delegates: Variables = variables.get("ansible_delegated_vars") or {}
        found: Variables = delegates.get(self._task.delegate_to) or variables
        return found

    def _with_interpreter(self, variables: Variables, interpreter: str) -> Variables:
        said = {"ansible_python_interpreter": interpreter}
        delegate = self._task.delegate_to
        if not delegate:
            return {**variables, **said}
        delegates = {**variables["ansible_delegated_vars"], delegate: {**self._of_delegate(variables), **said}}
        return {**variables, "ansible_delegated_vars": delegates}

    def _inventory_says(self, args: Mapping[str, Any], variables: Variables) -> dict[str, Any]:
        """The cluster that the inventory's host is, for tasks that do not say: ad hoc, no playbook does it for them.

        Else a repair, and with a kubeconfig or a variable for all of them those of a whole fleet, would go to one
        context, be it the one that E(K8S_AUTH_CONTEXT) names or that the kubeconfig holds for current.
        """
        asks_kubeconfig = not args.get("host")
        options = ["cluster_name", *(("kubeconfig", "context") if asks_kubeconfig else ())]
        if not any(args.get(name) for name in _OTHERWISE) and not os.environ.get("K8S_AUTH_HOST"):
            # A token is for the inventory's own way to the cluster only: no other server may see it.
            options.append("api_key")
        said = {"cluster_name": variables.get("inventory_hostname")}
        for option in options:
            variable = _OF_THE_INVENTORY[option]
            if option not in args and variable in variables:
                said[option] = self._templar.template(variables[variable])
        in_fleet = "clusters" in variables.get("group_names", ())
        if asks_kubeconfig and in_fleet and "context" not in {**args, **said}:
            said["context"] = variables["inventory_hostname"]
        return cast("dict[str, Any]", _untagged(said))

    def _with_kubeconfigs(self, args: dict[str, Any]) -> dict[str, Any]:
        """Paths as the controller knows them, of remotes too; what a vault holds is passed on decrypted."""
        if self._connection.transport != "local":
            return args
        known = cache(self._kubeconfig)

        def located(options: Any) -> Any:
            named = options.get("kubeconfig") if isinstance(options, dict) else None
            if not named or not isinstance(named, str) or kubeconfig.is_inline(named):
                return options
            return {**options, "kubeconfig": known(named)}

        remotes = args.get("remotes")
        more = {"remotes": [located(remote) for remote in remotes]} if isinstance(remotes, list) else {}
        return {**located(args), **more}

    def _kubeconfig(self, named: str) -> str | dict[str, Any]:
        # Ansible runs ordinary modules in the playbook's folder: what is relative must not be so any more.
        paths = [
            os.path.abspath(path) if os.path.exists(path) else self._found("files", path)
            for path in kubeconfig.located(named)
        ]
        if not any(os.path.isfile(path) and _is_vault(path) for path in paths):
            return os.pathsep.join(paths)
        return kubeconfig.merged([kubeconfig.parsed(self._read(path), path) for path in paths])

    def _found(self, folder: str, path: str) -> str:
        with suppress(AnsibleError):
            return str(self._find_needle(folder, path))  # type: ignore[no-untyped-call]
        return path

    def _with_sources(self, args: dict[str, Any], variables: Variables) -> dict[str, Any]:
        """Files and templates are the controller's: read here, vault and all, and passed on as definition."""
        sources = {key: args.pop(key) for key in _SOURCES.get(self._name, ()) if args.get(key)}
        if not sources:
            return args
        read = {"src": self._read, "template": lambda path: self._templated(path, variables)}
        shape = partial(check_shape, operators=self._name == "analyze")
        checked = {} if self._name == "istio_operator" else {"check": shape}
        try:
            found = [
                document
                for key, paths in sources.items()
                for document in manifests_in(paths, partial(self._find, key), read[key], **checked)
            ]
        except MeshError as error:
            said = f"{variables.get('inventory_hostname')}: {str(error).rstrip('.')}. Nothing was applied."
            # Ansible would tell the cause beside it, which says the same.
            raise AnsibleActionFail(said) from None
        definition = args.pop("definition", None) or []
        return {**args, "definition": [*(definition if isinstance(definition, list) else [definition]), *found]}

    def _find(self, key: str, path: str) -> str:
        if os.path.isabs(os.path.expanduser(path)):
            return os.path.expanduser(path)
        folder = "templates" if key == "template" else "files"
        try:
            found: str = self._find_needle(folder, path)  # type: ignore[no-untyped-call]
        except AnsibleError as error:
            raise MeshError(f"{key}: {' '.join(str(error).split())}.") from error
        return found

    def _read(self, path: str) -> str:
        text: str = self._loader.get_text_file_contents(path)
        return text

    def _templated(self, path: str, variables: Variables) -> str:
        templar = self._templar.copy_with_new_env(
            searchpath=[os.path.dirname(path)], available_variables=dict(variables)
        )
        from ansible.template import trust_as_template

        return str(templar.template(trust_as_template(self._read(path)), escape_backslashes=False))

    def _run_here(self, args: Mapping[str, Any]) -> dict[str, Any]:
        collected: list[dict[str, Any]] = []
        module = importlib.import_module(f"ansible_collections.{_COLLECTION}.plugins.modules.{self._name}")
        token = HOST.set(lambda entry: collected.append(self._perform(entry, args)))
        try:
            module.main()
        finally:
            HOST.reset(token)
        return collected[0]

    def _perform(self, entry: Entry, args: Mapping[str, Any]) -> dict[str, Any]:
        """What AnsibleModule does around a module: validation, defaults, environment, no_log, warnings, invocation."""
        # The validator copies what it is given, which takes longer than all else that is done with many manifests.
        raw = {name: args[name] for name in ("definition",) if name in entry.spec and args.get(name) is not None}
        validated = ArgumentSpecValidator(entry.spec, **entry.constraints).validate({**args, **dict.fromkeys(raw, "")})
        params = {**validated.validated_parameters, **raw}
        if validated.error_messages:
            message = validated.errors.msg
            if isinstance(validated.errors[0], UnsupportedError):
                message = f"Unsupported parameters for ({self._task.action}) module: {message}"
            shown = {"module_args": visible(params)}
            refused = {"failed": True, "msg": message, "invocation": shown}
            return cast("dict[str, Any]", remove_values(refused, validated._no_log_values))
        task = Task(params, self._task.check_mode, self._task.diff, self._progress)
        result = perform(entry, task)
        for warning in validated._warnings:
            result.setdefault("warnings", []).append(
                f"Both option {warning['option']} and its alias {warning['alias']} are set."
            )
        return cast("dict[str, Any]", remove_values(result, validated._no_log_values))

    def _progress(self, message: str) -> None:
        if not self._task.no_log:
            display.display(message if len(message) <= 100 else f"{message[:99]}…")


def _is_vault(path: str) -> bool:
    with open(path, "rb") as stream:
        return stream.read(14) == b"$ANSIBLE_VAULT"


def _elsewhere(task: Any, connection: Any, allowed: Any, interpreter: str) -> str:
    """Why the task is one for the ordinary module; empty where that would run here, as this user, in this environment,
    by this interpreter.
    """
    if not boolean(allowed, strict=False):
        return "meshfleet_in_process is false"
    if connection.transport != "local":
        return f"the connection is {connection.transport}, not local"
    for asked, word in (
        (task.become, "become"),
        (task.async_val, "async"),
        (any(task.environment or ()), "environment"),
    ):
        if asked:
            return f"the task has {word}"
    if not _discovered(interpreter) and _python(interpreter) != _python(sys.executable):
        return f"ansible_python_interpreter is {interpreter}, and Ansible's own {sys.executable}"
    return ""


def _discovered(interpreter: str) -> bool:
    return not interpreter or interpreter.startswith("auto")


def _python(interpreter: str) -> tuple[str, str]:
    """What makes two interpreters the same one: the program, and the virtual environment whose libraries it has."""
    path = os.path.abspath(shutil.which(interpreter) or interpreter)
    folder = os.path.dirname(os.path.dirname(path))
    virtual = os.path.isfile(os.path.join(folder, "pyvenv.cfg"))
    return os.path.realpath(path), os.path.realpath(folder) if virtual else ""


def _untagged(value: Any) -> Any:
    """Values as a module of its own process would get them: Ansible's tagged and encrypted strings are plain ones."""
    if isinstance(value, Mapping):
        return {str(key): _untagged(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_untagged(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str.__str__(value) if isinstance(value, str) else str(value)
