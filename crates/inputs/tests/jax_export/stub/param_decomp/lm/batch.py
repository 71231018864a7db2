"""Stands in for the code's own module of this name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LMBatchWithDocuments:
    token_ids: object

    @classmethod
    def from_unsegmented_sequences(cls, token_ids):
        return cls(token_ids)
