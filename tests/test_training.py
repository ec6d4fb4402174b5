"""Training: the loss of the formula, batches that follow the teacher, and a loop that learns and repeats."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from safetensors.torch import load_file
from tiny_encoders import encoder_config

from lmtx.config import TrainingConfig
from lmtx.encoder import Encoder
from lmtx.training import PseudoLabels, alike, contrastive_loss, steps_for, train, triplet_loss

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def training_config(**changes):
    values = {"batch_size": 8, "learning_rate": 2e-3, "warmup_steps": 2, "e0_share": 0.0, "seed": 108}
    return TrainingConfig(**values | changes)


# --- the loss ----------------------------------------------------------------------------------


def slow_loss(s, positives, ignored, margin, temperature, hard_negatives, at=None):
    """The formula, pair by pair, in plain Python.

    `at` is the matrix of similarities that chooses the negatives and their weights; None: `s` itself.
    """
    total = 0.0
    for i, p in enumerate(positives):
        chosen = s[i] if at is None else at[i]
        negatives = [n for n in range(len(s[i])) if n != p and not ignored[i][n]]
        negatives = sorted(negatives, key=lambda n: -chosen[n])[:hard_negatives]
        exponents = [
            chosen[n] / temperature if chosen[n] - chosen[p] + margin > 0 else 0.0 for n in negatives
        ]
        partition = sum(math.exp(e) for e in exponents)
        for n, e in zip(negatives, exponents, strict=True):
            total += math.exp(e) / partition * max(0.0, s[i][n] - s[i][p] + margin)
    return total / (len(positives) * hard_negatives)


def random_batch(seed, documents=7, labels=12, ignored_share=0.2):
    rng = np.random.default_rng(seed)
    s = rng.uniform(-1, 1, (documents, labels))
    positives = rng.integers(0, labels, documents)
    ignored = rng.random((documents, labels)) < ignored_share
    ignored[np.arange(documents), positives] = rng.random(documents) < 0.5  # the positive may be flagged too
    return s, positives, ignored


def fast_loss(s, positives, ignored=None, dtype=torch.float64, **settings):
    ignored = None if ignored is None else torch.as_tensor(ignored)
    return triplet_loss(
        torch.as_tensor(s, dtype=dtype), torch.as_tensor(positives), ignored=ignored, **settings
    )


METHOD = {"margin": 0.3, "temperature": 0.1, "hard_negatives": 10}
SETTINGS = [
    {},  # those of the method
    {"margin": 0.3, "temperature": 0.1, "hard_negatives": 3},
    {"margin": 1.5, "temperature": 1.0, "hard_negatives": 1},
    {"margin": 0.05, "temperature": 0.02, "hard_negatives": 30},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("seed", range(2))
def test_the_loss_is_that_of_the_formula(seed, settings):
    s, positives, ignored = random_batch(seed, labels=20)
    for hidden, given in ((ignored, ignored), (np.zeros_like(ignored), None)):
        expected = slow_loss(s, positives, hidden, **METHOD | settings)
        assert expected > 0
        assert fast_loss(s, positives, given, **settings).item() == pytest.approx(expected, rel=1e-12)


def test_the_loss_of_one_document_by_hand():
    """s_p = 0.5, margin 0.3: violations 0.2 and 0.1; the third label keeps the margin, weight e^0."""
    s = [[0.5, 0.4, 0.3, -0.9]]
    a, b = math.exp(4), math.exp(3)
    expected = (a * 0.2 + b * 0.1) / (a + b + 1) / 3
    assert fast_loss(s, [0], hard_negatives=3).item() == pytest.approx(expected, rel=1e-12)
    # Missing negatives count as zeros.
    two = fast_loss([[0.5, 0.4]], [0], hard_negatives=2).item()
    assert fast_loss([[0.5, 0.4]], [0], hard_negatives=1).item() == pytest.approx(0.2)
    assert two == pytest.approx(0.1)
    masked = fast_loss([[0.5, 0.4, 0.99]], [0], [[False, False, True]], hard_negatives=2).item()
    assert masked == pytest.approx(two)


def test_a_document_without_negatives_adds_nothing_and_no_gradient():
    s = torch.tensor([[0.1, 0.9], [0.5, 0.4]], dtype=torch.float64, requires_grad=True)
    ignored = torch.tensor([[False, True], [False, False]])
    value = triplet_loss(s, torch.tensor([0, 0]), ignored=ignored, hard_negatives=1)
    value.backward()
    assert value.item() == pytest.approx(0.2 / 2)
    np.testing.assert_allclose(s.grad, [[0, 0], [-0.5, 0.5]], atol=1e-15)
    # Nor does one whose margin is met.
    s = torch.tensor([[0.9, 0.6, -0.5], [0.2, 0.9, 0.1]], requires_grad=True)
    value = triplet_loss(s, torch.tensor([0, 1]), margin=0.3 - 1e-6)
    value.backward()
    assert value.item() == 0
    assert not s.grad.any()


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_gradient_is_that_of_the_formula_with_fixed_weights(settings):
    s, positives, ignored = random_batch(11)
    tensor = torch.tensor(s, requires_grad=True)
    triplet_loss(tensor, torch.as_tensor(positives), ignored=torch.as_tensor(ignored), **settings).backward()
    step = 1e-6
    for i in range(s.shape[0]):
        for j in range(s.shape[1]):
            up, down = s.copy(), s.copy()
            up[i, j] += step
            down[i, j] -= step
            above, below = (slow_loss(at, positives, ignored, **METHOD | settings, at=s) for at in (up, down))
            assert tensor.grad[i, j].item() == pytest.approx((above - below) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("device", DEVICES)
def test_the_loss_stays_on_the_device_and_in_the_type_of_the_similarities(device):
    s, positives, ignored = random_batch(2)
    similarity = torch.tensor(s, dtype=torch.float32, device=device)
    columns, no_negatives = (torch.as_tensor(each, device=device) for each in (positives, ignored))
    value = triplet_loss(similarity, columns, ignored=no_negatives)
    assert (value.shape, value.dtype, value.device) == ((), torch.float32, similarity.device)
    assert value.item() == pytest.approx(slow_loss(s, positives, ignored, **METHOD), rel=1e-5)


def test_weighted_documents_count_as_often_as_their_weight_says():
    s, positives, ignored = random_batch(1)
    counts = np.array([1, 3, 2, 1, 1, 4, 2])
    weighted = fast_loss(s, positives, ignored, weights=torch.as_tensor(counts, dtype=torch.float64))
    repeated = fast_loss(*(np.repeat(part, counts, axis=0) for part in (s, positives, ignored)))
    assert weighted.item() == pytest.approx(repeated.item(), rel=1e-12)
    same = fast_loss(s, positives, ignored, weights=torch.full((7,), 0.3, dtype=torch.float64))
    assert same.item() == pytest.approx(fast_loss(s, positives, ignored).item(), rel=1e-12)


def slow_contrast(s, positives, ignored, temperature):
    """InfoNCE, document by document, in plain Python."""
    total = 0.0
    for i, p in enumerate(positives):
        others = [n for n in range(len(s[i])) if n != p and not ignored[i][n]]
        partition = sum(math.exp(s[i][n] / temperature) for n in [p, *others])
        total -= math.log(math.exp(s[i][p] / temperature) / partition)
    return total / len(positives)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_contrastive_loss_is_cross_entropy_without_ignored_pairs(temperature):
    s, positives, ignored = random_batch(1)
    similarity, columns = torch.tensor(s, requires_grad=True), torch.as_tensor(positives)
    free = contrastive_loss(similarity, columns, temperature=temperature)
    expected = torch.nn.functional.cross_entropy(similarity / temperature, columns)
    assert free.item() == pytest.approx(expected.item(), rel=1e-12)
    masked = contrastive_loss(similarity, columns, ignored=torch.as_tensor(ignored), temperature=temperature)
    assert masked.item() == pytest.approx(slow_contrast(s, positives, ignored, temperature), rel=1e-12)
    masked.backward()
    ignored[np.arange(len(s)), positives] = False
    assert not similarity.grad[torch.as_tensor(ignored)].any()
    np.testing.assert_allclose(similarity.grad.sum(dim=1), 0, atol=1e-12)
    # A document without a negative adds nothing.
    similarity, positive = torch.tensor([[0.1, 0.2, 0.9]]), torch.tensor([0])
    assert contrastive_loss(similarity, positive, ignored=torch.tensor([[False, True, True]])).item() == 0


# --- batches -----------------------------------------------------------------------------------


def test_equal_texts_are_alike():
    expected = [[True, False, True], [False, True, False], [True, False, True]]
    np.testing.assert_array_equal(alike([[2, 5, 3], [2, 5], [2, 5, 3]]), expected)


N_DOCUMENTS, N_LABELS = 45, 30


def marks(rows, columns):
    matrix = np.zeros((N_DOCUMENTS, N_LABELS), dtype=bool)
    matrix[rows, columns] = True
    return matrix


@pytest.fixture
def source():
    """45 documents, of which every fifth has no pseudo-positive; token ids are the row numbers."""
    rng = np.random.default_rng(0)
    answers = rng.choice([1, 0, -1, -2], size=(N_DOCUMENTS, N_LABELS), p=[0.1, 0.2, 0.1, 0.6])
    answers[:, 0] = 1
    answers[::5][answers[::5] == 1] = 0
    own = marks(np.arange(30), np.arange(30))
    return PseudoLabels(
        [[row] for row in range(N_DOCUMENTS)],
        [[column] for column in range(N_LABELS)],
        sp.csr_array((answers == 1) & ~own),
        sp.csr_array((answers == 0) & ~own),
        sp.csr_array(own),
    )


def drawn(batch):
    """Rows and label numbers of a batch, and each document's label."""
    rows, columns = np.ravel(batch.documents), np.ravel(batch.labels)
    return rows, columns, columns[batch.positives]


