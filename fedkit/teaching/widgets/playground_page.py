"""What the page of `fedkit playground` shows: the panel, with the settings of the page's own address."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, urlencode

from fedkit.base.errors import FedkitError
from fedkit.teaching.playground import FOLDER
from fedkit.teaching.playground.settings import Settings
from fedkit.teaching.widgets.playground import Playground

__all__ = ["page"]

_OF_THE_SERVER = {"token", "theme", "template"}
"""What stands in the address for Voila, and is no setting."""


def page() -> Playground:
    """The panel of a page; what is wrong with the address is said on it, above the defaults."""
    own = os.environ.get(FOLDER) or None
    query = os.environ.get("QUERY_STRING", "")
    pairs = [
        (k, v)
        for k, v in parse_qsl(query[:4_000], keep_blank_values=True)
        if k not in _OF_THE_SERVER
    ]
    plain = Settings(data="own") if own is not None and not pairs else Settings()
    panel = Playground(plain, own, interactive=True)
    try:
        settings = Settings.of_link(urlencode(pairs))
    except FedkitError as error:
        panel.say(str(error))
    else:
        if pairs:
            panel.reset(**settings.model_dump())
    return panel
