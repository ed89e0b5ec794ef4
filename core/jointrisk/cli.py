"""The ``jointrisk`` command: a group that loads its subcommands when they are asked for.

The shared package imports neither the node's nor the coordinator's: they are found by name, at run time.
"""

import importlib
import sys

import click

from jointrisk import __version__
from jointrisk.errors import JointriskError

_SUBCOMMANDS = {
    "coordinator": "jointrisk_coordinator.cli",
    "lab": "jointrisk_lab.cli",
    "node": "jointrisk_node.cli",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        module = _SUBCOMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command()
        command.name = cmd_name
        return command


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 failed; 2 bad input; 3 not found; 4 conflict; 5 refused; 6 other protocol "
    "version; 7 unreachable; 8 too late; 9 data breaks the contract; 10 corrupt; 130 interrupted.",
)
@click.version_option(__version__, prog_name="jointrisk")
def command() -> None:
    """Joint risk control for lenders, without exposing customer data."""


def main() -> None:
    """Run the command line; errors end with one line, a remedy and a documented exit code."""
    try:
        code = command(prog_name="jointrisk", standalone_mode=False)
    except JointriskError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.remedy:
            click.echo(f"  {error.remedy}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
