"""The feature contract: which columns every lender brings, what they mean, and what is predicted.

People write and read it as TOML, the coordinator signs its canonical payload; see docs/feature-contract.md.
"""

from jointrisk.federation.contract.terms import (
    CONFIRM_EN,
    CONFIRM_ZH,
    CONTRACT,
    FORMAT,
    MOST_VERSIONS,
    Feature,
    FeatureContract,
    Kind,
    Range,
    Reason,
    Target,
    contract_from_payload,
)
from jointrisk.federation.contract.toml import contract_from_toml, contract_to_toml

__all__ = [
    "CONFIRM_EN",
    "CONFIRM_ZH",
    "CONTRACT",
    "FORMAT",
    "MOST_VERSIONS",
    "Feature",
    "FeatureContract",
    "Kind",
    "Range",
    "Reason",
    "Target",
    "contract_from_payload",
    "contract_from_toml",
    "contract_to_toml",
]
