"""A goal's text, from which rules take what they understand. What no rule takes is not understood."""

from __future__ import annotations

import re

from agent.errors import UsageError
from agent.goal.words.chinese import WIDE, in_english
from agent.goal.words.translations import TRANSLATIONS
from agent.goal.words.vocabulary import FILLER

TAKEN = "|"
"""Stands where a rule took something, so that the words on its two sides do not become neighbours."""
NUMBER = r"\d{1,12}(?:\.\d{1,6})?"
START, END = r"(?<![\w.,-])", r"(?!\w)(?!\.\d)"
"""Around a number or a word that is taken as a whole: ``4096.`` may end a sentence, ``4096.5`` is another number."""
SIGNS = {
    "×": "x",
    "²": "^2",
    "³": "^3",
    "≥": ">=",
    "≤": "<=",
    "’": "'",
    "µ": "u",
    "μ": "u",
    "–": "-",
    "—": " , ",
    "|": " , ",
}
NEGATIVE = re.compile(r"(?:(?<=[\s(=:*])|(?<=\dx)|(?<=^))-\d[\d.]*")
DECIMAL_COMMA = re.compile(r"(?<![\w.,])\d+,\d{1,2}(?=\s*(?:ms|us|x|%|tflops?|tb/s|gb/s|hours?|minutes?|h)\b(?!\s*\d))")
JOINED = re.compile(r"(?<![\w.,])\d[\d,]*(?:\s*(?:x|by)\s*\d[\d,]*)+")
"""Numbers joined to a shape, with or without commas."""
THOUSANDS = re.compile(r"(?<!\d)\d{1,3}(?:,\d{3})+(?!\d)")
ALONE = re.compile(r"(?<![\w.,])\d{1,3},\d{3}(?!\s*[,x*\d])")
"""``4,096`` alone is one number; ``64,128,256`` is three."""


class Text:
    """The words of a goal that are left."""

    def __init__(self, goal: str) -> None:
        """Raises UsageError for a number that cannot be meant."""
        text = goal.translate(WIDE).lower()
        for sign, plain in SIGNS.items():
            text = text.replace(sign, plain)
        text = in_english(text)
        if found := NEGATIVE.search(text):
            raise UsageError(f"The goal holds the negative number {found.group()}: dimensions and limits are positive.")
        text = re.sub(r"(?<=[^\W\d])(?<!\de)[_-](?=\w)|(?<=\d)[_-](?=[^\W\d_])", " ", text)
        text = " ".join(re.sub(r"(?<=\s)-(?=\s)|_", " , ", text).split())
        if found := DECIMAL_COMMA.search(text):
            point = found.group().replace(",", ".")
            raise UsageError(f"The goal holds {found.group()}: write a fraction with a point, {point}.")
        text = JOINED.sub(lambda shape: THOUSANDS.sub(without_commas, shape.group()), text)
        text = ALONE.sub(without_commas, text)
        for words, english in TRANSLATIONS:
            if words in text:
                text = re.sub(rf"(?<![\w.]){re.escape(words)}(?!\w)", english, text)
        self.left = f" {text} "

    def take(self, pattern: str | re.Pattern[str]) -> list[re.Match[str]]:
        """Every match in what is left, which loses them."""
        found = list(re.finditer(pattern, self.left))
        if found:
            self.left = re.sub(pattern, f" {TAKEN} ", self.left)
        return found

    def says(self, phrase: str) -> bool:
        """Whether `phrase` stands in what is left as whole words; takes it."""
        # There are more phrases than re's cache holds: to compile each for each goal took nine tenths of the reading.
        return phrase in self.left and bool(self.take(rf"(?<![\w.]){re.escape(phrase)}(?!\w)"))

    def rest(self, also: frozenset[str] = frozenset()) -> list[str]:
        """The words that no rule took and that are not known to carry no choice; `also` carry none either here."""
        words = re.findall(rf"{NUMBER}(?=[\s.,;:!?()\"'+&|])|[^\s.,;:!?()\"+&|]+", self.left)
        words = [word.strip("'") for word in words]
        return [word for word in words if word and word not in FILLER and word not in also]


def without_commas(match: re.Match[str]) -> str:
    return match.group().replace(",", "")
