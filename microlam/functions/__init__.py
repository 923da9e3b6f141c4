"""The functions: those of the folder, those created through the API and the host's own, their versions and aliases, and what code each name means now.

Reading order: reading (one file) → listing (the folder) → discovery (the decision) → folder (how a save becomes new code);
snapshot (what is kept) → rules (what may be asked) → shelves (where it is kept) → registry (what a name means) → verbs (what can be done).
"""
from __future__ import annotations

from microlam.functions.folder import PATIENCE, Function
from microlam.functions.history import revert
from microlam.functions.hosted import Hosted, HostedSettings, read_hosted
from microlam.functions.snapshot import Change, Provision, Snapshot
from microlam.functions.verbs import Functions

__all__ = ["PATIENCE", "Change", "Function", "Functions", "Hosted", "HostedSettings", "Provision", "Snapshot", "read_hosted", "revert"]
