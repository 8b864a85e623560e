"""A place in a host where experts answer: gate, rule, dispatch and fusion as one module."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from sam_moe.errors import ConfigError
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.dispatching.rows import dense, grouped, used
from sam_moe.moe.dispatching.wide import FeedForward, wide
from sam_moe.moe.experts import ExpertDict
from sam_moe.moe.fusion import check_fusion, fuse, weighted_sum
from sam_moe.moe.gate import Gate
from sam_moe.moe.names import Dispatch, Fusion, Granularity
from sam_moe.moe.routing import Routing
from sam_moe.moe.rule_settings import text_of
from sam_moe.moe.selection import SelectionRule, confidence_of
from sam_moe.shapes import Float, Int

# Answers rows by an expert.
Call = Callable[[Any, Int[Tensor, " r"]], Tensor]


@dataclass(frozen=True)
class SiteKind:
    """What is routed at a site, and how answers are found and joined.

    Args:
        granularity: a row of the batch ("prompt"), a vector ("token"), or a place of the output ("pixel").
        fusion: "sum" for features, raw weights included; "logits" or "probabilities" as `fuse` has them.
        dispatch: "grouped" runs chosen experts alone; "dense" is the oracle, and what can be compiled whole;
            "wide" runs several `FeedForward` experts as one product, and a single one by itself.
    """

    granularity: Granularity = "token"
    fusion: Literal["sum"] | Fusion = "sum"
    dispatch: Dispatch = "grouped"


class MoESite(nn.Module):
    """Experts in place of one module of a host; answers `(y, routing)`.

    By prompt or token, the routed rows are the leading axes of `x`: all but the last for an FFN on features
    `[..., c]`, fewer where `seen` has fewer (a gate on pooled features sends a slice's tokens one way). By
    pixel, experts answer whole rows `[b, *places, ...]`, and each place has weights of its own.

    Args:
        experts: modules by id, or a bank of what `call` in `answer` knows to run.
        gate: one column an expert, in their order; several sites may share one.
        rule: selects by the gate's confidences.
        kind: what is routed, and how.
        shared: always runs and is added with weight 1 (DeepSeekMoE's and Med-MoE's shared expert).
    """

    def __init__(
        self,
        experts: Mapping[str, nn.Module] | ExpertBank[Any],
        gate: Gate,
        rule: SelectionRule,
        kind: SiteKind = SiteKind(),
        shared: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.experts: ExpertDict | ExpertBank[Any] = (
            experts if isinstance(experts, ExpertBank) else ExpertDict(experts)
        )
        check_fusion(rule, kind.fusion)
        self.gate, self.rule, self.kind, self.shared = gate, rule, kind, shared
        self._check_columns()
        self._check_dispatch()

    @property
    def granularity(self) -> Granularity:
        """What is routed by itself."""
        return self.kind.granularity

    @property
    def ids(self) -> tuple[str, ...]:
        """The experts, in the order of the gate's columns."""
        return self.experts.ids if isinstance(self.experts, ExpertBank) else tuple(self.experts)

    def forward(
        self, x: Float[Tensor, "..."], seen: Any = None, rule: SelectionRule | None = None
    ) -> tuple[Float[Tensor, "..."], Routing]:
        """The fused answers to `x`, and who gave them.

        Args:
            x: what the experts are given.
            seen: what the gate is given, where that is another thing than `x`.
            rule: selects instead of the site's own.

        Raises:
            ConfigError: where the gate routes other rows than `x` has.
        """
        routing = self.route(x if seen is None else seen, rule)
        rows = routing.logits.shape[:-1]
        lead = 1 if self.kind.granularity == "pixel" else len(rows)
        if x.shape[:lead] != rows[:lead]:
            raise ConfigError(
                f"the gate routes rows of shape {tuple(rows)}, and the experts are given {tuple(x.shape)}. "
                "Expected the same leading axes."
            )
        if self.kind.dispatch == "wide" and routing.selection.experts.shape[-1] > 1:
            y = wide(self._feed_forward(), x, routing.weights)
            return (y if self.shared is None else self.shared(x) + y), routing
        flat = x.flatten(0, lead - 1)

        def call(expert: nn.Module, rows: Int[Tensor, " r"]) -> Tensor:
            answer: Tensor = expert(flat if len(rows) == len(flat) else flat[rows])
            return answer

        y = self.answer(routing, call)
        return (y if self.shared is None else self.shared(x) + y), routing

    def route(self, seen: Any, rule: SelectionRule | None = None) -> Routing:
        """Score and select, by the site's rule or another; no expert runs.

        Raises:
            ConfigError: for a rule whose weights the site cannot fuse, and where a gate that sites share has
                another number of columns, since an expert was added at another site and not yet at this one.
        """
        self._check_columns()
        rule = self.rule if rule is None else rule
        check_fusion(rule, self.kind.fusion)
        logits = self.gate(seen)
        chosen = rule.select(confidence_of(logits))
        return Routing(self.ids, logits, chosen, rule, self.kind.granularity)

    def answer(self, routing: Routing, call: Call) -> Float[Tensor, "..."]:
        """Run the chosen experts and fuse; `call(expert, rows)` answers rows of the batch, in their order."""
        experts, weights, _ = routing.selection
        if self.kind.granularity != "pixel":
            return self._fused(self._dispatched(experts, call), weights)
        by_row = self._dispatched(used(experts, len(self.ids)), call)
        return self._fused(_at_places(by_row, experts), weights)

    def add(self, id: str, expert: nn.Module | None = None) -> None:
        """Add an expert, and an undecided column unless the gate, shared by other sites, has it already.

        A bank makes its expert itself, so that `expert` is left out. Until it is added at every site of a
        shared gate, the others answer nothing.

        Raises:
            ConfigError: for an id that is there already, and for an expert that is missing, or that the
                site's dispatch cannot run, or, for a bank, given.
        """
        if id in self.ids:
            raise ConfigError(f"expert {id!r} is at the site already. Give the new one another id.")
        if isinstance(self.experts, ExpertBank):
            if expert is not None:
                raise ConfigError(f"expert {id!r} was given to a bank, which makes it itself. Leave it out.")
            self.experts.add(id)
        elif expert is None:
            raise ConfigError(f"expert {id!r} has no module. Give it one: `add({id!r}, module)`.")
        else:
            self._check_dispatch(expert)
            self.experts[id] = expert
        if self.gate.experts < len(self.ids):
            self.gate.add_column()

    def extra_repr(self) -> str:
        """What a printed model shows beside the parts."""
        rule = text_of(self.rule, self.ids)
        return f"{self.kind.granularity}, {rule}, {self.kind.fusion}, {self.kind.dispatch}"

    def _check_columns(self) -> None:
        if self.gate.experts != len(self.ids):
            raise ConfigError(
                f"the gate has {self.gate.experts} columns, the site {len(self.ids)} experts: "
                f"{', '.join(self.ids)}. Expected one column an expert, in the same order."
            )

    def _check_dispatch(self, *more: nn.Module) -> None:
        if self.kind.dispatch != "wide":
            return
        fits = isinstance(self.experts, ExpertDict) and all(
            isinstance(expert, FeedForward) for expert in (*self.experts.values(), *more)
        )
        if not fits or self.kind.granularity == "pixel" or self.kind.fusion != "sum":
            raise ConfigError(
                'dispatch "wide" is for experts that are `FeedForward`, by prompt or token, fused by "sum". '
                'Take "grouped".'
            )

    def _feed_forward(self) -> list[FeedForward]:
        assert isinstance(self.experts, ExpertDict)
        return [expert for expert in self.experts.values() if isinstance(expert, FeedForward)]

    def _dispatched(self, experts: Int[Tensor, "*rows k"], call: Call) -> Tensor:
        bank = self.experts
        if isinstance(bank, ExpertBank):
            return bank.decode(experts, call, self.kind.dispatch)
        modules = list(bank.values())

        def run(index: int, rows: Int[Tensor, " r"]) -> Tensor:
            return call(modules[index], rows)

        if self.kind.dispatch == "dense":
            return dense(experts, len(modules), run)
        return grouped(experts, run)

    def _fused(self, answers: Tensor, weights: Tensor) -> Tensor:
        if self.kind.fusion == "sum":
            return weighted_sum(answers, weights)
        return fuse(answers, weights, self.kind.fusion)


def _at_places(answers: Float[Tensor, "..."], experts: Int[Tensor, "b *places k"]) -> Float[Tensor, "..."]:
    """From answers `[b, e, *places, …]` those of the experts that each place chose: `[b, *places, k, …]`."""
    axis = experts.ndim - 1
    answers = answers.movedim(1, axis)
    index = experts.reshape(*experts.shape, *[1] * (answers.ndim - experts.ndim))
    return answers.gather(axis, index.expand(*experts.shape, *answers.shape[experts.ndim :]))


@dataclass(frozen=True)
class _Around:
    found: dict[str, Routing]
    rule: SelectionRule | None


_AROUND: ContextVar[_Around | None] = ContextVar("_AROUND", default=None)


@contextmanager
def routings(rule: SelectionRule | None = None) -> Iterator[dict[str, Routing]]:
    """Collect what `Plugged` sites route in this block, by their names; with `rule` they select by that.

    Each thread has blocks of its own, so that threads can share a host. A site that runs several times in a
    block leaves its last routing.
    """
    around = _Around({}, rule)
    token = _AROUND.set(around)
    try:
        yield around.found
    finally:
        _AROUND.reset(token)


class Plugged(nn.Module):
    """A site in a host that expects a plain module: gives `y` alone, and the routing to `routings()`."""

    def __init__(self, site: MoESite, name: str) -> None:
        super().__init__()
        self.site, self.name = site, name

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The fused answers to `x`."""
        around = _AROUND.get()
        y, routing = self.site(x, rule=None if around is None else around.rule)
        if around is not None:
            around.found[self.name] = routing
        fused: Tensor = y
        return fused
