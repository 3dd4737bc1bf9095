"""Honest slow kernels: each has one habit that a better form of its device code lacks. They are the tasks of
``python -m evals source``, and no kernels to use."""
