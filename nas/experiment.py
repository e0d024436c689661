"""A search, with all that is needed to train its architectures in this process or in a worker."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from condense import CondensedSet, ImageData, UserError
from condense.cli.images import load_images as load_dataset
from condense.errors import shortened
from condense.runs.cache import ALGORITHM
from condense.runs.run_dir import CONDENSED
from nas.cost import cost
from nas.objective import (
    RUNGS,
    TrialResult,
    Watch,
    device_failure,
    schedule_of,
    train_architecture,
)
from nas.proxies import Proxy, make_proxy
from nas.schedule import Plan, planned
from nas.settings import UNCONDENSED, Search, Training, label
from nas.space import Space, space_named
from nas.study import SharedStudy

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LONGEST_NAME = 499
"""Of a data set and a proxy together, which may be files: with a hash of 12 characters a study's
name has at most 512, for which Optuna's tables have space."""


def load_images(settings: Search) -> ImageData:
    """The images of a search, on its device and in its image size.

    Raises:
        UserError: as `condense.load`.
    """
    data = load_dataset(settings.dataset, settings.common)
    size = settings.image_size
    if size is None or size >= max(data.shape[1:]):
        return data
    return data.squared(size, settings.common.fit)


class Experiment:
    """A search and its run folder.

    Args:
        settings: of the search.
        data: its images.
        space: the architectures.
        folder: the run folder; contains the condensed set if the proxy has one.
        begun: when the search was started or last resumed; by default now.
        plan: the order of the architectures; by default it is made here.
    """

    def __init__(
        self,
        settings: Search,
        data: ImageData,
        space: Space,
        folder: Path,
        begun: datetime | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.settings = settings
        self.data = data
        self.space = space
        self.folder = folder
        self.begun = begun or datetime.now()
        self.plan = plan or self._plan()

    @classmethod
    def in_worker(
        cls, settings: Search, folder: Path, begun: datetime, plan: Plan, space_sha256: str
    ) -> Experiment:
        """The same search, in another process; without a progress bar of its own.

        Raises:
            UserError: the space does not have this fingerprint: it is another one in this process.
        """
        space = space_named(settings.space)
        if space.fingerprint != space_sha256:
            raise UserError(
                f"{settings.space} is another space in a worker: its file was changed while the "
                "search runs, or its names or its `build` depend on draws without a seed, or on "
                "the order of a set"
            )
        settings = dataclasses.replace(
            settings, common=dataclasses.replace(settings.common, quiet=True)
        )
        return cls(settings, load_images(settings), space, folder, begun, plan)

    def _plan(self) -> Plan:
        """Costly architectures first, where several workers share the search.

        With a timeout or a pruner, each of which looks at a beginning of the order, it is the
        stratified sample.
        """
        settings, order = self.settings, self.space.order(self.settings.n_trials)
        shared = settings.workers > 1 or settings.storage is not None
        if not (shared and self.trained) or settings.prune or settings.timeout is not None:
            return Plan(order)
        costs = {index: cost(self.space, index, self.data) for index in order}
        return planned(order, costs, settings.workers, torch.get_num_threads())

    @property
    def trained(self) -> bool:
        """Whether architectures are trained, so that scores are accuracies."""
        return self.settings.proxy != "parameters"

    @cached_property
    def condensed(self) -> CondensedSet | None:
        """The condensed set of the proxy, from the run folder."""
        if self.settings.proxy in UNCONDENSED:
            return None
        return CondensedSet.load(self.folder / CONDENSED)

    @cached_property
    def proxy(self) -> Proxy:
        """The proxy that architectures are trained on."""
        settings = self.settings
        return make_proxy(
            settings.proxy, self.data, self.condensed, settings.training, settings.common.seed
        )

    @cached_property
    def steps(self) -> int:
        """Training steps of an architecture that is not pruned."""
        if self.proxy.images is None:
            return 0
        training = self.settings.training
        return training.networks * schedule_of(training, len(self.proxy.images)).steps

    def study(self) -> SharedStudy:
        """This process's access to the study.

        Raises:
            UserError: as `SharedStudy`.
        """
        settings = self.settings
        longest = self.steps // max(1, settings.training.networks)
        return SharedStudy(
            self.space,
            self.plan.order,
            name=self._name(),
            folder=self.folder,
            url=settings.storage,
            patience=settings.storage_timeout,
            since=self.begun,
            first_rung=max(1, longest // max(RUNGS)) if settings.prune else None,
        )

    def train(self, study: SharedStudy, trial: FrozenTrial) -> TrialResult:
        """Train the architecture of a trial, with the threads that are planned for it."""
        index = study.index(trial)
        torch.set_num_threads(self.plan.threads.get(index, torch.get_num_threads()))

        def watch(steps: int, accuracy: float) -> bool:
            return study.report(trial, steps, accuracy)

        return self._objective(
            index,
            self.proxy,
            self.settings.training,
            watch if self.settings.prune else None,
        )

    def retrain(self, index: int) -> TrialResult:
        """Train an architecture on the whole set.

        It is the last use of the device: if the device fails, the result has this as its reason.
        """
        settings = self.settings
        try:
            whole = make_proxy("whole", self.data, None, settings.retraining, settings.common.seed)
            return self._objective(index, whole, settings.retraining, None)
        except torch.AcceleratorError as error:
            return TrialResult(0, reason=device_failure(error))

    def _objective(
        self, index: int, proxy: Proxy, training: Training, watch: Watch | None
    ) -> TrialResult:
        seed = self.settings.common.seed
        return train_architecture(self.space, index, proxy, self.data, training, seed, watch)

    def _name(self) -> str:
        """The study name: the same only for searches whose results may be combined."""
        settings = self.settings
        depends_on: Mapping[str, object] = {
            "images": [self.data.fingerprint(), self.data.describe()["sha256_test"]],
            "space": self.space.fingerprint,
            "proxy": settings.proxy if settings.condensing else self._content(),
            "condensing": settings.condensing
            and [ALGORITHM, dataclasses.asdict(settings.condensing)],
            "training": dataclasses.asdict(settings.training),
            "draws": self.proxy.draws,
            "prune": settings.prune,
            "seed": settings.common.seed,
        }
        digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
        named = shortened(f"{self.data.name}-{label(settings.proxy)}", LONGEST_NAME)
        return f"{named}-{digest[:12]}"

    def _content(self) -> str:
        """Identifies a proxy that is not condensed here: its name, or the hash of its set."""
        if self.condensed is None:
            return self.settings.proxy
        return self.condensed.fingerprint()
