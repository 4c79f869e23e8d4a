"""Decoding with kept keys and values, against reading everything again at every step."""

import json

import torch

from benchmarks.plain_decode import PlainDST
from benchmarks.timing import seconds
from footpass.models.dst import DST, DSTConfig
from footpass.models.reference import load_reference
from footpass.schema import EOS

WINDOWS, EVENTS = 4, 25


def run() -> dict:
    """4 windows of 750 frames to 25 events each, published size."""
    torch.manual_seed(0)
    config = DSTConfig()
    plain_model, model = PlainDST(config).eval(), DST(config).eval()
    with torch.no_grad():  # an untrained model may stop at once; this one never does
        plain_model.action_and_roleid_output_projection.bias[EOS] = -100.0
    load_reference(model, plain_model.state_dict())
    features = torch.randn(WINDOWS, config.span, config.inputs)
    frames = torch.arange(1, config.span + 1).repeat(WINDOWS, 1)

    fast = seconds(lambda: model.write(features, frames, EVENTS), 3)
    plain = seconds(lambda: plain_model.write(features, frames, EVENTS), 1)
    with torch.no_grad():
        encoder = seconds(lambda: model.memory(features, frames), 3)
        plain_encoder = seconds(lambda: plain_model.encode(features, frames), 3)
    return {
        "name": "decode",
        "fast_s": fast - encoder,
        "plain_s": plain - plain_encoder,
        "ratio": (plain - plain_encoder) / (fast - encoder),
        "target": ">= 8",
        "what": f"decoding {WINDOWS} windows x {config.span} frames x {EVENTS} events, published size; "
        f"with the encoder, that runs once in both, {fast:.2f} s against {plain:.2f} s",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
