"""The ground floor: gradients and activations of a torch model, as torch tensors."""
