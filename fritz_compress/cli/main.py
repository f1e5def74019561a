"""Commands under one name, and one line for every error."""

import functools
import os
import sys

import typer

from fritz_compress.cli import (
    benchmark,
    binarize,
    build,
    calibrate,
    convert,
    demo,
    distill,
    factorize,
    norms,
    pack,
    profile,
    prune,
    quantize,
    sensitivity,
    stylize,
    train,
    unpack,
)
from fritz_compress.cli.console import console
from fritz_compress.silence import silenced

COMMANDS = (
    demo,
    build,
    train,
    distill,
    stylize,
    calibrate,
    convert,
    pack,
    unpack,
    profile,
    norms,
    sensitivity,
    prune,
    factorize,
    quantize,
    binarize,
    benchmark,
)

app = typer.Typer(
    name="fritz-compress",
    help="Make neural networks small enough for a phone, and prove it.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _quietly_started(command):
    """The command, after TensorFlow has been imported without its greetings."""

    @functools.wraps(command)
    def run(**arguments):
        with silenced():
            import tensorflow  # noqa: F401

        return command(**arguments)

    return run


for module in COMMANDS:
    app.command(module.NAME)(_quietly_started(module.command))


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits: 0 if all went well, 2 on bad input."""
    # Before tensorflow is imported: its greetings are not our output.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        code = app(arguments, standalone_mode=False)
    except typer.TyperException as error:
        _fail(error.format_message() or "Name a command; see --help.")
    except (ValueError, OSError) as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        console.show_cursor()  # A progress bar that was cut off hid it.
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    line = " ".join(message.split())
    print(f"fritz-compress: {line}", file=sys.stderr)
    sys.exit(2)
