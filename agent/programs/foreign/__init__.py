"""Tables of tuned configs as other projects ship them: one file of this folder reads and writes one format.

``foreign_table.py`` is what all of them are read into; ``foreign_formats.py`` lists them and finds the one of a file;
``rows_from_table.py`` makes unproven rows of ``tuned.json`` for the launches of a capture.
"""
