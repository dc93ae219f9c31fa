"""Images, and one set that stands for them."""

from __future__ import annotations

from adaptive_lr.tasks.data import builtin
from adaptive_lr.tasks.data.declaration import AnyDataset, FetchedDataset, InstalledDataset, Part
from adaptive_lr.tasks.data.formats import images
from adaptive_lr.tasks.data.origins import Debian, Download

CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

IMAGES: tuple[AnyDataset, ...] = (
    FetchedDataset(
        name="fashion-mnist",
        title="Fashion-MNIST",
        summary="70 000 pictures of clothes, 28x28, grey",
        classes=CLOTHES,
        licence="MIT",
        reference="Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747",
        splits="the last 10 000 training images are for validation, the 10 000 test images for testing",
        origins=(
            Debian("dataset-fashion-mnist", 30_900_652, installed="/usr/share/datasets/fashion-mnist"),
            Download(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
                tuple(f"{name}.gz" for name in images.IDX_FILES),
                30_878_645,
            ),
        ),
        originals=images.IDX_FILES,
        decode=images.fashion_mnist,
        parts=(
            Part(
                "train_images.npy",
                "uint8",
                (60_000, 28, 28),
                "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            ),
            Part(
                "train_labels.npy",
                "uint8",
                (60_000,),
                "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
            ),
            Part(
                "test_images.npy",
                "uint8",
                (10_000, 28, 28),
                "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            ),
            Part(
                "test_labels.npy",
                "uint8",
                (10_000,),
                "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
            ),
        ),
    ),
    FetchedDataset(
        name="cifar10",
        title="CIFAR-10",
        summary="60 000 photographs, 32x32, in colour",
        classes=THINGS,
        licence="none is stated; published for research",
        reference="Krizhevsky 2009, Learning multiple layers of features from tiny images",
        splits="the last 5 000 training images are for validation, the 10 000 test images for testing",
        origins=(Download("https://www.cs.toronto.edu/~kriz", ("cifar-10-python.tar.gz",), 170_498_071),),
        originals=tuple(images.CIFAR_BATCHES),
        decode=images.cifar10,
        # Nobody has published a checksum of the arrays; those of the batches are checked instead.
        parts=(
            Part("train_images.npy", "uint8", (50_000, 3, 32, 32)),
            Part("train_labels.npy", "uint8", (50_000,)),
            Part("test_images.npy", "uint8", (10_000, 3, 32, 32)),
            Part("test_labels.npy", "uint8", (10_000,)),
        ),
    ),
    InstalledDataset(
        name="mnist1d",
        title="MNIST-1D",
        summary="5 000 made-up digits, one-dimensional, 40 values",
        classes=tuple("0123456789"),
        licence="Apache-2.0",
        reference="Greydanus and Kobak 2020, arXiv:2011.14439",
        splits="of the 4 000 training examples the last 800 are for validation, the 1 000 test examples for testing",
        package="mnist1d",
        make=builtin.mnist1d,
        # Made on the spot, so that the last bits may depend on where.
        parts=(
            Part("train_inputs.npy", "float64", (4000, 40)),
            Part("train_targets.npy", "int64", (4000,)),
            Part("test_inputs.npy", "float64", (1000, 40)),
            Part("test_targets.npy", "int64", (1000,)),
        ),
    ),
)
