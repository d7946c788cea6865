"""One participant's data dir: the grammar of its paths, its creation, and a person's approval.

A datasite is a folder. What others may see lies under `datasites/<email>/`, what nobody else ever sees under `private/`.
The paths are the ones that OpenMined's apps use. Notebook 01 walks through them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_json
from fedkit.base.names import check_email, folded
from fedkit.config.client_config import ClientConfig
from fedkit.datasite.paths import AggregatorBox, ClientBox
from fedkit.datasite.permissions import OLDEST, Permissions, write_permissions
from fedkit.datasite.private_data import PrivateData
from fedkit.datasite.road import Road, road_of
from fedkit.datasite.tree import entries

__all__ = ["AppData", "Datasite"]


AppData = Literal["app_data", "api_data"]


@dataclass(frozen=True)
class Datasite:
    """A data dir and the e-mail of the person it belongs to.

    app_data : "app_data" (today's SyftBox) or "api_data" (the tutorial's, November 2024 to March 2025).
    device : where its models train and are evaluated, such as "cuda".
    """

    data_dir: Path
    email: str
    app_data: AppData = "app_data"
    device: str = field(default="cpu", compare=False)

    @classmethod
    def create(
        cls,
        data_dir: Path | str,
        email: str,
        app_data: AppData = "app_data",
        aggregator: str | None = None,
    ) -> Datasite:
        """Make the folders of a datasite, or complete them; what is there stays as it is. Raises FedkitError.

        aggregator : the one who may put requests here; by default everybody may, and so everybody gets them to read.
        """
        try:
            check_email(email)
        except ValueError as error:
            what, _, remedy = str(error).partition("; ")
            raise FedkitError(what, field="email", remedy=remedy or "correct it") from error
        if app_data not in ("app_data", "api_data"):
            raise FedkitError(
                f"{app_data!r:.80} is unknown", field="app_data", remedy="app_data or api_data"
            )
        try:
            _one_spelling(Path(data_dir).expanduser() / "datasites", email)
            site = cls(Path(data_dir).expanduser().absolute(), email, app_data)
            client, box = site.client(), site.aggregator()
            for folder in (
                site.data_dir / ("apps" if app_data == "app_data" else "apis"),
                *(site.private_client, site.private_aggregator, site.public),
                *(client.request, client.running, client.done),
                *(box.launch, box.running, box.done),
            ):
                folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in it, or the home of nobody
            raise FedkitError(
                f"can't be created ({getattr(error, 'strerror', None) or error})",
                file=getattr(error, "filename", None) or data_dir,
                remedy="choose a data dir that you may write to",
            ) from error
        askers = [aggregator] if aggregator is not None else []
        write_permissions(site.root, email, shown=["public/**"] if askers else [], keep=True)
        if not Permissions(site.datasites).may("*", "read", f"{email}/public/any"):
            write_permissions(site.public, email, read=["*"], keep=True)
        write_permissions(client.request, email, write=askers or ["*"], keep=True)
        sign = client.request / OLDEST  # all of a client that the real aggregator looks for
        if not sign.is_file():
            named = {right: askers or ["GLOBAL"] for right in ("read", "create", "write")}
            write_json(sign, {"admin": [site.email], **named})
        return site

    @classmethod
    def load(cls, config_path: Path | None = None, app_data: AppData | None = None) -> Datasite:
        """The datasite of a `config.json`; `app_data` is found from the folders where it isn't given."""
        config = ClientConfig.load(config_path)
        site = cls(config.data_dir.absolute(), config.email, app_data or "app_data")
        if app_data is None and not site.client().path.is_dir():
            old = cls(site.data_dir, site.email, "api_data")
            site = old if old.client().path.is_dir() else site
        return site

    @property
    def datasites(self) -> Path:
        """Everything that syncs: one folder per e-mail."""
        return self.data_dir / "datasites"

    @property
    def root(self) -> Path:
        """This person's own datasite."""
        return self.datasites / self.email

    @property
    def public(self) -> Path:
        """What everybody may read."""
        return self.root / "public"

    @property
    def private_client(self) -> Path:
        """Training data: outside `datasites/`, so no sync ever sees it."""
        return self.data_dir / "private" / "fl_client"

    @property
    def private(self) -> PrivateData:
        """The training data in it: `put` and `load` them."""
        return PrivateData(self.private_client)

    @property
    def data_files(self) -> list[Path]:
        """The training data that lie there, by name."""
        return self.private.files

    @property
    def private_aggregator(self) -> Path:
        """The aggregator's test set."""
        return self.data_dir / "private" / "fl_aggregator"

    @property
    def own(self) -> Path:
        """fedkit's own scratch folder (locks, unfinished folders); never synced, safe to delete when nothing runs."""
        return self.data_dir / ".fedkit"

    @cached_property
    def road(self) -> Road:
        """On which road its files reach the others, as it was at the first look. Raises FedkitError."""
        return road_of(self.data_dir)

    def client(self, email: str | None = None) -> ClientBox:
        """The client mailbox of `email` (default: this datasite's own) as it lies in this data dir."""
        who = email or self.email
        return ClientBox(
            self.datasites / who / self.app_data / "fl_client", self._home(self.private_client, who)
        )

    def aggregator(self, email: str | None = None) -> AggregatorBox:
        """The aggregator mailbox of `email` (default: this datasite's own) as it lies in this data dir."""
        who = email or self.email
        return AggregatorBox(
            self.datasites / who / self.app_data / "fl_aggregator",
            self._home(self.private_aggregator, who),
        )

    def _home(self, private: Path, who: str) -> Path | None:
        own = who == self.email and self.road.others_can_write
        return private / "projects" / self.email if own else None

    def public_results(self, project: str, email: str | None = None) -> Path:
        """Where an aggregator publishes a project's metrics."""
        return self.datasites / (email or self.email) / "public" / "fl" / project


def _one_spelling(datasites: Path, email: str) -> None:
    """Raises FedkitError where the e-mail would share another one's folder on some file system."""
    other = next((path for path in entries(datasites) if folded(path.name) == folded(email)), None)
    if other is not None and other.name != email:
        raise FedkitError(
            f"differs from {other.name} in upper and lower case only, and on many machines that is one folder",
            file=other,
            field="email",
            remedy=f"write it as {other.name}, or choose another data dir",
        )
