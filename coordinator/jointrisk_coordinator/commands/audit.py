"""``audit list | verify``: they read the database directly, so that they work without the daemon."""

import typer

from jointrisk.commandline.audit import audit_app

app: typer.Typer = audit_app("coordinator", "jointrisk_coordinator")
