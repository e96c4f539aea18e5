"""Models that transformers has not, as their authors formulate them, written anew and small; tensors as the files name them."""
