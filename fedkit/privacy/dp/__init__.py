"""Differential privacy: from what is promised to noise, its account, and the audit from below."""
