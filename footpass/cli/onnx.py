"""``onnx``: a model as a file that runs without torch."""

import argparse
from pathlib import Path

from footpass.cli.options import add_command
from footpass.files import make_folder


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    text = "write a detector, or the encoder of a DST, as ONNX"
    option = add_command(commands, "onnx", _onnx, text, "onnx zoo:taad model.onnx").add_argument
    option("checkpoint", metavar="CHECKPOINT", help="BEST.pt or zoo:NAME")
    option("out", type=Path, metavar="OUT.onnx")


def _onnx(args: argparse.Namespace) -> None:
    from footpass.detectors.predict import load_detector
    from footpass.models.onnx import export
    from footpass.sequence.decode import load_dst
    from footpass.training.checkpoints import load_checkpoint
    from footpass.zoo import resolve

    path = resolve(args.checkpoint)
    sequences = str(load_checkpoint(path)["config"].get("kind")).endswith("DST")
    model = (load_dst if sequences else load_detector)(path)[0]
    make_folder(args.out.parent)
    for name, axes in export(model, args.out).items():
        print(f"{name}: {' x '.join(axes)}")
    print(f"{args.out}: {type(model).__name__}, {args.out.stat().st_size / 2**20:.1f} MiB")
