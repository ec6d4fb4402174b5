"""Several teachers as one: their log-odds, weighted and added.

A language model and an ensemble of letters and vectors err on different pairs, so that the sum is right more
often than either. The weights are fixed beforehand; nothing is fitted.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import expit

from lmtx.config import CombinedConfig
from lmtx.llm.cost import Cost, Plan, total_cost
from lmtx.teachers.base import Answers, Teacher
from lmtx.teachers.pairs import NO, YES, Pairs, log_odds
from lmtx.teachers.store import VerdictStore, identity_digest


class CombinedTeacher(Teacher):
    """p_yes = sigmoid(sum over teachers of weight x log-odds), each teacher's verdict stored for itself.

    A pair on which one of the teachers has no verdict gets none. `members` are in the order of `config.of`;
    they are closed with this one.
    """

    def __init__(self, config: CombinedConfig, members: Sequence[Teacher], *, store: VerdictStore):
        self._members = list(members)
        self._weights = [config.weights[name] for name in config.of]
        self.notes = tuple(dict.fromkeys(note for member in members for note in member.notes))
        # A teacher that always answers, the ensemble, sets no limit.
        limits = [member.max_missing for member in members if member.max_missing < 1]
        self.max_missing = max(limits, default=1.0)
        for member in members:
            # Missing verdicts of a member are counted here, among all pairs: it is asked for new ones only.
            member.max_missing = 1.0 if member.max_missing else 0.0
        identity = {
            "kind": "combined",
            "of": [identity_digest(member.identity).hex() for member in members],
            "weights": self._weights,
        }
        super().__init__(config.name, identity, store)

    def ask(self, pairs: Pairs) -> Generator[Answers]:
        odds = np.zeros(len(pairs))
        for member, weight in zip(self._members, self._weights, strict=True):
            before = replace(member.cost)
            odds += weight * log_odds(member.judge(pairs).p_yes)
            # Requests, tokens and dollars are the members'; this teacher counts its verdicts and seconds.
            spent = replace(member.cost.since(before), verdicts=0, cached=0, failed=0, seconds=0.0)
            self.cost = Cost(**total_cost(self.cost, spent))
            self.last_fault = member.last_fault or self.last_fault
        answered = np.flatnonzero(~np.isnan(odds))
        answer = np.where(odds[answered] >= 0, YES, NO).astype(np.int8)
        yield answered, expit(odds[answered]).astype(np.float32), answer

    def estimate(self, pairs: Pairs) -> dict[str, Any]:
        return _total([member.estimate(pairs) for member in self._members])

    def bill(self, pairs: Pairs) -> dict[str, Any]:
        return _total([member.bill(pairs) for member in self._members])

    def plan(self, pairs: Pairs) -> Plan:
        """As `Teacher.plan`; the store also answers a pair for which no teacher needs a request."""
        new = pairs.select(self.unknown(pairs))
        senders = [member for member in self._members if member.sends] or self._members
        unanswered = np.unique(np.concatenate([member.unknown(new) for member in senders]))
        plans = _total([vars(member.plan(new)) for member in self._members])
        return Plan(self.name, len(pairs), len(pairs) - len(unanswered), **plans)

    def close(self) -> None:
        for member in self._members:
            member.close()
        super().close()


def _total(estimates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of estimates or plans; an unknown price makes the sum unknown, an unknown time is 0."""
    counts = ("requests", "prompt_tokens", "answer_tokens")
    prices = [one["usd"] for one in estimates]
    return {name: sum(one[name] for one in estimates) for name in counts} | {
        "usd": None if None in prices else sum(prices),
        "seconds": sum(one["seconds"] or 0.0 for one in estimates),
        "notes": tuple(dict.fromkeys(note for one in estimates for note in one["notes"])),
    }
