"""docs/cli.md: every command with its arguments and options, from the command tree itself."""

from collections.abc import Iterator

import click

from jointrisk.cli import command as jointrisk_command
from markdown_page import NOTE, prose, table


def command_page() -> str:
    """Return docs/cli.md: every command with its arguments and options."""
    context = click.Context(jointrisk_command, info_name="jointrisk")
    sections = [_command_section(each) for each in _commands(context)]
    return "\n".join(["# Command line\n", NOTE, *sections])


def _commands(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(group := context.command, click.Group):
        for name in group.list_commands(context):
            inner = group.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _commands(click.Context(inner, info_name=name, parent=context))


def _command_section(context: click.Context) -> str:
    level = "#" * min(2 + context.command_path.count(" "), 4)
    arguments = [p for p in context.command.params if isinstance(p, click.Argument)]
    usage = " ".join([context.command_path, *(_argument_name(a, context) for a in arguments)])
    parts = [f"{level} `{usage}`\n", prose(context.command.help)]
    if rows := [_parameter_row(p, context) for p in context.command.params if not _hidden(p)]:
        parts.append(table(("argument or option", "default", "meaning"), rows))
    if context.command.epilog:
        parts.append(prose(context.command.epilog))
    return "\n".join(parts)


def _hidden(parameter: click.Parameter) -> bool:
    return bool(getattr(parameter, "hidden", False)) or parameter.name == "help"


def _argument_name(argument: click.Argument, context: click.Context) -> str:
    return argument.make_metavar(context)


def _parameter_row(parameter: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    meaning = str(getattr(parameter, "help", None) or "")
    meaning = f"{meaning} {_limits(parameter.type)}".strip()
    if isinstance(parameter.envvar, str):
        meaning = f"{meaning} Environment: `{parameter.envvar}`.".strip()
    if isinstance(parameter, click.Argument):
        return f"`{_argument_name(parameter, context)}`", "", meaning
    return f"`{_option_name(parameter, context)}`", _option_default(parameter), meaning


def _option_name(option: click.Parameter, context: click.Context) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    is_flag = bool(getattr(option, "is_flag", False)) or getattr(option, "count", False)
    return names if is_flag else f"{names} {option.make_metavar(context).removesuffix(' RANGE')}"


def _limits(kind: object) -> str:
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    ends = [
        f"at least {kind.min}" if kind.min is not None else "",
        f"at most {kind.max}" if kind.max is not None else "",
    ]
    return f"{', '.join(end for end in ends if end).capitalize()}."


def _option_default(option: click.Parameter) -> str:
    if option.required:
        return "required"
    shown = getattr(option, "show_default", None)
    if isinstance(shown, str):
        return shown
    default = option.default
    # Click says "not given" by a value of its own, and False for a switch.
    if default in (None, False, "", (), []) or callable(default) or "UNSET" in repr(default):
        return ""
    return f"`{default}`"
