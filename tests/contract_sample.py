"""A small feature contract for tests: a number, a category of a fixed vocabulary, one of an open one, a flag."""

from typing import Any

from jointrisk.federation.contract import FeatureContract

LABEL = "bad"


def sample_terms() -> dict[str, Any]:
    """Return the terms as plain data, to be changed at will."""
    return {
        "title": "sample",
        "minimum_rows": 4,
        "target": {
            "definition": "90 days past due within the performance window",
            "observation_window": "24 months",
            "performance_window": "12 months",
            "label_column": LABEL,
        },
        "features": [
            _feature("income", "numeric", "down", unit="USD per month", range={"low": 0, "high": 1e6}),
            _feature("purpose", "category", "none", categories=["car", "home", "it's other"]),
            _feature("branch", "category", "none"),
            _feature("has_phone", "flag", "down", missing="refused"),
        ],
    }


def sample_contract(version: int = 1, **changes: Any) -> FeatureContract:
    """Return the sample contract, with top-level terms replaced."""
    return FeatureContract.model_validate(sample_terms() | {"version": version} | changes)


def grouped_contract() -> FeatureContract:
    """Return the sample contract with three groups, the one of the phone sensitive."""
    groups = {"income": "means", "purpose": "loan", "branch": "loan", "has_phone": "contact"}
    features = [
        feature | {"group": groups[feature["name"]], "sensitive": feature["name"] == "has_phone"}
        for feature in sample_terms()["features"]
    ]
    return sample_contract(features=features)


def numeric_feature(name: str) -> dict[str, Any]:
    """Return the terms of a feature that is any number."""
    return _feature(name, "numeric", "none", unit="units")


def _feature(name: str, kind: str, direction: str, **more: Any) -> dict[str, Any]:
    reason = {"en": f"Because of {name}", "zh": f"原因 {name}"}
    return {
        "name": name,
        "kind": kind,
        "missing": "allowed",
        "direction": direction,
        "sensitive": False,
        "changeable_by_customer": False,
        "group": "sample",
        "as_of": "on the day of the application",
        "reason": reason,
    } | more
