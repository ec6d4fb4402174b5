"""How many dollars requests may cost, together."""

from dataclasses import dataclass

from lmtx.llm.faults import BudgetError


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
