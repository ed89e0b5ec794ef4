"""What the members of a federation must compute identically, and what both daemons use.

``jointrisk`` is the shared package; ``jointrisk_node`` runs at a member institution, ``jointrisk_coordinator`` at the
coordinator. This package imports neither of them.
"""

__version__ = "0.1.0"

PROTOCOL_MIN = 1
"""The oldest wire protocol that this build speaks."""
PROTOCOL_MAX = 1
"""The newest wire protocol that this build speaks."""
