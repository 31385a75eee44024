"""Signing in to a server that asks for it, and out again, in headless Chromium.

signin_flows.py SERVER CHROMIUM [PICTURES]: the server knows the user ann with the password `correct horse`, and no tokens.
"""

import base64
import json
import pathlib
import re
import sys
import urllib.error
import urllib.request

from browser import Browser, accessibility, no_sideways_scroll
from playwright.sync_api import expect

LOGIN = {"Authorization": "Basic " + base64.b64encode(b"ann:correct horse").decode()}


def call(address, path, body=None, headers=LOGIN, method=None, kind="application/json"):
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data=data, method=method, headers={"Content-Type": kind, **headers})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def refusal(address, path, headers):
    try:
        call(address, path, headers=headers)
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("WWW-Authenticate")
    return 200, None


def sign_in(page, user, password):
    page.get_by_label("User").fill(user)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def a_link_leads_on_after_the_login(browser, address, run):
    link = f"#/experiments/0/runs/{run}?tab=files&file=notes.txt"
    page = browser.page()
    browser.go(page, link)
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Sign in")
    expect(page.get_by_label("User")).to_be_focused()
    # Nothing of a run was asked for, let alone shown.
    assert "secret-run" not in page.content() and run not in page.locator("main").inner_text()
    browser.check()
    # From here on the browser tells of answers 401 on its console; the page tells them too.
    browser.allowed = ("401",)
    for user, password in (("ann", "wrong horse"), ("bob", "correct horse")):
        sign_in(page, user, password)
        expect(page.get_by_role("alert")).to_have_text("The user or the password is wrong.")
        expect(page.get_by_role("button", name="Sign in")).to_be_enabled()
    sign_in(page, "ann", "correct horse")
    expect(heading).to_have_text("secret-run")
    expect(page.locator(".preview pre")).to_have_text("for ann alone")
    assert page.url.endswith(link), page.url
    page.reload()
    expect(page.locator(".preview pre")).to_have_text("for ann alone")
    expect(page.get_by_role("button", name="Sign out")).to_have_attribute("title", "Signed in as ann")
    # Scripts cannot read the cookie, other sites do not send it.
    cookie, = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], page.evaluate("document.cookie")) == (True, "Strict", ""), cookie
    held = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    search = "/ajax-api/2.0/mlflow/experiments/search?max_results=5"
    assert refusal(address, search, held) == (200, None)
    # Another page of the same person sees that the session is over, and both come back to where they were.
    other = page.context.new_page()
    other.goto(browser.address + "#/")
    expect(other.locator(".grid tbody .run-name")).to_have_text(["secret-run"])
    page.get_by_role("button", name="Sign out").click()
    expect(heading).to_have_text("Sign in")
    assert page.url.endswith(link), page.url
    expect(other.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(other.get_by_role("button", name="Sign out")).to_be_hidden()
    assert refusal(address, search, held) == (401, None), "the session outlived signing out"
    sign_in(page, "ann", "correct horse")
    expect(heading).to_have_text("secret-run")
    other.reload()
    expect(other.locator(".grid tbody .run-name")).to_have_text(["secret-run"])
    page.context.close()


def the_form_in_every_look(browser, pictures):
    axe = accessibility()

    def look(page, name):
        no_sideways_scroll(page)
        if pictures:
            page.screenshot(path=str(pictures / f"{name}.png"))
        if axe:
            broken = [f"{one['id']}: {node['html'][:160]}" for one in axe.run(page).response["violations"] for node in one["nodes"]]
            assert not broken, "\n".join(broken)

    for width, theme in ((1600, "light"), (1600, "dark"), (390, "light"), (390, "dark")):
        page = browser.page(width, theme)
        browser.go(page, "#/models")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        sign_in(page, "ann", "x")
        expect(page.get_by_role("alert")).to_be_visible()
        look(page, f"sign-in-{width}-{theme}")
        sign_in(page, "ann", "correct horse")
        expect(page.get_by_role("heading", name="No models yet")).to_be_visible()
        look(page, f"signed-in-{width}-{theme}")
        page.context.close()


def main():
    address, chromium = sys.argv[1], sys.argv[2]
    pictures = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None
    run = json.loads(call(address, "/api/2.0/mlflow/runs/create", {"experiment_id": "0", "run_name": "secret-run", "start_time": 1}))["run"]["info"]["run_id"]
    call(address, f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/notes.txt", b"for ann alone", method="PUT", kind="text/plain")
    # Programs are asked for a login as ever.
    status, challenge = refusal(address, "/api/2.0/mlflow/experiments/search?max_results=5", {})
    assert status == 401 and re.match("Basic ", challenge), (status, challenge)
    browser = Browser(chromium, address)
    try:
        a_link_leads_on_after_the_login(browser, address, run)
        browser.check()
        the_form_in_every_look(browser, pictures)
        browser.check()
    finally:
        browser.close()
    print("signed in and out")


main()
