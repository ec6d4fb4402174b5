"""Near-duplicates by hand, and a split that keeps them on one side."""

import numpy as np
import pytest
from readings import BASE, documents

from lmtx.config import HeldOutConfig
from lmtx.datasets import spool as module
from lmtx.datasets.assemble import assemble_held_out, label_table
from lmtx.datasets.lines import Faults
from lmtx.datasets.spool import DEV, TEST, TRAIN, hashes, near_duplicates, split_by_group, spool


def partition(groups):
    """Which positions stand together, as a set of sets."""
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in set(groups.tolist())}


# --- near-duplicates ---------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 512])
def test_texts_that_share_four_of_five_words_are_near_duplicates(block, monkeypatch):
    """Jaccard by hand: 4 of 5 words in the union are 0.8, 4 of 6 are 0.67."""
    monkeypatch.setattr(module, "_COMPARED", block)
    texts = ["a b c d", "e a b c d", "b c d e f a", "a b c d x y", "q r s t"]
    assert partition(near_duplicates(texts)) == {frozenset([0, 1, 2]), frozenset([3]), frozenset([4])}
    assert partition(near_duplicates(texts, 0.9)) == {frozenset([i]) for i in range(5)}
    assert partition(near_duplicates(texts, 0.6)) == {frozenset([0, 1, 2, 3]), frozenset([4])}


def test_what_pairs_connect_is_one_group_though_its_ends_differ():
    """The first and the last share 4 of 6 words, and each 5 of 6 or 4 of 5 with the one between them."""
    texts = ["a b c d", "a b c d e", "a b c d e f"]
    assert partition(near_duplicates([texts[0], texts[2]])) == {frozenset([0]), frozenset([1])}
    assert partition(near_duplicates(texts)) == {frozenset([0, 1, 2])}


def test_case_order_punctuation_and_repetition_make_no_difference():
    texts = ["The Semantic Web!", "web, semantic (the) the", "the semantic-web", "Über uns", "über UNS"]
    assert partition(near_duplicates(texts)) == {frozenset([0, 1, 2]), frozenset([3, 4])}


def test_a_text_without_a_word_stands_alone():
    groups = near_duplicates(["", "…", "a", "", "a"])
    assert partition(groups) == {frozenset([0]), frozenset([1]), frozenset([2, 4]), frozenset([3])}
    assert sorted(set(groups.tolist())) == [0, 1, 2, 3]  # numbered without gaps


# --- the split ---------------------------------------------------------------------------------


@pytest.fixture
def spooled(tmp_path):
    """Makes a spool of documents named by `uids`, each with as many annotations as `labels` says."""

    def make(uids, labels):
        rows = enumerate(zip(uids, labels, strict=True))
        return spool(Faults(tmp_path), ((i, uid, "", uid, range(n)) for i, (uid, n) in rows), tmp_path)

    return make


def some(n=300, seed=0):
    """Uids, annotations of which a fifth are empty, and groups, most of one document."""
    rng = np.random.default_rng(seed)
    groups = np.unique(
        np.where(rng.random(n) < 0.3, rng.integers(0, 20, n), 100 + np.arange(n)), return_inverse=True
    )[1]
    return [f"u{i}" for i in range(n)], rng.integers(0, 5, n), groups


def by_hand(side, groups, test, dev, train):
    """Group after group in the order of their lowest hashes."""
    hashed = hashes(side.table()["uid"], "split").tolist()
    annotated = np.diff(side.ends) > 0
    members = {g: sorted(np.flatnonzero(groups == g), key=lambda i: hashed[i]) for g in set(groups.tolist())}
    assigned, counts, rest = np.full(len(side), -1), {"test": 0, "dev": 0}, []
    for group in sorted(members, key=lambda g: hashed[members[g][0]]):
        places = members[group]
        if counts["test"] < test:
            assigned[places] = TEST
            counts["test"] += int(annotated[places].sum())
        elif counts["dev"] < dev:
            assigned[places] = DEV
            counts["dev"] += len(places)
        else:
            rest += places
    assigned[rest[:train]] = TRAIN
    return assigned


@pytest.mark.parametrize(("test", "dev", "train"), [(40, 20, None), (40, 20, 50), (1, 1, 1), (10, 0, None)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_groups_are_dealt_out_in_the_order_of_their_lowest_hashes(spooled, test, dev, train, seed):
    uids, labels, groups = some(seed=seed)
    side = spooled(uids, labels)
    found = split_by_group(side, groups, test, dev, train)
    np.testing.assert_array_equal(found, by_hand(side, groups, test, dev, train))
    assert found.dtype == np.int8


def test_near_duplicates_are_never_on_both_sides(spooled):
    uids, labels, groups = some()
    found = split_by_group(spooled(uids, labels), groups, 60, 30)
    assert not (found == -1).any()
    for group in set(groups.tolist()):
        assert len(set(found[groups == group].tolist())) == 1
    # A split is larger than asked for by the rest of one group at most.
    largest = np.bincount(groups).max()
    assert 60 <= ((found == TEST) & (labels > 0)).sum() < 60 + largest
    assert 30 <= (found == DEV).sum() < 30 + largest
    assert ((found == TEST) & (labels == 0)).any()  # those without an annotation come along, and do not count


def test_without_near_duplicates_the_sizes_are_exact(spooled):
    uids, labels, _ = some()
    side = spooled(uids, labels)
    found = split_by_group(side, np.arange(300), 50, 25, 100)
    assert ((found == TEST) & (labels > 0)).sum() == 50
    assert [(found == split).sum() for split in (DEV, TRAIN)] == [25, 100]
    more = split_by_group(side, np.arange(300), 50, 25, 120)
    assert (more[found == TRAIN] == TRAIN).all()  # a larger training side holds the smaller one
    np.testing.assert_array_equal(more[found >= DEV], found[found >= DEV])


def test_a_document_without_a_text_leaves_the_others_their_groups(tmp_path):
    """A reader numbers the groups of all its documents; those without a text are left out afterwards."""
    texts = ["", *("a text" for _ in range(10))]
    found = ((f"u{i}", "", text, [0]) for i, text in enumerate(texts))
    groups, config = np.array([9, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2]), HeldOutConfig(**BASE)
    reading = assemble_held_out(config, label_table(["a"], ["a"]), "here", found, tmp_path, groups)
    sides = [{groups[int(uid[1:])] for uid in documents(reading, splits=[s])} for s in reading.truth]
    assert sorted(map(len, sides)) == [1, 1, 1] and set.union(*sides) == {0, 1, 2}


def test_the_split_hangs_on_uids_and_not_on_the_order_of_documents(spooled):
    uids, labels, groups = some()
    found = split_by_group(spooled(uids, labels), groups, 60, 30, 100)
    order = np.random.default_rng(5).permutation(300)
    again = split_by_group(spooled([uids[i] for i in order], labels[order]), groups[order], 60, 30, 100)
    np.testing.assert_array_equal(again, found[order])
    other = split_by_group(spooled([f"v{i}" for i in range(300)], labels), groups, 60, 30, 100)
    assert (other != found).any()
