"""When a series of latencies is warm; the rule is ``protocol.WarmupRule``."""

from __future__ import annotations

from statistics import median

from mobilekit.contract.protocol import WarmupRule


class WarmupDetector:
    """Fed with latencies one by one, says whether another warm-up iteration is needed."""

    def __init__(self, rule: WarmupRule) -> None:
        self._rule = rule
        self._latency_ns: list[int] = []

    @property
    def latency_ns(self) -> tuple[int, ...]:
        return tuple(self._latency_ns)

    @property
    def settled(self) -> bool:
        window = self._rule.window_iterations
        if len(self._latency_ns) < 2 * window:
            return False
        newest = median(self._latency_ns[-window:])
        before = median(self._latency_ns[-2 * window : -window])
        return newest >= (1 - self._rule.tolerance) * before

    def needs_another(self) -> bool:
        return not (
            self.settled
            or len(self._latency_ns) >= self._rule.max_iterations
            or sum(self._latency_ns) >= self._rule.max_duration_ns
        )

    def add(self, latency_ns: int) -> None:
        self._latency_ns.append(latency_ns)
