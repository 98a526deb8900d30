"""Reads a Triton model repository back and compares it with its ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from humar_edge.errors import ExportError
from humar_edge.export.pbtxt import from_pbtxt
from humar_edge.export.triton import CONFIG_FILE, MODEL_FILE, VERSION, tensor

Config = dict[str, list[Any]]


def check_repository(path: Path) -> list[str]:
    """Check every model's folder, names, shapes and types, and how ensembles are wired; returns the models' names.

    Raises:
        ExportError: Names the first model that is wrong, and what is.
    """
    configs = {folder.name: _read(folder) for folder in sorted(path.iterdir())}
    for name, config in configs.items():
        try:
            if config["name"] != [name]:
                raise ExportError(f"its configuration calls it {config['name'][0]}")
            if not (path / name / VERSION).is_dir():
                raise ExportError(f"there is no version folder {VERSION}")
            if config.get("platform") == ["ensemble"]:
                _check_ensemble(config, configs)
            else:
                _check_model(config, path / name / VERSION / MODEL_FILE)
        except ExportError as error:
            raise ExportError(f"model {name}: {error}") from error
        except KeyError as error:
            raise ExportError(f"model {name}: its configuration has no {error}") from error
    return list(configs)


def _read(folder: Path) -> Config:
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise ExportError(f"model {folder.name}: there is no {CONFIG_FILE}")
    return from_pbtxt(file.read_text(encoding="utf-8"))


def _check_model(config: Config, file: Path) -> None:
    import onnx

    if not file.is_file():
        raise ExportError(f"there is no {file.name}")
    graph = onnx.load(str(file)).graph
    (max_batch,) = config["max_batch_size"]
    for side, values in (("input", graph.input), ("output", graph.output)):
        wanted = {}
        for value in values:
            first = value.type.tensor_type.shape.dim[0]
            if max_batch and first.HasField("dim_value"):
                raise ExportError(f"'{value.name}' has a batch of {first.dim_value}, the configuration asks for more")
            found = tensor(value, batched=max_batch > 0)
            wanted[value.name] = (found["data_type"], found["dims"])
        if _tensors(config, side) != wanted:
            raise ExportError(f"its {side} is {_tensors(config, side)}, the graph's is {wanted}")


def _check_ensemble(config: Config, configs: dict[str, Config]) -> None:
    """Every tensor has one origin, and the type and shape that whoever reads it expects."""
    known = _tensors(config, "input")
    for step in config["ensemble_scheduling"][0]["step"]:
        (model,) = step["model_name"]
        if model not in configs:
            raise ExportError(f"there is no model {model}")
        if configs[model]["max_batch_size"] != config["max_batch_size"]:
            raise ExportError(f"{model} has another largest batch")
        inputs, outputs = (_tensors(configs[model], side) for side in ("input", "output"))
        sources = _pairs(step["input_map"])
        if set(sources) != set(inputs):
            raise ExportError(f"{model} takes {', '.join(inputs)}, it is given {', '.join(sources)}")
        for name, source in sources.items():
            if known.get(source) != inputs[name]:
                raise ExportError(f"{model} takes {name} as {inputs[name]}, {source} is {known.get(source)}")
        known |= {target: outputs[name] for name, target in _pairs(step["output_map"]).items()}
    for name, kind in _tensors(config, "output").items():
        if known.get(name) != kind:
            raise ExportError(f"its output {name} is {kind}, the steps give {known.get(name)}")


def _tensors(config: Config, side: str) -> dict[str, tuple[str, list[int]]]:
    return {item["name"][0]: (item["data_type"][0], item["dims"]) for item in config[side]}


def _pairs(items: list[dict[str, list[str]]]) -> dict[str, str]:
    return {item["key"][0]: item["value"][0] for item in items}
