"""``plan``: what training a profile takes, before anything is trained."""

import argparse

from footpass.cli.options import add_command
from footpass.files import DataError

_ASSUMED = 10.0  # TFLOP/s


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "what training a profile takes: arithmetic, memory, disk and time of each stage"
    option = add_command(commands, "plan", _plan, text, "plan --profile paper --gpus 2").add_argument
    option("--profile", metavar="P", help="smoke, demo, study, paper or a TOML file (demo)")
    option("--variant", metavar="NAME", help="with what one of its variants changes")
    text = "processes, a GPU each (as many as are here; 0: the CPU)"
    option("--gpus", type=int, metavar="N", help=text)
    text = f"what a GPU attains in 10^12 operations a second, if there is none to measure ({_ASSUMED:g})"
    option("--tflops", type=float, metavar="X", help=text)


def _plan(args: argparse.Namespace) -> None:
    import torch

    from footpass.experiments.planning import Planner
    from footpass.experiments.profile import load_profile, varied

    here = torch.cuda.device_count()
    gpus = here if args.gpus is None else args.gpus
    if gpus < 0 or (args.tflops is not None and args.tflops <= 0):
        raise DataError("--gpus and --tflops cannot be negative")
    assumed = args.tflops or (_ASSUMED if gpus and not here else None)
    device = torch.device("cuda" if gpus and here else "cpu")
    profile = varied(load_profile(args.profile), args.variant)
    planner = Planner(profile, max(1, gpus), device, assumed and 1e12 * assumed)
    what = f"{gpus} GPU{'s' * (gpus != 1)}" if gpus else f"the CPU, {torch.get_num_threads()} threads"
    guess = f"assuming {assumed or 0:g} TFLOP/s a GPU: not measured, without loading"
    basis = guess if assumed else "measured now"
    print(f"{planner.profile.name} on {what}; times {basis}")
    line = "{:<14} {:<28} {:>12} {:>11} {:>10} {:>12}"
    print(line.format("stage", "work", "TFLOP", "memory", "disk", "time"))
    seconds, disk = 0.0, 0.0
    for row in planner.stages():
        sizes = [f"{size / 2**30:.1f} GiB" if size else "" for size in (row.memory, row.disk)]
        took = "" if row.seconds is None else _duration(row.seconds)
        print(line.format(row.stage, row.work, f"{row.flops / 1e12:,.0f}", *sizes, took), flush=True)
        seconds, disk = seconds + (row.seconds or 0), disk + row.disk
    print(line.format("all", "", "", "", f"{disk / 2**30:.1f} GiB", _duration(seconds)))


def _duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.4 h`` or ``2.1 days``."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * size:
            return f"{seconds / size:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86400:.1f} days"
