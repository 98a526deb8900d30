"""Other bags, hats and glasses, on drawn cut-outs."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

HEIGHT, WIDTH = 200, 80
BAG = [60, 100, 78, 100, 78, 130, 60, 130]
JOINTS = {0: (40, 22), 1: (46, 18), 2: (34, 18), 3: (50, 20), 4: (30, 20), 5: (56, 50), 6: (24, 50), 11: (50, 110),
          12: (30, 110), 13: (50, 150), 14: (30, 150), 15: (50, 190), 16: (30, 190)}  # fmt: skip


def person(name, **changes):
    joints = np.zeros((17, 3))
    for index, place in JOINTS.items():
        joints[index] = (*place, 2)
    record = {
        "id": name, "file": f"cutouts/{name}.webp", "source": "ccp", "w": WIDTH, "h": HEIGHT, "split": "train",
        "keypoints": joints.reshape(-1).tolist(), "garments": [], "bag": False, "hat": False, "glasses": None,
        "bag_polygons": [],
    }  # fmt: skip
    return record | changes


def worn(part, colour, area=0.05):
    return {"name": part, "part": part, "area": area, "color": colour, "conf": 0.9, "lab": [50, 0, 0]}


@pytest.fixture
def module(tool):
    return tool("dress_people")


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "pack"
    (folder / "cutouts").mkdir(parents=True)
    people = [
        person("carrier", bag=True, bag_polygons=[BAG], garments=[worn("bag", "red")]),
        person("hatter", hat=True, garments=[worn("hat", "green")]),
        person("plain"),
        person("held_out", split="val"),
    ]
    for record in people:
        image = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        cv2.ellipse(image, (40, 22), (12, 16), 0, 0, 360, (150, 170, 200, 255), -1)
        cv2.rectangle(image, (22, 40), (58, 195), (90, 90, 90, 255), -1)
        if record["hat"]:
            cv2.rectangle(image, (24, 2), (56, 12), (0, 160, 0, 255), -1)
        for polygon in record["bag_polygons"]:
            cv2.fillPoly(image, [np.array(polygon).reshape(-1, 2)], (0, 0, 220, 255))
        cv2.imwrite(str(folder / record["file"]), image, [cv2.IMWRITE_WEBP_QUALITY, 101])
    (folder / "cutouts.json").write_text(json.dumps({"cutouts": people}))
    return folder


@pytest.fixture
def people(pack):
    return {record["id"]: record for record in json.loads((pack / "cutouts.json").read_text())["cutouts"]}


@pytest.fixture
def wardrobe(module, pack, people):
    everybody = [record for record in people.values() if record["split"] == "train"]
    return module.Wardrobe(pack, everybody, np.random.default_rng(0))


def test_similarities_take_two_points_to_two_points(module):
    rng = np.random.default_rng(0)
    for _ in range(20):
        source, target = rng.normal(size=(2, 2, 2)) * 100
        motion = module._similarity(source, target)
        np.testing.assert_allclose(source @ motion[:, :2].T + motion[:, 2], target, atol=1e-6)


def test_somebody_elses_bag_hangs_where_it_hung(wardrobe, people):
    record = people["plain"]
    image = cv2.copyMakeBorder(wardrobe.read(record), 0, 0, 0, 40, cv2.BORDER_CONSTANT)
    dressed = wardrobe.bag(image, record)
    assert [garment["color"] for garment in record["garments"]] == ["red"] and record["bag"]
    outline = np.array(record["bag_polygons"][0]).reshape(-1, 2)
    np.testing.assert_allclose([*outline.min(0), *outline.max(0)], [60, 100, 78, 130], atol=1)
    assert dressed[115, 70, 2] > 180 and dressed[115, 70, 3] > 240  # red and solid, where nothing was
    assert image[115, 70, 3] == 0


def test_an_own_bag_gets_the_colour_that_is_said(module, wardrobe, people):
    record = people["carrier"]
    dyed = wardrobe.dye(wardrobe.read(record), record)
    (bag,) = record["garments"]
    assert bag["color"] != "red"
    lab = cv2.cvtColor(dyed[115:116, 70:71, :3].astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[0, 0]
    distances = {name: np.linalg.norm(lab - np.array(colour)) for name, colour in module.DYES.items()}
    assert min(distances, key=distances.get) == bag["color"]


def test_a_hat_comes_with_its_colour_and_glasses_are_dark(wardrobe, people):
    record = people["plain"]
    image = wardrobe.read(record)
    crowned = wardrobe.hat(image, record)
    assert record["hat"] and record["garments"][0]["color"] == "green"
    assert crowned[7, 40, 1] > 120 > crowned[7, 40, 2]
    while record["glasses"] != "sunglasses":
        record["glasses"] = None
        seeing = wardrobe.glasses(image, record)
    assert seeing[18, 34, :3].max() < 60 < image[18, 34, :3].min()
    assert (seeing[100:] == image[100:]).all()


def test_variants_keep_joints_on_the_body_and_leave_the_original(wardrobe, people, tmp_path):
    before = json.dumps(people["carrier"])
    variants = [wardrobe.dress(people["carrier"], tmp_path, number) for number in range(8)]
    assert json.dumps(people["carrier"]) == before
    assert sum(variant is not None for variant in variants) > 3
    for variant in filter(None, variants):
        image = cv2.imread(str(tmp_path / f"{variant['id']}.webp"), cv2.IMREAD_UNCHANGED)
        assert image.shape[:2] == (variant["h"], variant["w"])
        joints = np.array(variant["keypoints"]).reshape(17, 3)
        x, y = joints[joints[:, 2] > 0, :2].round().astype(int).T
        assert (image[y, x, 3] > 200).all()


def test_the_larger_pack_holds_the_old_one_and_nobody_held_out(module, pack, tmp_path):
    output = tmp_path / "dressed"
    result = CliRunner().invoke(module.main, [str(pack), "--output", str(output), "--variants", "3"])
    assert result.exit_code == 0, result.output
    found = json.loads((output / "cutouts.json").read_text())["cutouts"]
    assert [record["id"] for record in found[:4]] == ["carrier", "hatter", "plain", "held_out"]
    assert len(found) > 8 and all(record["split"] == "train" for record in found[4:])
    assert all(cv2.imread(str(output / record["file"]), cv2.IMREAD_UNCHANGED) is not None for record in found)


def test_what_is_no_pack_is_refused(module, tmp_path):
    result = CliRunner().invoke(module.main, [str(tmp_path), "--output", str(tmp_path / "out")])
    assert result.exit_code == 2 and "cutouts.json" in result.output
    assert not (tmp_path / "out").exists()
