"""Buckets of S3, Google Cloud Storage and Azure, by obstore (extras ``s3``, ``gs``, ``azure``).

The options are DVC's, and so are the places credentials come from: the remote's options, the environment, profiles of
``~/.aws``, what the machine itself is allowed to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from pyexp.errors import MissingObject, RemoteError
from pyexp.objects import awsprofile
from pyexp.objects.contract import Transient
from pyexp.objects.options import flag, seconds, truth
from pyexp.objects.remote import Found

_SECRETS = ("secret_access_key", "session_token", "account_key", "sas_token", "connection_string", "client_secret")
# Where keys are looked for when they were found nowhere else: the machine's own account, a login of Azure's tool.
_LAST_PLACES = ("169.254.169.254", "metadata.google.internal", "az account get-access-token")
_REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
# Longer tries are ours to make: they can be told of, and interrupted.
_RETRY = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=40), "max_backoff": timedelta(seconds=3), "base": 2},
}


def open_files(url: str, options: Mapping[str, str]) -> BucketFiles:
    """The bucket (and the path in it) that a URL names; raises RemoteError for options that make no sense."""
    parts = urlsplit(url)
    make = {"s3": _s3, "gs": _gs, "gcs": _gs, "azure": _azure, "abfs": _azure, "az": _azure}[parts.scheme]
    if not parts.hostname:
        raise RemoteError(f"'{url}' names no bucket", hint=f"write {parts.scheme}://BUCKET/PATH")
    prefix = parts.path.strip("/") or None
    shown = f"{parts.scheme}://{parts.hostname}/{prefix or ''}"
    client: dict[str, Any] = {"connect_timeout": timedelta(seconds=seconds(options, "connect_timeout", 10))}
    client["timeout"] = timedelta(seconds=seconds(options, "read_timeout", 120))
    _tls(options, client)
    with _explained(shown, options):
        store = make(parts.netloc.rpartition("@")[2], prefix, options, client)
    return BucketFiles(store, shown, options)


def _tls(options: Mapping[str, str], client: dict[str, Any]) -> None:
    verify = options.get("ssl_verify", "true")
    if truth(verify) is False:
        client["allow_invalid_certificates"] = True
    elif truth(verify) is None:  # a file of certificates
        try:
            client["root_certificate"] = Path(options["base"], os.path.expanduser(verify)).read_bytes()
        except OSError as error:
            raise RemoteError(f"ssl_verify: '{verify}' cannot be read: {error.strerror}") from error


def _store(kind: Any, bucket: str, prefix: str | None, client: dict[str, Any], config: dict[str, Any]) -> Any:
    return kind(bucket, prefix=prefix, client_options=client, retry_config=_RETRY, **config)


def _s3(bucket: str, prefix: str | None, options: Mapping[str, str], client: dict[str, Any]) -> Any:
    unknown = [name for name in options if name.startswith(("acl", "grant_"))]
    if unknown:
        raise RemoteError(f"option '{unknown[0]}' is not supported", hint="set the bucket's own policy instead")
    config: dict[str, Any] = {}
    profile = awsprofile.find(options)
    for name in ("access_key_id", "secret_access_key", "session_token", "region"):
        value = options.get(name) or profile.get(name)
        if value:
            config[name] = value
    endpoint = options.get("endpointurl") or profile.get("endpoint_url")
    if endpoint:
        config["endpoint"] = endpoint if "://" in endpoint else f"https://{endpoint}"
        client["allow_http"] = config["endpoint"].startswith("http://")
    if not flag(options, "use_ssl", True):
        client["allow_http"] = True
    if flag(options, "allow_anonymous_login"):
        config["skip_signature"] = True
    for ours, theirs in (("sse", "server_side_encryption"), ("sse_kms_key_id", "sse_kms_key_id")):
        if options.get(ours):
            config[theirs] = options[ours]
    if options.get("sse_customer_key"):
        config["sse_customer_key_base64"] = options["sse_customer_key"]
    provider = awsprofile.provider(profile)
    extra = {"credential_provider": provider} if provider is not None else {}
    return _store(S3Store, bucket, prefix, client, {**config, **extra})


def _gs(bucket: str, prefix: str | None, options: Mapping[str, str], client: dict[str, Any]) -> Any:
    config: dict[str, Any] = {}
    if options.get("credentialpath"):
        config["application_credentials"] = os.path.join(options["base"], os.path.expanduser(options["credentialpath"]))
    if options.get("endpointurl"):
        config["base_url"] = options["endpointurl"]
        client["allow_http"] = options["endpointurl"].startswith("http://")
    if flag(options, "allow_anonymous_login"):
        config["skip_signature"] = True
    return _store(GCSStore, bucket, prefix, client, config)


def _azure(container: str, prefix: str | None, options: Mapping[str, str], client: dict[str, Any]) -> Any:
    text = options.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING") or ""
    known = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    environ = os.environ
    found = {
        "account_name": options.get("account_name")
        or known.get("AccountName")
        or environ.get("AZURE_STORAGE_ACCOUNT")
        or environ.get("AZURE_STORAGE_ACCOUNT_NAME"),
        "account_key": options.get("account_key") or known.get("AccountKey") or environ.get("AZURE_STORAGE_KEY"),
        "sas_key": options.get("sas_token")
        or known.get("SharedAccessSignature")
        or environ.get("AZURE_STORAGE_SAS_TOKEN"),
        "endpoint": options.get("endpointurl") or known.get("BlobEndpoint"),
        "tenant_id": options.get("tenant_id"),
        "client_id": options.get("client_id"),
        "client_secret": options.get("client_secret"),
    }
    config: dict[str, Any] = {name: value for name, value in found.items() if value}
    if not config.get("account_name"):
        raise RemoteError("no account is named", hint="pyexp remote modify NAME account_name ACCOUNT")
    client["allow_http"] = str(config.get("endpoint", "")).startswith("http://")
    if flag(options, "allow_anonymous_login"):
        config["skip_signature"] = True
    elif not {"account_key", "sas_key", "client_secret"} & config.keys():
        config["use_azure_cli"] = not {"AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"} & environ.keys()
    return _store(AzureStore, container, prefix, client, config)


@contextmanager
def _explained(shown: str, options: Mapping[str, str], key: str | None = None) -> Iterator[None]:
    """Turns what obstore raises into our errors, in one line without secrets."""
    try:
        yield
    except FileNotFoundError as error:
        if key is None:
            raise RemoteError(f"{shown}: there is no such bucket", hint="make it, or change the URL") from error
        raise MissingObject(f"'{key}' is not in {shown}") from error
    except _REFUSED as error:
        raise RemoteError(
            f"{shown} refuses us: {_text(error, options)}", hint="see the remote's credentials"
        ) from error
    except exceptions.GenericError as error:
        text = _text(error, options)
        if "NoSuchBucket" in text or "ContainerNotFound" in text:
            raise RemoteError(f"{shown}: there is no such bucket", hint="make it, or change the URL") from error
        if any(place in text for place in _LAST_PLACES):
            raise RemoteError(
                f"{shown}: there are no credentials", hint="see docs/remotes.md, or the documentation of the place"
            ) from error
        if "credentials" in text.lower() or "InvalidAccessKeyId" in text or "SignatureDoesNotMatch" in text:
            raise RemoteError(f"{shown} refuses us: {text}", hint="see the remote's credentials") from error
        raise Transient(f"{shown} cannot be used: {text}", hint="see the URL and the network") from error
    except (exceptions.BaseError, ValueError) as error:
        raise RemoteError(f"{shown}: {_text(error, options)}", hint="see the remote's options") from error


def _text(error: BaseException, options: Mapping[str, str]) -> str:
    """The gist of obstore's many lines; its debug form, after an empty line, is left out."""
    text = " ".join(str(error).partition("\n\n")[0].split())
    for name in _SECRETS:
        if options.get(name):
            text = text.replace(options[name], "***")
    return text[:400]


