"""Rank architectures on a proxy set: `python -m nas.search --proxy dsa`."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn

from condense import Checkpoint, Progress, RunFolder, UserError, method_named
from condense.cli.app import main
from condense.cli.device import choose_device
from condense.cli.flags import parse
from condense.cli.images import found_again
from condense.cli.run import open_run
from condense.config.serialization import differences
from condense.runs.io import is_file, read_json, write_json
from condense.runs.report import list_files
from condense.runs.run_dir import CONDENSED, SUMMARY
from condense.system.notes import note
from nas.settings import (
    CHANGING_NOTHING,
    PROXIES,
    UNCONDENSED,
    WITH_RESUME,
    Search,
    Training,
    label,
    search_preset,
    training_preset,
)

if TYPE_CHECKING:
    from condense import Checkpointer, CondensedSet, ImageData
    from nas.experiment import Experiment
    from nas.objective import TrialResult
    from nas.space import Space
    from nas.study import SharedStudy
    from nas.table import GroundTruth, Table

PROG = "python -m nas.search"
RETRAINING = "retraining"
"""The checkpoint of the training of the selected architecture on the whole set."""
PROXY = "proxy.json"
"""The file with the time that the proxy set took; not in the set, whose bytes must not depend on
it."""


def defaults(
    preset: str = "paper",
    proxy: str = "dsa",
    training_epochs: str | None = None,
    condensing_storage: str | None = None,
    retraining_epochs: str | None = None,
) -> Search:
    """The settings before the flags are applied; epochs replace the steps of the preset."""

    def training(proxy: str, epochs: str | None) -> Training:
        return training_preset(preset, proxy, **({} if epochs is None else {"steps": None}))

    stored: dict[str, Any] = {} if condensing_storage is None else {"storage": condensing_storage}
    made = proxy in PROXIES and proxy not in UNCONDENSED
    return Search(
        **search_preset(preset),
        proxy=proxy,
        training=training(proxy, training_epochs),
        retraining=training("whole", retraining_epochs),
        condensing=method_named(proxy).preset(preset, **stored) if made else None,
    )


def run(argv: list[str]) -> None:
    """Rank architectures on a proxy."""
    settings = parse(defaults, argv, PROG, [name.replace("_", "-") for name in WITH_RESUME])
    device = choose_device(settings.common.device)
    from nas.experiment import Experiment, load_images
    from nas.objective import import_optimizers
    from nas.proxies import proxy_set
    from nas.space import found_anywhere, space_named
    from nas.storage import database_storage, reaching
    from nas.urls import absolute, without_secrets

    space = space_named(settings.space)
    settings = dataclasses.replace(settings, space=found_anywhere(settings.space))
    data = load_images(settings)
    settings = dataclasses.replace(settings, dataset=found_again(settings.dataset, data))
    ground_truth = read_ground_truth(settings, data, space)
    kept = settings
    if settings.storage is not None:
        settings = dataclasses.replace(settings, storage=absolute(settings.storage))
        assert settings.storage is not None
        database_storage(settings.storage)  # raises before anything is computed
        kept = dataclasses.replace(settings, storage=without_secrets(settings.storage))
    given = None
    if settings.condensing is None and settings.common.resume is None:
        given = proxy_set(settings.proxy, data, None, settings.common.seed)
    import_optimizers()
    what = f"nas-{label(settings.proxy)}"
    with open_run(PROG, kept, what, **about(data, space)) as folder:
        keep_set(folder, settings, data, given)
        experiment = Experiment(settings, data, space, folder.path)
        with reaching(), closing(experiment.study()) as study:
            seconds = search(experiment, study, folder)
            finish(folder, experiment, study, ground_truth, seconds, str(device))


def read_ground_truth(settings: Search, data: ImageData, space: Space) -> GroundTruth | None:
    """The ground truth of the settings, if there is one.

    Raises:
        UserError: it cannot be read, or is of other images or networks, or has none of the
            architectures.
    """
    from nas.objective import sizes_of
    from nas.table import TABLE, GroundTruth

    path = settings.ground_truth
    if path is None:
        return None
    if settings.common.resume is not None and not (is_file(path) or is_file(path / TABLE)):
        raise UserError(
            f"there is no ground truth in {path}: give its new place with --ground-truth"
        )
    test_sha256 = str(data.describe()["sha256_test"])
    found = GroundTruth.read(path, data.fingerprint(), data.name, test_sha256)
    names = [space.names[index] for index in space.order(settings.n_trials)]
    shared = found.count_shared(names, "the search")
    if shared < len(names):
        note(
            f"{shared} of {len(names)} architectures are in the ground truth: only they count in "
            "the correlations"
        )
    # Now, not when all is trained: a resumed search keeps its ground truth. The networks of
    # `condense` need not be counted if nothing has changed.
    certain = space.build is None and found.build_sha256 == space.build_fingerprint
    sizes = {} if certain else sizes_of(space, found.sizes, data)
    found.require_same_networks(sizes, space.build_fingerprint)
    return found


def about(data: ImageData, space: Space) -> dict[str, Any]:
    """Additional entries of config.json; a resumed run must have the same values."""
    return {
        "device": str(data.device),
        "data": data.describe(),
        "architectures": {"count": len(space), "sha256": space.fingerprint},
    }


def keep_set(
    folder: RunFolder, settings: Search, data: ImageData, given: CondensedSet | None
) -> None:
    """Save the condensed set of the proxy, if it needs one, in the run folder."""
    from nas.proxies import proxy_set

    path = folder.path / CONDENSED
    if settings.proxy in UNCONDENSED or path.is_file():
        return
    bar = Progress(f"condensing {data.name}", quiet=settings.common.quiet)
    cache = settings.common.open_cache()
    with folder.checkpointer("condensing", history=False, show=bar) as checkpointer:
        condensed = given or proxy_set(
            settings.proxy,
            data,
            settings.condensing,
            settings.common.seed,
            checkpointer,
            cache,
        )
        assert condensed is not None
        made = {"seconds": round(checkpointer.seconds, 1), "from_cache": bool(cache and cache.hits)}
    write_json(folder.path / PROXY, made)
    condensed.save(path)
    folder.remove_checkpoint("condensing")


def search(experiment: Experiment, study: SharedStudy, folder: RunFolder) -> float:
    """Train the remaining architectures. Returns the seconds taken, over all sessions."""
    from nas.workers import is_over, work, work_together

    settings = experiment.settings
    bar = Progress("searching", quiet=settings.common.quiet)
    with folder.checkpointer(show=bar, every_seconds=2.0) as checkpointer:
        before = checkpointer.restore()
        told = before.value("told", list[int]) if before else []
        total = len(experiment.plan.order)
        bar.report(len(told), total)  # the first architecture may take hours
        reporter = Reporter(study, checkpointer, total, told)
        deadline = None
        if settings.timeout is not None:
            deadline = time.time() + settings.timeout - checkpointer.seconds
        if study.fill() and is_over(study, deadline):
            note(
                f"the --timeout of {settings.timeout:g} s is used up, so nothing is trained: give "
                "a larger one, or --timeout None"
            )
        together = work_together if settings.workers > 1 else work
        together(experiment, study, deadline, reporter)
        study.done()  # reads what other workers have just stored
        reporter()
        return checkpointer.seconds


class Reporter:
    """Reports every finished architecture to the checkpointer, whichever worker trained it."""

    def __init__(
        self, study: SharedStudy, checkpointer: Checkpointer, total: int, told: Iterable[int]
    ) -> None:
        self._study, self._checkpointer, self._total = study, checkpointer, total
        self._told = dict.fromkeys(told)  # in order, as the keys of a dictionary
        self._best = math.nan

    def __call__(self) -> None:
        """Report new results. Not by their time: the clocks of several machines may differ."""
        known = self._study.known()
        if math.isnan(self._best):
            self._best = _best(known[index].score for index in self._told if index in known)
        new = [index for index in known if index not in self._told]
        try:
            for index in new:
                score = known[index].score
                self._best = _best([self._best, score])
                self._checkpointer.report(
                    len(self._told) + 1,
                    self._total,
                    index=index,
                    score=math.nan if score is None else score,
                    best=self._best,
                )
                self._told[index] = None
        finally:  # also after a signal between two of several new results
            if new:
                self._checkpointer.save(Checkpoint({}, {"told": list(self._told)}))


def _best(scores: Iterable[float | None]) -> float:
    """The highest score; NaN if there is none."""
    return max(
        (score for score in scores if score is not None and not math.isnan(score)),
        default=math.nan,
    )


def finish(
    folder: RunFolder,
    experiment: Experiment,
    study: SharedStudy,
    ground_truth: GroundTruth | None,
    seconds: float,
    device: str,
) -> None:
    """Write the table, the figures and the summary, and print the results and their paths."""
    from nas import report
    from nas.run_report import dashboard_command, dashboard_missing, write_report
    from nas.table import TABLE, GroundTruth, Table, rows_of

    settings, data = experiment.settings, experiment.data
    rows = rows_of(experiment.space, study.done(), experiment.trained)
    hashes = (data.fingerprint(), str(data.describe()["sha256_test"]))
    built = experiment.space.build_fingerprint
    networks = settings.training.networks
    table = Table(rows, settings.proxy, data.name, *hashes, built, networks)
    if settings.proxy == "whole":
        ground_truth = GroundTruth.of(table)
    table = table.with_ground_truth(ground_truth.accuracies if ground_truth else {})
    if not is_file(folder.path / SUMMARY):  # else it stays that of the summary until both are new
        table.write(folder.path / TABLE)
    if not report.ranked(table):
        reason = next((f": {row.reason}" for row in rows if row.reason), "")
        where = settings.space
        raise UserError(f"none of {len(rows)} architectures of {where} has a score{reason}")
    best = report.ranked(table)[0]
    retrained = None
    if best.ground_truth is None and settings.retraining.networks:
        retrained = retrain(folder, experiment, best.index)
    summary = summarise(experiment, table, ground_truth, retrained)
    name = label(settings.proxy)
    report.plot_scatter(folder.path / "scatter.png", table, settings.top_fraction, name)
    report.plot_ranking(folder.path / "ranking.png", table, name)
    base = dataclasses.replace(
        defaults(settings.common.preset, settings.proxy), dataset=settings.dataset
    )
    differing = differences(settings, base, without=("common", *CHANGING_NOTHING))
    write_report(folder, table, summary, ground_truth, differing)
    summary |= {"seconds_wall": round(seconds + summary["seconds_proxy"], 1), "device": device}
    table.write(folder.path / TABLE)
    folder.write_summary(summary)
    if not summary["n_remaining"]:
        folder.remove_checkpoint()
        folder.remove_checkpoint(RETRAINING)
    folder.say(report.lines(summary, table))
    kept = folder.config["settings"]["storage"]
    print(f"  browse the study: {dashboard_command(str(folder.path), kept)}{dashboard_missing()}")
    print(list_files(folder.path))


def retrain(folder: RunFolder, experiment: Experiment, index: int) -> TrialResult:
    """The architecture, trained on the whole set; a resumed run reads the result from its folder.

    Another one may be the best then, if a timeout had ended the search: the index is kept too.
    """
    from nas.objective import TrialResult

    with folder.checkpointer(RETRAINING, history=False) as checkpointer:
        before = checkpointer.restore()
        if before is not None and before.value("index", int) == index:
            return before.value("result", TrialResult)
        result = experiment.retrain(index)
        kept = {"index": index, "result": dataclasses.asdict(result)}
        checkpointer.save(Checkpoint({}, kept))
        return result


def summarise(
    experiment: Experiment,
    table: Table,
    ground_truth: GroundTruth | None,
    retrained: TrialResult | None,
) -> dict[str, Any]:
    """The contents of summary.json; `retrained`: the best architecture, if it was retrained."""
    from nas import report

    settings, rows = experiment.settings, table.rows
    best = report.ranked(table)[0]
    accuracy = retrained.score if retrained else best.ground_truth
    retrained_steps = retrained.steps // settings.retraining.networks if retrained else None
    count = {
        status: sum(row.status == status for row in rows)
        for status in ("complete", "pruned", "failed")
    }
    made = read_json(experiment.folder / PROXY) if experiment.condensed else {}
    return {
        "dataset": experiment.data.name,
        "image_size": experiment.data.shape[1],
        "proxy": settings.proxy,
        "space_size": len(experiment.space),
        "n_trials": len(experiment.plan.order),
        "n_complete": count["complete"],
        "pruned": count["pruned"],
        "failed": count["failed"],
        "n_remaining": len(experiment.plan.order) - len(rows),
        "top_fraction": settings.top_fraction,
        **report.agreement(table, settings.top_fraction),
        "best": best.architecture,
        "best_accuracy": accuracy,
        "best_known": ground_truth and ground_truth.best,
        "regret": report.regret(ground_truth, accuracy, retrained_steps),
        "steps": experiment.steps,
        "steps_saved": _saved(experiment, table),
        "ground_truth": ground_truth
        and {"architectures": len(ground_truth.accuracies), "steps": ground_truth.steps},
        "retrained_steps": retrained_steps,
        "retrained_reason": retrained and retrained.reason,
        "seconds_search": round(sum(row.seconds for row in rows), 1),
        "seconds_proxy": made.get("seconds", 0.0),
        "proxy_from_cache": made.get("from_cache", False),
        "seconds_ground_truth": round(ground_truth.seconds, 1) if ground_truth else None,
        "images": experiment.proxy.stored,
        "workers": settings.workers,
        "preset": settings.common.preset,
        "seed": settings.common.seed,
    }


def _saved(experiment: Experiment, table: Table) -> float:
    """The fraction of steps that pruning saved."""
    counted = [row for row in table.rows if row.status != "failed"]
    whole = experiment.steps * len(counted)
    return 1 - sum(row.steps for row in counted) / whole if whole else 0.0


def entry_point() -> NoReturn:
    """Run the command of this process."""
    main(run)


if __name__ == "__main__":
    entry_point()
