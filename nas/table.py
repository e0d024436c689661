"""`architectures.csv`, with one row per architecture, and the ground truth, read from one."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from condense import UserError, atomic_write
from condense.runs.io import read_text, reading
from nas.objective import TrialResult
from nas.space import Space
from nas.summary import MOST

TABLE = "architectures.csv"

_FIRST = ("index", "architecture")
_ABOUT = ("proxy", "dataset", "images_sha256", "test_sha256", "build_sha256", "networks")
_LAST = (
    *("parameters", "status", "reason", "score", "accuracy", "ground_truth", "steps", "seconds"),
    *_ABOUT,
)
STATUSES = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Row:
    """An architecture and its result.

    Attributes:
        status: complete, pruned or failed.
        score: the value for the ranking; None unless complete.
        accuracy: on the test images; None unless complete, and if nothing is trained.
        ground_truth: accuracy after training on the whole set; None if unknown.
        steps: training steps of all its networks together.
    """

    index: int
    architecture: str
    factors: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    status: str = "complete"
    reason: str = ""
    score: float | None = None
    accuracy: float | None = None
    ground_truth: float | None = None
    steps: int = 0
    seconds: float = 0.0


def rows_of(space: Space, done: Mapping[int, TrialResult], trained: bool = True) -> list[Row]:
    """The rows of finished architectures, by index; `trained`: whether scores are accuracies."""
    factors = dict(space.factors)
    if factors.get("architecture") == space.names:  # it has that column already
        del factors["architecture"]
    rows = []
    for index, result in sorted(done.items()):
        complete = result.score is not None
        rows.append(
            Row(
                index=index,
                architecture=space.names[index],
                factors={name: column[index] for name, column in factors.items()},
                parameters=result.parameters,
                status="complete" if complete else "pruned" if result.pruned else "failed",
                reason=result.reason or "",
                score=result.score,
                accuracy=result.score if trained else None,
                steps=result.steps,
                seconds=result.seconds,
            )
        )
    return rows


@dataclass(frozen=True)
class Table:
    """Rows, with the proxy, the data set and the networks for which they were measured."""

    rows: Sequence[Row]
    proxy: str
    dataset: str
    images_sha256: str
    test_sha256: str
    """Of the test split."""
    build_sha256: str
    """`Space.build_fingerprint`."""
    networks: int = 1
    """Networks trained per architecture."""

    @property
    def sizes(self) -> dict[str, int]:
        """The number of parameters by architecture name, of all that could be trained."""
        return {row.architecture: row.parameters for row in self.rows if row.status != "failed"}

    def write(self, path: Path) -> None:
        """Write the table as a CSV file."""
        columns = {name: _column(name) for name in self.rows[0].factors} if self.rows else {}
        about = {name: getattr(self, name) for name in _ABOUT}
        with atomic_write(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*_FIRST, *columns.values(), *_LAST], lineterminator="\n")
            writer.writeheader()
            for row in self.rows:
                cells = {column: row.factors[name] for name, column in columns.items()}
                own = {name: getattr(row, name) for name in (*_FIRST, *_LAST) if name not in about}
                own["seconds"] = round(row.seconds, 3)
                writer.writerow({**cells, **own, **about})

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a table written by `write`, from the file or from a run folder.

        Raises:
            UserError: there is no such file, or it is not such a table.
        """
        with reading(path):
            path = path / TABLE if path.is_dir() else path
        try:
            records = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
        except csv.Error as error:
            raise UserError(f"{path} is damaged: {error}") from error
        if not records:
            raise UserError(f"{path} contains no architectures")
        missing = [name for name in (*_FIRST, *_LAST) if name not in records[0]]
        if missing:
            raise UserError(f"{path} is not a table of architectures: no column {missing[0]!r}")
        try:
            rows = [_row(record) for record in records]
            found = _only({tuple(record[name] for name in _ABOUT) for record in records})
            proxy, dataset, images, test, build, cell = found
            networks = _networks(cell)
            _require_distinct(row.index for row in rows)
            _require_distinct(row.architecture for row in rows)
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}") from error
        return cls(rows, proxy, dataset, images, test, build, networks)

    def with_ground_truth(self, ground_truth: Mapping[str, float]) -> Table:
        """The table with the column `ground_truth` filled in."""
        return replace(
            self,
            rows=[
                replace(row, ground_truth=ground_truth.get(row.architecture)) for row in self.rows
            ],
        )


