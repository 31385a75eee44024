"""Headless Chromium, watched: what a page says on the console, what it asks of whom, whether it runs what it must not."""

from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# A loaded machine is slow, not wrong.
PATIENCE = 30_000


class Browser:
    def __init__(self, chromium, address):
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        self.address = address.rstrip("/") + "/"
        self.host = urlsplit(address).netloc
        self.faults = []
        self.allowed = ()
        expect.set_options(timeout=PATIENCE)

    def close(self):
        self.browser.close()
        self.playwright.stop()

    def page(self, width=1600, theme="light"):
        phone = width < 600
        context = self.browser.new_context(viewport={"width": width, "height": 844 if phone else 1000}, color_scheme=theme, has_touch=phone, is_mobile=phone,
                                           device_scale_factor=2 if phone else 1, locale="en-GB")
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda message: self.console(message))
        page.on("pageerror", lambda error: self.faults.append(f"error on the page: {error}"))
        page.on("dialog", lambda dialog: (self.faults.append(f"a script of a user's text ran: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.request(request))
        return page

    def console(self, message):
        if message.type in ("error", "warning") and not any(text in message.text for text in self.allowed):
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.faults.append(f"a request to another host: {request.url}")

    def go(self, page, route):
        page.goto(self.address + route)

    def check(self):
        """Nothing was wrong that no assertion sees."""
        faults, self.faults = self.faults, []
        assert not faults, "\n".join(faults)


def accessibility():
    """axe-core where it is installed; it is no part of the project."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        print("axe-core is not installed: its rules are skipped", flush=True)
        return None
    return Axe()


def no_sideways_scroll(page):
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{page.url} is {wide} px wider than the window"
