"""Improves the launches of a capture.

1. ``improve_plan.py``: which launches, and in which order.
2. ``improve_work.py``: survey, search, proof of each. ``preparing`` prepares the next ones meanwhile,
   ``parallel_searches.py`` searches several at once.
3. ``tuned_rows.py``: what was found out as rows of the table.
4. ``improving.py`` puts them together, ``improve_table.py`` prints what came of it.
"""
