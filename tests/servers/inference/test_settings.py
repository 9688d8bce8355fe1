"""The inference server's own options."""

import pytest
from pydantic import ValidationError

from servers.inference.settings import DEFAULT_PORTS, InferenceSettings


def test_the_default_ports_are_those_of_the_contract() -> None:
    """5005 first, then up to 5014."""
    assert (DEFAULT_PORTS[0], DEFAULT_PORTS[-1]) == (5005, 5014)


@pytest.mark.parametrize(
    "aliases",
    [
        ["gpt-embed"],
        {"gpt-embed": "all-MiniLM-L6-v2"},
        {"gpt-embed": "sentence-transformers/all-MiniLM-L6-v2"},
    ],
)
def test_aliases_are_a_list_of_names_or_a_mapping_to_the_model(aliases: object) -> None:
    """Both ways of writing them in config.yaml mean the same."""
    settings = InferenceSettings.model_validate({"aliases": aliases})
    assert settings.alias_names() == ("gpt-embed",)


def test_an_alias_of_another_model_is_refused() -> None:
    """One server serves one model: an alias to something else would give wrong vectors."""
    with pytest.raises(ValidationError, match="'other'"):
        InferenceSettings.model_validate({"aliases": {"gpt-embed": "other"}})


def test_a_model_s_folder_can_have_aliases() -> None:
    """The alias may name the `model` option as it is written."""
    settings = InferenceSettings.model_validate({"model": "/models/mine", "aliases": {"a": "/models/mine"}})
    assert settings.alias_names() == ("a",)
