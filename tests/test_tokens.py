"""Token ids: the same texts back, from memory or from disk, whole or in parts."""

import numpy as np
import pytest

from lmtx.encoder.tokens import Tokens, blocks

TEXTS = [[5, 6, 7], [], [8], [9, 10]]


@pytest.fixture(params=["memory", "disk"])
def tokens(request, tmp_path):
    return Tokens.of(TEXTS) if request.param == "memory" else Tokens.write(tmp_path / "texts", iter(TEXTS))


def test_texts_come_back_as_they_were(tokens):
    assert len(tokens) == 4
    assert list(tokens) == TEXTS
    assert [tokens[row] for row in (0, -1, np.int64(1))] == [[5, 6, 7], [9, 10], []]
    assert tokens.lengths.tolist() == [3, 0, 1, 2]
    assert (tokens.ids.dtype, tokens.ends.dtype) == (np.int32, np.int64)

    for row in (4, -5):
        with pytest.raises(IndexError):
            tokens[row]


def test_a_slice_is_cut_as_a_list_s_and_copies_no_token(tokens):
    for rows in map(slice, (1, 2, None, 3, 4), (3, None, None, 1, 9)):
        part = tokens[rows]
        assert list(part) == TEXTS[rows]
        assert part.lengths.tolist() == [len(text) for text in TEXTS[rows]]
        assert list(part[1:]) == TEXTS[rows][1:]
    assert list(tokens[::-2]) == TEXTS[::-2]
    assert np.shares_memory(tokens[2:].ids, tokens.ids)


@pytest.mark.parametrize("texts", [[], [[]], [[1]], [[7] * 100_000, [8]]])
def test_numpy_alone_reads_the_files(tmp_path, texts):
    Tokens.write(tmp_path / "texts", iter(texts))
    ids, ends = (np.load(tmp_path / "texts" / f"{name}.npy") for name in ("ids", "ends"))
    assert [part.tolist() for part in np.split(ids, ends)[:-1]] == texts
    assert (ids.dtype, ends.dtype) == (np.int32, np.int64)
    loaded = Tokens.load(tmp_path / "texts")
    assert isinstance(loaded.ids, np.memmap)
    assert list(loaded) == texts


def test_texts_that_end_in_an_error_leave_the_files_that_were_there(tmp_path):
    Tokens.write(tmp_path / "texts", TEXTS)

    def broken():
        yield [1, 2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tokens.write(tmp_path / "texts", broken())
    assert [file.name for file in tmp_path.iterdir()] == ["texts"]
    assert list(Tokens.load(tmp_path / "texts")) == TEXTS


def test_files_of_two_runs_are_refused(tmp_path):
    Tokens.write(tmp_path / "texts", TEXTS)
    np.save(tmp_path / "texts" / "ends.npy", np.array([3, 7]))
    with pytest.raises(ValueError, match=r"texts: ids\.npy and ends\.npy are not of one run; remove"):
        Tokens.load(tmp_path / "texts")


@pytest.mark.parametrize(("n", "expected"), [(0, []), (2, [[0, 1]]), (3, [[0, 1, 2]]), (4, [[0, 1, 2], [3]])])
def test_blocks_hold_every_row_once(n, expected):
    assert [list(range(n))[rows] for rows in blocks(n, 3)] == expected
