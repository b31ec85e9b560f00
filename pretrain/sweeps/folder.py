"""The folder of a sweep: where everything of it stands, and whether it is the folder of this sweep.

sweeps/<name>/
  sweep.json  base.yaml  what all cells share: match and amount, and the base recipe
  sweep.yaml         the sweep, every default written out
  recipes/<cell>.yaml  what was launched
  runs/<cell>/       ordinary run directories
  logs/<cell>.log    what a run said
  compared/<cell>.json  the comparing evaluation of its finished model
  failed/<cell>.txt  what a cell that failed said last
  results.csv  results.json  report.html  *.png
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.recipe import Recipe, RecipeError, differing_keys, read_recipe
from pretrain.sweeps.cells import Cell
from pretrain.sweeps.settings import Sweep
from probes.results import write_text

_WRITTEN_FIRST = ("base.yaml", "sweep.yaml", "recipes")  # before sweep.json, so that a kill may leave them alone


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Paths of a sweep's files."""

    path: Path

    def recipe(self, cell: str) -> Path:
        return self.path / "recipes" / f"{cell}.yaml"

    def run(self, cell: str) -> Path:
        return self.path / "runs" / cell

    def log(self, cell: str) -> Path:
        return self.path / "logs" / f"{cell}.log"

    def compared(self, cell: str) -> Path:
        return self.path / "compared" / f"{cell}.json"

    def failed(self, cell: str) -> Path:
        return self.path / "failed" / f"{cell}.txt"

    @property
    def record(self) -> Path:
        return self.path / "sweep.json"

    def amount(self) -> float | None:
        """What each cell gets as an earlier start found it, None before the first."""
        return float(self._record()["amount"]) if self.record.exists() else None

    def check(self, sweep: Sweep, base: Recipe) -> None:
        """See to it that what stands here is of this sweep.

        Seeds and values of axes may be added and taken out: cells are compared with their own recipes by
        `check_runs`.

        Raises:
            RecipeError: it is of another sweep, or of none.
        """
        if not self.record.exists():
            found = [path.name for path in self.path.iterdir()] if self.path.is_dir() else []
            if known := [name for name in found if not name.startswith(".") and name not in _WRITTEN_FIRST]:
                raise RecipeError(
                    f"{self.path} holds {', '.join(sorted(known)[:4])} and no sweep.json, expected the folder of a "
                    "sweep or a new one. Give another with --out, or change the sweep's name."
                )
            return
        record = self._record()
        differences = differing_keys(read_recipe(self.path / "base.yaml"), base)
        differences += [
            f"{key}: {record[key]} -> {new}"
            for key, new in (("match", sweep.match), ("amount", sweep.amount))
            if new is not None and record[key] != new
        ]
        if differences:
            listed = "\n".join(f"  {difference}" for difference in differences)
            raise RecipeError(
                f"{self.path} is the folder of another sweep, expected the same base recipe, match and amount. It "
                f"differs in\n{listed}\nTake the changes back, give another folder with --out, or change the sweep's "
                "name."
            )

    def check_stores(self, stores: Mapping[str, str]) -> None:
        """See to it that the settings read the same texts as before.

        Args:
            stores: fingerprint of the token store of each setting.

        Raises:
            RecipeError: naming a setting that does not.
        """
        before = self._record()["stores"] if self.record.exists() else {}
        other = [label for label, fingerprint in stores.items() if before.get(label, fingerprint) != fingerprint]
        if not other and before and not before.keys() & stores.keys() and set(before.values()) != set(stores.values()):
            other = list(stores)
        if other:
            raise RecipeError(
                f"{self.path} is the folder of a sweep on other texts, expected the same corpus and tokenizer; what "
                f"{other[0]} reads has changed. Give another folder with --out, or change the sweep's name."
            )

    def check_runs(self, cells: list[Cell]) -> None:
        """See to it that the runs which are there already are the cells' own.

        Raises:
            RecipeError: naming all that are not.
        """
        wrong = []
        for cell in cells:
            recipe = self.run(cell.name) / "recipe.yaml"
            if recipe.exists() and (differences := differing_keys(read_recipe(recipe), cell.recipe)):
                wrong.append(f"  {cell.name}: {'; '.join(differences)}")
        if wrong:
            listed = "\n".join(wrong)
            raise RecipeError(
                f"{self.path} holds runs of other recipes, expected those of this sweep. They differ in\n{listed}\n"
                "Give another folder with --out, change the sweep's name, or delete these runs."
            )

    def write(
        self, sweep: Sweep, base: Recipe, amount: float, cells: list[Cell], stores: Mapping[str, str] = {}
    ) -> None:
        """Write down what is about to be run."""
        write_text(self.path / "base.yaml", base.to_yaml())
        write_text(self.path / "sweep.yaml", sweep.to_yaml())
        for cell in cells:
            write_text(self.recipe(cell.name), cell.recipe.to_yaml())
        known = self._record()["stores"] if self.record.exists() else {}
        record = {"name": sweep.name, "match": sweep.match, "amount": amount, "stores": known | dict(stores)}
        write_text(self.record, json.dumps(record, indent=1) + "\n")  # last: with it the folder is this sweep's

    def _record(self) -> dict[str, Any]:
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            stores = {str(label): str(store) for label, store in record.get("stores", {}).items()}
            return {"match": str(record["match"]), "amount": float(record["amount"]), "stores": stores}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RecipeError(
                f"{self.record} cannot be read ({error}), expected what a sweep wrote there. Give another folder with "
                "--out, or delete this one."
            ) from None
