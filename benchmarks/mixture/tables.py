"""Tables of the answers of `reproduce.py`, and the figures of its JSON line."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mixture.answers import GATES, PROMPTS, Answer
from benchmarks.mixture.systems import CONTROLS, GENERAL, MIXTURE
from benchmarks.quality.answer_files import read_answers as read_file
from benchmarks.quality.blocks import GENERAL as GENERAL_BLOCK
from benchmarks.quality.blocks import OTHER, UNSEEN, ZERO_SHOT, Target
from benchmarks.quality.tables import Means

HARD, ORACLE = "hard routing", "oracle"
# Which expert was made for a label; all others are the general model's.
OWNERS = {
    "esophagus": "esophagus",
    "spinal_cord": "spinal-cord",
    "hippocampus": "hippocampus",
    "tumour_gtv": "soft-tissue-tumour",
}
SPECIALISED = "specialised structures"
BY_PROGRAM = "specialised structures, labelled by a program, one scan each; in no mean above"
_SHARED_SCANS = "openkbp_headneck_ct"
_WIDTH, _FIRST = 9, 30


def block_of(target: Target) -> str:
    """The block that a target counts in."""
    if target.block != ZERO_SHOT:
        return target.block
    return BY_PROGRAM if target.structure.endswith("*") else SPECIALISED


def owner(target: Target) -> str:
    """The system that a target belongs to."""
    return OWNERS.get(target.label, GENERAL) if target.block == ZERO_SHOT else GENERAL


def with_references(answers: Sequence[Answer]) -> list[Answer]:
    """All answers, and for each target what hard routing and the oracle would have given."""
    decoders = {GENERAL, *OWNERS.values()}
    grouped: dict[tuple[Target, str], dict[str, Answer]] = defaultdict(dict)
    for answer in answers:
        if answer.system in decoders and answer.target.block in (GENERAL_BLOCK, ZERO_SHOT):
            grouped[answer.target, answer.prompt][answer.system] = answer
    added = []
    for (target, _), found in grouped.items():
        added.append(replace(found[owner(target)], system=HARD))
        added.append(replace(max(found.values(), key=lambda a: a.dice), system=ORACLE))
    return [*answers, *added]


def means(answers: Sequence[Answer], block: str, prompt: str) -> dict[str, Means]:
    """Every system's means over a block for one way to ask."""
    rows: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if block_of(answer.target) == block and answer.prompt == prompt:
            rows[answer.system].append(answer)
    return {system: Means(own) for system, own in rows.items()}


def tables(answers: Sequence[Answer]) -> Iterator[str]:
    """All tables as lines of text."""
    every = with_references(answers)
    for prompt in PROMPTS:
        yield f"{prompt.upper().replace('CLICK', 'CLICK ')}"
        for block in (GENERAL_BLOCK, SPECIALISED, BY_PROGRAM):
            if columns := means(every, block, prompt):
                yield from _block(block, columns)
        yield ""
    yield from _forgetting(every)
    yield from routing(answers)


def _block(block: str, columns: dict[str, Means]) -> Iterator[str]:
    systems = _ordered(columns)
    if block == BY_PROGRAM:
        yield block
    yield f"{'' if block == BY_PROGRAM else block:{_FIRST}}   n" + "".join(
        f"{_short(s):>{_WIDTH}}" for s in systems
    )
    first = columns[systems[0]]
    for number, structure in enumerate(first.structures):
        count = int(first.count[number])
        cells = "".join(f"{columns[s].by_structure[number]:{_WIDTH}.3f}" for s in systems)
        yield f"{structure:{_FIRST}}{count:4}{cells}"
        found = "".join(_interval(columns[s].interval(structure)) for s in systems)
        if found.strip():
            yield " " * (_FIRST + 4) + found
    cells = "".join(f"{columns[s].mean:{_WIDTH}.3f}" for s in systems)
    yield f"{'MEAN over structures':{_FIRST}}{int(first.count.sum()):4}{cells}"
    for title, further in (("95 % over patients", False), ("95 % over structures, too", True)):
        found = "".join(_interval(columns[s].interval(further=further)) for s in systems)
        if found.strip():
            yield f"{title:{_FIRST + 4}}{found}"


def _interval(found: tuple[float, float] | None) -> str:
    cell = f"{found[0]:.2f}–{found[1]:.2f}".replace("0.", ".") if found else ""
    return f"{cell:>{_WIDTH}}"


def _ordered(columns: dict[str, Means]) -> list[str]:
    order = [GENERAL, *OWNERS.values(), *CONTROLS, *GATES[1:], HARD, ORACLE, MIXTURE]
    return [name for name in order if name in columns]


def _short(system: str) -> str:
    return {
        "soft-tissue-tumour": "tumour",
        "hippocampus": "hippoc.",
        HARD: "hard",
        "spinal-cord": "cord",
    }.get(system, system.replace(" gate", "-g."))[: _WIDTH - 1]


