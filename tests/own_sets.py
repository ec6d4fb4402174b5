"""Small data sets of different fields whose truth is known: from how they are made, or from their people.

Each gives texts to learn from, labels, and texts to measure on with the numbers of their right labels.
"""

import random
from collections.abc import Callable

from test_config import ROOT
from tickets import concerns, tickets

from lmtx import datasets
from lmtx.config import load_config

Set = tuple[list[str], list[str], dict[str, list[int]]]


def help_desk() -> Set:
    """Tickets that hardly ever name one of their 12 concerns."""
    measured = {text: truth for text, truth in tickets(400, 8).items() if text not in tickets(240, 7)}
    return list(tickets(240, 7)), concerns(), measured


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


def links() -> Set:
    """A curator's links and 2,000 of his tags (see `lmtx.datasets.semanlink`)."""
    reading = _read("semanlink")
    test, labels = reading.corpus.test, reading.corpus.labels["text"].to_pylist()[:2000]
    found = {
        f"{title}. {text}"[:600]: row.indices[row.indices < 2000].tolist()
        for title, text, row in zip(
            test["title"].to_pylist(),
            test["text"].to_pylist(),
            (reading.truth["test"][[i]] for i in range(test.num_rows)),
            strict=True,
        )
    }
    measured = {text: truth for text, truth in found.items() if truth}
    train = reading.corpus.train
    titles, texts = (train[column].to_pylist()[:400] for column in ("title", "text"))
    return [f"{a}. {b}"[:600] for a, b in zip(titles, texts, strict=True)], labels, measured


def _halved(truth: dict[str, list[int]], labels: list[str]) -> Set:
    texts = list(truth)
    half = len(texts) // 2
    return texts[:half], labels, {text: truth[text] for text in texts[half:]}


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

SETS: dict[str, Callable[[], Set]] = {
    "help desk": help_desk,
    "sightings": sightings,
    "kitchen": kitchen,
    "links": links,
}
