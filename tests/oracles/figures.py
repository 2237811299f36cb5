"""What can be read off a figure as it is drawn."""

import itertools

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg

from featurespace.plots.style import RC


def overlapping_texts(figure):
    """Pairs of visible texts whose boxes overlap by more than a hair, in pixels."""
    canvas = FigureCanvasAgg(figure)
    with matplotlib.rc_context(RC):
        canvas.draw()
        renderer = canvas.get_renderer()
        hidden = {
            id(tick.label1)  # a tick beyond the limits exists, but is not drawn
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for tick in axis.get_major_ticks()
            if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
        }
        texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_visible() and id(text) not in hidden]
        texts = [text for text in texts if text.get_text().strip()]
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    width, height = figure.bbox.width, figure.bbox.height
    boxes = [(name, box) for name, box in boxes if box.width > 1 and box.height > 1]
    outside = [name for name, box in boxes if box.x0 < -2 or box.y0 < -2 or box.x1 > width + 2 or box.y1 > height + 2]
    clashes = []
    for (name_a, a), (name_b, b) in itertools.combinations(boxes, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        down = min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > 1.5 and down > 1.5:
            clashes.append((name_a, name_b))
    return clashes + [("outside the page", name) for name in outside]
