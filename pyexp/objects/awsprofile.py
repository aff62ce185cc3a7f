"""Credentials as Amazon's own tools find them: options, environment, profiles in ``~/.aws``."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from typing import Any

from pyexp.errors import RemoteError

_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint_url",
}
# What only Amazon's own library can make credentials of.
_DYNAMIC = ("role_arn", "sso_session", "sso_start_url", "credential_process", "login_session")


def find(options: Mapping[str, str]) -> dict[str, str]:
    """Keys, region and endpoint of the profile that applies.

    Keys among the options come first, then a profile that is named there, then keys of the environment (which obstore
    reads itself), then the profile AWS_PROFILE or ``default``. A profile whose keys must be fetched from somewhere is
    given back under ``dynamic``. Raises RemoteError for a named profile that does not exist.
    """
    environ = os.environ
    named = options.get("profile") or environ.get("AWS_PROFILE")
    sections = _read(options, named or "default")
    if named and not sections:
        raise RemoteError(f"there is no AWS profile '{named}'", hint="see ~/.aws/config and ~/.aws/credentials")
    found = {ours: sections[theirs] for theirs, ours in _NAMES.items() if theirs in sections}
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region:
        found["region"] = region
    elsewhere = options.get("access_key_id") or (environ.get("AWS_ACCESS_KEY_ID") and not options.get("profile"))
    if elsewhere:
        return {name: value for name, value in found.items() if name in ("region", "endpoint_url")}
    if "access_key_id" not in found and any(name in sections for name in _DYNAMIC):
        found["dynamic"] = named or "default"
    return found


def _read(options: Mapping[str, str], name: str) -> dict[str, str]:
    """The profile's entries: those of the credentials file over those of the configuration file."""
    merged: dict[str, str] = {}
    for option, variable, default, section in (
        ("configpath", "AWS_CONFIG_FILE", "~/.aws/config", name if name == "default" else f"profile {name}"),
        ("credentialpath", "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", name),
    ):
        path = options.get(option) or os.environ.get(variable) or default
        path = os.path.join(options.get("base", ""), os.path.expanduser(path))
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            with open(path, encoding="utf-8") as file:
                parser.read_file(file)
        except FileNotFoundError as error:
            if options.get(option):
                raise RemoteError(f"{option}: there is no file '{path}'") from error
            continue
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            raise RemoteError(f"'{path}' cannot be read as an AWS file", hint="see: aws configure list") from error
        if parser.has_section(section):
            merged.update(parser.items(section))
    return merged


def provider(profile: Mapping[str, str]) -> Any:
    """What fetches credentials for a profile with a role, single sign-on or a process; None when none is needed."""
    if "dynamic" not in profile:
        return None
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise RemoteError(
            f"the AWS profile '{profile['dynamic']}' takes its keys from a role, sign-on or process,"
            " which needs the package 'boto3'",
            hint="pip install boto3",
        ) from error
    return Boto3CredentialProvider(boto3.Session(profile_name=profile["dynamic"]))
