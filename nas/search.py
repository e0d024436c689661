"""Architectures ranked on a proxy set: `python -m nas.search --proxy dsa`."""

from __future__ import annotations

import dataclasses
import math
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from condense import Checkpoint, Progress, RunFolder, UserError, command_line, method_named
from nas.settings import PROXIES, UNCONDENSED, Search, label, search_preset, training_preset

if TYPE_CHECKING:
    from condense import CondensedSet, ImageData, Journal
    from nas.experiment import Experiment
    from nas.space import Space
    from nas.study import SharedStudy
    from nas.table import Table, Truth

PROG = "python -m nas.search"
CHANGING_NOTHING = ("workers", "budget-minutes", "storage")
"""Flags that a resumed search may be given anew."""


def defaults(preset: str = "paper", proxy: str = "dsa") -> Search:
    """The settings that flags depart from."""
    made = proxy in PROXIES and proxy not in UNCONDENSED
    return Search(
        **search_preset(preset),
        proxy=proxy,
        training=training_preset(preset, proxy),
        retraining=training_preset(preset, "whole"),
        condensing=method_named(proxy).preset(preset) if made else None,
    )


def run(argv: list[str]) -> None:
    """Rank architectures on a proxy."""
    settings = command_line.parse(defaults, argv, PROG, CHANGING_NOTHING)
    device = command_line.choose_device(settings.common.device)
    from nas.experiment import Experiment, load_images
    from nas.proxies import proxy_set
    from nas.space import space_named
    from nas.storage import database_storage, reaching, without_secrets
    from nas.table import Truth

    space = space_named(settings.space)
    data = load_images(settings)
    if settings.dataset == "auto":
        settings = dataclasses.replace(settings, dataset=data.name)
    path = settings.truth
    truth = Truth.read(path, data.fingerprint(), data.name) if path else None
    kept = settings
    if settings.storage is not None:
        database_storage(settings.storage)  # said before anything is computed
        kept = dataclasses.replace(settings, storage=without_secrets(settings.storage))
    given = None
    if settings.condensing is None and settings.common.resume is None:
        given = proxy_set(settings.proxy, data, None, settings.common.seed)
    what = f"nas-{label(settings.proxy)}"
    with command_line.open_run(PROG, kept, what, **about(data, space)) as folder:
        keep_set(folder, settings, data, given)
        experiment = Experiment(settings, data, space, folder.path)
        with reaching(), closing(experiment.study()) as study:
            seconds = search(experiment, study, folder)
            finish(folder, experiment, study, truth, seconds, str(device))


def about(data: ImageData, space: Space) -> dict[str, Any]:
    """What else config.json says, and a resumed run must find the same."""
    return {
        "device": str(data.device),
        "data": data.describe(),
        "architectures": {"count": len(space), "sha256": space.fingerprint},
    }


def keep_set(
    folder: RunFolder, settings: Search, data: ImageData, given: CondensedSet | None
) -> None:
    """See to it that the proxy's set, where it has one, is in the run's folder."""
    from condense import Cache
    from nas.experiment import CONDENSED
    from nas.proxies import proxy_set

    path = folder.path / CONDENSED
    if settings.proxy in UNCONDENSED or path.is_file():
        return
    bar = Progress(f"condensing {data.name}", quiet=settings.common.quiet)
    cache = Cache() if settings.common.cache else None
    with folder.journal("condensing", history=False, show=bar) as journal:
        condensed = given or proxy_set(
            settings.proxy,
            data,
            settings.condensing,
            settings.common.seed,
            journal,
            cache,
        )
        assert condensed is not None
        made = {"seconds": round(journal.seconds, 1), "from_cache": bool(cache and cache.hits)}
    condensed.with_provenance(**made).save(path)
    folder.remove_checkpoint("condensing")


def search(experiment: Experiment, study: SharedStudy, folder: RunFolder) -> float:
    """Train what is not trained yet; the seconds that it took, over all sessions."""
    from nas.workers import work, work_together

    settings = experiment.settings
    bar = Progress("searching", quiet=settings.common.quiet)
    with folder.journal(show=bar, every_seconds=2.0) as journal:
        before = journal.restore()
        reporter = Reporter(study, journal, len(experiment.wanted), before)
        deadline = None
        if settings.budget_minutes is not None:
            deadline = time.time() + 60 * settings.budget_minutes - journal.seconds
        study.fill()
        together = work_together if settings.workers > 1 else work
        together(experiment, study, deadline, reporter)
        reporter()
        return journal.seconds


