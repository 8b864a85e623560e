"""One model, many sessions: what they share stays as it is, and each answers as if it were alone."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, replace
from hashlib import sha256
from threading import Barrier

import pytest
import torch

import sam_moe
from sam_moe.hosts.sam3d.promptable import PromptableSam3D
from sam_moe.moe.rules.top_k import TopK
from sam_moe.predict.answered import Answered
from sam_moe.predict.cache import EmbeddingCache
from sam_moe.predict.model import Model
from sam_moe.predict.prediction import Prediction
from sam_moe.predict.predictor import Predictor
from sam_moe.prompts import Box, Point, Prompt
from sam_moe.registry import shipped
from sam_moe.space.phantom import ball
from sam_moe.space.volume import Volume
from tests.predict.ruled import choosing

THREADS = 4


@contextmanager
def hurried() -> Iterator[None]:
    """Threads take turns 5,000 times as often as usual, so that one is interrupted wherever it can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def together(work: Callable[[int], object], threads: int = THREADS) -> list[object]:
    """Do the work of each number in a thread of its own, all begun at one moment."""
    barrier = Barrier(threads)

    def begin(number: int) -> object:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool, hurried():
        return list(pool.map(begin, range(threads)))


def test_each_open_is_a_session_of_its_own(model, generator):
    a, b = ball(generator)[0], ball(generator)[0]
    mr, ct = model.open(a), model.open(b)
    assert mr is not ct and mr.scan is a and ct.scan is b
    first = mr.predict(Point((24, 24, 24)))
    assert ct.prompt == Prompt()
    ct.predict(Point((20, 24, 24)))
    ct.refine(Point((30, 24, 24)))
    assert len(mr.prompt) == 1 and len(ct.prompt) == 2
    alone = replace(model, cache=EmbeddingCache()).open(a).predict(Point((24, 24, 24)))
    assert torch.equal(first.answer.array, alone.answer.array)
    ct.undo()
    assert len(mr.prompt) == 1 and torch.equal(mr.undo() or mr.redo().mask, first.mask)


def test_a_model_is_immutable_and_another_setting_is_another_model(model, mixture):
    for name, value in (("whole_targets", False), ("network", None), ("id", "other")):
        with pytest.raises(FrozenInstanceError):
            setattr(model, name, value)
    for name, value in (("selection", TopK(2)), ("fusion", "probabilities")):
        with pytest.raises(AttributeError):
            setattr(mixture.network.module, name, value)
    narrow = replace(model, whole_targets=False)
    assert model.whole_targets and not narrow.whole_targets and narrow.network is model.network
    assert narrow.embedding_key == model.embedding_key


def test_two_networks_by_hand_never_share_an_embedding_unless_their_encoders_are_called_equal(
    network, preprocessing
):
    for known, shared in (((), False), (("e",), True)):
        networks = (PromptableSam3D(network, "positive", "mask", *known) for _ in range(2))
        one, two = (Model(promptable, preprocessing, "one") for promptable in networks)
        assert (one.embedding_key == two.embedding_key) == shared


Digest = tuple[str, Answered | None]  # an answer's digest: the answers themselves would take gigabytes


def digest(found: Prediction | None) -> Digest | None:
    if found is None:
        return None
    return sha256(found.answer.array.numpy().tobytes()).hexdigest(), found.answered


def clicks(session: Predictor, number: int, count: int) -> list[Digest | None]:
    """A conversation that another number leads elsewhere: new targets, corrections, boxes, undo and redo."""
    rng, size = torch.Generator().manual_seed(number), torch.tensor(session.scan.grid.shape)
    found: list[Digest | None] = []
    while len(found) < count:
        at = (torch.rand(3, generator=rng) * (size - 9)).floor().tolist()
        draw = float(torch.rand(1, generator=rng))
        if not len(session.prompt) or draw < 0.1:
            found.append(digest(session.predict(Point(tuple(at)))))
        elif draw < 0.15:
            found.append(digest(session.predict(Box(tuple(at), tuple(x + 9 for x in at)))))
        elif draw < 0.25:
            found.append(digest(session.undo()))
        elif draw < 0.3:
            found.append(digest(session.redo()))
        else:
            found.append(digest(session.refine(Point(tuple(at), positive=draw < 0.65))))
    return found


def test_threads_on_one_mixture_give_the_answers_and_experts_of_one_alone(mixture, generator):
    """An expert fewer is held than there are, so that threads wait for room and decoders come and go."""
    mixture.network.module.bank.most = 1
    chosen = replace(choosing(mixture, TopK(2)), whole_targets=False)
    scans = [ball(generator)[0] for _ in range(THREADS)]
    alone = [clicks(chosen.open(scans[n]), n, 8) for n in range(THREADS)]
    fresh = replace(chosen, cache=EmbeddingCache())
    found = together(lambda n: clicks(fresh.open(scans[n]), n, 8))
    for n in range(THREADS):
        assert found[n] == alone[n], n
    assert len({tuple(answer[1].experts) for one in alone for answer in one if answer}) > 1


@pytest.mark.slow
def test_four_threads_of_two_hundred_clicks_give_the_single_threads_answers_to_the_bit():
    """The shipped mixture on the scans of the demonstration, which ask for different experts."""
    model = sam_moe.load("small-moe", device="cpu")
    scans: list[Volume] = [sam_moe.read(shipped("demo") / name / "scan.nii.gz") for name in ("mr", "ct")]
    narrow = replace(model, whole_targets=False)
    alone = [clicks(narrow.open(scans[n]), n, 200) for n in range(2)]
    fresh = replace(narrow, cache=EmbeddingCache())
    found = together(lambda n: clicks(fresh.open(scans[n % 2]), n % 2, 200))
    for n in range(THREADS):
        assert found[n] == alone[n % 2], n
    assert len({expert for one in alone for answer in one if answer for expert in answer[1].experts}) > 1
