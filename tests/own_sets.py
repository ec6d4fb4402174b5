"""Small data sets of different fields whose truth is known: from how they are made, or from their people.

Each gives texts to learn from, labels, and texts to measure on; texts come with the numbers of their right
labels. Below them is how a tagger is measured on them, and a judge that answers from the truth.
"""

import importlib
import inspect
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tzdata
from servers import Request, Server, completion, prompt
from test_config import ROOT
from tickets import concerns, tickets

from lmtx import Tagger, datasets
from lmtx.config import load_config
from lmtx.encoder import Encoder
from lmtx.teachers.prompts import harmless, one_line

Truth = dict[str, list[int]]
Set = tuple[Truth, list[str], Truth]


def help_desk() -> Set:
    """Tickets that hardly ever name one of their 12 concerns."""
    measured = {text: truth for text, truth in tickets(400, 8).items() if text not in tickets(240, 7)}
    return tickets(240, 7), concerns(), measured


def sightings() -> Set:
    """Reports that spell one of 30 animals, and another one backwards."""
    labels = [f"{first} {second}" for first in ("red", "grey", "old", "big", "wild") for second in _ANIMALS]
    rng, truth = random.Random(1), {}
    for number in range(500):
        place = rng.choice(["meadow", "forest", "harbour", "valley", "old mill"])
        label, other = rng.randrange(len(labels)), rng.choice(labels)
        truth[f"Report {number}, {place}: {labels[label]} at dawn, no {other[::-1]}."] = [label]
    return _halved(truth, labels)


def kitchen() -> Set:
    """Recipes of 12 kinds of dish, told by what goes in and what is done."""
    rng, truth, labels = random.Random(2), {}, list(_DISHES)
    for _ in range(600):
        label = rng.randrange(len(labels))
        words = rng.sample(_DISHES[labels[label]].split(", "), 4)
        preface = rng.choice(["My aunt's.", "For six.", "Takes an hour.", "Best made the day before."])
        truth[f"{preface} You need {words[0]}, {words[1]} and {words[2]}; {words[3]}."] = [label]
    return _halved(truth, labels)


def menus() -> Set:
    """The same recipes, of which most also name a dish that they are not: letters mislead here."""
    rng, labels = random.Random(3), list(_DISHES)
    sides = ["Leftovers go into a {}.", "Serve with {}.", "No {}, for once.", "My sister prefers {}.", ""]

    def named(recipes: Truth) -> Truth:
        return {
            f"{text} {rng.choice(sides).format(rng.choice(labels))}": dish for text, dish in recipes.items()
        }

    learning, _, measured = kitchen()
    return named(learning), labels, named(measured)


def places() -> Set:
    """Messages from 400 cities, of which few name one of 249 countries: facts that an encoder has read."""
    folder = Path(tzdata.__file__).parent / "zoneinfo"
    countries, zones = (
        [line.split("\t") for line in (folder / file).read_text("utf-8").splitlines() if line[0] != "#"]
        for file in ("iso3166.tab", "zone.tab")
    )
    numbers = {code: number for number, (code, _) in enumerate(countries)}
    rng, truth = random.Random(4), {}
    for code, _, zone, *_ in zones * 3:
        city, country = zone.rpartition("/")[2].replace("_", " "), countries[numbers[code]][1]
        news = rng.choice(
            ["Our ship is late in", "We opened an office in", "I lost a bag in", "Heavy rain in"]
        )
        where = f"{city}, {country}" if rng.random() < 0.25 else city
        end = rng.choice(["call us", "more tomorrow", "no answer yet", "all are well"])
        truth[f"{news} {where}; {end}."] = [numbers[code]]
    shuffled = {text: truth[text] for text in rng.sample(list(truth), len(truth))}
    return _halved(shuffled, [name for _, name in countries])


def library() -> Set:
    """Docstrings of Python's standard library; a label is the first line of a module's docstring."""
    truth, labels = {}, []
    for name in _MODULES.split():
        module = importlib.import_module(name)
        labels.append(f"{name}: {inspect.getdoc(module).strip().splitlines()[0]}")
        for owner in [module, *(v for v in vars(module).values() if inspect.isclass(v))]:
            for member in [owner, *(v for k, v in vars(owner).items() if k[0] != "_" and callable(v))]:
                text = inspect.getdoc(member) or ""
                if getattr(member, "__module__", name) == name and member is not module and len(text) > 60:
                    truth.setdefault(text[:500], [len(labels) - 1])
    chosen = random.Random(5).sample(list(truth), 700)
    return _halved({text: truth[text] for text in chosen}, labels)


