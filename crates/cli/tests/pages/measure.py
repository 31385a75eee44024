"""How long the pages take to show much: 1,000 runs with all their settings, a million points in one curve, a million in a hundred curves.

measure.py SERVER CHROMIUM: fills the server, then prints medians of five fresh visits each.
"""

import statistics
import sys
import time

import seed
from browser import Browser
from playwright.sync_api import expect

VISITS = 5
DRAWN = """(wanted) => new Promise((resolve) => { const look = () => {
    const found = [...document.querySelectorAll(wanted.selector)].find((one) => !wanted.text || one.textContent === wanted.text);
    if (found) requestAnimationFrame(() => resolve(performance.now())); else requestAnimationFrame(look); }; look(); })"""


def fill(server):
    start = int(time.time() * 1000) - 90 * 86_400_000
    params = {**seed.PARAMS, **{f"setting_{index}": index for index in range(80)}}
    many = server.experiment("many")
    for index in range(1000):
        run = server.run(many, f"run-{index:04}", start + index * 60_000, {**params, "seed": index})
        metrics = seed.epoch_metrics(20, start, index / 1000)
        server.log(run, metrics + [seed.metric(f"extra/{key}", key * index, 20, start) for key in range(16)])
        server.finish(run, "FINISHED", start + index * 60_000 + 50_000)
    long = server.experiment("long")
    one = server.run(long, "million", start)
    server.log(one, (seed.metric("step/box_loss", 10 / (1 + step / 50_000), step, start + step * 100) for step in range(1_000_000)))
    hundred = server.experiment("hundred")
    runs = []
    for index in range(100):
        runs.append(server.run(hundred, f"sweep-{index}", start))
        server.log(runs[-1], (seed.metric("metrics/mAP50-95B", 1 - 1 / (1 + step * (index + 1) / 100_000), step, start + step * 100) for step in range(10_000)))
    return many, long, one, runs


def visit(browser, route, selector, text=None):
    times = []
    for _ in range(VISITS):
        page = browser.page()
        page.goto(browser.address + route, wait_until="commit")
        times.append(page.evaluate(DRAWN, {"selector": selector, "text": text}))
        page.context.close()
    browser.check()
    return statistics.median(times)


def main():
    server = seed.Server(sys.argv[1])
    started = time.time()
    many, long, one, runs = fill(server)
    print(f"filled in {time.time() - started:.0f} s", flush=True)
    browser = Browser(sys.argv[2], sys.argv[1])
    first = visit(browser, f"#/experiments/{many}", ".grid tbody tr.run")
    print(f"1,000 runs, first rows: {first:.0f} ms")
    print(f"1,000 runs, all of them: {visit(browser, f'#/experiments/{many}', '.counted', '1,000 runs'):.0f} ms")
    page = browser.page()
    browser.go(page, f"#/experiments/{many}")
    expect(page.locator(".counted")).to_have_text("1,000 runs")
    took = page.evaluate("""() => new Promise((resolve) => { const field = document.querySelector('.search input'); const started = performance.now();
        field.value = 'run-09 seed=95'; field.dispatchEvent(new Event('input'));
        const look = () => document.querySelector('.counted').textContent.includes('10 of') ? requestAnimationFrame(() => resolve(performance.now() - started)) : requestAnimationFrame(look); look(); })""")
    print(f"1,000 runs, a search: {took:.0f} ms, of which 60 ms wait for the next key")
    took = page.evaluate("""() => new Promise((resolve) => { const place = document.querySelector('.scroller'); const times = []; let last = performance.now(); let step = 0;
        const next = () => { const now = performance.now(); times.push(now - last); last = now; place.scrollTop += 700; step += 1;
            if (step < 50) requestAnimationFrame(next); else { times.sort((a, b) => a - b); resolve(times[47]); } };
        document.querySelector('.search input').value = ''; document.querySelector('.search input').dispatchEvent(new Event('input')); setTimeout(() => requestAnimationFrame(next), 500); })""")
    print(f"1,000 runs, a frame while scrolling, 95th percentile: {took:.0f} ms")
    print(f"a million points of one run: {visit(browser, f'#/experiments/{long}/runs/{one}', 'figure.chart[data-points]'):.0f} ms")
    print(f"a million points of a hundred runs: {visit(browser, '#/compare?runs=' + ','.join(runs), 'figure.chart[data-points]'):.0f} ms")
    browser.close()


main()
