"""Clicks through the pages of a tracking server in headless Chromium.

flows.py SERVER CHROMIUM [PICTURES]: the server must be empty; screenshots go to the folder PICTURES.
"""

import pathlib
import sys
import time

import compare_flows
import models_flows
import module_flows
import run_flows
import runs_flows
import seed
from browser import Browser, accessibility, no_sideways_scroll
from playwright.sync_api import expect

RUNS = 1000
POINTS = 20_000


def step(browser, work, *arguments):
    started = time.time()
    found = work(browser, *arguments)
    browser.check()
    print(f"ok  {work.__name__.replace('_', ' ')}  {time.time() - started:.1f} s", flush=True)
    return found


DRAWN = {"run": "figure.chart[data-points]", "run-system": "figure.chart[data-points]", "compare-curves": "figure.chart[data-points]", "run-pictures": ".picture img[src]",
         "compare-pictures": ".picture img[src]", "run-settings": ".card", "run-files": "[role=treeitem]", "run-log": ".log .muted", "compare-settings": ".matrix td",
         "compare-parallel": ".parallel + [role=status]", "models": ".model-list td", "model": ".version [role=treeitem]"}


def wait_until_drawn(page, name):
    expect(page.locator(DRAWN.get(name, ".grid tbody tr.run")).first).to_be_visible()
    for image in page.locator(".picture img").all():
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
    page.evaluate("scrollTo(0, 0)")


def every_page_in_every_look(browser, ids, pictures):
    """Each page, light and dark, on a phone and on a wide screen: it fits, no rule of axe is broken, and a picture of it is taken."""
    axe = accessibility()
    pages = {"runs": "", "runs-grouped": "#/?group=1", "run": f"#/experiments/{ids['cells']}/runs/{ids['alpha']}?smooth=0.4"}
    for tab in ("pictures", "system", "settings", "files", "log"):
        pages[f"run-{tab}"] = f"#/experiments/{ids['cells']}/runs/{ids['alpha']}?tab={tab}"
    for tab in ("curves", "settings", "parallel", "pictures"):
        pages[f"compare-{tab}"] = f"#/compare?runs={ids['alpha']},{ids['beta']},{ids['gamma']}&tab={tab}"
    pages |= {"models": "#/models", "model": "#/models/cell%20detector/versions/1"}
    broken = []

    def look(page, name):
        no_sideways_scroll(page)
        if pictures:
            page.screenshot(path=str(pictures / f"{name}-{width}-{theme}.png"))
        if axe:
            for violation in axe.run(page).response["violations"]:
                broken.extend(f"{name} {width} {theme}: {violation['id']}: {node['html'][:160]}" for node in violation["nodes"])

    for width, theme in ((1600, "light"), (1600, "dark"), (390, "light"), (390, "dark")):
        page = browser.page(width, theme)
        for name, route in pages.items():
            browser.go(page, route)
            expect(page.locator("main .loading")).to_have_count(0)
            wait_until_drawn(page, name)
            look(page, name)
        browser.go(page, pages["run"])
        page.get_by_role("button", name="Register…").click()
        expect(page.get_by_role("dialog").get_by_label("Model", exact=True)).to_be_focused()
        look(page, "register")
        page.context.close()
    assert not broken, "\n".join(broken)


def the_theme_is_switched(browser, ids):
    page = browser.page(theme="light")
    browser.go(page, "")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(248, 248, 246)"
    switch = page.locator("#theme")
    expect(switch).to_have_accessible_name("Theme: as the system")
    switch.click()
    switch.click()
    expect(switch).to_have_accessible_name("Theme: dark")
    assert page.evaluate(ground) == "rgb(19, 21, 23)"
    page.reload()
    assert page.evaluate(ground) == "rgb(19, 21, 23)"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Compare what is selected")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    page.context.close()


def main():
    server, chromium = seed.Server(sys.argv[1]), sys.argv[2]
    pictures = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None
    browser = Browser(chromium, sys.argv[1])
    try:
        step(browser, runs_flows.an_empty_server_tells_what_to_do)
        step(browser, module_flows.modules_compute_what_they_say)
        step(browser, module_flows.colours_are_told_apart_by_every_sight)
        ids = seed.seed(server, int(time.time() * 1000))
        for flow in (runs_flows.rows_hold_values_and_are_ordered, runs_flows.words_and_conditions_find_runs, runs_flows.columns_are_chosen,
                     runs_flows.runs_are_grouped_by_experiment, runs_flows.the_keyboard_selects_and_compares, runs_flows.deleted_runs_come_back,
                     run_flows.curves_are_read_zoomed_and_smoothed, run_flows.the_machine_has_its_tab, run_flows.pictures_follow_the_slider,
                     run_flows.settings_tags_and_data, run_flows.artifacts_are_shown_and_downloaded, run_flows.notes_are_safe_and_written, run_flows.a_failure_is_told,
                     compare_flows.curves_lie_over_each_other, compare_flows.differing_settings_are_a_table, compare_flows.parallel_coordinates_keep_what_passes,
                     compare_flows.pictures_stand_side_by_side, models_flows.models_are_found, models_flows.versions_tell_where_they_come_from, the_theme_is_switched):
            step(browser, flow, ids)
        step(browser, every_page_in_every_look, ids, pictures)
        step(browser, models_flows.a_version_is_promoted_and_downloaded, server, ids)
        step(browser, models_flows.weights_are_registered_from_the_run, server, ids)
        live = step(browser, runs_flows.values_move_while_a_training_runs, server, ids)
        step(browser, runs_flows.a_phone_shows_cards, ids)
        step(browser, run_flows.a_running_training_is_followed, server, ids, live)
        step(browser, runs_flows.a_lost_server_is_told_and_found_again, ids)
        experiment, long = seed.volume(server, RUNS, POINTS)
        step(browser, runs_flows.a_thousand_runs_are_a_few_rows, experiment, RUNS)
        step(browser, run_flows.a_long_history_is_thinned_and_read_in_full, experiment, long, POINTS)
    finally:
        browser.close()
    print("every flow passed")


main()
