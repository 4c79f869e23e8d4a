"""Bytes alive: what a computation holds, now and at most."""

import weakref

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors made inside that are alive, now and at most.

    Unlike hooks on what autograd saves, it also sees what recomputation holds and what backward makes;
    and it works on fake tensors, so sizes beyond the machine can be counted too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self._meet((args, kwargs), counted=False)  # what comes from outside is not ours to count
        result = func(*args, **(kwargs or {}))
        self._meet(result, counted=True)
        return result

    def _meet(self, tree: object, counted: bool) -> None:
        for leaf in tree_leaves(tree):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._known:
                    self._add(storage, storage.nbytes() if counted else 0)

    def _add(self, storage: UntypedStorage, size: int) -> None:
        self._known.add(storage._cdata)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, storage._cdata, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
