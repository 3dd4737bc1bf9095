"""Applies a table in a program's process.

1. ``begin_apply.py`` reads the table that the environment names, as the process starts.
2. ``apply_hooks.py`` patches Triton's points of launch.
3. ``applied_table.py`` finds the rows of a function, by name, hash and environment.
4. ``served_launches.py`` finds the row of a launch, by key, and launches as it decides. ``launch_matcher.py``
   remembers the answers, ``between_rows.py`` knows what serves between two rows. ``served_variant.py`` launches edited
   code, ``compiled_apart.py`` compiles it.
5. ``compiled_programs.py`` puts rows into what ``torch.compile`` compiles.
6. ``apply_report.py`` renders what was used and what missed; ``rank_check.py`` compares ranks.
"""
