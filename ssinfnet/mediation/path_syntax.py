"""A path model's parameters, and the words in which semopy and lavaan read it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Paths", "formula_names"]


@dataclass(frozen=True)
class Paths:
    """A path model with names that a formula can hold, and a label for each parameter."""

    outcome: str
    exposures: tuple[str, ...]
    paths: dict[str, tuple[str, ...]]  # mediator → its exposures
    covariates: tuple[str, ...]  # projected out before the fit, which leaves all else as it is
    correlated: bool

    @property
    def mediators(self) -> tuple[str, ...]:
        """Names of the mediators."""
        return tuple(self.paths)

    def slopes(self) -> dict[tuple[str, str], str]:
        """Return (response, regressor) → label."""
        named = {(self.outcome, m): f"b{i}" for i, m in enumerate(self.mediators, 1)}
        named |= {(self.outcome, x): f"c{j}" for j, x in enumerate(self.exposures, 1)}
        return named | {
            (m, x): f"a{i}{j}" if len(self.exposures) < 10 else f"a{i}_{j}"
            for i, m in enumerate(self.mediators, 1)
            for j, x in enumerate(self.exposures, 1)
            if x in self.paths[m]
        }

    def covariances(self) -> dict[tuple[str, str], str]:
        """Return pairs of variables whose residual variance or covariance is free → label."""
        endogenous = (*self.mediators, self.outcome)
        named = {(name, name): f"v{i}" for i, name in enumerate(endogenous, 1)}
        pairs = [(m, other) for i, m in enumerate(self.mediators) for other in self.mediators[:i]]
        return named | {pair: f"r{i}" for i, pair in enumerate(pairs, 1) if self.correlated}

    def parameters(self) -> int:
        """Count the free parameters, slopes of covariates included."""
        beside = len(self.covariates) * (len(self.mediators) + 1)
        return len(self.slopes()) + len(self.covariances()) + beside

    def exogenous(self) -> dict[tuple[str, str], str]:
        """Return the pairs of exposures → label; semopy counts them only where they are named."""
        pairs = [
            (x, other) for i, x in enumerate(self.exposures) for other in self.exposures[: i + 1]
        ]
        return {pair: f"x{i}" for i, pair in enumerate(pairs, 1)}

    def indirect(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return (exposure, mediator) → labels of the two slopes between."""
        named = self.slopes()
        return {
            (x, m): (named[m, x], named[self.outcome, m])
            for x in self.exposures
            for m in self.mediators
            if x in self.paths[m]
        }

    def model(self) -> str:
        """Return the model as semopy reads it."""
        lines = [f"{y} ~ {label}*{x}" for (y, x), label in self.slopes().items()]
        free = self.covariances() | self.exogenous()
        return "\n".join(lines + [f"{a} ~~ {label}*{b}" for (a, b), label in free.items()])

    def lavaan(self) -> str:
        """Return the model as lavaan reads it, defined effects included."""
        named = self.slopes()
        lines = []
        for response in (self.outcome, *self.mediators):
            terms = [f"{label}*{x}" for (y, x), label in named.items() if y == response]
            terms += self.covariates
            lines.append(f"{response} ~ " + " + ".join(terms))
        lines += [f"{a} ~~ {b}" for a, b in self.covariances() if a != b]
        by_exposure: dict[str, list[str]] = {}
        for (x, m), (a, b) in self.indirect().items():
            lines.append(f"ind_{x}_{m} := {a}*{b}")
            by_exposure.setdefault(x, []).append(f"{a}*{b}")
        for x, terms in by_exposure.items():
            lines.append(f"ind_{x} := " + " + ".join(terms))
            lines.append(f"total_{x} := {named[self.outcome, x]} + " + " + ".join(terms))
        return "\n".join(lines)

    def defined(self) -> list[tuple[str, str, list[tuple[str, ...]]]]:
        """Return exposure, through what, and the products of labels whose sum the effect is."""
        slopes, indirect = self.slopes(), self.indirect()
        rows: list[tuple[str, str, list[tuple[str, ...]]]] = []
        for x in self.exposures:
            own = {m: pair for (other, m), pair in indirect.items() if other == x}
            direct: list[tuple[str, ...]] = [(slopes[self.outcome, x],)]
            rows += [(x, m, [pair]) for m, pair in own.items()]
            rows.append((x, "all mediators", list(own.values())))
            rows.append((x, "direct", direct))
            rows.append((x, "total", [*own.values(), *direct]))
        return rows


def formula_names(columns: Sequence[str]) -> dict[str, str]:
    """Return column → a name that a formula can hold, each different."""
    safe: dict[str, str] = {}
    for column in columns:
        plain = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_") or "column"
        plain = plain if plain[0].isalpha() else f"column_{plain}"
        taken, number = plain, 2
        while taken in safe.values():
            taken, number = f"{plain}_{number}", number + 1
        safe[column] = taken
    return safe
