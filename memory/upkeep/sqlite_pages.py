"""Reads rows out of the pages of a SQLite file without SQLite, for a file that SQLite refuses.

Every page that looks like a leaf of a table, or like a page of a table without row numbers, is read for itself: a lost
header, a torn tree or a bad page costs the rows on that page alone. Source: "Database File Format",
https://www.sqlite.org/fileformat2.html, sections 1.3, 1.5, 1.6, 2.1 and 4.1. Rows that were deleted are read too if
their page was not written again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

Value = int | float | str | bytes | None
MAGIC = b"SQLite format 3\x00"
FIRST_HEADER = 100
"""Bytes of the file's header, before the first page's own."""
TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR = 13, 10, 2
FRAME_HEADER, LOG_HEADER = 24, 32
SIZES = (4096, 1024, 8192, 16384, 32768, 65536, 2048, 512)
"""Page sizes, the usual ones first."""
MOST_COLUMNS = 200
MOST_BYTES = 1 << 26
"""Of one row: more is a garbled length."""


def rows(path: Path) -> Iterator[tuple[int | None, list[Value]]]:
    """Row number and stored columns of every row that can be read; the number is ``None`` for an entry of an index or
    of a table without row numbers. Raises OSError."""
    pages, size = pages_of(path)
    for number, page in sorted(pages.items()):
        for key, payload in cells(page, FIRST_HEADER if number == 1 else 0, size, pages):
            record = record_of(payload)
            if record is not None:
                yield key, record


def pages_of(path: Path) -> tuple[dict[int, bytes], int]:
    """Pages by number from 1, those of the write-ahead log in the place of older ones, and their size."""
    data = path.read_bytes()
    size = page_size(data)
    pages = {i // size + 1: data[i : i + size] for i in range(0, len(data) - size + 1, size)}
    log = path.with_name(path.name + "-wal")
    if log.is_file():
        pages |= pages_of_log(log.read_bytes(), size)
    return pages, size


def page_size(data: bytes) -> int:
    """As the header has it; without a header, the size by which most pages begin as pages do."""
    if data.startswith(MAGIC):
        written = int.from_bytes(data[16:18], "big")
        size = 65536 if written == 1 else written
        if size in SIZES:
            return size
    return max(SIZES, key=lambda size: sum(size for i in range(size, len(data), size) if _looks_right(data, i, size)))


def _looks_right(data: bytes, at: int, size: int) -> bool:
    """Whether a page with cells may begin at `at`."""
    if data[at] not in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR, 5) or at + size > len(data):
        return False
    count, content = struct.unpack(">HH", data[at + 3 : at + 7])
    return bool(0 < count <= size // 4 and 8 + 2 * count <= content <= size)


def pages_of_log(data: bytes, size: int) -> dict[int, bytes]:
    """The pages of a write-ahead log's frames since its last checkpoint, the latest of each."""
    found: dict[int, bytes] = {}
    salt = data[16:24]
    for at in range(LOG_HEADER, len(data) - FRAME_HEADER - size + 1, FRAME_HEADER + size):
        if data[at + 8 : at + 16] != salt:
            break
        number = int.from_bytes(data[at : at + 4], "big")
        found[number] = data[at + FRAME_HEADER : at + FRAME_HEADER + size]
    return found


def cells(page: bytes, start: int, size: int, pages: dict[int, bytes]) -> Iterator[tuple[int | None, bytes]]:
    """Row number and payload of each cell of a page; nothing if the page holds no rows."""
    kind = page[start]
    if kind not in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR):
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    pointers = start + (12 if kind == INDEX_INTERIOR else 8)
    for i in range(min(count, (size - pointers) // 2)):
        at = int.from_bytes(page[pointers + 2 * i : pointers + 2 * i + 2], "big")
        if not pointers < at < size:
            continue
        at += 4 if kind == INDEX_INTERIOR else 0
        length, at = varint(page, at)
        key: int | None = None
        if kind == TABLE_LEAF:
            key, at = varint(page, at)
        payload = whole_payload(page, at, length, size, kind == TABLE_LEAF, pages)
        if payload is not None:
            yield key, payload


def whole_payload(page: bytes, at: int, length: int, size: int, table: bool, pages: dict[int, bytes]) -> bytes | None:
    """`length` bytes that begin at `at` and may go on in overflow pages; ``None`` if some of them are lost."""
    if not 0 < length <= MOST_BYTES:
        return None
    most = size - 35 if table else (size - 12) * 64 // 255 - 23
    local = length
    if length > most:
        least = (size - 12) * 32 // 255 - 23
        local = least + (length - least) % (size - 4)
        local = local if local <= most else least
    found = page[at : at + local]
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while len(found) < length:
        overflow = pages.get(following)
        if overflow is None:
            return None
        following = int.from_bytes(overflow[:4], "big")
        found += overflow[4 : 4 + length - len(found)]
    return found if len(found) == length else None


def record_of(payload: bytes) -> list[Value] | None:
    """The values of a record; ``None`` if the bytes are none."""
    head, at = varint(payload, 0)
    if not at <= head <= len(payload):
        return None
    kinds: list[int] = []
    while at < head and len(kinds) <= MOST_COLUMNS:
        kind, at = varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    at = head
    for kind in kinds:
        width = WIDTHS.get(kind, (kind - 12) // 2 if kind >= 12 else -1)
        if width < 0 or at + width > len(payload):
            return None
        raw = payload[at : at + width]
        at += width
        try:
            values.append(value_of(kind, raw))
        except (UnicodeDecodeError, struct.error):
            return None
    return values if at == len(payload) and values else None


WIDTHS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}
"""Bytes of a value by its serial type; those from 12 on are blobs and texts."""


def value_of(kind: int, raw: bytes) -> Value:
    if kind == 0:
        return None
    if kind == 7:
        number: float = struct.unpack(">d", raw)[0]
        return number
    if kind in (8, 9):
        return kind - 8
    if kind < 7:
        return int.from_bytes(raw, "big", signed=True)
    return raw.decode("utf-8") if kind % 2 else raw


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer and the place behind it; 0 at the end of the data."""
    value = 0
    for i in range(9):
        if at + i >= len(data):
            return 0, len(data)
        byte = data[at + i]
        if i == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    raise AssertionError("nine bytes are the most")
