"""The table of runs: found, ordered, grouped, compared, deleted, restored, live."""

import re
import time

from playwright.sync_api import expect

import seed
from browser import no_sideways_scroll


def names(page):
    return page.locator(".grid tbody .run-name").all_inner_texts()


def wait_for_names(page, wanted):
    expect(page.locator(".grid tbody .run-name")).to_have_text(wanted)


def cell(page, run, label):
    return page.locator(f".grid tbody tr:has(.run-name:text-is('{run}')) td[data-label='{label}']")


def an_empty_server_tells_what_to_do(browser):
    page = browser.page()
    browser.go(page, "")
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    expect(page.locator(".command code").first).to_have_text(f"MLFLOW_TRACKING_URI={browser.address.rstrip('/')} yolo11 train data=demo")
    browser.go(page, "#/models")
    expect(page.get_by_role("heading", name="No models yet")).to_be_visible()
    expect(page.locator(".command code")).to_contain_text("mlflow.register=detector")
    page.context.close()


def rows_hold_values_and_are_ordered(browser, ids):
    page = browser.page()
    browser.go(page, f"#/experiments/{ids['cells']}")
    wait_for_names(page, ["gamma <b>bold</b>", "beta", "alpha"])
    expect(page.locator(".counted")).to_have_text("3 runs")
    expect(cell(page, "alpha", "mAP50-95")).to_have_text("0.4500")
    expect(cell(page, "beta", "mAP50")).to_have_text("0.8000")
    expect(cell(page, "alpha", "State")).to_have_text("Finished")
    expect(cell(page, "gamma <b>bold</b>", "State")).to_have_text("Failed")
    expect(cell(page, "alpha", "Duration")).to_have_text("3 min 20 s")
    header = page.get_by_role("columnheader", name="mAP50-95")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    wait_for_names(page, ["beta", "alpha", "gamma <b>bold</b>"])
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    wait_for_names(page, ["gamma <b>bold</b>", "alpha", "beta"])
    assert "sort=metrics.metrics/mAP50-95B" in page.url, page.url
    page.reload()
    wait_for_names(page, ["gamma <b>bold</b>", "alpha", "beta"])
    page.context.close()


def words_and_conditions_find_runs(browser, ids):
    page = browser.page()
    browser.go(page, "")
    search = page.get_by_role("combobox", name="Search runs")
    expect(page.locator(".counted")).to_contain_text("runs")
    page.keyboard.press("/")
    expect(search).to_be_focused()
    search.press_sequentially("adamw")
    wait_for_names(page, ["beta"])
    search.fill("vision lr0=0.01")
    wait_for_names(page, ["alpha"])
    search.fill("nothing like this")
    expect(page.get_by_role("heading", name="No run fits")).to_be_visible()
    search.fill("metrics.map50")
    page.get_by_role("option", name="metrics/mAP50B", exact=True).click()
    expect(search).to_have_value("metrics.`metrics/mAP50B` ")
    search.press_sequentially("> 0.5 and params.optimizer = 'SGD'")
    wait_for_names(page, ["alpha"])
    page.reload()
    wait_for_names(page, ["alpha"])
    browser.allowed = ("400",)
    search.fill("metrics.a.b.c ~ 5 and params.x = 'y'")
    expect(search).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".search-note")).not_to_be_empty()
    browser.allowed = ()
    search.fill("")
    page.get_by_label("State").select_option("KILLED")
    wait_for_names(page, ["epsilon"])
    page.context.close()


def columns_are_chosen(browser, ids):
    page = browser.page()
    browser.go(page, f"#/experiments/{ids['cells']}")
    wait_for_names(page, ["gamma <b>bold</b>", "beta", "alpha"])
    page.get_by_role("button", name="Columns").click()
    dialog = page.get_by_role("dialog", name="Columns")
    dialog.get_by_label("Find a column").fill("momentum")
    dialog.get_by_role("checkbox", name="momentum").check()
    dialog.get_by_label("Find a column").fill("team")
    dialog.get_by_role("checkbox", name="team").check()
    dialog.get_by_role("button", name="Remove Duration").click()
    dialog.get_by_role("button", name="Move team up").click()
    dialog.get_by_role("button", name="Done").click()
    expect(cell(page, "alpha", "momentum")).to_have_text("0.937")
    expect(cell(page, "alpha", "team")).to_have_text("vision")
    expect(page.get_by_role("columnheader", name="Duration")).to_have_count(0)
    headers = page.locator(".grid thead th").all_inner_texts()
    assert headers[-2:] == ["team", "momentum"], headers
    assert "cols=" in page.url
    page.context.close()


def runs_are_grouped_by_experiment(browser, ids):
    page = browser.page()
    browser.go(page, "")
    expect(page.locator(".grid tbody tr.run")).to_have_count(5)
    page.keyboard.press("e")
    groups = page.locator(".grid tr.group")
    expect(groups).to_have_count(2)
    expect(groups.nth(0)).to_contain_text("other2 runs")
    expect(groups.nth(1)).to_contain_text("cells3 runs")
    groups.nth(1).click()
    wait_for_names(page, ["epsilon", "delta"])
    page.reload()
    wait_for_names(page, ["epsilon", "delta"])
    expect(groups.nth(1).get_by_role("button")).to_have_attribute("aria-expanded", "false")
    page.context.close()


