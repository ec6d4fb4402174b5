"""What requests to a paid model may cost, and what they did."""

from lmtx.config import ConfigError
from lmtx.config import OpenAITeacher as OpenAIConfig
from lmtx.teachers.base import BudgetError
from lmtx.teachers.chat import Usage
from lmtx.teachers.cost import Cost, load_price


class Budget:
    """The limits of a configuration, and the price of its model.

    Parameters
    ----------
    config
        Has the model's name, `max_requests` and `max_cost`.
    batch
        Whether requests go through the Batch API, at its price.

    Attributes
    ----------
    price
        Dollars per million tokens; None when unknown.
    reserved
        Dollars that the requests in work may still cost.

    Raises
    ------
    ConfigError
        When `max_cost` is set and the model's price is unknown.
    """

    def __init__(self, config: OpenAIConfig, *, batch: bool):
        self._config, self._batch = config, batch
        self.price = load_price(config.model)
        self.reserved = 0.0
        if config.max_cost is not None and self.price is None:
            raise ConfigError(
                f"teacher.max_cost is {config.max_cost}, but conf/prices.yaml has no price of "
                f"{config.model!r}: add it there, or use teacher.max_requests"
            )

    def usd(self, prompt: int, answer: int, cached: int = 0) -> float | None:
        """Dollars for `prompt` tokens sent, `cached` of them from a cache, and `answer` tokens written."""
        return None if self.price is None else self.price.usd(prompt, answer, cached, self._batch)

    def check(self, cost: Cost, prompt: int, answer: int) -> float:
        """The most a request of so many tokens may cost, in dollars (0 where the price is unknown).

        Raises `BudgetError` where, with `cost` spent, a limit has no room for it.
        """
        limits = self._config
        if limits.max_requests is not None and cost.requests >= limits.max_requests:
            raise BudgetError(
                f"teacher.max_requests = {limits.max_requests:,} is reached: raise it, or run again to send "
                "as many once more"
            )
        most = self.usd(prompt, answer) or 0.0
        if limits.max_cost is not None and cost.usd + self.reserved + most > limits.max_cost:
            raise BudgetError(
                f"teacher.max_cost = ${limits.max_cost:,.4f} is reached (${cost.usd:,.4f} spent): raise it, "
                "or run again to spend as much once more"
            )
        return most

    def enter(self, cost: Cost, usage: Usage) -> None:
        """Add the tokens of a reply, and what they cost, to `cost`."""
        cost.prompt_tokens += usage.prompt
        cost.cached_tokens += usage.cached
        cost.answer_tokens += usage.answer
        if self.price is not None:
            cost.usd += self.usd(usage.prompt, usage.answer, usage.cached)
