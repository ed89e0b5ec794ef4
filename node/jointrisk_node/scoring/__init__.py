"""Scores at a node: of files and queries by a command, of single applicants by the daemon; on its own data."""

from jointrisk_node.scoring.settings import ScoringSettings

__all__ = ["ScoringSettings"]
