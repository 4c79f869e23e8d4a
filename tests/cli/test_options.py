"""Flags, settings and help of the command line."""

import argparse
import subprocess
import sys

import pytest

from footpass.__main__ import _parser, main
from footpass.cli.options import described
from footpass.configs import override
from footpass.experiments.profile import load_profile
from footpass.files import DataError
from footpass.training.config import TrainConfig


def parsers(parser: argparse.ArgumentParser):
    """A parser, and those of all its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def test_every_help_has_an_example_that_is_a_command():
    program = _parser()
    for parser in parsers(program):
        assert parser.example and parser.format_help().rstrip().endswith(parser.example), parser.prog
        program.parse_args(parser.example.split())


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == "footpass 0.1.0\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evalute", "did you mean evaluate?"),
        ("--verison", "no option --verison; did you mean --version?"),
        ("evaluate --hepl", "no option --hepl; did you mean --help?"),
        ("train tadd", "did you mean taad?"),
        ("evaluate --predictons P.json", "no option --predictons; did you mean --predictions?"),
        ("train taad --batsh=4", "no option --batsh; did you mean --batch?"),
        ("simulate --out d --split vall", "did you mean val?"),
        ("check . --quickly", "no option --quickly (see"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_one_that_was_meant(capsys, words, message):
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_a_variable_that_is_not_set_is_no_folder(capsys):
    assert main(["simulate", "--out", ""]) == 2
    assert "error: an empty argument" in capsys.readouterr().err


def test_flags_and_set_end_in_one_list_of_settings():
    line = "train dst --data d --logits l --out o --epochs 3 --set model.width=32 --weighting sqrt"
    assert _parser().parse_args(line.split()).set == [
        "train.epochs=3",
        "model.width=32",
        "weighting=sqrt",
    ]


def test_every_field_of_the_training_has_a_flag_that_says_what_it_does():
    texts = described(TrainConfig)
    assert all(texts.values()) and texts["seed"].startswith("Of dropout")
    assert texts["batch"] == texts["accumulate"]  # described together


def test_help_does_without_torch():
    code = "import sys\nfrom footpass.__main__ import main\ntry: main(['train', 'taad', '--help'])\n"
    code += "except SystemExit: sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("setting", "where", "value"),
    [
        ("train.batch=4", "train.batch", 4),
        ("train.lr=1e-5", "train.lr", {"": 1e-5, "prior.": 1e-2}),
        ("train.lr.prior.=1e-5", "train.lr", {"": 5e-4, "prior.": 1e-5}),
        ('train.lr={"" = 1e-5}', "train.lr", {"": 1e-5}),
        ("train.milestones=[2, 3]", "train.milestones", (2, 3)),
        ("train.max_grad_norm=none", "train.max_grad_norm", None),
        ("weighting=sqrt", "weighting", "sqrt"),
        ("pretraining=none", "pretraining", None),
        ("pretraining.train.ema=0.5", "pretraining.train.ema", 0.5),
    ],
)
def test_one_setting_is_changed_and_no_other(setting, where, value):
    recipe = load_profile("study").dst
    changed = override(recipe, setting)
    for name in where.split("."):
        changed = getattr(changed, name)
    assert changed == value
    assert override(override(recipe, setting), "train.seed=0") == override(recipe, setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.batch", "train.batch: not of the form FIELD=VALUE"),
        (
            "train.batch=four",
            "train.batch=four: TrainConfig.batch = 'four': Input should be",
        ),
        ("train.batch=0", "TrainConfig.batch = 0: Input should be greater than or equal to 1"),
        ("train.batsh=4", "TrainConfig has no batsh; it has epochs, batch"),
        ("batch=4", "DSTRecipe has no batch; it has model, windows, train"),
        ("weighting.x=4", "DSTRecipe.weighting = 'none': it has no x"),
        ("model=4", "DSTRecipe.model.* = 4"),
        ("model.window_length=100", "the model is for windows of 100 frames, not of 375"),
    ],
)
def test_a_wrong_setting_names_its_field(setting, message):
    with pytest.raises(DataError, match=message):
        override(load_profile("demo").dst, setting)
