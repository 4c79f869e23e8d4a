from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footpass.configs import build, check_types, plain
from footpass.files import DataError
from footpass.models.gnn import GNNConfig
from footpass.models.taad import TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.training.config import TrainConfig


@dataclass(frozen=True)
class Inner:
    widths: tuple[int, int] = (1, 2)


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    name: str = "x"
    rate: float | None = None
    steps: tuple[int, ...] = ()
    lr: Mapping[str, float] = field(default_factory=dict)
    kind: Literal["a", "b"] = "a"
    quick: bool = False

    def __post_init__(self) -> None:
        check_types(self)


outers = st.builds(
    Outer,
    inner=st.builds(Inner, st.tuples(st.integers(), st.integers())),
    name=st.text(),
    rate=st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
    steps=st.lists(st.integers()).map(tuple),
    lr=st.dictionaries(st.text(), st.floats(0, 1)),
    kind=st.sampled_from("ab"),
    quick=st.booleans(),
)


@settings(deadline=None)
@given(outers)
def test_plain_values_and_back(config):
    assert build(Outer, plain(config)) == config


@pytest.mark.parametrize(
    "config",
    [TAADConfig(X3DConfig(stem=8)), GNNConfig(radius=1), TrainConfig(milestones=(1, 2), ema=0.9)],
)
def test_configs_of_the_project_and_back(config):
    assert build(type(config), plain(config)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quick": "true"}, "Outer.quick = 'true': expected bool"),  # papermill -p quick true
        ({"quick": 1}, "Outer.quick = 1: expected bool"),
        ({"rate": "0.1"}, r"Outer.rate = '0.1': expected float \| None"),
        ({"rate": float("inf")}, "Outer.rate = inf"),
        ({"rate": True}, "Outer.rate = True"),
        ({"steps": [1, 2.0]}, r"Outer.steps = \(1, 2.0\): expected tuple\[int, ...\]"),
        ({"steps": 3}, "Outer.steps = 3"),
        ({"lr": {"a": None}}, r"Outer.lr = {'a': None}: expected Mapping\[str, float\]"),
        ({"kind": "c"}, r"Outer.kind = 'c': expected Literal\['a', 'b'\]"),
        ({"inner": {"widths": [1, 2, 3]}}, r"Inner.widths = \(1, 2, 3\): expected tuple\[int, int\]"),
        ({"inner": {"width": 1}}, "Inner has no width; it has widths"),
        ({"inner": None}, "Outer.inner = None: expected Inner"),
        ({"Quick": True, "speed": 1}, "Outer has no Quick, speed; it has inner, name, rate"),
    ],
)
def test_names_and_types_are_checked(values, message):
    with pytest.raises(DataError, match=message):
        build(Outer, values)