class Reporter:
    """Tells the journal of every architecture that is done, whoever has trained it."""

    def __init__(
        self, study: SharedStudy, journal: Journal, total: int, before: Checkpoint | None
    ) -> None:
        self._study, self._journal, self._total = study, journal, total
        self._told: list[int] = before.value("told", list[int]) if before else []

    def __call__(self) -> None:
        """Tell of what is new; clocks of several machines differ, so not by when it was done."""
        done = self._study.done()
        new = [index for index in done if index not in self._told]
        for index in new:
            self._told.append(index)
            scores = [done[told].score for told in self._told if told in done]
            best = max((score for score in scores if score is not None), default=math.nan)
            score = math.nan if scores[-1] is None else scores[-1]
            number = len(self._told)
            self._journal.report(number, self._total, index=index, score=score, best=best)
        if new:
            self._journal.save(Checkpoint({}, {"told": list(self._told)}))


def finish(
    folder: RunFolder,
    experiment: Experiment,
    study: SharedStudy,
    truth: Truth | None,
    seconds: float,
    device: str,
) -> None:
    """Write the table, the pictures and the summary, and say what came out and where it is."""
    from nas import report
    from nas.table import TABLE, Table, Truth, rows_of

    settings = experiment.settings
    rows = rows_of(experiment.space, study.done(), experiment.trained)
    table = Table(rows, settings.proxy, experiment.data.name, experiment.data.fingerprint())
    if settings.proxy == "whole":
        truth = Truth.of(table)
    table = table.with_truth(truth.accuracies if truth else {})
    table.write(folder.path / TABLE)
    if not report.ranked(table):
        reason = next((f": {row.reason}" for row in rows if row.reason), "")
        raise UserError(f"none of {len(rows)} architectures came to a score{reason}")
    name = label(settings.proxy)
    report.draw_scatter(folder.path / "scatter.png", table, settings.top_fraction, name)
    report.draw_ranking(folder.path / "ranking.png", table, name)
    summary = summarise(experiment, table, truth)
    summary |= {"seconds_wall": round(seconds + summary["seconds_proxy"], 1), "device": device}
    folder.write_summary(summary)
    if not summary["left"]:
        folder.remove_checkpoint()
    print(report.lines(summary))
    for path in sorted(folder.path.iterdir()):
        if not path.name.startswith("."):
            print(f"  {path}")


def summarise(experiment: Experiment, table: Table, truth: Truth | None) -> dict[str, Any]:
    """What came out."""
    from nas import report

    settings, rows = experiment.settings, table.rows
    best = report.ranked(table)[0]
    accuracy = best.truth
    retrained = None
    if accuracy is None and settings.retraining.networks:
        retrained = experiment.retrain(best.index)
        accuracy = retrained.score
    count = {
        status: sum(row.status == status for row in rows)
        for status in ("complete", "pruned", "failed")
    }
    made = experiment.condensed.provenance if experiment.condensed else {}
    return {
        "dataset": experiment.data.name,
        "image_size": experiment.data.shape[1],
        "proxy": settings.proxy,
        "space_size": len(experiment.space),
        "sample": len(experiment.wanted),
        "evaluated": count["complete"],
        "pruned": count["pruned"],
        "failed": count["failed"],
        "left": len(experiment.wanted) - len(rows),
        "top_fraction": settings.top_fraction,
        **report.agreement(table, settings.top_fraction),
        "best": best.architecture,
        "best_accuracy": accuracy,
        "best_known": truth and truth.best,
        "regret": report.regret(truth, accuracy, retrained.updates if retrained else None),
        "updates": experiment.updates,
        "updates_saved": _saved(experiment, table),
        "truth": truth and {"architectures": len(truth.accuracies), "updates": truth.updates},
        "retrained_updates": retrained and retrained.updates,
        "seconds_search": round(sum(row.seconds for row in rows), 1),
        "seconds_proxy": made.get("seconds", 0.0),
        "proxy_from_cache": made.get("from_cache", False),
        "seconds_truth": round(truth.seconds, 1) if truth else None,
        "images": experiment.proxy.stored,
        "workers": settings.workers,
        "preset": settings.common.preset,
        "seed": settings.common.seed,
    }


def _saved(experiment: Experiment, table: Table) -> float:
    """The share of updates that pruning has saved."""
    counted = [row for row in table.rows if row.status != "failed"]
    whole = experiment.updates * len(counted)
    return 1 - sum(row.updates for row in counted) / whole if whole else 0.0


if __name__ == "__main__":
    command_line.main(run)
