"""The test of a probe as the literal loops write it: one number at a time, for a walk in float64."""

import math
from dataclasses import dataclass

ROUNDING = 8 * 2.0**-52


def says(f: float, there: float, promise: float) -> bool:
    """Whether the probe shows more than rounding, and the minibatch has a gradient at all."""
    noise = ROUNDING * abs(f)
    return promise != 0 and not (abs(promise) <= noise and there - f <= noise)


@dataclass
class Window:
    """The search of an anchor, step after step."""

    fraction: float
    decrease: float
    growth: float
    begin: int
    le: float = 0.0
    streak: int = 0
    last: int = 0
    seen: bool = False
    failed: bool = False
    typical: float = math.nan

    def __post_init__(self) -> None:
        self.le = -math.log(self.fraction)
        self.edges: list[float] = []

    def usual(self, descent: float) -> None:
        """ln of the typical <g, D>, which no reading moves by more than a tenth of ln 100."""
        if descent > 0:
            reading = math.log(descent)
            if math.isnan(self.typical):
                self.typical = reading
            else:
                near = min(max(reading, self.typical - math.log(100)), self.typical + math.log(100))
                self.typical += 0.1 * (near - self.typical)

    def far(self, f: float, there: float, p: float, descent: float) -> bool:
        """Whether a failed probe is an accident."""
        limit = 100 * math.exp(self.typical) if self.seen else math.inf
        return self.seen and not (there - f <= p * limit and abs(descent) <= limit)

    def probe(self, t: int, f: float, there: float, descent: float, m: float) -> float:
        """The multiplier of step t, whose probe at the present edge came to ``there``."""
        p = math.exp(self.le)
        heard = says(f, there, p * descent)
        passed = heard and there <= f - self.decrease * p * descent
        accident = heard and not passed and self.far(f, there, p, descent)
        short = not heard and descent > 0 and not self.seen
        if heard or short:
            s = 1 if passed or short else -1
            self.streak = self.streak + 1 if s == self.last else 0
            self.le += s * math.log(self.growth) * min(1 + self.streak / 2, 6)
            self.last = s
        self.seen, self.failed = self.seen or passed, self.failed or (heard and not passed)
        if self.seen:
            self.usual(descent)
        if heard and self.seen and self.failed and t >= self.begin:
            self.edges.append(self.le)
        steep = heard and not passed and self.streak > 0 and there - f > 3 * abs(p * descent)
        if not self.seen or accident or steep:
            return 0.0
        return self.fraction * min(p, math.exp(self.le)) * m

    def edge(self) -> float:
        if not (self.seen or self.failed):
            return 1 / self.fraction
        return math.exp(sum(self.edges) / len(self.edges) if self.edges else self.le)
