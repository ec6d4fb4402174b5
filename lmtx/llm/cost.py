"""What requests cost: prices, the plan before spending, the account and the limit while spending."""

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from lmtx.config import PACKAGED, ConfigError, Section, find_upwards
from lmtx.llm.faults import BudgetError

_Amount = Annotated[float, Field(ge=0)]


class Price(Section):
    """US dollars per million tokens.

    Attributes
    ----------
    prompt, answer
        Price of a token that is sent, and of one that is written.
    cached
        Price of a prompt token that the provider took from its own cache; the full price if None.
    batch
        Share of the price that is due through the Batch API.
    """

    prompt: _Amount
    answer: _Amount
    cached: _Amount | None = None
    batch: _Amount = 1.0

    def usd(self, prompt: float, answer: float, cached: float = 0, batch: bool = False) -> float:
        """Dollars for `prompt` tokens sent, `cached` of them from the cache, and `answer` tokens written."""
        cached_price = self.prompt if self.cached is None else self.cached
        dollars = ((prompt - cached) * self.prompt + cached * cached_price + answer * self.answer) / 1e6
        return dollars * (self.batch if batch else 1.0)


def load_price(model: str, path: str | Path = "conf/prices.yaml") -> Price | None:
    """The price of `model` in the table at `path`, looked for in the parent folders and the package too.

    None when the model's line is missing. Raises `ConfigError` for a malformed line.
    """
    try:
        path = find_upwards(path)
    except ConfigError:
        path = PACKAGED / Path(path).name
        if not path.is_file():
            return None
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path} holds no price table; expected lines such as `MODEL: {{prompt: 0.1, …}}`")
    if model not in table:
        return None
    line = table[model]
    try:
        return Price.model_validate(line)
    except ValidationError:
        raise ConfigError(
            f"{path}: `{model}` is {line!r}; expected dollars per million tokens, at least 0, as "
            "{prompt: 0.15, answer: 0.60}, and if you like cached: and batch:"
        ) from None


@dataclass
class Cost:
    """The account of a teacher, or of a model that writes, since it was built; grows as it is asked.

    Attributes
    ----------
    requests
        Requests sent (forward passes of a model in this process), repeated ones included.
    prompt_tokens, cached_tokens, answer_tokens
        As the server reports them; `cached_tokens` is the part of the prompt it billed as cached.
    usd
        Dollars for them; None when the price of the model is unknown.
    verdicts
        Pairs answered anew; `cached`: pairs answered from the store; `failed`: pairs without an answer.
        For a model that writes, texts in the place of pairs.
    seconds
        Wall-clock time spent in `judge` or `write`.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    usd: float | None = 0.0
    verdicts: int = 0
    cached: int = 0
    failed: int = 0
    seconds: float = 0.0

    def since(self, before: "Cost") -> dict[str, Any]:
        """What was spent since the account stood at `before`: columns of the store's runs."""
        names = ("verdicts", "requests", "prompt_tokens", "answer_tokens", "usd")
        now, then = asdict(self), asdict(before)
        return {name: None if now[name] is None else now[name] - then[name] for name in names}


@dataclass
class Budget:
    """A limit in dollars, for one model or for several that share it.

    Attributes
    ----------
    max_cost
        Dollars that may be spent; None: no limit.
    spent
        Dollars that replies have cost.
    reserved
        Dollars that the requests in work may still cost.
    """

    max_cost: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

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
    """What judging some pairs, or writing some texts, will take, known before the first request.

    Attributes
    ----------
    teacher
        The teacher's name.
    pairs, cached
        Pairs to judge (texts to write), and how many of them the store answers. Equal ones count once in
        the rest.
    requests, prompt_tokens, answer_tokens
        Still to be sent and written; tokens are estimates unless `notes` says otherwise.
    usd
        Dollars; None when the price of the model is unknown.
    seconds
        Expected wall-clock time; None when nothing is known about the speed.
    notes
        What the figures rest on.
    task
        What `pairs` counts, for people.
    """

    teacher: str
    pairs: int
    cached: int
    requests: int
    prompt_tokens: int
    answer_tokens: int
    usd: float | None
    seconds: float | None
    notes: tuple[str, ...] = field(default=())
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
    """The fields of a `Plan` that tell what is sent; without arguments, nothing is."""
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
