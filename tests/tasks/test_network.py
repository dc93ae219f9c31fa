import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr.tasks.losses import AbsoluteLoss, AbstractLoss, CrossEntropy, LogisticLoss, SquaredLoss
from adaptive_lr.tasks.network import StackedNetwork, fully_connected

networks = st.tuples(
    st.lists(st.integers(1, 6), min_size=2, max_size=4),
    st.sampled_from(["relu", "tanh"]),
    st.sampled_from([SquaredLoss(), AbsoluteLoss(), LogisticLoss(), CrossEntropy()]),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
)


shapes = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6)), min_size=1, max_size=3)


@given(network=networks, shapes=shapes, seed=st.integers(0, 10_000))
def test_stacked_network_equals_autograd_whatever_was_computed_with_it_before(
    network: tuple[list[int], str, AbstractLoss, bool, float], shapes: list[tuple[int, int, int]], seed: int
) -> None:
    sizes, activation, loss, bias, penalty = network
    if not isinstance(loss, CrossEntropy):
        sizes = [*sizes[:-1], 1]
    stacked = StackedNetwork(sizes, activation, loss=loss, bias=bias, penalty=penalty)
    module = fully_connected(sizes, activation, bias=bias).double()
    names = [name for name, _ in module.named_parameters()]
    source = torch.Generator().manual_seed(seed)
    for batches, each, examples in shapes:
        trials = batches * each
        inputs = torch.randn(batches, examples, sizes[0], generator=source, dtype=torch.float64)
        targets = torch.randint(sizes[-1], (batches, examples), generator=source)
        if not isinstance(loss, CrossEntropy):
            targets = torch.randint(2, (batches, examples, 1), generator=source).double() * 2.0 - 1.0
        parameters = [
            torch.randn(trials, *one.shape, generator=source, dtype=torch.float64) for one in module.parameters()
        ]
        gradients = [torch.empty_like(one) for one in parameters]
        losses = stacked.losses_and_gradients(parameters, inputs, targets, gradients)
        for row in range(trials):
            module.load_state_dict({name: one[row] for name, one in zip(names, parameters, strict=True)})
            objective = loss.literal(module(inputs[row // each]), targets[row // each])
            for parameter in module.parameters():
                objective = objective + 0.5 * penalty * parameter.square().sum()
            torch.testing.assert_close(losses[row], objective.detach(), rtol=1e-13, atol=1e-12)
            for found, expected in zip(
                gradients, torch.autograd.grad(objective, list(module.parameters())), strict=True
            ):
                torch.testing.assert_close(found[row], expected, rtol=1e-13, atol=1e-12)
