"""A matplotlib SVG as a piece of a page: ids of its own, a description, and colours that follow the page's."""

from __future__ import annotations

import re

# What is drawn on white is lightened where the page is dark; the rest is bright enough for both.
ON_DARK = {"#0072b2": "#4ba3e3", "#7a5195": "#b795d6", "#009e73": "#25b98c", "#d55e00": "#ee7b30"}
DARK_PAGE = 0x15
_GREY = re.compile(r"#([0-9a-f]{2})\1\1\b")


def inline(svg: str, name: str, alt: str) -> str:
    """The SVG element alone, for a page that may hold several.

    Args:
        svg: as matplotlib writes it.
        name: prefixed to its ids, so that no two figures of a page share one.
        alt: what the figure is, for those who do not see it; escaped already.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<style type="text/css">.*?</style>', "", body, flags=re.DOTALL)  # it would hold for the whole page
    head, rest = body.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None, "matplotlib states the size of what it draws"
    rest = re.sub(r'\bid="', f'id="{name}-', rest)
    rest = re.sub(r'href="#', f'href="#{name}-', rest)
    rest = re.sub(r"url\(#", f"url(#{name}-", rest)
    rest = _GREY.sub(lambda found: f"var(--grey-{found[1]}, {found[0]})", rest)
    for colour in ON_DARK:
        rest = rest.replace(colour, f"var(--c{colour[1:]}, {colour})")
    links = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg"'
    return f'<svg class="chart" role="img" aria-label="{alt}" {box[0]} {links}>{rest}'


def dark_colours(svgs: str) -> str:
    """CSS custom properties for a dark page: greys turned round, colours lightened, as far as they are used."""
    greys = sorted({found[1] for found in re.finditer(r"var\(--grey-([0-9a-f]{2})", svgs)})
    turned = {grey: round(DARK_PAGE + (255 - int(grey, 16)) * (235 - DARK_PAGE) / 255) for grey in greys}
    told = [f"--grey-{grey}: #{f'{light:02x}' * 3};" for grey, light in turned.items()]
    return " ".join([*told, *(f"--c{colour[1:]}: {light};" for colour, light in ON_DARK.items())])
