"""Runs in an environment of SyftBox 0.4.0: asks its own code, as its server does, who may do what.

Reads a list of cases from standard input, as JSON: {"files": {path: text}, "paths": [path], "users": [e-mail]}; paths are
relative to the datasites folder, and permission files come in the order in which they were uploaded. Answers with one list
a case: null where SyftBox does not load a file, else for each path and user whether the file is listed for that user, and
what of read, create, write and admin that user is answered.
"""

import datetime
import json
import sys
from pathlib import Path

from syftbox.lib.permissions import ComputedPermission, PermissionType, SyftPermission
from syftbox.server.db import db
from syftbox.server.db.schema import get_db
from syftbox.server.models.sync_models import FileMetadata

RIGHTS = [PermissionType[name] for name in ("READ", "CREATE", "WRITE", "ADMIN")]


def answer(case):
    try:
        files = [SyftPermission.from_bytes(t.encode(), path) for path, t in case["files"].items()]
    except Exception:  # its server answers with an error
        return None
    connection = get_db(":memory:")
    for path in case["paths"]:
        known = {"hash": "", "signature": "", "last_modified": datetime.datetime(2025, 1, 1)}
        db.save_file_metadata(connection, FileMetadata(path=Path(path), **known))
    for file in files:
        db.set_rules_for_permfile(connection, file)
    found = []
    listed = {
        user: {str(m.path) for m in db.get_filemetadata_with_read_access(connection, user)}
        for user in case["users"]
    }
    for path in case["paths"]:
        rules = db.get_rules_for_path(connection, Path(path))
        for user in case["users"]:
            held = ComputedPermission.from_user_rules_and_path(rules, user, Path(path))
            found.append([path in listed[user], *(held.has_permission(right) for right in RIGHTS)])
    connection.close()
    return found


json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
