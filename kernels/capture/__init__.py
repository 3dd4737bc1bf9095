"""Records the Triton launches of a program that nobody changed.

    1. ``start.py`` starts the program so that every Python process of its tree loads ``site/sitecustomize.py``.
    2. That file loads this room under the private name ``_autokernel``: the program may have its own ``kernels``.
    3. ``hooks.py`` patches Triton's run methods as soon as the program imports Triton.
    4. ``recorder.py`` counts each launch under a cheap key (``launch_key.py``) and describes the first launch of a key
       (``describing/``): function, decorators, arguments, grid, what it writes.
    5. ``capture_file.py`` appends each part to one file, so that a program that crashes keeps what was captured.

Steps 2 to 5 run inside a stranger's process. These modules import each other by relative imports and nothing outside
the standard library at module level. ``reading/`` is for our own processes.
"""
