"""Two-level fractional factorial designs: which combinations to run, and which effects cannot be distinguished.

A fraction of 2^(k-p) runs sets p of the k factors by generators, products of the others. Box, Hunter & Hunter,
Statistics for Experimenters, 2nd edition, table 6.22; NIST/SEMATECH e-Handbook of Statistical Methods, 5.3.3.4.7.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

_LETTERS = "ABCDEFGHJ"  # the tables leave out I, which stands for the identity
MIN_FACTORS = 5
MAX_FACTORS = len(_LETTERS)
# (factors, runs): the generators of the last factors. Tests search all others: none has less aberration.
GENERATORS: dict[tuple[int, int], tuple[str, ...]] = {
    (5, 8): ("AB", "AC"),
    (5, 16): ("ABCD",),
    (6, 8): ("AB", "AC", "BC"),
    (6, 16): ("ABC", "BCD"),
    (6, 32): ("ABCDE",),
    (7, 8): ("AB", "AC", "BC", "ABC"),
    (7, 16): ("ABC", "BCD", "ACD"),
    (7, 32): ("ABCD", "ABDE"),
    (7, 64): ("ABCDEF",),
    (8, 16): ("BCD", "ACD", "ABC", "ABD"),
    (8, 32): ("ABC", "ABD", "BCDE"),
    (8, 64): ("ABCD", "ABEF"),
    (9, 16): ("ABC", "BCD", "ACD", "ABD", "ABCD"),
    (9, 32): ("BCDE", "ACDE", "ABDE", "ABCE"),
    (9, 64): ("ABCD", "ACEF", "CDEF"),
    (9, 128): ("ACDFG", "BCEFG"),
}
_ROMAN = {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII"}
_ENOUGH = 4  # the resolution at which no main effect is mixed with a two-way interaction

Word = frozenset[int]  # a product of factors, by their numbers


@dataclass(frozen=True)
class FractionalDesign:
    """A fraction of the combinations of two-level factors.

    Attributes:
        factors: their names.
        runs: a row a run, 0 or 1 a factor; the first row is all 0, which is the control.
        words: the defining relation without the identity: products of factors that are constant over the runs.
    """

    factors: tuple[str, ...]
    runs: tuple[tuple[int, ...], ...]
    words: tuple[Word, ...]

    @property
    def resolution(self) -> int:
        """Length of the shortest word: at 4 no main effect is aliased with another or with a two-way interaction."""
        return min(len(word) for word in self.words)

    def aliases(self, *, up_to: int = 2) -> dict[str, tuple[str, ...]]:
        """For each main effect and two-way interaction, the effects of at most ``up_to`` factors mixed with it.

        Effects are written as "residual" and "residual:conv", the factors in the study's order.
        """
        numbers = range(len(self.factors))
        effects = [frozenset(effect) for size in (1, 2) for effect in itertools.combinations(numbers, size)]
        return {
            self._name(effect): tuple(
                self._name(other)
                for other in sorted(
                    (effect ^ word for word in self.words), key=lambda other: (len(other), sorted(other))
                )
                if 0 < len(other) <= up_to
            )
            for effect in effects
        }

    def __str__(self) -> str:
        """Size, resolution and aliases in a sentence."""
        whole = 2 ** len(self.factors)
        told = f"{len(self.runs)} of {whole} combinations were run, a fraction of resolution {_ROMAN[self.resolution]}"
        mixed = {frozenset((effect, *others)): None for effect, others in self.aliases().items() if others}
        if not mixed:
            return f"{told}: no main effect or two-way interaction is mixed with another."
        groups = "; ".join(" = ".join(sorted(group, key=lambda name: (name.count(":"), name))) for group in mixed)
        return f"{told}. These cannot be distinguished: {groups}."

    def _name(self, effect: Iterable[int]) -> str:
        return ":".join(self.factors[number] for number in sorted(effect))


def sizes(num_factors: int) -> tuple[int, ...]:
    """The numbers of runs that there is a fraction for."""
    return tuple(runs for count, runs in GENERATORS if count == num_factors)


def construct(factors: tuple[str, ...], num_runs: int | None = None) -> FractionalDesign:
    """The fraction of ``num_runs`` runs; of the fewest runs with resolution IV if None.

    Raises:
        KeyError: there is no such fraction, see ``sizes``.
    """
    if num_runs is None:
        designs = (construct(factors, runs) for runs in sizes(len(factors)))
        return next(design for design in designs if design.resolution >= _ENOUGH)
    generators = [frozenset(map(_LETTERS.index, word)) for word in GENERATORS[len(factors), num_runs]]
    num_base = len(factors) - len(generators)
    runs = tuple(
        (*base, *(sum(base[at] for at in word) % 2 for word in generators))
        for base in itertools.product((0, 1), repeat=num_base)
    )
    return FractionalDesign(factors, runs, defining_words(generators, num_base))


def defining_words(generators: list[Word], num_base: int) -> tuple[Word, ...]:
    """Every product of the generators' words, shortest first; a generator's word holds the factor that it sets."""
    seeds = [word | {num_base + at} for at, word in enumerate(generators)]
    words = set()
    for size in range(1, len(seeds) + 1):
        for chosen in itertools.combinations(seeds, size):
            product: Word = frozenset()
            for word in chosen:
                product = product ^ word
            words.add(product)
    return tuple(sorted(words, key=lambda word: (len(word), sorted(word))))
