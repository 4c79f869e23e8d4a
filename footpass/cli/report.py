"""``report``, ``publish``, ``report-match``: pages."""

import argparse
from pathlib import Path

from footpass.cli.options import add_command, add_strict
from footpass.files import DataError
from footpass.schema import SPLITS


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
    text = "run the notebooks and build the HTML report"
    example = "report notebooks/01_class_imbalance.ipynb --profile smoke"
    option = add_command(commands, "report", _report, text, example).add_argument
    option("notebooks", nargs="*", type=Path, help="notebooks (all)")
    option("--profile", help="smoke, demo, study, paper or a TOML file of one's own (demo)")
    option("--name", help="folder below runs/ (the profile's name)")

    text = "copy a report to reports/, its figures into README"
    option = add_command(commands, "publish", _publish, text, "publish study").add_argument
    option("name", metavar="NAME", help="folder below runs/; with --models, a profile")
    models = "instead, put these models (all) into the zoo; what is not trained yet is trained now"
    option("--models", nargs="*", metavar="MODEL", help=models)

    text = "a half as an interactive page: timeline and radar"
    example = "report-match --data data --half game_18_H1 --predictions P.json --out match.html"
    page = add_command(commands, "report-match", _report_match, text, example)
    add_strict(page)
    option = page.add_argument
    option("--data", required=True, metavar="DATA_DIR", help="tactical data, play-by-play")
    option("--split", choices=SPLITS, default="val", help="%(default)s")
    option("--half", required=True, metavar="HALF", help="such as game_18_H1")
    option("--predictions", nargs="+", default=(), metavar="P.json", help="the first is shown first")
    option("--logits", metavar="LOGITS.h5", help="evidence (needs tactical data)")
    option("--out", required=True, metavar="OUT.html")


def _report(args: argparse.Namespace) -> None:
    from footpass.configs import profile_name, resolve_profile
    from footpass.files import PROJECT, inside
    from footpass.report.notebooks import run_notebooks
    from footpass.report.page import build_page

    profile = resolve_profile(args.profile)
    folder = inside(PROJECT / "runs", args.name or profile_name(profile), "--name")
    failures = run_notebooks(folder, profile, args.notebooks)
    print(f"report: {build_page(folder, failures)}")
    if failures:
        raise DataError("; ".join(f"{f.notebook} failed: {f.reason}" for f in failures))


def _publish(args: argparse.Namespace) -> None:
    from footpass.files import PROJECT, inside
    from footpass.report.page import publish
    from footpass.report.tables import write_tables

    if args.models is not None:
        _publish_models(args.name, args.models)
        return
    out = inside(PROJECT / "reports", args.name, "NAME")
    size = publish(PROJECT / "runs" / args.name, out)
    print(f"{out}: {size / 2**20:.1f} MiB")
    for page in write_tables(PROJECT):
        print(f"{page}: figures of reports/")


def _publish_models(name: str, models: list[str]) -> None:
    from footpass.experiments.profile import load_profile
    from footpass.experiments.publishing import publish_models
    from footpass.experiments.season import find_season
    from footpass.experiments.stages import Study
    from footpass.files import PROJECT
    from footpass.training.distributed import join_processes

    profile = load_profile(name)
    season = find_season(profile)
    study = Study(PROJECT / "runs" / profile.name / "stages", profile, season, join_processes())
    for path in publish_models(study, models):
        print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")


def _report_match(args: argparse.Namespace) -> None:
    from footpass.report.match_page import read_match, write_match_page

    match = read_match(args.data, args.split, args.half, args.predictions, args.logits)
    write_match_page(match, args.out)
    events = "no true events" if match.truth is None else f"{len(match.truth)} true events"
    predicted = "".join(f", {len(table)} of {name}" for name, table in match.predictions.items())
    print(f"{args.out}: {args.half}, {events}{predicted}")
