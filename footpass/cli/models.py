"""``models``: the trained models that come with the package."""

import argparse

from footpass.cli.options import add_command
from footpass.files import DataError


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "list the trained models of the zoo"
    option = add_command(commands, "models", _models, text, "models taad").add_argument
    option("name", nargs="?", metavar="NAME", help="one of them, with all that is known")


def _models(args: argparse.Namespace) -> None:
    from footpass.configs import plain
    from footpass.zoo import PREFIX, card, cards

    if args.name:
        for field, value in plain(card(args.name.removeprefix(PREFIX))).items():
            print(f"{field.replace('_', ' ')}: {value}")
        return
    known = cards()
    if not known:
        raise DataError("there are no models in this installation")
    for name, one in known.items():
        scores = "; ".join(
            f"macro F1 {score.macro_f1:.3f} ({score.low:.3f} to {score.high:.3f}) on {score.matches}"
            for score in one.scores
        )
        print(f"{PREFIX}{name}: {one.what} {scores}\n    {one.limits}")
