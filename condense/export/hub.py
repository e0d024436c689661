"""A dataset repository as the Hugging Face hub expects it: parquet files and a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condense.condensed_set import CondensedSet
from condense.distribution import install_extra
from condense.errors import UserError
from condense.export.png import clipped, png_images
from condense.runs.report import per_cent
from condense.runs.report_sections import flag, flattened, shown
from condense.set_fields import plain_provenance

DATA = "data/train-00000-of-00001.parquet"
CARD = "README.md"
_TEMPLATE = Path(__file__).parent / "templates" / "card.md"
_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
_MADE_BY = ("dataset", "method", "ipc", "network", "seed", "version", "fingerprint")


def write_repository(condensed: CondensedSet, folder: Path, license_name: str) -> None:
    """Write the parquet file and the card.

    Raises:
        UserError: `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"--to parquet needs datasets: {install_extra('hub')}") from error
    names = list(condensed.class_names)
    columns: dict[str, Any] = {
        "image": png_images(condensed),
        "label": condensed.hard_labels.tolist(),
    }
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    if condensed.labels.ndim > 1:
        columns["soft_label"] = condensed.targets.tolist()
        features["soft_label"] = [datasets.Value("float32")]
    path = folder / DATA
    path.parent.mkdir(parents=True)
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    table.to_parquet(path)
    (folder / CARD).write_text(card(condensed, license_name), encoding="utf-8")


def card(condensed: CondensedSet, license_name: str) -> str:
    """The card: metadata of the hub, provenance, how the set was tested, figures."""
    from huggingface_hub import DatasetCard, DatasetCardData

    about = plain_provenance(condensed.provenance)
    source = shown(about.get("dataset"))
    size = next((text for most, text in _SIZES.items() if len(condensed.images) < most), "n>1M")
    data = DatasetCardData(
        license=license_name,
        pretty_name=f"{source}, condensed by {shown(about.get('method'))}",
        task_categories=["image-classification"],
        size_categories=[size],
        tags=["dataset-condensation"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": DATA}]}],
    )
    made = DatasetCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        condensed=condensed,
        source=source,
        figure=_figure(about),
        made_by=[(key, shown(about[key])) for key in _MADE_BY if key in about],
        protocol=_rows(about.get("evaluation")),
        settings=_rows(about.get("settings")),
        clipped=f"{100 * clipped(condensed):.1f} %",
    )
    return str(made)


def _figure(about: Mapping[str, Any]) -> str:
    """The accuracy in the provenance, as text; empty without one."""
    accuracy, std = about.get("accuracy"), about.get("accuracy_std", 0.0)
    if not (isinstance(accuracy, float) and isinstance(std, float)):
        return ""
    tests = about.get("evaluation")
    single = isinstance(tests, Mapping) and tests.get("num_eval") == 1
    return per_cent(accuracy, None if single else std)


def _rows(settings: object) -> list[tuple[str, str]]:
    """Nested settings as rows of a table."""
    if not isinstance(settings, Mapping):
        return []
    return [(flag(name), shown(value)) for name, value in flattened(settings)]
