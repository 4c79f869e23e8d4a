"""What the commands' parsers share: one line for a mistake, examples, flags for fields of configs."""

import argparse
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import fields
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, NoReturn

from footpass.files import DataError


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `DataError`, with the word that was meant.

    Its help ends with an example of what may follow the program's name.
    """

    def __init__(self, *args: Any, example: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example
        if example:
            self.epilog = f"example: {self.prog.rpartition('footpass')[0]}footpass {example}"
            self.formatter_class = _Help

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            message += _meant(choice[1], re.findall(r"[\w.-]+", choice[2]))
        raise DataError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of argparse, but a mistyped option is named before what is missing because of it."""
        known, words = self._option_string_actions, list(sys.argv[1:] if args is None else args)
        if "" in words:
            self.error("an empty argument: a variable of the shell that is not set?")
        if self._subparsers:  # what follows the command is the command's
            words = list(takewhile(lambda word: word.startswith("-"), words))
        for word in words:
            name = word.partition("=")[0]
            if re.match("--[a-z]", name) and not any(option.startswith(name) for option in known):
                self.error(f"no option {name}{_meant(name, known)}")
        return super().parse_known_args(args, namespace)


class _Help(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Descriptions are filled; an example stays on its line, to be copied."""
        return indent + text if text.startswith("example: ") else super()._fill_text(text, width, indent)


def _meant(word: str, known: Collection[str]) -> str:
    return "".join(f"; did you mean {close}?" for close in get_close_matches(word, known, 1))


def add_command(
    commands: argparse._SubParsersAction, name: str, run: Callable, text: str, example: str
) -> argparse.ArgumentParser:
    """Add a command that calls ``run`` with what was parsed; ``text`` is for the list of commands."""
    parser = commands.add_parser(name, help=text, example=example)
    parser.set_defaults(run=run)
    return parser


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add ``--strict``, for a command that reads data tolerantly (`footpass.files.tolerate`)."""
    text = "refuse data that can only be read by mending them or leaving some out"
    parser.add_argument("--strict", action="store_true", help=text)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers`` and ``--dask``, for `footpass.workers.open_workers`."""
    text = "processes at a time (1); of --dask local, its workers"
    parser.add_argument("--workers", type=int, default=1, metavar="N", help=text)
    text = "let the workers of a Dask scheduler (tcp://host:8786) do it, or local ones"
    parser.add_argument("--dask", metavar="ADDRESS", help=text)


def add_settings(
    parser: argparse.ArgumentParser, such_as: str, prefix: str = "", config: type | None = None
) -> None:
    """Add ``--profile``, ``--set``, and a flag for each field of ``config``, which lies at ``prefix``.

    All of them end up in ``args.set``, for `configs.override`.
    """
    text = "smoke, demo, study, paper or a TOML file of one's own (demo)"
    parser.add_argument("--profile", metavar="P", help=text)
    text = f"change one setting of the profile, such as {such_as}; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help=text)
    if config is None:
        return
    group = parser.add_argument_group(f"settings, short for --set {prefix}FIELD=VALUE")
    help_texts = described(config)
    for name in (field.name for field in fields(config)):
        add_setting(group, f"--{name.replace('_', '-')}", prefix + name, help_texts[name])


def add_setting(group: Any, flag: str, path: str, text: str) -> None:
    """Add a flag that is short for ``--set PATH=VALUE``."""
    given = {"type": lambda value: f"{path}={value}", "metavar": "X", "help": text.replace("%", "%%")}
    group.add_argument(flag, dest="set", action="append", **given)


def described(config: type) -> dict[str, str]:
    """What the docstring of a config says of its fields: name to text."""
    texts = dict.fromkeys((field.name for field in fields(config)), "")
    attributes = (config.__doc__ or "").partition("----------\n")[2]
    for names, text in re.findall(r"^    (\w.*)\n((?:        .*\n?)+)", attributes, re.MULTILINE):
        texts |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return texts
