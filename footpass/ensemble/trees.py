"""LightGBM's text of boosted trees, checked before the library reads it.

It follows whatever indices it finds: a child that is no node ends the process, a loop never ends. So it
is given a header written here, and of the trees what prediction needs, its numbers in range.
"""

import re
from collections.abc import Sequence

import lightgbm as lgb
import numpy as np

from footpass.files import DataError

_OF_NODES = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_OTHERS = {"num_cat": (0, 0), "is_linear": (0, 0), "shrinkage": (0, 1)}
_WHOLE = {"num_leaves", "num_cat", "is_linear", *_OF_NODES} - {"split_gain", "threshold"}
_NUMBER = r"-?\d{1,25}(\.\d{1,25})?(e[+-]?\d{1,3})?"
_NUMBERS = {
    True: re.compile(r"(-?\d{1,9}( -?\d{1,9})*)?", re.ASCII),
    False: re.compile(f"({_NUMBER}( {_NUMBER})*)?", re.ASCII),
}


def booster(text: str, names: Sequence[str]) -> lgb.Booster:
    """A binary classifier from its text, for the features of these names."""
    head, *trees = re.split(r"\n\s*Tree=\d+\n", text.partition("\nend of trees\n")[0])
    expected = f"\nfeature_names={' '.join(names)}\n"
    if not trees or "\nobjective=binary sigmoid:1\n" not in head or expected not in head:
        raise DataError(f"trees that are not of {len(names)} features, {names[0]} to {names[-1]}")
    header = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n"
        f"max_feature_idx={len(names) - 1}\nobjective=binary sigmoid:1{expected}"
        f"feature_infos={' '.join(['none'] * len(names))}\n"
    )
    checked = [f"\nTree={i}\n{_tree(tree, i, len(names))}\n" for i, tree in enumerate(trees)]
    return lgb.Booster(model_str=f"{header}{''.join(checked)}\nend of trees\n")


def _tree(text: str, number: int, features: int) -> str:
    """The lines of a tree that count, if they make one."""
    lines = dict(line.partition("=")[::2] for line in text.splitlines() if line)

    def numbers(name: str, length: int, low: float = -1e300, high: float = 1e300) -> np.ndarray:
        line = lines.get(name, "")
        if not _NUMBERS[name in _WHOLE].fullmatch(line):
            raise DataError(f"tree {number}: {name} is no list of numbers")
        values = np.array(line.split(), float)
        if len(values) != length or not ((low <= values) & (values <= high)).all():
            raise DataError(f"tree {number}: {name} is not {length} numbers from {low} to {high}")
        return values

    leaves = int(numbers("num_leaves", 1, 1, 10_000)[0])
    ranges = {"split_feature": (0, features - 1), "decision_type": (0, 11)}
    found = {name: numbers(name, leaves - 1, *ranges.get(name, ())) for name in _OF_NODES}
    found |= {name: numbers(name, leaves) for name in _OF_LEAVES if name == "leaf_value" or leaves > 1}
    found |= {name: numbers(name, 1, *limits) for name, limits in _OTHERS.items()}
    if (found["decision_type"] % 2).any():
        raise DataError(f"tree {number}: a category for a threshold")
    # Nodes are numbered from 0, leaves from -1 downwards. Each but the root is a child once, and of a
    # node with a lower number: no loops.
    children = np.stack([found["left_child"], found["right_child"]])
    everyone = [*range(-leaves, 0), *range(1, leaves - 1)]
    if leaves > 1 and sorted(children.flat) != everyone:
        raise DataError(f"tree {number}: its nodes and leaves are not each a child once")
    if ((children >= 0) & (children <= np.arange(leaves - 1))).any():
        raise DataError(f"tree {number}: a node below itself")
    return "\n".join(f"{name}={lines.get(name, '')}" for name in ("num_leaves", *found))
