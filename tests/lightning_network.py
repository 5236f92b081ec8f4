"""A network as Lightning trains it; in a module of its own, so that it pickles."""

import pytest
import torch
from torch import nn

lightning = pytest.importorskip("lightning")


class LightningNetwork(lightning.LightningModule):
    """A network with a training step."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trained(net, x, y):
    """Train a network for an epoch."""
    silent = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, **dict.fromkeys(silent, False)
    )
    module = LightningNetwork(net)
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=12))
    return module