def test_every_document_with_a_pseudo_positive_is_trained_on_once_an_epoch(source):
    config = training_config(epochs=3)
    trainable = [row for row in range(N_DOCUMENTS) if source.positives[[row]].sum()]
    assert 30 < len(trainable) < 37
    assert source.trainable.tolist() == trainable
    batches = list(source.batches(config))
    assert len(batches) == 3 * -(-len(trainable) // 8)
    orders = []
    for epoch in np.split(np.arange(len(batches)), 3):
        rows = np.concatenate([drawn(batches[i])[0] for i in epoch])
        assert sorted(rows) == trainable
        assert [len(batches[i].documents) for i in epoch[:-1]] == [8] * (len(epoch) - 1)
        orders.append(rows.tolist())
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize(("batch_size", "sizes"), [(8, [8, 8, 8, 8]), (16, [16, 16]), (50, [0])])
def test_an_incomplete_last_batch_is_dropped_where_asked_unless_it_is_the_only_one(source, batch_size, sizes):
    config = training_config(batch_size=batch_size, epochs=2, drop_last=True)
    documents = len(source.trainable)
    sizes = [size or documents for size in sizes] * 2
    assert [len(batch.documents) for batch in source.batches(config)] == sizes
    assert steps_for(documents, config) == len(sizes)


def test_each_step_draws_one_of_a_document_s_pseudo_positives(source):
    accepted, found = source.positives.toarray(), set()
    for batch in source.batches(training_config(epochs=40)):
        rows, columns, chosen = drawn(batch)
        assert batch.positives.shape == rows.shape
        assert accepted[rows, chosen].all()
        assert columns.tolist() == sorted(set(chosen.tolist()))  # each label once, and no other label
        found |= set(zip(rows.tolist(), chosen.tolist(), strict=True))
    assert found == set(zip(*map(np.ndarray.tolist, np.nonzero(accepted)), strict=True))

    def drawings(seed):
        config = training_config(seed=seed, epochs=2, rejected_negatives=2)
        return [(b.documents, b.labels, b.positives.tolist()) for b in source.batches(config)]

    assert drawings(1) == drawings(1) != drawings(2)


@pytest.mark.parametrize("rejected_negatives", [0, 3])
def test_accepted_and_excluded_labels_are_no_negatives(source, rejected_negatives):
    no_negative = source.positives.toarray() | source.excluded.toarray()
    shared = own = 0
    for batch in source.batches(training_config(batch_size=16, rejected_negatives=rejected_negatives)):
        rows, columns, chosen = drawn(batch)
        assert batch.ignored.dtype == bool
        np.testing.assert_array_equal(batch.ignored, no_negative[np.ix_(rows, columns)])
        shared += (source.positives.toarray()[np.ix_(rows, columns)].sum(1) > 1).sum()
        own += source.excluded.toarray()[np.ix_(rows, columns)].sum()
        assert not (chosen == rows).any()
    assert shared  # the case did occur
    assert own


def test_rejected_labels_join_the_batch_as_negatives(source):
    rejected = source.rejected.toarray()
    for batch in source.batches(training_config(batch_size=2, rejected_negatives=3)):
        rows, columns, chosen = drawn(batch)
        assert columns.tolist() == sorted(set(columns.tolist()))
        for i, row in enumerate(rows):
            own = rejected[row, columns]
            assert own.sum() >= min(3, rejected[row].sum())
            assert not batch.ignored[i, own].any()
        assert all(column in chosen or rejected[rows, column].any() for column in columns)
        assert len(columns) <= 2 * (1 + 3)


def test_only_rejected_labels_are_negatives_where_the_settings_say_so(source):
    rejected, seen = source.rejected.toarray(), 0
    config = training_config(batch_size=8, negatives="rejected", rejected_negatives=3)
    for batch in source.batches(config):
        rows, columns, _ = drawn(batch)
        np.testing.assert_array_equal(batch.ignored, ~rejected[np.ix_(rows, columns)])
        seen += (~batch.ignored).sum()
    assert seen > N_DOCUMENTS


def test_random_negatives_are_as_many_as_the_hardest_and_differ_by_seed(source):
    def kept(seed):
        config = training_config(batch_size=16, hard_negatives=4, negatives="random", seed=seed)
        return [(drawn(batch), batch.ignored) for batch in source.batches(config)]

    no_negative = source.positives.toarray() | source.excluded.toarray()
    chosen = np.zeros(0, dtype=int)
    for (rows, columns, positives), ignored in kept(1):
        own = columns[None] == positives[:, None]
        free = ~no_negative[np.ix_(rows, columns)] & ~own
        np.testing.assert_array_equal((~ignored & ~own).sum(1), np.minimum(4, free.sum(1)))
        assert not (~ignored & ~own & ~free).any()  # never one that is no negative
        chosen = np.concatenate([chosen, np.nonzero(~ignored & ~own)[1]])
        assert len(rows) == len(positives)
    assert len(np.unique(chosen)) > 8  # not always the first ones
    one, again, other = ([ignored.tolist() for _, ignored in kept(seed)] for seed in (1, 1, 2))
    assert one == again != other


def test_soft_targets_weigh_a_document_by_the_teacher_s_p_yes(source):
    assert all(batch.weights is None for batch in source.batches(training_config()))
    p_yes = source.positives.astype(np.float32) * 0.5
    p_yes.data += np.linspace(0, 0.5, p_yes.nnz, dtype=np.float32)
    soft = replace(source, p_yes=p_yes)
    for batch, hard in zip(soft.batches(training_config()), source.batches(training_config()), strict=True):
        rows, _, chosen = drawn(batch)
        assert batch.weights.dtype == np.float32
        np.testing.assert_array_equal(batch.weights, p_yes.toarray()[rows, chosen])
        np.testing.assert_array_equal(batch.positives, hard.positives)  # the draws are the same


def test_pairs_without_an_answer_bring_no_label_into_a_batch():
    """One document: label 0 accepted, 1 rejected, the others unanswered or never asked."""
    nothing = sp.csr_array((1, 9), dtype=bool)
    accepted, rejected = (sp.csr_array(np.eye(9, dtype=bool)[[i]]) for i in (0, 1))
    source = PseudoLabels([[7]], [[i] for i in range(9)], accepted, rejected, nothing)
    (batch,) = source.batches(training_config(rejected_negatives=5))
    assert batch.labels == [[0], [1]]
    np.testing.assert_array_equal(batch.ignored, [[True, False]])


# --- the loop ----------------------------------------------------------------------------------

TOPICS = ("ant", "bee", "cat", "dog", "elk", "fox")


def topical(encoder, n=48):
    """Documents of words of one topic; its label is the one accepted."""
    rng = np.random.default_rng(1)
    topics = rng.integers(0, len(TOPICS), n)
    documents = [" ".join(f"{TOPICS[t]}{i}" for i in rng.integers(0, 12, 8)) for t in topics]
    accepted = sp.csr_array(np.eye(len(TOPICS), dtype=bool)[topics])
    nothing = sp.csr_array(accepted.shape, dtype=bool)
    labels = [f"{topic}0 {topic}1" for topic in TOPICS]
    tokens = encoder.tokenize(documents, 32), encoder.tokenize(labels, 16)
    return PseudoLabels(*tokens, accepted, nothing, nothing), topics, documents, labels


def trained(folder, config, precision="fp32", **options):
    """A student trained from the encoder in `folder`, and the log."""
    encoder = Encoder.load(encoder_config(folder, precision=precision))
    source = topical(encoder)[0]
    return encoder, train(encoder, source, config, **options)


def weights(encoder):
    return {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_learns_topics_that_words_tell_apart(folder):
    config = training_config(epochs=7)
    encoder, log = trained(folder, config)
    assert len(log.losses) == 42
    assert log.seconds > 0
    assert np.mean(log.losses[-6:]) < 0.5 * np.mean(log.losses[:6])
    _, topics, documents, labels = topical(encoder)
    before = Encoder.load(encoder_config(folder))
    accuracy = [
        ((e.encode(documents, 32) @ e.encode(labels, 16).T).argmax(axis=1) == topics).mean()
        for e in (before, encoder)
    ]
    assert accuracy[0] < 0.6
    assert accuracy[1] > 0.9


def test_a_cycle_starts_from_the_pretrained_encoder_and_repeats_bit_by_bit(folder):
    kept = load_file(folder / "model.safetensors")
    first, log = trained(folder, training_config())
    again, second = trained(folder, training_config())
    assert log.losses == second.losses
    assert same(weights(first), weights(again))
    assert same(load_file(folder / "model.safetensors"), kept)
    assert not same(weights(first), weights(Encoder.load(encoder_config(folder))))
    other, _ = trained(folder, training_config(seed=1))
    assert not same(weights(first), weights(other))


def test_dropout_is_on_while_training_where_asked_and_off_afterwards(folder):
    runs = [trained(folder, training_config(dropout=dropout)) for dropout in (False, True, True)]
    plain, noisy, again = ((log.losses, student.encode(["ant1 bee2"], 8).tolist()) for student, log in runs)
    assert noisy == again and noisy[0] != plain[0] and noisy[1] != plain[1]
    assert not runs[1][0].model.training


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_student_s_weights_are_mixed_with_those_of_e0(folder, precision):
    configs = (training_config(e0_share=share) for share in (0.0, 0.25))
    (learnt, log), (mixed, same_log) = (trained(folder, config, precision) for config in configs)
    assert log.losses == same_log.losses
    start, end = weights(Encoder.load(encoder_config(folder))), weights(learnt)
    for name, weight in weights(mixed).items():
        torch.testing.assert_close(weight, 0.75 * end[name] + 0.25 * start[name])


def test_precisions_may_change_within_one_process(folder):
    """Weights stay fp32 and close to those of fp32 training."""
    students = [trained(folder, training_config(), precision=p) for p in ("fp32", "bf16", "fp32")]
    (exact, log), (fast, fast_log), (_, last) = students
    assert last.losses == log.losses
    assert fast_log.losses != log.losses
    np.testing.assert_allclose(fast_log.losses, log.losses, atol=0.02)
    assert {tensor.dtype for tensor in fast.model.parameters()} == {torch.float32}
    assert not same(weights(exact), weights(fast))


def test_training_leaves_torch_s_own_settings_as_they_were(folder):
    def settings():
        backends = torch.backends.cuda
        return backends.fp16_bf16_reduction_math_sdp_allowed(), backends.flash_sdp_enabled()

    before = settings()
    assert before == (False, True)
    within = []

    def loss(similarity, positives, **_):
        within.append(settings())
        return similarity.sum()

    trained(folder, training_config(), precision="bf16", loss=loss)
    assert set(within) == {before}, "and while a loss is worked out"
    assert settings() == before


@pytest.fixture
def optimizers(monkeypatch):
    """The optimizers made, each with the learning rates of its steps."""
    made = []

    class Recorded(torch.optim.AdamW):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.rates = []
            made.append(self)

        def step(self, *args, **options):
            self.rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **options)

    monkeypatch.setattr(torch.optim, "AdamW", Recorded)
    return made


@pytest.mark.parametrize(
    ("warmup_steps", "expected"),
    [
        (1, [1 / 2, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5]),
        (100, [1 / 2, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5]),  # at most a quarter of the steps
        (0, [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
    ],
)
def test_the_learning_rate_warms_up_and_decays_linearly(folder, optimizers, warmup_steps, expected):
    trained(folder, training_config(warmup_steps=warmup_steps, learning_rate=1e-4, weight_decay=0.01))
    np.testing.assert_allclose(optimizers[0].rates, np.multiply(expected, 1e-4), rtol=1e-12)
    group = optimizers[0].param_groups[0]
    assert (group["eps"], group["weight_decay"]) == (1e-6, 0.01)
    assert len(group["params"]) == len(list(Encoder.load(encoder_config(folder)).model.parameters()))


def test_settings_of_the_loss_and_the_batch_reach_it(folder, monkeypatch):
    seen = []

    def watched(similarity, positives, **settings):
        seen.append((similarity.detach().clone(), positives, settings))
        return triplet_loss(similarity, positives, **settings)

    config = training_config(margin=0.21, temperature=0.07, hard_negatives=4)
    monkeypatch.setattr("lmtx.training.triplet_loss", watched)
    _, log = trained(folder, config)
    encoder = Encoder.load(encoder_config(folder))
    batch = next(topical(encoder)[0].batches(config))
    similarity, positives, settings = seen[0]
    expected = encoder.encode_tokens(batch.documents) @ encoder.encode_tokens(batch.labels).T
    np.testing.assert_allclose(similarity, expected, atol=1e-5)  # the first step sees E0
    np.testing.assert_array_equal(positives, batch.positives)
    np.testing.assert_array_equal(settings.pop("ignored"), batch.ignored)
    assert settings == {"margin": 0.21, "temperature": 0.07, "hard_negatives": 4}
    own = slow_loss(similarity.tolist(), batch.positives, batch.ignored, 0.21, 0.07, 4)
    assert log.losses[0] == pytest.approx(own, rel=1e-4)


def test_a_loss_of_its_own_is_trained_with(folder):
    student, log = trained(folder, training_config(e0_share=0.25), loss=contrastive_loss)
    other, usual = trained(folder, training_config(e0_share=0.25))
    assert log.losses != usual.losses
    assert not same(weights(student), weights(other))
    assert len(log.losses) == 6
    assert np.mean(log.losses[-2:]) < np.mean(log.losses[:2])
