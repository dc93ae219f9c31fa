import numpy as np
import pytest
import torch

from adaptive_lr.errors import DataError
from adaptive_lr.tasks import ResidualNetwork, data
from adaptive_lr.tasks.images import standardised
from adaptive_lr.tasks.residual import ResNet9, moved

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_usual_size_has_the_usual_number_of_parameters() -> None:
    count = sum(parameter.numel() for parameter in ResNet9(3, 64, 10, shift=4).parameters())
    convolutions = [(3, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 512), (512, 512), (512, 512)]
    assert count == sum(9 * a * b + 2 * b for a, b in convolutions) + 5130


@pytest.mark.parametrize(("down", "right", "mirrored"), [(0, 0, 0), (4, 2, 0), (2, 2, 1), (1, 4, 1)])
def test_an_image_is_cut_from_its_padded_self_and_mirrored(down: int, right: int, mirrored: int) -> None:
    pictures = torch.arange(2 * 3 * 5 * 6, dtype=torch.float64).view(2, 3, 5, 6) + 1.0
    moves = torch.tensor([[2, 2, 0], [down, right, mirrored]])
    shifted = moved(pictures, moves, 2).numpy()
    np.testing.assert_array_equal(shifted[0], pictures[0].numpy())
    cut = np.pad(pictures[1].numpy(), ((0, 0), (2, 2), (2, 2)))[:, down : down + 5, right : right + 6]
    np.testing.assert_array_equal(shifted[1], cut[:, :, ::-1] if mirrored else cut)


def test_moves_are_spread_over_all_that_there_are() -> None:
    (moves,) = ResidualNetwork(shift=3).noise(20_000, torch.Generator().manual_seed(0), torch.float32)
    for column, options in enumerate((7, 7, 2)):
        shares = torch.bincount(moves[:, column], minlength=options) / 20_000
        assert len(shares) == options
        assert (shares - 1 / options).abs().max() < 5.0 * (0.25 / 20_000) ** 0.5
    (still,) = ResidualNetwork(shift=0, mirror="off").noise(50, torch.Generator(), torch.float32)
    assert not still.any()


def test_photographs_make_outputs_and_every_parameter_has_a_gradient() -> None:
    torch.manual_seed(0)
    network, task = ResNet9(3, 4, 10, shift=4), ResidualNetwork(width=4)
    (moves,) = task.noise(6, torch.Generator().manual_seed(1), torch.float32)
    outputs = network(torch.randn(6, 3, 32, 32), moves)
    assert outputs.shape == (6, 10)
    task.loss(outputs, torch.arange(6)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0.0, name


def test_without_moves_an_image_does_not_depend_on_its_neighbours_in_evaluation() -> None:
    torch.manual_seed(0)
    network, pictures = ResNet9(3, 4, 10, shift=4).double().eval(), torch.randn(5, 3, 32, 32).double()
    torch.testing.assert_close(network(pictures)[2:3], network(pictures[2:3]), rtol=0, atol=1e-12)


def test_colours_are_standardised_one_by_one() -> None:
    source = torch.Generator().manual_seed(0)
    scales = torch.tensor([50, 120, 250]).view(1, 3, 1, 1)
    train = (torch.rand(40, 3, 8, 8, generator=source) * scales).to(torch.uint8)
    made = standardised(train, train)
    torch.testing.assert_close(made.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(made.std((0, 2, 3)), torch.ones(3), rtol=0, atol=1e-5)
    assert torch.equal(standardised(train[:3], train), made[:3])


@pytest.mark.slow
def test_photographs_are_those_of_cifar10() -> None:
    try:
        data.load("cifar10")
    except DataError as error:
        pytest.skip(str(error))
    test = ResidualNetwork().evaluated("test", torch.float32)
    assert isinstance(test.inputs, torch.Tensor)
    assert test.inputs.shape == (5000, 3, 32, 32)
    assert test.inputs.std().item() == pytest.approx(1.0, abs=0.05)
