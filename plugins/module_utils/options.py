"""Option groups. A group has one name here, in doc_fragments, and in the modules that use it."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.common.parameters import env_fallback

Spec = dict[str, dict[str, Any]]


def _env(name: str, *more: str) -> dict[str, Any]:
    return {"fallback": (env_fallback, [name, *more])}


_CLUSTER: Spec = {
    "kubeconfig": {"type": "raw", **_env("K8S_AUTH_KUBECONFIG")},
    "context": {"type": "str", **_env("K8S_AUTH_CONTEXT")},
    "host": {"type": "str", **_env("K8S_AUTH_HOST")},
    "api_key": {"type": "str", "no_log": True, **_env("K8S_AUTH_API_KEY")},
    "username": {"type": "str", **_env("K8S_AUTH_USERNAME")},
    "password": {"type": "str", "no_log": True, **_env("K8S_AUTH_PASSWORD")},
    "validate_certs": {
        "type": "bool",
        "aliases": ["verify_ssl"],
        **_env("K8S_AUTH_VERIFY_SSL", "K8S_AUTH_VALIDATE_CERTS"),
    },
    "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"], **_env("K8S_AUTH_SSL_CA_CERT", "K8S_AUTH_CA_CERT")},
    "client_cert": {
        "type": "path",
        "aliases": ["cert_file"],
        **_env("K8S_AUTH_CERT_FILE", "K8S_AUTH_CLIENT_CERT"),
    },
    "client_key": {
        "type": "path",
        "aliases": ["key_file"],
        "no_log": False,
        **_env("K8S_AUTH_KEY_FILE", "K8S_AUTH_CLIENT_KEY"),
    },
    "proxy": {"type": "str", **_env("K8S_AUTH_PROXY")},
    "no_proxy": {"type": "str", **_env("K8S_AUTH_NO_PROXY")},
    "proxy_headers": {
        "type": "dict",
        # Else Ansible would look at the variables of the inner options only where a task sets one of them.
        "apply_defaults": True,
        "options": {
            "proxy_basic_auth": {"type": "str", "no_log": True, **_env("K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH")},
            "basic_auth": {"type": "str", "no_log": True, **_env("K8S_AUTH_PROXY_HEADERS_BASIC_AUTH")},
            "user_agent": {"type": "str", **_env("K8S_AUTH_PROXY_HEADERS_USER_AGENT")},
        },
    },
    "persist_config": {"type": "bool", **_env("K8S_AUTH_PERSIST_CONFIG")},
    "impersonate_user": {"type": "str", **_env("K8S_AUTH_IMPERSONATE_USER")},
    "impersonate_groups": {"type": "list", "elements": "str", **_env("K8S_AUTH_IMPERSONATE_GROUPS")},
    "cluster_name": {"type": "str"},
    "request_timeout": {"type": "float", "default": 30.0},
    "retries": {"type": "int", "default": 3},
}

_APPLY: Spec = {
    "force_conflicts": {"type": "bool", "default": False},
    "take_ownership": {"type": "bool", "default": False},
    "concurrency": {"type": "int", "default": 32},
    "dry_run_first": {"type": "bool", "default": True},
    "analyze": {"type": "str", "choices": ["off", "warn", "enforce"], "default": "off"},
    "root_namespace": {"type": "str", "default": "istio-system"},
}

_WAIT: Spec = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 300},
    "wait_for": {"type": "str"},
}

_STATE: Spec = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "propagation_policy": {
        "type": "str",
        "choices": ["Background", "Foreground", "Orphan"],
        "default": "Background",
    },
}

_OBJECT: Spec = _STATE | {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "labels": {"type": "dict"},
    "annotations": {"type": "dict"},
}

_GROUPS: dict[str, Spec] = {"cluster": _CLUSTER, "apply": _APPLY, "wait": _WAIT, "state": _STATE, "object": _OBJECT}


def options(*groups: str) -> Spec:
    """The options of the named groups, ready to be joined with a module's own. Raises KeyError for an unknown group."""
    return {name: spec for group in groups for name, spec in _GROUPS[group].items()}
