"""Facesets of other programs, in and out: DeepFaceLab, faceswap, plain folders, WebDataset."""
