"""Commands whose options are parameters and fields that `dynanoise.core.options` describes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, is_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from dynanoise.cli.exit_codes import exit_codes
from dynanoise.core.errors import InputError
from dynanoise.core.options import OptionField, option_field, option_fields

if TYPE_CHECKING:
    from dynanoise.benchmark.options import BenchOptions, OverheadOptions, SweepOptions

Command = Callable[..., None]


def command(app: typer.Typer, name: str | None = None) -> Callable[[Command], Command]:
    """Make a decorator that adds a function to an app as a command.

    A parameter of the function is either an option itself, ``Annotated[int, Option("...")] = 3``,
    or a dataclass of options; options of the same name in several dataclasses are one. Errors, in
    the function or while its dataclasses are made, end the command with one sentence and an exit
    code, see `exit_codes`. Lines of the docstring's last section, "Examples:", stand below the
    options in the help.

    Args:
        app: the app.
        name: name of the command; None for the function's.

    Returns:
        The decorator, which returns the function unchanged.
    """

    def add(function: Command) -> Command:
        dataclasses, options = _options_of(function)
        parameters = [
            key for key in inspect.signature(function).parameters if key not in dataclasses
        ]

        def run(**values: Any) -> None:
            with exit_codes():
                read = {key: _value(options[key], value) for key, value in values.items()}
                arguments = {
                    key: kind(**{field.name: read[field.name] for field in option_fields(kind)})
                    for key, kind in dataclasses.items()
                }
                function(**arguments, **{key: read[key] for key in parameters})

        signature = inspect.Signature([*map(_parameter, options.values())])
        run.__signature__ = signature  # type: ignore[attr-defined]
        text, _, examples = inspect.cleandoc(function.__doc__ or "").partition("\n\nExamples:\n")
        # Lines of a paragraph are joined: typer keeps their ends.
        run.__doc__ = "\n\n".join(part.replace("\n", " ") for part in text.split("\n\n"))
        lines = [line.strip() for line in examples.splitlines()]
        epilog = "\n\n".join(["Examples:", *lines]) if examples else None
        app.command(name or function.__name__, epilog=epilog)(run)
        return function

    return add


def refuse(options: Any, names: tuple[str, ...], why: str) -> None:
    """Raise if an option has another value than its default.

    Args:
        options: an instance of an options dataclass.
        names: names of fields that have no effect.
        why: the reason, for the message.

    Raises:
        InputError: naming the first such option.
    """
    for field in option_fields(type(options)):
        if field.name in names and getattr(options, field.name) != field.default:
            raise InputError(f"{field.flag} does not fit here: {why}.", "Leave it out.")


Options = TypeVar("Options", bound="BenchOptions | OverheadOptions | SweepOptions")


def with_device(options: Options) -> Options:
    """Return options with a device that is there.

    Args:
        options: options of a benchmark.

    Raises:
        InputError: if their device is not there.
        MissingExtraError: if torch is not installed.
    """
    if options.device == "cpu":
        return options
    from dynanoise.benchmark.benchmark import require_torch

    require_torch()
    from dynanoise.training.devices import choose_device

    return replace(options, device=choose_device(options.device))


def _options_of(function: Command) -> tuple[dict[str, type[Any]], dict[str, OptionField]]:
    """Dataclasses among a function's parameters, and all options, in their order."""
    hints = get_type_hints(function, include_extras=True)
    dataclasses: dict[str, type[Any]] = {}
    options: dict[str, OptionField] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if is_dataclass(hint):
            assert isinstance(hint, type)
            dataclasses[parameter.name] = hint
            options |= {field.name: field for field in option_fields(hint)}
            continue
        empty = parameter.default is inspect.Parameter.empty
        default = MISSING if empty else parameter.default
        option = option_field(parameter.name, hint, default)
        assert option is not None, f"{function.__name__}({parameter.name}) is not an option"
        options[parameter.name] = option
    return dataclasses, options


def _parameter(field: OptionField) -> inspect.Parameter:
    """Parameter of a typer command for an option."""
    option, kind, default = field.option, field.kind, field.default
    if option.read is not None:
        kind = str | None
        default = str(default) if default else None
    elif _repeated(field):
        kind, default = list[get_args(kind)[0]] | None, None  # type: ignore[misc]
    if option.argument:
        note: Any = typer.Argument(metavar=option.metavar, help=option.help)
    else:
        # typer itself adds the --no- form of a flag that is on by default.
        names = [] if default is True else [field.flag, *filter(None, [option.short])]
        note = typer.Option(
            *names, metavar=option.metavar, help=option.help, rich_help_panel=option.panel
        )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else default,
        annotation=Annotated[kind, note],
    )


def _value(field: OptionField, value: Any) -> Any:
    """Value of an option from what typer read."""
    if field.option.read is not None:
        return field.default if value is None else field.option.read(value)
    return tuple(value or ()) if _repeated(field) else value


def _repeated(field: OptionField) -> bool:
    return get_origin(field.kind) is tuple
