"""What the modules compute, asked in the browser that runs them."""


def evaluate(page, module, expression):
    # The modules are the server's own, so the policy lets them be imported.
    return page.evaluate(f"import('{module}').then((m) => ({expression}))")


def modules_compute_what_they_say(browser):
    page = browser.page()
    browser.go(page, "")
    figures = "[0, 0.45, 0.0366338, 2.39e-4, 5.25, 52.8449, 123.456, 2590425, -0.5, 1e22, NaN].map(m.figure)"
    assert evaluate(page, "/lib/format.js", figures) == ["0", "0.4500", "0.0366", "2.39e−4", "5.2500", "52.845", "123.46", "2,590,425", "−0.5000",
                                                         "10,000,000,000,000,000,000,000", "NaN"]
    assert evaluate(page, "/lib/format.js", "[5_000, 65_000, 5_400_000, 200_000_000].map(m.duration)") == ["5 s", "1 min 05 s", "1 h 30 min", "2 d 7 h"]
    assert evaluate(page, "/lib/format.js", "[999, 1500, 12_345_678, 4e9].map(m.bytes)") == ["999 B", "1.5 kB", "12 MB", "4.0 GB"]
    assert evaluate(page, "/lib/format.js", "[m.count(1, 'run'), m.count(2000, 'run')]") == ["1 run", "2,000 runs"]

    # A moving average without its start's bias; a gap stays a gap and leaves no trace.
    smooth = evaluate(page, "/parts/series.js", "m.smooth([2, 4 / 3, NaN, 1], 0.5)")
    assert [round(value, 6) if value == value else None for value in smooth] == [2, 1.555556, None, 1.238095]
    # A million points on 400 columns: few are left, and both extremes among them.
    thinned = evaluate(page, "/parts/series.js", """(() => { const n = 1e6, xs = Array.from({ length: n }, (_, i) => i), ys = xs.map((x) => Math.sin(x / 1e4));
        ys[123456] = 50; ys[654321] = -50; const kept = m.thin(xs, ys, 0, n - 1, 400);
        return [kept.length, kept.includes(123456), kept.includes(654321), kept[0], kept.at(-1), kept.every((at, i) => i === 0 || at > kept[i - 1])]; })()""")
    assert 400 <= thinned[0] <= 1604 and thinned[1:] == [True, True, 0, 999_999, True], thinned
    assert evaluate(page, "/parts/series.js", "[[], [5], [1, 3, 9]].map((xs) => m.nearest(xs, 5))") == [-1, 0, 1]

    assert evaluate(page, "/parts/scale.js", "m.ticks(0, 1, 4)") == [0, 0.5, 1]
    assert evaluate(page, "/parts/scale.js", "m.ticks(1, 4, 6, true)") == [1, 2, 3, 4]
    assert evaluate(page, "/parts/scale.js", "m.logTicks(0.001, 1)") == [0.001, 0.01, 0.1, 1]
    assert evaluate(page, "/parts/scale.js", "[m.logarithmic(0.01, 1, 100, 0).at(0.1), m.linear(0, 10, 0, 100).back(25)]") == [50, 2.5]

    table = evaluate(page, "/parts/files.js", r"m.separated('a,b\r\n\"x, y\",\"say \"\"so\"\"\"\n3,\n', ',')")
    assert table == [["a", "b"], ["x, y", 'say "so"'], ["3", ""]]
    assert evaluate(page, "/lib/route.js", "m.list(m.joined(['a,b', '100%', 'c']))") == ["a,b", "100%", "c"]
    parsed = evaluate(page, "/lib/route.js", "(({ path, query }) => [path, query.get('q')])(m.parse(m.href(['models', 'a/b c'], { q: 'x & y' })))")
    assert parsed == [["models", "a/b c"], "x & y"]

    conditions = ["metrics.loss < 1", "params.`a b` = 'x'", "status = 'RUNNING'", "run_id in ('a')", "loss curves", "lr0=0.01", "status of things"]
    assert evaluate(page, "/parts/search.js", f"{conditions!r}.map(m.isCondition)") == [True, True, True, True, False, False, False]

    # Ten epochs of 8 batches: at batch 20 of 80 in the third epoch, from 16 s for two epochs 64 s are left, less what has passed.
    progress = evaluate(page, "/lib/progress.js", """m.progressOf({ status: 'RUNNING', start: 0, params: { epochs: '10', batch: '16' }, metrics: { seconds: 16 },
        latest: { 'train/box_loss': { step: 2, time: 16000 }, 'step/box_loss': { step: 20, time: 20000 } },
        inputs: [{ tags: [{ key: 'mlflow.data.context', value: 'training' }], dataset: { profile: '{"pictures": 120}' } }] }, 20000)""")
    assert (progress["done"], progress["epochs"], progress["share"], progress["left"], progress["quiet"]) == (2, 10, 0.25, 60_000, False), progress

    series = evaluate(page, "/lib/images.js", """m.seriesOf([{ path: 'images/a~b+step+10+timestamp+5+0b5e.png' }, { path: 'images/a~b+step+10+timestamp+5+0b5e+compressed.webp' },
        { path: 'images/a~b+step+2+timestamp+1+0c.png' }, { path: 'images/a~b+step+2+timestamp+9+0d.png' }, { path: 'images/other.png' }])""")
    assert [(one["key"], [(step["step"], step["full"], step["small"]) for step in one["steps"]]) for one in series] == [
        ("a/b", [(2, "images/a~b+step+2+timestamp+9+0d.png", None), (10, "images/a~b+step+10+timestamp+5+0b5e.png", "images/a~b+step+10+timestamp+5+0b5e+compressed.webp")])], series
    page.context.close()


def colours_are_told_apart_by_every_sight(browser):
    """The eight curves in both themes: contrast with the ground, and distance between any two, with simulated colour blindness too."""
    for theme, ground in (("light", (255, 255, 255)), ("dark", (26, 28, 31))):
        page = browser.page(theme=theme)
        browser.go(page, "")
        colours = page.evaluate("""import('/lib/dom.js').then((m) => Array.from({ length: 8 }, (_, index) => m.colour(`--c${index}`).match(/[\\d.]+/g).slice(0, 3).map(Number)))""")
        assert len(set(map(tuple, colours))) == 8, colours
        for colour in colours:
            assert contrast(colour, ground) >= 3, (theme, colour)
        for sight, matrix in SIGHTS.items():
            seen = [lab([sum(row[at] * linear[at] for at in range(3)) for row in matrix]) for linear in map(linearised, colours)]
            least = min(sum((a - b) ** 2 for a, b in zip(one, other)) ** 0.5 for index, one in enumerate(seen) for other in seen[index + 1:])
            assert least > 22, (theme, sight, least)
        page.context.close()


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009), severity 1.
SIGHTS = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linearised(colour):
    return [value / 255 / 12.92 if value / 255 <= 0.04045 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour]


def luminance(colour):
    red, green, blue = linearised(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lab(linear):
    red, green, blue = (min(1, max(0, value)) for value in linear)
    x = 0.4124 * red + 0.3576 * green + 0.1805 * blue
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = 0.0193 * red + 0.1192 * green + 0.9505 * blue
    bent = [value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x / 0.95047, y, z / 1.08883)]
    return 116 * bent[1] - 16, 500 * (bent[0] - bent[1]), 200 * (bent[1] - bent[2])
