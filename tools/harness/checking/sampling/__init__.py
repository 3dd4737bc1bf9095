"""A check in the interpreter that runs a sample of the programs (``program_sample.py``) if not all fit in its time
(``sampled_check.py``)."""
