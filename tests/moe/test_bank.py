"""Which decoders run on which rows, how often, and which are held."""

import pytest
import torch

from sam_moe.errors import ConfigError
from sam_moe.moe.bank import ExpertBank

IDS = ("general", "a", "b", "c")


class Made:
    """Makes a decoder as its id, and remembers in which order it was asked to."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def __call__(self, name: str) -> str:
        self.order.append(name)
        return name


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def bank(made) -> ExpertBank[str]:
    return ExpertBank(IDS, made, "general", most=2)


def test_each_chosen_expert_runs_once_on_its_rows_and_no_other_runs(bank, made):
    asked = []

    def call(decoder: str, rows: torch.Tensor) -> torch.Tensor:
        asked.append((decoder, rows.tolist()))
        return torch.stack([10.0 * IDS.index(decoder) + rows, rows.double()], dim=1)

    answers = bank.decode(torch.tensor([[2, 0], [0, 1], [2, 1]]), call)
    assert asked == [("general", [0, 1]), ("a", [1, 2]), ("b", [0, 2])]
    assert answers[..., 0].tolist() == [[20, 0], [1, 11], [22, 12]]
    assert bank.calls == {"general": 1, "a": 1, "b": 1}
    assert made.order == ["a", "b"]


def test_the_longest_unused_is_let_go_and_the_general_one_never(bank, made):
    assert bank.held == ("general",)
    for index in (1, 2, 1, 3, 0):
        bank.decoder(index)
    assert bank.held == ("general", "a", "c")
    bank.decoder(2)
    assert made.order == ["a", "b", "c", "b"]
    assert bank.held == ("general", "c", "b")


def test_never_more_are_in_memory_than_allowed():
    alive: list[int] = []

    class Heavy:
        def __init__(self, name: str) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    most = []
    bank = ExpertBank(IDS, lambda name: most.append(len(alive)) or Heavy(name), "general", most=1)
    for index in (1, 2, 3, 1):
        bank.decoder(index)
    assert most == [0, 0, 0, 0]


def test_gradients_pass_to_the_decoders():
    scales = {name: torch.ones((), requires_grad=True) for name in IDS}
    bank = ExpertBank(IDS, scales.__getitem__, scales["general"])
    answers = bank.decode(torch.tensor([[0], [3], [0]]), lambda scale, rows: scale * rows[:, None].float())
    answers.sum().backward()
    assert scales["general"].grad == 2 and scales["c"].grad == 1 and scales["a"].grad is None


def test_an_expert_that_is_added_stands_behind_the_others(bank):
    bank.add("d")
    assert bank.ids == (*IDS, "d") and bank.decoder(4) == "d" and bank.decoder(1) == "a"
    with pytest.raises(ConfigError, match="'d' is in the bank already"):
        bank.add("d")


def test_a_bank_that_cannot_be_is_refused():
    for ids in ((), ("general", "a", "a")):
        with pytest.raises(ConfigError, match="then different ones"):
            ExpertBank(ids, str, "general")
    with pytest.raises(ConfigError, match="at most 0 experts held"):
        ExpertBank(IDS, str, "general", most=0)
    with pytest.raises(ConfigError, match="no expert was chosen"):
        ExpertBank(IDS, str, "general").decode(torch.zeros(0, 1, dtype=torch.long), lambda d, r: r)
