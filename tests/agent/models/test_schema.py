from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.models.schema import closed_schema


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Plain(Closed):
    kind: Literal["plain"]
    title: Literal[16, 32] = 16
    default: bool = False


class Other(Closed):
    kind: Literal["other"]
    depth: int | None = Field(default=None, ge=1, description="stages")


class Arguments(Closed):
    configs: list[Annotated[Plain | Other, Field(discriminator="kind")]] = Field(min_length=1, max_length=32)


def every(node):
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from every(value)
    elif isinstance(node, list):
        for value in node:
            yield from every(value)


def test_strict_mode_takes_it():
    schema = closed_schema(Arguments.model_json_schema())
    objects = [node for node in every(schema) if node.get("type") == "object"]
    assert len(objects) == 3
    for node in objects:
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])
    keys = {key for node in every(schema) for key in node if node not in [o["properties"] for o in objects]}
    assert not keys & {"$ref", "$defs", "default", "const", "oneOf", "discriminator"}


def test_fields_keep_their_names_bounds_and_words():
    plain, other = closed_schema(Arguments.model_json_schema())["properties"]["configs"]["items"]["anyOf"]
    assert set(plain["properties"]) == {"kind", "title", "default"}
    assert plain["properties"]["title"]["enum"] == [16, 32]
    assert plain["properties"]["kind"]["enum"] == ["plain"]
    assert other["properties"]["depth"]["description"] == "stages"
    assert {"minimum": 1, "type": "integer"} in other["properties"]["depth"]["anyOf"]


def test_the_length_of_a_text_is_said_in_words():
    class Note(Closed):
        text: str = Field(min_length=3, max_length=9, description="a word")

    (field,) = closed_schema(Note.model_json_schema())["properties"].values()
    assert field == {"type": "string", "description": "a word (3 to 9 characters)"}


def test_no_arguments_are_a_closed_object():
    class Nothing(Closed):
        pass

    schema = closed_schema(Nothing.model_json_schema())
    assert schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
