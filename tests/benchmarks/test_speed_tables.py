"""How quick the engine is, as tables."""

from benchmarks.speed import ranks
from benchmarks.speed.problem import Speed
from benchmarks.speed.tables import (
    MACHINE,
    SAME,
    busy_table,
    speed_table,
    speedup_table,
)


def measured(part, ratio, device="cpu", **problem):
    found = {
        "ratio": ratio,
        "ratio_min": "1",
        "ratio_max": "4",
        "roofline_ratio": "5",
        "rounds": "3",
    }
    about = {"problem": Speed(**problem).problem, "what": part, "device": device}
    return {**found, **about, **dict.fromkeys(MACHINE, "2")}


def test_the_last_row_of_a_part_counts():
    rows = [
        {**measured("evaluation", "8"), "threads": "8"},
        measured("inner loop", "2"),
        measured("inner loop", "2.5"),
        measured("inner loop", "3", precision="bfloat16"),
        measured("real gradients", "1.5"),
        measured("real gradients", "9", width=32),
        measured("real gradients", "9", device="cuda"),
        measured("evaluation", "3", precision="bfloat16"),
    ]
    assert speed_table(rows).splitlines()[2:] == [
        "| real gradients | 1.50 [1.00, 4.00], n = 3 |  | 5.0 |",
        "| inner loop | 2.50 [1.00, 4.00], n = 3 | 3.00 [1.00, 4.00], n = 3 | 5.0 |",
    ]


def test_rows_with_the_same_settings_are_one_line():
    about = {**dict.fromkeys(SAME, "1"), "dataset": "mnist"}
    rows = [
        {**about, "variant": "reference", "seconds": "100", "speedup": "1"},
        {**about, "variant": "engine", "seconds": "40", "speedup": "2.5"},
        {**about, "variant": "bfloat16", "seconds": "120", "speedup": ""},
        {
            **about,
            "reference_iterations": "2",
            "variant": "engine",
            "seconds": "50",
            "speedup": "2",
        },
    ]
    empty = "|  |  |  |  |"
    assert speedup_table(rows).splitlines()[2:] == [
        f"| mnist, 1, K = 1 | 100.0 (1.0) | 40.0 (2.5) {empty} not in 120.0 |  |  |",
        f"| mnist, 1, K = 2 |  | 50.0 (2.0) {empty}  |  |  |",
    ]


def test_the_speedup_of_two_processes_is_paired_by_round():
    rows = [
        {"command": "c --preset paper", "width": "8", "processes": processes, "seconds": seconds}
        for processes, seconds in (("1", "10.0 30.0"), ("2", "5.0 20.0"))
    ]
    times = "20.0 ± 14.1 | 12.5 ± 10.6 | 1.75 ± 0.35 (n = 2)"
    assert ranks.table(rows).splitlines()[2] == f"| paper | 8 |  | {times} |  |"
    rows.append({**rows[0], "processes": "reference", "seconds": "20.0 60.0"})
    both = f"| paper | 8 | 40.0 ± 28.3 | {times} | 3.50 ± 0.71 (n = 2) |"
    assert ranks.table(rows).splitlines()[2] == both


def test_a_busy_machine_has_a_column_for_each_condition():
    rows = [
        {"command": "c", "threads": threads, "beside": beside, "seconds": seconds}
        for threads, beside, seconds in (("2", "nothing", "1.00 3.00"), ("1", "nothing", "4.00"))
    ]
    assert busy_table(rows).splitlines()[2] == "| `c` | 2.0 ± 1.4 (n = 2) | 4.0 (n = 1) |"


def test_the_reference_makes_the_same_iterations(monkeypatch):
    done = []
    monkeypatch.setattr(
        "benchmarks.speed.reference.outer_iteration",
        lambda data, settings, images, *more: done.append((settings, images.shape, more[2])),
    )
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    settings = ranks.Ranks("digits", ipc=2, width=4, iterations=2, preset="paper")
    assert ranks.reference_seconds(settings) >= 0
    (chosen, shape, _), _ = done
    assert [k for *_, k in done] == [0, 1]
    assert shape == (10, 2, 1, 8, 8)
    assert (chosen.batch_real, chosen.inner_loop, chosen.network.width) == (256, None, 4)
