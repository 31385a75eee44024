"""Several runs over each other and side by side."""

import re

from playwright.sync_api import expect

from run_flows import chart, colour_of, plot, wait_for_points


def open_comparison(browser, ids, query="", **how):
    page = browser.page(**how)
    browser.go(page, f"#/compare?runs={ids['alpha']},{ids['beta']},{ids['gamma']}{query}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 3 runs")
    return page


def curves_lie_over_each_other(browser, ids):
    page = open_comparison(browser, ids)
    wait_for_points(page, "mAP50-95", 46)
    canvas = plot(page, "mAP50-95")
    canvas.focus()
    page.keyboard.press("End")
    expect(chart(page, "mAP50-95").locator(".tip")).to_contain_text("step 20")
    expect(chart(page, "mAP50-95").locator(".tip tr")).to_have_text(["alpha0.4500", "beta0.5000"])
    page.keyboard.press("Home")
    expect(chart(page, "mAP50-95").locator(".tip tr")).to_have_text(["alpha0.0225", "beta0.0250", "gamma <b>bold</b>0.0125"])
    page.get_by_label("Find a chart").fill("recall")
    expect(page.locator("figure.chart:visible")).to_have_count(1)
    page.get_by_role("button", name="Take beta out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 2 runs")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare 3 runs")
    page.context.close()


def differing_settings_are_a_table(browser, ids):
    page = open_comparison(browser, ids, "&tab=settings")
    table = page.get_by_role("region", name="Runs side by side")
    expect(table.locator("thead th")).to_have_text(["Name", re.compile("alpha"), re.compile("beta"), re.compile("gamma <b>bold</b>")])
    expect(table.locator("tr.section").first).to_have_text("Settings that differ (4 of 9)")
    rows = table.locator("tbody tr:not(.section)")
    expect(rows.nth(0)).to_have_text("imgsz320640320")
    expect(rows.nth(1)).to_have_text("lr00.010.020.01")
    expect(rows.nth(2)).to_have_text("optimizerSGDAdamWSGD")
    expect(rows.nth(3)).to_have_text("seed007")
    expect(table.locator("tr:has(th:text-is('metrics/mAP50-95B')) td.best")).to_have_text("0.5000 best")
    expect(table.locator("tr:has(th:text-is('val/box_loss')) td.best").first).to_have_text("0.2381 best")
    expect(table.locator("tr:has(th:text-is('Data')) td").nth(1)).to_contain_text("99999999")
    page.get_by_label("All settings").check()
    expect(table.locator("tr.section").first).to_have_text("Settings")
    expect(table.locator("td.differs")).to_have_count(4 * 3 + 3)
    page.reload()
    expect(table.locator("tr.section").first).to_have_text("Settings")
    page.context.close()


def parallel_coordinates_keep_what_passes(browser, ids):
    page = open_comparison(browser, ids, "&tab=parallel")
    canvas = page.locator(".parallel canvas")
    expect(canvas).to_have_attribute("aria-label", re.compile("3 runs over imgsz, lr0, optimizer, seed, mAP50-95, mAP50, val/box_loss"))
    expect(page.locator("[role=status]:has-text('Drag along an axis')")).to_be_visible()
    box = canvas.bounding_box()
    # The upper half of the first axis: only the run with 640 passes.
    page.mouse.move(box["x"] + 70, box["y"] + 46)
    page.mouse.down()
    page.mouse.move(box["x"] + 70, box["y"] + 200, steps=4)
    page.mouse.up()
    told = page.locator("[role=status]:has-text('runs pass')")
    expect(told).to_contain_text("1 of 3 runs pass: beta")
    assert "brush=params.imgsz" in page.url, page.url
    page.reload()
    expect(told).to_contain_text("1 of 3 runs pass: beta")
    canvas.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#spoken")).to_have_text("beta: imgsz 640, lr0 0.0200, optimizer AdamW, seed 0, mAP50-95 0.5000, mAP50 0.8000, val/box_loss 0.2381")
    page.get_by_role("button", name="Axes", exact=True).click()
    page.get_by_role("dialog", name="Axes").get_by_role("checkbox", name="metrics/recallB").check()
    page.keyboard.press("Escape")
    expect(canvas).to_have_attribute("aria-label", re.compile("val/box_loss, recall"))
    page.context.close()


def pictures_stand_side_by_side(browser, ids):
    page = open_comparison(browser, ids, "&tab=pictures")
    alpha = page.get_by_role("img", name="val_batch0_pred of alpha")
    beta = page.get_by_role("img", name="val_batch0_pred of beta")
    assert colour_of(alpha) == [200, 200, 40]
    assert colour_of(beta) == [100, 200, 40]
    page.get_by_role("slider", name="Step").focus()
    page.keyboard.press("Home")
    expect(page.locator("figcaption:has-text('step 5')")).to_have_count(3)
    assert colour_of(beta) == [100, 50, 40]
    assert "step=5" in page.url
    page.get_by_role("combobox", name="Picture").select_option("file:confusion_matrix.png")
    expect(page.locator(".picture.missing")).to_have_count(1)
    assert colour_of(page.get_by_role("img", name="confusion_matrix.png of beta")) == [60, 90, 100]
    page.context.close()
