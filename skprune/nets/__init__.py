"""Pruning of skorch nets. Torch and skorch are imported only where they are used."""
