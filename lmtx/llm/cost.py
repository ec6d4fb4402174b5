"""The cost of requests: prices, the plan before spending, the account and the limit while spending."""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lmtx.llm.faults import BudgetError


@dataclass
class Cost:
    """The account of a teacher, or of a model that writes, since it was built; grows as it is asked."""

    requests: int = 0  # sent, repeated ones included; forward passes of a model in this process
    prompt_tokens: int = 0  # as the server reports them
    cached_tokens: int = 0  # those of them that it billed as cached
    answer_tokens: int = 0
    usd: float | None = 0.0  # None: the price of the model is unknown
    verdicts: int = 0  # pairs (texts of a model that writes) that were answered anew
    cached: int = 0  # those that the store answered
    failed: int = 0  # those without an answer
    seconds: float = 0.0  # spent in `judge` or `write`

    def since(self, before: "Cost") -> "Cost":
        """The difference to an earlier state of the account."""
        now, then = vars(self), vars(before)
        return Cost(**{name: None if now[name] is None else now[name] - then[name] for name in now})


def total_cost(*costs: Cost) -> dict[str, float | None]:
    """The account of several models as one; an unknown price makes the sum unknown."""
    columns = {name: [getattr(cost, name) for cost in costs] for name in vars(costs[0])}
    return {name: None if None in values else sum(values) for name, values in columns.items()}


@dataclass
class Budget:
    """A limit in dollars, for one model or for several that share it."""

    max_cost: float | None = None  # None: no limit
    spent: float = 0.0  # by replies
    reserved: float = 0.0  # for the requests in work

    def reserve(self, most: float) -> None:
        """Set `most` dollars aside for a request; raises `BudgetError` where there is no room for it."""
        # A sum of floats may pass the limit by its rounding.
        if self.max_cost is not None and self.spent + self.reserved + most > self.max_cost * (1 + 1e-9):
            raise BudgetError(
                f"teacher.max_cost = ${self.max_cost:,.4f} is reached (${self.spent:,.4f} spent): raise it, "
                "or run again to spend as much once more"
            )
        self.reserved += most


@dataclass(frozen=True)
class Plan:
    """The cost of judging some pairs, or of writing some texts, before the first request.

    Tokens are estimates unless `notes` says otherwise.
    """

    teacher: str  # its name
    pairs: int  # to judge, or texts to write
    cached: int  # those of them that the store answers
    requests: int  # to send for the rest, in which equal pairs count once
    prompt_tokens: int
    answer_tokens: int
    usd: float | None  # None: the price of the model is unknown
    seconds: float | None  # None: nothing is known about the speed
    notes: tuple[str, ...] = ()  # on the grounds of the figures
    task: str = "pairs to judge"

    def __str__(self) -> str:
        share = f" ({self.cached / self.pairs:.0%})" if self.pairs else ""
        rows = {
            self.task: f"{self.pairs:,}",
            "answered by the store": f"{self.cached:,}{share}",
            "requests": f"{self.requests:,}",
            "prompt tokens": f"{self.prompt_tokens:,}",
            "answer tokens": f"{self.answer_tokens:,}",
            "price": "unknown" if self.usd is None else f"${self.usd:,.4f}",
            "expected time": "unknown" if self.seconds is None else duration(self.seconds),
        }
        lines = [f"{name:>22}  {value}" for name, value in rows.items()]
        return "\n".join([f"Plan of {self.teacher}", *lines, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def estimate(
    requests: int = 0,
    prompt_tokens: int = 0,
    answer_tokens: int = 0,
    usd: float | None = 0.0,
    seconds: float | None = None,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    """The fields of a `Plan` about requests; without arguments, there are none."""
    return {
        "requests": requests,
        "prompt_tokens": prompt_tokens,
        "answer_tokens": answer_tokens,
        "usd": usd,
        "seconds": seconds,
        "notes": tuple(notes),
    }


def duration(seconds: float) -> str:
    """Seconds in words: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600:,} h {seconds % 3600 // 60} min"