def links() -> Set:
    """A curator's links and 2,000 of his tags (see `lmtx.datasets.semanlink`)."""
    reading = _read("semanlink")

    def some(split: str, n: int) -> Truth:
        table, truth = reading.corpus.documents(split), reading.truth[split]
        texts = (f"{row['title']}. {row['text']}"[:600] for row in table.slice(0, n).to_pylist())
        names = (truth[[i]].indices.tolist() for i in range(n))
        return {
            text: [name for name in all_ if name < 2000] for text, all_ in zip(texts, names, strict=False)
        }

    measured = {text: names for text, names in some("test", 250).items() if names}
    return some("train", 300), reading.corpus.labels["text"].to_pylist()[:2000], measured


def _halved(truth: Truth, labels: list[str]) -> Set:
    pairs = list(truth.items())
    half = len(pairs) // 2
    return dict(pairs[:half]), labels, dict(pairs[half:])


def _read(dataset: str) -> datasets.Reading:
    return datasets.read(load_config(ROOT / "params.yaml", [f"dataset={dataset}"]).dataset)


_ANIMALS = ("fox", "owl", "elk", "cod", "hare", "crane")
_DISHES = {
    "soup": "stock, leeks, a ladle of cream, barley, simmer it gently, purée it, serve in deep bowls",
    "salad": "lettuce, radishes, vinaigrette, cucumber, toss it at the table, do not heat anything, rocket",
    "bread": "flour, yeast, a warm place, sourdough, knead for ten minutes, let it rise twice, a crisp crust",
    "cake": "sugar, eggs, butter, a springform, beat until fluffy, icing on top, baking powder",
    "stew": "shoulder of beef, red wine, carrots, a heavy pot, brown the meat, three hours on low, bay leaf",
    "sushi": "vinegared rice, nori, raw tuna, wasabi, roll it tightly, slice with a wet knife, ginger",
    "curry": "turmeric, coconut milk, cumin, chilli, fry the spices first, basmati with it, garam masala",
    "pizza": "mozzarella, tomato sauce, basil, a very hot stone, stretch it thin, dough balls, oregano",
    "ice cream": "cream, vanilla, egg yolks, a freezer, churn for half an hour, scoops, frozen berries",
    "omelette": "eggs, chives, a non-stick pan, gruyère, fold it in half, shake while it sets, butter",
    "jam": "plums, gelling sugar, sterile jars, lemon juice, boil until it sets, seal while hot, apricots",
    "cocktail": "gin, lime, crushed ice, tonic, shake hard and strain, a chilled glass, bitters",
}
_MODULES = """
argparse ast base64 bisect calendar cmd codeop configparser contextlib csv datetime decimal difflib dis
doctest email.message fractions ftplib functools getpass gettext glob gzip heapq html.parser http.client
http.cookiejar imaplib inspect ipaddress json.encoder locale logging mailbox math mimetypes optparse pdb
pickletools plistlib poplib pprint random sched selectors shelve shlex shutil smtplib socket socketserver
sqlite3 ssl statistics string subprocess tarfile tempfile textwrap threading timeit tokenize traceback
unicodedata urllib.parse urllib.request uuid wave webbrowser xml.dom.minidom xmlrpc.client zipfile
"""

SETS: dict[str, Callable[[], Set]] = {
    "help desk": help_desk,
    "sightings": sightings,
    "kitchen": kitchen,
    "menus": menus,
    "places": places,
    "library": library,
    "links": links,
}


def right(tagger: Tagger, truth: Truth) -> np.ndarray:
    """Whether the first label of each document is right: bool (n,)."""
    numbers = {text: number for number, text in enumerate(tagger.labels.table["text"].to_pylist())}
    tagged = tagger.tag(list(truth), k=1)
    firsts = [numbers[labels[0]["text"]] for labels in tagged]
    return np.array([first in names for first, names in zip(firsts, truth.values(), strict=True)])


def untrained(tagger: Tagger) -> Tagger:
    """E0 with the same labels."""
    return Tagger.build(Encoder.load(tagger.encoder.config), tagger.labels.table)


@contextmanager
def truthful(
    truth: Truth, labels: list[str], patch: pytest.MonkeyPatch, errs: float = 0.0
) -> Iterator[Server]:
    """A server at OPENAI_BASE_URL that answers from the truth, but for this share of the pairs."""
    texts = {harmless(text): names for text, names in truth.items()}
    longest_first = sorted(range(len(labels)), key=lambda number: -len(labels[number]))

    def answer(request: Request) -> dict:
        text, question = re.search(r"<document>\n(.*)\n</document>(.*)", prompt(request), re.DOTALL).groups()
        label = next(number for number in longest_first if one_line(labels[number]) in question)
        wrong = random.Random(prompt(request)).random() < errs
        return completion("yes" if (label in texts[text]) != wrong else "no")

    with Server(answer) as server:
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("OPENAI_API_KEY", "none")
        yield server
