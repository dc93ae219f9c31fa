"""Which trials are trained together."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import Constant, DampedCosine, Linear
from adaptive_lr.spec import decode, encode
from adaptive_lr.tasks import Perceptron, StreamingLeastSquares, StreamingLogistic
from adaptive_lr.training import KINDS, SGD, AdamW, Trial, batches
from tests.reference.tasks import CASES, Case
from tests.training.test_training import trial

plans = st.lists(
    st.builds(
        Trial,
        task=st.sampled_from([StreamingLeastSquares(dimension=3), StreamingLogistic(dimension=3)]),
        schedule=st.sampled_from([Constant(), Linear(), DampedCosine(exponent=2)]),
        optimizer=st.sampled_from([SGD(), SGD(momentum=0.9), AdamW()]),
        base_lr=st.sampled_from([0.1, 0.2]),
        steps=st.sampled_from([10, 20]),
        seed=st.integers(0, 2),
        dtype=st.sampled_from(["float32", "float64"]),
    ),
    max_size=30,
)


@given(trials=plans)
def test_every_trial_is_in_exactly_one_batch_and_batches_are_of_one_kind(trials: list[Trial]) -> None:
    planned = batches(trials)
    assert Counter(one for batch in planned for one in batch) == Counter(trials)
    for batch in planned:
        assert len({(one.task, one.optimizer, one.steps, one.dtype) for one in batch}) == 1
        assert len(set(Counter(one.seed for one in batch).values())) == 1
    by_seed = Counter((one.task, one.optimizer, one.steps, one.dtype, one.seed) for one in trials)
    assert len(planned) == len({(*key[:-1], count) for key, count in by_seed.items()})


@given(trials=plans)
def test_the_plan_depends_on_the_list_alone(trials: list[Trial]) -> None:
    rebuilt = [decode(encode(one), KINDS) for one in trials]
    assert batches([one for one in rebuilt if isinstance(one, Trial)]) == batches(trials)


def sizes_of_batches(case: Case, count: int) -> Sequence[int]:
    trials = [trial(case, base_lr=0.001 * (index + 1)) for index in range(count)]
    planned = batches(trials)
    assert sorted(one.base_lr for batch in planned for one in batch) == [one.base_lr for one in trials]
    return sorted(len(batch) for batch in planned)


def test_large_batches_are_divided_evenly() -> None:
    assert sizes_of_batches(CASES["logistic"], 512) == [512]
    assert sizes_of_batches(CASES["logistic"], 1100) == [366, 367, 367]


def test_large_models_make_small_batches() -> None:
    large = Case(Perceptron(dataset="breast_cancer", hidden=(300, 300)), 0.1)  # 100 202 parameters
    assert max(sizes_of_batches(large, 20)) <= 10
    huge = Case(Perceptron(dataset="breast_cancer", hidden=(1000, 1000)), 0.1)
    assert sizes_of_batches(huge, 16) == [8, 8]


def test_seeds_with_few_trials_share_a_batch() -> None:
    trials = [trial(CASES["logistic"], seed=seed, base_lr=0.01 * rate) for seed in range(100) for rate in range(1, 7)]
    planned = batches(trials)
    assert [len(batch) for batch in planned] == [510, 90]
    assert [one for batch in planned for one in batch] == trials
