"""AWS Lambda: one function of an image, its published versions, and the alias by which it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelloop.cloud.aws.account import Account, asking, ensure, if_there
from labelloop.errors import CloudError
from labelloop.types import Json

LATEST = "$LATEST"


@dataclass(frozen=True, slots=True)
class FunctionState:
    """A function, or a published version of it: its number, whether it is ``ready`` to be called, else why not.

    ``busy``: it is being made or changed. ``note`` is its description.
    """

    number: str
    note: str
    busy: bool
    ready: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AliasState:
    """Where an alias leads: to the version ``number``, and with a ``share`` (0 to 1) of the calls to ``other``."""

    number: str
    other: str = ""
    share: float = 0.0
    note: str = ""


class Function:
    """One function of an account, by its name. Every method raises CloudError or one of its kinds."""

    def __init__(self, account: Account, name: str) -> None:
        self.account, self.name = account, name

    @property
    def _client(self) -> Any:
        return self.account.client("lambda")

    def look(self, number: str = LATEST) -> FunctionState | None:
        """Look at the function as it is being changed, or at a published version; None where there is none."""
        found = if_there(
            f"function {self.name} in {self.account.region}",
            lambda: self._client.get_function_configuration(FunctionName=self.name, Qualifier=number),
        )
        return None if found is None else _state(found)

    def image(self) -> str:
        """Name the image of the function as it is being changed."""
        with asking(f"the image of function {self.name}"):
            found = self._client.get_function(FunctionName=self.name)
        return str(found["Code"].get("ImageUri", ""))

    def create(self, image: str, wanted: Json) -> None:
        """Begin to make the function, unless it is there; ``wanted`` is what UpdateFunctionConfiguration takes, too."""
        ensure(
            f"function {self.name}",
            lambda: self._client.get_function_configuration(FunctionName=self.name),
            lambda: self._client.create_function(
                FunctionName=self.name, PackageType="Image", Code={"ImageUri": image}, **wanted
            ),
        )

    def configure(self, wanted: Json) -> None:
        """Begin to change its configuration."""
        with asking(f"the configuration of function {self.name}"):
            self._client.update_function_configuration(FunctionName=self.name, **wanted)

    def use_image(self, image: str) -> None:
        """Begin to change its image."""
        with asking(f"the image of function {self.name}"):
            self._client.update_function_code(FunctionName=self.name, ImageUri=image)

    def publish(self, note: str) -> str:
        """Keep the function as it is under a number, and give that; where nothing has changed, the last one."""
        with asking(f"a version of function {self.name}"):
            return str(self._client.publish_version(FunctionName=self.name, Description=note)["Version"])

    def versions(self) -> list[FunctionState]:
        """Give the published versions, oldest first; how they stand ``look`` says."""
        with asking(f"the versions of function {self.name}"):
            pages = self._client.get_paginator("list_versions_by_function").paginate(FunctionName=self.name)
            found = [_state(one) for page in pages for one in page["Versions"] if one["Version"] != LATEST]
        return sorted(found, key=lambda one: int(one.number))

    def delete(self, number: str) -> None:
        """Take a published version away, if it is there."""
        told = f"the end of version {number} of function {self.name}"
        if_there(told, lambda: self._client.delete_function(FunctionName=self.name, Qualifier=number))

    def alias(self, name: str) -> AliasState | None:
        """Look at an alias; None where there is none."""
        found = if_there(f"alias {name} of function {self.name}", lambda: self._get_alias(name))
        if found is None:
            return None
        weights = (found.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        other, share = next(iter(weights.items()), ("", 0.0))
        return AliasState(found["FunctionVersion"], other, float(share), found.get("Description", ""))

    def lead(self, name: str, wanted: AliasState) -> None:
        """Let an alias lead where it should; it is made where there is none."""
        told: dict[str, Any] = {
            "FunctionName": self.name,
            "Name": name,
            "FunctionVersion": wanted.number,
            "Description": wanted.note[:256],
            "RoutingConfig": {"AdditionalVersionWeights": {wanted.other: wanted.share} if wanted.other else {}},
        }
        what = f"alias {name} of function {self.name}"
        if not ensure(what, lambda: self._get_alias(name), lambda: self._client.create_alias(**told)):
            with asking(what):
                self._client.update_alias(**told)

    def _get_alias(self, name: str) -> Json:
        found: Json = self._client.get_alias(FunctionName=self.name, Name=name)
        return found

    def url(self, alias: str) -> str:
        """Give the URL of an alias; empty where it has none."""
        return str(self._url(alias).get("FunctionUrl", ""))

    def open_url(self, alias: str, *, public: bool) -> None:
        """Give an alias a URL, unless it has one: for who may invoke it, or, where it is ``public``, for everybody."""
        kind = "NONE" if public else "AWS_IAM"
        told, what = {"FunctionName": self.name, "Qualifier": alias}, f"the URL of function {self.name}"
        made = ensure(
            what,
            lambda: self._client.get_function_url_config(**told),
            lambda: self._client.create_function_url_config(**told, AuthType=kind),
        )
        if not made and self._url(alias).get("AuthType") != kind:
            with asking(what):
                self._client.update_function_url_config(**told, AuthType=kind)
        if public:
            self._permit(alias, "labelloop-url", "lambda:InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"})
            self._permit(alias, "labelloop-invoke", "lambda:InvokeFunction", {"InvokedViaFunctionUrl": True})

    def _url(self, alias: str) -> Json:
        told = f"the URL of function {self.name}"
        found = if_there(told, lambda: self._client.get_function_url_config(FunctionName=self.name, Qualifier=alias))
        return found or {}

    def _permit(self, alias: str, name: str, action: str, condition: Mapping[str, object]) -> None:
        """Let everybody do something by an alias; that they may already is no error."""
        try:
            with asking(f"the permission to call function {self.name} by its URL"):
                self._client.add_permission(
                    FunctionName=self.name,
                    Qualifier=alias,
                    StatementId=name,
                    Action=action,
                    Principal="*",
                    **condition,
                )
        except CloudError as error:
            if "ResourceConflict" not in str(error):
                raise


def _state(found: Json) -> FunctionState:
    state, change = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
    failed = state == "Failed" or change == "Failed"
    reasons = (found.get("StateReason"), found.get("LastUpdateStatusReason"))
    return FunctionState(
        found["Version"],
        found.get("Description", ""),
        busy=state in ("Pending", "Deleting") or change == "InProgress",
        ready=not failed and state in ("Active", "Inactive") and change == "Successful",
        reason="; ".join(filter(None, reasons)) if failed else "",
    )