class BucketFiles:
    """``remote.Files`` in a bucket."""

    lists = True
    jobs = 32
    stamp_field = "etag"

    def __init__(self, store: Any, shown: str, options: Mapping[str, str]) -> None:
        self._store = store
        self._options = dict(options)
        self.shown = shown

    def _explained(self, key: str | None = None) -> Any:
        return _explained(self.shown, self._options, key)

    def list(self, prefix: str) -> Iterator[Found]:
        first = None
        with self._explained():
            for page in obstore.list(self._store, prefix=prefix.rstrip("/") or None):
                for item in page:
                    if item["path"] == first:
                        raise RemoteError(f"{self.shown}: its listing goes in circles", hint="see the remote's URL")
                    first = first or item["path"]
                    yield Found(
                        item["path"], item["size"], item["last_modified"].timestamp(), self._bare(item["e_tag"])
                    )

    def _bare(self, stamp: str | None) -> str:
        """An ETag as DVC writes it: without quotes, but for Azure's."""
        return (stamp or "") if self.shown.startswith("azure:") else (stamp or "").strip('"')

    def stamp(self, key: str) -> str | None:
        with self._explained(key):
            return self._bare(obstore.head(self._store, key)["e_tag"]) or None

    def size(self, key: str) -> int | None:
        try:
            with self._explained(key):
                return int(obstore.head(self._store, key)["size"])
        except MissingObject:
            return None

    def read(self, key: str, sink: Callable[[bytes], object]) -> None:
        with self._explained(key):
            pieces = iter(obstore.get(self._store, key).stream(min_chunk_size=1 << 20))
        while True:
            with self._explained(key):
                piece = next(pieces, None)
            if piece is None:
                return
            # Outside: what the sink raises is not the bucket's doing.
            sink(bytes(piece))

    def write(self, key: str, data: bytes) -> None:
        with self._explained():
            obstore.put(self._store, key, data, use_multipart=False)

    def upload(self, key: str, path: str) -> None:
        with self._explained():
            obstore.put(self._store, key, Path(path))

    def move(self, key: str, to: str) -> None:
        with self._explained(key):
            obstore.rename(self._store, key, to)

    def remove(self, key: str) -> None:
        with suppress(MissingObject), self._explained(key):
            obstore.delete(self._store, key)

    def close(self) -> None:
        pass
