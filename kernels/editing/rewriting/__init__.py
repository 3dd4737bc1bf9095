"""The rewrites of :mod:`kernels.editing.rewrites`, each a change of a kernel's syntax tree, by what they change."""
