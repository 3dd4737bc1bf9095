"""The table of tuned launches (``tuned.json``), and how it is applied to a program that nobody changed.

    1. ``tuned_table.py`` is the table: rows of decisions, evidence apart from them, kernels that were not tuned.
    2. ``tuned_file.py`` reads and writes the file.
    3. ``key.py`` computes the key by which a launch finds its row, from a captured launch and from a running one.
    4. ``applying/`` puts a table between a program and Triton.

These modules run inside a stranger's process. They import each other and ``kernels/capture`` by relative imports, and
nothing outside the standard library at module level.
"""
