"""The first proof of a variant (``variant_proof.py``), and what a run knows of it (``variant_verdicts.py``)."""
