from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AliasChoices, Field

from footpass.configs import MAX_BYTES, Share, build, config_dataclass, plain, read_config
from footpass.files import DataError
from footpass.models.gnn import GNNConfig
from footpass.models.taad import TAADConfig
from footpass.models.x3d import X3DConfig
from footpass.training.config import TrainConfig


@config_dataclass
class Inner:
    widths: tuple[int, int] = (1, 2)

    def __post_init__(self) -> None:
        if self.widths[1] < self.widths[0]:
            raise DataError("widths that fall")


@config_dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    name: str = "x"
    rate: float | None = None
    steps: tuple[int, ...] = ()
    lr: Annotated[Mapping[str, float], Field(validation_alias=AliasChoices("lr", "rates"))] = field(
        default_factory=dict
    )
    share: Share = 0.0
    kind: Literal["a", "b"] = "a"
    quick: bool = False


outers = st.builds(
    Outer,
    inner=st.builds(Inner, st.tuples(st.integers(max_value=0), st.integers(0))),
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
        (
            {"quick": "true"},
            "Outer.quick = 'true': Input should be a valid bool",
        ),
        ({"quick": 1}, "Outer.quick = 1: Input should be a valid bool"),
        ({"rate": "0.1"}, "Outer.rate = '0.1': Input should be a valid number"),
        ({"rate": float("inf")}, "Outer.rate = inf: Input should be a finite number"),
        ({"rate": True}, "Outer.rate = True"),
        ({"steps": [1, 2.0]}, r"Outer.steps.1 = 2.0: Input should be a valid integer"),
        ({"steps": 3}, "Outer.steps = 3"),
        ({"lr": {"a": None}}, r"Outer.lr.a = None: Input should be a valid number"),
        ({"kind": "c"}, r"Outer.kind = 'c': Input should be 'a' or 'b'"),
        ({"inner": {"widths": [1, 2, 3]}}, r"Outer.inner.widths = \[1, 2, 3\]: .* at most 2 items"),
        ({"inner": {"width": 1}}, "Outer.inner.width: no such field"),
        ({"inner": None}, "Outer.inner = None"),
        ({"Quick": True, "speed": 1}, "Outer.Quick: no such field"),
        ({"share": 1.5}, "Outer.share = 1.5: Input should be less than or equal to 1"),
        ({"inner": {"widths": [2, 1]}}, "Outer.inner: widths that fall"),
        ([1], r"Outer = \[1\]: Input should be an object"),
        ({"name": {1, 2}}, "Outer: .* not JSON serializable"),
        ({"steps": [10**5000]}, "Outer: Exceeds the limit"),
    ],
)
def test_names_and_types_are_checked(values, message):
    with pytest.raises(DataError, match=message):
        build(Outer, values)


def test_the_constructor_checks_as_files_do():
    with pytest.raises(DataError, match="Outer.quick = 'true': Input should be a valid bool"):
        Outer(quick="true")
    with pytest.raises(DataError, match="Outer.share = 2.0: Input should be less than or equal to 1"):
        replace(Outer(), share=2.0)


def test_a_field_may_have_had_another_name():
    assert build(Outer, {"rates": {"a": 1}}) == build(Outer, {"lr": {"a": 1}}) == Outer(lr={"a": 1.0})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.json: not an Outer: not JSON: EOF"),
        (b'{"share": NaN}', "x.json: not an Outer: Outer.share = nan"),
        (b"[" * 100_000, "x.json: not an Outer: not JSON: recursion limit exceeded"),
        (b'{"name": "\xff"}', "x.json: not an Outer: not JSON: invalid unicode"),
        (b" " * (MAX_BYTES + 1), "x.json: over 64 MB"),
        (None, "x.json: cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_config(tmp_path / "x.json", Outer, "an Outer")


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_config(tmp_path / "x.json", Outer, "an Outer") == Outer()
