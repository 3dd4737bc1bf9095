"""Edited code of captured launches: where variants lie (``edited_launches.py``), and whether one is right on launches
that it was not made on (``held_out_launches.py``)."""
