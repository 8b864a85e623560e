"""How good answers are: `evaluate.py` runs systems on a challenge's cases, into a folder of `results.py`.

- `challenge/`: what a challenge is, its YAML and its cases.
- `scoring/`: what it scores; `definitions.py` has every number in words.
- `asking/`: systems prompted case by case; every answer becomes a row.
- `report/`: the page of one result. `compare/`: several results ranked.
- `routing/`: which experts of a mixture answer which structures.
- `grand_challenge/`: the files of grand-challenge.org's containers.
"""
