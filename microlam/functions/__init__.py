"""The functions of a folder: which there are, what code each runs now, and how a save becomes new code.

Reading order: reading (one file) → listing (the folder) → discovery (the decision) → registry (the versions that live).
"""
from __future__ import annotations

from microlam.functions.registry import Function, Functions

__all__ = ["Function", "Functions"]
