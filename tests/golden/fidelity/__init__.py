"""Tiny models of every architecture: how each is made (core), how each can be wrong (faults), and which there are."""
