from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

from continual.experience_numbers import ExperienceNumbers


class Experience:
    dataset: Any

    def __init__(self, number: int) -> None:
        self.current_experience = number


def test_its_own_number_if_possible_and_the_same_again() -> None:
    numbers = ExperienceNumbers()
    stream = [Experience(number) for number in (0, 1, 2)]
    assert [numbers.of(one) for one in stream] == [0, 1, 2]
    assert [numbers.of(one) for one in reversed(stream)] == [2, 1, 0]
    other = [Experience(number) for number in (0, 1)]
    assert [numbers.of(one) for one in other] == [3, 4]
    assert numbers.of(Experience(9), taken=[9, 12]) == 13


def test_a_copy_knows_no_experience_but_takes_no_number_twice() -> None:
    numbers, one = ExperienceNumbers(), Experience(0)
    assert numbers.of(one) == 0
    for again in (copy.deepcopy(numbers), pickle.loads(pickle.dumps(numbers))):
        assert again.of(one) == 1
        assert again.of(one) == 1


def test_the_number_of_an_experience_that_is_gone_is_not_given_again() -> None:
    numbers = ExperienceNumbers()
    assert [numbers.of(Experience(0)) for _ in range(3)] == [0, 1, 2]
    again = pickle.loads(pickle.dumps(numbers))
    assert again.of(Experience(1)) == 3


def test_objects_without_weak_references() -> None:
    numbers, one = ExperienceNumbers(), SimpleNamespace(current_experience=4)
    assert numbers.of(one) == 4
    assert numbers.of(one, taken=[4]) == 4
    assert numbers.of(SimpleNamespace(current_experience=4)) == 5


class Content:
    """A dataset."""


def view(content: Content, number: int) -> Experience:
    made = Experience(number)
    made.dataset = content
    return made


def test_a_new_object_with_the_same_dataset_is_the_same_experience() -> None:
    numbers, content = ExperienceNumbers(), Content()
    assert [numbers.of(view(content, 1)) for _ in range(3)] == [1, 1, 1]
    assert numbers.of(view(content, 2)) == 2, "a stream may have one dataset several times"
    assert numbers.of(view(Content(), 1)) == 3


class Lazy(Experience):
    @property
    def dataset(self) -> Content:
        return Content()


def test_an_experience_that_makes_its_dataset_at_each_access_is_the_same() -> None:
    numbers, one = ExperienceNumbers(), Lazy(0)
    assert [numbers.of(one) for _ in range(3)] == [0, 0, 0]
    assert numbers.of(Lazy(0), taken=[0]) == 1
