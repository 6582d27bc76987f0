"""Grey fields that are computed on a periodic grid (reactions, automata, fractals, strokes, dots).

They are read at any coordinates. ``methods/formula_backbone/fields.py`` describes the arguments.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from methods.formula_backbone.fields import Plane, read_grid

_SIDE = 128
_GROWN = 64


def reaction(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Gray-Scott reaction and diffusion: spots, stripes, mazes. Feed and removal rate belong to the class."""
    feeds = (
        (0.022, 0.051),
        (0.030, 0.057),
        (0.035, 0.065),
        (0.029, 0.055),
        (0.042, 0.061),
        (0.050, 0.062),
        (0.026, 0.055),
    )
    feed, kill = feeds[int(fixed.integers(len(feeds)))]
    feed, kill = feed + fixed.uniform(-0.001, 0.001), kill + fixed.uniform(-0.0007, 0.0007)
    u, v = np.ones((_GROWN, _GROWN)), np.zeros((_GROWN, _GROWN))
    for corner in free.integers(0, _GROWN, (24, 2)):
        rows, columns = (np.arange(p, p + 5) % _GROWN for p in corner)
        u[np.ix_(rows, columns)], v[np.ix_(rows, columns)] = 0.5, 0.25
    v += free.uniform(0, 0.02, v.shape)
    for _ in range(1400):
        reacted = u * v * v
        u += 0.16 * _laplacian(u) - reacted + feed * (1 - u)
        v += 0.08 * _laplacian(v) + reacted - (feed + kill) * v
    return read_grid(np.kron(v, np.ones((2, 2))), y, x)


def automaton(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """The mean of the last states of a binary automaton on 3x3 neighbourhoods. Its table belongs to the class."""
    table = fixed.random(18) < fixed.uniform(0.3, 0.6)  # by own state and number of living neighbours
    state = free.random((_GROWN, _GROWN)) < 0.5
    total = np.zeros((_GROWN, _GROWN))
    for step in range(24):
        around = sum(np.roll(state, (dy, dx), (0, 1)).astype(int) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)
        state = table[9 * state.astype(int) + around]
        if step >= 18:
            total += state
    return read_grid(np.kron(total, np.ones((2, 2))), y, x)


def attractor(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """The density of the attractor of an iterated function system, tiled.

    Its two to four contractions belong to the class.
    """
    count = int(fixed.integers(2, 5))
    maps = []
    for _ in range(count):
        turn, bend = np.linalg.qr(fixed.standard_normal((2, 2)))[0], np.linalg.qr(fixed.standard_normal((2, 2)))[0]
        maps.append((turn @ np.diag(fixed.uniform(0.3, 0.85, 2)) @ bend, fixed.uniform(-1, 1, 2)))
    points = free.uniform(-1, 1, (4000, 2))
    density = np.zeros((_SIDE, _SIDE))
    for step in range(28):
        chosen = free.integers(0, count, len(points))
        for k, (linear, shift) in enumerate(maps):
            mine = chosen == k
            points[mine] = points[mine] @ linear.T + shift
        if step >= 6:
            low, high = np.quantile(points, [0.01, 0.99], axis=0)
            cell = ((points - low) / np.maximum(high - low, 1e-9) * (_SIDE - 1)).astype(int)
            inside = ((cell >= 0) & (cell < _SIDE)).all(axis=1)
            np.add.at(density, tuple(cell[inside].T), 1.0)
    return read_grid(np.log1p(density), y, x)


def strokes(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Many straight or bent strokes. Length, width, number and spread of directions belong to the class."""
    number, length, width = int(fixed.integers(20, 160)), fixed.uniform(8, 60), int(fixed.integers(1, 5))
    angle, spread, bend = fixed.uniform(0, np.pi), fixed.choice([0.05, 0.3, np.pi]), fixed.uniform(-0.8, 0.8)
    image = Image.new("L", (_SIDE, _SIDE))
    draw = ImageDraw.Draw(image)
    for _ in range(number):
        at, direction = free.uniform(0, _SIDE, 2), angle + free.uniform(-spread, spread)
        steps = np.arange(6) / 5
        turned = direction + bend * steps
        path = at + np.cumsum(np.stack([np.cos(turned), np.sin(turned)], axis=1) * length / 5, axis=0)
        tone = int(free.integers(90, 256))
        for dy in (0, -_SIDE):
            for dx in (0, -_SIDE):  # a stroke that leaves at one side enters at the other
                draw.line([(px + dx, py + dy) for px, py in path], fill=tone, width=width)
    return read_grid(np.asarray(image, dtype=np.float64), y, x)


def dots(fixed: np.random.Generator, free: np.random.Generator, y: Plane, x: Plane) -> Plane:
    """Discs, rings or squares, on a lattice or scattered. Size, shape and order belong to the class."""
    pitch, share, shape = int(fixed.choice([8, 16, 32])), fixed.uniform(0.2, 0.48), int(fixed.integers(0, 3))
    disorder, kept = fixed.choice([0.0, 0.15, 0.6]), fixed.uniform(0.5, 1.0)
    image = Image.new("L", (_SIDE, _SIDE))
    draw = ImageDraw.Draw(image)
    for row in range(_SIDE // pitch):
        for column in range(_SIDE // pitch):
            if free.random() > kept:
                continue
            cy, cx = pitch * (np.array([row, column]) + 0.5 + free.uniform(-disorder, disorder, 2))
            radius = pitch * share * free.uniform(1 - disorder, 1)
            box, tone = (cx - radius, cy - radius, cx + radius, cy + radius), int(free.integers(140, 256))
            if shape == 0:
                draw.ellipse(box, fill=tone)
            elif shape == 1:
                draw.ellipse(box, outline=tone, width=2)
            else:
                draw.rectangle(box, fill=tone)
    return read_grid(gaussian_filter(np.asarray(image, dtype=np.float64), 0.6, mode="wrap"), y, x)


def _laplacian(field: Plane) -> Plane:
    return np.roll(field, 1, 0) + np.roll(field, -1, 0) + np.roll(field, 1, 1) + np.roll(field, -1, 1) - 4 * field
