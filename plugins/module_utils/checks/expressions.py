"""Expressions of Envoy (CEL), and the attributes that they can name. Pure.

Follows https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes and
https://istio.io/latest/docs/tasks/observability/metrics/customize-metrics/#use-expressions-for-values.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lark import Tree

_CERTIFICATES = (
    "tls_version subject_local_certificate subject_peer_certificate dns_san_local_certificate dns_san_peer_certificate"
    " uri_san_local_certificate uri_san_peer_certificate sha256_peer_certificate_digest peer_certificate"
    " transport_failure_reason"
)
ATTRIBUTES: dict[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "request": "path url_path host scheme method headers headers_bytes referer useragent time id protocol query"
        " duration size total_size",
        "response": "code code_details flags grpc_status headers headers_bytes trailers size total_size"
        " backend_latency",
        "source": "address port",
        "destination": "address port",
        "connection": f"id mtls requested_server_name termination_details {_CERTIFICATES}",
        "upstream": "address port num_endpoints local_address request_attempt_count cx_pool_ready_duration locality"
        f" {_CERTIFICATES}",
        "xds": "node cluster_name cluster_metadata listener_direction listener_metadata route_name route_metadata"
        " virtual_host_name virtual_host_metadata upstream_host_metadata upstream_host_locality_metadata"
        " filter_chain_name",
        "metadata": "",
        "filter_state": "",
        "upstream_filter_state": "",
    }.items()
}
"""The fields of each attribute; any field where there are none."""

INSTEAD = {
    "upstream_cluster": "xds.cluster_name",
    "cluster_name": "xds.cluster_name",
    "route_name": "xds.route_name",
    "listener_direction": "xds.listener_direction",
    "node": "xds.node",
    "upstream_peer": "filter_state.upstream_peer",
    "downstream_peer": "filter_state.downstream_peer",
    "source.workload": "filter_state.downstream_peer.workload",
    "source.namespace": "filter_state.downstream_peer.namespace",
    "destination.workload": "filter_state.upstream_peer.workload",
    "destination.namespace": "filter_state.upstream_peer.namespace",
}
"""What is meant by names of access logs, of Mixer and of Istio's former Wasm filters."""

_TYPES = frozenset(("bool", "bytes", "double", "duration", "int", "list", "map", "null_type"))
_TYPES |= frozenset(("string", "timestamp", "type", "uint", "google"))
_MACROS = frozenset(("all", "exists", "exists_one", "filter", "map"))


class Expression(NamedTuple):
    """C(valid) is false when it does not parse. C(names) are the attributes in it, as C(request.host), in order."""

    valid: bool
    names: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def expression(text: str) -> Expression:
    """Needs the package cel-python."""
    from celpy.celparser import CELParseError, CELParser

    try:
        tree = CELParser().parse(text)
    except CELParseError:
        return Expression(False)
    fields: dict[int, str] = {}
    roots: dict[int, str] = {}
    bound: set[str] = set()
    for node in tree.iter_subtrees():
        if node.data == "ident":
            roots[id(node)] = str(node.children[0])
        elif node.data in ("member_dot", "member_index"):
            root, field = _root(node), _field(node)
            if root is not None and field:
                fields[id(root)] = field
        elif node.data == "member_dot_arg" and str(node.children[1]) in _MACROS:
            bound.update(_idents(node.children[2].children[0]))
    names = (f"{name}.{fields[key]}" if key in fields else name for key, name in roots.items() if name not in bound)
    return Expression(True, tuple(dict.fromkeys(name for name in names if name not in _TYPES)))


def unknown(name: str) -> bool:
    """Whether there is no such attribute."""
    root, _dot, field = name.partition(".")
    fields = ATTRIBUTES.get(root)
    return fields is None or bool(field and fields and field not in fields)


def _root(member: Tree[str]) -> Tree[str] | None:
    """The identifier of which this is a field, None where it is deeper inside or something else."""
    node = member.children[0]
    while not isinstance(node, str) and len(node.children) == 1 and node.data in ("member", "primary"):
        node = node.children[0]
    return None if isinstance(node, str) or node.data != "ident" else node


def _field(member: Tree[str]) -> str:
    if member.data == "member_dot":
        return str(member.children[1])
    tokens = (
        list(member.children[1].scan_values(lambda _token: True)) if not isinstance(member.children[1], str) else []
    )
    text = str(tokens[0]) if len(tokens) == 1 else ""
    return text[1:-1] if text[:1] in ("'", '"') and text[:1] == text[-1:] else ""


def _idents(tree: Tree[str] | str) -> Iterator[str]:
    if not isinstance(tree, str):
        yield from (str(node.children[0]) for node in tree.find_data("ident"))
