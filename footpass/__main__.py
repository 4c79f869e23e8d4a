"""Command line: ``python -m footpass COMMAND``; ``--help`` lists the commands.

Whatever happens, a command ends in one of three ways: with its result (exit code 0; ``check`` says 1 of
data that are wrong), with one line on stderr that begins with ``error:`` (2), or ended by a signal (128
and its number). ``FOOTPASS_DEBUG=1`` shows the traceback too.
"""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from footpass.faults import explain
from footpass.files import DataError, package_version, protected, strictly
from footpass.processes import Interrupted, end_children, ignore_signals, interruptible, keep_memory

_OUTPUTS = ("out", "json", "fit_adjustment")  # options; all others that name a file are inputs


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal may not know all letters of a name. And lines are written whole: unbuffered,
            # `print` writes a line and its end one after the other, and a signal may come between.
            stream.reconfigure(errors="backslashreplace", line_buffering=True, write_through=False)
    keep_memory()
    try:
        with interruptible():
            try:
                args = _parser().parse_args(argv)
                with protected(_inputs(args)), strictly(getattr(args, "strict", False)):
                    code = args.run(args) or 0
                sys.stdout.flush()
                return code
            except BaseException as error:
                # Loading workers are ended by their loader, which the frames hold: it waits for a lock
                # that a worker killed from here may have taken with it.
                traceback.clear_frames(error.__traceback__)
                end_children()
                raise
    except BrokenPipeError:  # of `footpass ... | head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt as error:
        _say("interrupted", error)
        return 128 + (error.number if isinstance(error, Interrupted) else 2)
    except Exception as error:
        _say(f"error: {explain(error)}", error)
        return 2


def _say(line: str, error: BaseException) -> None:
    """One line on stderr that begins a line, below all progress bars."""
    if "tqdm" in sys.modules:
        for bar in list(sys.modules["tqdm"].tqdm._instances):
            bar.close()
    if os.environ.get("FOOTPASS_DEBUG"):
        traceback.print_exception(error)
    print(line, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    from footpass.cli import ablate, data, export, importing, models, onnx, postprocess, predict, rescore
    from footpass.cli import evaluate as scoring
    from footpass.cli import plan as planning
    from footpass.cli import report as reporting
    from footpass.cli import spot as spotting
    from footpass.cli import train as training
    from footpass.cli.options import Parser

    script = Path(sys.argv[0]).stem == "footpass"
    parser = Parser(
        prog="footpass" if script else "python -m footpass",
        description="Who did what, when, in a broadcast.",
        example="simulate --out data --split val --minutes 4",
    )
    parser.add_argument("--version", action="version", version=f"footpass {package_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    themes = (data, importing, spotting, models, planning, training, predict, postprocess, scoring)
    for theme in (*themes, rescore, export, onnx, ablate, reporting):
        theme.add(commands)
    return parser


def _inputs(args: argparse.Namespace) -> list[Path]:
    """Files that the command may read, of which no output may be one."""
    from footpass.data.paths import data_files

    given = {name: _paths(value) for name, value in vars(args).items()}
    inputs: list[Path] = []
    for path in chain.from_iterable(given[name] for name in given if name not in _OUTPUTS):
        inputs += [path] if path.is_file() else data_files(path)
    for name in _OUTPUTS:
        for output in filter(Path.is_file, given.get(name, ())):
            if any(output.samefile(path) for path in inputs):
                option = name.replace("_", "-")
                raise DataError(f"--{option} would write over what the command reads", output)
    return inputs


def _paths(value: object) -> list[Path]:
    """What exists among the values of an option."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return [Path(one) for one in values if isinstance(one, (str, Path)) and os.path.exists(one)]


def script() -> int:
    """`main` in a process of its own, whose end no signal disturbs."""
    code = main()
    ignore_signals()
    return code


if __name__ == "__main__":
    sys.exit(script())
