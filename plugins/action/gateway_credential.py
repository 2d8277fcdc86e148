from __future__ import annotations

from ansible_collections.meshfleet.istio.plugins.plugin_utils.compiled import action

ActionModule = action()
