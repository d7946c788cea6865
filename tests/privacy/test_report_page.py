"""The report's page: what people wrote is no markup."""

from __future__ import annotations

from dataclasses import replace

from fedkit.privacy.attacks.roc import AttackResult
from tests.support.privacy import report_of


def test_names_are_no_markup() -> None:
    report = report_of("none", project_name="a-b")
    attack = AttackResult("<i>", "x", "y", 0.5, 0.1, 0.9, 0.5)
    evil = replace(report, project="<script>", attacks=(attack,), not_covered=("<b>",))
    assert "<script>" not in evil.to_html()
    assert "<b>" not in evil.to_html()
    assert "<i>" not in evil.to_html()
    assert "&lt;i&gt; on x" in evil.to_html()
