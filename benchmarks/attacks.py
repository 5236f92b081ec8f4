"""Compare the attacks with foolbox's: success, size of the changes, time.

    python benchmarks/attacks.py --data-dir DIR  # the table of RESULTS.md, on MNIST
    python benchmarks/attacks.py                 # on the embedded digits
    python benchmarks/attacks.py --quick         # few images, to check that it runs

Both libraries attack the same network and images, with the same steps and batch size.
They take turns, round by round; times are medians over the rounds, the ratio is the
median of the rounds' ratios. "Equal values" are within 1e-4 of those of foolbox, and of
foolbox with network and images in float64, where it loses no digits to a saturated
softmax. Attacks with a random start draw different ones.
"""

import argparse
import copy
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

# Otherwise foolbox warns where git is missing.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
import foolbox

from skgrad.attacks import bim, fgsm, pgd
from skgrad.datasets import load_digits_images
from skgrad.evaluation import train_digits_network

BATCH_SIZE = 128


def digits(n_samples):
    """Return a network, test images and their classes, of the embedded digits."""
    data = load_digits_images()
    net = train_digits_network(data.X_train, data.y_train, random_state=0)
    return net, data.X_test[:n_samples], data.y_test[:n_samples]


def mnist(data_dir, n_samples):
    """Return the same of MNIST, with the network of examples/papers/mnist.py."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "papers"))
    from mnist import load_mnist, train

    X, y, X_test, y_test = load_mnist(data_dir, download=False)
    net = train(X[:10_000], y[:10_000], max_epochs=2, random_state=0)
    return net, X_test[:n_samples], y_test[:n_samples]


def pairs(eps, eps_l2, n_steps):
    """Return name, eps, our attack and foolbox's, one row of the table each."""
    theirs = foolbox.attacks
    steps = {"steps": n_steps, "rel_stepsize": 0.25}
    linf = {"eps": eps, "n_steps": n_steps}
    l2 = {"eps": eps_l2, "n_steps": n_steps, "norm": "l2"}
    seed, at_x = {"random_state": 0}, {"random_start": False}
    return [
        (f"FGSM, {eps}", eps, partial(fgsm, eps=eps), theirs.LinfFastGradientAttack()),
        (
            f"BIM, {eps}",
            eps,
            partial(bim, **linf),
            theirs.LinfBasicIterativeAttack(**steps),
        ),
        (f"PGD, {eps}", eps, partial(pgd, **linf, **seed), theirs.LinfPGD(**steps)),
        (
            f"PGD, L2, {eps_l2}",
            eps_l2,
            partial(pgd, **l2, **seed),
            theirs.L2PGD(**steps),
        ),
        (
            f"PGD, L2, {eps_l2}, from X",
            eps_l2,
            partial(pgd, **l2, **at_x),
            theirs.L2PGD(**at_x, **steps),
        ),
    ]


def run_theirs(attack, model, X, y, eps):
    """Run an attack of foolbox in batches; return adversarial inputs and success."""
    ends, successes = [], []
    for start in range(0, len(X), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        images, classes = torch.from_numpy(X[part]), torch.from_numpy(y[part])
        _, end, success = attack(model, images, classes, epsilons=eps)
        ends.append(end)
        successes.append(success)
    return torch.cat(ends).numpy(), torch.cat(successes).numpy()


def timed(work):
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def compare(net, X, y, settings, n_rounds):
    """Yield the rows of the table."""
    yield (
        "| attack | success | foolbox | equal success | equal values | float64 "
        "| mean L2 | foolbox | seconds | foolbox | foolbox / ours |"
    )
    yield "|---" * 11 + "|"
    module = net.module_.eval()
    model, wide = (
        foolbox.PyTorchModel(m, bounds=(0, 1))
        for m in (module, copy.deepcopy(module).double())
    )
    for name, eps, ours, attack in pairs(*settings):
        seconds = []
        for _ in range(n_rounds):
            mine, result = timed(partial(ours, net, X, y))
            other, (ends, success) = timed(
                partial(run_theirs, attack, model, X, y, eps)
            )
            seconds.append((mine, other))
        exact, _ = run_theirs(attack, wide, X.astype(np.float64), y, eps)
        l2 = np.linalg.norm((ends - X).reshape(len(X), -1), axis=1)
        medians = [statistics.median(column) for column in zip(*seconds, strict=True)]
        ratio = statistics.median(other / mine for mine, other in seconds)
        cells = [
            *(f"{s.mean():.1%}" for s in (result.success, success)),
            f"{(result.success == success).mean():.1%}",
            *(f"{(abs(result.X_adv - e) < 1e-4).mean():.2%}" for e in (ends, exact)),
            *(f"{size.mean():.2f}" for size in (result.l2, l2)),
            *(f"{median:.2f}" for median in medians),
            f"{ratio:.2f}",
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def main(arguments=None):
    """Train a network, attack it in both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", help="where MNIST is; default: embedded digits")
    parser.add_argument("--n-samples", type=int, default=256)
    parser.add_argument("--n-steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few images, one round")
    args = parser.parse_args(arguments)
    if args.quick:
        args.n_samples, args.n_steps, args.rounds = 40, 3, 1
    if args.data_dir:
        net, X, y = mnist(args.data_dir, args.n_samples)
        settings = (0.1, 1.5, args.n_steps)
    else:
        net, X, y = digits(args.n_samples)
        settings = (0.1, 0.5, args.n_steps)
    print(
        f"{len(X)} images, {net.score(X, y):.1%} classified correctly; batch "
        f"{BATCH_SIZE}, {args.n_steps} steps of eps / 4, {args.rounds} rounds, torch "
        f"{torch.__version__}, {torch.get_num_threads()} CPU threads\n"
    )
    for row in compare(net, X, y, settings, args.rounds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
