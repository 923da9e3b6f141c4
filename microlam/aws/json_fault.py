"""What is wrong with a payload that is not JSON, in the words of Jackson, the parser that AWS quotes.

Where a fault stands, Python's own parser says; how Jackson counts columns was read off recorded answers: bytes, from 1; for a character that
may not stand there its own column, else the column after what was read.
"""
from __future__ import annotations

import json
import re

_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
_TOKENS = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_TOO_DEEP = "Document nesting depth (1001) exceeds the maximum allowed (1000, from `StreamReadConstraints.getMaxNestingDepth()`)"
_UNDECODED = re.compile("[\udc80-\udcff]")
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def fault(body: bytes) -> str | None:
    """What is wrong, and where; None where it is JSON after all (also with NaN, which Python writes)."""
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    undecoded = _UNDECODED.search(text)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if undecoded is None or error.pos <= undecoded.start():
            return _Text(text).fault(error)
    except RecursionError:
        return _Text(text).at(_TOO_DEEP, len(text))
    except ValueError:      # a number of more digits than Python reads
        pass
    return _Text(text).bad_byte(undecoded.start()) if undecoded else None


class _Text:
    """A payload as text, with bytes that are no UTF-8 as lone surrogates."""

    def __init__(self, text: str) -> None:
        self.text = text

    def fault(self, error: json.JSONDecodeError) -> str:
        """What Jackson would say of the fault that Python's parser found."""
        position, message = error.pos, error.msg
        if message.startswith("Unterminated string"):
            # Python names the string's begin, Jackson notices at the end.
            return self.at("Unexpected end-of-input: was expecting closing quote for a string value", len(self.text))
        if message.startswith("Illegal trailing comma"):
            position = self._after_blanks(position + 1)
        if position >= len(self.text) or not self.text[position:].strip(" \t\r\n"):
            return self._cut_short()
        if message.startswith("Invalid control character"):
            described = f"Illegal unquoted character ({_described(self._byte(position))}): has to be escaped using backslash to be included in string value"
            return self.at(described, position + 1)
        if message.startswith("Invalid \\"):
            return self._bad_escape(position)
        return self._unexpected(self._after_blanks(position), message)

    def _unexpected(self, position: int, message: str) -> str:
        closing = self.text[position]
        opened = self._open(position)
        if closing in "]}" and opened and message.startswith("Expecting ',' delimiter"):
            kind, start = opened[-1]
            want = "]" if kind == "Array" else "}"
            marker = self._source(start)
            return self.at(f"Unexpected close marker '{closing}': expected '{want}' (for {kind} starting at {marker})", position + 1)
        if message.startswith("Expecting ',' delimiter"):
            return self._character(position, f"was expecting comma to separate {opened[-1][0] if opened else 'root'} entries")
        if message.startswith("Expecting ':' delimiter"):
            return self._character(position, "was expecting a colon to separate field name and value")
        if message.startswith("Expecting property name") or (message.startswith("Illegal trailing comma") and opened and opened[-1][0] == "Object"):
            return self._character(position, "was expecting double-quote to start field name")
        return self._no_value(position)

    def _no_value(self, position: int) -> str:
        """Neither a string, a number, an array, an object, nor a known word begins here."""
        first = chr(self._byte(position))
        if not (first.isalpha() or first in "_$"):
            return self._character(position, f"expected a valid value {_TOKENS}")
        end = position + 1
        while end < len(self.text) and (self.text[end].isalnum() or self.text[end] in "_$"):
            end += 1
        if end < len(self.text) and _UNDECODED.match(self.text[end]):
            return self.bad_byte(end)
        # Jackson has read one character more, to see that the word ended.
        return self.at(f"Unrecognized token '{self.text[position:end]}': was expecting {_TOKENS}", min(end + 1, len(self.text)))

    def bad_byte(self, position: int) -> str:
        return self.at(f"Invalid UTF-8 start byte 0x{self._byte(position):02x}", position + 1)

    def _bad_escape(self, position: int) -> str:
        escape = self.text[position + 1:position + 2]
        if escape == "u":
            return self.at("Unexpected character in \\u escape: expected a hex-digit for character escape sequence", position + 3)
        return self.at(f"Unrecognized character escape {_described(ord(escape or ' '))}", position + 2)

    def _cut_short(self) -> str:
        opened = self._open(len(self.text))
        if not opened:
            return self.at("No content to map due to end-of-input", len(self.text))
        kind, start = opened[-1]
        if self.text.rstrip(" \t\r\n")[-1:] in (",", ":"):
            return self.at(f"Unexpected end-of-input within/between {kind} entries", len(self.text))
        return self.at(f"Unexpected end-of-input: expected close marker for {kind} (start marker at {self._source(start)})", len(self.text))

    def _character(self, position: int, wish: str) -> str:
        return f"Unexpected character ({_described(self._byte(position))}): {wish}\n at {self._source(position)}"

    # ---- places -------------------------------------------------------------------------------------------------

    def at(self, message: str, end: int) -> str:
        """A message with the place up to which Jackson has read."""
        return f"{message}\n at {self._source(end)}"

    def _source(self, position: int) -> str:
        before = self.text[:position].encode("utf-8", "surrogateescape")
        lines = re.split(rb"\r\n|\r|\n", before)
        return _SOURCE.format(line=len(lines), column=len(lines[-1]) + 1)

    def _byte(self, position: int) -> int:
        return self.text[position].encode("utf-8", "surrogateescape")[0]

    def _after_blanks(self, position: int) -> int:
        while position < len(self.text) and self.text[position] in " \t\r\n":
            position += 1
        return position

    def _open(self, position: int) -> list[tuple[str, int]]:
        """The arrays and objects that are open before a position, and where each began."""
        blanked = _STRINGS.sub(lambda found: "." * len(found[0]), self.text[:position])
        opened: list[tuple[str, int]] = []
        for found in re.finditer(r"[][{}]", blanked):
            if found[0] in "[{":
                opened.append(("Array" if found[0] == "[" else "Object", found.start()))
            elif opened:
                opened.pop()
        return opened


def _described(code: int) -> str:
    if code < 32 or 127 <= code < 160:
        return f"(CTRL-CHAR, code {code})"
    return f"'{chr(code)}' (code {code})"
