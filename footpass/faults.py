"""What goes wrong outside of this library, in one line that says what to do."""

import re
import sys
from collections.abc import Iterator

from footpass.files import INSTALLED, DataError

_LONGEST = 500  # characters that anyone would read
_GPU = "the GPU's memory is full: take a smaller --batch with more --accumulate, or --precision bf16"
_MEMORY = "the memory is full: take a smaller --batch, fewer --workers or a smaller --profile"
_SHARED = (
    "loading workers need more shared memory (/dev/shm): use --workers 0, or start the container with "
    "--shm-size 8g"
)
_WORKER = "a loading worker was ended from outside, mostly for want of memory: use fewer --workers, or 0"

# What the message of an error looks like, and what it means. Of torch, which has few classes of its own;
# where it fills /dev/shm, a worker says so in one of several ways, or is killed by a bus error.
_MEANINGS = (
    (r"shared memory|bus error|torch_\d+.*No space left|/dev/shm|ancdata", _SHARED),
    (r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED", _GPU),
    (r"can('t|not) allocate memory|bad allocation|bad_alloc|unable to allocate", _MEMORY),
    (r"DataLoader worker .*(killed|exited)", _WORKER),
)


def explain(error: BaseException) -> str:
    """One line on an error: where and what it is, and what to do about it."""
    text = " ".join("".join(_line(error)).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _line(error: BaseException) -> Iterator[str]:
    if isinstance(error, DataError):
        yield str(error)
        return
    # A torch worker sends its traceback as text; the error is its last line.
    message = str(error).strip()
    if "Original Traceback" in message:
        message = message.splitlines()[-1]
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, message, re.IGNORECASE | re.DOTALL):
            yield meaning
            return
    if isinstance(error, MemoryError):
        yield _MEMORY
    elif isinstance(error, ModuleNotFoundError):
        what = "'footpass[notebooks]'" if INSTALLED else "-r requirements.txt"
        yield f"{error.name} is not installed: pip install {what}"
        yield f" (with {sys.executable}), or activate the environment that has it"
    elif isinstance(error, UnicodeError):
        yield f"a name or text that cannot be written in this encoding: {message}"
    elif isinstance(error, OSError) and error.strerror:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        yield ": ".join([" to ".join(files), error.strerror] if files else [error.strerror])
    elif isinstance(error, OSError) or type(error).__module__.partition(".")[0] not in _OURS:
        yield f"{message or type(error).__name__}"
    else:
        yield f"{type(error).__name__}: {message} (a fault of footpass: FOOTPASS_DEBUG=1 shows where)"


_OURS = ("builtins", "footpass")  # of others, such as LightGBM's or PyAV's, the message is enough
