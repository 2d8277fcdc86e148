"""Roles' templates rendered as Ansible would, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.meshfleet.istio.plugins.filter import extension_providers, telemetries

ROOT = Path(__file__).parents[2]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def templar(role: str, **variables: Any) -> Templar:
    """Ansible's own templating, with the role's defaults and vars under the given variables."""
    folder = ROOT / "roles" / role
    files = (folder / name / "main.yml" for name in ("defaults", "vars"))
    own = {name: trusted(value) for path in files if path.exists() for name, value in load(path).items()}
    made = Templar(DataLoader(), {"inventory_hostname": "east", "groups": {}, "hostvars": {}} | own | variables)
    # Ansible's loader of plugins finds the collection only in a process that began with it.
    for module in (extension_providers, telemetries):
        for name, function in module.FilterModule().filters().items():
            made._engine.environment.filters[f"meshfleet.istio.{name}"] = function
    return made


def trusted(value: Any) -> Any:
    """The value with its strings marked as templates, as Ansible marks what it loads from a role."""
    if isinstance(value, dict):
        return {name: trusted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def rendered(role: str, **variables: Any) -> list[dict[str, Any]]:
    """The manifests that the role's template makes."""
    (template,) = (ROOT / "roles" / role / "templates").iterdir()
    text = templar(role, **variables).template(trust_as_template(template.read_text(encoding="utf-8")))
    return list(yaml.safe_load_all(text or ""))
