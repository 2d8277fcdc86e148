# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An inventory of the clusters that kubeconfigs know: names and paths only, no credentials."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kubeconfig
short_description: Clusters from the contexts of kubeconfig files
version_added: "0.1.0"
author: meshfleet contributors (@meshfleet)
description:
  - Each context of the kubeconfigs becomes a host of the group C(clusters), with the variables C(cluster_name),
    C(cluster_context), C(cluster_kubeconfig), and C(ansible_connection), which is C(local).
  - Where the context has the name that EKS, eksctl or GKE give it, C(cluster_provider), C(cluster_account) (the account
    or project) and C(cluster_region) say what is in the name.
  - Credentials are left in the files. No variable holds any.
  - The file that configures it is called C(kubeconfig.yml), C(meshfleet.yml), or ends in C(.kubeconfig.yml) or
    C(.meshfleet.yml); C(.yaml) will do as well.
  - Where E(ANSIBLE_INVENTORY_ENABLED) names the plugin, a kubeconfig itself may be the inventory.
extends_documentation_fragment:
  - constructed
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [meshfleet.istio.kubeconfig]
  paths:
    description:
      - Kubeconfigs, read one by one; each may also be a glob, or several files separated by C(:), which are then read
        as one, as by kubectl. C(~) and environment variables are expanded, relative paths are relative to the
        inventory's file, files that are encrypted with Ansible Vault are decrypted.
      - Without it, E(KUBECONFIG), then C(~/.kube/config) is used.
    type: list
    elements: str
  include:
    description: Globs. Only the clusters whose name or context matches one of them are hosts.
    type: list
    elements: str
    default: ["*"]
  exclude:
    description: Globs. The clusters whose name or context matches one of them are no hosts.
    type: list
    elements: str
    default: []
  naming:
    description:
      - V(short) names a cluster by the last part of its context, if the context is the ARN of an EKS cluster
        (C(arn:aws:eks:region:account:cluster/name)), eksctl's (C(user@name.region.eksctl.io)) or GKE's
        (C(gke_project_zone_name)); any other context is a name already.
      - V(context) names every cluster by its context.
    type: str
    choices: [short, context]
    default: short
  names:
    description: Names of one's own, by context.
    type: dict
    default: {}
  patterns:
    description: Groups, each with globs. The clusters whose name or context matches one of them are in the group.
    type: dict
    default: {}
seealso:
  - module: meshfleet.istio.resources
