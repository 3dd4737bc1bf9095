"""A program with and without a table of tuned launches, in turns: is the gain there, in the program?

1. ``program_runs.py`` runs the program, A B B A, and reads its metric, its wall time and its GPU time by kernel.
2. ``paired.py`` makes intervals from the pairs.
3. ``same_files.py`` compares what the program saves.
4. ``comparison.py`` puts these together and renders them.
"""
