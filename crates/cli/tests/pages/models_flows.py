"""Registered models: versions, where they come from, promotion, download, and how runs become some."""

from playwright.sync_api import expect

import run_flows


def models_are_found(browser, ids):
    page = browser.page()
    browser.go(page, "#/models")
    row = page.locator(".model-list tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("cell detector2champion → 1Finds cells.")
    page.get_by_label("Search models").fill("nothing")
    expect(page.get_by_role("heading", name="No model fits")).to_be_visible()
    page.get_by_label("Search models").fill("cell")
    page.get_by_role("link", name="cell detector").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("cell detector")
    expect(page.locator(".notes strong").first).to_have_text("cells")
    page.context.close()


def versions_tell_where_they_come_from(browser, ids):
    page = browser.page()
    browser.go(page, "#/models/cell%20detector")
    rows = page.locator(".model-list tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("Version 2betacells 999999990.50000.8000")
    expect(rows.nth(1)).to_contain_text("Version 1championalphacells 16274fe30.4500")
    page.get_by_role("link", name="Version 1").click()
    detail = page.get_by_role("region", name="Version 1")
    expect(detail).to_contain_text("16274fe3607e47fc8b4377c341c1edc3")
    expect(detail).to_contain_text("0123456789abcdef0123")
    detail.get_by_role("treeitem", name="MLmodel").click()
    expect(detail.locator("pre")).to_contain_text("checkpoint: data/best.pt")
    detail.get_by_role("link", name="alpha").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("alpha")
    page.locator(".facts").get_by_role("link", name="cell detector 1").click()
    expect(page.locator("tr[aria-current]")).to_contain_text("Version 1")
    page.context.close()


def a_version_is_promoted_and_downloaded(browser, server, ids):
    page = browser.page()
    browser.go(page, "#/models/cell%20detector")
    rows = page.locator(".model-list tbody tr")
    page.get_by_role("button", name="Promote version 2").click()
    dialog = page.get_by_role("dialog", name="Promote version 2?")
    expect(dialog).to_contain_text("moves from version 1 to version 2")
    dialog.get_by_role("button", name="Promote").click()
    expect(rows.nth(0).locator(".alias")).to_have_text(["champion"])
    expect(rows.nth(1).locator(".alias")).to_have_count(0)
    page.get_by_role("button", name="Aliases of version 1").click()
    dialog = page.get_by_role("dialog", name="Aliases of version 1")
    dialog.get_by_role("button", name="Add an alias").click()
    page.get_by_role("dialog", name="Add an alias").get_by_label("Alias").fill("previous")
    page.keyboard.press("Enter")
    expect(dialog.locator(".alias")).to_have_text(["previous"])
    dialog.get_by_role("button", name="Done").click()
    expect(rows.nth(1).locator(".alias")).to_have_text(["previous"])
    aliases = server.call("mlflow/registered-models/get?name=cell%20detector")["registered_model"]["aliases"]
    assert sorted((one["alias"], str(one["version"])) for one in aliases) == [("champion", "2"), ("previous", "1")], aliases
    page.get_by_role("button", name="Download version 2").click()
    dialog = page.get_by_role("dialog", name="Version 2 of cell detector")
    expect(dialog.get_by_role("link")).to_have_text(["data/best.pt", "MLmodel"])
    with page.expect_download() as waiting:
        dialog.get_by_role("link", name="data/best.pt").click()
    assert open(waiting.value.path(), "rb").read() == b"weights of beta"
    dialog.get_by_role("button", name="Done").click()
    page.locator(".notes").get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Notes").fill("Finds cells, and `rings`.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notes code")).to_have_text("rings")
    page.context.close()


def weights_are_registered_from_the_run(browser, server, ids):
    page = run_flows.open_run(browser, ids, "alpha")
    page.get_by_role("button", name="Register…").click()
    dialog = page.get_by_role("dialog", name="Register weights of alpha")
    expect(dialog.get_by_label("Weights").locator("option")).to_have_text(["the logged model best", "the folder weights with best.pt"])
    dialog.get_by_role("button", name="Register").click()
    expect(dialog.get_by_role("alert")).to_have_text("A model needs a name.")
    dialog.get_by_label("Model", exact=True).fill("coin finder")
    expect(dialog.get_by_role("status")).to_have_text("There is no model of that name yet: it is made.")
    dialog.get_by_label("Weights").select_option(label="the folder weights with best.pt")
    dialog.get_by_role("button", name="Register").click()
    expect(page.locator("#toasts")).to_contain_text("Version 1 of coin finder registered")
    expect(page.locator(".facts").get_by_role("link", name="coin finder 1")).to_be_visible()
    version = server.call("mlflow/model-versions/get?name=coin%20finder&version=1")["model_version"]
    assert version["source"].endswith(f"/{ids['alpha']}/artifacts/weights") and version["run_id"] == ids["alpha"], version
    assert version["tags"] == [{"key": "metrics/mAP50-95B", "value": "0.45"}], version
    page.locator("#toasts").get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("coin finder")
    expect(page.locator(".model-list tbody tr")).to_contain_text("Version 1alphacells 16274fe30.4500")
    detail = page.get_by_role("region", name="Version 1")
    detail.get_by_role("treeitem", name="best.pt").click()
    expect(detail.get_by_role("link", name="Download")).to_be_visible()
    # A model that is there gets another version; Enter is enough.
    browser.go(page, f"#/experiments/{ids['cells']}/runs/{ids['beta']}")
    page.get_by_role("button", name="Register…").click()
    dialog = page.get_by_role("dialog", name="Register weights of beta")
    dialog.get_by_label("Model", exact=True).fill("cell detector")
    expect(dialog.get_by_role("status")).to_have_text("It becomes the next version after 2.")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Version 3 of cell detector registered")
    browser.go(page, "#/models")
    rows = page.locator(".model-list tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("cell detector3")
    expect(rows.nth(1)).to_contain_text("coin finder1")
    browser.go(page, f"#/experiments/{ids['other']}/runs/{ids['delta']}")
    page.get_by_role("button", name="Register…").click()
    expect(page.get_by_role("dialog", name="Nothing to register yet")).to_contain_text("This run has sent neither so far.")
    page.context.close()