"""

EXAMPLES = r"""
# Every cluster that kubectl knows: `ansible-inventory -i kubeconfig.yml --graph`
plugin: meshfleet.istio.kubeconfig
---
# Production's clusters from a folder of kubeconfigs, in groups by environment and region
plugin: meshfleet.istio.kubeconfig
paths:
  - ~/.kube/clusters/*.yaml
include: ["prod-*"]
exclude: ["*-sandbox"]
patterns:
  europe: ["*-eu-*", "gke_*_europe-*"]
  edge: ["prod-edge-*"]
keyed_groups:
  - key: cluster_region
    prefix: region
compose:
  mesh_id: "'shop-' ~ cluster_provider | default('own')"
---
# Two clusters with one name in two regions
plugin: meshfleet.istio.kubeconfig
names:
  arn:aws:eks:eu-west-1:111122223333:cluster/shop: shop-eu
  arn:aws:eks:us-east-1:111122223333:cluster/shop: shop-us
"""

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable

from ansible_collections.meshfleet.istio.plugins.module_utils import kubeconfig
from ansible_collections.meshfleet.istio.plugins.module_utils.errors import MeshError

_FILE = re.compile(r"(?:.*\.)?(?:kubeconfig|meshfleet)\.ya?ml")
_CLOUDS = {
    "eks": (
        re.compile(r"arn:aws[\w-]*:eks:(?P<region>[^:]+):(?P<account>\d+):cluster/(?P<name>.+)"),
        re.compile(r".+@(?P<name>[\w-]+)\.(?P<region>[\w-]+)\.eksctl\.io"),
    ),
    "gke": (re.compile(r"(?:gke|connectgateway)_(?P<account>[^_]+)_(?P<region>[^_]+)_(?P<name>[^_]+)"),),
}
"""What clouds call the contexts that they write."""


class Found(NamedTuple):
    """A context: the cluster's name, the kubeconfig that holds it, and what its name says."""

    name: str
    context: str
    kubeconfig: str
    said: Mapping[str, str]

    def matches(self, globs: Sequence[str]) -> bool:
        return any(fnmatchcase(text, pattern) for text in (self.name, self.context) for pattern in globs)


def said_by(context: str) -> dict[str, str]:
    """What a cloud's name of a context tells: provider, name, and account and region where it has them."""
    for provider, patterns in _CLOUDS.items():
        for pattern in patterns:
            if parts := pattern.fullmatch(context):
                return {"provider": provider, **parts.groupdict()}
    return {}


def distinct(clusters: Sequence[Found]) -> Sequence[Found]:
    """The clusters themselves. Raises MeshError that names two which would be one host."""
    seen: dict[str, Found] = {}
    for one in clusters:
        other = seen.setdefault(one.name, one)
        if other is not one:
            raise MeshError(
                f"two contexts would be the host {one.name}: {other.context} of {other.kubeconfig}, and {one.context} "
                f"of {one.kubeconfig}; give each a name of its own (option names), set naming to context, or leave one "
                f"out (option exclude)"
            )
    return clusters


class InventoryModule(BaseInventoryPlugin, Constructable):
    NAME = "meshfleet.istio.kubeconfig"

    def verify_file(self, path: str) -> bool:
        if not super().verify_file(path):  # type: ignore[no-untyped-call]
            return False
        return bool(_FILE.fullmatch(os.path.basename(path))) or _is_kubeconfig(path)

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        if _is_kubeconfig(path):
            self.set_options(direct={"plugin": self.NAME})
            sources: list[str] | None = [path]
        else:
            self._read_config_data(path)
            sources = self.get_option("paths")
        try:
            clusters = distinct(list(self._chosen(loader, sources, os.path.dirname(os.path.abspath(path)))))
        except MeshError as error:
            raise AnsibleParserError(f"{path}: {error}") from error
        inventory.add_group("clusters")
        for one in clusters:
            self._add(inventory, one)

    def _chosen(self, loader: DataLoader, sources: Sequence[str] | None, folder: str) -> Iterator[Found]:
        names = self.get_option("names")
        short = self.get_option("naming") == "short"
        for files in _sources(sources, folder):
            config = kubeconfig.merged([_content(loader, file) for file in files])
            for context in (entry["name"] for entry in config["contexts"] if entry.get("name")):
                said = said_by(context)
                name = names.get(context) or (said.get("name") if short else None) or context
                found = Found(str(name), context, os.pathsep.join(files), said)
                if found.matches(self.get_option("include")) and not found.matches(self.get_option("exclude")):
                    yield found

    def _add(self, inventory: InventoryData, one: Found) -> None:
        inventory.add_host(one.name, group="clusters")
        variables = {
            "ansible_connection": "local",
            "cluster_name": one.name,
            "cluster_context": one.context,
            "cluster_kubeconfig": one.kubeconfig,
            **{f"cluster_{part}": value for part, value in one.said.items() if part != "name"},
        }
        for variable, value in variables.items():
            inventory.set_variable(one.name, variable, value)
        for group, globs in self.get_option("patterns").items():
            added = inventory.add_group(self._sanitize_group_name(group))
            if one.matches([globs] if isinstance(globs, str) else globs):
                inventory.add_host(one.name, group=added)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, one.name, strict=strict)
        variables = inventory.hosts[one.name].get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), variables, one.name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, one.name, strict=strict)


def _sources(paths: Sequence[str] | None, folder: str) -> Iterator[list[str]]:
    """The kubeconfigs, each as its files. Raises MeshError for one that does not exist."""
    if paths is None:
        paths, folder = [os.environ.get("KUBECONFIG") or "~/.kube/config"], os.getcwd()
    for path in paths:
        wanted = [
            os.path.join(folder, os.path.expanduser(os.path.expandvars(part)))
            for part in path.split(os.pathsep)
            if part
        ]
        if len(wanted) == 1 and not os.path.exists(wanted[0]):
            found = [[file] for file in sorted(glob.glob(wanted[0])) if os.path.isfile(file)]
        else:
            found = [[os.path.normpath(file) for file in wanted if os.path.isfile(file)]]
        if not any(found):
            raise MeshError(f"there is no kubeconfig {path}; correct paths, or set KUBECONFIG")
        yield from found


def _content(loader: DataLoader, path: str) -> dict[str, Any]:
    try:
        text: str = loader.get_text_file_contents(path)
    except AnsibleError as error:
        raise MeshError(f"kubeconfig {path} cannot be read: {' '.join(str(error).split())}") from error
    return kubeconfig.parsed(text, path)


def _is_kubeconfig(path: str) -> bool:
    """Whether a file is a kubeconfig, and no settings of this plugin."""
    with suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as stream:
        text = stream.read()
        return bool(re.search(r'(?:^|[{,])\s*"?kind"?\s*:\s*"?Config\b', text, re.MULTILINE)) and "contexts" in text
    return False
