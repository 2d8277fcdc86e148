# Copyright: the meshfleet.istio contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible_collections.meshfleet.istio.plugins.plugin_utils.in_process import ActionModule

__all__ = ["ActionModule"]
