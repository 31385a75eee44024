"""One run: its progress, curves, pictures, settings, artifacts, log and notes."""

import re
import time

from playwright.sync_api import expect

import seed


def open_run(browser, ids, name, query="", **how):
    page = browser.page(**how)
    browser.go(page, f"#/experiments/{ids['cells']}/runs/{ids[name]}{query}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


def chart(page, title):
    return page.locator(f"figure.chart:has(h3:text-is('{title}'))")


def plot(page, title):
    return chart(page, title).locator("canvas")


def wait_for_points(page, title, points):
    expect(chart(page, title)).to_have_attribute("data-points", str(points))


def curves_are_read_zoomed_and_smoothed(browser, ids):
    page = open_run(browser, ids, "alpha")
    expect(page.locator(".tiles div").first).to_have_text("mAP50-950.4500best 0.4500 at step 20")
    wait_for_points(page, "box loss", 40)
    expect(plot(page, "box loss")).to_have_attribute("aria-label", re.compile(r"training: 0\.1905 at step 20, lowest 0\.1905, highest 2;"))
    canvas = plot(page, "box loss")
    box = canvas.bounding_box()
    canvas.hover(position={"x": box["width"] - 12, "y": 60})
    tip = chart(page, "box loss").locator(".tip")
    expect(tip).to_contain_text("step 20")
    expect(tip).to_contain_text("training0.1905")
    expect(tip).to_contain_text("validation0.2381")
    # Arrow keys read the same, and say it.
    canvas.focus()
    page.keyboard.press("Home")
    expect(tip).to_contain_text("step 1")
    expect(page.locator("#spoken")).to_have_text("step 1: training 2, validation 2.5000")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("training1.3333")
    # A drag zooms all charts of epochs, the address keeps it, and back is one click.
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 90, steps=5)
    page.mouse.up()
    expect(chart(page, "mAP").get_by_role("button", name="Show all of the curve")).to_be_attached()
    assert "zoom=epoch" in page.url, page.url
    canvas.focus()
    page.keyboard.press("0")
    expect(chart(page, "mAP").get_by_role("button", name="Show all of the curve")).to_be_hidden()
    assert "zoom" not in page.url, page.url
    # Smoothing, by hand: weight 0.5 over 2, 4/3: (0.5·2·0.5 + 0.5·4/3) / 0.75 = 1.5556.
    page.get_by_label("Smoothing").fill("0.5")
    assert "smooth=0.5" in page.url, page.url
    canvas.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("training1.55561.3333")
    page.keyboard.press("l")
    expect(page.get_by_label("Log scale")).to_be_checked()
    page.keyboard.press("x")
    expect(page.get_by_role("button", name="Time")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_label("Log scale")).to_be_checked()
    expect(page.get_by_label("Smoothing")).to_have_value("0.5")
    wait_for_points(page, "box loss", 40)
    canvas.focus()
    page.keyboard.press("Home")
    expect(tip).to_contain_text("10 s")
    chart(page, "box loss").get_by_role("button", name="Values as a table").click()
    rows = page.get_by_role("dialog", name="box loss").locator("tbody tr")
    expect(rows).to_have_count(20)
    expect(rows.nth(1)).to_have_text("20 s1.33331.6667")
    page.context.close()


def the_machine_has_its_tab(browser, ids):
    page = open_run(browser, ids, "alpha")
    page.get_by_role("tab", name="System").click()
    wait_for_points(page, "CPU use, %", 6)
    expect(plot(page, "CPU use, %")).to_have_attribute("aria-label", re.compile(r"90 at step 5, lowest 40, highest 90"))
    assert "tab=system" in page.url
    page.go_back()
    expect(page.get_by_role("tab", name="Charts")).to_have_attribute("aria-selected", "true")
    page.context.close()


def colour_of(image):
    return image.evaluate("""async (image) => {
        await image.decode();
        const canvas = document.createElement('canvas'); canvas.width = 1; canvas.height = 1;
        const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0, 1, 1);
        return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3); }""")


def pictures_follow_the_slider(browser, ids):
    page = open_run(browser, ids, "alpha", "?tab=pictures")
    picture = page.locator("figure:has(figcaption:has-text('val_batch0_pred')) img")
    expect(picture).to_have_attribute("alt", "val_batch0_pred at step 20")
    assert colour_of(picture) == [200, 200, 40]
    page.get_by_role("button", name="Step before").click()
    expect(picture).to_have_attribute("alt", "val_batch0_pred at step 10")
    assert colour_of(picture) == [200, 100, 40]
    assert "step=10" in page.url
    page.reload()
    expect(picture).to_have_attribute("alt", "val_batch0_pred at step 10")
    page.get_by_role("slider", name="Step").focus()
    page.keyboard.press("ArrowLeft")
    expect(picture).to_have_attribute("alt", "val_batch0_pred at step 5")
    for name in ("BoxPR_curve.png", "confusion_matrix.png"):
        shown = page.get_by_role("img", name=name)
        shown.scroll_into_view_if_needed()
        assert colour_of(shown) == [30, 60, 200]
    picture.click()
    large = page.get_by_role("dialog", name="val_batch0_pred, step 5")
    expect(large).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog", name="val_batch0_pred, step 10")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.context.close()


