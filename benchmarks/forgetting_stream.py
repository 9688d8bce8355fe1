"""A stream of things said over a year, in which it is known what matters: planted facts, repeats, noise.

Deterministic for a seed. Facts are made from templates on many subjects, so that some are close to each other
as in life; a repeat says a fact again in other words; noise is what fills conversations: pleasantries, status
lines, and boilerplate that is long and always the same.
"""

import random
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["fact", "repeat", "noise"]

DAY_MS: Final = 86_400_000
YEAR_DAYS: Final = 365

# fmt: off
_PEOPLE: Final = (
    "Ana", "Mia", "Jonas", "Priya", "Tom", "Leila", "Oskar", "Wen", "Carla", "Idris", "Noor", "Hugo", "Freya",
    "Mateo", "Yuki", "Sanna", "Pavel", "Amara", "Theo", "Lucia",
)
_PLACES: Final = (
    "Lisbon", "Oslo", "Kyoto", "Quito", "Porto", "Graz", "Utrecht", "Tampere", "Cork", "Bilbao", "Leeds",
    "Malmö", "Ghent", "Turin", "Basel",
)
_THINGS: Final = (
    "a cello", "a rowing boat", "an espresso machine", "a telescope", "a greenhouse", "a motorbike", "a loom",
    "a 3D printer", "a beehive", "a sourdough starter", "a pottery wheel", "a drone",
)
# fmt: on

# (as first told, as told again): {p} a person, {q} another, {c} a place, {t} a thing, {n} a number.
_FACTS: Final = (
    ("{p} is allergic to peanuts and carries an epinephrine pen in the left jacket pocket",
     "Remember that {p} must not eat peanuts; the adrenaline pen is in the left jacket pocket"),
    ("The spare key of the house in {c} hangs behind the meter box, code {n}",
     "In {c} the second house key is behind the meter box and the code is {n}"),
    ("{p} starts the new job as a hydrologist in {c} on the {n}th of March",
     "From March {n}, {p} works in {c} as a hydrologist"),
    ("The production database migrates to version {n} only after the backup in {c} was verified",
     "Do not upgrade production to version {n} before someone verified the backup located in {c}"),
    ("{p} proposed to {q} on the ferry near {c} and they marry in September",
     "{p} and {q} got engaged on a ferry off {c}; the wedding is in September"),
    ("Invoices above {n} thousand euro need the signature of {p} and of {q}",
     "Both {p} and {q} have to sign any invoice beyond {n} thousand euro"),
    ("{p} repairs {t} in the workshop on Thursdays and lends it to {q}",
     "On Thursdays {p} fixes {t} in the workshop; {q} may borrow it"),
    ("The rash of {p} came from penicillin, so the doctor prescribed doxycycline for {n} days",
     "{p} cannot take penicillin; doxycycline was prescribed instead, {n} days long"),
    ("The train to {c} that {p} takes leaves platform {n} at dawn and has no dining car",
     "{p} travels to {c} by the early train from platform {n}, which has nothing to eat"),
    ("{p} wrote a thesis about the migration of eels between {c} and the Sargasso Sea",
     "Eel migration from {c} to the Sargasso Sea was the subject of {p}'s thesis"),
    ("The alarm of the archive in {c} is disarmed with {n} and the name of {p}'s first dog",
     "To switch off the archive's alarm in {c}: {n}, then the name of the first dog of {p}"),
    ("{p} inherited {t} from a grandmother who had smuggled it out of {c}",
     "{t}, smuggled out of {c} by the grandmother, now belongs to {p}"),
    ("The cooling of rack {n} in {c} fails above forty degrees and {p} has the only fan spare",
     "Only {p} owns a replacement fan for rack {n} in {c}, whose cooling gives up beyond forty degrees"),
    ("{p} will not fly since the emergency landing in {c} and takes night buses instead",
     "After an emergency landing in {c}, {p} refuses planes and goes by night bus"),
    ("The retirement plan of {p} is invested in timber near {c} until the year 20{n}",
     "{p}'s pension money sits in forests around {c} up to 20{n}"),
)  # fmt: skip

_CHATTER: Final = (
    "ok", "thanks a lot!", "sounds good", "see you tomorrow", "haha nice", "good morning",
    "one moment please",
    "let me check", "sure, no problem", "how are you today?", "I am fine, thank you", "great work everyone",
    "can you hear me?", "sorry, I was muted", "brb", "lunch?", "yes", "no", "maybe later",
    "I agree with that",
    "happy friday", "talk soon", "got it", "please continue", "what do you think?", "never mind",
)  # fmt: skip
_STATUS: Final = (
    "build {n} passed in {n} seconds", "reminder: stand-up meeting in {n} minutes",
    "weather: {n} degrees, cloudy",
    "uploaded file report_{n}.pdf", "you have {n} unread messages", "battery at {n} percent",
    "meeting moved by {n} minutes", "download finished, {n} MB",
)  # fmt: skip
_BOILERPLATE: Final = (
    "This message may contain confidential information intended only for the recipient named above; if you "
    "received it in error please notify the sender and delete it from every system",
    "You are receiving this newsletter because you subscribed on our website; to change your preferences or "
    "unsubscribe follow the link at the bottom of every issue",
    "All systems operational: no incidents reported, scheduled maintenance continues as announced, support "
    "is available on weekdays during office hours",
)


@dataclass(frozen=True)
class Said:
    """One thing said: when (days after the start, as ms), what, and which fact it carries (None: noise)."""

    at_ms: int
    text: str
    kind: Kind
    fact: int | None


def make_stream(facts: int, repeats: int, noise: int, seed: int) -> list[Said]:
    """Return the stream in order of time: each fact once, `repeats` of them again later, noise throughout."""
    rng = random.Random(seed)
    told = [_fill(rng, rng.choice(_FACTS)) for _ in range(facts)]
    said: list[Said] = []
    first_at: list[int] = []
    for number, (text, _) in enumerate(told):
        first_at.append(rng.randrange(YEAR_DAYS * DAY_MS))
        said.append(Said(first_at[-1], text, "fact", number))
    for _ in range(repeats):
        number = rng.randrange(facts)
        at_ms = rng.randrange(first_at[number], YEAR_DAYS * DAY_MS)
        said.append(Said(at_ms, told[number][rng.randrange(2)], "repeat", number))
    said += [Said(rng.randrange(YEAR_DAYS * DAY_MS), _noise(rng), "noise", None) for _ in range(noise)]
    return sorted(said, key=lambda one: one.at_ms)


def _fill(rng: random.Random, template: tuple[str, str]) -> tuple[str, str]:
    person, other = rng.sample(_PEOPLE, 2)
    parts = {
        "p": person,
        "q": other,
        "c": rng.choice(_PLACES),
        "t": rng.choice(_THINGS),
        "n": rng.randrange(2, 99),
    }
    return template[0].format(**parts), template[1].format(**parts)


def _noise(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(_CHATTER)
    if kind < 0.9:
        return rng.choice(_STATUS).format(n=rng.randrange(2, 99))
    return rng.choice(_BOILERPLATE)
