"""Options of commands: fields of dataclasses, each with its help text."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import PurePath
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Option:
    """Description of a field that is an option of a command: ``Annotated[int, Option("...")]``.

    From it come the command line's option (`dynanoise.cli.options`), its help, and the command that
    is written into results (`command_line`). A field whose type is a tuple is an option that may
    be given several times.

    Attributes:
        help: text in the command's help.
        flag: the option's name where it is not the field's, "--defense".
        short: a second name, "-o".
        metavar: placeholder of the value in the help, "DIR".
        argument: True for a positional argument.
        panel: heading of the group of options in the help; None for the dataclass's ``PANEL``.
        always: True to write it in `command_line` even if it has its default value.
        repeat: False to leave it out of `command_line`, because it changes no number.
        read: parses a text into the value; None to parse by the type. Raises InputError.
        write: text of the value in `command_line`; without ``read`` of each value of a tuple.
    """

    help: str
    flag: str | None = None
    short: str | None = None
    metavar: str | None = None
    argument: bool = False
    panel: str | None = None
    always: bool = False
    repeat: bool = True
    read: Callable[[str], Any] | None = None
    write: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class OptionField:
    """A field that is an option.

    Attributes:
        name: name of the field.
        kind: type without the annotation.
        default: default value; `dataclasses.MISSING` where there is none.
        option: description.
    """

    name: str
    kind: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """Name of the option, such as "--max-nll"."""
        return self.option.flag or "--" + self.name.replace("_", "-")


def option_field(name: str, annotation: Any, default: Any) -> OptionField | None:
    """Describe a field or parameter if it is an option, by its annotation; None for others."""
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
        for note in notes:
            if isinstance(note, Option):
                return OptionField(name, kind, default, note)
    return None


def option_fields(kind: type[Any]) -> Iterator[OptionField]:
    """Find the options of a dataclass, in the order of its fields; other fields are skipped.

    >>> @dataclass(frozen=True)
    ... class Blur:
    ...     path: Annotated[str, Option("Image to blur.", argument=True)]
    ...     width: Annotated[float, Option("Width of the kernel, in pixels.")] = 2.0
    ...     verbose: bool = False
    >>> [(one.flag, one.kind, one.option.help) for one in option_fields(Blur)][1]
    ('--width', <class 'float'>, 'Width of the kernel, in pixels.')
    """
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        factory = field.default_factory
        default = field.default if factory is MISSING else factory()
        option = option_field(field.name, hints[field.name], default)
        if option is not None:
            panel = option.option.panel or getattr(kind, "PANEL", None)
            yield replace(option, option=replace(option.option, panel=panel))


def command_line(command: str, *options: Any, kind: type[Any] | None = None) -> str:
    """Write the shell command that repeats a result.

    Options that have their default value are left out. Of files only the names are written: folders
    are private to a machine.

    Args:
        command: the first words, "dynanoise bench".
        options: instances of options dataclasses.
        kind: the dataclass whose fields are the options; None for that of each instance.

    >>> @dataclass(frozen=True)
    ... class Blur:
    ...     path: Annotated[str, Option("Image to blur.", argument=True)]
    ...     width: Annotated[float, Option("Width of the kernel, in pixels.")] = 2.0
    ...     method: Annotated[tuple[str, ...], Option("Kernel.")] = ()
    >>> command_line("imtool blur", Blur("my cat.png", 0.5, ("box", "disc")))
    "imtool blur 'my cat.png' --width 0.5 --method box --method disc"
    """
    words = [command]
    values = [
        (field, getattr(each, field.name))
        for each in options
        for field in option_fields(kind or type(each))
    ]
    for field, value in values:
        option = field.option
        usual = value == field.default and not option.always
        if value is None or usual or not option.repeat:
            continue
        if isinstance(value, bool):
            words.append(field.flag if value else "--no-" + field.flag.removeprefix("--"))
            continue
        several = isinstance(value, tuple) and option.read is None
        for item in value if several else (value,):
            words += [] if option.argument else [field.flag]
            words.append(shlex.quote((option.write or _text)(item)))
    return " ".join(words)


def _text(value: Any) -> str:
    if isinstance(value, PurePath):
        return value.name
    return f"{value:g}" if isinstance(value, float) else str(value)
