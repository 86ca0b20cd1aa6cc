"""PyTorch: TorchScript files and torch.export archives."""
