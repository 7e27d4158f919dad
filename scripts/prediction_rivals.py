"""Simple ways to tell a latency, which the model of ``mobilekit predict`` is set beside."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from prediction_fit import Array, Data, Indices
from scipy.optimize import nnls

from mobilekit.analysis.predict.chips import FEATURES

RIVALS = ("constant MAC rate", "MACs + parameters", "rank-2", "gradient boosting", "nearest chip")


def rivals_errors(data: Data, known: dict[int, tuple[str, ...]]) -> dict[str, dict[int, Array]]:
    """Absolute percentage errors on the same splits, by rival and number of known networks.

    Each tells a network's log time but for the phone's scale, and the phone's scale from the known
    networks; from the chip alone the scale is what the trained phones have, per rate of the cores.
    """
    errors: dict[str, dict[int, list[float]]] = {
        rival: {count: [] for count in known} for rival in RIVALS
    }
    table = np.full((len(data.devices), len(data.works)), np.nan)
    table[data.phone, data.network] = data.log_ms
    for soc in np.unique(data.soc_index):
        trained = np.flatnonzero(data.soc_index != soc)
        shapes = _Shapes(data, table, trained)
        for phone in np.flatnonzero(data.soc_index == soc):
            there = ~np.isnan(table[phone])
            for count, chosen in known.items():
                is_known = there & np.isin(data.names, chosen)
                if count and not is_known.any():
                    continue
                asked = there & ~is_known
                for rival in RIVALS:
                    told = shapes.tell(rival, int(phone), is_known)
                    apes = np.abs(np.expm1(told[asked] - table[phone, asked])) * 100
                    errors[rival][count] += apes.tolist()
    return {
        rival: {count: np.array(each) for count, each in of_rival.items()}
        for rival, of_rival in errors.items()
    }


class _Shapes:
    """What the rivals learn from the phones they are trained on."""

    def __init__(self, data: Data, table: Array, trained: Indices) -> None:
        from sklearn.ensemble import GradientBoostingRegressor

        self.data, self.table, self.trained = data, table, trained
        macs = np.array([sum(layer.macs for layer in work.layers) for work in data.works])
        weights = np.array([sum(layer.weights for layer in work.layers) for work in data.works])
        self.counts = np.column_stack([macs, weights]).astype(float)
        rows = table[trained]
        self.effects = np.nanmean(rows - np.nanmean(rows, axis=1, keepdims=True), axis=0)
        scales = np.nanmean(rows - self.effects, axis=1)
        self.rate = data.features[:, list(FEATURES).index("log_rate")]
        self.scale = float(np.mean(scales + self.rate[trained]))
        relative = self.counts / np.exp(self.effects)[:, None]
        self.two_prices, _ = nnls(relative, np.ones(len(relative)))
        centred = np.nan_to_num(rows - self.effects - scales[:, None])
        self.directions = np.linalg.svd(centred, full_matrices=False)
        self.boosted = GradientBoostingRegressor(
            n_estimators=200, max_depth=4, learning_rate=0.08, subsample=0.7, random_state=0
        )
        kept = np.isin(data.phone, trained)
        self.boosted.fit(self._features(data.phone[kept], data.network[kept]), data.log_ms[kept])

    def _features(self, phone: Indices, network: Indices) -> Array:
        costs = np.log1p(self.data.costs)
        return np.column_stack([self.data.features[phone], costs[network]])

    def tell(self, rival: str, phone: int, known: npt.NDArray[np.bool_]) -> Array:
        """Log ms of every network on that phone."""
        times, networks = self.table[phone], np.arange(len(self.effects))
        prior = self.scale - self.rate[phone]
        if rival == "constant MAC rate":
            per_mac = np.log(self.counts[:, 0])
            return per_mac + (
                np.mean((times - per_mac)[known])
                if known.any()
                else prior + np.mean(self.effects - per_mac)
            )
        if rival == "MACs + parameters":
            prices = self.two_prices
            if known.sum() > 2:
                relative = self.counts[known] / np.exp(times[known])[:, None]
                prices, _ = nnls(relative, np.ones(len(relative)))
            told = np.log(np.maximum(self.counts @ prices, 1e-9))
            return told + (np.mean((times - told)[known]) if known.any() else prior)
        if rival == "gradient boosting":
            told = self.boosted.predict(self._features(np.full(len(networks), phone), networks))
            return np.asarray(told + (np.mean((times - told)[known]) if known.any() else 0.0))
        if rival == "rank-2":
            if not known.any():
                return np.asarray(self.effects + prior)
            _, values, directions = self.directions
            design = np.column_stack([np.ones(known.sum()), directions[0][known]])
            spread = values[0] / math.sqrt(len(self.trained))
            ridge = np.diag([0.0, (0.1 / spread) ** 2])
            left = (times - self.effects)[known]
            both = np.linalg.solve(design.T @ design + ridge, design.T @ left)
            return np.asarray(self.effects + both[0] + both[1] * directions[0])
        return self._nearest(phone, known)

    def _nearest(self, phone: int, known: npt.NDArray[np.bool_]) -> Array:
        """The times of the phone whose features are nearest, or whose known ones are most alike
        but for a factor, times that factor."""
        features = np.nan_to_num(self.data.features)
        spread = features[self.trained].std(axis=0) + 1e-9
        distance = (((features[self.trained] - features[phone]) / spread) ** 2).mean(axis=1)
        if known.any():
            off = self.table[phone, known] - self.table[np.ix_(self.trained, known)]
            unlike = np.nan_to_num(np.nanstd(off, axis=1), nan=1e3)
            distance = unlike + 1e-3 * distance
        nearest = self.trained[int(distance.argmin())]
        told = np.where(np.isnan(self.table[nearest]), np.nan, self.table[nearest])
        factor = self.table[phone, known] - told[known] if known.any() else np.zeros(1)
        mean = float(np.nanmean(factor)) if np.isfinite(factor).any() else 0.0
        typical = self.effects + np.nanmean(told - self.effects)
        return np.where(np.isnan(told), typical, told) + mean
