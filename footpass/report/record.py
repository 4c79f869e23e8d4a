"""What ``metrics.json`` holds: notebooks write it, reports read it."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from footpass.configs import Count, config_dataclass, read_config

_Seconds = Annotated[float, Field(ge=0)]
_Cell = str | bool | int | float | None


@config_dataclass
class Source:
    """A source of data: what it is, its `Provenance`, the fingerprint of its files."""

    what: str
    simulated: bool
    seed: Count | None = None
    version: str | None = None
    systems: str | None = None  # scored on it, by origin: trained here, as released, made up
    fingerprint: str | None = None

    @property
    def kind(self) -> str:
        """What it is, in words."""
        if not self.simulated:
            return "real"
        return "simulated" if self.version is None else f"simulated, seed {self.seed}, {self.version}"


@config_dataclass
class Metric:
    """A headline figure, None where it is not defined, with the bounds of its 90 % interval."""

    name: str
    value: float | None
    label: str
    interval: tuple[float, float] | None = None


@config_dataclass
class Picture:
    """A picture beside the record, and what it shows: in a caption, and for those who do not see it."""

    name: str
    file: str
    caption: str
    alt: str


@config_dataclass
class Table:
    """A table, to be shown with ``digits`` decimals."""

    name: str
    caption: str
    digits: Annotated[int, Field(ge=0, le=15)]
    columns: tuple[str, ...]
    rows: tuple[tuple[_Cell, ...], ...]


@config_dataclass
class Trained:
    """A model behind the figures, with the revisions of the code that trained it."""

    stage: str
    seconds: _Seconds
    revisions: tuple[str | None, ...]


@config_dataclass
class Record:
    """One run of a notebook: what it was asked for, used and found."""

    notebook: str
    profile: str
    seed: Count
    config: dict[str, Any]
    data: tuple[Source, ...]
    metrics: tuple[Metric, ...]
    figures: tuple[Picture, ...]
    tables: tuple[Table, ...]
    seconds: _Seconds
    finished: str
    git: str | None
    environment: dict[str, str]
    answer: str | None = None
    trained: tuple[Trained, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether any of its data are."""
        return any(source.simulated for source in self.data)


def read_record(path: str | Path) -> Record:
    """The record of a finished run."""
    return read_config(path, Record, "a record of a notebook (report writes it)")
