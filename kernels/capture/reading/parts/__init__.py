"""The shape of every part of a capture file: which fields it has, and what may stand in them.

``check_parts`` (:mod:`kernels.capture.reading.parts.checked_parts`) is called once, when a file is read. Whoever uses a
launch may rely on its fields."""
