"""Train a small network on scikit-learn's digits."""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

LR = 0.1
EPOCHS = 10


def main() -> float:
    """Train, and return the loss on what was held out."""
    torch.manual_seed(0)
    digits = load_digits()
    inputs, targets = torch.tensor(digits.data / 16.0, dtype=torch.float32), torch.tensor(digits.target)
    train, held_out = slice(0, 1200), slice(1200, None)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * 24)
    for _ in range(EPOCHS):
        for batch in torch.randperm(1200).split(50):
            loss = cross_entropy(model(inputs[train][batch]), targets[train][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    return cross_entropy(model(inputs[held_out]), targets[held_out]).item()


if __name__ == "__main__":
    print(f"held-out loss {main():.4f}")
