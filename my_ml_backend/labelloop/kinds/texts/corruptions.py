"""Texts made worse on purpose, as people write them: typing errors, letter case, missing accents.

A worse text is as long as it was, character by character, so that spans stay where they are.
"""

import random
import unicodedata
from collections.abc import Callable, Mapping

SHARES = (0.01, 0.03, 0.1)
"""Of the letters, those that are mistyped, by severity."""

Change = Callable[[str, random.Random], str]


def typos(share: float) -> Change:
    """Mistype a share of the letters: swapped with the next one, or typed as another letter of the text."""

    def change(text: str, chance: random.Random) -> str:
        letters = list(text)
        at_hand = [letter for letter in text if letter.isalpha()]
        for at, letter in enumerate(text):
            if not letter.isalpha() or chance.random() >= share:
                continue
            if at + 1 < len(letters) and letters[at + 1].isalpha() and chance.random() < 0.5:
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
            else:
                letters[at] = chance.choice(at_hand)
        return "".join(letters)

    return change


def _each(change: Callable[[str], str]) -> Change:
    """Change character by character, but where that would make more or fewer of them."""
    return lambda text, _: "".join(changed if len(changed := change(letter)) == 1 else letter for letter in text)


def _bare(letter: str) -> str:
    """Take the accents off a letter; a mark that stands alone stays."""
    return unicodedata.normalize("NFD", letter)[0]


CORRUPTIONS: Mapping[str, tuple[Change, ...]] = {
    "typing errors": tuple(map(typos, SHARES)),
    "lower case": (_each(str.lower),),
    "upper case": (_each(str.upper),),
    "missing accents": (_each(_bare),),
}
"""Each corruption at its severities, from mild to heavy."""
