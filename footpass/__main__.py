"""Command line: ``python -m footpass COMMAND``; ``--help`` lists the commands.

Any error is one line on stderr and exit code 2.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from footpass.cli import ablate, data, export, postprocess
from footpass.cli import evaluate as scoring
from footpass.cli import report as reporting
from footpass.cli import train as training
from footpass.files import DataError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DataError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m footpass", description="Who did what, when, in a broadcast.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for theme in (data, training, postprocess, scoring, export, ablate, reporting):
        theme.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        args = _parser().parse_args(argv)
        return args.run(args) or 0
    except (DataError, OSError) as error:  # OSError: a disk that is full or may not be written
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