def settings_tags_and_data(browser, ids):
    page = open_run(browser, ids, "alpha", "?tab=settings")
    settings = page.locator(".card:has(h2:text-is('Settings'))")
    expect(settings.locator("tbody tr")).to_have_count(len(seed.PARAMS))
    settings.get_by_label("Find in settings").fill("lr0")
    expect(settings.locator("tbody tr")).to_have_text(["lr00.01"])
    data = page.locator(".card:has(h2:text-is('Data'))")
    expect(data).to_contain_text("16274fe3607e47fc8b4377c341c1edc3")
    expect(data.locator(".bars tr").first).to_have_text("bottle193")
    tags = page.locator(".card:has(h2:text-is('Tags'))")
    tags.get_by_role("button", name="Add").click()
    dialog = page.get_by_role("dialog", name="Add a tag")
    dialog.get_by_label("Name").fill("reviewed")
    dialog.get_by_label("Value").fill("<i>yes</i>")
    dialog.get_by_role("button", name="Save").click()
    expect(tags).to_contain_text("reviewed<i>yes</i>")
    tags.get_by_role("button", name="Remove reviewed").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(tags).not_to_contain_text("reviewed")
    page.context.close()


def artifacts_are_shown_and_downloaded(browser, ids):
    page = open_run(browser, ids, "alpha", "?tab=files")
    preview = page.locator(".preview")
    page.get_by_role("treeitem", name=re.compile("^results.csv")).click()
    expect(preview.locator("thead th")).to_have_text(["epoch", "box_loss", "note"])
    expect(preview.locator("tbody tr").first).to_have_text("12.0a, b")
    # Pages and drawings of users are text here: their scripts would show a dialog, which fails the test.
    for name in ("page.html", "drawing.svg"):
        page.get_by_role("treeitem", name=re.compile(f"^{name}")).click()
        expect(preview.locator("pre")).to_contain_text("alert('ran')")
    page.get_by_role("treeitem", name="weights, folder").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("treeitem", name=re.compile("^best.pt")).click()
    expect(preview).to_contain_text("yolo11 predict model=best.pt")
    assert "file=weights/best.pt" in page.url, page.url
    with page.expect_download() as waiting:
        preview.get_by_role("link", name="Download").click()
    data = open(waiting.value.path(), "rb").read()
    assert data == b"PK\x03\x04" + bytes(range(256)) * 40
    page.reload()
    expect(preview).to_contain_text("yolo11 predict model=best.pt")
    page.context.close()


def a_running_training_is_followed(browser, server, ids, run):
    ids = {**ids, "live": run}
    page = open_run(browser, ids, "live")
    progress = page.locator(".run-progress")
    expect(progress).to_contain_text("Epoch 5 of 10 · 40 %")
    expect(progress).to_contain_text(re.compile(r"left|minute"))
    wait_for_points(page, "mAP", 8)
    now = int(time.time() * 1000)
    server.log(run, seed.epoch_metrics(5, now, 0.7))
    expect(progress).to_contain_text("Epoch 6 of 10 · 50 %")
    wait_for_points(page, "mAP", 10)
    expect(page.locator(".tiles div").first).to_contain_text("0.0875")
    page.get_by_role("tab", name="Log").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("epoch 3/20")
    expect(log).not_to_contain_text("epoch 4/20")
    server.put(f"{ids['cells']}/{run}/artifacts/training.log", "".join(seed.LOG.splitlines(True)[:5]).encode())
    expect(log).to_contain_text("epoch 5/20")
    assert log.inner_text().count("epoch 3/20") == 1
    server.finish(run, "FINISHED", now + 1000)
    expect(progress).to_be_hidden()
    expect(page.locator(".head-state")).to_have_text("Finished")
    page.context.close()


def notes_are_safe_and_written(browser, ids):
    page = open_run(browser, ids, "alpha")
    notes = page.locator(".notes")
    expect(notes.get_by_role("heading", name="Aim")).to_be_visible()
    expect(notes.locator("strong")).to_have_text("all")
    expect(notes.get_by_role("link", name="the paper")).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(notes.locator("li")).to_have_text("small ones too")
    expect(notes).to_contain_text("<img src=x onerror=alert(1)> [bad](javascript:alert(1))")
    assert notes.locator("img").count() == 0 and notes.locator("a").count() == 1
    page.keyboard.press("n")
    area = notes.get_by_role("textbox", name="Notes")
    area.fill("Second *thoughts*")
    page.keyboard.press("Control+Enter")
    expect(notes.locator("em")).to_have_text("thoughts")
    page.reload()
    expect(notes.locator("em")).to_have_text("thoughts")
    page.get_by_role("button", name="Rename").click()
    dialog = page.get_by_role("dialog", name="Rename the run")
    dialog.get_by_label("Name").fill("alpha two")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("alpha two")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").get_by_label("Name").fill("alpha")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("alpha")
    page.context.close()


def a_failure_is_told(browser, ids):
    page = open_run(browser, ids, "gamma")
    expect(page.get_by_role("heading", level=1)).to_have_text("gamma <b>bold</b>")
    expect(page.locator(".problem")).to_have_text("runs/gamma: no space left on the disk")
    browser.allowed = ("404",)
    browser.go(page, "#/experiments/1/runs/0123456789abcdef0123456789abcdef")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    browser.allowed = ()
    page.context.close()


def a_long_history_is_thinned_and_read_in_full(browser, experiment, run, points):
    page = browser.page()
    browser.go(page, f"#/experiments/{experiment}/runs/{run}")
    held = chart(page, "losses of batches")
    expect(held).to_have_attribute("data-points", re.compile(r"^\d+$"))
    thinned = int(held.get_attribute("data-points"))
    assert 500 < thinned <= 2600, thinned
    browser.go(page, f"#/experiments/{experiment}/runs/{run}?zoom=batch~{points // 2 - 20}~{points // 2 + 20}")
    expect(held).to_have_attribute("data-points", "41")
    label = plot(page, "losses of batches")
    expect(label).to_have_attribute("aria-label", re.compile(r"highest 5\d"))
    page.context.close()
