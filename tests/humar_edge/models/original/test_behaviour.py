"""What the reference vectors do not show: padding, borders, several captions, auxiliary layers, initial weights."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from humar_edge.errors import DataError  # noqa: E402
from humar_edge.models.original.batch import pad_batch  # noqa: E402
from humar_edge.models.original.encoder import Pyramid  # noqa: E402
from humar_edge.models.original.encodings import encode_grid, encode_points, encode_words, inverse_sigmoid  # noqa: E402
from humar_edge.models.original.masks import bicubic_matrix  # noqa: E402
from humar_edge.models.original.prompts import PointPrompt, TextPrompt  # noqa: E402

CAPTIONS = torch.tensor([[3, 7, 9, 21, 5, 2], [3, 11, 2, 0, 0, 0]])
REAL = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


@pytest.fixture(scope="module")
def network(small_network):
    return small_network()


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(3, 80, 112, generator=generator), torch.randn(3, 61, 75, generator=generator)]


def run(network, *arguments, **options):
    with torch.no_grad():
        return network(*arguments, **options)


def same(outputs, others, row=0, other_row=0):
    for name in ("logits", "keypoints", "visibility", "boxes"):
        torch.testing.assert_close(outputs[name][row], others[name][other_row], atol=2e-5, rtol=1e-5, msg=name)
    torch.testing.assert_close(outputs["masks"][row], others["masks"][other_row], atol=1e-3, rtol=1e-4)


def test_padding_of_captions_changes_nothing(network, pictures):
    canvas, padding, sizes = pad_batch([pictures[0]] * 2)
    together = run(network, canvas, padding, sizes, TextPrompt(CAPTIONS, REAL))
    short = run(network, canvas[:1], padding[:1], sizes[:1], TextPrompt(CAPTIONS[1:, :3], REAL[1:, :3]))
    same(together, short, row=1)
    assert not torch.allclose(together["logits"][0], together["logits"][1], atol=1e-2)


@pytest.mark.parametrize("points", [12, 1])
def test_positional_prompts_in_padded_batches_do_not_mix(network, pictures, points):
    canvas, padding, sizes = pad_batch(pictures)
    prompt = torch.rand(2, points, 2, generator=torch.Generator().manual_seed(4)) * 60
    together = run(network, canvas, padding, sizes, PointPrompt(prompt))
    for row in range(2):
        one = slice(row, row + 1)
        same(together, run(network, canvas[one], padding[one], sizes[one], PointPrompt(prompt[one])), row=row)


def test_points_are_sampled_relative_to_the_canvas_with_aligned_corners(network, pictures):
    canvas, _, _ = pad_batch(pictures)
    pixels = torch.tensor([[[0.0, 0.0], [37.5, 20.0], [111.0, 79.0]]]).repeat(2, 1, 1)
    branches = network.transformer.prompts
    with torch.no_grad():
        level = network.backbone(canvas)[2]
        unpadded = torch.zeros_like(level[:, 0], dtype=torch.bool)
        found = branches.from_points(level, unpadded, pixels / torch.tensor([112.0, 80.0]))
        grid = (2 * pixels / torch.tensor([112.0, 80.0]) - 1)[:, None]
        expected = torch.nn.functional.grid_sample(level, grid, align_corners=True)[:, :, 0].transpose(1, 2)
        torch.testing.assert_close(found.tokens, branches.points(expected), atol=1e-4, rtol=1e-4)
        codes = encode_grid(unpadded, 64).permute(0, 3, 1, 2)
        expected = torch.nn.functional.grid_sample(codes, grid, align_corners=True)[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(found.positions, expected, atol=1e-5, rtol=1e-5)


def test_points_outside_count_as_points_on_the_border(network, pictures):
    canvas, padding, sizes = pad_batch(pictures[:1])
    outside = torch.tensor([[[-30.0, 20.0], [500.0, 40.0], [50.0, -9.0], [60.0, 900.0]]])
    border = torch.tensor([[[0.0, 20.0], [112.0, 40.0], [50.0, 0.0], [60.0, 80.0]]])
    same(
        run(network, canvas, padding, sizes, PointPrompt(outside)),
        run(network, canvas, padding, sizes, PointPrompt(border)),
    )


@pytest.mark.parametrize(
    ("height", "width", "canvas"),
    [(61, 75, (64, 80)), (80, 112, (80, 112)), (33, 97, (48, 112)), (128, 96, (128, 96))],
)
def test_any_size_fits_a_canvas_of_sixteens(network, height, width, canvas):
    images, padding, sizes = pad_batch([torch.zeros(3, height, width)])
    assert images.shape[2:] == canvas
    assert (~padding).sum() == height * width
    outputs = run(network, images, padding, sizes, TextPrompt(CAPTIONS[:1], REAL[:1]))
    assert outputs["masks"].shape == (1, 1, *canvas)
    assert all(torch.isfinite(outputs[name]).all() for name in ("logits", "keypoints", "boxes", "masks"))


def test_levels_take_their_mask_from_the_canvas_by_nearest_index():
    padding = torch.ones(1, 48, 80, dtype=torch.bool)
    padding[:, :37, :59] = False
    shapes = ((6, 10), (3, 5), (2, 3), (1, 2))
    pyramid = Pyramid.build(1, shapes, padding, torch.zeros(1))
    for (height, width), mask in zip(shapes, pyramid.paddings, strict=True):
        rows = [math.floor(row * 48 / height) for row in range(height)]
        columns = [math.floor(column * 80 / width) for column in range(width)]
        assert torch.equal(mask[0], padding[0][rows][:, columns])
    torch.testing.assert_close(pyramid.ratios[0, 0], torch.tensor([8 / 10, 5 / 6]))


def test_blank_cells_may_win_and_put_their_points_at_one(small_network, pictures):
    network = small_network(queries=5)
    head = network.transformer.proposals
    with torch.no_grad():
        blank = head.norm(head.project.bias)
        head.classes.weight.copy_(torch.stack((-blank, blank)))
    canvas, padding, sizes = pad_batch(pictures)
    seen = {}
    head.register_forward_hook(lambda module, arguments, found: seen.update(found=found, pyramid=arguments[1]))
    outputs = network(canvas, padding, sizes, TextPrompt(CAPTIONS, REAL))
    blank_cells = seen["pyramid"].padding.gather(1, seen["found"].cells)
    assert blank_cells[1].all(), "the blank cells of the padded picture have the highest score"
    assert torch.equal(outputs["proposals"]["keypoints"][1], torch.ones(5, 17, 2))
    torch.stack([outputs[name].float().sum() for name in ("logits", "keypoints", "boxes", "masks")]).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_proposals_start_from_the_cells(small_network, pictures):
    network = small_network(randomise=False)
    canvas, padding, sizes = pad_batch(pictures[:1])
    seen = {}
    network.transformer.proposals.register_forward_hook(
        lambda module, arguments, found: seen.update(found=found, pyramid=arguments[1])
    )
    outputs = run(network, canvas, padding, sizes, TextPrompt(CAPTIONS[:1], REAL[:1]))
    centres = torch.take_along_dim(seen["pyramid"].centres(), seen["found"].cells[..., None], 1)
    # Regressions start at zero: all points of a proposal lie on its cell.
    torch.testing.assert_close(outputs["proposals"]["keypoints"], centres[:, :, None].expand(-1, -1, 17, -1))


def test_auxiliary_outputs_are_those_of_a_shallower_network(small_network, network, pictures):
    shallow = small_network(decoder_layers=1)
    own = network.state_dict()
    shallow.load_state_dict({name: own[name] for name in shallow.state_dict()})
    canvas, padding, sizes = pad_batch(pictures)
    prompt = TextPrompt(CAPTIONS, REAL)
    deep, single = run(network, canvas, padding, sizes, prompt), run(shallow, canvas, padding, sizes, prompt)
    assert len(deep["auxiliary"]) == 1 and not single["auxiliary"]
    for name, value in deep["auxiliary"][0].items():
        torch.testing.assert_close(value, single[name], atol=1e-5, rtol=1e-5)


def test_inverse_sigmoid_has_a_large_epsilon():
    p = torch.tensor([-0.5, 0.0, 1e-4, 0.3, 1 - 1e-4, 1.0, 2.0])
    top = math.log(1 / 1e-3)
    expected = torch.tensor([-top, -top, math.log(1e-3 / (1 - 1e-4)), math.log(3 / 7), -math.log(1e-3 / (1 - 1e-4))])
    torch.testing.assert_close(inverse_sigmoid(p), torch.cat((expected, torch.tensor([top, top]))))


def test_encodings_put_y_first_and_count_valid_cells():
    padding = torch.tensor([[[False, False, True], [False, False, True]]])
    code = encode_grid(padding, 8)
    torch.testing.assert_close(
        code[0, 0, 1, :2], torch.tensor([math.sin(math.pi), math.cos(math.pi)]), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(code[0, 0, 0, 4], torch.tensor(math.sin(math.pi)), atol=1e-4, rtol=0)
    third = math.sin(math.pi * 20 ** (-2 / 4))
    torch.testing.assert_close(code[0, 0, 0, 2], torch.tensor(third), atol=1e-4, rtol=0)
    points = encode_points(torch.tensor([0.25, 0.5]), 4)
    torch.testing.assert_close(points, torch.tensor([0.0, -1.0, 1.0, 0.0]), atol=1e-6, rtol=0)
    words = encode_words(torch.tensor([[False, False, True]]), 2)
    torch.testing.assert_close(words[0, :, 0], torch.tensor([0.0, 0.0, 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(words[0, :, 1], torch.tensor([-1.0, 1.0, 1.0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("source", "target"), [(5, 10), (3, 10), (7, 7), (1, 4), (4, 9)])
def test_bicubic_matrix_is_the_library_resize(source, target):
    x = torch.randn(1, 1, source, 6, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(x, (target, 6), mode="bicubic")
    found = torch.from_numpy(bicubic_matrix(source, target)) @ x
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_initial_weights(small_network):
    transformer = small_network(randomise=False).transformer
    prior = -math.log(99)
    for layer in transformer.decoder.layers:
        assert layer.adjacent_matrix.abs().max() == 0
    for head in (*transformer.heads.classes, *transformer.heads.visibility, transformer.proposals.classes):
        torch.testing.assert_close(head.bias.detach(), torch.full_like(head.bias, prior))
    for mlp in (*transformer.heads.boxes, *transformer.heads.poses, transformer.proposals.keypoints):
        assert mlp.layers[-1].weight.abs().max() == 0
    limit = math.sqrt(6 / (17 + 64))
    assert 0.9 * limit < transformer.keypoint_embedding.weight.abs().max() <= limit
    assert 0.8 < transformer.level_embed.std() < 1.2


def test_gradient_reaches_selection_and_stops_between_layers(small_network, pictures):
    network = small_network()
    canvas, padding, sizes = pad_batch(pictures[:1])
    outputs = network(canvas, padding, sizes, TextPrompt(CAPTIONS[:1], REAL[:1]))
    proposals = network.transformer.proposals
    outputs["keypoints"].sum().backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in proposals.parameters())
    (outputs["proposals"]["logits"].sum() + outputs["proposals"]["keypoints"].sum()).backward()
    assert all(parameter.grad is not None for parameter in proposals.parameters())
    # Look forward twice: the last layer's points reach the pose head of the layer before.
    heads = network.transformer.heads.poses
    assert heads[0].layers[-1].weight.grad.abs().max() > 0


def test_a_batch_needs_a_picture():
    with pytest.raises(DataError, match="at least one"):
        pad_batch([])
