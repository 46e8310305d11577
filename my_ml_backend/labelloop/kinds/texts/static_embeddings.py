"""Static embeddings: a vector for each sub-word, wherever it stands. Those that come with the package ``wordllama``.

Its two files are read; the package itself is never imported, for its own loader asks the network.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

Ids = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.float16]

_PACKAGE = "wordllama"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_VECTORS = "weights/l2_supercat_256.safetensors"


@dataclass(frozen=True, eq=False)
class StaticEmbeddings:
    """``vectors`` (sub-words, width) by the ids of a tokenizer, whose JSON file is ``spelled``."""

    spelled: bytes
    vectors: Vectors
    tokenizer: Tokenizer

    @classmethod
    def of(cls, spelled: bytes, vectors: Vectors) -> Self:
        """Make them of a tokenizer's JSON; raises ValueError where that is none, or has ids without a vector."""
        try:
            tokenizer = Tokenizer.from_str(spelled.decode())
        except Exception as error:  # tokenizers raises Exception itself
            raise ValueError(f"the tokenizer cannot be read: {error}") from error
        if tokenizer.get_vocab_size() > len(vectors):
            raise ValueError(f"{tokenizer.get_vocab_size()} sub-words have {len(vectors)} vectors")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(spelled, vectors, tokenizer)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.vectors.shape[1])

    @cached_property
    def hash(self) -> str:
        """The sha256 of both."""
        return hashlib.sha256(self.spelled + self.vectors.tobytes()).hexdigest()

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """Give the sub-words of each text, by their ids; of an empty text there are none."""
        # One by one: a batch would take threads of its own, on cores that other requests are on.
        cut = (self.tokenizer.encode(text, add_special_tokens=False) for text in texts)
        return [np.array(one.ids, dtype=np.int32) for one in cut]


@lru_cache(maxsize=1)
def packaged() -> StaticEmbeddings | None:
    """Give those of ``wordllama``, 16 MB; None where the package is not installed, or holds other files."""
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0])
    if not all((folder / name).is_file() for name in (_TOKENIZER, _VECTORS)):
        return None
    from safetensors.numpy import load_file

    (vectors,) = load_file(folder / _VECTORS).values()
    return StaticEmbeddings.of((folder / _TOKENIZER).read_bytes(), vectors.astype(np.float16))
