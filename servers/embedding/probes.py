"""The texts that engines are held against each other with: built in, so that every machine uses the same.

It decides what is varied: languages and scripts, lengths from one sign to beyond any model's limit, numbers,
code, markup, near-duplicates that a coarse engine confuses. The short texts are what speed is measured on.
"""

from typing import Final

_SENTENCES: Final = (
    "The harbour was quiet before the storm came in.",
    "The harbour was calm before the storm arrived.",
    "The harbour was loud after the storm had gone.",
    "Please move the meeting to Thursday at noon.",
    "Please move the meeting to Tuesday at noon.",
    "The invoice of 3 March over 1,249.50 EUR has not been paid.",
    "The invoice of 8 March over 1,294.50 EUR has been paid.",
    "How do I reset the password of my account?",
    "I cannot log in any more, what can I do?",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "SELECT name, count(*) FROM visits WHERE day > '2024-01-01' GROUP BY name;",
    '{"type": "store", "data": {"text": "Ana prefers tea"}}',
    "<p>A paragraph with <b>markup</b> &amp; entities.</p>",
    "Traceback (most recent call last): ValueError: invalid literal for int()",
    "Der Hafen war still, bevor der Sturm kam.",
    "Le port était calme avant l'arrivée de la tempête.",
    "El puerto estaba tranquilo antes de la tormenta.",
    "Порт был тих перед бурей.",
    "港は嵐が来る前は静かだった。",
    "暴风雨来临之前，港口很安静。",
    "كان الميناء هادئا قبل العاصفة.",
    "तूफान आने से पहले बंदरगाह शांत था।",
    "a",
    "?",
    "2.718281828459045",
    "https://example.org/path/to/page?query=value&other=1#part",
    "😀 emoji 🚢 and e\u0301 combining marks \u200d",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "CamelCaseIdentifier snake_case_identifier kebab-case-identifier",
    "Ana prefers tea, Ben prefers coffee, and neither of them drinks milk.",
    "Ben prefers tea, Ana prefers coffee, and neither of them drinks milk.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "The mitochondrion is the powerhouse of the cell.",
    "Quarterly revenue exceeded the forecast by twelve per cent.",
    "Quarterly revenue missed the forecast by twelve per cent.",
    "Wash the rice until the water runs clear, then let it soak for half an hour.",
    "A train leaves at 07:45 from platform 9 and arrives at 11:20.",
    "To be, or not to be, that is the question.",
    "   leading blanks, tabs\tand\nnewlines   ",
    "NOT ALL OF THIS IS SHOUTING, but most of it IS.",
)

_PARAGRAPH: Final = (
    "A memory server stores what it is told, finds it again by meaning, and forgets nothing that it has "
    "acknowledged. An inference server turns texts into vectors. Both are supervised by one launcher, which "
    "holds their ports, watches their health by asking them, and restarts what crashes or hangs. "
)

PROBES: Final = (
    *_SENTENCES,
    _PARAGRAPH,
    _PARAGRAPH + "Nobody else can reach them, because they listen on the loopback address only.",
    " ".join(_SENTENCES[14:]),
    "word " * 700,
)
"""Texts for accuracy; the longest are over the limit of common models."""

SHORT_TEXTS: Final = tuple(
    f"{start} {end}"
    for start in ("The harbour was quiet", "Please call me back", "Ana prefers green tea", "The printer jams")
    for end in (
        "before the storm came in.",
        "when the meeting is over at noon.",
        "on the second floor, next to the lift.",
        "and nobody knows why.",
        "every single day since last summer.",
        "but only if it rains.",
        "as the manual says on page 12.",
        "again, as it did yesterday evening.",
    )
)
"""32 texts of some ten tokens each: one batch, the shape that speed is compared at."""
