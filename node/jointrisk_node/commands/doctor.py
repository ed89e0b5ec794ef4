"""``doctor``: what would keep this node from working, each with its mend. Works without the daemon."""

import typer

from jointrisk.commandline.options import Json, existing_state, home


def register(app: typer.Typer) -> None:
    """Add the command to ``jointrisk node``."""
    app.command()(doctor)


def doctor(context: typer.Context, json: Json = False) -> None:
    """Check settings, certificate, clock, network, versions and data; exit code 1 when something is wrong."""
    from jointrisk.commandline.output import show_json
    from jointrisk_node.diagnosis import diagnose

    root = home(context)
    findings = diagnose(existing_state(root, "node"))
    if json:
        show_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.check:<12} {finding.detail}")
            if finding.remedy and not finding.ok:
                typer.echo(f"                    -> {finding.remedy}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)
