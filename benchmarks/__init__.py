"""Ratios, each measured within one run on one machine: `make bench`."""
