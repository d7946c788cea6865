"""Secure aggregation: sums that an aggregator learns without a single summand (Bonawitz et al. 2017)."""
