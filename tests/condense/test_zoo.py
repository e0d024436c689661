"""The condensed sets that come with the package, and how they get there."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

import condense
from benchmarks.publish import publish
from condense import Cache, Checkpointer, CondensedSet, UserError, zoo

SETTINGS = condense.preset(condense.GradientMatching, "smoke", ipc=2)


@pytest.fixture(scope="module")
def digits() -> condense.ImageData:
    return condense.load("digits")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of our own, empty."""
    monkeypatch.setattr(zoo, "HERE", tmp_path / "zoo")
    (tmp_path / "zoo").mkdir()
    return tmp_path / "zoo"


def run_folder(path: Path, made: CondensedSet, **about: object) -> Path:
    path.mkdir()
    if "accuracy" in about:
        about = {"accuracy_std": 0.1, "evaluation": {"num_eval": 2}, **about}
    made.with_provenance(**about).save(path / "condensed.safetensors")
    return path


def test_every_set_of_the_package_says_what_it_is() -> None:
    assert len(condense.zoo_names()) >= 18
    for name in condense.zoo_names():
        dataset, method, ipc = name.rsplit("-", 2)
        found = condense.load_condensed(dataset, method, int(ipc))
        about = found.provenance
        assert (about["dataset"], about["method"], about["ipc"]) == (dataset, method, int(ipc))
        assert 0 < about["accuracy"] <= 1
        assert 0 < about["accuracy_std"] < 0.1
        assert about["evaluation"]["num_eval"] > 1
        if about["settings"].get("storage", "float32") == "float32":
            assert found.images_per_class == int(ipc)
        else:  # in the bytes of so many whole images
            assert found.bytes <= int(ipc) * found.classes * math.prod(found.shape)
            assert found.images_per_class > int(ipc)
        assert len(zoo.key_of(found)) == 32
    assert sum(path.stat().st_size for path in zoo.HERE.glob("*.safetensors")) < 30e6


def test_the_key_of_a_set_depends_on_its_seed() -> None:
    found = condense.load_condensed("mnist", ipc=1)
    assert zoo.key_of(found.with_provenance(seed=5)) != zoo.key_of(found)


def test_the_file_of_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert zoo.file_of(Path("mnist-dsa-10")) == zoo.HERE / "mnist-dsa-10.safetensors"
    with pytest.raises(UserError, match="unknown condensed set 'mnist-dsa-99'; known: mnist-dsa-1"):
        zoo.file_of(Path("mnist-dsa-99"))
    for path in (Path("missing.safetensors"), Path("sets/missing")):
        assert zoo.file_of(path) == path, "reading it says that it is missing"
    (tmp_path / "mnist-dsa-10").mkdir()
    with pytest.raises(UserError, match="mnist-dsa-10 is a folder: give the file of a set"):
        zoo.file_of(Path("mnist-dsa-10"))
    (tmp_path / "mnist-dsa-10" / "condensed.safetensors").touch()
    with pytest.raises(UserError, match=r"folder: give mnist-dsa-10/condensed\.safetensors$"):
        zoo.file_of(Path("mnist-dsa-10"))


def test_the_best_is_kept(shelf: Path, tmp_path: Path, digits: condense.ImageData) -> None:
    made = condense.condense(digits, "dsa", SETTINGS)
    assert publish(run_folder(tmp_path / "a", made, accuracy=0.5), shelf)
    assert not publish(run_folder(tmp_path / "b", made, accuracy=0.4), shelf)
    assert publish(run_folder(tmp_path / "c", made, accuracy=0.6), shelf)
    assert zoo.zoo_names() == ["digits-dsa-2"]
    kept = condense.load_condensed("digits", ipc=2)
    assert kept.provenance["accuracy"] == 0.6
    assert kept.images.equal(made.images)
    other = run_folder(tmp_path / "d", made, accuracy=0.7, evaluation={"num_eval": 3})
    with pytest.raises(UserError, match="evaluated with other settings than digits-dsa-2"):
        publish(other, shelf)


def test_what_does_not_belong_there(
    shelf: Path, tmp_path: Path, digits: condense.ImageData
) -> None:
    real = condense.condense(digits, "random", ipc=2, preset="smoke")
    with pytest.raises(UserError, match="contains real images"):
        publish(run_folder(tmp_path / "real", real, accuracy=0.5), shelf)
    kept = condense.condense(digits, "dsa", replace(SETTINGS, short_classes="keep"))
    with pytest.raises(UserError, match="contains real images"):
        publish(run_folder(tmp_path / "kept", kept, accuracy=0.5), shelf)
    made = condense.condense(digits, "dsa", SETTINGS)
    with pytest.raises(UserError, match="was not evaluated"):
        publish(run_folder(tmp_path / "untested", made), shelf)
    with pytest.raises(UserError, match="unknown condensed set 'digits-dsa-2'"):
        condense.load_condensed("digits", ipc=2)


class Never(Checkpointer):
    """For a condensation that must not be made."""

    def report(self, done: int, total: int, **metrics: float) -> None:
        raise AssertionError("it is in the zoo")


def test_a_set_from_before_there_was_a_setting_is_found(
    shelf: Path, tmp_path: Path, digits: condense.ImageData
) -> None:
    made = condense.condense(digits, "dsa", SETTINGS)
    settings = made.provenance["settings"]
    del settings["network"]["precision"], settings["herding_steps"]
    publish(run_folder(tmp_path / "run", made, accuracy=0.5, settings=settings), shelf)
    condense.condense(
        digits, "dsa", SETTINGS, checkpointer=Never(), cache=Cache(tmp_path / "cache")
    )


def test_what_is_in_the_zoo_is_not_condensed(
    shelf: Path, tmp_path: Path, digits: condense.ImageData
) -> None:
    made = condense.condense(digits, "dsa", SETTINGS)
    publish(run_folder(tmp_path / "run", made, accuracy=0.5), shelf)
    cache = Cache(tmp_path / "cache")
    found = condense.condense(digits, "dsa", SETTINGS, checkpointer=Never(), cache=cache)
    assert cache.hits == 1
    made.save(tmp_path / "made")
    found.save(tmp_path / "found")
    assert (tmp_path / "made").read_bytes() == (tmp_path / "found").read_bytes()
    for other in ({"seed": 1}, {"cache": None}):
        with pytest.raises(AssertionError, match="it is in the zoo"):
            condense.condense(
                digits, "dsa", SETTINGS, checkpointer=Never(), **{"cache": cache, **other}
            )
