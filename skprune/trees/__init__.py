"""Pruning of trees. All but the pruners knows numpy and scipy only: arrays in, arrays out."""
