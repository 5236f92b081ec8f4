"""How often the recommended detector rejects in-distribution inputs, over 200 draws.

    python benchmarks/false_alarms.py --data-dir DIR
    python benchmarks/false_alarms.py --quick     # embedded digits, few draws

ResNet-20 on the test images of CIFAR-10 (JPEG), DIR as ``examples/papers`` read it. The
features are computed once. For each draw the detector is fitted on 2,000 images and
1,000 others are judged; the threshold is placed by a fifth of the 2,000. If a held-out
image is as likely as a new one to be the lowest of all, the number of rejected new
images is beta-binomial; the band holds 99 % of it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from recommended_settings import CifarResNet, load_network
from sklearn.base import clone

from skgrad import make_recommended_detector
from skgrad._seeding import seed_estimator
from skgrad.datasets import load_dataset, load_digits_images
from skgrad.evaluation import train_digits_network
from skgrad.guard import rejection_band


def digits():
    """Return the demo's network, and the digits that it was not trained on."""
    data = load_digits_images()
    net = train_digits_network(data.X_train, data.y_train, random_state=0)
    return net.module_, np.concatenate([data.X_fit, data.X_test])


def cifar(data_dir):
    """Return ResNet-20 and the test images of CIFAR-10 (JPEG)."""
    path = Path(data_dir) / "weights/cifar10jpeg_resnet20.safetensors"
    images = load_dataset("cifar-10-jpeg", data_dir=data_dir, split="test")
    return load_network(CifarResNet, path), images.X


def realised(features, detector, target_fpr, n_fit, n_new, n_draws):
    """Return the share of new inputs that each draw rejects."""
    shares = []
    for seed in range(n_draws):
        rows = np.random.default_rng(seed).permutation(len(features))
        drawn = seed_estimator(clone(detector), seed, overwrite=True)
        drawn.set_params(target_fpr=target_fpr).fit(features[rows[:n_fit]])
        new = features[rows[n_fit : n_fit + n_new]]
        shares.append(np.mean(drawn.predict(new) == -1))
    return np.array(shares)


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="digits, ten draws")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, X = digits() if args.quick else cifar(args.data_dir)
    n_fit, n_new, n_draws = (200, 100, 10) if args.quick else (2000, 1000, args.draws)
    pipeline = make_recommended_detector(model, random_state=0)
    features = pipeline[0].fit_transform(X)
    print(f"{len(X)} images, {n_draws} draws of {n_fit} to fit on and {n_new} new\n")
    print("| target | mean ± standard error | lowest | highest | 99 % band | outside |")
    print("|--:|--:|--:|--:|--:|--:|")
    for target_fpr in (0.05,) if args.quick else (0.01, 0.05, 0.1):
        shares = realised(features, pipeline[-1], target_fpr, n_fit, n_new, n_draws)
        usual = {"target_fpr": target_fpr, "confidence": 0.99}
        band = rejection_band(n_new, n_fit // 5, **usual)
        low, high = band.low / n_new, band.high / n_new
        outside = np.mean((shares < low) | (shares > high))
        error = shares.std() / np.sqrt(n_draws)
        print(
            f"| {target_fpr:.0%} | {shares.mean():.2%} ± {error:.2%} | "
            f"{shares.min():.1%} | {shares.max():.1%} | {low:.1%} to {high:.1%} | "
            f"{outside:.1%} |"
        )


if __name__ == "__main__":
    main()
