"""What becomes of networks with one thing changed when a build judges them: caught, not proved, explained, or missed.

    python -m tests.networks.mutation_table [--json FILE] [NAME…]

prints a table by kind of layer, of all models of `kind_models` or of those named. **Caught** is a verdict that ends a
build; **not proved** one that claims nothing, because the network does not run or contradicts itself; what is called
proved is **equal** where a rule of `network_mutations.same` says why it computes the same, and **missed** otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.networks.kind_models import FEEDS, MODELS
from tests.networks.network_mutations import Mutant, attention_mutants, mutants, same
from tests.networks.parsed_models import Parsed, parsed
from trtpipe.errors import TrtpipeError

FATES = ("caught", "not proved", "equal", "missed")


@dataclass
class Table:
    """Mutants by kind of layer and fate."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    survivors: list[str] = field(default_factory=list)
    """Those that were missed, each in words."""

    def add(self, name: str, mutant: Mutant, fate: str) -> None:
        self.counts.setdefault(mutant.layer.type, Counter())[fate] += 1
        if fate == "missed":
            self.survivors.append(f"{name}: {mutant}")

    def kinds(self) -> list[str]:
        return sorted(self.counts)

    def total(self) -> Counter[str]:
        return sum(self.counts.values(), Counter())

    def missed_share(self) -> float:
        """Of the mutants that no rule explains, the share that was called proved."""
        found = self.total()
        told = found["caught"] + found["not proved"] + found["missed"]
        return found["missed"] / told if told else 1.0

    def lines(self) -> Iterable[str]:
        yield f"{'layer':<28}" + "".join(f"{fate:>12}" for fate in FATES)
        rows: Mapping[str, Counter[str]] = {
            **{kind: self.counts[kind] for kind in self.kinds()},
            "all": self.total(),
        }
        for kind, found in rows.items():
            yield f"{kind:<28}" + "".join(f"{found[fate]:>12}" for fate in FATES)
        yield f"missed of those that no rule explains: {self.missed_share():.2%}"


def mutation_table(names: Iterable[str], folder: Path) -> Table:
    """The table of the mutants of some models."""
    table = Table()
    for name in names:
        place = folder / name
        place.mkdir()
        found = parsed(MODELS[name], place, FEEDS.get(name))
        made = [one for layer in found.network.layers for one in mutants(found.network, layer, found.folder)]
        for mutant in (*made, *attention_mutants(found.network)):
            table.add(name, mutant, fate_of(found, mutant))
    return table


def fate_of(found: Parsed, mutant: Mutant) -> str:
    """What a build makes of a mutant."""
    try:
        outcome = found.judged(mutant.network).outcome
    except TrtpipeError:
        return "not proved"
    if outcome == "proved":
        return "equal" if same(found.network, mutant) else "missed"
    return "caught" if outcome == "failed" else "not proved"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = mutation_table(asked.names or MODELS, Path(folder))
    for line in (*table.lines(), *(f"missed: {one}" for one in table.survivors)):
        sys.stdout.write(f"{line}\n")
    if asked.json:
        asked.json.write_text(
            json.dumps({"counts": table.counts, "missed": table.survivors}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
