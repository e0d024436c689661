"""`architectures.csv`: a row for each architecture; and the truth, which is such a table."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from condense import UserError, atomic_write
from nas.space import Space
from nas.training import Outcome

TABLE = "architectures.csv"

_FIRST = ("index", "architecture")
_LAST = (
    *("parameters", "status", "reason", "score", "accuracy", "truth", "updates", "seconds"),
    *("proxy", "dataset", "images_sha256"),
)


@dataclass(frozen=True)
class Row:
    """An architecture and what came of it.

    Attributes:
        status: complete, pruned or failed.
        score: what it is ranked by; None unless complete.
        accuracy: on the test images; None unless complete, and where nothing is trained.
        truth: accuracy after training on the whole set; None where it is not known.
    """

    index: int
    architecture: str
    factors: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    status: str = "complete"
    reason: str = ""
    score: float | None = None
    accuracy: float | None = None
    truth: float | None = None
    updates: int = 0
    seconds: float = 0.0


def rows_of(space: Space, done: Mapping[int, Outcome], trained: bool = True) -> list[Row]:
    """The rows of these architectures, by index; `trained`: whether scores are accuracies."""
    rows = []
    for index, outcome in sorted(done.items()):
        complete = outcome.score is not None
        rows.append(
            Row(
                index=index,
                architecture=space.names[index],
                factors={name: column[index] for name, column in space.factors.items()},
                parameters=outcome.parameters,
                status="complete" if complete else "pruned" if outcome.pruned else "failed",
                reason=outcome.reason or "",
                score=outcome.score,
                accuracy=outcome.score if trained else None,
                updates=outcome.updates,
                seconds=outcome.seconds,
            )
        )
    return rows


@dataclass(frozen=True)
class Table:
    """Rows, and what they were measured with."""

    rows: Sequence[Row]
    proxy: str
    dataset: str
    images_sha256: str

    def write(self, path: Path) -> None:
        """Write a CSV file."""
        factors = list(self.rows[0].factors) if self.rows else []
        factors = [name for name in factors if name not in (*_FIRST, *_LAST)]
        about = {
            "proxy": self.proxy,
            "dataset": self.dataset,
            "images_sha256": self.images_sha256,
        }
        with atomic_write(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*_FIRST, *factors, *_LAST], lineterminator="\n")
            writer.writeheader()
            for row in self.rows:
                cells = {name: row.factors[name] for name in factors}
                own = {name: getattr(row, name) for name in (*_FIRST, *_LAST) if name not in about}
                own["seconds"] = round(row.seconds, 3)
                writer.writerow({**cells, **own, **about})

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read what `write` wrote, from the file or from a run's folder.

        Raises:
            UserError: there is no such file, or it holds something else.
        """
        path = path / TABLE if path.is_dir() else path
        try:
            with path.open(newline="", encoding="utf-8") as file:
                records = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"cannot read {path}: {error}") from error
        if not records:
            raise UserError(f"{path} holds no architectures")
        try:
            rows = [_row(record) for record in records]
            first = records[0]
            return cls(rows, first["proxy"], first["dataset"], first["images_sha256"])
        except KeyError as error:
            raise UserError(f"{path} is no table of architectures: no column {error}") from error
        except (TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged: {error}") from error

    def with_truth(self, truth: Mapping[str, float]) -> Table:
        """The same table with the column `truth`."""
        return replace(
            self, rows=[replace(row, truth=truth.get(row.architecture)) for row in self.rows]
        )


@dataclass(frozen=True)
class Truth:
    """Whole-set accuracies by the name of the architecture, and what measuring them took."""

    accuracies: Mapping[str, float]
    seconds: float
    updates: int
    """Of each architecture."""

    @property
    def best(self) -> float | None:
        """The highest accuracy; None where there is none."""
        return max(self.accuracies.values(), default=None)

    @classmethod
    def of(cls, table: Table) -> Truth:
        """The truth that a table of a `whole` run holds."""
        known = [row for row in table.rows if row.accuracy is not None]
        return cls(
            {row.architecture: row.accuracy for row in known if row.accuracy is not None},
            sum(row.seconds for row in table.rows),
            max((row.updates for row in known), default=0),
        )

    @classmethod
    def read(cls, path: Path, images_sha256: str, dataset: str) -> Truth:
        """The truth in a run's folder or a CSV file, for these images.

        Raises:
            UserError: the file cannot be read, or holds no truth of these images.
        """
        table = Table.read(path)
        if table.proxy != "whole":
            raise UserError(
                f"{path} is no truth, it was measured on the proxy {table.proxy}: "
                "measure one with --proxy whole"
            )
        if table.images_sha256 != images_sha256:
            name = table.dataset
            raise UserError(
                f"{path} is the truth of other images ({name}, not {dataset}): measure one with "
                "--proxy whole and the same --dataset and --image-size"
                if name != dataset
                else f"{path} is the truth of other images, though they are called {name} too: "
                "measure one with --proxy whole and the same --dataset and --image-size"
            )
        return cls.of(table)


def _row(record: Mapping[str, str]) -> Row:
    return Row(
        index=int(record["index"]),
        architecture=record["architecture"],
        factors={key: record[key] for key in record if key not in (*_FIRST, *_LAST)},
        parameters=int(record["parameters"]),
        status=record["status"],
        reason=record["reason"],
        score=_number(record["score"]),
        accuracy=_number(record["accuracy"]),
        truth=_number(record["truth"]),
        updates=int(record["updates"]),
        seconds=float(record["seconds"]),
    )


def _number(cell: str) -> float | None:
    if cell == "":
        return None
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(f"{cell} is no accuracy")
    return value