def the_keyboard_selects_and_compares(browser, ids):
    page = browser.page()
    browser.go(page, f"#/experiments/{ids['cells']}")
    wait_for_names(page, ["gamma <b>bold</b>", "beta", "alpha"])
    grid = page.get_by_role("grid", name="Runs")
    grid.focus()
    for key in ("ArrowDown", "Space", "ArrowDown", "Space"):
        page.keyboard.press(key)
    expect(page.locator(".selection-bar")).to_contain_text("2 selected")
    expect(page.locator(".grid tr[aria-selected=true]")).to_have_count(2)
    active = grid.get_attribute("aria-activedescendant")
    assert page.locator(f"[id='{active}'] .run-name").inner_text() == "alpha"
    page.keyboard.press("c")
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 2 runs")
    page.go_back()
    expect(page.locator(".selection-bar")).to_contain_text("2 selected")
    page.get_by_role("grid", name="Runs").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("alpha")
    page.context.close()


def deleted_runs_come_back(browser, ids):
    page = browser.page()
    browser.go(page, f"#/experiments/{ids['other']}")
    wait_for_names(page, ["epsilon", "delta"])
    page.get_by_role("checkbox", name="Select delta").click()
    page.locator(".selection-bar").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete 1 run?").get_by_role("button", name="Delete").click()
    wait_for_names(page, ["epsilon"])
    page.get_by_role("button", name="Undo").click()
    wait_for_names(page, ["epsilon", "delta"])
    page.get_by_role("checkbox", name="Select delta").click()
    page.locator(".selection-bar").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    wait_for_names(page, ["epsilon"])
    page.get_by_label("Active or deleted").select_option("deleted")
    wait_for_names(page, ["delta"])
    page.get_by_role("checkbox", name="Select delta").click()
    page.locator(".selection-bar").get_by_role("button", name="Restore").click()
    expect(page.get_by_role("heading", name="No deleted runs")).to_be_visible()
    page.get_by_label("Active or deleted").select_option("")
    wait_for_names(page, ["epsilon", "delta"])
    page.context.close()


def values_move_while_a_training_runs(browser, server, ids):
    """Gives the id of the run, which goes on."""
    page = browser.page()
    browser.go(page, f"#/experiments/{ids['cells']}")
    wait_for_names(page, ["gamma <b>bold</b>", "beta", "alpha"])
    now = int(time.time() * 1000)
    run = seed.live(server, ids["cells"], now)
    wait_for_names(page, ["live", "gamma <b>bold</b>", "beta", "alpha"])
    expect(cell(page, "live", "State")).to_have_text("Running3/10")
    expect(cell(page, "live", "mAP50")).to_have_text("0.0840")
    expect(page.locator(".counted")).to_have_text("4 runs · 1 running")
    server.log(run, seed.epoch_metrics(4, now, 0.7))
    expect(cell(page, "live", "mAP50")).to_have_text("0.1120")
    expect(cell(page, "live", "State")).to_have_text("Running4/10")
    page.context.close()
    return run


def a_lost_server_is_told_and_found_again(browser, ids):
    page = browser.page()
    browser.go(page, f"#/experiments/{ids['cells']}")
    expect(page.locator(".grid tbody tr.run").first).to_be_visible()
    browser.allowed = ("Failed to load resource", "ERR_FAILED", "net::")
    page.route("**/ajax-api/**", lambda route: route.abort())
    banner = page.locator("#banner")
    expect(banner).to_contain_text("The server does not answer.")
    expect(page.locator(".grid tbody tr.run").first).to_be_visible()
    page.unroute("**/ajax-api/**")
    banner.get_by_role("button", name="Try now").click()
    expect(banner).to_be_empty()
    browser.allowed = ()
    page.context.close()


def a_thousand_runs_are_a_few_rows(browser, experiment, runs):
    page = browser.page()
    browser.go(page, f"#/experiments/{experiment}?sort=name")
    expect(page.locator(".counted")).to_have_text(f"{runs + 1:,} runs")
    assert page.locator(".grid tbody tr.run").count() < 80
    page.get_by_role("grid", name="Runs").focus()
    page.keyboard.press("End")
    expect(page.locator(".grid tbody tr.active .run-name")).to_have_text(f"sweep-{runs - 1:04}")
    rows = page.get_by_role("grid", name="Runs").get_attribute("aria-rowcount")
    assert rows == str(runs + 2), rows
    search = page.get_by_role("combobox", name="Search runs")
    search.fill("sweep-00 lr0=0.005")
    expect(page.locator(".counted")).to_have_text(re.compile(r"^\d+ of 1?,?\d+ runs$"))
    wait_for_names(page, [f"sweep-{index:04}" for index in (4, 54) if index < runs])
    page.context.close()


def a_phone_shows_cards(browser, ids):
    page = browser.page(390, "dark")
    browser.go(page, f"#/experiments/{ids['cells']}")
    expect(page.locator(".scroller.compact .run").first).to_be_visible()
    expect(cell(page, "alpha", "mAP50-95")).to_have_text("0.4500")
    no_sideways_scroll(page)
    page.get_by_label("Order").select_option("metrics.metrics/mAP50-95B")
    expect(page.locator(".grid tbody .run-name").first).to_have_text("live")
    page.locator(".grid tr.run").nth(1).tap()
    expect(page.get_by_role("heading", level=1)).to_have_text("gamma <b>bold</b>")
    no_sideways_scroll(page)
    page.context.close()
