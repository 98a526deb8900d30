"""The original transformer as a teacher of light ones: the answer of its best query, in the student's units."""

from __future__ import annotations

import torch
from torch import Tensor

from humar_edge.models.blocks import cell_centres
from humar_edge.models.heads.instance import WINDOW, Instance
from humar_edge.models.heads.resample import crop
from humar_edge.models.original.uniphd import Referred
from humar_edge.training.batch import Batch
from humar_edge.training.boxes import iou
from humar_edge.training.distillation import WEIGHTS, Seen, View, compare
from humar_edge.training.losses import Decoding, candidate_targets, cell_targets
from humar_edge.training.text_cache import TextCache
from humar_edge.training.uniphd_step import ReferringUniPHD

SAME_PERSON = 0.5
"""IoU with the true box from which keypoints and mask of the teacher are those of the person to be learnt."""
CERTAIN = 1e-3
"""Scores are taken as at least this far from 0 and 1: the divergence of a student who disagrees stays bounded."""


def choice(answer: Referred, boxes: Tensor, shape: tuple[int, int], cells: Tensor) -> Tensor:
    """Logits [N,K+1] of a distribution: the score is spread over the candidates on the person, the rest is "nobody".

    Args:
        answer: N rows.
        boxes: [N,4] xyxy of the answers.
        shape: h and w of the student's map.
        cells: int64 [N,K] of the student's candidates.
    """
    known = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    people = candidate_targets(cell_targets(boxes, answer.mask > 0, known, shape), cells)
    missed = people.sum(1, keepdim=True) == 0  # the student proposes nobody there: its presence is still right
    people = torch.where(missed, 1 / people.shape[1], people)
    score = answer.score.float().clamp(CERTAIN, 1 - CERTAIN)[:, None]
    return torch.cat([score * people, 1 - score], 1).clamp(min=1e-9).log()


def heat(keypoints: Tensor, window: Instance) -> tuple[Tensor, Tensor]:
    """Heatmap logits [D,17,rows,columns] of keypoints [D,17,2] on windows, and which joints lie in them, [D,17].

    Their softmax is the Gaussian of one cell that `losses.instance_losses` makes of true keypoints.
    """
    local = (keypoints - window.corner[:, None]) / window.size[:, None]
    cells = torch.tensor([WINDOW[1], WINDOW[0]], device=local.device)
    away = (cell_centres(*WINDOW, local.device)[None, None] - local[..., None, None]) * cells[:, None, None]
    return -away.square().sum(2) / 2, ((local > 0) & (local < 1)).all(-1).float()


class OriginalTeacher:
    """A trained original network that answers the same prompts as the student.

    Its score teaches presence, so it should have seen prompts that fit nobody. Keypoints (as far as it thinks that they
    are visible) and masks count where it means the right person.

    Args:
        network: In evaluation mode, with its text encoder.
        weight: Factor of all its losses.
        token_length: Tokens per prompt.
    """

    names = tuple(WEIGHTS)

    def __init__(self, network: ReferringUniPHD, weight: float = 1.0, token_length: int = 32) -> None:
        self.network = network.eval().requires_grad_(False)
        self.texts = TextCache(network.text_encoder, token_length)
        self.weight = weight

    @torch.no_grad()
    def answer(self, batch: Batch) -> Referred:
        """The person whom the best query means, one row per prompt."""
        network, prompts, device = self.network.network, self.network.transformer.prompts, batch.image.device
        image = self.network.normalised(batch.image)
        maps = network.backbone(image)
        texts = torch.ones(len(batch.owner), dtype=torch.bool, device=device)
        texts[batch.pointed] = False
        order, found = [], []
        for rows in (texts.nonzero()[:, 0], batch.pointed):
            if not len(rows):
                continue
            own = [level[batch.owner[rows]] for level in maps]
            if rows is batch.pointed:
                unpadded = torch.zeros_like(own[2][:, 0], dtype=torch.bool)
                prompt = prompts.from_points(own[2], unpadded, batch.points)
            else:
                captions = [batch.captions[row] for row in rows.tolist()]
                words, mask, sentence = (x.to(device) for x in self.texts(captions))
                tokens, whole = prompts.project_text(words, sentence)
                prompt = prompts.from_text(tokens, mask, whole)
            order.append(rows)
            found.append(network.refer(image, own, prompt))
        back = torch.cat(order).argsort()
        return Referred(*(torch.cat(values)[back].float() for values in zip(*found, strict=True)))

    @torch.no_grad()
    def view(self, batch: Batch, decoding: Decoding) -> View:
        """The teacher's view of what the student decoded."""
        answer = self.answer(batch)
        middle, half = answer.box[:, :2], answer.box[:, 2:] / 2
        boxes = torch.cat([middle - half, middle + half], 1)
        logits = choice(answer, boxes, decoding.shape, decoding.selection.cells)
        if (window := decoding.found) is None:
            return View(logits)
        rows = decoding.rows
        trust = (iou(boxes[rows], batch.box[rows]) > SAME_PERSON).float()
        heatmaps, inside = heat(answer.keypoints[rows, :, :2], window)
        mask = crop(answer.mask[rows, None].sigmoid(), window.corner, window.size, WINDOW)[..., 0]
        joints = inside * answer.keypoints[rows, :, 2] * trust[:, None]
        return View(logits, Seen(heatmaps, joints, mask, trust))

    def losses(self, batch: Batch, decoding: Decoding) -> dict[str, Tensor]:
        """Parts of the loss, weighted."""
        return compare(decoding, self.view(batch, decoding), self.weight)
