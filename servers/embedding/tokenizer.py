"""Texts to token ids with a fast tokenizer, exactly as the model's own library does it, only sooner.

It decides how a text is cut to the model's length without tokenising all of a long page first. It does not
pad: the true length is what batching needs. Safe to call from several threads at once.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from tokenizers import Encoding, Tokenizer

from servers.embedding.engine import Tokens

CHARS_PER_TOKEN: Final = 8
"""A prefix of this many characters per token nearly always holds as many tokens as the model can take."""

_GROWTH: Final = 4


class TextTokenizer:
    """A private copy of a model's tokenizer: no padding, cut at the model's length."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, prompt: str = "") -> None:
        """Copy `tokenizer`; texts get `prompt` in front and at most `max_tokens` tokens, all counted.

        The copy matters: a tokenizer file may carry truncation and padding settings of its own, which differ
        from the model's (all-MiniLM-L6-v2's says 128 padded to 128, its model takes 256).
        """
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        self._prefix_chars = max_tokens * CHARS_PER_TOKEN
        self._prompt = prompt

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text, in order."""
        prompted = [self._prompt + text for text in texts]
        prefixes = [text[: self._prefix_chars] for text in prompted]
        encodings = self._tokenizer.encode_batch(prefixes)
        return [
            self._finish(text, encoding, len(prefix))
            for text, encoding, prefix in zip(prompted, encodings, prefixes, strict=True)
        ]

    def _finish(self, text: str, encoding: Encoding, prefix_chars: int) -> Tokens:
        """Return the tokens of `text` from those of a prefix, longer ones while that is not sure."""
        while prefix_chars < len(text) and not _is_unaffected_by_cut(encoding):
            prefix_chars *= _GROWTH
            encoding = self._tokenizer.encode(text[:prefix_chars])
        cut = bool(encoding.overflowing) or prefix_chars < len(text)
        return Tokens(np.array(encoding.ids, dtype=np.int64), truncated=cut)


def _is_unaffected_by_cut(encoding: Encoding) -> bool:
    """Tell whether the kept tokens end before the prefix's last word, the only one that was cut."""
    if not encoding.overflowing:
        return False
    kept = _last_word(encoding)
    last = max((_last_word(rest) for rest in encoding.overflowing), default=-1)
    return kept < last


def _last_word(encoding: Encoding) -> int:
    return max((word for word in encoding.word_ids if word is not None), default=-1)
