"""Files: parameters, checkpoints, the claim of a folder, and the weights of PyTorch."""
