"""Event files, read by TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from condense.runs.tensorboard import TensorBoard


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def steps(folder: Path, name: str) -> list[int]:
    return [event.step for event in read(folder).Scalars(name)]


def test_scalars_and_some_pictures(tmp_path: Path) -> None:
    with TensorBoard(tmp_path) as board:
        for step in range(1, 41):
            board.report(step, 40, loss=1 / step)
            board.draw(step, 40, lambda: Image.new("L", (8, 4)))
    found = read(tmp_path)
    assert [(event.step, round(event.value, 4)) for event in found.Scalars("loss")][:2] == [
        (1, 1.0),
        (2, 0.5),
    ]
    pictures = found.Images("images")
    assert [event.step for event in pictures] == list(range(4, 41, 4))
    assert (pictures[0].width, pictures[0].height) == (8, 4)


def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(tmp_path: Path) -> None:
    for first, last in ((1, 6), (4, 9)):
        with TensorBoard(tmp_path) as board:
            for step in range(first, last):
                board.report(step, 9, loss=float(first))
    assert steps(tmp_path, "loss") == list(range(1, 9))
    assert [event.value for event in read(tmp_path).Scalars("loss")] == [1.0] * 3 + [4.0] * 5


def test_without_reports_there_is_no_folder(tmp_path: Path) -> None:
    TensorBoard(tmp_path / "none").close()
    assert not (tmp_path / "none").exists()
