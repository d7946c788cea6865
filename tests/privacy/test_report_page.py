"""The report's page: what people wrote is no markup."""

from __future__ import annotations

from fedkit.privacy.report_page import PrivacyReport
from tests.support.privacy import report_of


def test_names_are_no_markup() -> None:
    report = report_of("none", project_name="a-b")
    evil = PrivacyReport("<script>", report.headline, 0, (), None, (), (), ("<b>",))
    assert "<script>" not in evil.to_html()
    assert "<b>" not in evil.to_html()