@dataclass(frozen=True)
class GroundTruth:
    """Whole-set accuracies by architecture name, and the cost of measuring them."""

    accuracies: Mapping[str, float]
    seconds: float
    steps: int
    """Training steps of each network."""
    sizes: Mapping[str, int]
    """Numbers of parameters by architecture name."""
    build_sha256: str
    """As in its table."""

    @property
    def best(self) -> float | None:
        """The highest accuracy; None if there is none."""
        return max(self.accuracies.values(), default=None)

    @classmethod
    def of(cls, table: Table) -> GroundTruth:
        """The ground truth from the table of a run with --proxy whole."""
        known = [row for row in table.rows if row.accuracy is not None]
        return cls(
            {row.architecture: row.accuracy for row in known if row.accuracy is not None},
            sum(row.seconds for row in table.rows),
            max((row.steps for row in known), default=0) // table.networks,
            {row.architecture: row.parameters for row in known},
            table.build_sha256,
        )

    def count_shared(self, names: Iterable[str], of: str) -> int:
        """How many of these architectures it has an accuracy of.

        Args:
            names: of the architectures.
            of: what they are the architectures of, for the error message.

        Raises:
            UserError: none.
        """
        count = sum(name in self.accuracies for name in names)
        if not count:
            raise UserError(
                f"none of the architectures of {of} is in the ground truth: give a ground truth "
                "of the same space"
            )
        return count

    def require_same_networks(self, sizes: Mapping[str, int], build_sha256: str) -> None:
        """Check that the names that these architectures share with it mean the same networks.

        Args:
            sizes: their numbers of parameters, by name.
            build_sha256: `Space.build_fingerprint` of their space.

        Raises:
            UserError: they are other networks.
        """
        shared = [name for name in sizes if name in self.sizes]
        mend = "give a ground truth of the same space"
        for name in shared:
            ours, its = sizes[name], self.sizes[name]
            if ours != its:
                raise UserError(
                    f"the ground truth is of other networks: {name} has {its} parameters there, "
                    f"and {ours} here: {mend}"
                )
        if shared and build_sha256 != self.build_sha256:
            raise UserError(
                f"the ground truth is of a space with another `build`, or another version: {mend}"
            )

    @classmethod
    def read(cls, path: Path, images_sha256: str, dataset: str, test_sha256: str) -> GroundTruth:
        """Read the ground truth for these images from a run folder or a CSV file.

        Args:
            path: of the folder or file.
            images_sha256: `ImageData.fingerprint()`.
            dataset: its name, for error messages.
            test_sha256: of the test split.

        Raises:
            UserError: the file cannot be read, or is no ground truth for these images.
        """
        table = Table.read(path)
        if table.proxy != "whole":
            raise UserError(
                f"{path} is not a ground truth: it was measured on the proxy {table.proxy}: "
                "measure one with --proxy whole"
            )
        if table.images_sha256 != images_sha256:
            name, ours = table.dataset, dataset
            differ = f"({name}, not {ours})" if name != ours else f"that are called {name} too"
            raise UserError(
                f"{path} is the ground truth of other images {differ}: measure one with "
                "--proxy whole and the same --dataset and --image-size"
            )
        if table.test_sha256 != test_sha256:
            raise UserError(
                f"{path} is a ground truth with other test images of {dataset}: measure one with "
                "--proxy whole and the same --dataset"
            )
        return cls.of(table)


def _column(factor: str) -> str:
    """The column of a factor, which must not have the name of a column of every table."""
    return f"{factor} (factor)" if factor in (*_FIRST, *_LAST) else factor


def _row(record: Mapping[str, str]) -> Row:
    # In a line with a wrong number of cells, csv sets a value or a key to None.
    if None in record or None in record.values():
        raise ValueError("a line has too many cells or too few")
    row = Row(
        index=_count(record["index"]),
        architecture=record["architecture"],
        factors={key: record[key] for key in record if key not in (*_FIRST, *_LAST)},
        parameters=_count(record["parameters"]),
        status=record["status"],
        reason=record["reason"],
        score=_number(record["score"], MOST),
        accuracy=_number(record["accuracy"], 1),
        ground_truth=_number(record["ground_truth"], 1),
        steps=_count(record["steps"]),
        seconds=_number(record["seconds"], MOST) or 0.0,
    )
    if row.status not in STATUSES or (row.score is not None) != (row.status == "complete"):
        raise ValueError(f"{row.architecture} is {row.status} with or without score")
    return row


def _count(cell: str) -> int:
    value = int(cell)
    if not 0 <= value <= MOST:
        raise ValueError(f"{cell} is not a count")
    return value


def _networks(cell: str) -> int:
    value = _count(cell)
    if not value:
        raise ValueError("its architectures have no networks")
    return value


def _number(cell: str, most: float) -> float | None:
    if cell == "":
        return None
    value = float(cell)
    if not 0 <= value <= most:
        raise ValueError(f"{cell} is not a number from 0 to {most}")
    return value


def _only(kinds: set[tuple[str, ...]]) -> tuple[str, ...]:
    if len(kinds) > 1:
        raise ValueError(f"its lines differ in {', '.join(_ABOUT)}")
    return kinds.pop()


def _require_distinct(values: Iterable[object]) -> None:
    value, times = Counter(values).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{value} is there {times} times")