def _forgetting(every: Sequence[Answer]) -> Iterator[str]:
    yield "FORGETTING: each expert on its own structures and on the rest, Dice against the general model's"
    for expert in OWNERS.values():
        for prompt in PROMPTS:
            own, rest = _difference(every, expert, prompt, True), _difference(every, expert, prompt, False)
            yield f"{expert:{_FIRST}}{prompt:>8}  own {own:+.3f}   rest {rest:+.3f}"
    yield ""


def _difference(every: Sequence[Answer], system: str, prompt: str, own: bool) -> float:
    """Mean over structures of a system's Dice less the general model's, on its own ones or on the others."""
    dice: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for answer in every:
        if block_of(answer.target) not in (GENERAL_BLOCK, SPECIALISED) or answer.prompt != prompt:
            continue
        if (owner(answer.target) == system) == own and answer.system in (system, GENERAL):
            dice[answer.target.structure][answer.system].append(answer.dice)
    changes = [np.mean(d[system]) - np.mean(d[GENERAL]) for d in dice.values()]
    return float(np.mean(changes)) if changes else float("nan")


def routing(answers: Sequence[Answer]) -> Iterator[str]:
    """How often each gate chose the owner: over all, where it is hard, and for structures of no expert."""
    yield "ROUTING: share of answers by the structure's own expert (by the general model, where it has none)"
    groups = {
        "all, general and specialised": lambda t: t.block in (GENERAL_BLOCK, ZERO_SHOT),
        "prompts into the same CTs of head and neck": lambda t: t.set == _SHARED_SCANS,
        "hippocampus in a whole brain": lambda t: t.label == "hippocampus" and t.set == "brain_structures_mr",
        "other structures of known kinds of scan": lambda t: t.block == OTHER,
        "sets and tumours never seen": lambda t: t.block == UNSEEN,
    }
    yield f"{'':{_FIRST + 16}}{'n':>4}" + "".join(
        f"{g + ' ' + p:>18}" for g in _short_gates() for p in PROMPTS
    )
    gates = [gate for gate in GATES if any(a.system == gate for a in answers)]
    for title, belongs in groups.items():
        cells, count = "", 0
        for gate in gates:
            for prompt in PROMPTS:
                own = [a for a in answers if (a.system, a.prompt) == (gate, prompt) and belongs(a.target)]
                count = len(own)
                share = np.mean([by_owner(a) for a in own]) if own else float("nan")
                cells += f"{share:18.2f}"
        yield f"{title:{_FIRST + 16}}{count:4}{cells}"
    yield ""


def _short_gates() -> tuple[str, ...]:
    return tuple(gate.replace(" gate", "") for gate in GATES)


def by_owner(answer: Answer) -> bool:
    """Whether the expert with the largest weight is the one that the target belongs to."""
    return _named(answer) == owner(answer.target)


def _named(answer: Answer) -> str:
    best = max(answer.experts, key=lambda name: answer.experts[name]) if answer.experts else GENERAL
    return best if best in OWNERS.values() else GENERAL


def figures(answers: Sequence[Answer]) -> dict[str, Any]:
    """What the JSON line says."""
    every = with_references(answers)
    gain, drop, share, detail = {}, {}, {}, {}
    for prompt in PROMPTS:
        general = means(every, GENERAL_BLOCK, prompt)
        special = means(every, SPECIALISED, prompt)
        gain[prompt] = special[MIXTURE].mean - special[GENERAL].mean
        drop[prompt] = general[GENERAL].by_structure - general[MIXTURE].by_structure
        share[prompt] = special[MIXTURE].by_structure / np.maximum(special[HARD].by_structure, 1e-9)
        detail[prompt] = {
            "general": {s: round(m.mean, 4) for s, m in general.items()},
            "specialised": {s: round(m.mean, 4) for s, m in special.items()},
        }
    general_only = [a for a in answers if a.system == MIXTURE and a.general_alone]
    return {
        "specialised_gain": round(float(np.mean(list(gain.values()))), 4),
        "general_drop_max": round(float(max(d.max() for d in drop.values())), 4),
        "general_drop_mean": round(float(np.mean([d.mean() for d in drop.values()])), 4),
        "share_of_hard_routing_min": round(float(min(s.min() for s in share.values())), 4),
        "bit_identical_when_general": all(a.same_bits for a in general_only) and bool(general_only),
        "answers_by_general_alone": len(general_only),
        "specialised_gain_by_prompt": {p: round(float(g), 4) for p, g in gain.items()},
        "general_drop_mean_by_prompt": {p: round(float(d.mean()), 4) for p, d in drop.items()},
        "means": detail,
    }


def record_of(answer: Answer) -> tuple[str, dict[str, Any]]:
    """The system that answered, and what is kept of the routing beside its score."""
    shares = {"experts": answer.experts, "confidence": answer.confidence}
    known = {
        key: {name: round(share, 4) for name, share in own.items()} for key, own in shares.items() if own
    }
    flags = {"general_alone": answer.general_alone, "same_bits": answer.same_bits}
    return answer.system, {**known, **{key: flag for key, flag in flags.items() if flag is not None}}


def read_answers(path: Path) -> list[Answer]:
    """The answers that `reproduce.py` kept."""
    return read_file(path, lambda target, system, score, more: Answer(target, system, score, **more))
