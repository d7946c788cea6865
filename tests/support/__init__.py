"""What several tests share, and nothing that is a test itself."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
